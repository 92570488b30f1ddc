/*
 * A bed of tests with one replicator driven by hand. A header alone, because the tests' own setup
 * fills it and cmocka calls its teardown.
 */
#ifndef TESTS_LIB_ONE_NODE_H
#define TESTS_LIB_ONE_NODE_H

#include "lib/scene.h"
#include "store/fault.h"

#include <stdio.h>
#include <stdlib.h>

struct bed {
	char *dir; /* of scene_begin */
	char db[256];
	/* What it ships to, and the same store, never broken: of tests that need them. */
	char url[256], inner[256];
	struct replicator_config cfg;
	struct ship s; /* closed at the end if it is open */
	struct err e;
};

/* A bed with a store that can be broken; there is no database yet. NULL: there can be none. */
static inline struct bed *bed_with_faults(void)
{
	struct err e = ERR_INIT;
	struct bed *b = calloc(1, sizeof(*b));
	if (!b || store_fault_register("f", NULL, &e))
		return NULL;
	b->dir = scene_begin();
	snprintf(b->db, sizeof(b->db), "%s/app.db", b->dir);
	snprintf(b->url, sizeof(b->url), "fault://f");
	snprintf(b->inner, sizeof(b->inner), "mem://f");
	b->cfg = ship_config(b->db, b->url);
	return b;
}

static inline int teardown(void **state)
{
	struct bed *b = *state;
	scene_end(b->dir, &b->s);
	free(b);
	return 0;
}

#endif
