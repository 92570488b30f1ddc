/*
 * What only a real S3 server can show: TLS, both address styles, refusals with their codes, a
 * server that dies and comes back, a network that breaks. radosgw, started here or taken from the
 * environment; skipped when it is not installed.
 */
#include "lib/server.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/thread.h"
#include "store/store.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct err e;
static struct store *s;
static const char *endpoint, *bucket, *key, *secret;
static int proxy_port;
static char proxy_control[SERVER_DIR_MAX + 16], proxy_to[2][64]; /* host, port */

static const char *env(const char *name)
{
	const char *v = getenv(name);
	if (!v) {
		fprintf(stderr, "%s is not set\n", name);
		exit(1);
	}
	return v;
}

static struct store_options options(void)
{
	return (struct store_options){.access_key_id = key, .secret_access_key = secret};
}

static int open_url(const char *url, const struct store_options *o)
{
	store_close(s);
	s = NULL;
	e = (struct err)ERR_INIT;
	int rc = store_open(&s, url, o, &e);
	if (rc)
		fprintf(stderr, "%s: %s\n", url, e.text);
	return rc;
}

/* A replica of this test's own below the bucket. */
static void open_own(const char *endpoint_url, const char *more, struct store_options o)
{
	char url[600];
	snprintf(url, sizeof(url), "s3://%s/real-%d?endpoint=%s%s", bucket, (int)getpid(), endpoint_url,
		more);
	assert_int_equal(open_url(url, &o), ERR_OK);
}

static int put(const char *name, const char *text)
{
	struct store_body body = {.data = text, .fd = -1, .size = strlen(text)};
	e = (struct err)ERR_INIT;
	return store_put(s, name, &body, NULL, &e);
}

static int collect(void *ctx, const void *p, size_t n, struct err *err)
{
	(void)err;
	return buf_append(ctx, p, n);
}

static void assert_reads(const char *name, const char *text)
{
	struct buf got;
	buf_init(&got, 1000);
	if (store_get(s, name, 0, 0, collect, &got, &e))
		fail_msg("%s", e.text);
	assert_string_equal(buf_str(&got), text);
	buf_free(&got);
}

#define assert_code(call, expected)                                                     \
	do {                                                                                \
		int assert_rc = (call);                                                         \
		if (assert_rc != (expected))                                                    \
			fail_msg("%s: %d instead of %d: %s", #call, assert_rc, (expected), e.text); \
		assert_null(strstr(e.text, secret));                                            \
	} while (0)

static void host_and_port_in_the_url(void **state)
{
	(void)state;
	char url[300];
	struct store_options o = options();
	snprintf(
		url, sizeof(url), "s3://%s.localhost:%s/fruits.db", bucket, strrchr(endpoint, ':') + 1);
	assert_int_equal(open_url(url, &o), ERR_OK);
	assert_code(put("0000/a", "by host"), ERR_OK);
	assert_reads("0000/a", "by host");
}

/*
 * Newer versions of libcurl know that names below localhost are this machine; that of Ubuntu 22.04
 * asks the resolver, which knows it where systemd-resolved or libnss-myhostname is.
 */
static void need_names_below_localhost(void)
{
	char at[400];
	snprintf(at, sizeof(at), "http://%s.localhost:%s/", bucket, strrchr(endpoint, ':') + 1);
	CURL *curl = curl_easy_init();
	assert_non_null(curl);
	curl_easy_setopt(curl, CURLOPT_URL, at);
	curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
	CURLcode rc = curl_easy_perform(curl);
	curl_easy_cleanup(curl);
	if (rc != CURLE_COULDNT_RESOLVE_HOST)
		return;
	printf("neither libcurl %s nor the resolver knows %s.localhost\n",
		curl_version_info(CURLVERSION_NOW)->version, bucket);
	skip();
}

static void virtual_host_style(void **state)
{
	(void)state;
	need_names_below_localhost();
	char at[100];
	snprintf(at, sizeof(at), "http://localhost:%s", strrchr(endpoint, ':') + 1);
	open_own(at, "&force-path-style=false", options());
	assert_code(put("0000/virtual", "one"), ERR_OK);
	assert_reads("0000/virtual", "one");
	open_own(at, "&force-path-style=true", options());
	assert_reads("0000/virtual", "one");
}

static void tls_with_an_authority_of_our_own(void **state)
{
	(void)state;
	struct store_options o = options();
	open_own(env("LITESTREAM_TEST_S3_TLS_ENDPOINT"), "", o);
	assert_code(put("0000/tls", "secret"), ERR_UNREACHABLE);
	assert_non_null(strstr(e.text, "certificate"));
	o.ca_file = env("LITESTREAM_TEST_S3_CA_FILE");
	open_own(env("LITESTREAM_TEST_S3_TLS_ENDPOINT"), "", o);
	assert_code(put("0000/tls", "secret"), ERR_OK);
	assert_reads("0000/tls", "secret");
}

static void tls_in_virtual_host_style(void **state)
{
	(void)state;
	need_names_below_localhost();
	struct store_options o = options();
	o.ca_file = env("LITESTREAM_TEST_S3_CA_FILE");
	open_own(env("LITESTREAM_TEST_S3_TLS_ENDPOINT"), "&force-path-style=false", o);
	assert_code(put("0000/tls-by-host", "secret"), ERR_OK);
	assert_reads("0000/tls-by-host", "secret");
}

static int ignore_object(void *ctx, const struct store_object *o, struct err *err)
{
	(void)ctx, (void)o, (void)err;
	return ERR_OK;
}

/* Every call of the store fails with this code. */
static void assert_all_fail(int code, const char *says)
{
	struct store_delete_result r[2];
	const char *names[] = {"0000/a", "0000/b"};
	assert_code(put("0000/a", "x"), code);
	if (!strstr(e.text, says))
		fail_msg("'%s' is not in: %s", says, e.text);
	e = (struct err)ERR_INIT;
	assert_code(store_list(s, "", NULL, 0, ignore_object, NULL, &e), code);
	if (!strstr(e.text, says))
		fail_msg("'%s' is not in: %s", says, e.text);
	assert_code(store_delete(s, names, 2, r, &e), code);
	assert_int_equal(r[0].code, code);
}

static void wrong_credentials_are_denied(void **state)
{
	(void)state;
	struct store_object o;
	struct store_options wrong = options();
	wrong.secret_access_key = "not-the-secret";
	open_own(endpoint, "", wrong);
	assert_all_fail(ERR_DENIED, "secret access key");
	assert_null(strstr(e.text, "not-the-secret"));
	assert_code(store_head(s, "0000/a", &o, &e), ERR_DENIED);
	wrong = options();
	wrong.access_key_id = "NOSUCHKEY";
	open_own(endpoint, "", wrong);
	assert_all_fail(ERR_DENIED, "access key ID");
}

static void another_users_bucket_is_denied(void **state)
{
	(void)state;
	struct store_options other = options();
	other.access_key_id = env("LITESTREAM_TEST_S3_OTHER_ACCESS_KEY_ID");
	other.secret_access_key = env("LITESTREAM_TEST_S3_OTHER_SECRET_ACCESS_KEY");
	open_own(endpoint, "", other);
	assert_all_fail(ERR_DENIED, "AccessDenied");
}

static int64_t twenty_minutes_on(void)
{
	return (int64_t)time(NULL) * 1000 + 20 * 60000;
}

static int64_t still(void)
{
	return 0;
}

static void no_sleep(int64_t us)
{
	(void)us;
}

static void wrong_clock_is_told(void **state)
{
	(void)state;
	static const struct clock_ops wrong = {twenty_minutes_on, still, still, no_sleep};
	open_own(endpoint, "", options());
	clock_set_ops(&wrong);
	int rc = put("0000/a", "x");
	clock_set_ops(NULL);
	assert_code(rc, ERR_UNREACHABLE);
	if (!strstr(e.text, "clock is 20 minutes ahead"))
		fail_msg("%s", e.text);
}

static void missing_bucket_is_told(void **state)
{
	(void)state;
	char url[300];
	struct store_options o = options();
	snprintf(url, sizeof(url), "s3://no-such-bucket/db?endpoint=%s", endpoint);
	assert_int_equal(open_url(url, &o), ERR_OK);
	assert_all_fail(ERR_FAIL, "bucket does not exist");
	struct buf got;
	buf_init(&got, 10);
	assert_code(store_get(s, "0000/a", 0, 0, collect, &got, &e), ERR_FAIL);
	buf_free(&got);
}

static void keys_of_an_empty_path_begin_with_a_slash(void **state)
{
	(void)state;
	char url[300], at[40];
	struct store_options o = options();
	snprintf(url, sizeof(url), "s3://%s?endpoint=%s", bucket, endpoint);
	snprintf(at, sizeof(at), "0000/root-%d", (int)getpid());
	assert_int_equal(open_url(url, &o), ERR_OK);
	assert_code(put(at, "root"), ERR_OK);
	assert_reads(at, "root");
	/* The other client finds it under the key with the slash. */
	char slashed[48];
	snprintf(slashed, sizeof(slashed), "/%s", at);
	assert_int_equal(server_run("s3.py", (const char *[]){"head", bucket, slashed, NULL}), 0);
	struct store_delete_result r[2];
	const char *names[] = {at, "0000/none"};
	assert_code(store_delete(s, names, 2, r, &e), ERR_OK);
	assert_int_equal(server_run("s3.py", (const char *[]){"head", bucket, slashed, NULL}), 1);
}

static int find_name(void *ctx, const struct store_object *o, struct err *err)
{
	const char **wanted = ctx;
	(void)err;
	if (*wanted && !strcmp(o->name, *wanted))
		*wanted = NULL;
	return ERR_OK;
}

/* Where replicas are is not a replica: without a path it is the bucket's root. */
static void replicas_below_a_bucket_are_found(void **state)
{
	(void)state;
	char url[300], folder[40], name[60];
	const char *wanted = folder;
	struct store_options o = options();
	struct store *one;
	snprintf(folder, sizeof(folder), "apps-%d/", (int)getpid());
	snprintf(url, sizeof(url), "s3://%s/%.*s?endpoint=%s", bucket, (int)strlen(folder) - 1, folder,
		endpoint);
	assert_int_equal(open_url(url, &o), ERR_OK);
	assert_code(put("my-app/litestream.json", "{}"), ERR_OK);
	assert_code(put("my-app/0000/a", "x"), ERR_OK);

	snprintf(url, sizeof(url), "s3://%s?endpoint=%s", bucket, endpoint);
	o.of_replicas = true;
	assert_int_equal(open_url(url, &o), ERR_OK);
	assert_code(store_list_folder(s, "", 10000, find_name, &wanted, &e), ERR_OK);
	assert_null(wanted);
	snprintf(name, sizeof(name), "%smy-app/0000/a", folder);
	assert_reads(name, "x");
	snprintf(name, sizeof(name), "%smy-app", folder);
	assert_int_equal(store_open_folder(&one, s, name, &e), ERR_OK);
	wanted = "a";
	assert_code(store_list(one, "0000/", NULL, 0, find_name, &wanted, &e), ERR_OK);
	assert_null(wanted);
	store_close(one);
}

/* --- a network that breaks ---------------------------------------------------------------------
 */

static void control_proxy(const char *json)
{
	char next[sizeof(proxy_control) + 8];
	snprintf(next, sizeof(next), "%s.next", proxy_control);
	FILE *f = fopen(next, "w");
	fputs(json, f);
	fclose(f);
	rename(next, proxy_control);
}

static void open_through_proxy(struct store_options o)
{
	char at[64];
	snprintf(at, sizeof(at), "http://127.0.0.1:%d", proxy_port);
	open_own(at, "&concurrency=1", o);
}

static uint8_t *pattern(size_t n)
{
	uint8_t *p = malloc(n);
	uint32_t seed = 42;
	assert_non_null(p);
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		p[i] = (uint8_t)(seed >> 24);
	}
	return p;
}

/* Every connection dies after 300 kB: each byte of two megabytes still comes once. */
static void transfers_go_on_where_they_broke(void **state)
{
	(void)state;
	enum { SIZE = 2000000 };
	uint8_t *data = pattern(SIZE);
	struct store_body body = {.data = data, .fd = -1, .size = SIZE};
	struct store_counts counts;
	control_proxy("{}");
	open_through_proxy(options());
	assert_code(store_put(s, "0000/large", &body, NULL, &e), ERR_OK);
	control_proxy("{\"cut_down\": 300000}");
	open_through_proxy(options());
	struct buf got;
	buf_init(&got, SIZE);
	assert_code(store_get(s, "0000/large", 0, 0, collect, &got, &e), ERR_OK);
	assert_int_equal(got.len, SIZE);
	assert_memory_equal(got.data, data, SIZE);
	store_get_counts(s, &counts);
	assert_true(counts.get >= 7);
	assert_int_equal(counts.bytes_in, SIZE);
	buf_free(&got);
	free(data);
	control_proxy("{}");
}

static void uploads_are_sent_again(void **state)
{
	(void)state;
	enum { SIZE = 2000000 };
	uint8_t *data = pattern(SIZE);
	struct store_body body = {.data = data, .fd = -1, .size = SIZE};
	struct store_put_opts once = {.only_if_absent = true};
	struct buf got;
	control_proxy("{\"cut_up\": 700000, \"times\": 1}");
	open_through_proxy(options());
	assert_code(store_put(s, "0000/cut-upload", &body, &once, &e), ERR_OK);
	buf_init(&got, SIZE);
	assert_code(store_get(s, "0000/cut-upload", 0, 0, collect, &got, &e), ERR_OK);
	assert_memory_equal(got.data, data, SIZE);
	buf_free(&got);
	free(data);
	control_proxy("{}");
}

/* The request arrives and the answer does not: the second attempt meets its own object. */
static void lost_answer_ends_as_a_condition(void **state)
{
	(void)state;
	struct store_body body = {.data = "shipped", .fd = -1, .size = 7};
	struct store_put_opts once = {.only_if_absent = true};
	open_through_proxy(options());
	control_proxy("{\"cut_down\": 0, \"times\": 2}");
	assert_code(store_put(s, "0000/lost-answer", &body, &once, &e), ERR_CONDITION);
	control_proxy("{}");
	assert_reads("0000/lost-answer", "shipped");
}

static void *stop_for_a_moment(void *arg)
{
	struct timespec t = {.tv_nsec = 400 * 1000000};
	nanosleep(&t, NULL);
	control_proxy("{}");
	return arg;
}

static void outage_of_a_moment_is_bridged(void **state)
{
	(void)state;
	unsigned long thread;
	open_through_proxy(options());
	control_proxy("{\"refuse\": true}");
	assert_int_equal(thread_start(&thread, stop_for_a_moment, NULL), 0);
	assert_code(put("0000/outage", "bridged"), ERR_OK);
	pthread_join(thread, NULL);
	assert_reads("0000/outage", "bridged");
	struct store_counts counts;
	store_get_counts(s, &counts);
	assert_true(counts.retries > 0);
}

static void frozen_network_times_out(void **state)
{
	(void)state;
	struct store_options o = options();
	o.max_attempts = 1;
	o.stall_timeout_ms = 1000;
	open_through_proxy(o);
	control_proxy("{\"freeze\": true}");
	assert_code(put("0000/frozen", "x"), ERR_UNREACHABLE);
	control_proxy("{}");
}

static void dead_kept_connection_is_replaced(void **state)
{
	(void)state;
	struct store_object o;
	control_proxy("{}");
	open_through_proxy(options());
	assert_code(put("0000/kept", "x"), ERR_OK);
	/* The next answer never comes: the server is gone behind a connection that looks alive. */
	control_proxy("{\"cut_up\": 0, \"times\": 3}");
	assert_code(store_head(s, "0000/kept", &o, &e), ERR_OK);
	control_proxy("{}");
}

/* The HTTP proxy that answers wrongly as `rules` says, before the real server. Its pid. */
static int open_through_faulty(const char *rules)
{
	static char dir[SERVER_DIR_MAX], control[SERVER_DIR_MAX + 16], requests[SERVER_DIR_MAX + 16];
	char at[64];
	int port;
	server_temp_dir(dir);
	snprintf(control, sizeof(control), "%s/control", dir);
	snprintf(requests, sizeof(requests), "%s/requests", dir);
	FILE *f = fopen(control, "w");
	fprintf(f, "{\"rules\": [%s]}", rules);
	fclose(f);
	const char *args[] = {proxy_to[0], proxy_to[1], control, requests, NULL};
	int pid = server_spawn("faulty.py", args, &port);
	snprintf(at, sizeof(at), "http://127.0.0.1:%d", port);
	open_own(at, "", options());
	return pid;
}

/* A batch is answered with 200, and with errors inside: what is gone is known for each name. */
static void half_of_a_batch_is_refused(void **state)
{
	(void)state;
	static const char *const names[] = {"0000/e", "0000/f", "0000/g", "0000/h"};
	struct store_delete_result results[4];
	struct store_object o;
	int pid = open_through_faulty("{\"op\": \"delete\", \"undeleted\": 2, \"times\": 1}");
	for (int i = 0; i < 4; i++)
		assert_code(put(names[i], "x"), ERR_OK);
	assert_code(store_delete(s, names, 4, results, &e), ERR_UNREACHABLE);
	assert_non_null(strstr(e.text, names[0]));
	for (int i = 0; i < 4; i++) {
		assert_int_equal(results[i].code, i < 2 ? ERR_UNREACHABLE : ERR_OK);
		assert_code(store_head(s, names[i], &o, &e), i < 2 ? ERR_OK : ERR_NOT_FOUND);
	}
	assert_code(store_delete(s, names, 4, results, &e), ERR_OK);
	for (int i = 0; i < 4; i++)
		assert_code(store_head(s, names[i], &o, &e), ERR_NOT_FOUND);
	server_stop(pid);
}

static int tear_down(void **state)
{
	(void)state;
	store_close(s);
	s = NULL;
	return 0;
}

static void start_proxy(void)
{
	static char dir[SERVER_DIR_MAX];
	server_temp_dir(dir);
	snprintf(proxy_control, sizeof(proxy_control), "%s/control", dir);
	snprintf(proxy_to[0], sizeof(proxy_to[0]), "%s", strstr(endpoint, "://") + 3);
	char *colon = strrchr(proxy_to[0], ':');
	snprintf(proxy_to[1], sizeof(proxy_to[1]), "%s", colon + 1);
	*colon = '\0';
	const char *args[] = {proxy_to[0], proxy_to[1], proxy_control, NULL};
	server_spawn("proxy.py", args, &proxy_port);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_teardown(function, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(host_and_port_in_the_url),
		TEST(virtual_host_style),
		TEST(tls_with_an_authority_of_our_own),
		TEST(tls_in_virtual_host_style),
		TEST(wrong_credentials_are_denied),
		TEST(another_users_bucket_is_denied),
		TEST(wrong_clock_is_told),
		TEST(missing_bucket_is_told),
		TEST(keys_of_an_empty_path_begin_with_a_slash),
		TEST(replicas_below_a_bucket_are_found),
		TEST(transfers_go_on_where_they_broke),
		TEST(uploads_are_sent_again),
		TEST(lost_answer_ends_as_a_condition),
		TEST(outage_of_a_moment_is_bridged),
		TEST(frozen_network_times_out),
		TEST(dead_kept_connection_is_replaced),
		TEST(half_of_a_batch_is_refused),
	};
#undef TEST
	if (!server_start("ceph.sh", "LITESTREAM_TEST_S3_ENDPOINT")) {
		printf("[  SKIPPED ] s3_real: radosgw is not installed\n");
		return 0;
	}
	endpoint = env("LITESTREAM_TEST_S3_ENDPOINT");
	bucket = env("LITESTREAM_TEST_S3_BUCKET");
	key = env("LITESTREAM_TEST_S3_ACCESS_KEY_ID");
	secret = env("LITESTREAM_TEST_S3_SECRET_ACCESS_KEY");
	start_proxy();
	return cmocka_run_group_tests_name("s3 on radosgw", tests, NULL, NULL);
}
