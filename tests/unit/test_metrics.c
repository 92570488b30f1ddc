/* Metrics: the text and its escapes, parts between processes, addresses, what stores count. */
#include "base/fs.h"
#include "conf/address.h"
#include "daemon/metrics_listen.h"
#include "daemon/metrics_peers.h"
#include "daemon/metrics_text.h"
#include "store/totals.h"
#include "lib/tmpdir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static struct err e;

/* ---- text ---- */

static void test_escape(void **state)
{
	static const struct {
		const char *text, *escaped;
	} cases[] = {
		{"/data/app.db", "/data/app.db"},
		{"a\"b\\c\nd", "a\\\"b\\\\c\\nd"},
		{"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
		{"caf\xe9", "caf\\\\xE9"},                            /* Latin-1 */
		{"\xc3", "\\\\xC3"},                                  /* half of a character, at the end */
		{"\xc0\xaf", "\\\\xC0\\\\xAF"},                       /* longer than need be */
		{"\xe0\x80\x80", "\\\\xE0\\\\x80\\\\x80"},            /* the same */
		{"\xed\xa0\x80", "\\\\xED\\\\xA0\\\\x80"},            /* UTF-16's */
		{"\xf4\x90\x80\x80", "\\\\xF4\\\\x90\\\\x80\\\\x80"}, /* above all that there are */
		{"\xe2\x82\"", "\\\\xE2\\\\x82\\\""},
		{"", ""},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct buf b;
		buf_init(&b, 1000);
		assert_int_equal(metrics_text_escape(&b, cases[i].text), ERR_OK);
		assert_string_equal(buf_str(&b), cases[i].escaped);
		buf_free(&b);
	}
}

static struct metrics_database one_database(void)
{
	struct metrics_database d = {
		.db = "/data/\"a\".db",
		.replica = "far",
		.state = REPLICATOR_FENCED,
		.db_bytes = UINT64_C(18446744073709551615),
		.lag_ms = 61005,
		.upload_ms = INT64_C(1700000000123),
		.turns = {7, 2, 1500000},
		.source = {.passives = 3, .passives_us = 42},
		.l0 = {5, 6, 7},
		.requests = {1, 2, 3, 4, 5},
	};
	return d;
}

static char *page_of(const struct metrics_source *sources, size_t n)
{
	struct buf b;
	buf_init(&b, METRICS_TEXT_MAX);
	assert_int_equal(metrics_text(&b, sources, n), ERR_OK);
	char *text = strdup(buf_str(&b));
	buf_free(&b);
	assert_non_null(text);
	return text;
}

static void has(const char *page, const char *line)
{
	const char *at = strstr(page, line);
	if (!at || (at > page && at[-1] != '\n') || at[strlen(line)] != '\n')
		fail_msg("no line %s", line);
}

#define DB "{db=\"/data/\\\"a\\\".db\",replica=\"far\""

static void test_page(void **state)
{
	struct metrics_database d = one_database();
	struct metrics_operations o = {.kind = "s3"};
	o.of[STORE_OPERATION_GET] = (struct store_total){
		.requests = 4, .bytes = 99, .us = 2500001, .took = {1, 1, 0, 0, 0, 0, 0, 0, 0, 1}};
	o.of[STORE_OPERATION_GET].errors[1] = 3;
	const struct metrics_part part = {.process = {INT64_C(1700000000000), 1000001, 4096},
		.operations = &o,
		.n_operations = 1,
		.databases = &d,
		.n_databases = 1};
	const struct metrics_source source = {&part, 0};
	(void)state;
	char *page = page_of(&source, 1);
	has(page, "# TYPE litestream_db_size gauge");
	has(page, "litestream_db_size" DB "} 18446744073709551615");
	has(page, "litestream_sync_count" DB "} 7");
	has(page, "litestream_sync_error_count" DB "} 2");
	has(page, "litestream_sync_seconds" DB "} 1.500000");
	has(page, "litestream_checkpoint_count" DB ",mode=\"PASSIVE\"} 3");
	has(page, "litestream_checkpoint_seconds" DB ",mode=\"PASSIVE\"} 0.000042");
	has(page, "litestream_replica_lag_seconds" DB "} 61.005");
	has(page, "litestream_replica_last_upload_timestamp_seconds" DB "} 1700000000.123");
	assert_null(strstr(page, "litestream_replica_last_snapshot_timestamp_seconds{")); /* never */
	has(page, "litestream_replica_state" DB ",state=\"fenced\"} 1");
	has(page, "litestream_replica_state" DB ",state=\"replicating\"} 0");
	has(page, "litestream_replica_requests_total" DB ",operation=\"LIST\"} 4");
	has(page, "litestream_l0_retention_files_total" DB ",status=\"not_compacted\"} 6");
#define GET "{replica_type=\"s3\",operation=\"GET\""
	has(page, "litestream_replica_operation_total" GET "} 4");
	has(page, "litestream_replica_operation_bytes" GET "} 99");
	has(page, "litestream_replica_operation_duration_seconds_bucket" GET ",le=\"0.01\"} 1");
	has(page, "litestream_replica_operation_duration_seconds_bucket" GET ",le=\"60\"} 2");
	has(page, "litestream_replica_operation_duration_seconds_bucket" GET ",le=\"+Inf\"} 3");
	has(page, "litestream_replica_operation_duration_seconds_count" GET "} 3");
	has(page, "litestream_replica_operation_duration_seconds_sum" GET "} 2.500001");
	has(page, "litestream_replica_operation_errors_total" GET ",code=\"AccessDenied\"} 3");
	has(page, "process_cpu_seconds_total 1.000001");
	has(page, "process_start_time_seconds 1700000000.000");
	assert_null(strstr(page, "process="));
	assert_null(strstr(page, "process_restarts"));
	free(page);
}

static void test_page_of_several(void **state)
{
	struct metrics_operations o = {.kind = "file"};
	const struct metrics_part part = {.operations = &o, .n_operations = 1};
	const struct metrics_source sources[2] = {{&part, 0}, {NULL, 4}};
	(void)state;
	char *page = page_of(sources, 2);
	has(page, "litestream_process_up{process=\"1\"} 1");
	has(page, "litestream_process_up{process=\"2\"} 0");
	has(page, "litestream_process_restarts_total{process=\"2\"} 4");
	has(page,
		"litestream_replica_operation_total{replica_type=\"file\",operation=\"PUT\",process=\"1\"} "
		"0");
	assert_null(strstr(page, "process_cpu_seconds_total{process=\"2\"}"));
	free(page);
}

static void test_page_bounds(void **state)
{
	struct metrics_database d = one_database();
	const struct metrics_part part = {.databases = &d, .n_databases = 1};
	const struct metrics_source source = {&part, 0};
	struct buf b;
	(void)state;
	for (size_t max = 0; max < 4000; max += 97) {
		buf_init(&b, max);
		assert_int_equal(metrics_text(&b, &source, 1), ERR_FULL);
		assert_true(b.len <= max);
		buf_free(&b);
	}
}

/* ---- between processes ---- */

static void same_part(const struct metrics_part *a, const struct metrics_part *b)
{
	assert_memory_equal(&a->process, &b->process, sizeof(a->process));
	assert_int_equal(a->n_operations, b->n_operations);
	assert_memory_equal(a->operations, b->operations, a->n_operations * sizeof(*a->operations));
	assert_int_equal(a->n_databases, b->n_databases);
	for (size_t i = 0; i < a->n_databases; i++) {
		assert_string_equal(a->databases[i].db, b->databases[i].db);
		assert_string_equal(a->databases[i].replica, b->databases[i].replica);
		assert_int_equal(a->databases[i].lag_ms, b->databases[i].lag_ms);
		assert_int_equal(a->databases[i].l0.eligible, b->databases[i].l0.eligible);
	}
}

static void test_part_bytes(void **state)
{
	struct metrics_database d[2] = {one_database(), one_database()};
	struct metrics_operations o = {.kind = "s3"};
	const struct metrics_part part = {.process = {1, 2, 3},
		.operations = &o,
		.n_operations = 1,
		.databases = d,
		.n_databases = 2};
	struct metrics_part back;
	struct buf b;
	(void)state;
	d[1].db = "";
	buf_init(&b, METRICS_PART_MAX);
	assert_int_equal(metrics_part_encode(&part, &b), ERR_OK);
	assert_int_equal(metrics_part_decode(&back, b.data, b.len, &e), ERR_OK);
	same_part(&part, &back);
	metrics_part_free(&back);
	/* None of its beginnings is one, nor is more than it. */
	for (size_t n = 0; n < b.len; n++) {
		void *copy = malloc(n ? n : 1);
		assert_non_null(copy);
		memcpy(copy, b.data, n);
		assert_int_equal(metrics_part_decode(&back, copy, n, &e), ERR_DAMAGED);
		metrics_part_free(&back);
		free(copy);
	}
	assert_int_equal(buf_append(&b, "", 1), ERR_OK);
	assert_int_equal(metrics_part_decode(&back, b.data, b.len, &e), ERR_DAMAGED);
	metrics_part_free(&back);
	buf_free(&b);
}

static void test_peers(void **state)
{
	struct metrics_peers *p;
	struct metrics_database d = one_database();
	const struct metrics_part part = {.databases = &d, .n_databases = 1};
	struct metrics_part back = {0};
	(void)state;
	assert_int_equal(metrics_peers_new(&p, 3, &e), ERR_OK);
	assert_int_equal(metrics_peers_count(p), 3);
	assert_int_equal(metrics_peers_question(p, 2), 0);
	assert_true(metrics_peers_ask(p, 2, 1001));
	assert_true(metrics_peers_ask(p, 2, 1002));
	assert_int_equal(metrics_peers_question(p, 2), 1002); /* the latest */
	assert_int_equal(metrics_peers_question(p, 2), 0);
	assert_int_equal(metrics_peers_take(p, 2, 1002, &back, &e), ERR_AGAIN);
	assert_int_equal(metrics_peers_answer(p, 2, 1002, &part, &e), ERR_OK);
	assert_int_equal(metrics_peers_take(p, 1, 1002, &back, &e), ERR_AGAIN); /* another one's */
	assert_int_equal(metrics_peers_take(p, 2, 1002, &back, &e), ERR_OK);
	assert_int_equal(back.databases[0].lag_ms, d.lag_ms);
	metrics_part_free(&back);
	/* An answer that came too late is none to the next question. */
	assert_int_equal(metrics_peers_answer(p, 2, 1002, &part, &e), ERR_OK);
	assert_int_equal(metrics_peers_take(p, 2, 1003, &back, &e), ERR_AGAIN);
	/* Who reads no questions can't be asked for ever, and keeps nobody waiting. */
	int asked = 0;
	while (metrics_peers_ask(p, 1, 2000 + asked))
		assert_true(asked++ < 100000);
	metrics_peers_started(p, 1);
	assert_int_equal(metrics_peers_restarts(p, 1), 0);
	metrics_peers_started(p, 1);
	metrics_peers_started(p, 1);
	assert_int_equal(metrics_peers_restarts(p, 1), 2);
	metrics_peers_free(p);
}

/* ---- addresses ---- */

static void test_address(void **state)
{
	static const struct {
		const char *text, *host, *port;
	} good[] = {
		{":9090", "", "9090"},
		{"127.0.0.1:9090", "127.0.0.1", "9090"},
		{"[::1]:9090", "::1", "9090"},
		{"[fe80::1%eth0]:1", "fe80::1%eth0", "1"},
		{"localhost:0", "localhost", "0"},
		{"my-host.example:65535", "my-host.example", "65535"},
	};
	static const char *const bad[] = {"", "9090", ":", "localhost", "127.0.0.1:", ":65536", ":-1",
		":+1", ": 1", ":90x", ":000000", "::1:9090", "[::1]", "[]:1", "[::1:9090", "[::1]9090",
		"http://localhost:1", "a b:1", "a/b:1", "user@host:1", "[host!]:1"};
	struct address a;
	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		assert_true(address_parse(&a, good[i].text));
		assert_string_equal(a.host, good[i].host);
		assert_string_equal(a.port, good[i].port);
	}
	for (size_t i = 0; i < COUNT(bad); i++)
		if (address_parse(&a, bad[i]))
			fail_msg("%s was taken", bad[i]);
	char longest[400];
	memset(longest, 'a', sizeof(longest));
	memcpy(longest + 300, ":1", 3);
	assert_false(address_parse(&a, longest));
}

static int try_listen(const char *addr, char url[METRICS_URL_MAX])
{
	int fd = -1;
	int rc = metrics_listen(addr, &fd, url, &e);
	assert_true((rc == ERR_OK) == (fd >= 0));
	return rc ? -1 : fd;
}

static void test_listen(void **state)
{
	char url[METRICS_URL_MAX], again[64];
	unsigned port;
	(void)state;
	int fd = try_listen("127.0.0.1:0", url);
	assert_true(fd >= 0);
	assert_int_equal(sscanf(url, "http://127.0.0.1:%u/metrics", &port), 1);
	assert_true(port > 0);
	snprintf(again, sizeof(again), "127.0.0.1:%u", port);
	assert_int_equal(try_listen(again, url), -1);
	assert_int_equal(e.code, ERR_FAIL);
	assert_non_null(strstr(e.text, "something else listens there"));
	/* All addresses: IPv6 where there is any, and IPv4 with it, which is taken. */
	snprintf(again, sizeof(again), ":%u", port);
	assert_int_equal(try_listen(again, url), -1);
	fs_close(fd);
	fd = try_listen(again, url);
	assert_true(fd >= 0);
	assert_int_equal(sscanf(url, "http://:%u/metrics", &port), 1);
	fs_close(fd);
	fd = try_listen("[::1]:0", url);
	if (fd >= 0)
		assert_int_equal(sscanf(url, "http://[::1]:%u/metrics", &port), 1);
	else
		assert_int_equal(e.code, ERR_FAIL); /* a machine without IPv6 */
	fs_close(fd);
	assert_int_equal(try_listen("nowhere", url), -1);
	assert_int_equal(e.code, ERR_USAGE);
}

/* ---- what stores count ---- */

static struct store_total total_of(enum store_operation op)
{
	struct store_total t;
	size_t kind = 0;
	while (store_kind(kind) && strcmp(store_kind(kind), "file") != 0)
		kind++;
	assert_non_null(store_kind(kind));
	store_get_total(kind, op, &t);
	return t;
}

static uint64_t errors_of(const struct store_total *t)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < STORE_ERROR_CODES; i++)
		sum += t->errors[i];
	return sum;
}

static uint64_t took_of(const struct store_total *t)
{
	uint64_t sum = 0;
	for (int i = 0; i <= STORE_TIMES; i++)
		sum += t->took[i];
	return sum;
}

static int drop(void *ctx, const void *p, size_t n, struct err *why)
{
	(void)ctx, (void)p, (void)n, (void)why;
	return ERR_OK;
}

static int drop_listed(void *ctx, const struct store_object *o, struct err *why)
{
	(void)ctx, (void)o, (void)why;
	return ERR_OK;
}

/* Each call is a request, its answer has a time, and what is asked to find out is no error. Totals
 * outlive their store. */
static void test_totals(void **state)
{
	char *dir = tmpdir_new();
	struct store *s;
	struct store_object o;
	struct store_counts counts;
	struct store_delete_result result;
	const char *name = "0000/a";
	const struct store_body body = {.data = "12345", .fd = -1, .size = 5};
	const struct store_put_opts once = {.only_if_absent = true};
	(void)state;
	assert_int_equal(store_open(&s, dir, NULL, &e), ERR_OK);
	assert_int_equal(store_put(s, name, &body, &once, &e), ERR_OK);
	assert_int_equal(store_put(s, name, &body, &once, &e), ERR_CONDITION);
	assert_int_equal(store_get(s, name, 1, 3, drop, NULL, &e), ERR_OK);
	assert_int_equal(store_get(s, name, 9, 0, drop, NULL, &e), ERR_DAMAGED);
	assert_int_equal(store_head(s, "0000/b", &o, &e), ERR_NOT_FOUND);
	assert_int_equal(store_list(s, "0000/", NULL, 0, drop_listed, NULL, &e), ERR_OK);
	assert_int_equal(store_delete(s, &name, 1, &result, &e), ERR_OK);
	store_get_counts(s, &counts);
	store_close(s);
	const uint64_t asked[] = {counts.put, counts.get, counts.head, counts.list, counts.del};
	const uint64_t expected[] = {2, 2, 1, 1, 1};
	for (int op = 0; op < STORE_OPERATIONS; op++) {
		struct store_total t = total_of((enum store_operation)op);
		assert_int_equal(asked[op], expected[op]);
		assert_int_equal(t.requests, expected[op]);
		assert_int_equal(took_of(&t), expected[op]);
		assert_int_equal(errors_of(&t), op == STORE_OPERATION_GET);
	}
	assert_int_equal(total_of(STORE_OPERATION_PUT).bytes, 5);
	assert_int_equal(total_of(STORE_OPERATION_GET).bytes, 3);
	for (size_t i = 0; i < STORE_ERROR_CODES; i++)
		assert_int_equal(
			total_of(STORE_OPERATION_GET).errors[i], !strcmp(store_error_code(i), "damaged"));
	tmpdir_free(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape),
		cmocka_unit_test(test_page),
		cmocka_unit_test(test_page_of_several),
		cmocka_unit_test(test_page_bounds),
		cmocka_unit_test(test_part_bytes),
		cmocka_unit_test(test_peers),
		cmocka_unit_test(test_address),
		cmocka_unit_test(test_listen),
		cmocka_unit_test(test_totals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
