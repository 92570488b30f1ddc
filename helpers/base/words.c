#include "base/words.h"

#include <string.h>

/* Levenshtein's distance, words cut at 31 bytes: only small distances matter. */
static size_t distance(const char *a, const char *b)
{
	size_t row[32];
	size_t nb = strnlen(b, 31), na = strnlen(a, 31);
	for (size_t j = 0; j <= nb; j++)
		row[j] = j;
	for (size_t i = 1; i <= na; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			size_t swap = diagonal + (a[i - 1] != b[j - 1]);
			diagonal = row[j];
			size_t best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
			row[j] = best < swap ? best : swap;
		}
	}
	return row[nb];
}

const char *words_nearest(const char *text, const char *const *words, size_t n)
{
	/* Two slips, more in a long word; a word in which every letter is wrong is another word. */
	size_t len = strlen(text);
	size_t best_distance = len / 4 > 2 ? len / 4 + 1 : 3;
	if (best_distance > len)
		best_distance = len;
	const char *best = NULL;
	for (size_t i = 0; i < n; i++) {
		size_t d = distance(text, words[i]);
		if (d < best_distance) {
			best = words[i];
			best_distance = d;
		}
	}
	return best;
}
