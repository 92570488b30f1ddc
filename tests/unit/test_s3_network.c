/* The S3 store on a network that stalls, is gone, or is not the one it should be; and its end. */
#include "lib/s3_bed.h"

#include "base/thread.h"
#include "net/iam.h"

#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

static struct scripted tls_server;

static void gives_up_on_a_server_that_stalls(void **state)
{
	(void)state;
	struct store_options o = options();
	o.max_attempts = 1;
	o.stall_timeout_ms = 1000;
	open_store("/db", "", o);
	int64_t before = real_us(CLOCK_MONOTONIC);
	scripted_answers(&server, "[{'delay': 60}]");
	assert_code(put("x", false), ERR_UNREACHABLE);
	assert_says("no byte came or went for 1.0 s");
	scripted_answers(&server, "[{'headers': {'ETag': '1'}, 'body': 'abcdef', 'stall': 3}]");
	assert_code(get(0, 0), ERR_UNREACHABLE);
	assert_int_equal(got.len, 3);
	assert_true(real_us(CLOCK_MONOTONIC) - before < 10000000);
}

static void ends_at_the_time_for_the_whole_request(void **state)
{
	(void)state;
	struct store_options o = options();
	o.max_attempts = 1;
	o.request_timeout_ms = 700;
	open_store("/db", "", o);
	scripted_answers(&server, "[{'delay': 60}]");
	int64_t before = real_us(CLOCK_MONOTONIC);
	assert_code(put("x", false), ERR_UNREACHABLE);
	assert_true(real_us(CLOCK_MONOTONIC) - before < 5000000);
}

/* Who never said anything is given up sooner than who is only slow today. */
static void gives_up_sooner_on_a_server_that_never_answered(void **state)
{
	(void)state;
	struct store_options o = options();
	o.max_attempts = 3;
	o.stall_timeout_ms = 1000;
	o.first_answer_ms = 900;
	open_store("/db", "", o);
	scripted_answers(&server, "[{'delay': 60}, {'delay': 60}, {'delay': 60}]");
	assert_code(put("x", false), ERR_UNREACHABLE);
	assert_int_equal(scripted_count(&server), 1);
	scripted_answers(&server, "[{'status': 503}, {'delay': 60}, {'headers': {'ETag': '1'}}]");
	assert_code(put("x", false), ERR_OK);
	assert_int_equal(scripted_count(&server), 3);
	scripted_answers(&server, "[{'delay': 60}, {'delay': 60}, {'delay': 60}]");
	assert_code(put("x", false), ERR_UNREACHABLE);
	assert_int_equal(scripted_count(&server), 3);
}

static void *cancel_soon(void *arg)
{
	(void)arg;
	struct timespec t = {.tv_nsec = 300 * 1000000};
	nanosleep(&t, NULL);
	store_cancel(s);
	return NULL;
}

static void cancel_wakes(const char *answers)
{
	unsigned long thread;
	clock_set_ops(NULL);
	open_store("/db", "", options());
	scripted_answers(&server, answers);
	int64_t before = real_us(CLOCK_MONOTONIC);
	assert_int_equal(thread_start(&thread, cancel_soon, NULL), 0);
	assert_code(put("x", false), ERR_CANCELLED);
	pthread_join(thread, NULL);
	assert_true(real_us(CLOCK_MONOTONIC) - before < 2500000);
}

static void cancel_wakes_a_pause_and_a_request(void **state)
{
	(void)state;
	cancel_wakes("[{'status': 503, 'headers': {'Retry-After': '20'}}]");
	cancel_wakes("[{'delay': 20}]");
}

static void nobody_listens(void **state)
{
	(void)state;
	struct scripted gone;
	struct store_options o = options();
	char url[200];
	scripted_start(&gone, false);
	scripted_stop(&gone);
	o.max_attempts = 2;
	store_close(s);
	s = NULL;
	snprintf(url, sizeof(url), "s3://bucket.127.0.0.1:%d/db", gone.port);
	assert_code(store_open(&s, url, &o, &e), ERR_OK);
	assert_code(put("x", false), ERR_UNREACHABLE);
	snprintf(url, sizeof(url), "127.0.0.1:%d", gone.port);
	assert_says(url);
}

static void open_tls(struct store_options o)
{
	char url[200];
	snprintf(url, sizeof(url), "s3://bucket/db?endpoint=https://localhost:%d", tls_server.port);
	store_close(s);
	s = NULL;
	assert_code(store_open(&s, url, &o, &e), ERR_OK);
}

static void certificates_are_verified(void **state)
{
	(void)state;
	struct store_options o = options();
	char ca[PATH_MAX];
	snprintf(ca, sizeof(ca), "%s/tls/ca.pem", tls_server.dir);
	scripted_answers(&tls_server, "[" OK_PUT "]");
	open_tls(o);
	assert_code(put("x", false), ERR_UNREACHABLE);
	assert_says("certificate is not trusted");
	assert_int_equal(scripted_count(&tls_server), 0);
	o.ca_file = ca;
	open_tls(o);
	assert_code(put("x", false), ERR_OK);
	assert_code(put("x", false), ERR_OK);
	o.ca_file = NULL;
	o.skip_verify = true;
	open_tls(o);
	assert_code(put("x", false), ERR_OK);
	assert_int_equal(scripted_count(&tls_server), 3);
	o.skip_verify = false;
	o.ca_file = "/no/such/file.pem";
	store_close(s);
	s = NULL;
	assert_code(store_open(&s, "s3://bucket/db?endpoint=https://localhost:1", &o, &e), ERR_USAGE);
}

/* Who gives credentials learns a token: no store's carelessness is meant for that. */
static void who_gives_credentials_is_verified(void **state)
{
	(void)state;
	struct store_options o = options();
	char url[100], ca[PATH_MAX];
	o.access_key_id = o.secret_access_key = NULL;
	o.use_iam = STORE_ON;
	o.skip_verify = true;
	o.max_attempts = 1;
	snprintf(ca, sizeof(ca), "%s/tls/ca.pem", tls_server.dir);
	snprintf(url, sizeof(url), "https://localhost:%d/container", tls_server.port);
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url, 1);
	setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "container-Token", 1);
	scripted_answers(&tls_server, "[{'status': 403}]");
	iam_reset();
	open_tls(o);
	assert_code(put("x", false), ERR_UNREACHABLE);
	assert_says("certificate is not trusted");
	assert_int_equal(scripted_count(&tls_server), 0);
	o.ca_file = ca;
	iam_reset();
	open_tls(o);
	assert_code(put("x", false), ERR_DENIED);
	assert_int_equal(scripted_count(&tls_server), 1);
	iam_reset();
	unsetenv("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	unsetenv("AWS_CONTAINER_AUTHORIZATION_TOKEN");
}

static void idle_connections_are_closed(void **state)
{
	(void)state;
	scripted_answers(&server, "[" OK_PUT "]");
	assert_int_equal(store_tidy(s), -1);
	assert_code(put("x", false), ERR_OK);
	int64_t left = store_tidy(s);
	assert_true(left > 50000 && left <= 60000);
	slept_us += left * 1000 + 1000;
	assert_int_equal(store_tidy(s), -1);
	assert_code(put("x", false), ERR_OK);
}

/* Of this process; a kept connection of curl's is one. */
static int open_sockets(void)
{
	int n = 0;
	char path[64], target[64];
	for (int fd = 0; fd < 256; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ssize_t len = readlink(path, target, sizeof(target) - 1);
		target[len > 0 ? len : 0] = '\0';
		struct sockaddr_in peer;
		socklen_t size = sizeof(peer);
		n += strncmp(target, "socket:", 7) == 0 &&
			 getpeername(fd, (struct sockaddr *)&peer, &size) == 0 && peer.sin_family == AF_INET;
	}
	return n;
}

static void stores_share_connections(void **state)
{
	(void)state;
	scripted_answers(&server, "[" OK_PUT "]");
	assert_code(put("x", false), ERR_OK);
	assert_int_equal(open_sockets(), 1);
	struct store *first = s;
	s = NULL;
	open_store("/other", "", options());
	assert_code(put("x", false), ERR_OK);
	assert_int_equal(open_sockets(), 1);
	/* Who used it last has to come and tidy. */
	assert_int_equal(store_tidy(first), -1);
	assert_true(store_tidy(s) > 0);
	store_close(first);
	assert_int_equal(open_sockets(), 1);
	assert_code(put("x", false), ERR_OK);
	store_close(s);
	s = NULL;
	assert_int_equal(open_sockets(), 0);
}

/* A connection that one store did not verify is none for a store that would have. */
static void trust_is_not_shared(void **state)
{
	(void)state;
	struct store_options o = options();
	scripted_answers(&tls_server, "[" OK_PUT "]");
	o.skip_verify = true;
	open_tls(o);
	assert_code(put("x", false), ERR_OK);
	struct store *careless = s;
	s = NULL;
	o.skip_verify = false;
	open_tls(o);
	assert_code(put("x", false), ERR_UNREACHABLE);
	assert_says("certificate is not trusted");
	assert_int_equal(scripted_count(&tls_server), 1);
	store_close(s);
	s = careless;
	assert_code(put("x", false), ERR_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(gives_up_on_a_server_that_stalls),
		TEST(gives_up_sooner_on_a_server_that_never_answered),
		TEST(ends_at_the_time_for_the_whole_request),
		TEST(cancel_wakes_a_pause_and_a_request),
		TEST(nobody_listens),
		TEST(certificates_are_verified),
		TEST(who_gives_credentials_is_verified),
		TEST(idle_connections_are_closed),
		TEST(stores_share_connections),
		TEST(trust_is_not_shared),
	};
	scripted_start(&tls_server, true);
	int failed = run_with_server("s3 network", tests, sizeof(tests) / sizeof(tests[0]));
	scripted_stop(&tls_server);
	return failed;
}
