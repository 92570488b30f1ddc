/*
 * Reading litestream.json, which stands beside a replica's data (replicate/manifest.h writes it).
 * Anybody may have written what is read here, so nothing of it is believed that could lead out of
 * the folder of an app: names are names, and there are no host paths, URLs, options or environment.
 */
#ifndef CONF_MANIFEST_H
#define CONF_MANIFEST_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define MANIFEST_NAME "litestream.json"
#define MANIFEST_MAX ((size_t)64 * 1024)

struct manifest_facts {
	char app[64], database[129], storage[46]; /* name_is_app, _file, _storage; "" = not said */
	char container_path[256];                 /* below / in the container; "" = not said */
	char host[65];                            /* who wrote it, for people; "" = not said */
	uint32_t owner;                           /* 1 to 65535; 0 = not said */
	uint32_t mode;                            /* of the file, of 0666; 0 = not said */
	/* The keys whose values are not believed, "app, owner"; "" = none. */
	char doubted[96];
};

/*
 * What of n bytes is believed. A key that isn't known is passed over: later versions have more.
 * ERR_USAGE when it is no manifest at all: too long, nested more than a few levels, no JSON object,
 * a key twice, another version than 1; *out is empty then. ERR_NOMEM.
 */
int manifest_read(const void *data, size_t n, struct manifest_facts *out, struct err *e);

#endif
