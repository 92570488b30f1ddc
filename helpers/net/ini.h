/*
 * The files ~/.aws/config and ~/.aws/credentials, as the AWS SDKs read them, line by line:
 *
 *   [default]                     a section; white space inside counts as one blank
 *   # text, ; text                a comment, also behind a value and white space
 *   key = value                   keys in any case; quotes around a whole value are taken off
 *   s3 =                          a key without a value: what is indented below is nested in it
 *     endpoint_url = https://…    (indented lines elsewhere are keys like others)
 *
 * A line that is indented and has no '=' goes on with a value for some programs; here it says
 * nothing. What comes before the first section says nothing either. Within bounds: INI_TEXT_MAX
 * bytes in all, INI_LINE_MAX in a line. Bytes only: no files.
 *
 * Source: "Shared config and credentials files" in the AWS SDKs and Tools reference guide.
 */
#ifndef NET_INI_H
#define NET_INI_H

#include "base/err.h"

#include <stddef.h>

#define INI_TEXT_MAX ((size_t)1 << 20)
#define INI_LINE_MAX ((size_t)8192)

/*
 * What a line says; strings are borrowed for the call. For a section's own line `key` is NULL.
 * `sub` is the name of a nested key, else "". Not ERR_OK ends the parsing with that code.
 */
typedef int (*ini_fn)(void *ctx, const char *section, const char *key, const char *sub,
	const char *value, struct err *e);

/* ERR_DENIED with `name` and the number of the line that says nothing or is too long, never with
 * what stands there (it may be a secret). */
int ini_parse(const char *name, const void *data, size_t n, ini_fn fn, void *ctx, struct err *e);

#endif
