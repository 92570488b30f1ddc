#include "proto/request.h"

#include "base/clock.h"
#include "base/json.h"
#include "proto/members.h"

#include <stdlib.h>
#include <string.h>

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
#define TEXT_MAX 1000
#define PATH_TEXT_MAX 4095
#define URL_TEXT_MAX 4096

static const struct member reload_members[] = {
	{"app", JSON_FIELD_TEXT, false, offsetof(struct request_reload, app), 63},
};

static const struct member forget_members[] = {
	{"id", JSON_FIELD_TEXT, false, offsetof(struct request_forget, id), 127},
};

static const struct member sync_members[] = {
	{"app", JSON_FIELD_TEXT, true, offsetof(struct request_sync, app), 63},
	{"database", JSON_FIELD_TEXT, true, offsetof(struct request_sync, database), TEXT_MAX + 130},
	{"timeout", JSON_FIELD_COUNT, true, offsetof(struct request_sync, timeout),
		REQUEST_TIMEOUT_MAX},
};

static const struct member database_members[] = {
	{"path", JSON_FIELD_TEXT, false, offsetof(struct request_database, path), PATH_TEXT_MAX},
	{"timeout", JSON_FIELD_COUNT, true, offsetof(struct request_database, timeout),
		REQUEST_DATABASE_TIMEOUT_MAX},
};

static const struct member decide_members[] = {
	{"app", JSON_FIELD_TEXT, false, offsetof(struct request_decide, app), 63},
	{"database", JSON_FIELD_TEXT, false, offsetof(struct request_decide, database), TEXT_MAX + 130},
	{"seen", JSON_FIELD_TEXT, true, offsetof(struct request_decide, seen), 64},
};

static const struct member target_members[] = {
	{"app", JSON_FIELD_TEXT, true, offsetof(struct request_target, app), 63},
	{"storage_dir", JSON_FIELD_TEXT, false, offsetof(struct request_target, storage_dir), TEXT_MAX},
	{"file", JSON_FIELD_TEXT, false, offsetof(struct request_target, file), 200},
	{"replica", JSON_FIELD_TEXT, false, offsetof(struct request_target, replica), TEXT_MAX},
	{"mount", JSON_FIELD_FLAG, true, offsetof(struct request_target, mount), 0},
	{"own_keys", JSON_FIELD_FLAG, true, offsetof(struct request_target, own_keys), 0},
};

static const struct member discover_members[] = {
	{"app", JSON_FIELD_TEXT, true, offsetof(struct request_discover, app), 63},
	{"url", JSON_FIELD_TEXT, false, offsetof(struct request_discover, url), TEXT_MAX},
};

static int need_body(const json_t *body, struct err *e)
{
	return body ? ERR_OK : err_set(e, ERR_USAGE, "the request needs a JSON object as its body");
}

int request_reload_decode(struct request_reload *r, const json_t *body, struct err *e)
{
	memset(r, 0, sizeof(*r));
	int rc = need_body(body, e);
	return rc != ERR_OK ? rc
						: members_decode(reload_members, COUNT_OF(reload_members), r, body, NULL, 0,
							  "the request", e);
}

void request_reload_free(struct request_reload *r)
{
	members_free(reload_members, COUNT_OF(reload_members), r);
}

int request_forget_decode(struct request_forget *r, const json_t *body, struct err *e)
{
	memset(r, 0, sizeof(*r));
	int rc = need_body(body, e);
	return rc != ERR_OK ? rc
						: members_decode(forget_members, COUNT_OF(forget_members), r, body, NULL, 0,
							  "the request", e);
}

void request_forget_free(struct request_forget *r)
{
	members_free(forget_members, COUNT_OF(forget_members), r);
}

int request_sync_decode(struct request_sync *r, const json_t *body, struct err *e)
{
	memset(r, 0, sizeof(*r));
	r->timeout = REQUEST_TIMEOUT_DEFAULT;
	if (!body)
		return ERR_OK;
	return members_decode(sync_members, COUNT_OF(sync_members), r, body, NULL, 0, "the request", e);
}

void request_sync_free(struct request_sync *r)
{
	members_free(sync_members, COUNT_OF(sync_members), r);
}

int request_database_decode(
	struct request_database *r, enum request_verb verb, const json_t *body, struct err *e)
{
	memset(r, 0, sizeof(*r));
	const struct json_field wait = {"wait", JSON_FIELD_FLAG, true, &r->wait, 0};
	const struct json_field url = {
		"replica_url", JSON_FIELD_TEXT, false, &r->replica_url, URL_TEXT_MAX};
	int rc = need_body(body, e);
	if (rc == ERR_OK)
		rc = members_decode(database_members, COUNT_OF(database_members), r, body,
			verb == REQUEST_SYNC ? &wait : &url, verb == REQUEST_START_STOP ? 0 : 1, "the request",
			e);
	if (rc == ERR_OK && !*r->path)
		rc = err_set(e, ERR_USAGE, "the request: path is empty");
	if (rc == ERR_OK && r->replica_url && !*r->replica_url)
		rc = err_set(e, ERR_USAGE, "the request: replica_url is empty");
	if (r->timeout == 0)
		r->timeout = REQUEST_TIMEOUT_DEFAULT;
	return rc;
}

void request_database_free(struct request_database *r)
{
	members_free(database_members, COUNT_OF(database_members), r);
	if (r->replica_url)
		explicit_bzero(r->replica_url, strlen(r->replica_url));
	free(r->replica_url);
	r->replica_url = NULL;
}

int request_decide_decode(struct request_decide *r, const json_t *body, struct err *e)
{
	memset(r, 0, sizeof(*r));
	char *decision = NULL;
	const struct json_field extra = {"decision", JSON_FIELD_TEXT, false, &decision, 16};
	int rc = need_body(body, e);
	if (rc == ERR_OK)
		rc = members_decode(
			decide_members, COUNT_OF(decide_members), r, body, &extra, 1, "the request", e);
	r->takeover = decision && strcmp(decision, "takeover") == 0;
	if (rc == ERR_OK && !r->takeover && strcmp(decision, "accept") != 0)
		rc = err_set(e, ERR_USAGE, "\"%.16s\" is no decision: accept or takeover", decision);
	free(decision);
	return rc;
}

void request_decide_free(struct request_decide *r)
{
	members_free(decide_members, COUNT_OF(decide_members), r);
}

int request_check_decode(struct request_target *r, const json_t *body, struct err *e)
{
	memset(r, 0, sizeof(*r));
	int rc = need_body(body, e);
	return rc != ERR_OK ? rc
						: members_decode(target_members, COUNT_OF(target_members), r, body, NULL, 0,
							  "the request", e);
}

bool request_parse_txid(const char *text, uint64_t *txid)
{
	size_t n = strlen(text);
	if (n < 1 || n > 16 || strspn(text, "0123456789abcdefABCDEF") != n)
		return false;
	*txid = strtoull(text, NULL, 16);
	return *txid > 0 && *txid <= INT64_MAX;
}

static int read_point(
	struct request_target *r, const char *txid, const char *timestamp, struct err *e)
{
	if (txid && timestamp)
		return err_set(e, ERR_USAGE, "give a txid or a timestamp, not both");
	if (txid && !request_parse_txid(txid, &r->txid))
		return err_set(e, ERR_USAGE, "\"%.40s\" is no TXID: up to 16 hex digits, not 0", txid);
	if (timestamp && clock_parse_rfc3339(timestamp, &r->timestamp_ms) != 0)
		return err_set(e, ERR_USAGE,
			"\"%.40s\" is no time in the form 2026-01-31T12:00:00Z (RFC 3339)", timestamp);
	return ERR_OK;
}

int request_restore_decode(struct request_target *r, const json_t *body, struct err *e)
{
	memset(r, 0, sizeof(*r));
	char *txid = NULL, *timestamp = NULL;
	const struct json_field extra[] = {
		{"txid", JSON_FIELD_TEXT, true, &txid, 40},
		{"timestamp", JSON_FIELD_TEXT, true, &timestamp, 64},
		{"generation", JSON_FIELD_TEXT, true, &r->generation, 40},
		{"index", JSON_FIELD_TEXT, true, &r->index, 40},
		{"force", JSON_FIELD_FLAG, true, &r->force, 0},
		{"mode", JSON_FIELD_COUNT, true, &r->mode, 0666},
		{"only_missing", JSON_FIELD_FLAG, true, &r->only_missing, 0},
	};
	int rc = need_body(body, e);
	if (rc == ERR_OK)
		rc = members_decode(target_members, COUNT_OF(target_members), r, body, extra,
			COUNT_OF(extra), "the request", e);
	if (rc == ERR_OK)
		rc = read_point(r, txid, timestamp, e);
	if (rc == ERR_OK && r->only_missing && r->force)
		rc = err_set(e, ERR_USAGE, "force and only_missing exclude each other");
	r->force |= r->only_missing;
	free(txid);
	free(timestamp);
	return rc;
}

void request_target_free(struct request_target *r)
{
	members_free(target_members, COUNT_OF(target_members), r);
	free(r->generation);
	free(r->index);
	r->generation = r->index = NULL;
}

int request_discover_decode(struct request_discover *r, const json_t *body, struct err *e)
{
	memset(r, 0, sizeof(*r));
	int rc = need_body(body, e);
	return rc != ERR_OK ? rc
						: members_decode(discover_members, COUNT_OF(discover_members), r, body,
							  NULL, 0, "the request", e);
}

void request_discover_free(struct request_discover *r)
{
	members_free(discover_members, COUNT_OF(discover_members), r);
}
