/*
 * What can go wrong with a snapshot, and what then happens: nothing to the uploads, and a snapshot
 * that is right comes in the end.
 */
#include "lib/image.h"
#include "lib/ship.h"
#include "lib/tmpdir.h"

#include "base/fs.h"
#include "base/log.h"
#include "replicate/fence.h"
#include "replicate/snapfile.h"
#include "replicate/snapshots.h"
#include "store/fault.h"
#include "store/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define URL "fault://s"
#define INNER "mem://s"
#define TURNS 2000
#define HOUR_MS (INT64_C(3600) * 1000)

struct bed {
	char *dir;
	char db[256], spool[300], folder[300];
	struct replicator_config cfg;
	struct ship s;
	struct replica_file made;
	int64_t wait;
	struct err e;
};

/* ---- a disk that is full for some files ---- */

static struct fs_ops ops;
static const char *full_name; /* writes to files whose name has it fail */
static uint64_t free_bytes;   /* 0 = as the system says */
static int full_errno;

static ssize_t some_pwrite(int fd, const void *p, size_t n, off_t off)
{
	char link[64], path[512];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t len = full_name ? readlink(link, path, sizeof(path) - 1) : -1;
	path[len > 0 ? len : 0] = '\0';
	if (!full_name || !strstr(path, full_name))
		return pwrite(fd, p, n, off);
	errno = full_errno;
	return -1;
}

static int some_statvfs(const char *path, struct statvfs *st)
{
	int rc = statvfs(path, st);
	if (free_bytes)
		st->f_bavail = free_bytes / st->f_frsize;
	return rc;
}

static int no_fsync(int fd)
{
	(void)fd;
	return 0;
}

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	log_set_level(getenv("SHOW") ? LOG_DEBUG : LOG_ERROR + 1);
	full_name = NULL;
	free_bytes = 0;
	full_errno = ENOSPC;
	ops = fs_system_ops;
	ops.pwrite = some_pwrite;
	ops.statvfs = some_statvfs;
	ops.fsync = no_fsync;
	fs_set_ops(&ops);
	b->dir = tmpdir_new();
	snprintf(b->db, sizeof(b->db), "%s/app.db", b->dir);
	snprintf(b->spool, sizeof(b->spool), "%s/.app.db-litestream/staging-spool", b->dir);
	snprintf(b->folder, sizeof(b->folder), "%s/.app.db-litestream/ltx/9", b->dir);
	assert_int_equal(store_fault_register("s", NULL, &b->e), ERR_OK);
	app_create(b->db, 4000); /* 2 MB: more than one slice */
	b->cfg = ship_config(b->db, URL);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bed *b = *state;
	if (b->s.r)
		ship_close(&b->s);
	fs_set_ops(NULL);
	store_fault_forget();
	store_mem_forget(NULL);
	tmpdir_free(b->dir);
	free(b);
	return 0;
}

static void start(struct bed *b)
{
	assert_int_equal(ship_open(&b->s, &b->cfg), 0);
	b->s.no_upkeep = true;
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
}

static void check_same(struct bed *b)
{
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
	assert_true(ship_same(b->db, INNER, b->dir));
}

static int always(struct replicator *r, struct err *e)
{
	(void)r, (void)e;
	return ERR_OK;
}

static int step(struct bed *b, bool due)
{
	err_clear(&b->e);
	return snapshot_step(b->s.r, due, always, &b->made, &b->wait, &b->e);
}

static enum spool_phase phase(struct bed *b)
{
	return b->s.r->shared.spool;
}

/* Turns until the copy is in this phase. */
static void until(struct bed *b, enum spool_phase want)
{
	for (int i = 0; i < TURNS && phase(b) != want; i++) {
		b->s.turn_due = 0;
		ship_for(&b->s, 2);
	}
	assert_int_equal(phase(b), want);
}

static void ask(struct bed *b)
{
	assert_int_equal(step(b, true), ERR_OK);
	if (phase(b) != SPOOL_WANTED)
		fail_msg("not asked: %s", b->s.r->making.fault);
}

/* The copy is begun, and not at its end yet. */
static void begin_copying(struct bed *b)
{
	ask(b);
	until(b, SPOOL_COPYING);
	assert_int_equal(access(b->spool, F_OK), 0);
}

static void take_right(struct bed *b)
{
	assert_int_equal(step(b, false), ERR_OK);
	assert_true(b->made.max_txid > 0);
	assert_true(image_snapshot_is_right(INNER, b->made.max_txid));
	assert_int_equal(access(b->spool, F_OK), -1);
	assert_int_equal(rmdir(b->folder), 0); /* nothing is left in it */
	assert_string_equal(b->s.r->making.fault, "");
}

/* A snapshot from the asking to the end. */
static void make(struct bed *b)
{
	ask(b);
	until(b, SPOOL_READY);
	take_right(b);
}

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
