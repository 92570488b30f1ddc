#include "daemon/metrics.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "daemon/control_socket.h"
#include "daemon/httpd.h"
#include "daemon/metrics_gather.h"
#include "daemon/metrics_listen.h"
#include "daemon/metrics_text.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define CONNECTION_MEMORY ((size_t)8 * 1024)
#define SILENT_SECONDS 10
#define CLIENT_US (INT64_C(1000000) * METRICS_CLIENT_SECONDS)
#define REST_US 100000
#define RUNS_MAX 32 /* at once: databases are waiting, too */
#define SHARE 9     /* for each moment that a page took so many without one */

struct metrics_base {
	int listen_fd;
	char url[METRICS_URL_MAX];
	struct metrics_peers *peers;
};

/* Of the first process. */
struct client {
	int fd; /* -1: the place is free */
	int64_t until_us;
};

/* Somebody waits for a page that is being made. */
struct waiting {
	struct MHD_Connection *connection;
	struct waiting *next;
};

struct metrics {
	struct metrics_base *base;
	struct schedule *schedule;
	struct metrics_gather *gather;

	/* Of the first process: */
	struct MHD_Daemon *daemon;
	int mhd_fd;
	bool inside;           /* MHD_run is on the stack */
	int64_t rest_until_us; /* no descriptors for clients: 0 = there are */
	struct client clients[METRICS_CLIENTS];
	size_t n_clients;
	struct MHD_Response *page; /* the last one, while it is young; NULL: it could not be made */
	int64_t page_until_us;     /* until then none is made */
	struct waiting *waiting;
};

/* ---- making a page ---- */

/* One request a connection, so that its time is bounded as a whole. */
static void set_headers(struct MHD_Response *r, const char *type)
{
	MHD_add_response_header(r, "Content-Type", type);
	MHD_add_response_header(r, "Connection", "close");
}

static struct MHD_Response *plain_response(const char *text)
{
	struct MHD_Response *r =
		MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_PERSISTENT);
	if (r)
		set_headers(r, "text/plain; charset=utf-8");
	return r;
}

static void drop_page(struct metrics *m)
{
	if (m->page)
		MHD_destroy_response(m->page);
	m->page = NULL;
}

static void keep_page(struct metrics *m, struct buf *text)
{
	m->page = MHD_create_response_from_buffer(text->len, text->data, MHD_RESPMEM_MUST_FREE);
	if (!m->page) {
		log_warn("metrics: out of memory");
		return;
	}
	buf_init(text, 0); /* MHD frees it */
	set_headers(m->page, METRICS_TEXT_TYPE);
}

static void make_page(struct metrics *m)
{
	struct buf text;
	struct err e = ERR_INIT;
	int64_t began_us = clock_mono_us();
	buf_init(&text, METRICS_TEXT_MAX);
	drop_page(m);
	if (metrics_gather_take(m->gather, &text, &e))
		log_warn("metrics: %s", e.text);
	else
		keep_page(m, &text);
	buf_free(&text);
	int64_t now_us = clock_mono_us();
	m->page_until_us = now_us + SHARE * (now_us - began_us);
}

static void run(struct metrics *m);

static void on_ready(void *ctx)
{
	struct metrics *m = ctx;
	make_page(m);
	for (struct waiting *w = m->waiting; w; w = w->next)
		MHD_resume_connection(w->connection);
	m->waiting = NULL;
	run(m);
}

/* ---- what MHD calls ---- */

static enum MHD_Result answer(
	struct MHD_Connection *connection, unsigned status, struct MHD_Response *response)
{
	if (!response)
		return MHD_NO;
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, "Allow", "GET, HEAD");
	enum MHD_Result ok = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return ok;
}

static enum MHD_Result answer_page(struct metrics *m, struct MHD_Connection *connection)
{
	if (m->page)
		return MHD_queue_response(connection, MHD_HTTP_OK, m->page);
	return answer(connection, MHD_HTTP_INTERNAL_SERVER_ERROR,
		plain_response("this page can't be made now: the log says why\n"));
}

static enum MHD_Result wait_for_page(
	struct metrics *m, struct MHD_Connection *connection, struct waiting *w)
{
	w->connection = connection;
	w->next = m->waiting;
	m->waiting = w;
	MHD_suspend_connection(connection);
	return MHD_YES;
}

/* The first call comes with the headers: who asks for nothing of ours is answered then, whatever
 * more it wants to send. */
static enum MHD_Result on_access(void *cls, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *upload, size_t *upload_size, void **req)
{
	struct metrics *m = cls;
	struct waiting *w = *req;
	(void)version, (void)upload;
	*upload_size = 0;
	if (strcmp(url, "/metrics") != 0)
		return answer(connection, MHD_HTTP_NOT_FOUND, plain_response("metrics are at /metrics\n"));
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, plain_response("GET or HEAD\n"));
	if (!w) {
		w = *req = calloc(1, sizeof(*w));
		return w ? MHD_YES : MHD_NO;
	}
	if (w->connection) /* it waited */
		return answer_page(m, connection);
	if (clock_mono_us() < m->page_until_us)
		return answer_page(m, connection);
	if (!metrics_gather_begin(m->gather))
		return wait_for_page(m, connection, w);
	make_page(m);
	return answer_page(m, connection);
}

static void on_completed(
	void *cls, struct MHD_Connection *connection, void **req, enum MHD_RequestTerminationCode why)
{
	(void)cls, (void)connection, (void)why;
	free(*req);
	*req = NULL;
}

/* MHD would leave whoever comes next at the door. */
static void end_oldest(struct metrics *m)
{
	struct client *oldest = &m->clients[0];
	for (size_t i = 1; i < METRICS_CLIENTS; i++)
		if (m->clients[i].until_us < oldest->until_us)
			oldest = &m->clients[i];
	shutdown(oldest->fd, SHUT_RDWR);
	oldest->until_us += CLIENT_US; /* it is on its way out */
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
	enum MHD_ConnectionNotificationCode what)
{
	struct metrics *m = cls;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct client *c = *context;
	if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
		m->n_clients -= c != NULL;
		if (c)
			c->fd = -1;
		*context = NULL;
		return;
	}
	for (size_t i = 0; info && !c && i < METRICS_CLIENTS; i++)
		c = m->clients[i].fd < 0 ? &m->clients[i] : NULL;
	if (!c)
		return;
	*c = (struct client){info->connect_fd, clock_mono_us() + CLIENT_US};
	m->n_clients++;
	*context = c;
	if (m->n_clients == METRICS_CLIENTS)
		end_oldest(m);
}

/* ---- its loop ---- */

static int64_t mhd_wait_us(struct metrics *m)
{
	unsigned long long ms;
	if (MHD_get_timeout(m->daemon, &ms) != MHD_YES)
		return INT64_MAX;
	return ms > 60000 ? INT64_C(60000000) : (int64_t)ms * 1000;
}

static void on_readable(void *ctx)
{
	run(ctx);
}

/* A client that can't be accepted for want of descriptors stays readable: without a rest we would
 * turn round and round. */
static void begin_rest(struct metrics *m)
{
	schedule_remove_fd(m->schedule, m->mhd_fd);
	m->rest_until_us = clock_mono_us() + REST_US;
}

static void end_rest(struct metrics *m, int64_t now_us)
{
	struct err e;
	if (!m->rest_until_us || now_us < m->rest_until_us)
		return;
	m->rest_until_us =
		schedule_add_fd(m->schedule, m->mhd_fd, on_readable, m, &e) ? now_us + REST_US : 0;
}

/* MHD keeps work for a next run where there is more to read or a request was woken. */
static void run(struct metrics *m)
{
	if (m->inside)
		return;
	m->inside = true;
	for (int i = 0; i == 0 || (i < RUNS_MAX && mhd_wait_us(m) == 0); i++)
		MHD_run(m->daemon);
	m->inside = false;
	if (!m->rest_until_us && control_socket_starved(m->mhd_fd))
		begin_rest(m);
}

/* MHD ends who is silent; who sends a byte now and then, or reads one, is ended here. */
static int64_t end_slow(struct metrics *m, int64_t now_us)
{
	int64_t next = INT64_MAX;
	for (size_t i = 0; i < METRICS_CLIENTS; i++) {
		struct client *c = &m->clients[i];
		if (c->fd >= 0 && c->until_us <= now_us) {
			shutdown(c->fd, SHUT_RDWR);
			c->until_us = now_us + CLIENT_US;
		}
		if (c->fd >= 0 && c->until_us < next)
			next = c->until_us;
	}
	return next;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t serve(struct metrics *m, int64_t now_us)
{
	int64_t next = metrics_gather_look(m->gather, now_us);
	end_rest(m, now_us);
	if (m->n_clients > 0) {
		next = earlier(next, end_slow(m, now_us));
		run(m);
		int64_t wait = mhd_wait_us(m);
		next = earlier(next, wait == INT64_MAX ? wait : now_us + wait);
	}
	if (m->page && now_us >= m->page_until_us)
		drop_page(m);
	if (m->page)
		next = earlier(next, m->page_until_us);
	return m->rest_until_us ? earlier(next, m->rest_until_us) : next;
}

int64_t metrics_look(struct metrics *m, int64_t now_us)
{
	return m->daemon ? serve(m, now_us) : INT64_MAX;
}

/* ---- beginning and end ---- */

int metrics_base_new(struct metrics_base **out, const char *addr, size_t processes, struct err *e)
{
	struct metrics_base *b = calloc(1, sizeof(*b));
	if (!b)
		return err_nomem(e, "preparing metrics");
	b->listen_fd = -1;
	int rc = metrics_listen(addr, &b->listen_fd, b->url, e);
	if (!rc)
		rc = metrics_peers_new(&b->peers, processes, e);
	if (rc) {
		metrics_base_free(b);
		return rc;
	}
	*out = b;
	return ERR_OK;
}

void metrics_base_free(struct metrics_base *b)
{
	if (!b)
		return;
	fs_close(b->listen_fd);
	metrics_peers_free(b->peers);
	free(b);
}

static int start_server(struct metrics *m, struct err *e)
{
	for (size_t i = 0; i < METRICS_CLIENTS; i++)
		m->clients[i].fd = -1;
	/* The logger comes first: MHD may already speak while it reads the rest. */
	m->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0,
		NULL, NULL, on_access, m, MHD_OPTION_EXTERNAL_LOGGER, httpd_log, "metrics",
		MHD_OPTION_LISTEN_SOCKET, m->base->listen_fd, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)METRICS_CLIENTS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SILENT_SECONDS, MHD_OPTION_NOTIFY_COMPLETED,
		on_completed, m, MHD_OPTION_NOTIFY_CONNECTION, on_connection, m, MHD_OPTION_END);
	if (m->daemon)
		m->base->listen_fd = -1; /* MHD closes it */
	const union MHD_DaemonInfo *info =
		m->daemon ? MHD_get_daemon_info(m->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info)
		return err_set(e, ERR_FAIL, "cannot serve metrics on %s", m->base->url);
	m->mhd_fd = info->epoll_fd;
	int rc = schedule_add_fd(m->schedule, m->mhd_fd, on_readable, m, e);
	if (!rc)
		log_info("serving metrics on %s", m->base->url);
	return rc;
}

/* The first process serves; the others keep nobody waiting at its door. */
static int begin(struct metrics *m, size_t index, struct err *e)
{
	metrics_peers_started(m->base->peers, index);
	if (index == 0)
		return start_server(m, e);
	fs_close(m->base->listen_fd);
	m->base->listen_fd = -1;
	return ERR_OK;
}

int metrics_new(struct metrics **out, struct metrics_base *b, size_t index, struct schedule *s,
	metrics_name_fn *name, void *ctx, struct err *e)
{
	struct metrics *m = calloc(1, sizeof(*m));
	if (!m)
		return err_nomem(e, "preparing metrics");
	m->base = b;
	m->schedule = s;
	const struct metrics_gather_config cfg = {.peers = b->peers,
		.index = index,
		.schedule = s,
		.name = name,
		.ctx = ctx,
		.ready = on_ready,
		.ready_ctx = m};
	int rc = metrics_gather_new(&m->gather, &cfg, e);
	if (!rc)
		rc = begin(m, index, e);
	if (rc) {
		metrics_free(m);
		return rc;
	}
	*out = m;
	return ERR_OK;
}

/* MHD forbids to stop it with suspended connections. */
static void stop_server(struct metrics *m)
{
	if (m->mhd_fd)
		schedule_remove_fd(m->schedule, m->mhd_fd);
	if (m->waiting)
		on_ready(m);
	MHD_stop_daemon(m->daemon);
}

void metrics_free(struct metrics *m)
{
	if (!m)
		return;
	if (m->daemon)
		stop_server(m);
	drop_page(m);
	metrics_gather_free(m->gather);
	free(m);
}
