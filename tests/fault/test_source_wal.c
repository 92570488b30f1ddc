/*
 * What goes wrong inside a WAL, each made certain: real SQLite in other processes, stopped or
 * killed at a named point (lib/pausevfs.h), the source beside them, and at the end the copy against
 * the database, byte for byte.
 *
 *   situation                                            test
 *   -----------------------------------------------     ------------------------------------------
 *   a checkpointer stalled since the old incarnation     stalled_checkpointer_loses_nothing (I4)
 *   a checkpointer stopped before it unlocks truncate_does_not_wait_when_mark_0_was_refused readers
 * fill all marks, then leave                   all_marks_taken_then_released (I6) a writer dies
 * between the two header copies          writer_dead_between_header_copies (I5) a writer is stopped
 * between them                     writer_stopped_between_header_copies (I5) a writer dies before
 * it publishes, its commit comes  phantom_commit_of_the_next_recovery to life in the next recovery
 *   a recovery goes back behind what was captured        recovery_that_goes_back_is_noticed (I7)
 *   committed frames without checksums (ROLLBACK TO)     frames_without_checksums
 *   the first pin on mark 0 with unread frames           first_pin_on_mark_0_reads_the_rest (I3)
 *   the same, and they are overwritten before we read    first_pin_on_mark_0_overwritten (I3)
 *   a WAL with big-endian checksums                      big_endian_wal
 *   the WAL restarted many times while empty             empty_wal_restarted (I2)
 *   a rolled-back spill after a restart                  rolled_back_spill_after_restart (I2)
 *   writers killed at random, checkpoints of all kinds   writers_killed_at_random
 *   two sources on one database                          two_sources_on_one_database
 */
#include "base/clock.h"
#include "base/endian.h"
#include "format/wal.h"
#include "lib/agent.h"
#include "lib/follow.h"
#include "lib/tmpdir.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define MS INT64_C(1000)
#define S INT64_C(1000000)

static char *dir;
static char db[4096];
static struct agent a, b, c;
static struct follow f;
static struct source_config cfg;

static int set_up(void **state)
{
	(void)state;
	dir = tmpdir_new();
	snprintf(db, sizeof(db), "%s/app.db", dir);
	cfg = (struct source_config){.path = db};
	agent_start(&a);
	agent_start(&b);
	agent_start(&c);
	agent_do(&a, "open %s", db);
	agent_sql(&a, "PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0;"
				  "CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB)");
	agent_do(&b, "open %s", db);
	agent_sql(&b, "PRAGMA wal_autocheckpoint=0");
	agent_sql(&b, "SELECT count(*) FROM t");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	agent_stop(&a);
	agent_stop(&b);
	agent_stop(&c);
	follow_free(&f);
	tmpdir_free(dir);
	return 0;
}

/* Ends all, and compares. */
static void assert_same_at_the_end(void)
{
	follow_catch_up(&f);
	assert_int_equal(follow_compare_scan(&f), 0);
	follow_stop(&f);
	agent_stop(&a);
	agent_stop(&b);
	agent_stop(&c);
	assert_int_equal(follow_compare_file(&f, db), 0);
}

/* A number out of the wal-index. The descriptor is never closed: this process must close none of a
 * -shm while it is connected to that database. */
static uint32_t index_word(unsigned offset)
{
	static int fd = -1;
	static ino_t ino;
	char shm[4200];
	struct stat st;
	snprintf(shm, sizeof(shm), "%s-shm", db);
	assert_int_equal(stat(shm, &st), 0);
	if (fd < 0 || st.st_ino != ino) {
		fd = open(shm, O_RDONLY | O_CLOEXEC);
		ino = st.st_ino;
	}
	uint32_t word = 0;
	assert_int_equal(pread(fd, &word, 4, offset), 4);
	return word;
}

static bool all_backfilled(void *ctx)
{
	(void)ctx;
	return index_word(WAL_INDEX_NBACKFILL) == index_word(16);
}

static void insert_rows(struct agent *who, int n, int bytes)
{
	agent_sql(who,
		"WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM i WHERE x<%d) "
		"INSERT INTO t(v) SELECT randomblob(%d) FROM i",
		n, bytes);
}

/*
 * P1 starts a checkpoint, has read a header of which everything is backfilled, and is stopped. P2
 * restarts the WAL and commits two rows. If we left mark 0 now, P1 would go on, skip the new frames
 * and call them backfilled: the app's commits would be gone (SQLite before 3.51.3).
 */
static void stalled_checkpointer_loses_nothing(void **state)
{
	(void)state;
	follow_start(&f, &cfg, NULL);
	agent_sql(&a, "BEGIN");
	insert_rows(&a, 3000, 3000);
	agent_sql(&a, "COMMIT");
	/* Old frames behind the first hash block mention the pages again. */
	agent_sql(&a, "UPDATE t SET v=randomblob(3000)");
	agent_sql(&a, "UPDATE t SET v=randomblob(3000)");
	assert_true(agent_sql_beside(&a, &f, "PRAGMA wal_checkpoint(passive)") >= 0);
	follow_for(&f, 50 * MS);
	agent_sql_beside(&a, &f, "PRAGMA wal_checkpoint(passive)");
	assert_true(follow_until(&f, all_backfilled, NULL, 5 * S));
	follow_for(&f, 50 * MS); /* on mark 0 now */

	agent_do(&b, "pause ckpt-header");
	agent_send(&b, "sql PRAGMA wal_checkpoint(passive)");
	assert_string_equal(agent_answer(&b), "paused");
	agent_sql(&a, "UPDATE t SET v='NEW' WHERE id IN (2900, 2901)");
	assert_true(index_word(16) < 100); /* the WAL did start anew */
	follow_for(&f, 500 * MS);
	agent_do(&b, "go");

	follow_for(&f, 100 * MS);
	agent_do(&c, "open %s", db);
	assert_string_equal(agent_sql(&c, "SELECT count(*) FROM t WHERE v='NEW'"), "2");
	assert_string_equal(agent_sql(&c, "PRAGMA integrity_check"), "ok");
	assert_int_equal(f.lost, 0);
	assert_same_at_the_end();
}

/* nBackfill is stored before READ_LOCK(0) is released: a pin that is taken in between lands on mark
 * 1, and TRUNCATE would wait for it until its time-out. */
static void truncate_does_not_wait_when_mark_0_was_refused(void **state)
{
	(void)state;
	follow_start(&f, &cfg, NULL);
	insert_rows(&a, 5, 1000);
	follow_for(&f, 50 * MS);
	agent_do(&b, "pause ckpt-stored");
	agent_send(&b, "sql PRAGMA wal_checkpoint(truncate)");
	assert_true(follow_until(&f, agent_answered, &b, 5 * S));
	assert_string_equal(agent_answer(&b), "paused");
	follow_for(&f, 50 * MS);
	agent_send(&b, "go");
	int64_t began = clock_mono_us();
	assert_true(follow_until(&f, agent_answered, &b, 10 * S));
	int64_t took = clock_mono_us() - began;
	agent_answer(&b);
	assert_memory_equal(b.line, "ok ", 3);
	assert_true(strstr(b.line, " 0") != NULL); /* not busy */
	assert_in_range(took, 0, 1000 * MS);       /* its time-out is 5 s */
	assert_same_at_the_end();
}

/* Five readers at five ages: marks 1 to 4 are theirs and ours is one that is shared and old. When
 * they leave nothing happens, and TRUNCATE would wait for our old mark. */
static void all_marks_taken_then_released(void **state)
{
	(void)state;
	struct agent readers[5];
	for (int i = 0; i < 5; i++) {
		agent_start(&readers[i]);
		agent_do(&readers[i], "open %s", db);
	}
	follow_start(&f, &cfg, NULL);
	for (int i = 0; i < 5; i++) {
		insert_rows(&a, 1, 3000);
		follow_for(&f, 20 * MS);
		agent_sql(&readers[i], "BEGIN; SELECT count(*) FROM t");
	}
	for (int i = 0; i < 5; i++) {
		insert_rows(&a, 1, 3000);
		follow_for(&f, 20 * MS);
	}
	for (int i = 0; i < 5; i++)
		agent_sql(&readers[i], "ROLLBACK");
	follow_for(&f, 300 * MS);
	int64_t took = agent_sql_beside(&a, &f, "PRAGMA wal_checkpoint(truncate)");
	assert_in_range(took, 0, 1000 * MS);
	assert_int_equal(index_word(16), 0); /* it did truncate */
	for (int i = 0; i < 5; i++)
		agent_stop(&readers[i]);
	assert_same_at_the_end();
}

static bool recovered(void *ctx)
{
	(void)ctx;
	struct source_counts counts;
	source_get_counts(f.source, &counts);
	return counts.recoveries > 0;
}

/* Apps older than 3.33 can't recover the index beside our pin. */
static void writer_dead_between_header_copies(void **state)
{
	(void)state;
	insert_rows(&a, 10, 1000);
	follow_start(&f, &cfg, NULL);
	follow_for(&f, 20 * MS);
	agent_do(&b, "die publish");
	agent_send(&b, "sql INSERT INTO t(v) VALUES('half')");
	assert_string_equal(agent_answer(&b), "");
	int64_t began = clock_mono_us();
	assert_true(follow_until(&f, recovered, NULL, 5 * S));
	assert_in_range(clock_mono_us() - began, 0, 1000 * MS);
	agent_kill(&b);
	agent_start(&b);
	assert_string_equal(agent_sql(&a, "SELECT count(*) FROM t WHERE v='half'"), "1");
	insert_rows(&a, 10, 1000);
	assert_same_at_the_end();
}

/* Beginning a read now would block for ten seconds. */
static void writer_stopped_between_header_copies(void **state)
{
	(void)state;
	insert_rows(&a, 10, 1000);
	follow_start(&f, &cfg, NULL);
	follow_for(&f, 20 * MS);
	agent_do(&b, "pause publish");
	agent_send(&b, "sql INSERT INTO t(v) VALUES('half')");
	assert_string_equal(agent_answer(&b), "paused");
	f.turn_max_us = 0;
	follow_for(&f, 500 * MS);
	assert_in_range(f.turn_max_us, 0, 400 * MS);
	assert_false(recovered(NULL));
	agent_do(&b, "go");
	assert_memory_equal(b.line, "ok", 2);
	follow_for(&f, 100 * MS);
	insert_rows(&a, 10, 1000);
	assert_same_at_the_end();
}

/* The last write to the WAL made an event, the commit is published when the disk has it: no event
 * tells of that. */
static void commit_whose_sync_takes_seconds(void **state)
{
	(void)state;
	follow_start(&f, &cfg, NULL);
	insert_rows(&a, 3, 500);
	follow_for(&f, 20 * MS);
	agent_sql(&b, "PRAGMA synchronous=FULL");
	agent_do(&b, "pause wal-sync");
	agent_send(&b, "sql INSERT INTO t(v) VALUES('slow')");
	assert_string_equal(agent_answer(&b), "paused");
	follow_for(&f, 2500 * MS);
	unsigned before = f.commits;
	agent_send(&b, "go");
	/* As long as the source asks for, which must not be its slow timer. */
	int64_t began = clock_mono_us();
	while (f.commits == before && clock_mono_us() - began < 4 * S)
		follow_turn(&f, 5 * S);
	assert_in_range(clock_mono_us() - began, 0, 1 * S);
	assert_int_equal(strncmp(agent_answer(&b), "ok", 2), 0);
	assert_same_at_the_end();
}

/* Frames with a valid commit behind mxFrame: not committed, until a recovery finds them. */
static void phantom_commit_of_the_next_recovery(void **state)
{
	(void)state;
	follow_start(&f, &cfg, NULL);
	insert_rows(&a, 3, 500);
	follow_for(&f, 20 * MS);
	agent_sql(&b, "PRAGMA synchronous=FULL");
	agent_do(&b, "die wal-sync");
	agent_send(&b, "sql INSERT INTO t(v) VALUES('phantom')");
	assert_string_equal(agent_answer(&b), "");
	agent_kill(&b);
	follow_for(&f, 50 * MS);
	assert_string_equal(agent_sql(&a, "SELECT count(*) FROM t WHERE v='phantom'"), "0");
	uint32_t before = index_word(16);
	/* Somebody dies while publishing a header that changes nothing else: here simply a recovery. */
	agent_start(&b);
	agent_do(&b, "open %s", db);
	agent_do(&b, "die publish");
	agent_send(&b, "sql PRAGMA wal_autocheckpoint=0; INSERT INTO t(v) VALUES('second')");
	assert_string_equal(agent_answer(&b), "");
	assert_true(follow_until(&f, recovered, NULL, 5 * S));
	assert_true(index_word(16) > before);
	agent_kill(&b);
	agent_start(&b);
	assert_same_at_the_end();
}

/* Writes into the -shm as a process that dies would: the header that it leaves behind is invalid.
 * The descriptor must stay open. */
static void break_index(void)
{
	char shm[4200];
	snprintf(shm, sizeof(shm), "%s-shm", db);
	pid_t pid = fork();
	if (pid == 0) {
		int fd = open(shm, O_RDWR);
		uint32_t junk = 0xdeadbeef;
		_exit(pwrite(fd, &junk, 4, 44) == 4 ? 0 : 1);
	}
	int status;
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

/* The last committed frame is damaged on disk, then the index is recovered: mxFrame goes back. */
static void recovery_that_goes_back_is_noticed(void **state)
{
	(void)state;
	follow_start(&f, &cfg, NULL);
	insert_rows(&a, 20, 1000);
	follow_catch_up(&f);
	uint32_t last = index_word(16);
	char wal[4200];
	snprintf(wal, sizeof(wal), "%s-wal", db);
	pid_t pid = fork();
	if (pid == 0) {
		int fd = open(wal, O_RDWR);
		uint64_t junk = 0;
		off_t at = (off_t)wal_frame_offset(last, 4096) + 16;
		_exit(pwrite(fd, &junk, 8, at) == 8 ? 0 : 1);
	}
	waitpid(pid, NULL, 0);
	break_index();
	for (int i = 0; i < 100 && f.lost == 0; i++)
		follow_turn(&f, 10 * MS);
	assert_int_equal(f.lost, 1);
	assert_true(index_word(16) < last);
	insert_rows(&a, 5, 1000);
	assert_same_at_the_end();
}

/* SQLite 3.11 to 3.49: spill, rewrite a spilled page, ROLLBACK TO, write on, COMMIT. */
static void frames_without_checksums(void **state)
{
	(void)state;
	agent_sql(&a, "PRAGMA cache_size=10; PRAGMA cache_spill=1");
	insert_rows(&a, 400, 3500);
	follow_start(&f, &cfg, NULL);
	agent_sql(&a, "BEGIN IMMEDIATE; UPDATE t SET v=randomblob(3500) WHERE id<60; SAVEPOINT s;"
				  "UPDATE t SET v=randomblob(3500) WHERE id BETWEEN 100 AND 199;"
				  "UPDATE t SET v=randomblob(3500) WHERE id BETWEEN 150 AND 169;"
				  "SELECT sum(length(v)) FROM t WHERE id BETWEEN 200 AND 260;"
				  "ROLLBACK TO s; RELEASE s;"
				  "UPDATE t SET v=zeroblob(3500) WHERE id BETWEEN 300 AND 339; COMMIT");
	follow_catch_up(&f);
	struct source_counts counts;
	source_get_counts(f.source, &counts);
	if (sqlite3_libversion_number() >= 3011000 && sqlite3_libversion_number() < 3050004) {
		assert_true(counts.unverified > 0);
		assert_false(f.pos.resumable);
	}
	/* Writers go on from the header's checksum. */
	for (int i = 0; i < 5; i++)
		insert_rows(&a, 3, 3500);
	follow_catch_up(&f);
	uint64_t unverified = counts.unverified;
	source_get_counts(f.source, &counts);
	assert_int_equal(counts.unverified, unverified);
	assert_int_equal(f.lost, 0);
	/* The bad frames and good ones after them in one reading. */
	agent_sql(&a, "BEGIN IMMEDIATE; UPDATE t SET v=randomblob(3500) WHERE id<60; SAVEPOINT s;"
				  "UPDATE t SET v=randomblob(3500) WHERE id BETWEEN 100 AND 199;"
				  "UPDATE t SET v=randomblob(3500) WHERE id BETWEEN 150 AND 169;"
				  "SELECT sum(length(v)) FROM t WHERE id BETWEEN 200 AND 260;"
				  "ROLLBACK TO s; RELEASE s;"
				  "UPDATE t SET v=zeroblob(3500) WHERE id BETWEEN 300 AND 339; COMMIT");
	insert_rows(&a, 30, 3500);
	follow_catch_up(&f);
	assert_int_equal(f.lost, 0);
	/* With the next incarnation all is well again. */
	agent_sql_beside(&a, &f, "PRAGMA wal_checkpoint(truncate)");
	insert_rows(&a, 3, 3500);
	follow_catch_up(&f);
	assert_true(f.pos.resumable);
	assert_same_at_the_end();
}

/* Everything is backfilled, and an earlier life of ours read only half of it. */
static void backfilled_with_half_unread(struct state_position *half)
{
	follow_start(&f, &cfg, NULL);
	insert_rows(&a, 10, 3000);
	follow_catch_up(&f);
	*half = f.pos;
	assert_true(half->resumable && half->frame > 0);
	source_detach(f.source); /* the copy stays, as staging would */
	insert_rows(&a, 10, 3000);
	agent_sql(&a, "PRAGMA wal_checkpoint(passive)");
	assert_true(all_backfilled(NULL));
	assert_true(index_word(16) > half->frame);
}

static void first_pin_on_mark_0_reads_the_rest(void **state)
{
	(void)state;
	struct state_position half;
	backfilled_with_half_unread(&half);
	assert_int_equal(follow_attach(&f, &half), ERR_OK);
	assert_int_equal(f.resumed, 1);
	follow_catch_up(&f);
	assert_int_equal(f.lost, 0);
	insert_rows(&a, 10, 3000);
	assert_same_at_the_end();
}

/* A commit between attach and the first turn starts the WAL anew over the unread frames. */
static void first_pin_on_mark_0_overwritten(void **state)
{
	(void)state;
	struct state_position half;
	backfilled_with_half_unread(&half);
	assert_int_equal(follow_attach(&f, &half), ERR_OK);
	assert_int_equal(f.resumed, 1);
	agent_sql(&a, "UPDATE t SET v='x' WHERE id=1");
	assert_true(index_word(16) < half.frame);
	follow_catch_up(&f);
	assert_int_equal(f.lost, 1);
	assert_same_at_the_end();
}

/* Rewrites magic and checksums as a big-endian machine would have written them. */
static void make_big_endian(const char *wal)
{
	FILE *file = fopen(wal, "r+b");
	assert_non_null(file);
	uint8_t head[WAL_HEADER_SIZE], frame[WAL_FRAME_HEADER_SIZE + 4096];
	uint32_t s[2] = {0, 0};
	assert_int_equal(fread(head, sizeof(head), 1, file), 1);
	head[3] |= 1;
	wal_checksum(true, head, 24, s);
	put_be32(head + 24, s[0]);
	put_be32(head + 28, s[1]);
	rewind(file);
	fwrite(head, sizeof(head), 1, file);
	for (uint32_t n = 1;; n++) {
		fseek(file, (long)wal_frame_offset(n, 4096), SEEK_SET);
		if (fread(frame, sizeof(frame), 1, file) != 1)
			break;
		wal_checksum(true, frame, 8, s);
		wal_checksum(true, frame + WAL_FRAME_HEADER_SIZE, 4096, s);
		put_be32(frame + 16, s[0]);
		put_be32(frame + 20, s[1]);
		fseek(file, (long)wal_frame_offset(n, 4096), SEEK_SET);
		fwrite(frame, sizeof(frame), 1, file);
	}
	fclose(file);
}

/* SQLite keeps the byte order of a WAL until it starts anew. */
static void big_endian_wal(void **state)
{
	(void)state;
	insert_rows(&a, 5, 1000);
	agent_kill(&a);
	agent_kill(&b);
	char wal[4200], shm[4200];
	snprintf(wal, sizeof(wal), "%s-wal", db);
	snprintf(shm, sizeof(shm), "%s-shm", db);
	make_big_endian(wal);
	unlink(shm);
	agent_start(&a);
	agent_start(&b);
	agent_do(&a, "open %s", db);
	agent_sql(&a, "PRAGMA wal_autocheckpoint=0");
	assert_string_equal(agent_sql(&a, "SELECT count(*) FROM t"), "5");
	assert_int_equal(index_word(12) >> 8 & 0xff, 1); /* bigEndCksum */
	follow_start(&f, &cfg, NULL);
	struct state_position at = f.pos;
	insert_rows(&a, 20, 1000);
	follow_catch_up(&f);
	struct source_counts counts;
	source_get_counts(f.source, &counts);
	assert_int_equal(counts.unverified, 0);
	assert_true(f.pos.frame > at.frame);
	assert_same_at_the_end();
}

static void empty_wal_restarted(void **state)
{
	(void)state;
	follow_start(&f, &cfg, NULL);
	insert_rows(&a, 5, 1000);
	for (int i = 0; i < 20; i++) {
		assert_true(agent_sql_beside(&a, &f, "PRAGMA wal_checkpoint(truncate)") >= 0);
		if (i % 3 == 0)
			follow_for(&f, 5 * MS);
		if (i % 5 == 0)
			insert_rows(&a, 2, 1000);
	}
	assert_int_equal(f.lost, 0);
	assert_same_at_the_end();
}

/* A restart that is published before anything is written, and then rolled back. */
static void rolled_back_spill_after_restart(void **state)
{
	(void)state;
	agent_sql(&a, "PRAGMA cache_size=5");
	insert_rows(&a, 300, 3000);
	follow_start(&f, &cfg, NULL);
	for (int i = 0; i < 5; i++) {
		follow_catch_up(&f);
		agent_sql_beside(&a, &f, "PRAGMA wal_checkpoint(passive)");
		follow_for(&f, 30 * MS);
		agent_sql_beside(&a, &f, "PRAGMA wal_checkpoint(passive)");
		follow_for(&f, 30 * MS);
		agent_sql(&a, "BEGIN; UPDATE t SET v=randomblob(3000); ROLLBACK");
		follow_for(&f, 10 * MS);
		insert_rows(&b, 1, 500);
	}
	assert_int_equal(f.lost, 0);
	assert_same_at_the_end();
}

/* ---- many processes, killed ---- */

static unsigned seed;

static unsigned pick(unsigned n)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 8) % n;
}

/* A transaction of any kind; SQLite's errors are the app's. */
static void random_step(sqlite3 *q)
{
	static const char *const checkpoints[] = {"passive", "full", "restart", "truncate"};
	char sql[300];
	if (pick(25) == 0) {
		snprintf(sql, sizeof(sql), "PRAGMA wal_checkpoint(%s)", checkpoints[pick(4)]);
		sqlite3_exec(q, sql, NULL, NULL, NULL);
	}
	if (pick(200) == 0)
		sqlite3_exec(q, "VACUUM", NULL, NULL, NULL);
	if (sqlite3_exec(q, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
		return;
	for (unsigned i = pick(4) == 0 ? pick(100) : pick(4) + 1; i > 0; i--) {
		unsigned kind = pick(10), bytes = pick(3000), id = pick(3000);
		if (kind < 5)
			snprintf(sql, sizeof(sql), "INSERT INTO t(v) VALUES(randomblob(%u))", bytes);
		else if (kind < 8)
			snprintf(sql, sizeof(sql), "UPDATE t SET v=randomblob(%u) WHERE id=%u", bytes, id);
		else
			snprintf(sql, sizeof(sql), "DELETE FROM t WHERE id BETWEEN %u AND %u", id, id + 3);
		sqlite3_exec(q, sql, NULL, NULL, NULL);
	}
	if (pick(6) == 0 || sqlite3_exec(q, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
		sqlite3_exec(q, "ROLLBACK", NULL, NULL, NULL);
}

static void write_for_ever(unsigned s)
{
	seed = s;
	for (;;) {
		sqlite3 *q;
		if (sqlite3_open(db, &q) != SQLITE_OK)
			_exit(1);
		sqlite3_busy_timeout(q, 2000);
		char sql[200];
		static const unsigned thresholds[] = {0, 1, 10, 100, 1000};
		snprintf(sql, sizeof(sql),
			"PRAGMA cache_size=10; PRAGMA wal_autocheckpoint=%u; PRAGMA synchronous=%u;"
			"PRAGMA journal_size_limit=%d",
			thresholds[pick(5)], pick(3), pick(2) ? -1 : 100000);
		sqlite3_exec(q, sql, NULL, NULL, NULL);
		for (unsigned i = pick(150); i > 0; i--)
			random_step(q);
		sqlite3_close(q);
	}
}

/* Killing and starting anew is a process of its own: a fork of this one, which has the database
 * open, would have SQLite's memory of it too. */
static void killer(unsigned s, int64_t us)
{
	pid_t writers[3];
	unsigned next = s;
	for (int i = 0; i < 3; i++)
		if ((writers[i] = fork()) == 0)
			write_for_ever(next * 7 + (unsigned)i);
	for (int64_t end = clock_mono_us() + us; clock_mono_us() < end;) {
		usleep(5000 + next++ * 7919 % 30000);
		int i = (int)(next % 3);
		kill(writers[i], SIGKILL);
		waitpid(writers[i], NULL, 0);
		if ((writers[i] = fork()) == 0)
			write_for_ever(next * 31);
	}
	for (int i = 0; i < 3; i++) {
		kill(writers[i], SIGKILL);
		waitpid(writers[i], NULL, 0);
	}
	_exit(0);
}

static bool has_ended(void *pid)
{
	return waitpid(*(pid_t *)pid, NULL, WNOHANG) != 0;
}

static void writers_killed_at_random(void **state)
{
	(void)state;
	const char *seconds = getenv("SOURCE_KILL_SECONDS");
	int64_t us = (seconds ? atoi(seconds) : 5) * S;
	unsigned s = (unsigned)(clock_mono_us() >> 4);
	printf("seed %u\n", s);
	pid_t pid = fork();
	if (pid == 0)
		killer(s, us);
	follow_start(&f, &cfg, NULL);
	assert_true(follow_until(&f, has_ended, &pid, us + 30 * S));
	printf("%u commits seen, %u lost, largest WAL %.1f MiB\n", f.commits, f.lost,
		(double)f.wal_max / (1 << 20));
	assert_true(f.commits > 100);
	assert_same_at_the_end();
}

static void two_sources_on_one_database(void **state)
{
	(void)state;
	struct follow g;
	follow_start(&f, &cfg, NULL);
	follow_start(&g, &cfg, NULL);
	for (int i = 0; i < 100; i++) {
		insert_rows(&a, 5, 3000);
		follow_turn(&f, 1 * MS);
		follow_turn(&g, 1 * MS);
	}
	for (int i = 0; i < 50; i++) {
		follow_turn(&f, 1 * MS);
		follow_turn(&g, 1 * MS);
	}
	follow_catch_up(&g);
	assert_int_equal(follow_compare_scan(&g), 0);
	/* Letting one go must not take the other's locks away. */
	follow_stop(&g);
	insert_rows(&a, 5, 3000);
	assert_int_not_equal(index_word(16), 0);
	agent_do(&a, "timeout 0");
	agent_sql(&a, "PRAGMA wal_checkpoint(truncate)");
	assert_int_not_equal(index_word(16), 0); /* f's pin is still there */
	follow_catch_up(&f);
	assert_int_equal(f.lost + g.lost, 0);
	assert_int_equal(follow_compare_scan(&f), 0);
	follow_stop(&f);
	agent_stop(&a);
	agent_stop(&b);
	agent_stop(&c);
	assert_int_equal(follow_compare_file(&f, db), 0);
	assert_true(follow_compare_file(&g, db) > 0); /* it stopped earlier */
	follow_free(&g);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* With an argument: only tests whose name fits that pattern. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(stalled_checkpointer_loses_nothing),
		TEST(truncate_does_not_wait_when_mark_0_was_refused),
		TEST(all_marks_taken_then_released),
		TEST(writer_dead_between_header_copies),
		TEST(writer_stopped_between_header_copies),
		TEST(commit_whose_sync_takes_seconds),
		TEST(phantom_commit_of_the_next_recovery),
		TEST(recovery_that_goes_back_is_noticed),
		TEST(frames_without_checksums),
		TEST(first_pin_on_mark_0_reads_the_rest),
		TEST(first_pin_on_mark_0_overwritten),
		TEST(big_endian_wal),
		TEST(empty_wal_restarted),
		TEST(rolled_back_spill_after_restart),
		TEST(writers_killed_at_random),
		TEST(two_sources_on_one_database),
	};
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
