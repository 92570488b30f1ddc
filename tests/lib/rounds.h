/*
 * How often a test that repeats itself with other numbers does so. A sanitised build takes five to
 * ten times as long and finds what it finds in a few rounds: there it does every fifth one.
 */
#ifndef LIB_ROUNDS_H
#define LIB_ROUNDS_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ROUNDS_STEP 5
#else
#define ROUNDS_STEP 1
#endif

/* Of n rounds. */
#define ROUNDS(n) (((n) + ROUNDS_STEP - 1) / ROUNDS_STEP)

#endif
