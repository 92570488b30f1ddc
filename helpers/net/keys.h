/* What requests are signed with, from wherever it came: an access key, its secret, perhaps a
 * session token, and until when they hold. */
#ifndef NET_KEYS_H
#define NET_KEYS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEYS_FOREVER INT64_MAX
#define KEYS_WORD_MAX 4096 /* bytes of a word; session tokens are the long ones */

struct iam_keys {
	char *access_key_id, *secret_access_key;
	char *session_token; /* NULL = none */
	int64_t expires_ms;  /* wall time; KEYS_FOREVER: nobody has said so */
};

void iam_keys_free(struct iam_keys *k); /* wipes them */

/* Copies of three words that can stand in a header (`token` NULL or "": none), without an end.
 * ERR_DAMAGED names the one that can't; ERR_NOMEM. *out is emptied first, and is the caller's. */
int iam_keys_set(
	struct iam_keys *out, const char *id, const char *secret, const char *token, struct err *e);

/* ERR_NOMEM */
int iam_keys_copy(struct iam_keys *out, const struct iam_keys *from, struct err *e);

/*
 * The JSON of metadata services and of programs: AccessKeyId, SecretAccessKey, `token_key`,
 * Expiration (RFC 3339; none: KEYS_FOREVER). ERR_DENIED where it has another Code than "Success",
 * ERR_DAMAGED, ERR_NOMEM; no text of it but Code and Message is in *e.
 */
int iam_keys_read(
	struct iam_keys *out, const void *data, size_t n, const char *token_key, struct err *e);

/* May the text stand in a header: printable, no blanks, not empty? What isn't would smuggle in
 * another header. */
bool keys_is_plain(const char *text);

/* Wipes and frees a word; NULL is fine. */
void keys_wipe(char **word);

/* An environment variable that is set and not empty, or NULL. */
const char *keys_from_env(const char *name);

#endif
