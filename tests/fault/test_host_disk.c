/*
 * Disks that are really full or read-only, below SQLite too: the state folder, the replica's
 * folder, the app's storage with both or the target of a restore is on a file system of its own,
 * which has room for k pages more, for k = 0, 1, …, or which the kernel makes read-only while it is
 * in use. What must be true after each life says lib/host_bed.h; the app may be refused commits,
 * then its disk is as full without us.
 *
 * In namespaces of its own, as root; else, or where there is no ext4 in a file, it is skipped.
 */
#include "lib/host_bed.h"
#include "lib/sweep.h"

#include "base/fs.h"
#include "restore/restore.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#define PAGE 4096
#define ROOMY (UINT64_C(256) << 20) /* more than a snapshot wants to see free */

static const char *cannot; /* why nothing can be mounted here; NULL = it can */
static char small[300];    /* where the small file system is */

static bool run(const char *fmt, const char *a, const char *b)
{
	char command[900];
	snprintf(command, sizeof(command), fmt, a, b);
	return system(command) == 0;
}

static void need_mounts(void)
{
	if (!cannot)
		return;
	print_message("%s\n", cannot);
	skip();
}

static size_t names_in(const char *dir)
{
	DIR *d = opendir(dir);
	size_t n = 0;
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

/* ---- a small file system in memory ---- */

static void set_size(uint64_t bytes)
{
	char size[40];
	snprintf(size, sizeof(size), "size=%llu", (unsigned long long)bytes);
	assert_int_equal(mount(NULL, small, NULL, MS_REMOUNT, size), 0);
}

static void leave_pages(unsigned n)
{
	struct statvfs st;
	assert_int_equal(statvfs(small, &st), 0);
	/* A size of 0 is no limit. */
	set_size((uint64_t)(st.f_blocks - st.f_bfree) * st.f_frsize + (uint64_t)n * PAGE);
}

static void open_small(struct bed *b, const char *db, const char *state, const char *replica)
{
	memset(b, 0, sizeof(*b));
	b->dir = scene_begin();
	snprintf(small, sizeof(small), "%s/small", b->dir);
	assert_int_equal(mkdir(small, 0700), 0);
	assert_int_equal(mount("small", small, "tmpfs", 0, NULL), 0);
	set_size(ROOMY);
	bed_names(b, db, state, replica);
	assert_true(open_if_possible(b));
	live(b, false);
	assert_int_equal(b->w.acked, b->w.number);
	ship_close(&b->s);
}

static void close_small(struct bed *b)
{
	witness_stop(&b->w);
	assert_int_equal(umount2(small, MNT_DETACH), 0);
	scene_end(b->dir, &b->s);
}

/* ---- full ---- */

/* True: all was shipped with so little room, and nobody found the disk full. */
static bool one_life(struct bed *b, unsigned pages, bool upkeep)
{
	if (upkeep)
		ship_skip(DAY_MS + DAY_MS / 10);
	snprintf(b->what, sizeof(b->what), "room for %u pages", pages);
	witness_commit(&b->w);
	bed_begin(b);
	leave_pages(pages);
	bool opened = open_if_possible(b);
	if (opened)
		live(b, upkeep);
	bool enough = opened && b->w.acked == b->w.number && !b->w.refused &&
				  !*ship_status(&b->s).upkeep_error && !*ship_status(&b->s).last_error;
	set_size(ROOMY);
	bed_settle(b, opened, upkeep, true);
	b->w.refused = 0;
	return enough;
}

static void sweep(struct bed *b, unsigned most, bool upkeep, unsigned rounds)
{
	struct sweep s;
	unsigned short_of = !one_life(b, 1, upkeep);
	for (sweep_begin(&s, rounds); sweep_next(&s);) {
		bool enough = one_life(b, s.at > most ? (unsigned)(ROOMY / PAGE) / 2 : s.at, upkeep);
		assert_true(enough || s.at <= most);
		short_of += !enough;
		sweep_saw(&s, most);
	}
	assert_true(short_of > 0);
}

static void test_state_folder(void **state)
{
	(void)state;
	struct bed b;
	need_mounts();
	open_small(&b, "app.db", "small/state", "replica");
	sweep(&b, 16, false, 6);
	sweep(&b, 80, true, 4);
	close_small(&b);
}

static void test_replica_folder(void **state)
{
	(void)state;
	struct bed b;
	need_mounts();
	open_small(&b, "app.db", NULL, "small/replica");
	sweep(&b, 20, false, 5);
	sweep(&b, 80, true, 4);
	close_small(&b);
}

static void test_storage_with_all(void **state)
{
	(void)state;
	struct bed b;
	need_mounts();
	open_small(&b, "small/app.db", NULL, "small/replica");
	sweep(&b, 60, false, 6);
	sweep(&b, 120, true, 4);
	close_small(&b);
}

static bool checkpoints(struct bed *b)
{
	const char *said = agent_do(&b->w.app, "sql PRAGMA wal_checkpoint(TRUNCATE)");
	const char *busy = strncmp(said, "ok ", 3) == 0 ? strchr(said + 3, ' ') : NULL;
	return busy && strcmp(busy, " 0") == 0;
}

/* The app has filled its disk with its WAL, and a checkpoint would free it: we are not in the way,
 * and give back what we can do without. */
static void test_app_frees_its_disk(void **state)
{
	(void)state;
	struct bed b;
	char copies[330];
	int tries = 0;
	need_mounts();
	open_small(&b, "small/app.db", NULL, "replica");
	snprintf(copies, sizeof(copies), "%s/.app.db-litestream/ltx/0", small);
	assert_true(checkpoints(&b));
	assert_true(open_if_possible(&b));
	for (int i = 0; i < 20; i++) {
		ship_skip(HOUR_MS / 60);
		witness_commit(&b.w);
		sync_if_possible(&b);
	}
	assert_true(names_in(copies) > 20);
	leave_pages(60);
	while (witness_try(&b.w) && tries++ < 1000)
		ship_for(&b.s, 1);
	assert_int_equal(b.w.refused, 1);
	ship_sync(&b.s, PATIENCE_MS);
	assert_true(names_in(copies) < 15);
	agent_do(&b.w.app, "timeout 0");
	for (tries = 0; !checkpoints(&b); tries++) {
		if (tries == 1000)
			fail_msg("%s, while %s", b.w.app.line, ship_status(&b.s).reason);
		ship_for(&b.s, 20);
	}
	agent_do(&b.w.app, "timeout 5000");
	assert_true(witness_try(&b.w)); /* there is room for it again */
	set_size(ROOMY);
	go_on(&b, true, false);
	assert_true(witness_restored(&b.w, true));
	ship_close(&b.s);
	assert_true(witness_untouched(&b.w));
	close_small(&b);
}

/* ---- restores ---- */

static int restore_to(struct bed *b, const char *path, bool in_place, struct err *e)
{
	struct store *s = NULL;
	struct restore_options o = {.output = path, .in_place = in_place, .parallelism = 1};
	struct restore_result result = {0};
	assert_int_equal(store_open(&s, b->w.url, NULL, e), ERR_OK);
	int rc = restore_run(s, &o, &result, e);
	restore_plan_free(&result.plan);
	store_close(s);
	return rc;
}

static bool holds(const char *path, const char *text)
{
	struct buf b;
	struct err e = ERR_INIT;
	buf_init(&b, 1 << 20);
	bool same = !fs_read_file(path, &b, &e) && strcmp(buf_str(&b), text) == 0;
	buf_free(&b);
	return same;
}

/* True: restored. Else the folder is as it was. */
static bool one_restore(struct bed *b, unsigned pages, bool in_place)
{
	char path[320];
	struct err e = ERR_INIT;
	snprintf(path, sizeof(path), "%s/back.db", small);
	if (in_place)
		assert_int_equal(fs_replace_file(path, "old", 3, 0600, &e), ERR_OK);
	leave_pages(pages);
	int rc = restore_to(b, path, in_place, &e);
	set_size(ROOMY);
	if (rc) {
		assert_non_null(strstr(e.text, strerror(ENOSPC)));
		assert_true(in_place ? holds(path, "old") : access(path, F_OK) != 0);
		assert_int_equal(names_in(small), in_place ? 1 : 0);
		assert_int_equal(restore_to(b, path, in_place, &e), ERR_OK);
	}
	assert_true(witness_same(&b->w, path));
	assert_true(run("rm -rf '%s'/* '%s'/.[a-z]*", small, small));
	return rc == ERR_OK;
}

static void sweep_restores(bool in_place)
{
	struct sweep s;
	struct bed b;
	unsigned failed = 0;
	open_small(&b, "app.db", NULL, "replica");
	for (sweep_begin(&s, 12); sweep_next(&s);) {
		bool restored = one_restore(&b, s.at > 70 ? 1000 : s.at, in_place);
		assert_true(restored || s.at <= 70);
		failed += !restored;
		sweep_saw(&s, 70);
	}
	assert_true(failed > 2);
	close_small(&b);
}

static void test_target_of_a_restore(void **state)
{
	(void)state;
	need_mounts();
	sweep_restores(false);
	sweep_restores(true);
}

/* ---- read-only ---- */

static void test_replica_becomes_read_only(void **state)
{
	(void)state;
	struct bed b;
	need_mounts();
	open_small(&b, "app.db", NULL, "small/replica");
	for (int life = 0; life < 3; life++) {
		snprintf(b.what, sizeof(b.what), "read-only replica");
		bed_begin(&b);
		assert_true(open_if_possible(&b));
		witness_commit(&b.w);
		assert_int_equal(mount(NULL, small, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
		live(&b, false);
		assert_true(b.w.acked < b.w.number);
		assert_int_equal(ship_status(&b.s).state, REPLICATOR_BEHIND);
		assert_non_null(strstr(ship_status(&b.s).reason, strerror(EROFS)));
		assert_int_equal(mount(NULL, small, NULL, MS_REMOUNT, NULL), 0);
		bed_settle(&b, true, false, true);
	}
	close_small(&b);
}

static bool mount_image(const char *image)
{
	return run("mount -o loop,errors=remount-ro '%s' '%s' 2>/dev/null", image, small);
}

/* As the kernel does when it finds ext4 damaged: files that are open for writing stay so. */
static bool make_read_only(void)
{
	return run("echo 1 >/sys/fs/ext4/$(basename $(findmnt -n -o SOURCE '%s'))/trigger_fs_error "
			   "&& sleep 0.1 && ! touch '%s/try' 2>/dev/null",
		small, small);
}

/* An ext4 in a file, if there can be one here that fails when it is told to. */
static bool make_image(const char *image)
{
	bool can = run("truncate -s 24M '%s' && mkfs.ext4 -q '%s' 2>/dev/null", image, image) &&
			   mount_image(image);
	bool fails = can && make_read_only();
	if (can)
		assert_int_equal(umount2(small, 0), 0);
	return fails && run("mkfs.ext4 -q -F '%s' 2>/dev/null%s", image, "") && mount_image(image);
}

/* The disk of the database and of the state folder fails under our hands. */
static void fail_storage(struct bed *b)
{
	sync_if_possible(b);
	assert_int_equal(b->w.acked, b->w.number);
	witness_commit(&b->w);
	int fd = open(small, O_RDONLY | O_DIRECTORY);
	assert_int_equal(syncfs(fd), 0); /* the commits are durable, as with synchronous = FULL */
	close(fd);
	assert_true(make_read_only());
	for (int i = 0; i < 2; i++) {
		sync_if_possible(b);
		assert_false(witness_try(&b->w));
	}
	assert_true(b->w.acked < b->w.number);
	assert_int_not_equal(ship_status(&b->s).state, REPLICATOR_REPLICATING);
	assert_true(witness_restored(&b->w, false));
}

static void mount_again(struct bed *b, const char *image)
{
	agent_do(&b->w.app, "close");
	assert_int_equal(umount2(small, 0), 0);
	assert_true(mount_image(image));
	agent_do(&b->w.app, "open %s", b->db);
	agent_sql(&b->w.app, "PRAGMA synchronous = OFF");
}

static void test_storage_becomes_read_only(void **state)
{
	(void)state;
	struct bed b = {.dir = NULL};
	char image[300];
	need_mounts();
	b.dir = scene_begin();
	snprintf(image, sizeof(image), "%s/image", b.dir);
	snprintf(small, sizeof(small), "%s/small", b.dir);
	assert_int_equal(mkdir(small, 0700), 0);
	if (!make_image(image)) {
		scene_end(b.dir, NULL);
		print_message("there is no ext4 in a file here that can be made to fail\n");
		skip();
	}
	bed_names(&b, "small/app.db", NULL, "replica");
	for (int life = 0; life < 2; life++) {
		snprintf(b.what, sizeof(b.what), "read-only storage");
		bed_begin(&b);
		assert_true(open_if_possible(&b));
		fail_storage(&b);
		ship_close(&b.s);
		assert_true(witness_no_leak(&b.w));
		mount_again(&b, image);
		assert_true(open_if_possible(&b));
		bed_settle(&b, true, false, false);
	}
	close_small(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_state_folder),
		cmocka_unit_test(test_replica_folder),
		cmocka_unit_test(test_storage_with_all),
		cmocka_unit_test(test_app_frees_its_disk),
		cmocka_unit_test(test_target_of_a_restore),
		cmocka_unit_test(test_replica_becomes_read_only),
		cmocka_unit_test(test_storage_becomes_read_only),
	};
	if (geteuid() != 0)
		cannot = "only root can mount file systems";
	else if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		cannot = "this machine has no mount namespaces for us";
	return cmocka_run_group_tests_name("disks of the host", tests, NULL, NULL);
}
