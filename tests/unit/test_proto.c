/* Messages between the daemon and its children: said, understood, bounded. */
#include "proto/message.h"

#include "base/json.h"
#include "proto/line.h"
#include "proto/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

/* As over a channel: encoded, written, read, parsed. */
static json_t *through_text(json_t *m)
{
	struct buf text;
	struct err e = ERR_INIT;
	json_t *out;
	assert_non_null(m);
	buf_init(&text, PROTO_LINE_MAX);
	assert_int_equal(json_append(&text, m), ERR_OK);
	json_decref(m);
	assert_null(memchr(text.data, '\n', text.len));
	assert_int_equal(json_parse_object(text.data, text.len, "test", &out, &e), ERR_OK);
	buf_free(&text);
	return out;
}

static void test_config(void **state)
{
	(void)state;
	struct message_database db = {
		.id = (char *)"a-1",
		.path = (char *)"/s/a.db",
		.replica = (char *)"s3://b/a",
		.state_dir = (char *)"/d/state/a-1",
		.storage_name = (char *)"s",
		.sync_interval_ms = 1000,
		.barrier_bytes = UINT64_C(1) << 40,
		.no_barrier = true,
		.no_retention = true,
		.l3_retention_ms = 604800000,
	};
	struct message_config in = {
		.app = (char *)"my-app",
		.shutdown_timeout_ms = 30000,
		.credentials = {.access_key_id = (char *)"AK", .secret_access_key = (char *)"SK"},
		.databases = &db,
		.n_databases = 1,
	};
	struct message_config out;
	struct err e = ERR_INIT;
	json_t *m = through_text(message_config_encode(&in));
	enum message_type type;
	assert_int_equal(message_type(m, &type, &e), ERR_OK);
	assert_int_equal(type, MESSAGE_CONFIG);
	assert_int_equal(message_config_decode(&out, m, &e), ERR_OK);
	assert_string_equal(out.app, "my-app");
	assert_string_equal(out.credentials.secret_access_key, "SK");
	assert_null(out.credentials.session_token);
	assert_int_equal(out.n_databases, 1);
	assert_string_equal(out.databases[0].state_dir, "/d/state/a-1");
	assert_null(out.databases[0].container_path);
	assert_true(out.databases[0].no_barrier);
	assert_true(out.databases[0].no_retention);
	assert_int_equal(out.databases[0].l3_retention_ms, 604800000);
	assert_int_equal(out.databases[0].barrier_bytes, UINT64_C(1) << 40);
	message_config_free(&out);
	json_decref(m);
}

static void test_status(void **state)
{
	(void)state;
	struct message_status_database dbs[2] = {
		{.id = (char *)"a", .state = (char *)"replicating", .txid = 31, .uploads = 3},
		{.id = (char *)"b", .state = (char *)"denied", .code = 6, .reason = (char *)"no\nkey"},
	};
	struct message_status in = {dbs, 2}, out;
	struct err e = ERR_INIT;
	json_t *m = through_text(message_status_encode(&in));
	assert_int_equal(message_status_decode(&out, m, &e), ERR_OK);
	assert_int_equal(out.n_databases, 2);
	assert_int_equal(out.databases[0].txid, 31);
	assert_null(out.databases[0].reason);
	assert_string_equal(out.databases[1].reason, "no\nkey");
	message_status_free(&out);
	json_decref(m);
}

/* What arrives with a message about these ids, each with that many uploads. */
static void take_news(
	struct message_status *all, const char *const *ids, size_t n, uint64_t uploads)
{
	struct message_status_database dbs[2];
	struct message_status said = {dbs, n}, news;
	struct err e = ERR_INIT;
	for (size_t i = 0; i < n; i++)
		dbs[i] = (struct message_status_database){
			.id = (char *)ids[i], .state = (char *)"replicating", .uploads = uploads};
	json_t *m = through_text(message_status_encode(&said));
	assert_int_equal(message_status_decode(&news, m, &e), ERR_OK);
	assert_int_equal(message_status_merge(all, &news, &e), ERR_OK);
	message_status_free(&news);
	json_decref(m);
}

static void test_status_of_some(void **state)
{
	(void)state;
	struct message_status all = {0};
	take_news(&all, (const char *const[]){"a", "b"}, 2, 1);
	take_news(&all, (const char *const[]){"c"}, 1, 2);
	take_news(&all, (const char *const[]){"b", "d"}, 2, 3);
	take_news(&all, NULL, 0, 4);
	static const char *const ids[] = {"a", "b", "c", "d"};
	static const uint64_t uploads[] = {1, 3, 2, 3};
	assert_int_equal(all.n_databases, 4);
	for (size_t i = 0; i < 4; i++) {
		assert_string_equal(all.databases[i].id, ids[i]);
		assert_int_equal(all.databases[i].uploads, uploads[i]);
	}
	message_status_free(&all);
}

/* A worker that makes databases up is not believed for ever. */
static void test_status_of_too_many(void **state)
{
	(void)state;
	struct message_status all = {0}, news = {0};
	struct err e = ERR_INIT;
	char id[16];
	for (int i = 0; i < PROTO_DATABASES_MAX; i++) {
		snprintf(id, sizeof(id), "id-%d", i);
		take_news(&all, (const char *const[]){id}, 1, 1);
	}
	news.databases = calloc(1, sizeof(*news.databases));
	news.n_databases = 1;
	news.databases[0].id = strdup("one-more");
	assert_int_equal(message_status_merge(&all, &news, &e), ERR_USAGE);
	assert_int_equal(all.n_databases, PROTO_DATABASES_MAX);
	message_status_free(&news);
	message_status_free(&all);
}

static void test_small_ones(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	char path[] = "/s/a.db";
	char *paths[] = {path};
	struct message_sync sync = {7, 30000, path, true}, sync_out;
	struct message_answer synced = {7, 5, (char *)"gone"}, synced_out;
	struct message_bye bye = {paths, 1}, bye_out;
	struct message_result result = {.exit = 4, .error = (char *)"exists"}, result_out;
	json_t *m = through_text(message_sync_encode(&sync));
	assert_int_equal(message_sync_decode(&sync_out, m, &e), ERR_OK);
	assert_int_equal(sync_out.id, 7);
	assert_string_equal(sync_out.database, path);
	message_sync_free(&sync_out);
	/* Another decoder doesn't take it. */
	assert_int_equal(message_answer_decode(MESSAGE_SYNCED, &synced_out, m, &e), ERR_USAGE);
	message_answer_free(&synced_out);
	json_decref(m);
	m = through_text(message_answer_encode(MESSAGE_SYNCED, &synced));
	assert_int_equal(message_answer_decode(MESSAGE_SYNCED, &synced_out, m, &e), ERR_OK);
	assert_int_equal(synced_out.code, 5);
	message_answer_free(&synced_out);
	json_decref(m);
	m = through_text(message_bye_encode(&bye));
	assert_int_equal(message_bye_decode(&bye_out, m, &e), ERR_OK);
	assert_string_equal(bye_out.unshipped[0], path);
	message_bye_free(&bye_out);
	json_decref(m);
	m = through_text(message_result_encode(&result));
	assert_int_equal(message_result_decode(&result_out, m, &e), ERR_OK);
	assert_int_equal(result_out.exit, 4);
	message_result_free(&result_out);
	json_decref(m);
}

static json_t *parse(const char *text)
{
	struct err e = ERR_INIT;
	json_t *m;
	assert_int_equal(json_parse_object(text, strlen(text), "test", &m, &e), ERR_OK);
	return m;
}

static void test_refused(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"{\"type\":\"synced\",\"id\":1}",
		"{\"type\":\"synced\",\"id\":-1,\"code\":0}",
		"{\"type\":\"synced\",\"id\":1,\"code\":64}",
		"{\"type\":\"synced\",\"id\":1,\"code\":0,\"extra\":0}",
		"{\"type\":\"status\",\"id\":1,\"code\":0}",
		"{\"id\":1,\"code\":0}",
		"{\"type\":\"synced\",\"id\":\"1\",\"code\":0}",
	};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct message_answer out;
		struct err e = ERR_INIT;
		json_t *m = parse(texts[i]);
		assert_int_equal(message_answer_decode(MESSAGE_SYNCED, &out, m, &e), ERR_USAGE);
		assert_true(e.text[0] != '\0');
		message_answer_free(&out);
		json_decref(m);
	}
}

static void test_requests(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct request_target t;
	struct request_sync s;
	json_t *m = parse("{\"storage_dir\":\"/s\",\"file\":\"a\",\"replica\":\"/r\","
					  "\"timestamp\":\"2026-01-31T12:00:00Z\"}");
	assert_int_equal(request_restore_decode(&t, m, &e), ERR_OK);
	assert_int_equal(t.timestamp_ms, 1769860800000);
	request_target_free(&t);
	assert_int_equal(request_check_decode(&t, m, &e), ERR_USAGE); /* a check has no time */
	request_target_free(&t);
	json_decref(m);
	m = parse("{\"storage_dir\":\"/s\",\"file\":\"a\",\"replica\":\"/r\",\"txid\":\"1F\"}");
	assert_int_equal(request_restore_decode(&t, m, &e), ERR_OK);
	assert_int_equal(t.txid, 31);
	assert_false(t.force || t.only_missing);
	request_target_free(&t);
	json_object_set_new(m, "only_missing", json_true());
	assert_int_equal(request_restore_decode(&t, m, &e), ERR_OK);
	assert_true(t.force && t.only_missing);
	request_target_free(&t);
	json_object_set_new(m, "force", json_true());
	assert_int_equal(request_restore_decode(&t, m, &e), ERR_USAGE);
	request_target_free(&t);
	json_decref(m);
	assert_int_equal(request_sync_decode(&s, NULL, &e), ERR_OK);
	assert_int_equal(s.timeout, REQUEST_TIMEOUT_DEFAULT);
	request_sync_free(&s);
	assert_int_equal(request_check_decode(&t, NULL, &e), ERR_USAGE);
	uint64_t txid;
	assert_false(request_parse_txid("", &txid) || request_parse_txid("0", &txid) ||
				 request_parse_txid("x", &txid) || request_parse_txid("-1", &txid) ||
				 request_parse_txid("00000000000000001", &txid) ||
				 request_parse_txid("ffffffffffffffff", &txid));
}

static void database_request(
	enum request_verb verb, const char *text, enum err_code code, const char *why)
{
	struct request_database r;
	struct err e = ERR_INIT;
	json_t *m = text ? parse(text) : NULL;
	assert_int_equal(request_database_decode(&r, verb, m, &e), code);
	if (code != ERR_OK && !strstr(e.text, why))
		fail_msg("%s: %s", text, e.text);
	if (code == ERR_OK) {
		assert_string_equal(r.path, "/a.db");
		assert_int_equal(r.timeout, atoi(why));
		assert_int_equal(r.wait, verb == REQUEST_SYNC);
		assert_int_equal(r.replica_url != NULL, verb == REQUEST_REGISTER);
	}
	request_database_free(&r);
	json_decref(m);
}

static void test_database_requests(void **state)
{
	(void)state;
	database_request(REQUEST_START_STOP, "{\"path\":\"/a.db\"}", ERR_OK, "30");
	database_request(REQUEST_START_STOP, "{\"path\":\"/a.db\",\"timeout\":0}", ERR_OK, "30");
	database_request(
		REQUEST_SYNC, "{\"path\":\"/a.db\",\"wait\":true,\"timeout\":86400}", ERR_OK, "86400");
	database_request(REQUEST_REGISTER, "{\"path\":\"/a.db\",\"replica_url\":\"/r\"}", ERR_OK, "30");
	database_request(REQUEST_SYNC, NULL, ERR_USAGE, "JSON object");
	database_request(REQUEST_SYNC, "{}", ERR_USAGE, "\"path\" is missing");
	database_request(REQUEST_START_STOP, "{\"path\":\"\"}", ERR_USAGE, "path is empty");
	database_request(REQUEST_REGISTER, "{\"path\":\"/a.db\"}", ERR_USAGE, "replica_url");
	database_request(REQUEST_REGISTER, "{\"path\":\"/a.db\",\"replica_url\":\"\"}", ERR_USAGE,
		"replica_url is empty");
	database_request(REQUEST_SYNC, "{\"path\":\"/a.db\",\"timeout\":86401}", ERR_USAGE, "timeout");
	database_request(
		REQUEST_START_STOP, "{\"path\":\"/a.db\",\"wait\":true}", ERR_USAGE, "unknown key");
	/* What may be a secret is in no message. */
	struct request_database r;
	struct err e = ERR_INIT;
	json_t *m = json_pack("{s:s,s:s,s:i}", "path", "/a.db", "replica_url", "s3://GEHEIM", "x", 1);
	assert_int_equal(request_database_decode(&r, REQUEST_REGISTER, m, &e), ERR_USAGE);
	assert_null(strstr(e.text, "GEHEIM"));
	request_database_free(&r);
	json_decref(m);
}

/* ---- channels ---- */

static void make_pair(struct channel *a, struct channel *b)
{
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	channel_init(a, pair[0]);
	channel_init(b, pair[1]);
}

static void test_lines(void **state)
{
	(void)state;
	struct channel a, b;
	struct err e = ERR_INIT;
	json_t *m;
	make_pair(&a, &b);
	assert_int_equal(channel_read(&b, &e), ERR_OK);
	assert_int_equal(channel_next(&b, &m, &e), ERR_AGAIN);
	/* Two and a half lines, then the rest. */
	const char *text = "{\"n\":1}\n{\"n\":2}\n{\"n\"";
	assert_int_equal(write(a.fd, text, strlen(text)), strlen(text));
	assert_int_equal(channel_read(&b, &e), ERR_OK);
	for (int i = 1; i <= 2; i++) {
		assert_int_equal(channel_next(&b, &m, &e), ERR_OK);
		assert_int_equal(json_int(m, "n"), i);
		json_decref(m);
	}
	assert_int_equal(channel_next(&b, &m, &e), ERR_AGAIN);
	assert_int_equal(write(a.fd, ":3}\nbad\n", 8), 8);
	channel_close(&a);
	assert_int_equal(channel_read(&b, &e), ERR_OK);
	assert_true(b.eof);
	assert_int_equal(channel_next(&b, &m, &e), ERR_OK);
	json_decref(m);
	assert_int_equal(channel_next(&b, &m, &e), ERR_USAGE);
	assert_int_equal(channel_next(&b, &m, &e), ERR_AGAIN);
	channel_close(&b);
	channel_close(&b);
}

/* A reader that sleeps costs the sender no memory without end, and gets all that was accepted. */
static void test_slow_reader(void **state)
{
	(void)state;
	struct channel a, b;
	struct err e = ERR_INIT;
	make_pair(&a, &b);
	char *filler = malloc(100001);
	assert_non_null(filler);
	memset(filler, 'x', 100000);
	filler[100000] = '\0';
	json_t *big = json_pack("{s:s}", "f", filler), *m;
	int sent = 0, rc;
	while ((rc = channel_send(&a, big, &e)) == ERR_OK && sent < 1000)
		sent++;
	assert_int_equal(rc, ERR_FULL);
	assert_true(sent > 10 && sent < 100);
	int got = 0;
	while (got < sent) {
		assert_int_equal(channel_read(&b, &e), ERR_OK);
		while (channel_next(&b, &m, &e) == ERR_OK) {
			assert_string_equal(json_text(m, "f"), filler);
			json_decref(m);
			got++;
		}
		channel_flush(&a);
	}
	assert_false(channel_pending(&a));
	json_decref(big);
	free(filler);
	channel_close(&a);
	channel_close(&b);
}

static void test_endless_line(void **state)
{
	(void)state;
	struct channel a, b;
	struct err e = ERR_INIT;
	char part[65536];
	make_pair(&a, &b);
	memset(part, 'x', sizeof(part));
	int rc = ERR_OK;
	for (int i = 0; i < 200 && rc == ERR_OK; i++) {
		(void)!write(a.fd, part, sizeof(part));
		rc = channel_read(&b, &e);
	}
	assert_int_equal(rc, ERR_FULL);
	assert_true(b.in.len < PROTO_LINE_MAX + 65536);
	channel_close(&a);
	channel_close(&b);
}

static void test_text_that_is_no_utf8(void **state)
{
	(void)state;
	int rc = ERR_OK;
	json_t *o = json_object();
	json_put_text(o, "reason", "cannot open /s/\xff\xfe.db", &rc);
	assert_int_equal(rc, ERR_OK);
	assert_string_equal(json_text(o, "reason"), "cannot open /s/?\?.db");
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_status_of_some),
		cmocka_unit_test(test_status_of_too_many),
		cmocka_unit_test(test_small_ones),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_database_requests),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_endless_line),
		cmocka_unit_test(test_text_that_is_no_utf8),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
