/* Words that people type: which known one was meant? */
#ifndef BASE_WORDS_H
#define BASE_WORDS_H

#include <stddef.h>

/* The word of `words` (n of them) nearest to `text`, NULL when none is near. */
const char *words_nearest(const char *text, const char *const *words, size_t n);

#endif
