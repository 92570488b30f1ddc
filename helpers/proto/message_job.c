/* The messages between the daemon and a job: what it shall do, how far it is, what came of it. */
#include "proto/message_internal.h"

#include <stdlib.h>
#include <string.h>

static const struct member job_members[] = {
	TEXT(struct message_job, "path", path, TEXT_MAX + 200),
	TEXT(struct message_job, "replica", replica, TEXT_MAX),
	MAYBE(struct message_job, "state_dir", state_dir, 4096),
	FLAG(struct message_job, "live", live),
	FLAG(struct message_job, "in_place", in_place),
	FLAG(struct message_job, "only_missing", only_missing),
	COUNT(struct message_job, "mode", mode, 0666),
	COUNT(struct message_job, "txid", txid, 0),
	NUMBER(struct message_job, "timestamp_ms", timestamp_ms),
	NUMBER(struct message_job, "folder_dev", folder_dev),
	NUMBER(struct message_job, "folder_ino", folder_ino),
	MAYBE(struct message_job, "generation", generation, 40),
	MAYBE(struct message_job, "index", index, 40),
};

static const char *const kind_names[] = {
	[JOB_CHECK] = "check",
	[JOB_RESTORE] = "restore",
	[JOB_LOOK] = "look",
	[JOB_DISCOVER] = "discover",
	[JOB_COUNT_LEGACY] = "count-legacy",
	[JOB_CLEANUP_LEGACY] = "cleanup-legacy",
	[JOB_VERIFY] = "verify",
	[JOB_PURGE] = "purge",
};

static int read_kind(struct message_job *m, const char *name, struct err *e)
{
	for (size_t i = 0; i < COUNT_OF(kind_names); i++) {
		if (strcmp(kind_names[i], name) == 0) {
			m->kind = (enum job_kind)i;
			return ERR_OK;
		}
	}
	return err_set(e, ERR_USAGE, "a job of the unknown kind \"%.32s\"", name);
}

json_t *message_job_encode(const struct message_job *m)
{
	json_t *o = members_encode(job_members, COUNT_OF(job_members), m);
	int rc = ERR_OK;
	if (o)
		json_put_text(o, "kind", kind_names[m->kind], &rc);
	if (rc != ERR_OK) {
		json_decref(o);
		return NULL;
	}
	return message_typed(message_with_credentials(o, &m->credentials), MESSAGE_JOB);
}

int message_job_decode(struct message_job *m, const json_t *message, struct err *e)
{
	memset(m, 0, sizeof(*m));
	char *type = NULL, *kind = NULL;
	json_t *credentials = NULL;
	const struct json_field extra[] = {
		{"type", JSON_FIELD_TEXT, false, &type, 32},
		{"kind", JSON_FIELD_TEXT, false, &kind, 32},
		{"credentials", JSON_FIELD_OBJECT, false, &credentials, 0},
	};
	int rc = members_decode(
		job_members, COUNT_OF(job_members), m, message, extra, COUNT_OF(extra), "job", e);
	if (rc == ERR_OK)
		rc = message_read_credentials(&m->credentials, credentials, e);
	if (rc == ERR_OK)
		rc = read_kind(m, kind, e);
	free(type);
	free(kind);
	return rc;
}

void message_job_free(struct message_job *m)
{
	message_free_credentials(&m->credentials);
	members_free(job_members, COUNT_OF(job_members), m);
}

static const struct member progress_members[] = {
	COUNT(struct message_progress, "done", done, 0),
	COUNT(struct message_progress, "total", total, 0),
};

static const struct member result_members[] = {
	COUNT(struct message_result, "exit", exit, 255),
	MAYBE(struct message_result, "error", error, REASON_MAX),
};

json_t *message_progress_encode(const struct message_progress *m)
{
	return message_typed(
		members_encode(progress_members, COUNT_OF(progress_members), m), MESSAGE_PROGRESS);
}

int message_progress_decode(struct message_progress *m, const json_t *message, struct err *e)
{
	memset(m, 0, sizeof(*m));
	return message_decode_flat(
		MESSAGE_PROGRESS, progress_members, COUNT_OF(progress_members), m, message, e);
}

json_t *message_result_encode(const struct message_result *m)
{
	json_t *o = members_encode(result_members, COUNT_OF(result_members), m);
	int rc = o ? ERR_OK : ERR_NOMEM;
	if (rc == ERR_OK && m->result)
		json_put(o, "result", json_incref(m->result), &rc);
	if (rc == ERR_OK)
		return message_typed(o, MESSAGE_RESULT);
	json_decref(o);
	return NULL;
}

int message_result_decode(struct message_result *m, const json_t *message, struct err *e)
{
	memset(m, 0, sizeof(*m));
	char *type = NULL;
	json_t *result = NULL;
	const struct json_field extra[] = {
		{"type", JSON_FIELD_TEXT, false, &type, 32},
		{"result", JSON_FIELD_OBJECT, true, &result, 0},
	};
	int rc = members_decode(
		result_members, COUNT_OF(result_members), m, message, extra, COUNT_OF(extra), "result", e);
	if (rc == ERR_OK && result)
		m->result = json_incref(result);
	free(type);
	return rc;
}

void message_result_free(struct message_result *m)
{
	json_decref(m->result);
	m->result = NULL;
	members_free(result_members, COUNT_OF(result_members), m);
}
