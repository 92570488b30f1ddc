#include "proto/message_internal.h"

#include <stdlib.h>
#include <string.h>

static const char *const type_names[] = {
	[MESSAGE_HELLO] = "hello",
	[MESSAGE_CONFIG] = "config",
	[MESSAGE_SYNC] = "sync",
	[MESSAGE_DECIDE] = "decide",
	[MESSAGE_STOP] = "stop",
	[MESSAGE_STATUS] = "status",
	[MESSAGE_ALIVE] = "alive",
	[MESSAGE_SYNCED] = "synced",
	[MESSAGE_DECIDED] = "decided",
	[MESSAGE_BYE] = "bye",
	[MESSAGE_JOB] = "job",
	[MESSAGE_PROGRESS] = "progress",
	[MESSAGE_HOLDERS] = "holders",
	[MESSAGE_HELD] = "held",
	[MESSAGE_RESULT] = "result",
};

static const struct member hello_members[] = {
	COUNT(struct message_hello, "protocol", protocol, 1000000),
	TEXT(struct message_hello, "version", version, 64),
};

static const struct member credential_members[] = {
	MAYBE(struct message_credentials, "access_key_id", access_key_id, SECRET_MAX),
	MAYBE(struct message_credentials, "secret_access_key", secret_access_key, SECRET_MAX),
	MAYBE(struct message_credentials, "session_token", session_token, SECRET_MAX),
	MAYBE(struct message_credentials, "region", region, 255),
	MAYBE(struct message_credentials, "endpoint", endpoint, TEXT_MAX),
	MAYBE(struct message_credentials, "sse_customer_key", sse_customer_key, 255),
	{"use_iam", JSON_FIELD_FLAG, true, offsetof(struct message_credentials, use_iam), 0},
};

static const struct member config_members[] = {
	TEXT(struct message_config, "app", app, 63),
	NUMBER(struct message_config, "shutdown_timeout_ms", shutdown_timeout_ms),
};

static const struct member database_members[] = {
	TEXT(struct message_database, "id", id, 127),
	TEXT(struct message_database, "path", path, TEXT_MAX + 200),
	TEXT(struct message_database, "replica", replica, TEXT_MAX),
	TEXT(struct message_database, "state_dir", state_dir, 4096),
	MAYBE(struct message_database, "storage_name", storage_name, TEXT_MAX),
	MAYBE(struct message_database, "container_path", container_path, TEXT_MAX),
	NUMBER(struct message_database, "sync_interval_ms", sync_interval_ms),
	COUNT(struct message_database, "staging_max", staging_max, 0),
	COUNT(struct message_database, "copies_max", copies_max, 0),
	COUNT(struct message_database, "checkpoint_frames", checkpoint_frames, UINT32_MAX),
	COUNT(struct message_database, "barrier_bytes", barrier_bytes, 0),
	FLAG(struct message_database, "no_barrier", no_barrier),
	FLAG(struct message_database, "any_filesystem", any_filesystem),
	FLAG(struct message_database, "no_retention", no_retention),
	NUMBER(struct message_database, "l0_retention_ms", l0_retention_ms),
	NUMBER(struct message_database, "l1_retention_ms", l1_retention_ms),
	NUMBER(struct message_database, "l2_retention_ms", l2_retention_ms),
	NUMBER(struct message_database, "l3_retention_ms", l3_retention_ms),
	NUMBER(struct message_database, "snapshot_interval_ms", snapshot_interval_ms),
	NUMBER(struct message_database, "snapshot_renew_ms", snapshot_renew_ms),
};

static const struct member sync_members[] = {
	COUNT(struct message_sync, "id", id, 0),
	NUMBER(struct message_sync, "timeout_ms", timeout_ms),
	MAYBE(struct message_sync, "database", database, TEXT_MAX + 200),
	FLAG(struct message_sync, "if_there", if_there),
};

static const struct member decide_members[] = {
	COUNT(struct message_decide, "id", id, 0),
	TEXT(struct message_decide, "database", database, TEXT_MAX + 200),
	FLAG(struct message_decide, "takeover", takeover),
	MAYBE(struct message_decide, "seen", seen, 64),
};

static const struct member answer_members[] = {
	COUNT(struct message_answer, "id", id, 0),
	COUNT(struct message_answer, "code", code, 9),
	MAYBE(struct message_answer, "text", text, REASON_MAX),
};

static const struct member status_members[] = {
	TEXT(struct message_status_database, "id", id, 127),
	TEXT(struct message_status_database, "state", state, 32),
	COUNT(struct message_status_database, "code", code, 9),
	MAYBE(struct message_status_database, "reason", reason, REASON_MAX),
	MAYBE(struct message_status_database, "last_error", last_error, REASON_MAX),
	COUNT(struct message_status_database, "txid", txid, 0),
	COUNT(struct message_status_database, "pending_bytes", pending_bytes, 0),
	COUNT(struct message_status_database, "pending_transactions", pending_transactions, 0),
	NUMBER(struct message_status_database, "lag_since_ms", lag_since_ms),
	NUMBER(struct message_status_database, "last_upload_ms", last_upload_ms),
	NUMBER(struct message_status_database, "last_error_ms", last_error_ms),
	COUNT(struct message_status_database, "wal_bytes", wal_bytes, 0),
	COUNT(struct message_status_database, "db_bytes", db_bytes, 0),
	COUNT(struct message_status_database, "uploads", uploads, 0),
	FLAG(struct message_status_database, "weak_fencing", weak_fencing),
	COUNT(struct message_status_database, "earliest_txid", earliest_txid, 0),
	COUNT(struct message_status_database, "latest_txid", latest_txid, 0),
	NUMBER(struct message_status_database, "earliest_ms", earliest_ms),
	NUMBER(struct message_status_database, "latest_ms", latest_ms),
	NUMBER(struct message_status_database, "snapshot_ms", snapshot_ms),
	NUMBER(struct message_status_database, "next_snapshot_ms", next_snapshot_ms),
	COUNT(struct message_status_database, "replica_files", replica_files, 0),
	COUNT(struct message_status_database, "replica_bytes", replica_bytes, 0),
	MAYBE(struct message_status_database, "upkeep_error", upkeep_error, REASON_MAX),
	NUMBER(struct message_status_database, "upkeep_error_ms", upkeep_error_ms),
	COUNT(struct message_status_database, "puts", puts, 0),
	COUNT(struct message_status_database, "gets", gets, 0),
	COUNT(struct message_status_database, "heads", heads, 0),
	COUNT(struct message_status_database, "lists", lists, 0),
	COUNT(struct message_status_database, "deletes", deletes, 0),
	COUNT(struct message_status_database, "bytes_out", bytes_out, 0),
	COUNT(struct message_status_database, "bytes_in", bytes_in, 0),
	COUNT(struct message_status_database, "retries", retries, 0),
};

static const struct member alive_members[] = {
	COUNT(struct message_alive, "next_ms", next_ms, ALIVE_NEXT_MAX_MS),
};

int message_type(const json_t *message, enum message_type *type, struct err *e)
{
	const char *name = json_text(message, "type");
	for (size_t i = 0; i < COUNT_OF(type_names); i++) {
		if (strcmp(type_names[i], name) == 0) {
			*type = (enum message_type)i;
			return ERR_OK;
		}
	}
	return err_set(e, ERR_USAGE, "a message of the unknown type \"%.32s\"", name);
}

json_t *message_typed(json_t *object, enum message_type type)
{
	int rc = ERR_OK;
	if (object)
		json_put_text(object, "type", type_names[type], &rc);
	if (rc == ERR_OK)
		return object;
	json_decref(object);
	return NULL;
}

json_t *message_plain(enum message_type type)
{
	return message_typed(json_object(), type);
}

int message_decode_flat(enum message_type type, const struct member *members, size_t n, void *to,
	const json_t *message, struct err *e)
{
	char *name = NULL;
	const struct json_field extra = {"type", JSON_FIELD_TEXT, false, &name, 32};
	int rc = members_decode(members, n, to, message, &extra, 1, type_names[type], e);
	if (rc == ERR_OK && strcmp(name, type_names[type]) != 0)
		rc = err_set(e, ERR_USAGE, "a message \"%s\" where \"%s\" belongs", name, type_names[type]);
	free(name);
	return rc;
}

json_t *message_hello_encode(const char *version)
{
	struct message_hello m = {PROTO_VERSION, (char *)version};
	return message_typed(members_encode(hello_members, COUNT_OF(hello_members), &m), MESSAGE_HELLO);
}

int message_hello_decode(struct message_hello *m, const json_t *message, struct err *e)
{
	memset(m, 0, sizeof(*m));
	return message_decode_flat(
		MESSAGE_HELLO, hello_members, COUNT_OF(hello_members), m, message, e);
}

void message_hello_free(struct message_hello *m)
{
	members_free(hello_members, COUNT_OF(hello_members), m);
}

/* An array of objects of one table under `key`; `object` may be NULL, and is gone on failure. */
static json_t *with_array(json_t *object, const char *key, const struct member *members, size_t n,
	const void *elements, size_t size, size_t count)
{
	json_t *array = json_array();
	int rc = array && object ? ERR_OK : ERR_NOMEM;
	for (size_t i = 0; i < count && rc == ERR_OK; i++) {
		json_t *element = members_encode(members, n, (const char *)elements + i * size);
		if (json_array_append_new(array, element) != 0)
			rc = ERR_NOMEM;
	}
	if (rc == ERR_OK)
		json_put(object, key, array, &rc);
	else
		json_decref(array);
	if (rc == ERR_OK)
		return object;
	json_decref(object);
	return NULL;
}

/* The other way: *out is a zeroed array of *count elements, the caller's in every case. */
static int read_array(const json_t *array, const struct member *members, size_t n, void **out,
	size_t *count, size_t size, const char *what, struct err *e)
{
	size_t elements = json_array_size(array);
	*out = calloc(elements ? elements : 1, size);
	if (!*out)
		return err_nomem(e, "reading a message");
	*count = elements;
	for (size_t i = 0; i < elements; i++) {
		int rc = members_decode(
			members, n, (char *)*out + i * size, json_array_get(array, i), NULL, 0, what, e);
		if (rc != ERR_OK)
			return rc;
	}
	return ERR_OK;
}

json_t *message_with_credentials(json_t *object, const struct message_credentials *c)
{
	int rc = ERR_OK;
	if (object)
		json_put(object, "credentials",
			members_encode(credential_members, COUNT_OF(credential_members), c), &rc);
	if (rc == ERR_OK)
		return object;
	json_decref(object);
	return NULL;
}

int message_read_credentials(struct message_credentials *c, const json_t *object, struct err *e)
{
	return members_decode(
		credential_members, COUNT_OF(credential_members), c, object, NULL, 0, "credentials", e);
}

void message_free_credentials(struct message_credentials *c)
{
	members_free(credential_members, COUNT_OF(credential_members), c);
}

json_t *message_config_encode(const struct message_config *m)
{
	json_t *o = members_encode(config_members, COUNT_OF(config_members), m);
	o = with_array(o, "databases", database_members, COUNT_OF(database_members), m->databases,
		sizeof(*m->databases), m->n_databases);
	return message_typed(message_with_credentials(o, &m->credentials), MESSAGE_CONFIG);
}

int message_config_decode(struct message_config *m, const json_t *message, struct err *e)
{
	memset(m, 0, sizeof(*m));
	char *type = NULL;
	json_t *databases = NULL, *credentials = NULL;
	const struct json_field extra[] = {
		{"type", JSON_FIELD_TEXT, false, &type, 32},
		{"databases", JSON_FIELD_ARRAY, false, &databases, PROTO_DATABASES_MAX},
		{"credentials", JSON_FIELD_OBJECT, false, &credentials, 0},
	};
	int rc = members_decode(
		config_members, COUNT_OF(config_members), m, message, extra, COUNT_OF(extra), "config", e);
	if (rc == ERR_OK)
		rc = message_read_credentials(&m->credentials, credentials, e);
	if (rc == ERR_OK)
		rc = read_array(databases, database_members, COUNT_OF(database_members),
			(void **)&m->databases, &m->n_databases, sizeof(*m->databases), "database", e);
	free(type);
	return rc;
}

void message_config_free(struct message_config *m)
{
	for (size_t i = 0; i < m->n_databases; i++)
		members_free(database_members, COUNT_OF(database_members), &m->databases[i]);
	free(m->databases);
	message_free_credentials(&m->credentials);
	members_free(config_members, COUNT_OF(config_members), m);
	memset(m, 0, sizeof(*m));
}

json_t *message_sync_encode(const struct message_sync *m)
{
	return message_typed(members_encode(sync_members, COUNT_OF(sync_members), m), MESSAGE_SYNC);
}

int message_sync_decode(struct message_sync *m, const json_t *message, struct err *e)
{
	memset(m, 0, sizeof(*m));
	return message_decode_flat(MESSAGE_SYNC, sync_members, COUNT_OF(sync_members), m, message, e);
}

void message_sync_free(struct message_sync *m)
{
	members_free(sync_members, COUNT_OF(sync_members), m);
}

json_t *message_decide_encode(const struct message_decide *m)
{
	return message_typed(
		members_encode(decide_members, COUNT_OF(decide_members), m), MESSAGE_DECIDE);
}

int message_decide_decode(struct message_decide *m, const json_t *message, struct err *e)
{
	memset(m, 0, sizeof(*m));
	return message_decode_flat(
		MESSAGE_DECIDE, decide_members, COUNT_OF(decide_members), m, message, e);
}

void message_decide_free(struct message_decide *m)
{
	members_free(decide_members, COUNT_OF(decide_members), m);
}

json_t *message_answer_encode(enum message_type type, const struct message_answer *m)
{
	return message_typed(members_encode(answer_members, COUNT_OF(answer_members), m), type);
}

int message_answer_decode(
	enum message_type type, struct message_answer *m, const json_t *message, struct err *e)
{
	memset(m, 0, sizeof(*m));
	return message_decode_flat(type, answer_members, COUNT_OF(answer_members), m, message, e);
}

void message_answer_free(struct message_answer *m)
{
	members_free(answer_members, COUNT_OF(answer_members), m);
}

json_t *message_alive_encode(const struct message_alive *m)
{
	return message_typed(members_encode(alive_members, COUNT_OF(alive_members), m), MESSAGE_ALIVE);
}

int message_alive_decode(struct message_alive *m, const json_t *message, struct err *e)
{
	memset(m, 0, sizeof(*m));
	return message_decode_flat(
		MESSAGE_ALIVE, alive_members, COUNT_OF(alive_members), m, message, e);
}

json_t *message_status_encode(const struct message_status *m)
{
	return message_typed(
		with_array(json_object(), "databases", status_members, COUNT_OF(status_members),
			m->databases, sizeof(*m->databases), m->n_databases),
		MESSAGE_STATUS);
}

int message_status_decode(struct message_status *m, const json_t *message, struct err *e)
{
	memset(m, 0, sizeof(*m));
	char *type = NULL;
	json_t *databases = NULL;
	const struct json_field fields[] = {
		{"type", JSON_FIELD_TEXT, false, &type, 32},
		{"databases", JSON_FIELD_ARRAY, false, &databases, PROTO_DATABASES_MAX},
	};
	int rc = json_read_fields(message, fields, COUNT_OF(fields), "status", e);
	if (rc == ERR_OK)
		rc = read_array(databases, status_members, COUNT_OF(status_members), (void **)&m->databases,
			&m->n_databases, sizeof(*m->databases), "status", e);
	free(type);
	return rc;
}

void message_status_free(struct message_status *m)
{
	for (size_t i = 0; i < m->n_databases; i++)
		members_free(status_members, COUNT_OF(status_members), &m->databases[i]);
	free(m->databases);
	memset(m, 0, sizeof(*m));
}

json_t *message_bye_encode(const struct message_bye *m)
{
	json_t *object = json_object(), *array = json_array();
	int rc = object && array ? ERR_OK : ERR_NOMEM;
	for (size_t i = 0; i < m->n_unshipped && rc == ERR_OK; i++) {
		if (json_array_append_new(array, json_string(m->unshipped[i])) != 0)
			rc = ERR_NOMEM;
	}
	if (rc == ERR_OK)
		json_put(object, "unshipped", array, &rc);
	else
		json_decref(array);
	if (rc == ERR_OK)
		return message_typed(object, MESSAGE_BYE);
	json_decref(object);
	return NULL;
}

static int read_texts(struct message_bye *m, const json_t *array, struct err *e)
{
	size_t n = json_array_size(array);
	m->unshipped = calloc(n ? n : 1, sizeof(char *));
	if (!m->unshipped)
		return err_nomem(e, "reading a message");
	m->n_unshipped = n;
	for (size_t i = 0; i < n; i++) {
		const char *text = json_string_value(json_array_get(array, i));
		if (!text || strlen(text) > TEXT_MAX + 200)
			return err_set(e, ERR_USAGE, "bye: \"unshipped\" must be an array of paths");
		if (!(m->unshipped[i] = strdup(text)))
			return err_nomem(e, "reading a message");
	}
	return ERR_OK;
}

int message_bye_decode(struct message_bye *m, const json_t *message, struct err *e)
{
	memset(m, 0, sizeof(*m));
	char *type = NULL;
	json_t *unshipped = NULL;
	const struct json_field fields[] = {
		{"type", JSON_FIELD_TEXT, false, &type, 32},
		{"unshipped", JSON_FIELD_ARRAY, false, &unshipped, PROTO_DATABASES_MAX},
	};
	int rc = json_read_fields(message, fields, COUNT_OF(fields), "bye", e);
	if (rc == ERR_OK)
		rc = read_texts(m, unshipped, e);
	free(type);
	return rc;
}

void message_bye_free(struct message_bye *m)
{
	for (size_t i = 0; i < m->n_unshipped; i++)
		free(m->unshipped[i]);
	free(m->unshipped);
	memset(m, 0, sizeof(*m));
}
