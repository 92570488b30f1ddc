/*
 * Compaction of one output when things go wrong: the store fails at any call, any file system call
 * fails (once, or from then on, as a crash does), copies vanish or are damaged, another program was
 * quicker. What is in the replica then is nothing or the right file, the inputs are untouched, and
 * the next attempt gets there.
 */
#include "lib/no_memory.h"

#include "lib/replica.h"
#include "lib/tmpdir.h"

#include "base/fs.h"
#include "base/log.h"
#include "format/ltxset.h"
#include "replicate/compact.h"
#include "replicate/compact_files.h"
#include "replicate/fence.h"
#include "store/fault.h"
#include "store/mem.h"

#include <dirent.h>
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

#define INPUTS 10

static struct err e;

struct bed {
	char *dir;
	struct replica db;
	struct store *store;
	struct compact_env env;
	struct compact_result result;
	struct replica_file files[REPLICA_STATES];
	size_t n;
};

/* ---- files ---- */

static void write_copy(const struct bed *b, int level, uint64_t min, uint64_t max)
{
	struct buf bytes;
	buf_init(&bytes, SIZE_MAX / 2);
	replica_encode(&b->db, min, max, &bytes);
	char *folder = compact_folder(b->dir, level), *path = compact_path(b->dir, level, min, max);
	assert_int_equal(fs_mkdirs(folder, 0700), 0);
	assert_int_equal(fs_replace_file(path, bytes.data, bytes.len, 0600, &e), ERR_OK);
	free(folder);
	free(path);
	buf_free(&bytes);
}

static bool copy_there(const struct bed *b, int level, uint64_t min, uint64_t max)
{
	char *path = compact_path(b->dir, level, min, max);
	struct stat st;
	bool there = stat(path, &st) == 0;
	free(path);
	return there;
}

static void delete_copy(const struct bed *b, int level, uint64_t min, uint64_t max)
{
	char *path = compact_path(b->dir, level, min, max);
	fs_system_ops.unlinkat(AT_FDCWD, path, 0);
	free(path);
}

static void delete_copies(const struct bed *b)
{
	for (size_t i = 0; i < b->n; i++)
		delete_copy(b, b->files[i].level, b->files[i].min_txid, b->files[i].max_txid);
}

static struct replica_file described(const struct bed *b, int level, uint64_t min, uint64_t max)
{
	struct buf bytes;
	buf_init(&bytes, SIZE_MAX / 2);
	replica_encode(&b->db, min, max, &bytes);
	struct replica_file f = {
		.level = level, .min_txid = min, .max_txid = max, .size = bytes.len, .uploaded_ms = 1};
	buf_free(&bytes);
	return f;
}

static int collect(void *ctx, const void *p, size_t n, struct err *err)
{
	(void)err;
	return buf_append(ctx, p, n);
}

/* What the replica has under a name: 0 nothing, 1 exactly the right file, -1 something else. */
static int in_replica(const struct bed *b, int level, uint64_t min, uint64_t max)
{
	struct buf got, want;
	char name[FENCE_NAME_SIZE];
	struct err why = ERR_INIT;
	buf_init(&got, SIZE_MAX / 2);
	buf_init(&want, SIZE_MAX / 2);
	fence_name(b->store, level, min, max, name);
	replica_encode(&b->db, min, max, &want);
	int rc = store_get(b->db.store, name, 0, 0, collect, &got, &why);
	int found = rc == ERR_NOT_FOUND ? 0 : -1;
	if (!rc && got.len == want.len && memcmp(got.data, want.data, want.len) == 0)
		found = 1;
	buf_free(&got);
	buf_free(&want);
	return found;
}

/* ---- a bed: INPUTS transactions, shipped and copied ---- */

static void bed_ship(struct bed *b, uint32_t n_page)
{
	uint64_t txid = replica_ship(&b->db, n_page, 4);
	write_copy(b, 0, txid, txid);
	b->files[b->n++] = described(b, 0, txid, txid);
}

/* The code under test works with `url`; what it did is looked at in `truth`. */
static void bed_open(struct bed *b, const char *url, const char *truth)
{
	memset(b, 0, sizeof(*b));
	b->dir = tmpdir_new();
	struct store *s;
	assert_int_equal(store_open(&s, truth, NULL, &e), ERR_OK);
	assert_int_equal(store_open(&b->store, url, NULL, &e), ERR_OK);
	replica_init(&b->db, s, 1024, true);
	b->env = (struct compact_env){.store = b->store, .state_dir = b->dir, .copies_max = 1 << 20};
	replica_ship(&b->db, 20, 0);
	for (int i = 0; i < INPUTS; i++)
		bed_ship(b, i == 4 ? 7 : i == 6 ? 40 : b->db.states[b->db.txid].n_page);
}

static void bed_close(struct bed *b)
{
	store_close(b->store);
	store_close(b->db.store);
	replica_free(&b->db);
	store_fault_forget();
	store_mem_forget(NULL);
	tmpdir_free(b->dir);
}

static void open_flaky(struct bed *b)
{
	assert_int_equal(store_fault_register("flaky", "mem://flaky", &e), ERR_OK);
	bed_open(b, "fault://flaky", "mem://flaky");
}

static int run(struct bed *b)
{
	e = (struct err)ERR_INIT;
	return compact_run(&b->env, 1, b->files, b->n, &b->result, &e);
}

static void assert_run(struct bed *b)
{
	int rc = run(b);
	if (rc)
		fail_msg("%d %s", rc, e.text);
	assert_int_equal(b->result.used, b->n);
	uint64_t min = b->files[0].min_txid, max = b->files[b->n - 1].max_txid;
	assert_int_equal(in_replica(b, 1, min, max), 1);
	const struct replica_file *f = &b->result.file;
	assert_true(f->level == 1 && f->min_txid == min && f->max_txid == max);
	assert_true(f->timestamp_ms == REPLICA_START_MS + (int64_t)max * 1000);
	assert_true(f->size == described(b, 1, min, max).size && f->uploaded_ms > 0);
	for (size_t i = 0; i < b->n; i++)
		assert_int_equal(in_replica(b, 0, b->files[i].min_txid, b->files[i].max_txid), 1);
}

static bool ends_in_ltx(const char *name)
{
	uint64_t min, max;
	return ltx_parse_name(name, &min, &max);
}

/* After compact_begin nothing unfinished is in the folder. */
static void assert_clean(const struct bed *b)
{
	assert_int_equal(compact_begin(&b->env, &e), ERR_OK);
	char *folder = compact_folder(b->dir, 1);
	DIR *d = opendir(folder);
	for (struct dirent *ent = d ? readdir(d) : NULL; ent; ent = readdir(d))
		assert_true(ent->d_name[0] == '.' || ends_in_ltx(ent->d_name));
	if (d)
		closedir(d);
	free(folder);
}

static uint64_t gets(const struct bed *b)
{
	struct store_counts c;
	store_get_counts(b->store, &c);
	return c.get;
}

/* ---- nothing goes wrong ---- */

static void test_from_copies_and_fetched(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://plain", "mem://plain");
	assert_run(&b);
	assert_int_equal(gets(&b), 0);
	assert_true(copy_there(&b, 1, 2, 1 + INPUTS));
	assert_true(copy_there(&b, 0, 2, 2)); /* not compaction's to delete */
	assert_clean(&b);
	bed_close(&b);

	bed_open(&b, "mem://plain", "mem://plain");
	for (uint64_t t = 2; t <= 8; t += 3)
		delete_copy(&b, 0, t, t);
	assert_run(&b);
	assert_int_equal(gets(&b), 3);
	assert_clean(&b);
	bed_close(&b);
}

static void test_folder_of_a_file_store(void **state)
{
	(void)state;
	struct bed b;
	char *dir = tmpdir_new();
	bed_open(&b, dir, dir);
	delete_copies(&b);
	assert_run(&b);
	bed_close(&b);
	tmpdir_free(dir);
}

/* Up to the top, from the copies that compaction made itself. */
static void test_levels_above(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://levels", "mem://levels");
	struct replica_file l1[2], l2[1];
	assert_int_equal(compact_run(&b.env, 1, b.files, 6, &b.result, &e), ERR_OK);
	l1[0] = b.result.file;
	assert_int_equal(compact_run(&b.env, 1, b.files + 6, 4, &b.result, &e), ERR_OK);
	l1[1] = b.result.file;
	assert_int_equal(compact_run(&b.env, 2, l1, 2, &b.result, &e), ERR_OK);
	l2[0] = b.result.file;
	assert_int_equal(in_replica(&b, 2, 2, 11), 1);
	assert_false(copy_there(&b, 1, 2, 7));
	assert_false(copy_there(&b, 1, 8, 11));
	assert_true(copy_there(&b, 2, 2, 11));
	assert_int_equal(compact_run(&b.env, 3, l2, 1, &b.result, &e), ERR_OK);
	assert_int_equal(in_replica(&b, 3, 2, 11), 1);
	assert_false(copy_there(&b, 2, 2, 11));
	assert_false(copy_there(&b, 3, 2, 11));
	assert_int_equal(gets(&b), 0);
	bed_close(&b);
}

static void test_takes_what_fits(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://wide", "mem://wide");
	while (b.n < 100)
		bed_ship(&b, 40);
	assert_int_equal(run(&b), ERR_OK);
	assert_int_equal(b.result.used, COMPACT_MAX_INPUTS);
	assert_int_equal(in_replica(&b, 1, 2, 1 + COMPACT_MAX_INPUTS), 1);

	/* A bound on disk counts what the replica says; one input is always taken. */
	struct replica_file large[3] = {b.files[70], b.files[71], b.files[72]};
	large[0].size = UINT64_MAX;
	assert_int_equal(compact_run(&b.env, 1, large, 3, &b.result, &e), ERR_DAMAGED);
	assert_int_equal(b.result.fault, COMPACT_LOST); /* it has not that size */
	large[0].size = b.files[70].size;
	large[1].size = UINT64_MAX - 10;
	assert_int_equal(compact_run(&b.env, 1, large, 3, &b.result, &e), ERR_OK);
	assert_int_equal(b.result.used, 1);

	/* The copies of levels are bounded: the oldest went. */
	b.env.copies_max = b.files[80].size;
	assert_int_equal(compact_run(&b.env, 1, b.files + 80, 1, &b.result, &e), ERR_OK);
	assert_true(copy_there(&b, 1, 82, 82));
	assert_false(copy_there(&b, 1, 2, 1 + COMPACT_MAX_INPUTS));
	assert_false(copy_there(&b, 1, 72, 72));
	bed_close(&b);
}

static void test_other_page_size(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://sizes", "mem://sizes");
	/* VACUUM with another page size: from TXID 8 on the same bytes in larger pages. */
	for (size_t i = 6; i < b.n; i++) {
		b.db.page_size = 2048;
		for (uint64_t t = b.files[i].min_txid; t <= b.files[i].max_txid; t++)
			b.db.states[t].n_page /= 2;
		replica_put(&b.db, 0, b.files[i].min_txid, b.files[i].max_txid);
		write_copy(&b, 0, b.files[i].min_txid, b.files[i].max_txid);
		b.files[i] = described(&b, 0, b.files[i].min_txid, b.files[i].max_txid);
	}
	int rc = run(&b);
	if (rc)
		fail_msg("%d %s", rc, e.text);
	assert_int_equal(b.result.used, 6);
	b.db.page_size = 1024;
	assert_int_equal(in_replica(&b, 1, 2, 7), 1);
	/* (The model doesn't know which large pages changed: their content is test_merge's.) */
	rc = compact_run(&b.env, 1, b.files + 6, b.n - 6, &b.result, &e);
	if (rc)
		fail_msg("%d %s", rc, e.text);
	assert_int_equal(b.result.used, b.n - 6);
	assert_true(in_replica(&b, 1, 8, 11));
	bed_close(&b);
}

/* ---- the store fails ---- */

static void test_every_store_call_fails(void **state)
{
	(void)state;
	const int codes[] = {ERR_UNREACHABLE, ERR_DENIED};
	for (unsigned what = 0; what < 4; what++) {
		bool weak = what & 2;
		for (unsigned nth = 1;; nth++) {
			struct bed b;
			open_flaky(&b);
			b.env.weak = weak;
			for (uint64_t t = 2; t <= 8; t += 3)
				delete_copy(&b, 0, t, t);
			uint64_t before = store_fault_calls("flaky", STORE_OP_ANY);
			store_fault_add(
				"flaky", &(struct store_fault){.nth = nth,
							 .times = 1,
							 .action = what & 1 ? STORE_FAULT_LOSE_ANSWER : STORE_FAULT_FAIL,
							 .code = codes[nth % 2]});
			int rc = run(&b);
			bool struck = store_fault_calls("flaky", STORE_OP_ANY) - before >= nth;
			assert_int_equal(rc, struck ? codes[nth % 2] : ERR_OK);
			assert_true(in_replica(&b, 1, 2, 11) >= 0);
			store_fault_heal("flaky");
			assert_run(&b);
			bed_close(&b);
			if (!struck) {
				assert_true(nth > (weak ? 4 : 3));
				break;
			}
		}
	}
}

/* An upload that broke off is put again from the finished file: nothing is fetched or merged. */
static void test_finished_output_is_put(void **state)
{
	(void)state;
	struct bed b;
	open_flaky(&b);
	delete_copies(&b);
	store_fault_add("flaky", &(struct store_fault){.op = STORE_OP_PUT});
	assert_int_equal(run(&b), ERR_UNREACHABLE);
	uint64_t fetched = store_fault_calls("flaky", STORE_OP_GET);
	assert_true(fetched >= INPUTS);
	store_fault_heal("flaky");
	/* Meanwhile more was uploaded: what is finished comes first. */
	size_t n = b.n;
	bed_ship(&b, 40);
	int rc = run(&b);
	if (rc)
		fail_msg("%d %s", rc, e.text);
	assert_int_equal(b.result.used, n);
	assert_int_equal(in_replica(&b, 1, 2, 11), 1);
	assert_true(store_fault_calls("flaky", STORE_OP_GET) == fetched);
	bed_close(&b);

	/* Unless it is damaged. */
	open_flaky(&b);
	store_fault_add("flaky", &(struct store_fault){.op = STORE_OP_PUT});
	assert_int_equal(run(&b), ERR_UNREACHABLE);
	store_fault_heal("flaky");
	char *path = compact_path(b.dir, 1, 2, 11);
	int fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "xxxx", 4, 300), 4);
	close(fd);
	free(path);
	log_set_level(LOG_ERROR + 1);
	assert_run(&b);
	bed_close(&b);
}

static void cancel_now(void *ctx, const char *name)
{
	(void)name;
	atomic_store((atomic_bool *)ctx, true);
}

static void test_cancelled(void **state)
{
	(void)state;
	struct bed b;
	atomic_bool cancelled = false;
	open_flaky(&b);
	b.env.cancelled = &cancelled;
	delete_copy(&b, 0, 4, 4);
	store_fault_add("flaky",
		&(struct store_fault){
			.op = STORE_OP_GET, .action = STORE_FAULT_HOOK, .hook = cancel_now, .ctx = &cancelled});
	assert_int_equal(run(&b), ERR_CANCELLED);
	assert_int_equal(in_replica(&b, 1, 2, 11), 0);
	store_fault_heal("flaky");
	atomic_store(&cancelled, false);
	assert_run(&b);
	bed_close(&b);
}

/* ---- conditions ---- */

static void test_taken(void **state)
{
	(void)state;
	for (int weak = 0; weak < 2; weak++) {
		struct bed b;
		bed_open(&b, "mem://taken", "mem://taken");
		b.env.weak = weak;
		replica_put(&b.db, 1, 2, 11);
		assert_run(&b); /* our own, of an earlier attempt */
		bed_close(&b);

		bed_open(&b, "mem://taken", "mem://taken");
		b.env.weak = weak;
		struct buf theirs;
		buf_init(&theirs, SIZE_MAX / 2);
		replica_encode(&b.db, 2, 11, &theirs);
		theirs.data[theirs.len - 1] ^= 1;
		replica_put_bytes(&b.db, 1, 2, 11, theirs.data, theirs.len);
		buf_free(&theirs);
		assert_int_equal(run(&b), ERR_CONDITION);
		assert_int_equal(b.result.fault, COMPACT_TAKEN);
		assert_non_null(strstr(e.text, "0000000000000002-000000000000000b.ltx"));
		assert_non_null(strstr(e.text, "nothing was overwritten"));
		assert_int_equal(in_replica(&b, 1, 2, 11), -1);
		bed_close(&b);
	}
}

static void test_store_without_conditions(void **state)
{
	(void)state;
	struct bed b;
	open_flaky(&b);
	store_fault_add(
		"flaky", &(struct store_fault){.op = STORE_OP_PUT, .times = 1, .code = ERR_UNSUPPORTED});
	assert_run(&b);
	assert_true(b.env.unconditional);
	uint64_t heads = store_fault_calls("flaky", STORE_OP_HEAD);
	assert_true(heads == 1);
	assert_int_equal(compact_run(&b.env, 1, b.files, 3, &b.result, &e), ERR_OK);
	assert_int_equal(in_replica(&b, 1, 2, 4), 1);
	assert_true(store_fault_calls("flaky", STORE_OP_HEAD) == heads + 1);
	bed_close(&b);
}

static int gate_code;

static int gate(void *ctx, struct err *err)
{
	(void)ctx;
	return gate_code ? err_set(err, (enum err_code)gate_code, "not now") : ERR_OK;
}

static void test_gate(void **state)
{
	(void)state;
	struct bed b;
	open_flaky(&b);
	b.env.gate = gate;
	gate_code = ERR_AGAIN;
	delete_copies(&b);
	assert_int_equal(run(&b), ERR_AGAIN);
	assert_int_equal(store_fault_calls("flaky", STORE_OP_PUT), 0);
	uint64_t fetched = store_fault_calls("flaky", STORE_OP_GET);
	gate_code = ERR_OK;
	assert_run(&b);
	assert_true(store_fault_calls("flaky", STORE_OP_GET) == fetched);
	bed_close(&b);
}

/* ---- inputs that aren't right ---- */

static void damage(const struct bed *b, uint64_t txid, bool in_replica_too)
{
	struct buf bytes;
	buf_init(&bytes, SIZE_MAX / 2);
	replica_encode(&b->db, txid, txid, &bytes);
	bytes.data[bytes.len / 2] ^= 1;
	char *path = compact_path(b->dir, 0, txid, txid);
	assert_int_equal(fs_replace_file(path, bytes.data, bytes.len, 0600, &e), ERR_OK);
	if (in_replica_too)
		replica_put_bytes(&b->db, 0, txid, txid, bytes.data, bytes.len);
	free(path);
	buf_free(&bytes);
}

static void test_damaged_copies(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://damaged", "mem://damaged");
	damage(&b, 3, false);
	damage(&b, 9, false);
	write_copy(&b, 0, 5, 5);
	char *path = compact_path(b.dir, 0, 5, 5);
	assert_int_equal(truncate(path, 50), 0);
	free(path);
	assert_run(&b);
	assert_int_equal(gets(&b), 3);
	bed_close(&b);

	bed_open(&b, "mem://damaged", "mem://damaged");
	damage(&b, 6, true);
	assert_int_equal(run(&b), ERR_DAMAGED);
	assert_int_equal(b.result.fault, COMPACT_LOST);
	assert_int_equal(b.result.culprit, 4);
	assert_non_null(strstr(e.text, "0000000000000006-0000000000000006.ltx"));
	assert_int_equal(in_replica(&b, 1, 2, 11), 0);
	assert_clean(&b);
	bed_close(&b);
}

static void test_lost_input(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://lost", "mem://lost");
	delete_copies(&b);
	replica_delete(&b.db, 0, 7, 7);
	assert_int_equal(run(&b), ERR_NOT_FOUND);
	assert_int_equal(b.result.fault, COMPACT_LOST);
	assert_int_equal(b.result.culprit, 5);
	assert_non_null(strstr(e.text, "0000000000000007-0000000000000007.ltx"));
	bed_close(&b);
}

static void test_broken_chain(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://chain", "mem://chain");
	b.db.states[6].checksum ^= 2; /* what 6 led to and 7 began with is not the same any more */
	replica_put(&b.db, 0, 7, 7);
	write_copy(&b, 0, 7, 7);
	assert_int_equal(run(&b), ERR_DAMAGED);
	assert_int_equal(b.result.fault, COMPACT_NO_FIT);
	assert_int_equal(b.result.culprit, 5);
	assert_non_null(strstr(e.text, "0000000000000006-0000000000000006.ltx"));
	assert_non_null(strstr(e.text, "0000000000000007-0000000000000007.ltx"));
	assert_int_equal(in_replica(&b, 1, 2, 11), 0);
	/* What is before the break can be merged. */
	b.db.states[6].checksum ^= 2;
	assert_int_equal(compact_run(&b.env, 1, b.files, 5, &b.result, &e), ERR_OK);
	assert_int_equal(in_replica(&b, 1, 2, 6), 1);

	/* Not contiguous by name: nobody may ask for that. */
	struct replica_file gap[2] = {b.files[0], b.files[2]};
	assert_int_equal(compact_run(&b.env, 1, gap, 2, &b.result, &e), ERR_FAIL);
	assert_int_equal(compact_run(&b.env, 2, b.files, 2, &b.result, &e), ERR_FAIL);
	assert_int_equal(compact_run(&b.env, 1, b.files, 0, &b.result, &e), ERR_FAIL);
	bed_close(&b);
}

/* ---- file system calls fail, or copies vanish in between ---- */

static unsigned fs_calls, fs_fail_at;
static bool fs_for_ever, fs_armed;
static void (*fs_hook)(void);

static bool strikes_file(int why)
{
	if (!fs_armed)
		return false;
	if (++fs_calls < fs_fail_at || (fs_calls > fs_fail_at && !fs_for_ever))
		return false;
	if (fs_hook) {
		fs_armed = false;
		fs_hook();
		return false;
	}
	errno = why;
	return true;
}

static int f_openat(int dir, const char *path, int flags, mode_t mode)
{
	return strikes_file(EMFILE) ? -1 : fs_system_ops.openat(dir, path, flags, mode);
}

static ssize_t f_pread(int fd, void *p, size_t n, off_t offset)
{
	return strikes_file(EIO) ? -1 : fs_system_ops.pread(fd, p, n, offset);
}

static ssize_t f_pwrite(int fd, const void *p, size_t n, off_t offset)
{
	return strikes_file(ENOSPC) ? -1 : fs_system_ops.pwrite(fd, p, n, offset);
}

static int f_fsync(int fd)
{
	(void)fd;
	return strikes_file(EIO) ? -1 : 0;
}

static int f_renameat(int a, const char *from, int b, const char *to)
{
	return strikes_file(EIO) ? -1 : fs_system_ops.renameat(a, from, b, to);
}

static int f_unlinkat(int dir, const char *path, int flags)
{
	return strikes_file(EIO) ? -1 : fs_system_ops.unlinkat(dir, path, flags);
}

static int f_mkdirat(int dir, const char *path, mode_t mode)
{
	return strikes_file(ENOSPC) ? -1 : fs_system_ops.mkdirat(dir, path, mode);
}

static void arm(unsigned at, bool for_ever, void (*hook)(void))
{
	static struct fs_ops ops;
	ops = fs_system_ops;
	ops.openat = f_openat;
	ops.pread = f_pread;
	ops.pwrite = f_pwrite;
	ops.fsync = f_fsync;
	ops.renameat = f_renameat;
	ops.unlinkat = f_unlinkat;
	ops.mkdirat = f_mkdirat;
	fs_calls = 0;
	fs_fail_at = at;
	fs_for_ever = for_ever;
	fs_hook = hook;
	fs_armed = true;
	fs_set_ops(&ops);
}

/* Was the call reached? */
static bool disarm(void)
{
	bool struck = fs_calls >= fs_fail_at;
	fs_armed = false;
	fs_set_ops(NULL);
	return struck;
}

static void test_every_file_call_fails(void **state)
{
	(void)state;
	unsigned failed = 0;
	log_set_level(LOG_ERROR + 1);
	for (int for_ever = 0; for_ever < 2; for_ever++) {
		for (unsigned at = 1;; at++) {
			struct bed b;
			bed_open(&b, "mem://files", "mem://files");
			for (uint64_t t = 2; t <= 8; t += 3)
				delete_copy(&b, 0, t, t);
			arm(at, for_ever, NULL);
			int rc = run(&b);
			bool struck = disarm();
			failed += rc != ERR_OK;
			if (rc != ERR_OK && rc != ERR_IO && rc != ERR_FULL)
				fail_msg("file call %u: %d %s", at, rc, e.text);
			assert_true(b.result.fault == COMPACT_OTHER);
			assert_true(in_replica(&b, 1, 2, 11) == (rc == ERR_OK) || rc);
			assert_clean(&b); /* the next start */
			if (rc)
				assert_run(&b);
			bed_close(&b);
			if (!struck)
				break;
		}
	}
	assert_true(failed > 30);
}

static struct bed *hooked;

static void vanish(void)
{
	delete_copies(hooked);
}

/* The thread that uploads trims its copies at any moment. */
static void test_copies_vanish(void **state)
{
	(void)state;
	unsigned fetched[2] = {0};
	for (unsigned at = 1;; at++) {
		struct bed b;
		bed_open(&b, "mem://vanish", "mem://vanish");
		hooked = &b;
		arm(at, false, vanish);
		assert_run(&b);
		bool struck = disarm();
		fetched[gets(&b) > 0]++;
		bed_close(&b);
		if (!struck)
			break;
	}
	assert_true(fetched[0] > 5 && fetched[1] > 5);
}

static void test_allocations_fail(void **state)
{
	(void)state;
#if !NO_MEMORY_POSSIBLE
	skip();
#else
	unsigned failed = 0;
	for (unsigned at = 1;; at++) {
		struct bed b;
		bed_open(&b, "mem://memory", "mem://memory");
		delete_copy(&b, 0, 3, 3);
		calls = 0;
		fail_at = at;
		armed = true;
		int rc = run(&b);
		armed = false;
		bool struck = calls >= at;
		assert_true(rc == ERR_OK || rc == ERR_NOMEM || rc == ERR_IO);
		failed += rc != ERR_OK;
		assert_clean(&b);
		if (rc)
			assert_run(&b);
		bed_close(&b);
		if (!struck)
			break;
	}
	assert_true(failed > 30);
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_from_copies_and_fetched),
		cmocka_unit_test(test_folder_of_a_file_store),
		cmocka_unit_test(test_levels_above),
		cmocka_unit_test(test_takes_what_fits),
		cmocka_unit_test(test_other_page_size),
		cmocka_unit_test(test_every_store_call_fails),
		cmocka_unit_test(test_finished_output_is_put),
		cmocka_unit_test(test_cancelled),
		cmocka_unit_test(test_taken),
		cmocka_unit_test(test_store_without_conditions),
		cmocka_unit_test(test_gate),
		cmocka_unit_test(test_damaged_copies),
		cmocka_unit_test(test_lost_input),
		cmocka_unit_test(test_broken_chain),
		cmocka_unit_test(test_every_file_call_fails),
		cmocka_unit_test(test_copies_vanish),
		cmocka_unit_test(test_allocations_fail),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
