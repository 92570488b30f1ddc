/*
 * Lists of a replica's files as the tables of known cases have them, and the times in them. A
 * header alone, because it uses cmocka, which the programs for tests are not linked with.
 */
#ifndef TESTS_LIB_FILE_LIST_H
#define TESTS_LIB_FILE_LIST_H

#include "lib/times.h"
#include "replicate/levels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define FILES_MAX 600

struct files {
	struct replica_file f[FILES_MAX];
	size_t n;
};

/* A file of 1,000 bytes, made and uploaded at that time; for more to be said of it. */
static inline struct replica_file *add(
	struct files *s, int level, uint64_t min, uint64_t max, int64_t at_ms)
{
	assert_true(s->n < FILES_MAX);
	s->f[s->n] = (struct replica_file){level, min, max, 1000, at_ms, at_ms};
	return &s->f[s->n++];
}

/* A policy's check ended with `code`, and with a complaint that has these words (NULL: with none).
 */
static inline void check_complaint(int code, const struct err *e, const char *complaint)
{
	assert_int_equal(code, complaint ? ERR_USAGE : ERR_OK);
	if (complaint && !strstr(e->text, complaint))
		fail_msg("\"%s\" is not in \"%s\"", complaint, e->text);
}

#endif
