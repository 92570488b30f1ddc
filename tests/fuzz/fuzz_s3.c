/*
 * A server that is no S3: each call of the store with any answers (answers.h): listings, error
 * documents, ranges, dates, ListParts, DeleteResult, ListMultipartUploads, and the token that an
 * earlier upload left. A call ends, with a code of store.h's and a sentence; names that it gives
 * are such as store.h allows, in order, and a range is exactly what was asked for.
 *
 *   byte 0   the call; then for a put with a token: the token up to a NUL; then answers
 */
#include "answers.h"

#include "base/log.h"
#include "store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BIG (((size_t)5 << 20) + 1) /* two parts */

static uint8_t body[BIG];

static void check_code(int rc, const struct err *e)
{
	static const int codes[] = {ERR_UNREACHABLE, ERR_DENIED, ERR_NOT_FOUND, ERR_CONDITION,
		ERR_UNSUPPORTED, ERR_DAMAGED, ERR_FAIL, ERR_NOMEM, ERR_FULL};
	bool known = rc == ERR_OK;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		known |= rc == codes[i];
	must(known);
	must(rc == ERR_OK || (e->code == (unsigned)rc && *e->text));
}

static void check_name(const char *name)
{
	must(*name && *name != '/' && strlen(name) < 1100);
	for (const char *p = name; *p; p++)
		must(strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/", *p));
	must(strncmp(name, "../", 3) != 0 && !strstr(name, "/../") && strcmp(name, "..") != 0);
}

struct listed {
	char last[1100];
	size_t n, max;
	bool flat;
};

static int on_object(void *ctx, const struct store_object *o, struct err *e)
{
	struct listed *l = ctx;
	(void)e;
	check_name(o->name);
	must(l->flat || strcmp(o->name, l->last) > 0);
	must(!l->max || l->n < l->max);
	strcpy(l->last, o->name);
	l->n++;
	return ERR_OK;
}

static int list(struct store *s, unsigned how, struct err *e)
{
	struct listed l = {.max = how & 2 ? 3 : 0};
	return store_list(s, "0000/", how & 1 ? "b" : NULL, l.max, on_object, &l, e);
}

static int list_folder(struct store *s, struct err *e)
{
	struct listed l = {.max = 5, .flat = true};
	return store_list_folder(s, "", l.max, on_object, &l, e);
}

static int on_bytes(void *ctx, const void *p, size_t n, struct err *e)
{
	(void)p, (void)e;
	*(size_t *)ctx += n;
	return ERR_OK;
}

static int get(struct store *s, uint64_t offset, uint64_t length, struct err *e)
{
	size_t got = 0;
	int rc = store_get(s, "0000/a.ltx", offset, length, on_bytes, &got, e);
	must(!length || got <= length);
	must(rc || !length || got == length);
	return rc;
}

static int delete_some(struct store *s, struct err *e)
{
	static const char *const names[] = {"0000/a.ltx", "0000/b.ltx", "c&d"};
	struct store_delete_result results[3];
	int rc = store_delete(s, names, 3, results, e);
	bool all = true;
	for (size_t i = 0; i < 3; i++)
		all &= results[i].code == ERR_OK;
	must(all == (rc == ERR_OK));
	return rc;
}

static bool is_old(void *ctx, const struct store_unfinished *u)
{
	(void)ctx;
	check_name(u->name);
	must(u->age_ms >= -1);
	return true;
}

static int keep(void *ctx, const char *token, struct err *e)
{
	(void)ctx, (void)e;
	must(!token || strlen(token) < (size_t)2 << 20);
	return ERR_OK;
}

/* With the token that stands before the answers. */
static int put_parts(struct store *s, bool only_if_absent, struct err *e)
{
	const uint8_t *nul = find_byte(server.p, server.end, '\0');
	char *token = strndup((const char *)server.p, (size_t)(nul - server.p));
	must(token != NULL);
	server.p = nul < server.end ? nul + 1 : server.end;
	const struct store_resume resume = {.token = *token ? token : NULL, .keep = keep};
	const struct store_body b = {.data = body, .fd = -1, .size = BIG};
	const struct store_put_opts o = {.only_if_absent = only_if_absent, .resume = &resume};
	int rc = store_put(s, "0009/a.ltx", &b, &o, e);
	free(token);
	return rc;
}

static int put(struct store *s, struct err *e)
{
	const struct store_body b = {.data = body, .fd = -1, .size = 100};
	const struct store_put_opts o = {.only_if_absent = true, .single = true};
	return store_put(s, "0000/a.ltx", &b, &o, e);
}

static int call(struct store *s, uint8_t what, struct err *e)
{
	struct store_object o;
	bool flag;
	size_t n = 0;
	switch (what % 14) {
	case 0:
	case 1:
	case 2:
	case 3:
		return list(s, what, e);
	case 4:
		return list_folder(s, e);
	case 5:
		return get(s, 0, 0, e);
	case 6:
		return get(s, 0, 20, e);
	case 7:
		return get(s, UINT64_MAX - 30, 20, e);
	case 8:
		return store_head(s, "0000/a.ltx", &o, e);
	case 9:
		return delete_some(s, e);
	case 10:
		return store_versioned(s, &flag, e);
	case 11:
		return store_end_unfinished(s, "0009/", is_old, NULL, &n, e);
	case 12:
		return put_parts(s, what & 1, e);
	default:
		return put(s, e);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct store_options o = {.access_key_id = "key",
		.secret_access_key = "hush-hush",
		.sign_payload = STORE_OFF,
		.max_attempts = 4};
	struct store *s;
	struct err e = ERR_INIT;
	if (size == 0)
		return 0;
	log_set_level(LOG_ERROR);
	server_begin(data + 1, size - 1);
	must(store_open(&s,
			 data[0] & 0x80 ? "s3://bucket/my/app?endpoint=127.0.0.1:1&region=x"
							: "s3://bucket/my/app?endpoint=127.0.0.1:1",
			 &o, &e) == ERR_OK);
	err_clear(&e);
	int rc = call(s, data[0] & 0x7f, &e);
	check_code(rc, &e);
	/* The server may say it itself. */
	must(memmem(data, size, "hush", 4) || !strstr(e.text, "hush"));
	store_close(s);
	return 0;
}
