/* The host part of S3 replica URLs: which provider, which bucket, which server. For s3_url.c only.
 */
#ifndef STORE_S3_HOST_H
#define STORE_S3_HOST_H

#include "store/s3_url.h"

/*
 * A provider that is known by its host. `suffix` ends the server's name. `form` says how the URL's
 * host is built before it:
 *   'n'  BUCKET.<suffix>              one server, `region` is its region
 *   'r'  BUCKET.REGION<suffix>        the server is REGION<suffix>
 *   's'  BUCKET.s3.REGION<suffix>     the server is s3.REGION<suffix>
 *   'p'  BUCKET.NAME<suffix>          the server is NAME<suffix>, `region` its region
 */
struct s3_provider_rule {
	enum s3_provider provider;
	const char *suffix;
	char form;
	const char *region, *base_path;
	bool virtual_host;
};

/* The rule for a server or for a URL's host; NULL when none knows it. */
const struct s3_provider_rule *s3_find_rule(const char *host);

/* Reads the URL's host (and an ARN's name from its path) into bucket, prefix, server and region. */
int s3_parse_host(struct s3_target *t, const struct store_url *url,
	const struct store_options *opts, struct err *e);

/* Reads "[scheme://]host[:port][/path]" into the server's fields. */
int s3_parse_endpoint(struct s3_target *t, const char *text, struct err *e);

/* The endpoint of options, environment or a profile, or NULL. */
const char *s3_option_endpoint(const struct store_options *opts);

/* Hosts that nobody has a certificate for and that are spoken to in plain HTTP: localhost, .local,
 * private addresses. */
bool s3_is_private_host(const char *host);

/* An environment variable that is set and not empty, or NULL. */
const char *s3_from_env(const char *name);

bool s3_ends_with(const char *s, const char *suffix); /* any case */

/* The last dot in text[0..n), or NULL. */
const char *s3_last_dot(const char *text, size_t n);

/* Copies text with a NUL; ERR_USAGE naming `what` when it does not fit. */
int s3_copy_field(
	char *out, size_t size, const char *text, size_t n, const char *what, struct err *e);
int s3_copy_text(char *out, size_t size, const char *text, const char *what, struct err *e);

#endif
