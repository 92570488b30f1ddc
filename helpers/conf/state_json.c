/*
 * state.json is one JSON object with the members of struct state by name. Numbers of 64 bits are
 * strings of 16 hexadecimal digits: JSON's numbers are doubles to many who read them.
 *
 * The file is read strictly where it matters (version, types, sizes); a key that is missing is 0 or
 * "", which every member takes for "unknown".
 *
 * The last member is a CRC-64 of all text before it: a disk that gives back other digits than were
 * written must not make us go on behind another TXID. A file without it is from a version that
 * wrote none.
 */
#include "base/digest.h"
#include "base/json.h"
#include "conf/state_internal.h"

#include <inttypes.h>
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { KIND_TEXT, KIND_BOOL, KIND_U32, KIND_U64, KIND_I64, KIND_BYTES };

struct member {
	const char *name;
	enum kind kind;
	size_t offset, size;
};

#define MEMBER(kind, name)                                                           \
	{                                                                                \
#name, kind, offsetof(struct state, name), sizeof(((struct state *)0)->name) \
	}

static const struct member members[] = {
	MEMBER(KIND_TEXT, replica),
	MEMBER(KIND_TEXT, database),
	MEMBER(KIND_U64, dev),
	MEMBER(KIND_U64, ino),
	MEMBER(KIND_U32, page_size),
	MEMBER(KIND_U32, n_page),
	MEMBER(KIND_U64, txid),
	MEMBER(KIND_U64, checksum),
	MEMBER(KIND_I64, timestamp_ms),
	MEMBER(KIND_BOOL, pos.resumable),
	MEMBER(KIND_BYTES, pos.salt),
	MEMBER(KIND_U32, pos.frame),
	MEMBER(KIND_U32, pos.cksum[0]),
	MEMBER(KIND_U32, pos.cksum[1]),
	MEMBER(KIND_U64, node_id),
	MEMBER(KIND_U64, prev_node_id),
	MEMBER(KIND_U64, last_l0_node_id),
	MEMBER(KIND_BOOL, restored),
	MEMBER(KIND_U64, restored_of),
	MEMBER(KIND_TEXT, machine_id),
	MEMBER(KIND_TEXT, boot_id),
	MEMBER(KIND_U64, dir_dev),
	MEMBER(KIND_U64, dir_ino),
	MEMBER(KIND_BOOL, claim_due),
	MEMBER(KIND_BOOL, probed),
	MEMBER(KIND_BOOL, weak_fencing),
	MEMBER(KIND_U64, snapshot_txid),
	MEMBER(KIND_U64, manifest_digest),
	MEMBER(KIND_TEXT, stopped),
	MEMBER(KIND_TEXT, reason),
	MEMBER(KIND_I64, confirmed_wall_ms),
	MEMBER(KIND_I64, confirmed_boot_ms),
};

/* ---- reading ---- */

static bool read_hex(const char *text, uint64_t *out)
{
	char *end;
	if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
		return false;
	*out = strtoull(text, &end, 16);
	return true;
}

static bool read_bytes(const char *text, uint8_t *out, size_t n)
{
	if (strlen(text) != 2 * n || strspn(text, "0123456789abcdef") != 2 * n)
		return false;
	for (size_t i = 0; i < n; i++) {
		unsigned byte;
		if (sscanf(text + 2 * i, "%2x", &byte) != 1)
			return false;
		out[i] = (uint8_t)byte;
	}
	return true;
}

static bool read_text(const char *text, char *out, size_t size)
{
	size_t n = strlen(text);
	if (n >= size)
		return false;
	memcpy(out, text, n + 1);
	return true;
}

static bool read_member(const struct member *m, const json_t *v, void *at)
{
	uint64_t u = 0;
	const char *text = json_string_value(v);
	switch (m->kind) {
	case KIND_TEXT:
		return text && read_text(text, at, m->size);
	case KIND_BYTES:
		return text && read_bytes(text, at, m->size);
	case KIND_BOOL:
		*(bool *)at = json_is_true(v);
		return json_is_boolean(v);
	case KIND_U64:
		return text && read_hex(text, at);
	case KIND_I64:
		*(int64_t *)at = json_integer_value(v);
		return json_is_integer(v);
	case KIND_U32:
		u = (uint64_t)json_integer_value(v);
		*(uint32_t *)at = (uint32_t)u;
		return json_is_integer(v) && u <= UINT32_MAX;
	}
	return false;
}

static int read_object(const char *file, const json_t *root, struct state *s, struct err *e)
{
	if (json_integer_value(json_object_get(root, "version")) != STATE_VERSION)
		return err_set(e, ERR_DAMAGED, "%s has a version that this program does not know", file);
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		const json_t *v = json_object_get(root, members[i].name);
		if (v && !read_member(&members[i], v, (char *)s + members[i].offset))
			return err_set(
				e, ERR_DAMAGED, "%s: \"%s\" is not what it should be", file, members[i].name);
	}
	return ERR_OK;
}

/* ",\n  \"crc64\": \"0123456789abcdef\"\n}": how a file ends that has a checksum. */
#define CHECKSUM "crc64"
#define TAIL_BEFORE ",\n  \"" CHECKSUM "\": \""
#define TAIL_AFTER "\"\n}"
#define TAIL_SIZE (sizeof(TAIL_BEFORE) - 1 + 16 + sizeof(TAIL_AFTER) - 1)

static void make_tail(const void *text, size_t n, char out[TAIL_SIZE + 1])
{
	snprintf(out, TAIL_SIZE + 1, TAIL_BEFORE "%016" PRIx64 TAIL_AFTER, crc64_iso(0, text, n));
}

static bool has_tail(const struct buf *b)
{
	char tail[TAIL_SIZE + 1];
	if (b->len < TAIL_SIZE)
		return false;
	make_tail(b->data, b->len - TAIL_SIZE, tail);
	return memcmp(b->data + b->len - TAIL_SIZE, tail, TAIL_SIZE) == 0;
}

static int read_checked(
	const char *file, const struct buf *b, const json_t *root, struct state *s, struct err *e)
{
	if (json_object_get(root, CHECKSUM) && !has_tail(b))
		return err_set(
			e, ERR_DAMAGED, "%s does not have the checksum that it was written with", file);
	return read_object(file, root, s, e);
}

int state_json_decode(const char *file, const struct buf *b, struct state *s, struct err *e)
{
	json_error_t why;
	bool no_memory;
	json_t *root = json_parse(buf_str(b), b->len, &why, &no_memory);
	if (no_memory) /* a state must not be given up for that */
		return err_nomem(e, "reading a state");
	int rc = json_is_object(root)
				 ? read_checked(file, b, root, s, e)
				 : err_set(e, ERR_DAMAGED, "%s is not a state file: %s", file, why.text);
	json_decref(root);
	return rc;
}

/* ---- writing ---- */

static json_t *make_hex(const void *at, size_t n)
{
	char text[2 * 64 + 1] = "";
	for (size_t i = 0; i < n && i < 64; i++)
		snprintf(text + 2 * i, 3, "%02x", ((const uint8_t *)at)[i]);
	return json_string(text);
}

static json_t *make_u64(uint64_t v)
{
	char text[20];
	snprintf(text, sizeof(text), "%016" PRIx64, v);
	return json_string(text);
}

/* For want of memory nothing else may be written in a text's place: another replica's name would
 * make the next start give the state up. */
static json_t *make_text(const char *text)
{
	json_t *v = json_string(text);
	if (v || json_is_utf8(text))
		return v;
	return json_string("(not UTF-8)");
}

static json_t *make_member(const struct member *m, const void *at)
{
	switch (m->kind) {
	case KIND_TEXT:
		return make_text(at);
	case KIND_BYTES:
		return make_hex(at, m->size);
	case KIND_BOOL:
		return json_boolean(*(const bool *)at);
	case KIND_U64:
		return make_u64(*(const uint64_t *)at);
	case KIND_I64:
		return json_integer(*(const int64_t *)at);
	case KIND_U32:
		return json_integer(*(const uint32_t *)at);
	}
	return NULL;
}

/* In the place of the "\n}" that the object ends with. */
static int append_tail(struct buf *out)
{
	char tail[TAIL_SIZE + 1];
	out->len -= strlen("\n}");
	make_tail(out->data, out->len, tail);
	return buf_append(out, tail, TAIL_SIZE) ? ERR_NOMEM : ERR_OK;
}

/* By json_append_lines, which notices when memory was wanting for a part of the text: jansson's
 * json_dumps leaves out the key it was wanting for. */
int state_json_encode(const struct state *s, struct buf *out)
{
	json_t *root = json_object();
	int rc = json_object_set_new(root, "version", json_integer(STATE_VERSION));
	for (size_t i = 0; !rc && i < sizeof(members) / sizeof(members[0]); i++)
		rc = json_object_set_new(
			root, members[i].name, make_member(&members[i], (const char *)s + members[i].offset));
	rc = rc ? ERR_NOMEM : json_append_lines(out, root);
	json_decref(root);
	return rc ? rc : append_tail(out);
}
