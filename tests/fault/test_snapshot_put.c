/* The file of a snapshot on its way to the store, in this life or the next one. */
#include "lib/snapshot_bed.h"

/* ---- the upload ---- */

static void finish_file(struct bed *b)
{
	struct store_fault down = {.op = STORE_OP_PUT, .name_contains = "9/"};
	assert_int_equal(store_fault_add("s", &down), 0);
	ask(b);
	until(b, SPOOL_READY);
	assert_int_equal(step(b, true), ERR_UNREACHABLE);
	assert_int_equal(phase(b), SPOOL_NONE);
	assert_int_equal(access(b->spool, F_OK), -1);
	store_fault_heal("s");
}

/* A finished file is uploaded later, also by the next life, though the database went on. */
static void test_finished_and_uploaded_later(void **state)
{
	struct bed *b = *state;
	start(b);
	finish_file(b);
	app_change(b->db);
	check_same(b);
	take_right(b);
	assert_int_equal(b->made.max_txid, 1);
	finish_file(b);
	ship_close(&b->s);
	app_change(b->db);
	start(b);
	take_right(b);
	assert_int_equal(b->made.max_txid, 2);
	assert_int_equal(b->s.r->making.uploaded, 1);
	assert_int_equal(step(b, false), ERR_OK);
	assert_int_equal(b->made.max_txid, 0);
}

/* Its put had succeeded, as the listing of the next life shows: no second one. */
static void test_uploaded_by_an_earlier_life(void **state)
{
	struct bed *b = *state;
	struct store_fault lose = {
		.op = STORE_OP_PUT, .name_contains = "9/", .times = 1, .action = STORE_FAULT_LOSE_ANSWER};
	start(b);
	app_change(b->db);
	check_same(b);
	ask(b);
	until(b, SPOOL_READY);
	assert_int_equal(store_fault_add("s", &lose), 0);
	assert_int_equal(step(b, true), ERR_UNREACHABLE);
	ship_close(&b->s);
	start(b);
	uint64_t puts = store_fault_calls("s", STORE_OP_PUT);
	assert_int_equal(step(b, false), ERR_OK);
	assert_int_equal(b->made.max_txid, 0);
	assert_int_equal(store_fault_calls("s", STORE_OP_PUT), puts);
	assert_int_equal(rmdir(b->folder), 0);
	assert_true(image_snapshot_is_right(INNER, 2));
}

/* The gate is asked right before: nothing is put behind its back. */
static int closed(struct replicator *r, struct err *e)
{
	(void)r;
	return err_set(e, ERR_AGAIN, "not now");
}

static void test_the_gate(void **state)
{
	struct bed *b = *state;
	start(b);
	ask(b);
	until(b, SPOOL_READY);
	uint64_t puts = store_fault_calls("s", STORE_OP_PUT);
	for (int i = 0; i < 2; i++)
		assert_int_equal(snapshot_step(b->s.r, true, closed, &b->made, &b->wait, &b->e), ERR_AGAIN);
	assert_int_equal(store_fault_calls("s", STORE_OP_PUT), puts);
	take_right(b);
}

static void put_snapshot(struct bed *b, const void *data, size_t n)
{
	struct store *s = NULL;
	char name[FENCE_NAME_SIZE];
	struct store_body body = {.data = data, .fd = -1, .size = n};
	assert_int_equal(store_open(&s, INNER, NULL, &b->e), 0);
	fence_name(s, 9, 1, 1, name);
	assert_int_equal(store_put(s, name, &body, NULL, &b->e), 0);
	store_close(s);
}

/* The answer to the put was lost: what stands there is the same state. */
static void test_there_already(void **state)
{
	struct bed *b = *state;
	struct store_fault lose = {
		.op = STORE_OP_PUT, .name_contains = "9/", .times = 1, .action = STORE_FAULT_LOSE_ANSWER};
	start(b);
	assert_int_equal(store_fault_add("s", &lose), 0);
	ask(b);
	until(b, SPOOL_READY);
	assert_int_equal(step(b, true), ERR_UNREACHABLE);
	take_right(b);
}

/* Another content under its name: another node's. */
static void test_another_is_there(void **state)
{
	struct bed *b = *state;
	uint8_t header[LTX_HEADER_SIZE];
	struct ltx_header h = {.page_size = 4096,
		.commit = 7,
		.min_txid = 1,
		.max_txid = 1,
		.timestamp = 5,
		.ours = true,
		.after_checksum = LTX_CHECKSUM_FLAG | 5};
	start(b);
	ask(b);
	until(b, SPOOL_READY);
	assert_int_equal(ltx_header_encode(&h, header, &b->e), ERR_OK);
	put_snapshot(b, header, sizeof(header));
	assert_int_equal(step(b, true), ERR_FENCED);
	assert_non_null(strstr(b->e.text, "another node wrote a snapshot"));
}

/* Our own of an earlier life, in other bytes: the same state. */
static void test_the_same_state_is_there(void **state)
{
	struct bed *b = *state;
	uint8_t header[LTX_HEADER_SIZE];
	start(b);
	ask(b);
	until(b, SPOOL_READY);
	struct ltx_header h = b->s.r->shared.spool_of;
	h.min_txid = 1;
	h.ours = true;
	h.node_id = 99;
	assert_int_equal(ltx_header_encode(&h, header, &b->e), ERR_OK);
	put_snapshot(b, header, sizeof(header));
	assert_int_equal(step(b, true), ERR_OK);
	assert_int_equal(b->made.max_txid, 1);
}

/* Another program's, which says nothing about the state: not touched, and another TXID later. */
static void test_a_stranger_is_there(void **state)
{
	struct bed *b = *state;
	start(b);
	ask(b);
	until(b, SPOOL_READY);
	put_snapshot(b, "stranger", 8);
	assert_int_equal(step(b, false), ERR_OK);
	assert_int_equal(b->made.max_txid, 0);
	assert_non_null(strstr(b->s.r->making.fault, "is there already"));
	assert_int_equal(rmdir(b->folder), 0);
	app_change(b->db);
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
	ship_skip(HOUR_MS);
	ask(b);
	until(b, SPOOL_READY);
	assert_int_equal(step(b, false), ERR_OK);
	assert_int_equal(b->made.max_txid, 2);
	assert_true(image_snapshot_is_right(INNER, 2));
}

/* A store that knows no conditions: looked at before. */
static void test_without_conditions(void **state)
{
	struct bed *b = *state;
	start(b);
	for (int there = 0; there < 2; there++) {
		struct store_fault never = {
			.op = STORE_OP_PUT, .name_contains = "9/", .times = 1, .code = ERR_UNSUPPORTED};
		assert_int_equal(store_fault_add("s", &never), 0);
		ask(b);
		until(b, SPOOL_READY);
		take_right(b);
	}
	assert_int_equal(b->made.max_txid, 1);
}

/* ---- leftovers ---- */

static void leave(struct bed *b, const char *name, const void *data, size_t n)
{
	char path[400];
	assert_int_equal(fs_mkdirs(b->folder, 0700), 0);
	snprintf(path, sizeof(path), "%s/%s", b->folder, name);
	assert_int_equal(fs_replace_file(path, data, n, 0600, &b->e), 0);
}

/* Half a file, a damaged one, one of a TXID that is not settled: deleted, not uploaded. */
static void test_leftovers(void **state)
{
	struct bed *b = *state;
	struct buf file;
	char path[400];
	start(b);
	finish_file(b);
	ship_close(&b->s);
	snprintf(path, sizeof(path), "%s/0000000000000001-0000000000000001.ltx", b->folder);
	buf_init(&file, 64 << 20);
	assert_int_equal(fs_read_file(path, &file, &b->e), 0);
	leave(b, "0000000000000001-0000000000000001.ltx.tmp", file.data, file.len / 2);
	leave(b, "0000000000000001-0000000000000009.ltx", file.data, file.len);
	file.data[file.len / 2] ^= 1;
	leave(b, "0000000000000001-0000000000000001.ltx", file.data, file.len);
	buf_free(&file);
	start(b);
	assert_int_equal(step(b, false), ERR_OK);
	assert_int_equal(b->made.max_txid, 0);
	assert_false(ship_has(INNER, 9, 1, 1));
	assert_int_equal(rmdir(b->folder), 0);
	make(b);
}

/* The state folder's file belongs to a replica: another one must not get it. */
static void test_another_timeline(void **state)
{
	struct bed *b = *state;
	start(b);
	finish_file(b);
	ship_close(&b->s);
	b->cfg.replica = "mem://elsewhere";
	start(b);
	assert_int_equal(step(b, false), ERR_OK);
	assert_int_equal(b->made.max_txid, 0);
	assert_false(ship_has("mem://elsewhere", 9, 1, 1));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_finished_and_uploaded_later),
		TEST(test_uploaded_by_an_earlier_life),
		TEST(test_the_gate),
		TEST(test_there_already),
		TEST(test_another_is_there),
		TEST(test_the_same_state_is_there),
		TEST(test_a_stranger_is_there),
		TEST(test_without_conditions),
		TEST(test_leftovers),
		TEST(test_another_timeline),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
