/*
 * What the tests of snapshots share: a replicator driven by hand, and a disk that is full for some
 * files. A header alone, because it uses cmocka, which the programs for tests are not linked with.
 */
#ifndef TESTS_LIB_SNAPSHOT_BED_H
#define TESTS_LIB_SNAPSHOT_BED_H

#include "lib/image.h"
#include "lib/scene.h"
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

static inline ssize_t some_pwrite(int fd, const void *p, size_t n, off_t off)
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

static inline int some_statvfs(const char *path, struct statvfs *st)
{
	int rc = statvfs(path, st);
	if (free_bytes)
		st->f_bavail = free_bytes / st->f_frsize;
	return rc;
}

static inline int no_fsync(int fd)
{
	(void)fd;
	return 0;
}

static inline int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	b->dir = scene_begin();
	full_name = NULL;
	free_bytes = 0;
	full_errno = ENOSPC;
	ops = fs_system_ops;
	ops.pwrite = some_pwrite;
	ops.statvfs = some_statvfs;
	ops.fsync = no_fsync;
	fs_set_ops(&ops);
	snprintf(b->db, sizeof(b->db), "%s/app.db", b->dir);
	snprintf(b->spool, sizeof(b->spool), "%s/.app.db-litestream/staging-spool", b->dir);
	snprintf(b->folder, sizeof(b->folder), "%s/.app.db-litestream/ltx/9", b->dir);
	assert_int_equal(store_fault_register("s", NULL, &b->e), ERR_OK);
	app_create(b->db, 4000); /* 2 MB: more than one slice */
	b->cfg = ship_config(b->db, URL);
	*state = b;
	return 0;
}

static inline int teardown(void **state)
{
	struct bed *b = *state;
	scene_end(b->dir, &b->s);
	free(b);
	return 0;
}

static inline void start(struct bed *b)
{
	assert_int_equal(ship_open(&b->s, &b->cfg), 0);
	b->s.no_upkeep = true;
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
}

static inline void check_same(struct bed *b)
{
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
	assert_true(ship_same(b->db, INNER, b->dir));
}

static inline int always(struct replicator *r, struct err *e)
{
	(void)r, (void)e;
	return ERR_OK;
}

static inline int step(struct bed *b, bool due)
{
	err_clear(&b->e);
	return snapshot_step(b->s.r, due, always, &b->made, &b->wait, &b->e);
}

static inline enum spool_phase phase(struct bed *b)
{
	return b->s.r->shared.spool;
}

/* Turns until the copy is in this phase. */
static inline void until(struct bed *b, enum spool_phase want)
{
	for (int i = 0; i < TURNS && phase(b) != want; i++) {
		b->s.turn_due = 0;
		ship_for(&b->s, 2);
	}
	assert_int_equal(phase(b), want);
}

static inline void ask(struct bed *b)
{
	assert_int_equal(step(b, true), ERR_OK);
	if (phase(b) != SPOOL_WANTED)
		fail_msg("not asked: %s", b->s.r->making.fault);
}

/* The copy is begun, and not at its end yet. */
static inline void begin_copying(struct bed *b)
{
	ask(b);
	until(b, SPOOL_COPYING);
	assert_int_equal(access(b->spool, F_OK), 0);
}

static inline void take_right(struct bed *b)
{
	assert_int_equal(step(b, false), ERR_OK);
	assert_true(b->made.max_txid > 0);
	assert_true(image_snapshot_is_right(INNER, b->made.max_txid));
	assert_int_equal(access(b->spool, F_OK), -1);
	assert_int_equal(rmdir(b->folder), 0); /* nothing is left in it */
	assert_string_equal(b->s.r->making.fault, "");
}

/* A snapshot from the asking to the end. */
static inline void make(struct bed *b)
{
	ask(b);
	until(b, SPOOL_READY);
	take_right(b);
}

#endif
