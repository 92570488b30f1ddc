/*
 * Replica URLs, taken apart. What the parts mean to one kind of store is that driver's business
 * (s3_url.h); docs/URLS.md has all forms.
 */
#ifndef STORE_URL_H
#define STORE_URL_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define STORE_URL_MAX 4096  /* bytes of a URL */
#define STORE_URL_PARAMS 24 /* query parameters */

struct store_url_param {
	const char *name, *value; /* percent-decoded */
};

struct store_url {
	const char *scheme; /* lower case; "file" for a plain path */
	const char *host;   /* as written, without the port; "" when there is none */
	int port;           /* 0 = none */
	const char *path;   /* decoded, cleaned: "a/b", or "/a/b" for a file; never "." or ".." in it */
	struct store_url_param params[STORE_URL_PARAMS];
	size_t n_params;
	char *memory; /* what the strings above point into */
};

/*
 * Takes a URL apart. ERR_USAGE says what is wrong with it, without repeating what might be a secret
 * (the user part and the query). Frees nothing: store_url_free, also after a failure.
 */
int store_url_parse(struct store_url *out, const char *text, struct err *e);
void store_url_free(struct store_url *u);

/*
 * The value of a parameter in either spelling ("part-size" or "partSize": give the one with
 * hyphens), or NULL.
 */
const char *store_url_param(const struct store_url *u, const char *name);

/* ERR_USAGE naming the first parameter that is not in the NULL-terminated list, in either spelling.
 */
int store_url_check_params(const struct store_url *u, const char *const *known, struct err *e);

#endif
