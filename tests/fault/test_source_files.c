/*
 * What happens to the files under the source: replaced, removed, mounted, locked, let go.
 *
 *   situation                                            test
 *   -----------------------------------------------     ------------------------------------------
 *   cp over the database (same inode)                    copied_over_is_lost
 *   … right after its WAL was recovered                 copied_over_after_a_recovery_is_lost
 *   mv over the database                                 moved_over_is_replaced
 *   rm -wal -shm, then cp over the database              removed_wal_and_copied_over_is_not_written
 *   rm -wal only                                         removed_wal_is_replaced
 *   the database removed                                 removed_database_is_gone
 *   a hard link made                                     hard_link_is_replaced
 *   a single file mounted into a container               single_file_bind_mount_is_lost (root)
 *   the app stops: -wal and -shm vanish                  let_go_when_nobody_is_connected
 *   … beside a neighbour in the same folder            let_go_beside_a_neighbour
 *   … not while anything is unsettled                    not_let_go_while_unsettled
 *   … and the app comes back                             resumes_after_letting_go
 *   … and the database changes meanwhile                 change_while_let_go_is_noticed
 *   the -wal deleted while we are away                   wal_deleted_while_away
 *   a restart of ours                                    resumes_at_a_position,
 *                                                        does_not_resume_at_a_wrong_position
 *   rollback journal at start                            switches_to_wal
 *   a schema that our SQLite can't parse                 schema_of_a_newer_sqlite
 *   no file yet, an empty file, no folder                waits_for_a_database
 *   a symbolic link, a folder, a hard link               refuses_what_is_no_plain_file
 *   not SQLite, encrypted, WAL2                          refuses_what_is_no_database
 *   PRAGMA locking_mode=EXCLUSIVE                        refuses_exclusive_locking
 *   no permission                                        refuses_without_permission (root)
 *   a file system without shared memory (statfs)         see identity.c; only overlay can be had
 * here who has it open                                      knows_other_connections
 */
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "lib/agent.h"
#include "lib/follow.h"
#include "lib/tmpdir.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define MS INT64_C(1000)
#define S INT64_C(1000000)

static char *dir;
static char db[4096], wal[4200], shm[4200], other[4200];
static struct agent a, b;
static struct follow f;
static struct source_config cfg;

static int set_up(void **state)
{
	(void)state;
	log_set_level(LOG_ERROR);
	dir = tmpdir_new();
	snprintf(db, sizeof(db), "%s/app.db", dir);
	snprintf(wal, sizeof(wal), "%s-wal", db);
	snprintf(shm, sizeof(shm), "%s-shm", db);
	snprintf(other, sizeof(other), "%s/other.db", dir);
	cfg = (struct source_config){.path = db, .release_after_us = 200 * MS};
	agent_start(&a);
	agent_start(&b);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	agent_stop(&a);
	agent_stop(&b);
	follow_free(&f);
	tmpdir_free(dir);
	return 0;
}

static void make(struct agent *who, const char *path, const char *mode)
{
	agent_do(who, "open %s", path);
	agent_sql(who, "PRAGMA journal_mode=%s; CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB)", mode);
}

static void insert_rows(struct agent *who, int n)
{
	agent_sql(who,
		"WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM i WHERE x<%d) "
		"INSERT INTO t(v) SELECT randomblob(3000) FROM i",
		n);
}

/* The app's database, and one with other content beside it, larger: SQLite refuses to checkpoint
 * into a file that is much too small. */
#define OTHER_ROWS 1000
static void make_both(void)
{
	make(&b, other, "wal");
	insert_rows(&b, OTHER_ROWS);
	agent_do(&b, "close");
	make(&a, db, "wal");
	insert_rows(&a, 10);
}

static void shell(const char *fmt, ...)
{
	char command[16000];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	assert_int_equal(system(command), 0);
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static void wait_for(unsigned *count)
{
	int64_t end = clock_mono_us() + 10 * S;
	while (*count == 0 && clock_mono_us() < end)
		follow_turn(&f, 10 * MS);
	assert_int_not_equal(*count, 0);
}

static void assert_same_at_the_end(void)
{
	follow_catch_up(&f);
	follow_stop(&f);
	agent_stop(&a);
	agent_stop(&b);
	assert_int_equal(follow_compare_file(&f, db), 0);
}

/* ---- replaced under us ---- */

/* Its bytes are another database's now, in the same inode. */
static void copied_over_is_lost(void **state)
{
	(void)state;
	make_both();
	follow_start(&f, &cfg, NULL);
	f.unsettled = true; /* so that it does not let go when the app stops */
	f.keep_up = false;
	insert_rows(&a, 10);
	follow_for(&f, 50 * MS);
	agent_do(&a, "close");
	shell("cp %s %s", other, db);
	wait_for(&f.lost);
	assert_non_null(strstr(f.reason, "does not use its -wal"));
}

/* Whoever recovers a WAL leaves the numbers of a checkpoint that has begun: it is none. */
static void copied_over_after_a_recovery_is_lost(void **state)
{
	(void)state;
	make_both();
	insert_rows(&a, 10);
	agent_kill(&a);
	follow_start(&f, &cfg, NULL);
	f.unsettled = true;
	f.keep_up = false;
	follow_for(&f, 50 * MS);
	shell("cp %s %s", other, db);
	wait_for(&f.lost);
	assert_non_null(strstr(f.reason, "does not use its -wal"));
}

static void moved_over_is_replaced(void **state)
{
	(void)state;
	make_both();
	follow_start(&f, &cfg, NULL);
	f.unsettled = true;
	f.keep_up = false;
	follow_for(&f, 50 * MS);
	agent_do(&a, "close");
	shell("cp %s %s.new && sha256sum <%s.new >%s/sum && mv %s.new %s", other, other, other, dir,
		other, db);
	wait_for(&f.replaced);
	assert_false(source_attached(f.source));
	assert_non_null(strstr(f.reason, "another file"));
	follow_stop(&f);
	shell("sha256sum <%s | cmp - %s/sum", db, dir); /* nothing of ours was written into it */
}

/* The textbook restore: our checkpoint or close would write old frames into the new database. */
static void removed_wal_and_copied_over_is_not_written(void **state)
{
	(void)state;
	make_both();
	follow_start(&f, &cfg, NULL);
	f.keep_up = false;
	insert_rows(&a, 600); /* enough for a checkpoint of our own to be due */
	follow_turn(&f, 0);
	insert_rows(&a, 10); /* and something that a close could still backfill */
	agent_do(&a, "close");
	shell("rm %s %s && cp %s %s && sha256sum <%s >%s/sum", wal, shm, other, db, db, dir);
	wait_for(&f.replaced);
	follow_stop(&f);
	shell("sha256sum <%s | cmp - %s/sum", db, dir);
	agent_do(&a, "open %s", db);
	assert_string_equal(agent_sql(&a, "PRAGMA integrity_check"), "ok");
	assert_string_equal(agent_sql(&a, "SELECT count(*) FROM t"), "1000");
}

/* We must let go, or the app gets I/O errors as long as we live. */
static void removed_wal_is_replaced(void **state)
{
	(void)state;
	make_both();
	follow_start(&f, &cfg, NULL);
	f.unsettled = true;
	agent_sql_beside(&a, &f, "PRAGMA wal_checkpoint(truncate)");
	agent_do(&a, "close");
	f.keep_up = false;
	shell("rm %s", wal);
	wait_for(&f.replaced);
	agent_do(&a, "open %s", db);
	insert_rows(&a, 3);
	assert_string_equal(agent_sql(&a, "PRAGMA integrity_check"), "ok");
}

static void removed_database_is_gone(void **state)
{
	(void)state;
	make_both();
	follow_start(&f, &cfg, NULL);
	f.keep_up = false;
	follow_for(&f, 20 * MS);
	shell("rm %s", db);
	wait_for(&f.gone);
	assert_false(source_attached(f.source));
	assert_int_equal(follow_attach(&f, NULL), ERR_NOT_FOUND);
}

static void hard_link_is_replaced(void **state)
{
	(void)state;
	make_both();
	follow_start(&f, &cfg, NULL);
	f.keep_up = false;
	follow_for(&f, 20 * MS);
	shell("ln %s %s/link.db", db, dir);
	insert_rows(&a, 1);
	wait_for(&f.replaced);
	assert_non_null(strstr(f.reason, "hard links"));
}

/* The app in the mount has its own -wal and -shm beside the mount point; only its checkpoints show.
 */
static void single_file_bind_mount_is_lost(void **state)
{
	(void)state;
	if (geteuid() != 0 || unshare(CLONE_NEWNS)) {
		print_message("skipped: mounting needs root\n");
		skip();
	}
	make_both();
	agent_do(&a, "close");
	char mounted[4300];
	snprintf(mounted, sizeof(mounted), "%s/container/app.db", dir);
	shell("mkdir %s/container && touch %s", dir, mounted);
	if (mount(NULL, "/", "none", MS_REC | MS_PRIVATE, NULL) ||
		mount(db, mounted, "none", MS_BIND, NULL)) {
		print_message("skipped: no bind mounts here\n");
		skip();
	}
	/* An agent of this namespace. */
	agent_stop(&b);
	agent_start(&b);
	follow_start(&f, &cfg, NULL);
	f.keep_up = false;
	f.unsettled = true;
	follow_for(&f, 20 * MS);
	agent_do(&b, "open %s", mounted);
	agent_sql(&b, "PRAGMA wal_autocheckpoint=0");
	insert_rows(&b, 100);
	agent_send(&b, "sql PRAGMA wal_checkpoint(passive)");
	assert_true(follow_until(&f, agent_answered, &b, 10 * S));
	agent_answer(&b);
	wait_for(&f.lost);
	assert_non_null(strstr(f.reason, "mount"));
	agent_stop(&b);
	follow_stop(&f);
	assert_int_equal(umount2(mounted, MNT_DETACH), 0);
}

/* ---- letting go ---- */

static void let_go_when_nobody_is_connected(void **state)
{
	(void)state;
	make_both();
	follow_start(&f, &cfg, NULL);
	insert_rows(&a, 20);
	follow_for(&f, 500 * MS);
	assert_int_equal(f.released, 0); /* the app is there */
	agent_do(&a, "close");
	wait_for(&f.released);
	assert_false(exists(wal));
	assert_false(exists(shm));
	assert_false(source_attached(f.source));
	/* What we did ourselves must not wake us: nothing happens any more. */
	unsigned attached = f.attached;
	follow_for(&f, 500 * MS);
	assert_int_equal(f.attached, attached);
	assert_int_equal(f.released, 1);
	follow_stop(&f);
	assert_int_equal(follow_compare_file(&f, db), 0);
}

/* Sources in one folder share its watch: one's own letting go must wake neither. */
static void let_go_beside_a_neighbour(void **state)
{
	(void)state;
	make_both();
	agent_do(&a, "close");
	struct source_watch *watch;
	struct err e = ERR_INIT;
	assert_int_equal(source_watch_new(&watch, &e), ERR_OK);
	struct follow g;
	follow_open_with(&f, &cfg, watch);
	cfg.path = other;
	follow_open_with(&g, &cfg, watch);
	f.keep_up = g.keep_up = true;
	for (int64_t end = clock_mono_us() + 2 * S; clock_mono_us() < end;) {
		follow_turn(&f, 5 * MS);
		follow_turn(&g, 5 * MS);
	}
	assert_int_equal(f.attached, 1);
	assert_int_equal(g.attached, 1);
	assert_int_equal(f.released, 1);
	assert_int_equal(g.released, 1);
	agent_do(&a, "open %s", db);
	insert_rows(&a, 1);
	for (int i = 0; i < 50; i++) {
		follow_turn(&f, 5 * MS);
		follow_turn(&g, 5 * MS);
	}
	assert_int_equal(f.attached, 2);
	assert_int_equal(g.attached, 1);
	follow_free(&g);
	follow_stop(&f);
	source_watch_free(watch);
}

static void not_let_go_while_unsettled(void **state)
{
	(void)state;
	make_both();
	follow_start(&f, &cfg, NULL);
	f.unsettled = true;
	agent_do(&a, "close");
	follow_for(&f, 600 * MS);
	assert_int_equal(f.released, 0);
	assert_true(exists(wal));
	f.unsettled = false;
	wait_for(&f.released);
	assert_false(exists(wal));
}

static void resumes_after_letting_go(void **state)
{
	(void)state;
	make_both();
	follow_start(&f, &cfg, NULL);
	agent_do(&a, "close");
	wait_for(&f.released);
	for (int i = 0; i < 3; i++) {
		f.released = 0;
		unsigned resumed = f.resumed;
		agent_do(&a, "open %s", db);
		insert_rows(&a, 5);
		wait_for(&f.attached);
		follow_for(&f, 100 * MS);
		assert_int_equal(f.resumed, resumed + 1); /* without comparing all pages */
		insert_rows(&a, 5);
		follow_for(&f, 50 * MS);
		agent_do(&a, "close");
		wait_for(&f.released);
	}
	follow_stop(&f);
	assert_int_equal(follow_compare_file(&f, db), 0);
}

static void change_while_let_go_is_noticed(void **state)
{
	(void)state;
	make_both();
	follow_start(&f, &cfg, NULL);
	agent_do(&a, "close");
	wait_for(&f.released);
	unsigned resumed = f.resumed;
	/* Opened, written, closed: folded into the file before we look. */
	agent_do(&a, "open %s", db);
	insert_rows(&a, 5);
	agent_do(&a, "close");
	agent_do(&a, "open %s", db);
	insert_rows(&a, 5);
	follow_for(&f, 100 * MS);
	assert_int_equal(f.resumed, resumed);
	assert_same_at_the_end();
}

static void wal_deleted_while_away(void **state)
{
	(void)state;
	make_both();
	follow_start(&f, &cfg, NULL);
	follow_catch_up(&f);
	struct state_position at = f.pos;
	assert_true(at.resumable);
	follow_stop(&f);
	insert_rows(&a, 5);
	agent_kill(&a);
	agent_start(&a);
	shell("rm -f %s %s", wal, shm);
	follow_free(&f);
	follow_start(&f, &cfg, &at);
	assert_int_equal(f.resumed, 0);
	assert_same_at_the_end();
}

static void resumes_at_a_position(void **state)
{
	(void)state;
	make_both();
	follow_start(&f, &cfg, NULL);
	insert_rows(&a, 5);
	follow_catch_up(&f);
	struct state_position at = f.pos;
	assert_true(at.resumable && at.frame > 0);
	source_detach(f.source); /* the copy stays */
	insert_rows(&a, 5);
	assert_int_equal(follow_attach(&f, &at), ERR_OK);
	assert_int_equal(f.resumed, 1);
	assert_same_at_the_end();
}

static void does_not_resume_at_a_wrong_position(void **state)
{
	(void)state;
	make_both();
	follow_start(&f, &cfg, NULL);
	insert_rows(&a, 5);
	follow_catch_up(&f);
	struct state_position at = f.pos, wrong[5] = {at, at, at, at, at};
	wrong[0].salt[0] ^= 1;
	wrong[1].cksum[1] ^= 1;
	wrong[2].frame += 1;
	wrong[3].resumable = false;
	wrong[4].frame -= 1;
	for (int i = 0; i < 5; i++) {
		source_detach(f.source);
		assert_int_equal(follow_attach(&f, &wrong[i]), ERR_OK);
		assert_int_equal(f.resumed, 0);
		follow_catch_up(&f);
	}
	assert_same_at_the_end();
}

/* ---- how it is found ---- */

static void switches_to_wal(void **state)
{
	(void)state;
	make(&a, db, "delete");
	insert_rows(&a, 10);
	follow_start(&f, &cfg, NULL);
	assert_string_equal(agent_sql(&a, "SELECT count(*) FROM t"), "10");
	assert_string_equal(agent_sql(&a, "PRAGMA journal_mode"), "wal");
	insert_rows(&a, 10);
	assert_same_at_the_end();
}

static void schema_of_a_newer_sqlite(void **state)
{
	(void)state;
	static const char *const modes[] = {"wal", "delete"};
	for (int i = 0; i < 2; i++) {
		make(&a, db, modes[i]);
		agent_sql(&a, "CREATE VIEW v AS SELECT 1; PRAGMA writable_schema=ON;"
					  "UPDATE sqlite_schema SET sql='CREATE VIEW v AS SELECT FROM NOWHERE !!' "
					  "WHERE name='v'");
		agent_do(&b, "open %s", db);
		assert_memory_equal(agent_do(&b, "sql SELECT * FROM t"), "err", 3);
		agent_do(&b, "close");
		follow_start(&f, &cfg, NULL);
		insert_rows(&a, 700);
		follow_for(&f, 100 * MS);
		agent_do(&a, "close");
		follow_catch_up(&f);
		follow_stop(&f);
		assert_int_equal(follow_compare_file(&f, db), 0);
		follow_free(&f);
		unlink(db);
	}
}

static void waits_for_a_database(void **state)
{
	(void)state;
	char deep[4300];
	snprintf(deep, sizeof(deep), "%s/sub/app.db", dir);
	cfg.path = deep;
	follow_open(&f, &cfg);
	assert_int_equal(follow_attach(&f, NULL), ERR_NOT_FOUND);
	shell("mkdir %s/sub", dir);
	assert_int_equal(follow_attach(&f, NULL), ERR_NOT_FOUND);
	shell("touch %s", deep);
	assert_int_equal(follow_attach(&f, NULL), ERR_NOT_FOUND);
	assert_non_null(strstr(f.reason, "empty"));
	make(&a, deep, "wal");
	insert_rows(&a, 3);
	assert_int_equal(follow_attach(&f, NULL), ERR_OK);
}

/* source_open's answer, or that of the first attach. */
static int try_path(const char *path)
{
	struct err e = ERR_INIT;
	struct source_sink sink = {0};
	struct source *s = NULL;
	bool resumed;
	cfg.path = path;
	int rc = source_open(&s, &cfg, &sink, NULL, &e);
	if (!rc)
		rc = source_attach(s, NULL, &resumed, &e);
	snprintf(f.reason, sizeof(f.reason), "%s", e.text);
	source_close(s);
	return rc;
}

static void refuses_what_is_no_plain_file(void **state)
{
	(void)state;
	make_both();
	char path[4300];
	snprintf(path, sizeof(path), "%s/sym.db", dir);
	shell("ln -s app.db %s", path);
	assert_int_equal(try_path(path), ERR_DATABASE);
	assert_non_null(strstr(f.reason, "symbolic link"));
	assert_int_equal(try_path(dir), ERR_DATABASE);
	assert_non_null(strstr(f.reason, "not a regular file"));
	snprintf(path, sizeof(path), "%s/hard.db", dir);
	shell("ln %s %s", db, path);
	assert_int_equal(try_path(db), ERR_DATABASE);
	assert_non_null(strstr(f.reason, "hard links"));
	snprintf(path, sizeof(path), "%s/fifo", dir);
	shell("mkfifo %s", path);
	assert_int_equal(try_path(path), ERR_DATABASE);
	assert_false(exists(tmpdir_path(dir, "sym.db-wal")));
}

static void refuses_what_is_no_database(void **state)
{
	(void)state;
	char path[4300];
	snprintf(path, sizeof(path), "%s/text.db", dir);
	shell("echo 'this is no database' >%s", path);
	assert_int_equal(try_path(path), ERR_DATABASE);
	assert_non_null(strstr(f.reason, "not a SQLite database"));
	shell("head -c 8192 /dev/urandom >%s", path);
	assert_int_equal(try_path(path), ERR_DATABASE);
	assert_non_null(strstr(f.reason, "encrypted"));
	make(&a, db, "wal");
	agent_do(&a, "close");
	shell("printf '\\003\\003' | dd of=%s bs=1 seek=18 conv=notrunc status=none", db);
	assert_int_equal(try_path(db), ERR_DATABASE);
	assert_non_null(strstr(f.reason, "WAL2"));
	assert_false(exists(wal));
}

static void refuses_exclusive_locking(void **state)
{
	(void)state;
	make(&a, db, "wal");
	agent_do(&a, "close");
	agent_do(&a, "open %s", db);
	agent_sql(&a, "PRAGMA locking_mode=EXCLUSIVE; INSERT INTO t(v) VALUES(1)");
	follow_open(&f, &cfg);
	int64_t end = clock_mono_us() + 10 * S;
	int rc = ERR_AGAIN;
	while (rc == ERR_AGAIN && clock_mono_us() < end) {
		rc = follow_attach(&f, NULL);
		clock_sleep_us(20 * MS);
	}
	assert_int_equal(rc, ERR_DATABASE);
	assert_non_null(strstr(f.reason, "locking_mode=EXCLUSIVE"));
	agent_do(&a, "close");
	assert_int_equal(follow_attach(&f, NULL), ERR_OK);
}

static void refuses_without_permission(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: needs root, to become somebody else\n");
		skip();
	}
	make(&a, db, "wal");
	shell("chmod 755 %s && chmod 644 %s", dir, db);
	pid_t pid = fork();
	if (pid == 0) {
		if (setgid(65534) || setuid(65534))
			_exit(99);
		int rc = try_path(db);
		_exit(strstr(f.reason, "permi") || strstr(f.reason, "Permi") ? rc : 98);
	}
	int status;
	waitpid(pid, &status, 0);
	assert_int_equal(WEXITSTATUS(status), ERR_DATABASE);
}

static void knows_other_connections(void **state)
{
	(void)state;
	assert_int_equal(source_foreign_connections(db), -1);
	make(&a, db, "wal");
	assert_int_equal(source_foreign_connections(db), 1);
	agent_do(&a, "close");
	assert_int_equal(source_foreign_connections(db), 0);
	/* Our own connection doesn't count, and asking must not drop its locks. */
	follow_start(&f, &cfg, NULL);
	f.unsettled = true;
	follow_turn(&f, 0);
	assert_int_equal(source_foreign_connections(db), 0);
	agent_do(&a, "open %s", db);
	insert_rows(&a, 3);
	follow_catch_up(&f);
	assert_int_equal(source_foreign_connections(db), 1);
	agent_do(&a, "timeout 0");
	agent_sql(&a, "PRAGMA wal_checkpoint(truncate)");
	struct stat st;
	assert_int_equal(stat(wal, &st), 0);
	assert_true(st.st_size > 0); /* our pin kept it from that */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* With an argument: only tests whose name fits that pattern. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(copied_over_is_lost), TEST(copied_over_after_a_recovery_is_lost),
		TEST(moved_over_is_replaced), TEST(removed_wal_and_copied_over_is_not_written),
		TEST(removed_wal_is_replaced), TEST(removed_database_is_gone), TEST(hard_link_is_replaced),
		TEST(let_go_when_nobody_is_connected), TEST(let_go_beside_a_neighbour),
		TEST(not_let_go_while_unsettled), TEST(resumes_after_letting_go),
		TEST(change_while_let_go_is_noticed), TEST(wal_deleted_while_away),
		TEST(resumes_at_a_position), TEST(does_not_resume_at_a_wrong_position),
		TEST(switches_to_wal), TEST(schema_of_a_newer_sqlite), TEST(waits_for_a_database),
		TEST(refuses_what_is_no_plain_file), TEST(refuses_what_is_no_database),
		TEST(refuses_exclusive_locking), TEST(refuses_without_permission),
		TEST(knows_other_connections),
		TEST(single_file_bind_mount_is_lost), /* last: it leaves the mount namespace */
	};
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
