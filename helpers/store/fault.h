/*
 * A store that goes wrong on command, for tests: "fault://name" passes each call on to the store
 * that was registered under the name, unless a rule says otherwise. Rules and counters belong to
 * the name, not to one opened store, so a test can break a store that the code under test has
 * opened.
 *
 *     store_fault_register("flaky", "mem://flaky", &e);
 *     store_fault_add("flaky", &(struct store_fault){.op = STORE_OP_PUT, .nth = 2, .times = 1,
 *         .action = STORE_FAULT_LOSE_ANSWER, .code = ERR_UNREACHABLE});
 */
#ifndef STORE_FAULT_H
#define STORE_FAULT_H

#include "store/store.h"

enum store_op {
	STORE_OP_ANY,
	STORE_OP_PUT,
	STORE_OP_GET,
	STORE_OP_HEAD,
	STORE_OP_LIST,
	STORE_OP_DELETE,
	STORE_OP_UNFINISHED, /* store_end_unfinished; the name is the prefix */
	STORE_OPS,
};

enum store_fault_action {
	STORE_FAULT_FAIL,        /* nothing happens, `code` comes back */
	STORE_FAULT_LOSE_ANSWER, /* it is done, and `code` comes back all the same */
	STORE_FAULT_DELAY,       /* clock_sleep_us(delay_us), or until cancelled, then as usual */
	STORE_FAULT_CUT,         /* get: `code` after `cut` bytes; put: the object holds only those */
	STORE_FAULT_HOOK,        /* calls `hook` first, then as usual */
	STORE_FAULT_HOOK_AFTER,  /* put, list: as usual, and `hook` before the answer is given */
	STORE_FAULT_OVERWRITE,   /* put: whatever the condition says, and what is there is gone */
	STORE_FAULT_HIDE,        /* list: without the objects that `hides` is true of */
};

struct store_fault {
	enum store_op op;
	const char *name_contains; /* NULL = any; copied. For list: of the prefix; delete: of a name */
	unsigned nth;              /* the first matching call it strikes, 0 and 1 = the next one */
	unsigned times;            /* how many in a row, 0 = for ever */
	enum store_fault_action action;
	int code; /* 0 = ERR_UNREACHABLE */
	int64_t delay_us;
	uint64_t cut;
	void (*hook)(void *ctx, const char *name);
	bool (*hides)(void *ctx, const char *name); /* relative to the prefix, as it is listed */
	void *ctx;
};

/* Makes fault://name a store in front of `inner` (NULL: mem://name), opened with `fault://`'s own
 * options. Registering a name again forgets its rules and counters. */
int store_fault_register(const char *name, const char *inner, struct err *e);

/* Adds a rule (copied). The first matching rule that still has to strike wins. */
int store_fault_add(const char *name, const struct store_fault *rule);

/* Forgets all rules of a name: the network is back. Counters stay. */
void store_fault_heal(const char *name);

/* Calls that came since it was registered, struck or not. */
uint64_t store_fault_calls(const char *name, enum store_op op);

/* Forgets all names. No fault store may be open. */
void store_fault_forget(void);

#endif
