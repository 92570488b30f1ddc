/* A bed (one_node.h) for tests of the upkeep: a small database, shipped to fault://u before
 * mem://u. A header alone, because it uses cmocka. */
#ifndef TESTS_LIB_UPKEEP_BED_H
#define TESTS_LIB_UPKEEP_BED_H

#include "lib/one_node.h"

#include "replicate/fence.h"
#include "store/fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#define URL "mem://u"
#define HOUR_MS (INT64_C(3600) * 1000)

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

static inline void start(struct bed *b)
{
	assert_int_equal(ship_open(&b->s, &b->cfg), ERR_OK);
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
	ship_for(&b->s, 20);
}

/* Somebody else's, and no LTX file by its content. */
static inline void put_file(struct bed *b, int level, uint64_t min, uint64_t max)
{
	struct store *s = NULL;
	char name[FENCE_NAME_SIZE];
	struct store_body body = {.data = "x", .fd = -1, .size = 1};
	assert_int_equal(store_open(&s, URL, NULL, &b->e), ERR_OK);
	fence_name(s, level, min, max, name);
	assert_int_equal(store_put(s, name, &body, &(struct store_put_opts){0}, &b->e), ERR_OK);
	store_close(s);
}

#endif
