/*
 * What can go wrong with the copy of a database for a snapshot, and what then happens: nothing to
 * the uploads, and a snapshot that is right comes in the end.
 */
#include "lib/snapshot_bed.h"

/* ---- when all is well ---- */

/* Nothing is written: the copy is the state that was settled last. */
static void test_of_the_settled_state(void **state)
{
	struct bed *b = *state;
	start(b);
	make(b);
	assert_int_equal(b->made.max_txid, 1);
	assert_int_equal(b->made.level, 9);
	app_change(b->db);
	check_same(b);
	make(b);
	assert_int_equal(b->made.max_txid, 2);
	check_same(b);
}

/* Something is written while it is copied: the cut that follows says which state it is. */
static void test_of_a_cut(void **state)
{
	struct bed *b = *state;
	start(b);
	begin_copying(b);
	app_change(b->db);
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
	until(b, SPOOL_READY);
	take_right(b);
	assert_int_equal(b->made.max_txid, 2);
}

/* While a cut waits for the store, the copy waits with it; what is written then is not in it. */
static void test_of_a_cut_that_waits(void **state)
{
	struct bed *b = *state;
	struct store_fault down = {.op = STORE_OP_PUT, .code = ERR_UNREACHABLE};
	start(b);
	begin_copying(b);
	for (int i = 0; i < TURNS && b->s.r->turn.spooling && spool_next(b->s.r->spool); i++)
		ship_for(&b->s, 2);
	assert_int_equal(phase(b), SPOOL_COPYING);
	assert_int_equal(store_fault_add("s", &down), 0);
	app_change(b->db);
	until(b, SPOOL_CUT);
	app_change(b->db);
	ship_for(&b->s, 20);
	assert_int_equal(phase(b), SPOOL_CUT);
	assert_int_equal(step(b, true), ERR_OK);
	assert_int_equal(b->made.max_txid, 0);
	store_fault_heal("s");
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
	assert_int_equal(phase(b), SPOOL_READY);
	take_right(b);
	assert_int_equal(b->made.max_txid, 2);
	check_same(b);
}

/* Nobody has the database open: we open it for the copy and let go again. */
static void test_of_a_database_at_rest(void **state)
{
	struct bed *b = *state;
	char wal[300];
	snprintf(wal, sizeof(wal), "%s-wal", b->db);
	start(b);
	for (int i = 0; i < TURNS && b->s.r->shared.phase != PHASE_RELEASED; i++)
		ship_for(&b->s, 2);
	assert_int_equal(b->s.r->shared.phase, PHASE_RELEASED);
	make(b);
	for (int i = 0; i < TURNS && b->s.r->shared.phase != PHASE_RELEASED; i++)
		ship_for(&b->s, 2);
	assert_int_equal(b->s.r->shared.phase, PHASE_RELEASED);
	assert_int_equal(access(wal, F_OK), -1);
	app_change(b->db);
	check_same(b);
}

/* The copies of one process share 128 MiB; a larger one waits until it is alone. */
static void test_many_databases(void **state)
{
	struct bed *b = *state;
	struct bed other = {.dir = b->dir};
	snprintf(other.db, sizeof(other.db), "%s/other.db", b->dir);
	app_create(other.db, 10);
	other.cfg = ship_config(other.db, "mem://other");
	start(b);
	start(&other);
	b->s.r->shared.db_bytes = 100 << 20;
	begin_copying(b);
	other.s.r->shared.db_bytes = 29 << 20;
	assert_int_equal(step(&other, true), ERR_OK);
	assert_int_equal(phase(&other), SPOOL_NONE);
	assert_true(other.wait > 0 && other.wait < INT64_C(60) * 1000000);
	other.s.r->shared.db_bytes = 27 << 20;
	assert_int_equal(step(&other, true), ERR_OK);
	assert_int_equal(phase(&other), SPOOL_WANTED);
	snapshot_abandon(other.s.r);
	ship_skip(HOUR_MS);
	other.s.r->shared.db_bytes = 200 << 20;
	assert_int_equal(step(&other, true), ERR_OK);
	assert_int_equal(phase(&other), SPOOL_NONE);
	until(b, SPOOL_READY);
	assert_int_equal(step(&other, true), ERR_OK);
	assert_int_equal(phase(&other), SPOOL_NONE);
	take_right(b);
	assert_int_equal(step(&other, true), ERR_OK);
	assert_int_equal(phase(&other), SPOOL_WANTED);
	b->s.r->shared.db_bytes = 1;
	assert_int_equal(step(b, true), ERR_OK);
	assert_int_equal(phase(b), SPOOL_NONE);
	ship_close(&other.s); /* that gives it back too */
	ask(b);
}

/* ---- when the copy is dropped ---- */

/* The store denies us: the pin is given up, and the copy with it. It comes later. */
static void test_dropped_with_the_staging(void **state)
{
	struct bed *b = *state;
	struct store_fault denied = {.op = STORE_OP_PUT, .code = ERR_DENIED};
	start(b);
	begin_copying(b);
	assert_int_equal(store_fault_add("s", &denied), 0);
	app_change(b->db);
	assert_true(ship_until(&b->s, REPLICATOR_DENIED));
	ship_skip(31000); /* not for a moment's denial */
	until(b, SPOOL_FAILED);
	assert_int_equal(access(b->spool, F_OK), -1);
	assert_int_equal(step(b, true), ERR_OK);
	assert_int_equal(phase(b), SPOOL_NONE);
	assert_true(b->wait > INT64_C(50) * 1000000);
	assert_string_equal(b->s.r->making.fault, "");
	store_fault_heal("s");
	assert_true(ship_until(&b->s, REPLICATOR_REPLICATING));
	check_same(b);
	ship_skip(b->wait / 1000 + 1);
	make(b);
}

/* Pauses grow from one attempt to the next, and a success ends that. */
static void test_pauses_grow(void **state)
{
	struct bed *b = *state;
	int64_t last = 0;
	start(b);
	full_name = "staging-spool";
	full_errno = EIO;
	for (int i = 0; i < 9; i++) {
		ask(b);
		until(b, SPOOL_FAILED);
		assert_int_equal(step(b, true), ERR_OK);
		assert_int_equal(phase(b), SPOOL_NONE);
		assert_true(b->wait > last - 5000000 && b->wait <= INT64_C(3600) * 1000000);
		last = b->wait;
		ship_skip(b->wait / 1000 + 1);
	}
	assert_true(last > INT64_C(3500) * 1000000);
	assert_non_null(strstr(b->s.r->making.fault, b->spool));
	full_name = NULL;
	make(b);
	app_change(b->db);
	check_same(b);
	make(b);
}

/* The disk is full for the copy alone: uploads go on. */
static void test_full_disk_in_the_copy(void **state)
{
	struct bed *b = *state;
	start(b);
	begin_copying(b);
	full_name = "staging-spool";
	app_change(b->db);
	until(b, SPOOL_FAILED);
	assert_int_equal(access(b->spool, F_OK), -1);
	check_same(b);
	assert_int_equal(ship_status(&b->s).state, REPLICATOR_REPLICATING);
	assert_int_equal(step(b, true), ERR_OK);
	assert_true(b->wait > INT64_C(5) * 3600 * 1000000);
	full_name = NULL;
	ship_skip(b->wait / 1000 + 1);
	make(b);
}

/* The disk is full for what is captured: a copy that waits for its cut makes room. */
static void test_full_disk_beside_a_copy(void **state)
{
	struct bed *b = *state;
	struct store_fault down = {.op = STORE_OP_PUT, .code = ERR_UNREACHABLE};
	start(b);
	begin_copying(b);
	for (int i = 0; i < TURNS && b->s.r->turn.spooling && spool_next(b->s.r->spool); i++)
		ship_for(&b->s, 2);
	assert_int_equal(store_fault_add("s", &down), 0);
	app_change(b->db);
	until(b, SPOOL_CUT);
	full_name = "staging-";
	app_change(b->db);
	until(b, SPOOL_FAILED);
	assert_int_equal(access(b->spool, F_OK), -1);
	full_name = NULL;
	store_fault_heal("s");
	assert_int_equal(step(b, false), ERR_OK);
	check_same(b);
	ship_skip(INT64_C(7) * HOUR_MS);
	make(b);
}

static void test_full_disk_in_the_file(void **state)
{
	struct bed *b = *state;
	start(b);
	ask(b);
	until(b, SPOOL_READY);
	full_name = ".ltx.tmp";
	assert_int_equal(step(b, true), ERR_OK);
	assert_int_equal(b->made.max_txid, 0);
	assert_int_equal(access(b->spool, F_OK), -1);
	assert_int_equal(rmdir(b->folder), 0);
	full_name = NULL;
	assert_int_equal(step(b, true), ERR_OK);
	assert_int_equal(phase(b), SPOOL_NONE);
	ship_skip(b->wait / 1000 + 1);
	make(b);
}

/* Too little room: said, and nothing is begun for hours. */
static void test_no_room(void **state)
{
	struct bed *b = *state;
	start(b);
	free_bytes = 60 << 20;
	assert_int_equal(step(b, true), ERR_OK);
	assert_int_equal(phase(b), SPOOL_NONE);
	assert_non_null(strstr(b->s.r->making.fault, "60 MiB are there"));
	free_bytes = 0;
	assert_int_equal(step(b, true), ERR_OK);
	assert_int_equal(phase(b), SPOOL_NONE);
	ship_skip(HOUR_MS);
	assert_int_equal(step(b, true), ERR_OK);
	assert_int_equal(phase(b), SPOOL_NONE);
	ship_skip(b->wait / 1000 + 1);
	make(b);
}

/* A copy that is not the recorded state is not uploaded. */
static void test_a_wrong_copy(void **state)
{
	struct bed *b = *state;
	start(b);
	ask(b);
	until(b, SPOOL_READY);
	int fd = open(b->spool, O_RDWR);
	assert_int_equal(pwrite(fd, "x", 1, 9999), 1);
	close(fd);
	assert_int_equal(step(b, true), ERR_OK);
	assert_int_equal(b->made.max_txid, 0);
	assert_int_equal(b->s.r->making.mismatches, 1);
	assert_non_null(strstr(b->s.r->making.fault, "0000000000000001 was recorded with"));
	assert_false(ship_has(INNER, 9, 1, 1));
	assert_int_equal(rmdir(b->folder), 0);
	ship_skip(HOUR_MS);
	make(b);
}

/* A page of the database is not as it was shipped, and nothing tells: the copy shows it, the page
 * is shipped, and the next copy is right. */
static void test_a_rotten_page(void **state)
{
	struct bed *b = *state;
	struct stat st;
	char command[300], flag[300];
	snprintf(command, sizeof(command), "sqlite3 '%s' >/dev/null", b->db);
	snprintf(flag, sizeof(flag), "%s/opened", b->dir);
	FILE *app = popen(command, "w"); /* keeps it open, so that we stay too */
	assert_non_null(app);
	fprintf(app, "SELECT count(*) FROM t;\n.shell touch '%s'\n", flag);
	fflush(app);
	for (int i = 0; i < TURNS && access(flag, F_OK); i++)
		usleep(5000);
	start(b);
	check_same(b);
	uint64_t txid = ship_status(&b->s).txid;
	assert_int_equal(stat(b->db, &st), 0);
	int fd = open(b->db, O_RDWR);
	assert_int_equal(pwrite(fd, "rotten", 6, 300 * 4096 + 2000), 6);
	struct timespec times[2] = {st.st_atim, st.st_mtim};
	assert_int_equal(futimens(fd, times), 0);
	close(fd);
	ask(b);
	until(b, SPOOL_READY);
	assert_int_equal(step(b, true), ERR_OK);
	assert_int_equal(b->made.max_txid, 0);
	assert_int_equal(b->s.r->making.mismatches, 1);
	assert_int_equal(ship_max_txid(INNER), txid);
	for (int i = 0; i < TURNS && ship_max_txid(INNER) == txid; i++) {
		b->s.turn_due = 0;
		ship_for(&b->s, 2);
	}
	assert_int_equal(ship_max_txid(INNER), txid + 1);
	check_same(b);
	ship_skip(HOUR_MS);
	make(b);
	assert_true(b->made.max_txid > txid);
	pclose(app);
}

/* Asked, and no turn comes: taken back, so that other databases get their turn. */
static void test_nobody_answers(void **state)
{
	struct bed *b = *state;
	start(b);
	ask(b);
	ship_skip(61000);
	assert_int_equal(step(b, true), ERR_OK);
	assert_int_equal(phase(b), SPOOL_NONE);
	assert_true(spool_reserve(b->s.r, UINT64_MAX / 2)); /* nothing was left reserved */
	spool_release(b->s.r);
	ship_skip(61000);
	make(b);
}

/* Stopped: nothing of it stays on the disk. */
static void test_abandoned(void **state)
{
	struct bed *b = *state;
	start(b);
	ask(b);
	until(b, SPOOL_READY);
	snapshot_abandon(b->s.r);
	assert_int_equal(phase(b), SPOOL_NONE);
	assert_int_equal(access(b->spool, F_OK), -1);
	ask(b);
	snapshot_abandon(b->s.r);
	assert_int_equal(phase(b), SPOOL_NONE);
	ship_skip(HOUR_MS);
	make(b);
}

/* Fenced while the copy waits for its cut: nothing comes of it. */
static void test_fenced_in_the_middle(void **state)
{
	struct bed *b = *state;
	struct store *s = NULL;
	char name[FENCE_NAME_SIZE];
	start(b);
	begin_copying(b);
	for (int i = 0; i < TURNS && b->s.r->turn.spooling && spool_next(b->s.r->spool); i++)
		ship_for(&b->s, 2);
	assert_int_equal(store_open(&s, INNER, NULL, &b->e), 0);
	fence_name(s, 0, 2, 2, name);
	struct store_body body = {.data = "another", .fd = -1, .size = 7};
	assert_int_equal(store_put(s, name, &body, NULL, &b->e), 0);
	store_close(s);
	app_change(b->db);
	assert_true(ship_until(&b->s, REPLICATOR_FENCED));
	until(b, SPOOL_FAILED);
	assert_int_equal(access(b->spool, F_OK), -1);
	snapshot_abandon(b->s.r);
	assert_int_equal(phase(b), SPOOL_NONE);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_of_the_settled_state),
		TEST(test_of_a_cut),
		TEST(test_of_a_cut_that_waits),
		TEST(test_of_a_database_at_rest),
		TEST(test_many_databases),
		TEST(test_dropped_with_the_staging),
		TEST(test_pauses_grow),
		TEST(test_full_disk_in_the_copy),
		TEST(test_full_disk_beside_a_copy),
		TEST(test_full_disk_in_the_file),
		TEST(test_no_room),
		TEST(test_a_wrong_copy),
		TEST(test_a_rotten_page),
		TEST(test_nobody_answers),
		TEST(test_abandoned),
		TEST(test_fenced_in_the_middle),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
