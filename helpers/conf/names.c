#include "conf/names.h"

#include <stddef.h>
#include <string.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGIT "0123456789"
#define FOLDER_MAX 1000

/* One character of `first`, then up to `more` of `rest`. */
static bool matches(const char *s, const char *first, const char *rest, size_t more)
{
	if (!s || *s == '\0' || !strchr(first, *s))
		return false;
	size_t n = strspn(s + 1, rest);
	return s[1 + n] == '\0' && n <= more;
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);
	return n >= m && strcmp(s + n - m, end) == 0;
}

bool name_is_app(const char *s)
{
	return matches(s, LOWER DIGIT, LOWER DIGIT ".-", 62);
}

bool name_is_storage(const char *s)
{
	return matches(s, LOWER UPPER DIGIT "_-", LOWER UPPER DIGIT "_-", 44);
}

bool name_is_id(const char *s)
{
	return matches(s, LOWER DIGIT, LOWER DIGIT ".-", 126);
}

bool name_is_file(const char *s)
{
	return matches(s, LOWER UPPER DIGIT "_", LOWER UPPER DIGIT "._-", 127) &&
		   !ends_with(s, "-wal") && !ends_with(s, "-shm") && !ends_with(s, "-journal");
}

bool name_is_folder(const char *s)
{
	if (!s || s[0] != '/' || s[1] == '\0' || strlen(s) > FOLDER_MAX)
		return false;
	for (const char *p = s; *p;) {
		size_t n = strcspn(++p, "/"); /* p stands on a '/' before the increment */
		bool dots = (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.');
		if (n == 0 || dots)
			return false;
		for (size_t i = 0; i < n; i++) {
			if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f)
				return false;
		}
		p += n;
	}
	return true;
}
