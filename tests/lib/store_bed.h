/*
 * A bed for tests of what is done with one store: a store in memory, behind one that fails when
 * told to and counts what it is asked. A header alone, because it uses cmocka, which the programs
 * for tests are not linked with.
 */
#ifndef TESTS_LIB_STORE_BED_H
#define TESTS_LIB_STORE_BED_H

#include "base/log.h"
#include "store/fault.h"
#include "store/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define FAULTS "f" /* the name that store_fault_add and store_fault_calls know it by */

struct bed {
	struct store *s;
	struct err e;
};

static inline int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	log_set_level(LOG_ERROR + 1);
	if (store_fault_register(FAULTS, "mem://" FAULTS, &b->e) ||
		store_open(&b->s, "fault://" FAULTS, NULL, &b->e))
		return -1;
	*state = b;
	return 0;
}

static inline int teardown(void **state)
{
	struct bed *b = *state;
	store_close(b->s);
	store_fault_forget();
	store_mem_forget(NULL);
	free(b);
	return 0;
}

static inline void put(struct bed *b, const char *name, const char *text)
{
	struct store_body body = {.data = text, .fd = -1, .size = strlen(text)};
	assert_int_equal(store_put(b->s, name, &body, NULL, &b->e), ERR_OK);
}

#endif
