#include "conf/intent.h"

#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION 1
#define TEXTS (INTENT_PARTS + 3) /* time, new_file, new, the parts */

static const char *const keys[TEXTS] = {
	"time", "new_file", "new", "database", "wal", "shm", "journal"};

static void put_inode(json_t *o, const char *key, uint64_t ino, int *rc)
{
	char hex[20];
	snprintf(hex, sizeof(hex), "%" PRIx64, ino);
	json_put_text(o, key, hex, rc);
}

int intent_encode(const struct intent *i, struct buf *out, struct err *e)
{
	json_t *o = json_object();
	int rc = o ? ERR_OK : ERR_NOMEM;
	if (!rc) {
		json_put_int(o, "version", VERSION, &rc);
		json_put_text(o, keys[0], i->stamp, &rc);
		json_put_text(o, keys[1], i->file, &rc);
		put_inode(o, keys[2], i->new_ino, &rc);
	}
	for (int k = 0; !rc && k < INTENT_PARTS; k++)
		put_inode(o, keys[3 + k], i->old_ino[k], &rc);
	if (!rc)
		rc = json_append(out, o);
	json_decref(o);
	return rc ? err_nomem(e, "restoring in place") : ERR_OK;
}

static bool read_inode(const char *text, uint64_t *out)
{
	char *end;
	errno = 0;
	*out = strtoull(text, &end, 16);
	return *text && !*end && !errno;
}

static bool good_names(const char *name, const char *stamp, const char *file)
{
	size_t n = strlen(name);
	return strlen(stamp) < INPLACE_STAMP_SIZE && *stamp &&
		   strspn(stamp, "0123456789TZ-") == strlen(stamp) && !strchr(file, '/') &&
		   file[0] == '.' && strncmp(file + 1, name, n) == 0 && file[n + 1] == '.';
}

static bool take(struct intent *i, const char *name, char *const text[TEXTS])
{
	if (!good_names(name, text[0], text[1]) || strlen(text[1]) >= sizeof(i->file) ||
		!read_inode(text[2], &i->new_ino))
		return false;
	for (int k = 0; k < INTENT_PARTS; k++)
		if (!read_inode(text[3 + k], &i->old_ino[k]))
			return false;
	strcpy(i->stamp, text[0]);
	strcpy(i->file, text[1]);
	return true;
}

int intent_decode(struct intent *i, const struct buf *bytes, const char *name, struct err *e)
{
	uint64_t version = 0;
	char *text[TEXTS] = {0};
	struct json_field fields[TEXTS + 1] = {{"version", JSON_FIELD_COUNT, false, &version, VERSION}};
	json_t *o = NULL;
	for (int k = 0; k < TEXTS; k++)
		fields[1 + k] = (struct json_field){keys[k], JSON_FIELD_TEXT, false, &text[k], 0};
	int rc = json_parse_object(bytes->data, bytes->len, "the intent of a restore", &o, e);
	if (!rc)
		rc = json_read_fields(o, fields, TEXTS + 1, "the intent of a restore", e);
	if (!rc && !take(i, name, text))
		rc = err_set(e, ERR_DAMAGED, "it names files that it may not name");
	json_decref(o);
	for (int k = 0; k < TEXTS; k++)
		free(text[k]);
	if (rc && rc != ERR_NOMEM)
		rc = e->code = ERR_DAMAGED;
	return rc;
}
