/*
 * What the tests of restore share: a replica, a folder to restore to, and what to expect there. A
 * header alone, because it uses cmocka, which the programs for tests are not linked with.
 */
#ifndef TESTS_LIB_RESTORE_BED_H
#define TESTS_LIB_RESTORE_BED_H

#include "conf/inplace.h"
#include "lib/replica.h"
#include "lib/tmpdir.h"
#include "restore/restore.h"
#include "store/mem.h"

#include <dirent.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

struct bed {
	char *dir; /* where things are restored to */
	char db[256];
	struct store *store;
	struct replica r;
	struct restore_result result;
	struct err e;
	size_t may_stay; /* so many names that could not be removed, after a failure */
};

/* `url` NULL: a folder of its own. */
static inline void bed_open(struct bed *b, const char *url, uint32_t page_size, bool ours)
{
	memset(b, 0, sizeof(*b));
	b->dir = tmpdir_new();
	snprintf(b->db, sizeof(b->db), "%s/app.db", b->dir);
	char own[300];
	snprintf(own, sizeof(own), "%s/replica", b->dir);
	struct err e = ERR_INIT;
	if (store_open(&b->store, url ? url : own, NULL, &e))
		fail_msg("%s", e.text);
	replica_init(&b->r, b->store, page_size, ours);
}

static inline void bed_close(struct bed *b)
{
	store_close(b->store);
	store_mem_forget(NULL);
	replica_free(&b->r);
	tmpdir_free(b->dir);
}

/* Restores TXID txid, or by time, or (0, 0) the latest state, without leaving state. */
static inline int bed_restore(struct bed *b, uint64_t txid, int64_t timestamp_ms)
{
	struct restore_options o = {.target = {txid, timestamp_ms}, .output = b->db, .state_dir = ""};
	err_clear(&b->e);
	int rc = restore_run(b->store, &o, &b->result, &b->e);
	restore_plan_free(&b->result.plan);
	assert_int_equal(rc, b->e.code);
	return rc;
}

/* Names in the folder besides the replica's. */
static inline size_t left_behind(const struct bed *b)
{
	DIR *d = opendir(b->dir);
	size_t n = 0;
	for (const struct dirent *ent = readdir(d); ent; ent = readdir(d))
		if (strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0 &&
			strcmp(ent->d_name, "replica") != 0)
			n++;
	closedir(d);
	return n;
}

/* Asked for TXID `ask` (0 = latest), the database as it was at `txid` comes back. */
static inline void expect_state(struct bed *b, uint64_t ask, uint64_t txid)
{
	if (bed_restore(b, ask, 0))
		fail_msg("TXID %" PRIu64 ": %s", ask, b->e.text);
	assert_int_equal(b->result.txid, txid);
	assert_int_equal(b->result.timestamp_ms, REPLICA_START_MS + (int64_t)txid * 1000);
	assert_int_equal(b->result.n_page, b->r.states[txid].n_page);
	assert_int_equal(b->result.proof, b->r.ours ? RESTORE_PROVEN : RESTORE_NOT_PROVEN);
	assert_true(replica_is_state(&b->r, txid, b->db));
	assert_int_equal(left_behind(b), 1);
	assert_int_equal(unlink(b->db), 0);
}

/* ERR_DAMAGED with this in its text, and nothing left. */
static inline void expect_damaged(struct bed *b, const char *text)
{
	int rc = bed_restore(b, 0, 0);
	if (rc != ERR_DAMAGED || (text && !strstr(b->e.text, text)))
		fail_msg("code %d: %s", rc, b->e.text);
	assert_int_equal(left_behind(b), 0);
}

/* Grows, shrinks, grows over what was cut off. */
static inline void ship_history(struct bed *b)
{
	static const struct {
		uint32_t n_page, writes;
	} steps[] = {{20, 0}, {20, 3}, {33, 2}, {33, 0}, {7, 1}, {7, 4}, {25, 1}, {12, 0}, {40, 5}};
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		replica_ship(&b->r, steps[i].n_page, steps[i].writes);
}

/* ---- in place of something ---- */

static inline void put_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static inline bool text_is(const char *path, const char *text)
{
	char found[64] = "";
	FILE *f = fopen(path, "r");
	if (!f)
		return false;
	size_t n = fread(found, 1, sizeof(found) - 1, f);
	fclose(f);
	return n == strlen(text) && memcmp(found, text, n) == 0;
}

/* A database and its -wal, which a restore is to replace. */
static inline void put_old_set(const struct bed *b)
{
	char wal[300];
	snprintf(wal, sizeof(wal), "%s-wal", b->db);
	put_text(b->db, "old database");
	put_text(wal, "old wal");
}

/* After the restore returned rc: all of the old set in its place, or aside; nothing else. What is
 * there is removed. */
static inline void expect_exchanged(struct bed *b, int rc)
{
	char wal[300], before[300], before_wal[310], command[600];
	struct err e = ERR_INIT;
	snprintf(wal, sizeof(wal), "%s-wal", b->db);
	snprintf(before, sizeof(before), "%s.before-%s", b->db, b->result.before);
	snprintf(before_wal, sizeof(before_wal), "%s-wal", before);
	if (rc) {
		assert_true(b->e.text[0]);
		assert_int_equal(inplace_recover(b->db, false, &e), ERR_OK);
		assert_true(text_is(b->db, "old database") && text_is(wal, "old wal"));
		assert_in_range(left_behind(b), 2, 2 + b->may_stay);
	} else {
		assert_true(replica_is_state(&b->r, b->r.txid, b->db));
		assert_int_not_equal(access(wal, F_OK), 0);
		assert_true(text_is(before, "old database") && text_is(before_wal, "old wal"));
	}
	snprintf(command, sizeof(command), "rm -rf '%s'* '%s/.app.db'*", b->db, b->dir);
	assert_int_equal(system(command), 0);
}

static inline void touch(const char *path)
{
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fclose(f);
}

#endif
