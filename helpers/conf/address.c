#include "conf/address.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static bool take_port(struct address *a, const char *text)
{
	size_t n = strlen(text);
	if (n == 0 || n >= sizeof(a->port) || strspn(text, "0123456789") != n || atoi(text) > 65535)
		return false;
	memcpy(a->port, text, n + 1);
	return true;
}

static bool take_host(struct address *a, const char *text, size_t n, bool ipv6)
{
	if (n >= sizeof(a->host))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)text[i]) && !strchr(ipv6 ? ":.%" : ".-_", text[i]))
			return false;
	memcpy(a->host, text, n);
	a->host[n] = '\0';
	return true;
}

bool address_parse(struct address *a, const char *text)
{
	const char *end = *text == '[' ? strchr(text, ']') : NULL;
	if (*text == '[')
		return end && end > text + 1 && end[1] == ':' &&
			   take_host(a, text + 1, (size_t)(end - text - 1), true) && take_port(a, end + 2);
	end = strchr(text, ':');
	return end && take_host(a, text, (size_t)(end - text), false) && take_port(a, end + 1);
}
