#include "daemon/discovery.h"

#include "base/fs.h"
#include "base/log.h"
#include "conf/desired.h"
#include "conf/names.h"
#include "daemon/credentials.h"
#include "proto/request.h"
#include "store/url.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TIMEOUT_MS 300000
#define NOBODY 65534

struct discovery_call {
	struct control_request *request;
	struct request_discover body;
	struct job *job;
};

static void call_free(struct discovery_call *c)
{
	request_discover_free(&c->body);
	free(c);
}

static void on_log(void *ctx, const char *text)
{
	(void)ctx;
	log_info("looking for replicas: %s", text);
}

static void on_end(void *ctx, const struct err *e, json_t *result)
{
	struct discovery_call *c = ctx;
	if (e->code != ERR_OK)
		control_fail(c->request, e);
	else
		control_reply(c->request, 200, json_incref(result));
	call_free(c);
}

/* A job that was cancelled tells nothing more. */
static void on_gone(void *ctx)
{
	struct discovery_call *c = ctx;
	job_cancel(c->job);
	call_free(c);
}

/* A folder of root's is for everybody or for none: it is read as nobody. */
static int find_owner(const char *path, uid_t *uid, gid_t *gid, struct err *e)
{
	struct stat st;
	int rc = ERR_OK;
	if (strcmp(path, "/") == 0)
		return err_set(
			e, ERR_USAGE, "replicas are not looked for on all of this host: name the folder");
	int fd = fs_open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0 || fstat(fd, &st) != 0) {
		rc = err_errno(e, ERR_NO_BACKUP, errno, "cannot look into the folder %s", path);
	} else if (st.st_uid != 0) {
		*uid = st.st_uid;
		*gid = st.st_gid;
	}
	fs_close(fd);
	return rc;
}

/* Who reads: nobody; where it is a folder of this host, its owner, who may read it. */
static int choose_user(const char *url, uid_t *uid, gid_t *gid, struct err *e)
{
	struct store_url parsed;
	*uid = NOBODY;
	*gid = NOBODY;
	int rc = store_url_parse(&parsed, url, e);
	if (rc == ERR_OK && strcmp(parsed.scheme, "file") == 0)
		rc = find_owner(parsed.path, uid, gid, e);
	store_url_free(&parsed);
	return rc;
}

static int start_job(struct routes *r, struct discovery_call *c, struct err *e)
{
	struct supervisor *s = r->supervisor;
	const struct request_discover *body = &c->body;
	const struct job_events events = {NULL, on_log, NULL, on_end, c};
	struct confine_folders folders = {.roots = s->cfg.storage_roots};
	struct secrets secrets;
	uid_t uid;
	gid_t gid;
	if (body->app && !name_is_app(body->app))
		return err_set(e, ERR_USAGE, "\"%.64s\" can't be the name of an app", body->app);
	int rc = choose_user(body->url, &uid, &gid, e);
	if (rc != ERR_OK)
		return rc;
	if (s->cfg.child.run_as_self) {
		uid = geteuid();
		gid = getegid();
	}
	rc = secrets_read(&secrets, s->secrets_dir, body->app, s->cfg.owner, e);
	const struct message_job m = {
		.kind = JOB_DISCOVER,
		.path = "",
		.replica = body->url,
		.credentials = credentials_to_message(&secrets),
	};
	if (rc == ERR_OK)
		rc = confine_add_replica(&folders, CONFINE_SOURCE, body->url, e);
	if (rc == ERR_OK)
		rc = job_start(r->jobs, uid, gid, &folders, &m, TIMEOUT_MS, &events, &c->job, e);
	confine_free(&folders);
	secrets_free(&secrets);
	return rc;
}

void discovery_start(struct routes *r, struct control_request *q)
{
	struct err e = ERR_INIT;
	struct discovery_call *c = calloc(1, sizeof(*c));
	int rc = c ? request_discover_decode(&c->body, control_body(q), &e)
			   : err_nomem(&e, "looking for replicas");
	if (rc == ERR_OK) {
		c->request = q;
		rc = start_job(r, c, &e);
	}
	if (rc == ERR_OK) {
		control_on_gone(q, on_gone, c);
		return;
	}
	control_fail(q, &e);
	if (c)
		call_free(c);
}
