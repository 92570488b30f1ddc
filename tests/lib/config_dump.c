#include "lib/config_dump.h"

#include <inttypes.h>
#include <stdint.h>
#include <string.h>

static void put(struct buf *dump, const char *name, const char *text)
{
	if (text)
		buf_printf(dump, " %s=%s", name, text);
}

static void put_number(struct buf *dump, const char *name, int64_t n)
{
	if (n)
		buf_printf(dump, " %s=%" PRId64, name, n);
}

static void put_settings(struct buf *dump, const struct config_settings *s)
{
	for (const struct option_entry *o = option_table; o->name; o++) {
		const char *at = (const char *)&s->options + o->offset;
		int64_t n = o->type == OPTION_FLAG    ? *(const bool *)at
					: o->type == OPTION_COUNT ? *(const uint32_t *)at
											  : *(const int64_t *)at;
		buf_printf(dump, " %s=%" PRId64, o->name, n);
	}
}

/* What only S3 has. */
static void put_s3(struct buf *dump, const struct config_settings *s)
{
	put(dump, "access-key-id", s->access_key_id);
	put(dump, "secret-access-key", s->secret_access_key);
	put(dump, "session-token", s->session_token);
	put(dump, "region", s->region);
	put(dump, "endpoint", s->endpoint);
	put(dump, "storage-class", s->storage_class);
	put(dump, "server-side-encryption", s->server_side_encryption);
	put(dump, "sse-customer-algorithm", s->sse_algorithm);
	put(dump, "sse-customer-key", s->sse_key);
	put(dump, "sse-customer-key-path", s->sse_key_path);
	put(dump, "sse-kms-key-id", s->sse_kms_key_id);
	put_number(dump, "force-path-style", s->force_path_style);
	put_number(dump, "sign-payload", s->sign_payload);
	put_number(dump, "require-content-md5", s->require_content_md5);
	put_number(dump, "skip-verify", s->skip_verify);
	put_number(dump, "part-size", (int64_t)s->part_size);
	put_number(dump, "concurrency", s->concurrency);
}

static void put_database(struct buf *dump, const struct config_database *d)
{
	put(dump, "\ndatabase", d->path ? d->path : d->dir);
	put(dump, "pattern", d->pattern);
	put_number(dump, "recursive", d->recursive);
	put_number(dump, "watch", d->watch);
	put(dump, "meta-path", d->meta_path);
	put(dump, "meta-dir", d->meta_dir);
	put_number(dump, "restore", d->restore_if_missing);
	for (size_t i = 0; i < d->n_replicas; i++) {
		put(dump, "\nreplica", d->replicas[i].name);
		put(dump, "type", d->replicas[i].type);
		put(dump, "target", d->replicas[i].target);
		put_settings(dump, &d->replicas[i].settings);
		if (d->replicas[i].type && strcmp(d->replicas[i].type, "s3") == 0)
			put_s3(dump, &d->replicas[i].settings);
	}
}

void config_dump(const struct config *c, struct buf *dump)
{
	buf_reset(dump);
	put(dump, "exec", c->exec);
	put(dump, "heartbeat-url", c->heartbeat_url);
	if (c->heartbeat_url)
		put_number(dump, "heartbeat-interval", c->heartbeat_interval_ms);
	put_number(dump, "shutdown", c->shutdown_timeout_ms);
	put(dump, "addr", c->addr);
	put_number(dump, "socket", c->socket_enabled);
	if (c->socket_enabled) {
		put(dump, "socket-path", c->socket_path);
		put_number(dump, "socket-mode", c->socket_mode);
	}
	put(dump, "log-level", c->log_level);
	put_number(dump, "log-json", c->log_json);
	put_number(dump, "secrets", c->holds_secrets);
	for (size_t i = 0; i < c->n_databases; i++)
		put_database(dump, &c->databases[i]);
	for (size_t i = 0; i < c->n_notes; i++)
		buf_printf(dump, "\n%s %u+%zu: %s", c->notes[i].warn ? "warning" : "note", c->notes[i].line,
			c->notes[i].more, c->notes[i].text);
}
