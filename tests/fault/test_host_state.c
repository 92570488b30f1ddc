/*
 * The state folder after a bad day of the host. A fault of the disk, a backup that is put back, a
 * machine that is cloned: whatever is found there, the replica becomes what the database is, or
 * nothing is shipped and the reason is told; and every restore is right.
 *
 *   the state folder is                   while we are down              while we run
 *   -----------------------------------   ----------------------------   --------------------
 *   lost, the database as shipped         test_replicate_fence lost_state, test_replicate_crash
 *                                         claim: claimed, no snapshot    lost_while_we_run
 *   lost, the database changed since      test_replicate_fence lost_state: fenced
 *   torn: any file of it cut or altered   torn                           torn_while_we_run
 *   from an older day, as one             older_day (claimed or          older_day_while_we_run
 *                                         fenced), after deletions too
 *   …, one file of it alone               older_files
 *   another machine's                     another_machine, and F10 in test_replicate_fence
 *   another database's or replica's       anothers_folder
 *
 * Seeded: SEED=n repeats a run.
 */
#include "lib/crash.h"
#include "lib/outcome.h"

#include "base/fs.h"
#include "conf/state.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

static uint64_t seed;

static uint64_t chance(uint64_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 33) % below;
}

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	b->dir = scene_begin();
	snprintf(b->db, sizeof(b->db), "%s/app.db", b->dir);
	snprintf(b->url, sizeof(b->url), "file://%s/replica", b->dir);
	app_create(b->db, 300);
	b->cfg = ship_config(b->db, b->url);
	*state = b;
	return 0;
}

static const char *meta(const struct bed *b, const char *name)
{
	static char path[400];
	snprintf(path, sizeof(path), "%s/.app.db-litestream%s%s", b->dir, *name ? "/" : "", name);
	return path;
}

static void shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *fmt, ...)
{
	char command[1200];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

static void one_upload(struct bed *b)
{
	app_change(b->db);
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
}

/* ---- lives that end by kill -9 ---- */

/* A few uploads, so that the page table on disk is older than what is settled. */
static int live(struct ship *s, void *db)
{
	int rc = ship_sync(s, 0);
	for (int i = 0; i < 3 && !rc; i++) {
		app_change(db);
		rc = ship_sync(s, 0);
	}
	if (!rc)
		crash_now();
	return rc;
}

static void killed_life(struct bed *b)
{
	assert_int_equal(crash_life(&b->cfg, -1, live, b->db), CRASH_EXIT);
}

/* ---- torn ---- */

static char found[64][400]; /* the files of the state folder, from there */

static size_t find_files(const char *dir, size_t n)
{
	DIR *d = opendir(dir);
	assert_non_null(d);
	for (const struct dirent *e; (e = readdir(d));) {
		char path[400];
		struct stat st;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		/* Nothing is in the lock, nor in a staging between two uploads. */
		if (e->d_name[0] == '.' || stat(path, &st) || st.st_size == 0 ||
			strcmp(e->d_name, "lock") == 0)
			continue;
		if (S_ISDIR(st.st_mode))
			n = find_files(path, n);
		else if (n < 64)
			memcpy(found[n++], path, sizeof(path));
	}
	closedir(d);
	return n;
}

enum damage { DAMAGE_EMPTY, DAMAGE_CUT, DAMAGE_BIT, DAMAGE_BLOCK, DAMAGES };

static void damage(const char *path, enum damage how)
{
	struct stat st;
	uint8_t bytes[512];
	int fd = fs_open(path, O_RDWR, 0);
	assert_true(fd >= 0 && !fstat(fd, &st) && st.st_size > 0);
	off_t at = (off_t)chance((uint64_t)st.st_size);
	size_t n = how == DAMAGE_BIT ? 1 : sizeof(bytes);
	if (at + (off_t)n > st.st_size)
		n = (size_t)(st.st_size - at);
	if (how == DAMAGE_EMPTY || how == DAMAGE_CUT) {
		assert_int_equal(fs_ftruncate(fd, how == DAMAGE_EMPTY ? 0 : at), 0);
	} else {
		assert_int_equal(fs_pread_full(fd, bytes, n, at), 0);
		if (how == DAMAGE_BIT)
			bytes[0] ^= (uint8_t)(1u << chance(8));
		else
			fs_random(bytes, n);
		assert_int_equal(fs_pwrite_full(fd, bytes, n, at), 0);
	}
	fs_close(fd);
}

/* One of each kind there is: names of LTX files and temporary ones differ by their numbers. */
static size_t one_of_each(const struct bed *b, char out[8][400])
{
	size_t n = find_files(meta(b, ""), 0), kinds = 0;
	for (size_t i = 0; i < n; i++) {
		bool new = true;
		for (size_t k = 0; k < kinds; k++)
			new = new &&strncmp(found[i], out[k], strlen(meta(b, "")) + 6) != 0;
		if (new &&kinds < 8)
			memcpy(out[kinds++], found[i], sizeof(found[i]));
	}
	return kinds;
}

/* Each kind of file, damaged in each way while nobody runs. Without state.json the database must be
 * the one that was shipped; with it it may have gone on. */
static void test_torn(void **state)
{
	struct bed *b = *state;
	int rounds = getenv("FULL") ? 4 * DAMAGES : DAMAGES;
	int seen = 0;
	for (int how = 0; how < rounds; how++) {
		char files[8][400];
		killed_life(b);
		size_t n = one_of_each(b, files);
		for (size_t i = 0; i < n; i++) {
			struct held h;
			if (i)
				killed_life(b);
			if (access(files[i], F_OK))
				continue; /* a copy that was dropped since */
			held_note(&h, b);
			damage(files[i], (enum damage)(how % DAMAGES));
			if (!strstr(files[i], "state.json"))
				app_change(b->db);
			reopen(b);
			expect(b, &h, OUTCOME_RIGHT, __func__);
			ship_close(&b->s);
			seen++;
		}
	}
	assert_true(seen >= 4 * rounds); /* state.json, pages, inventory, the slot or a copy */
}

/* state.json is unreadable and the database has gone on: nobody can say that it is the same. */
static void test_torn_and_changed(void **state)
{
	struct bed *b = *state;
	struct held h;
	killed_life(b);
	held_note(&h, b);
	damage(meta(b, "state.json"), DAMAGE_CUT);
	app_change(b->db);
	reopen(b);
	outcome_is(b, &h, OUTCOME_FENCED, __func__);
}

/* What is read at start only does no harm while we run, and what is written is whole again. */
static void test_torn_while_we_run(void **state)
{
	struct bed *b = *state;
	struct held h;
	reopen(b);
	for (int how = 0; how < DAMAGES; how++) {
		one_upload(b);
		one_upload(b);
		held_note(&h, b);
		size_t n = find_files(meta(b, ""), 0);
		for (size_t i = 0; i < n; i++)
			damage(found[i], (enum damage)how);
		app_change(b->db);
		expect(b, &h, OUTCOME_RIGHT, __func__);
		reopen(b);
		app_change(b->db);
		expect(b, &h, OUTCOME_RIGHT, __func__);
	}
}

static void test_lost_while_we_run(void **state)
{
	struct bed *b = *state;
	struct held h;
	reopen(b);
	one_upload(b);
	held_note(&h, b);
	assert_int_equal(fs_remove_tree(meta(b, "")), 0);
	app_change(b->db);
	/* Nothing can be frozen without a folder: the app is not held up, the reason is told. */
	assert_int_equal(ship_sync(&b->s, OUTCOME_WAIT_MS), ERR_AGAIN);
	assert_int_equal(ship_status(&b->s).state, REPLICATOR_BEHIND);
	assert_non_null(strstr(ship_status(&b->s).reason, "litestream"));
	held_check(&h, b);
	reopen(b);
	outcome_is(b, &h, OUTCOME_FENCED, __func__);
}

/* ---- an older day ---- */

/* Uploads; with `upkeep` also a day, so that they are merged and deleted. */
static void go_on(struct bed *b, bool upkeep)
{
	for (int i = 0; i < 10; i++) {
		ship_skip(3000);
		one_upload(b);
	}
	if (!upkeep)
		return;
	for (int day = 0; day < 2; day++) {
		ship_skip(INT64_C(25) * 3600 * 1000);
		one_upload(b);
		for (int i = 0; i < 3; i++) {
			ship_upkeep(&b->s);
			ship_for(&b->s, 5);
		}
	}
}

/* The folder's content as it is; the folder itself stays, as with a backup that is unpacked. */
static void keep_day(const struct bed *b)
{
	shell("rm -rf '%s/day'; cp -a '%s' '%s/day'", b->dir, meta(b, ""), b->dir);
}

static void put_day_back(const struct bed *b, bool as_copy)
{
	if (as_copy)
		shell("rm -rf '%s'; cp -a '%s/day' '%s'", meta(b, ""), b->dir, meta(b, ""));
	else
		shell("rm -rf '%s'/*; cp -a '%s/day/.' '%s/'", meta(b, ""), b->dir, meta(b, ""));
}

struct older {
	bool upkeep, as_copy, changed, wal_stays;
};

static void older_day(struct bed *b, const struct older *o)
{
	struct held h;
	reopen(b);
	one_upload(b);
	ship_close(&b->s);
	killed_life(b);
	keep_day(b);
	reopen(b);
	go_on(b, o->upkeep);
	ship_close(&b->s);
	if (o->wal_stays)
		killed_life(b);
	put_day_back(b, o->as_copy);
	if (o->changed)
		app_change(b->db);
	held_note(&h, b);
	reopen(b);
	outcome_is(b, &h, o->changed ? OUTCOME_FENCED : OUTCOME_RIGHT, __func__);
	ship_close(&b->s);
}

static void test_older_day(void **state)
{
	struct bed *b = *state;
	/* Of each two of them every combination; with FULL=1 of all. */
	for (unsigned n = 0; n < (getenv("FULL") ? 16 : 4); n++) {
		struct older o = {n & 1, n & 2, (n ^ n >> 1 ^ n >> 2) & 1, (n >> 1 ^ n >> 3) & 1};
		older_day(b, &o);
	}
}

static void test_older_day_while_we_run(void **state)
{
	struct bed *b = *state;
	struct held h;
	for (int upkeep = 0; upkeep < 2; upkeep++) {
		reopen(b);
		one_upload(b);
		keep_day(b);
		go_on(b, upkeep);
		held_note(&h, b);
		/* The lock stays the one that is held: files are written over. */
		shell("cp -a '%s/day/.' '%s/'", b->dir, meta(b, ""));
		app_change(b->db);
		expect(b, &h, OUTCOME_RIGHT, __func__);
		reopen(b);
		outcome_is(b, &h, OUTCOME_RIGHT, __func__);
	}
}

/* One file of an older day among those of today, with the database changed since. */
static void test_older_files(void **state)
{
	struct bed *b = *state;
	static const char *const names[] = {"pages", "inventory", "ltx/frozen", "ltx"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct held h;
		killed_life(b);
		reopen(b);
		one_upload(b);
		ship_close(&b->s);
		keep_day(b);
		reopen(b);
		go_on(b, i % 2);
		ship_close(&b->s);
		killed_life(b);
		held_note(&h, b);
		shell("rm -rf '%s'", meta(b, names[i]));
		shell("cp -a '%s/day/%s' '%s'", b->dir, names[i], meta(b, names[i]));
		app_change(b->db);
		reopen(b);
		outcome_is(b, &h, OUTCOME_RIGHT, __func__);
		ship_close(&b->s);
	}
}

/* ---- somebody else's ---- */

/* As a clone of the machine finds it: only the machine's name is another one. */
static void test_another_machine(void **state)
{
	struct bed *b = *state;
	if (access("/etc/machine-id", R_OK))
		skip();
	for (int changed = 0; changed < 2; changed++) {
		struct held h;
		struct err e = ERR_INIT;
		struct state st;
		killed_life(b);
		held_note(&h, b);
		assert_int_equal(state_peek(meta(b, ""), &st, &e), ERR_OK);
		/* A file without a checksum is one of an older version. */
		shell("sed -i -e 's/\"machine_id\": \"[^\"]*\"/\"machine_id\": \"another\"/' "
			  "-e '/\"crc64\"/d' -e '/confirmed_boot_ms/s/,$//' '%s'",
			meta(b, "state.json"));
		if (changed)
			app_change(b->db);
		reopen(b);
		outcome_is(b, &h, changed ? OUTCOME_FENCED : OUTCOME_RIGHT, __func__);
		ship_close(&b->s);
	}
}

/* The folder of another database, which goes to a place of its own; or of another replica of this
 * one. */
static void anothers_folder(struct bed *b, bool same_database, bool changed)
{
	struct held h;
	struct bed other = *b;
	char sub[200];
	killed_life(b);
	snprintf(sub, sizeof(sub), "%.190s/other", b->dir);
	shell("rm -rf '%s'; mkdir '%s'", sub, sub);
	snprintf(other.db, sizeof(other.db), "%s/app.db", same_database ? b->dir : sub);
	snprintf(other.url, sizeof(other.url), "file://%s/replica-%d-%d", sub, same_database, changed);
	other.cfg.replica = other.url;
	other.cfg.database = other.db;
	if (!same_database)
		app_create(other.db, 300);
	char at[300];
	snprintf(at, sizeof(at), "%s/state", sub);
	other.cfg.state_dir = at;
	killed_life(&other);
	/* It changed too, so ship it. */
	killed_life(b);
	shell("cp -a '%s/.' '%s/'", at, meta(b, ""));
	if (changed)
		app_change(b->db);
	held_note(&h, b);
	reopen(b);
	outcome_is(b, &h, changed ? OUTCOME_FENCED : OUTCOME_RIGHT, __func__);
	ship_close(&b->s);
}

static void test_anothers_folder(void **state)
{
	struct bed *b = *state;
	for (unsigned n = 0; n < 4; n++)
		anothers_folder(b, n & 1, n & 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_torn),
		TEST(test_torn_and_changed),
		TEST(test_torn_while_we_run),
		TEST(test_lost_while_we_run),
		TEST(test_older_day),
		TEST(test_older_day_while_we_run),
		TEST(test_older_files),
		TEST(test_another_machine),
		TEST(test_anothers_folder),
	};
	const char *given = getenv("SEED");
	if (given)
		seed = strtoull(given, NULL, 10);
	else
		fs_random(&seed, sizeof(seed));
	print_message("SEED=%" PRIu64 "\n", seed);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
