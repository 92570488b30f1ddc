#include "daemon/seen.h"

#include <stdio.h>

const char *seen_text(const struct stat *st, char out[SEEN_SIZE])
{
	snprintf(out, SEEN_SIZE, "%llx-%llx-%llu", (unsigned long long)st->st_dev,
		(unsigned long long)st->st_ino, (unsigned long long)st->st_size);
	return out;
}
