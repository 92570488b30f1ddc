/*
 * A bed of tests with one replicator driven by hand. A header alone, because the tests' own setup
 * fills it and cmocka calls its teardown.
 */
#ifndef TESTS_LIB_ONE_NODE_H
#define TESTS_LIB_ONE_NODE_H

#include "lib/scene.h"

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

static inline int teardown(void **state)
{
	struct bed *b = *state;
	scene_end(b->dir, &b->s);
	free(b);
	return 0;
}

#endif
