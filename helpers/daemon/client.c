#include "daemon/client.h"

#include "base/buf.h"
#include "base/json.h"
#include "daemon/control.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_MAX ((size_t)32 * 1024 * 1024)
#define CONNECT_TIMEOUT_MS 5000L
#define CLIENT_DAEMON "litestreamd"

struct answer {
	struct buf text; /* all of it, or in a stream what is not yet a whole line */
	long status;
	CURL *curl;
	int (*line)(void *ctx, json_t *object, struct err *e);
	void *ctx;
	const char *peer; /* who is asked, for messages */
	bool exited;
	int rc;
	struct err *e;
};

/* Litestream's own process says none. */
static int check_protocol(const struct answer *a, const json_t *answer, struct err *e)
{
	int64_t protocol = json_int(answer, "protocol");
	bool litestream = !json_object_get(answer, "protocol") && strcmp(a->peer, CLIENT_DAEMON) != 0;
	if (protocol == CONTROL_PROTOCOL || litestream)
		return ERR_OK;
	return err_set(e, ERR_FAIL,
		"%s speaks protocol %lld, this program %d: install both from the same version", a->peer,
		(long long)protocol, CONTROL_PROTOCOL);
}

/* ---- streams ---- */

static int take_exit(struct answer *a, const json_t *object)
{
	int64_t code = json_int(object, "exit");
	const char *error = json_text(object, "error");
	a->exited = true;
	if (code == 0)
		return ERR_OK;
	return err_set(a->e, (enum err_code)code, "%s", *error ? error : "it failed without a reason");
}

static int take_line(struct answer *a, const uint8_t *line, size_t n)
{
	json_t *object;
	int rc = json_parse_object(line, n, "a line of the answer", &object, a->e);
	if (rc != ERR_OK)
		return rc;
	rc = a->line(a->ctx, object, a->e);
	if (rc == ERR_OK && json_object_get(object, "exit"))
		rc = take_exit(a, object);
	json_decref(object);
	return rc;
}

static int take_lines(struct answer *a)
{
	size_t used = 0;
	int rc = ERR_OK;
	const uint8_t *end;
	while (rc == ERR_OK && a->text.len > used &&
		   (end = memchr(a->text.data + used, '\n', a->text.len - used))) {
		size_t n = (size_t)(end - (a->text.data + used));
		rc = take_line(a, a->text.data + used, n);
		used += n + 1;
	}
	if (used > 0)
		memmove(a->text.data, a->text.data + used, a->text.len - used);
	a->text.len -= used;
	return rc;
}

static size_t on_data(char *data, size_t size, size_t n, void *ctx)
{
	struct answer *a = ctx;
	(void)size; /* always 1 */
	if (buf_append(&a->text, data, n) != ERR_OK) {
		a->rc = err_set(a->e, ERR_FAIL, "the answer of %s is too large", a->peer);
		return 0;
	}
	curl_easy_getinfo(a->curl, CURLINFO_RESPONSE_CODE, &a->status);
	if (a->line && a->status == 200)
		a->rc = take_lines(a);
	return a->rc == ERR_OK ? n : 0;
}

/* ---- one exchange ---- */

/* Nobody is there, or doesn't let us in. */
static int no_connection(const char *socket, const struct answer *a, struct err *e)
{
	bool there = access(socket, F_OK) == 0;
	if (there && access(socket, R_OK | W_OK) != 0)
		return err_set(e, ERR_DENIED, "no permission for %s: run it as root or as %s", socket,
			strcmp(a->peer, CLIENT_DAEMON) == 0 ? "a member of its group" : "its user");
	if (strcmp(a->peer, CLIENT_DAEMON) == 0)
		return err_set(e, ERR_FAIL, "%s is not running: %s %s", a->peer,
			there ? "nobody listens on" : "there is no socket", socket);
	return err_set(e, ERR_FAIL,
		"%s %s: start litestream replicate with -socket, or with \"socket: {enabled: true}\" in "
		"its "
		"configuration",
		there ? "nobody listens on" : "there is no socket", socket);
}

static int curl_error(CURLcode code, const char *socket, const struct answer *a, struct err *e)
{
	if (code == CURLE_OPERATION_TIMEDOUT)
		return err_set(e, ERR_UNREACHABLE, "%s did not answer on %s in time", a->peer, socket);
	if (code == CURLE_OUT_OF_MEMORY)
		return err_nomem(e, "asking on a control socket");
	if (code == CURLE_COULDNT_CONNECT)
		return no_connection(socket, a, e);
	return err_set(
		e, ERR_FAIL, "cannot ask %s on %s: %s", a->peer, socket, curl_easy_strerror(code));
}

static void set_options(CURL *curl, const char *socket, const char *method, const char *url,
	const struct buf *body, int64_t timeout_ms, struct answer *a)
{
	curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, a);
	if (body->len > 0) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, (const char *)body->data);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)body->len);
	}
}

static int perform(CURL *curl, const char *socket, const char *method, const char *path,
	const json_t *body, int64_t timeout_ms, struct answer *a)
{
	char url[512];
	struct buf text;
	buf_init(&text, CONTROL_BODY_MAX);
	int n = snprintf(url, sizeof(url), "http://litestream%s", path);
	if (n < 0 || (size_t)n >= sizeof(url))
		return err_set(a->e, ERR_USAGE, "the request is too long");
	if (body && json_append(&text, body) != ERR_OK) {
		buf_free(&text);
		return err_set(a->e, ERR_USAGE, "the request is too large");
	}
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	set_options(curl, socket, method, url, &text, timeout_ms, a);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	CURLcode code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &a->status);
	curl_slist_free_all(headers);
	buf_free(&text);
	if (a->rc != ERR_OK)
		return a->rc; /* its text is the better one */
	return code == CURLE_OK ? ERR_OK : curl_error(code, socket, a, a->e);
}

static int exchange(const char *socket, const char *method, const char *path, const json_t *body,
	int64_t timeout_ms, struct answer *a)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
	buf_init(&a->text, ANSWER_MAX);
	a->curl = curl_easy_init();
	if (!a->curl)
		return err_nomem(a->e, "asking on a control socket");
	int rc = perform(a->curl, socket, method, path, body, timeout_ms, a);
	curl_easy_cleanup(a->curl);
	return rc;
}

/* An answer that is no stream: an object, or {"error", "code"}. */
static int read_answer(const struct answer *a, json_t **out, struct err *e)
{
	json_t *object;
	int rc = json_parse_object(a->text.data, a->text.len, "the answer", &object, e);
	if (rc != ERR_OK)
		return err_set(
			e, ERR_FAIL, "%s answered HTTP %ld with something that isn't JSON", a->peer, a->status);
	rc = check_protocol(a, object, e);
	if (rc == ERR_OK && a->status != 200) {
		int64_t code = json_int(object, "code");
		const char *error = json_text(object, "error");
		rc = err_set(e, (enum err_code)(code > 0 ? code : ERR_FAIL), "%s",
			*error ? error : "it was refused without a reason");
	}
	*out = object;
	return rc;
}

static int request(const char *peer, const char *socket, const char *method, const char *path,
	const json_t *body, int64_t timeout_ms, json_t **out, struct err *e)
{
	struct answer a = {.peer = peer, .e = e};
	*out = NULL;
	int rc = exchange(socket, method, path, body, timeout_ms, &a);
	if (rc == ERR_OK)
		rc = read_answer(&a, out, e);
	buf_free(&a.text);
	return rc;
}

int client_request(const char *socket, const char *method, const char *path, const json_t *body,
	int64_t timeout_ms, json_t **out, struct err *e)
{
	return request(CLIENT_DAEMON, socket, method, path, body, timeout_ms, out, e);
}

int client_ask_replicate(const char *socket, const char *method, const char *path,
	const json_t *body, int64_t timeout_ms, json_t **out, struct err *e)
{
	return request("litestream replicate", socket, method, path, body, timeout_ms, out, e);
}

int client_stream(const char *socket, const char *path, const json_t *body,
	int (*line)(void *ctx, json_t *object, struct err *e), void *ctx, struct err *e)
{
	struct answer a = {.peer = CLIENT_DAEMON, .e = e, .line = line, .ctx = ctx};
	json_t *refusal = NULL;
	int rc = exchange(socket, "POST", path, body, 0, &a);
	if (rc == ERR_OK && a.status != 200)
		rc = read_answer(&a, &refusal, e);
	else if (rc == ERR_OK && !a.exited)
		rc = err_set(e, ERR_FAIL, "litestreamd ended before it was done; see its log");
	json_decref(refusal);
	buf_free(&a.text);
	return rc;
}
