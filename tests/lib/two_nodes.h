/*
 * What the tests of two replicators with one replica share: two nodes, each with a folder and a
 * database of its own. A header alone, because it uses cmocka, which the programs for tests are not
 * linked with.
 */
#ifndef TESTS_LIB_TWO_NODES_H
#define TESTS_LIB_TWO_NODES_H

#include "lib/scene.h"
#include "lib/timeline.h"

#include "base/fs.h"
#include "restore/restore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* Of the replica, never broken. A test of other stores says first which one. */
#ifndef URL
#define URL "mem://f"
#endif

struct node {
	const char *name;
	char dir[256], db[300], meta[300], url[32];
	struct replicator_config cfg;
	struct ship s;
};

struct bed {
	char *dir;
	struct node a, b;
	struct err e;
	uint64_t r;           /* where A stopped to look, if it did */
	struct timeline line; /* checked at the end if something was noted */
};

/* `name` is the node's folder, `fault` the store behind which it sees the replica: one that is
 * registered, of its own or of both. */
static inline void node_init(struct bed *bed, struct node *n, const char *name, const char *fault)
{
	n->name = name;
	snprintf(n->dir, sizeof(n->dir), "%s/%s", bed->dir, name);
	fs_mkdirs(n->dir, 0700);
	snprintf(n->db, sizeof(n->db), "%s/app.db", n->dir);
	snprintf(n->meta, sizeof(n->meta), "%s/.app.db-litestream", n->dir);
	snprintf(n->url, sizeof(n->url), "fault://%s", fault);
	n->cfg = ship_config(n->db, n->url);
}

/* Restores the replica, as it was at `txid` (0 = is), where the node's database will be, as the
 * node sees it. */
static inline void restore_to(struct bed *b, const struct node *n, uint64_t txid)
{
	struct store *s = NULL;
	struct restore_options o = {.target.txid = txid, .output = n->db};
	struct restore_result result = {0};
	assert_int_equal(store_open(&s, n->url, NULL, &b->e), 0);
	int rc = restore_run(s, &o, &result, &b->e);
	if (rc)
		fail_msg("%s", b->e.text);
	restore_plan_free(&result.plan);
	store_close(s);
}

/* All that this node's app has committed is shipped: as its last TXID. */
static inline void note(struct bed *b, struct node *n)
{
	timeline_note(&b->line, n->name, n->db, ship_status(&n->s).txid, b->dir);
}

/* After each test: whatever the replica offers is of one timeline. */
static inline int teardown(void **state)
{
	struct bed *b = *state;
	bool one = !b->line.count || timeline_check(&b->line, URL, b->dir);
	timeline_free(&b->line);
	if (b->a.s.r)
		ship_close(&b->a.s);
	scene_end(b->dir, &b->b.s);
	free(b);
	assert_true(one);
	return 0;
}

#endif
