#include "conf/manifest.h"

#include "base/json.h"
#include "conf/names.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 8

/* Parsers and what frees a document call themselves for each level, so deep ones are refused before
 * they are parsed. Brackets inside of texts don't count. */
static bool too_deep(const char *p, size_t n)
{
	int depth = 0;
	bool text = false;
	for (size_t i = 0; i < n; i++) {
		if (text && p[i] == '\\')
			i++;
		else if (p[i] == '"')
			text = !text;
		else if (!text && (p[i] == '{' || p[i] == '['))
			depth++;
		else if (!text && (p[i] == '}' || p[i] == ']'))
			depth--;
		if (depth > DEPTH_MAX)
			return true;
	}
	return false;
}

/* ---- what is believed ---- */

static bool is_host(const char *s)
{
	return isalnum((unsigned char)*s) &&
		   strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-") ==
			   strlen(s);
}

/* It ends up behind a ':' in a mount, and options may follow behind another one. Where the system
 * of a container is, no storage belongs. */
static bool is_container_path(const char *s)
{
	static const char *const system[] = {"/proc", "/sys", "/dev"};
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
								  "0123456789/._+@-";
	if (!name_is_folder(s) || strspn(s, letters) != strlen(s))
		return false;
	for (size_t i = 0; i < sizeof(system) / sizeof(system[0]); i++) {
		size_t n = strlen(system[i]);
		if (!strncmp(s, system[i], n) && (!s[n] || s[n] == '/'))
			return false;
	}
	return true;
}

/* ---- each key ---- */

static void doubt(struct manifest_facts *f, const char *key)
{
	size_t n = strlen(f->doubted);
	snprintf(f->doubted + n, sizeof(f->doubted) - n, "%s%s", n ? ", " : "", key);
}

static void take_text(struct manifest_facts *f, const json_t *root, const char *key,
	bool (*believed)(const char *), char *out, size_t size)
{
	const json_t *value = json_object_get(root, key);
	const char *text = json_string_value(value);
	if (!value)
		return;
	/* A text with a zero byte in it is longer than it seems. */
	if (text && json_string_length(value) == strlen(text) && strlen(text) < size && believed(text))
		memcpy(out, text, strlen(text) + 1);
	else
		doubt(f, key);
}

static void take_owner(struct manifest_facts *f, const json_t *root)
{
	const json_t *value = json_object_get(root, "owner");
	json_int_t owner = json_integer_value(value);
	/* Root's is what a replicate by itself often writes: nothing odd, and nobody to give a file to.
	 */
	if (!value || (json_is_integer(value) && owner == 0))
		return;
	if (json_is_integer(value) && owner >= 1 && owner <= 65535)
		f->owner = (uint32_t)owner;
	else
		doubt(f, "owner");
}

/* "0640": who may read and write, nothing else. */
static void take_mode(struct manifest_facts *f, const json_t *root)
{
	const json_t *value = json_object_get(root, "mode");
	const char *text = json_string_value(value);
	unsigned mode = 0;
	if (!value)
		return;
	size_t n = text ? strlen(text) : 0;
	if (n < 1 || n > 5 || strspn(text, "01234567") != n || sscanf(text, "%o", &mode) != 1) {
		doubt(f, "mode");
		return;
	}
	f->mode = mode & 0666;
}

static void take_all(struct manifest_facts *f, const json_t *root)
{
	take_text(f, root, "app", name_is_app, f->app, sizeof(f->app));
	take_text(f, root, "database", name_is_file, f->database, sizeof(f->database));
	take_text(f, root, "storage", name_is_storage, f->storage, sizeof(f->storage));
	take_text(
		f, root, "container_path", is_container_path, f->container_path, sizeof(f->container_path));
	take_text(f, root, "host", is_host, f->host, sizeof(f->host));
	take_owner(f, root);
	take_mode(f, root);
}

int manifest_read(const void *data, size_t n, struct manifest_facts *out, struct err *e)
{
	json_t *root;
	memset(out, 0, sizeof(*out));
	if (n > MANIFEST_MAX)
		return err_set(e, ERR_USAGE, MANIFEST_NAME " is larger than %zu bytes", MANIFEST_MAX);
	if (too_deep(data, n))
		return err_set(e, ERR_USAGE, MANIFEST_NAME " is nested more than %d levels", DEPTH_MAX);
	int rc = json_parse_object(data, n, MANIFEST_NAME, &root, e);
	if (rc)
		return rc;
	const json_t *version = json_object_get(root, "version");
	if (!json_is_integer(version) || json_integer_value(version) != 1)
		rc = err_set(e, ERR_USAGE, MANIFEST_NAME " is not of version 1");
	else
		take_all(out, root);
	json_decref(root);
	return rc;
}
