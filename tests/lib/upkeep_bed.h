/* A bed (one_node.h) for tests of the upkeep: a small database, shipped to fault://u before
 * mem://u. */
#ifndef TESTS_LIB_UPKEEP_BED_H
#define TESTS_LIB_UPKEEP_BED_H

#include "lib/one_node.h"

#include "store/fault.h"

#include <stdio.h>

/* Steps of time end where the wall clock says: each test begins a second after an hour did. */
static inline int setup_upkeep(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	b->dir = scene_begin();
	snprintf(b->db, sizeof(b->db), "%s/app.db", b->dir);
	b->cfg = ship_config(b->db, "fault://u");
	*state = b;
	if (store_fault_register("u", NULL, &b->e))
		return -1;
	app_create(b->db, 20);
	scene_new_hour();
	return 0;
}

#endif
