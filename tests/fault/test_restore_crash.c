/*
 * A restore in place of a database ends at the Nth change that it makes to any file, for every N:
 * at each moment the old set is whole somewhere, a new file never stands beside an old -wal, and
 * whoever comes next finds or makes one of the two: everything as it was, or everything restored.
 */
#include "lib/crash.h"
#include "lib/restore_bed.h"

#include "base/fs.h"
#include "base/log.h"
#include "conf/inplace.h"
#include "conf/state.h"
#include "source/pagesums.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PARTS 4
#define OLD_TXID 4

static const char *const endings[PARTS] = {"", "-wal", "-shm", "-journal"};

/* What a case begins with. */
struct set_up {
	unsigned parts; /* a bit for each of the four that is there */
	bool with_state;
	bool named; /* a file system without O_TMPFILE */
};

/* ---- files ---- */

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static bool has_text(const char *path, const char *text)
{
	char found[512] = "";
	FILE *f = fopen(path, "r");
	if (!f)
		return false;
	size_t n = fread(found, 1, sizeof(found) - 1, f);
	fclose(f);
	found[n] = '\0';
	return strcmp(found, text) == 0;
}

static const char *old_text(int i)
{
	static const char *const text[PARTS] = {"old database", "old wal", "old shm", "old journal"};
	return text[i];
}

static void prepare(struct bed *b, const struct set_up *s)
{
	char path[300];
	for (int i = 0; i < PARTS; i++) {
		snprintf(path, sizeof(path), "%s%s", b->db, endings[i]);
		if (s->parts & 1u << i)
			write_text(path, old_text(i));
	}
	if (!s->with_state)
		return;
	char *dir = state_default_dir(b->db);
	struct state_dir *d;
	struct state st = {.txid = OLD_TXID, .node_id = 7};
	struct err e = ERR_INIT;
	snprintf(st.replica, sizeof(st.replica), "%s", store_url(b->store));
	assert_int_equal(state_dir_open(&d, dir, &e), ERR_OK);
	assert_int_equal(state_save(d, &st, &e), ERR_OK);
	state_dir_close(d);
	free(dir);
}

static void clean(const struct bed *b)
{
	glob_t g;
	char pattern[400];
	snprintf(pattern, sizeof(pattern), "%s*", b->db);
	if (!glob(pattern, 0, NULL, &g))
		for (size_t i = 0; i < g.gl_pathc; i++)
			unlink(g.gl_pathv[i]);
	globfree(&g);
	snprintf(pattern, sizeof(pattern), "%s/.app.db*", b->dir);
	if (!glob(pattern, 0, NULL, &g))
		for (size_t i = 0; i < g.gl_pathc; i++)
			fs_remove_tree(g.gl_pathv[i]);
	globfree(&g);
	assert_int_equal(left_behind(b), 0);
}

static size_t matches(const struct bed *b, const char *names)
{
	glob_t g;
	char pattern[400];
	snprintf(pattern, sizeof(pattern), "%s/%s", b->dir, names);
	size_t n = glob(pattern, 0, NULL, &g) ? 0 : g.gl_pathc;
	globfree(&g);
	return n;
}

/* Where old part i is: 1 = in its place, 2 = aside, 0 = nowhere. */
static int where(const struct bed *b, int i)
{
	char path[400];
	int at = 0;
	glob_t g;
	snprintf(path, sizeof(path), "%s%s", b->db, endings[i]);
	if (has_text(path, old_text(i)))
		at = 1;
	snprintf(path, sizeof(path), "%s.before-*Z%s", b->db, endings[i]);
	if (!glob(path, 0, NULL, &g)) {
		assert_int_equal(g.gl_pathc, 1);
		assert_true(has_text(g.gl_pathv[0], old_text(i)));
		assert_int_equal(at, 0);
		at = 2;
	}
	globfree(&g);
	return at;
}

/* ---- children ---- */

static struct restore_options in_place(const struct bed *b)
{
	return (struct restore_options){.output = b->db, .in_place = true, .parallelism = 1};
}

static int no_tmpfile(int dirfd, const char *path, int flags, mode_t mode)
{
	if ((flags & O_TMPFILE) == O_TMPFILE)
		return errno = EOPNOTSUPP, -1;
	return openat(dirfd, path, flags, mode);
}

enum way { WAY_RESTORE, WAY_STATE, WAY_RECOVER };

static int run_way(struct bed *b, enum way way, struct err *e)
{
	struct restore_options o = in_place(b);
	struct state_dir *d;
	char *dir = state_default_dir(b->db);
	int rc;
	switch (way) {
	case WAY_RESTORE:
		return restore_run(b->store, &o, &b->result, e);
	case WAY_STATE:
		rc = state_dir_open(&d, dir, e);
		if (!rc)
			state_dir_close(d);
		return rc;
	default:
		return inplace_recover(b->db, false, e);
	}
}

/* 0 = it came through. */
static int child(struct bed *b, enum way way, bool named, long crash_at)
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		struct err e = ERR_INIT;
		log_set_level(LOG_ERROR);
		crash_arm(crash_at);
		if (named)
			crash_openat(no_tmpfile);
		int rc = run_way(b, way, &e);
		if (rc)
			fprintf(stderr, "child: %s\n", e.text);
		_exit(rc ? 1 : 0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_not_equal(WEXITSTATUS(status), 1);
	return WEXITSTATUS(status);
}

/* ---- what must be true ---- */

static bool is_new(const struct bed *b)
{
	return access(b->db, F_OK) == 0 && replica_is_state(&b->r, b->r.txid, b->db);
}

/* At any moment. */
static void check_nothing_lost(const struct bed *b, const struct set_up *s)
{
	bool restored = is_new(b);
	for (int i = 0; i < PARTS; i++) {
		int at = where(b, i);
		assert_int_equal(at != 0, (s->parts & 1u << i) != 0);
		if (restored && at == 1)
			fail_msg("%s%s beside the restored database", b->db, endings[i]);
	}
}

static void check_state(const struct bed *b, const struct set_up *s, bool restored)
{
	char *dir = state_default_dir(b->db), *pages = fs_join(dir, "pages");
	struct state_dir *d;
	struct state st;
	struct stat file;
	struct err e = ERR_INIT;
	bool copied;
	assert_int_equal(state_dir_open(&d, dir, &e), ERR_OK);
	assert_int_equal(matches(b, ".app.db-litestream/restored.*"), 0);
	int rc = state_load(d, &st, &copied, &e);
	assert_int_equal(rc, restored || s->with_state ? ERR_OK : ERR_NOT_FOUND);
	if (restored) {
		struct pagesums table;
		assert_int_equal(stat(b->db, &file), 0);
		assert_int_equal(st.ino, file.st_ino);
		assert_int_equal(st.txid, b->r.txid);
		pagesums_init(&table, 0);
		assert_int_equal(pagesums_load(&table, pages, &e), ERR_OK);
		assert_true(table.checksum == st.checksum);
		pagesums_free(&table);
	} else if (s->with_state) {
		assert_int_equal(st.txid, OLD_TXID);
		assert_false(st.restored);
	}
	state_dir_close(d);
	free(pages);
	free(dir);
}

/* After whoever came next. */
static void check_settled(const struct bed *b, const struct set_up *s)
{
	bool restored = is_new(b);
	check_nothing_lost(b, s);
	for (int i = 0; i < PARTS; i++)
		if (s->parts & 1u << i)
			assert_int_equal(where(b, i), restored ? 2 : 1);
	assert_int_equal(matches(b, ".app.db.restored-*") + matches(b, ".app.db.restoring"), 0);
	/* A temporary file with a name outlives kill -9 where nothing else can be had. */
	if (!s->named || restored)
		assert_int_equal(matches(b, ".app.db.*tmp-*"), 0);
	check_state(b, s, restored);
}

/* ---- the sweeps ---- */

static void sweep(const struct set_up *s, enum way next, unsigned least)
{
	struct bed b;
	bed_open(&b, NULL, 1024, true);
	ship_history(&b);
	unsigned crashes = 0, forward = 0;
	for (long n = 1;; n++) {
		prepare(&b, s);
		bool crashed = child(&b, WAY_RESTORE, s->named, n) != 0;
		crashes += crashed;
		check_nothing_lost(&b, s);
		/* The one that comes next crashes as well, at each of its changes in turn. */
		for (long m = 1; child(&b, next, s->named, m); m++)
			check_nothing_lost(&b, s);
		check_settled(&b, s);
		forward += crashed && is_new(&b);
		assert_true(crashed || is_new(&b));
		clean(&b);
		if (!crashed)
			break;
	}
	if (crashes < least || forward < 3)
		fail_msg("%u crashes, %u of them finished forward", crashes, forward);
	bed_close(&b);
}

static void test_opened_by_replicate(void **state)
{
	(void)state;
	const struct set_up cases[] = {{0xf, true, false}, {0x3, false, false}, {0x1, true, false},
		{0x2, true, false}, {0x7, true, true}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		sweep(&cases[i], WAY_STATE, 12);
}

static void test_without_state(void **state)
{
	(void)state;
	const struct set_up s = {0x7, true, false};
	sweep(&s, WAY_RECOVER, 12);
}

/* Somebody else's file at the path: neither way is right. Then the user asks again. */
static void test_file_made_in_between(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, NULL, 1024, true);
	ship_history(&b);
	const struct set_up s = {0x7, false, false};
	unsigned seen = 0;
	for (long n = 1;; n++) {
		prepare(&b, &s);
		bool crashed = child(&b, WAY_RESTORE, false, n) != 0;
		if (crashed && access(b.db, F_OK)) {
			struct err e = ERR_INIT;
			seen++;
			write_text(b.db, "made in between");
			assert_int_equal(inplace_recover(b.db, false, &e), ERR_DATABASE);
			assert_non_null(strstr(e.text, "somebody has made a new file"));
			assert_true(has_text(b.db, "made in between"));
			assert_int_equal(where(&b, 0), 2);
			struct restore_options o = in_place(&b);
			assert_int_equal(restore_run(b.store, &o, &b.result, &b.e), ERR_OK);
			restore_plan_free(&b.result.plan);
			assert_true(is_new(&b));
			assert_int_equal(matches(&b, "app.db.before-*-wal"), 1);
			assert_int_equal(matches(&b, "app.db-*"), 0);
			assert_int_equal(matches(&b, ".app.db.restor*"), 0);
			/* The first old one, and the one that was made in between. */
			assert_int_equal(
				matches(&b, "app.db.before-*Z") + matches(&b, "app.db.before-*Z-2"), 2);
		}
		clean(&b);
		if (!crashed)
			break;
	}
	assert_true(seen >= 3);
	bed_close(&b);
}

/* Whoever may write in the folder can write an intent: it leads nowhere else, and never deletes. */
static void test_intents_that_are_none(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"",
		"not JSON",
		"{}",
		"{\"version\":2}",
		"{\"version\":1,\"time\":\"../x\",\"new_file\":\".app.db.new\",\"new\":\"1\","
		"\"database\":\"2\",\"wal\":\"0\",\"shm\":\"0\",\"journal\":\"0\"}",
		"{\"version\":1,\"time\":\"20261121T153000Z\",\"new_file\":\".app.db./../../x\","
		"\"new\":\"1\",\"database\":\"2\",\"wal\":\"0\",\"shm\":\"0\",\"journal\":\"0\"}",
		"{\"version\":1,\"time\":\"20261121T153000Z\",\"new_file\":\"other.db\","
		"\"new\":\"1\",\"database\":\"2\",\"wal\":\"0\",\"shm\":\"0\",\"journal\":\"0\"}",
		"{\"version\":1,\"time\":\"20261121T153000Z\",\"new_file\":\".app.db.x\","
		"\"new\":\"inode\",\"database\":\"2\",\"wal\":\"0\",\"shm\":\"0\",\"journal\":\"0\"}",
	};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct bed b;
		struct err e = ERR_INIT;
		char path[300];
		bed_open(&b, NULL, 1024, true);
		snprintf(path, sizeof(path), "%s/.app.db.restoring", b.dir);
		write_text(path, texts[i]);
		write_text(b.db, "old database");
		int rc = inplace_recover(b.db, false, &e);
		if (rc != ERR_DATABASE || !strstr(e.text, "can't be read"))
			fail_msg("%zu: %d %s", i, rc, e.text);
		assert_true(has_text(b.db, "old database") && has_text(path, texts[i]));
		bed_close(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_opened_by_replicate),
		cmocka_unit_test(test_without_state),
		cmocka_unit_test(test_file_made_in_between),
		cmocka_unit_test(test_intents_that_are_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
