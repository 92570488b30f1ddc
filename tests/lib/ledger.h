/*
 * An app whose database is known after each of its operations: which rows an operation rewrites and
 * with what follows from its number. So whatever a restore brings back can be compared with what
 * the app had made by then, row by row, without a copy of each state.
 *
 * The app writes through an agent; comparing opens the given file here.
 */
#ifndef TESTS_LIB_LEDGER_H
#define TESTS_LIB_LEDGER_H

#include "lib/agent.h"

#include <stdbool.h>
#include <stdint.h>

/* Makes the tables, 1 KiB pages, `rows` rows of 300 bytes that don't compress; operation 0. */
void ledger_create(struct agent *a, uint64_t rows);

/* Operation n, one transaction: rewrites one to four rows, mostly among a tenth of all, and every
 * twentieth time adds one. Operations come in order, from 1. */
void ledger_do(struct agent *a, uint64_t rows, uint64_t n);

/* The operation that the database in `path` is at, found in it; and does each row hold what it must
 * then? Prints what is wrong. */
bool ledger_check(const char *path, uint64_t rows, uint64_t *n);

#endif
