/* A replica URL: whatever it is, it is a target whose parts can be trusted, or a usage error. */
#include "store/s3_url.h"
#include "store/store.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static void check_target(const struct s3_target *t)
{
	if (!*t->bucket || !*t->host || !*t->region || t->port < 0 || t->port > 65535)
		abort();
	for (const char *p = t->host; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr(".-_", *p))
			abort();
	for (const char *p = t->prefix; *p; p++)
		if ((unsigned char)*p < 0x20)
			abort();
	if (t->prefix[0] == '/' || strstr(t->prefix, "//") || !strncmp(t->prefix, "../", 3))
		abort();
	/* One encryption at a time, and a key of the KMS only with its own. */
	bool kms = !strcmp(t->encryption, "aws:kms");
	if (*t->encryption && !kms && strcmp(t->encryption, "AES256") != 0)
		abort();
	if ((*t->kms_key_id && !kms) || (*t->encryption && *t->sse_key))
		abort();
	char *display = s3_target_display(t);
	if (!display)
		abort();
	free(display);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct store_options options;
	struct err e = ERR_INIT;
	struct store_url u;
	struct s3_target t;
	char *text = malloc(size + 1);
	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	int rc = store_url_parse(&u, text, &e);
	if (!rc && !strcmp(u.scheme, "s3")) {
		rc = s3_target_parse(&t, &u, &options, &e);
		if (!rc)
			check_target(&t);
	}
	if (rc != ERR_OK && rc != ERR_USAGE && rc != ERR_NOMEM)
		abort();
	if (rc != ERR_OK && !e.text[0])
		abort();
	store_url_free(&u);
	free(text);
	return 0;
}
