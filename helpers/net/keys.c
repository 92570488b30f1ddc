#include "net/keys.h"

#include "base/clock.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

const char *keys_from_env(const char *name)
{
	const char *v = getenv(name);
	return v && *v ? v : NULL;
}

void keys_wipe(char **word)
{
	if (*word)
		explicit_bzero(*word, strlen(*word));
	free(*word);
	*word = NULL;
}

void iam_keys_free(struct iam_keys *k)
{
	keys_wipe(&k->access_key_id);
	keys_wipe(&k->secret_access_key);
	keys_wipe(&k->session_token);
	k->expires_ms = 0;
}

bool keys_is_plain(const char *text)
{
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < 0x21 || (unsigned char)*p > 0x7e)
			return false;
	return *text != '\0';
}

static int set_word(char **out, const char *text, const char *what, struct err *e)
{
	if (!keys_is_plain(text) || strlen(text) > KEYS_WORD_MAX)
		return err_set(e, ERR_DAMAGED, "the credentials have no usable %s", what);
	*out = strdup(text);
	return *out ? ERR_OK : err_nomem(e, "reading credentials");
}

int iam_keys_set(
	struct iam_keys *out, const char *id, const char *secret, const char *token, struct err *e)
{
	*out = (struct iam_keys){.expires_ms = KEYS_FOREVER};
	int rc = set_word(&out->access_key_id, id, "AccessKeyId", e);
	if (rc == ERR_OK)
		rc = set_word(&out->secret_access_key, secret, "SecretAccessKey", e);
	if (rc == ERR_OK && token && *token)
		rc = set_word(&out->session_token, token, "session token", e);
	if (rc != ERR_OK)
		iam_keys_free(out);
	return rc;
}

int iam_keys_copy(struct iam_keys *out, const struct iam_keys *from, struct err *e)
{
	int rc =
		iam_keys_set(out, from->access_key_id, from->secret_access_key, from->session_token, e);
	if (rc == ERR_OK)
		out->expires_ms = from->expires_ms;
	return rc;
}

static int take_fields(
	struct iam_keys *out, const json_t *object, const char *token_key, struct err *e)
{
	const char *code = json_text(object, "Code"), *message = json_text(object, "Message");
	const char *expiration = json_text(object, "Expiration");
	if (*code && strcmp(code, "Success") != 0)
		return err_set(
			e, ERR_DENIED, "the answer was %.64s%s%.200s", code, *message ? ": " : "", message);
	int rc = iam_keys_set(out, json_text(object, "AccessKeyId"),
		json_text(object, "SecretAccessKey"), json_text(object, token_key), e);
	if (rc == ERR_OK && *expiration && clock_parse_rfc3339(expiration, &out->expires_ms) != 0) {
		iam_keys_free(out);
		rc = err_set(e, ERR_DAMAGED, "the credentials expire at \"%.40s\"", expiration);
	}
	return rc;
}

int iam_keys_read(
	struct iam_keys *out, const void *data, size_t n, const char *token_key, struct err *e)
{
	json_t *object = NULL;
	int rc = json_parse_object(data, n, "the answer", &object, e);
	if (rc != ERR_OK)
		return rc == ERR_NOMEM ? rc
							   : err_set(e, ERR_DAMAGED, "what was answered is no credentials");
	rc = take_fields(out, object, token_key, e);
	json_decref(object);
	return rc;
}
