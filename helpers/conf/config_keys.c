#include "conf/config_internal.h"

#define TOP CONFIG_TOP
#define DB CONFIG_DATABASE
#define REP CONFIG_REPLICA
#define ALL (CONFIG_TOP | CONFIG_DATABASE | CONFIG_REPLICA)
#define S3 (CONFIG_TOP | CONFIG_REPLICA)

#define SETTING(member) offsetof(struct config_settings, member)
#define CONFIG(member) offsetof(struct config, member)
#define DATABASE(member) offsetof(struct config_database, member)
#define REPLICA(member) offsetof(struct config_replica, member)

#define NONE(name, where, why)                                \
	{                                                         \
		name, where, CONFIG_NO_EFFECT, NULL, 0, why, false, 0 \
	}
#define FOREIGN(name, type)                                                                       \
	{                                                                                             \
		name, S3, CONFIG_REFUSED, NULL, 0,                                                        \
			"belongs to replicas of type " type ", which can't be written here: file and s3 can", \
			true, 0                                                                               \
	}

static const char events[] = "changes are noticed when they happen, not by looking now and then";
static const char checkpoints[] =
	"checkpoint-frames and barrier-size say when the WAL is checkpointed";
static const char audits[] = "what was uploaded is checked by itself, on days with changes";
static const char upkeep[] = "the replica is tidied up when there is something to tidy up";

/*
 * Litestream's keys (0.3 and 0.5) and our own, those of conf/options.h among them. docs/CONFIG.md
 * is this table for people; a test compares them.
 */
const struct config_key config_keys[] = {
	/* for the program */
	{"dbs", TOP, CONFIG_WORKS, take_databases, 0, NULL, false, 2},
	{"addr", TOP, CONFIG_WORKS, take_addr, CONFIG(addr), NULL, false, 0},
	NONE("mcp-addr", TOP, "there is no MCP server"),
	{"exec", TOP, CONFIG_WORKS, take_top_text, CONFIG(exec), NULL, false, 0},
	{"heartbeat-url", TOP, CONFIG_WORKS, take_heartbeat_url, CONFIG(heartbeat_url), NULL, true, 0},
	{"heartbeat-interval", TOP, CONFIG_WORKS, take_heartbeat_interval, 0, NULL, false, 0},
	{"shutdown-sync-timeout", TOP, CONFIG_WORKS, take_shutdown_timeout, 0, NULL, false, 0},
	NONE("shutdown-sync-interval", TOP, "pauses between attempts grow by themselves"),
	{"logging", TOP, CONFIG_WORKS, take_map, 0, NULL, false, 0},
	{"logging.level", TOP, CONFIG_WORKS, take_log_level, 0, NULL, false, 0},
	{"logging.type", TOP, CONFIG_WORKS, take_log_type, 0, NULL, false, 0},
	{"logging.stderr", TOP, CONFIG_WORKS, take_log_stderr, 0, NULL, false, 0},
	NONE("logging.source", TOP, "lines of the log don't name places in the source"),
	{"socket", TOP, CONFIG_WORKS, take_map, 0, NULL, false, 0},
	{"socket.enabled", TOP, CONFIG_WORKS, take_socket_enabled, 0, NULL, false, 0},
	{"socket.path", TOP, CONFIG_WORKS, take_top_text, CONFIG(socket_path), NULL, false, 0},
	{"socket.permissions", TOP, CONFIG_WORKS, take_socket_mode, 0, NULL, false, 0},
	NONE("l0-retention-check-interval", TOP, upkeep),
	NONE("verify-compaction", TOP, "every merged file is checked before it is uploaded"),
	{"levels", TOP, CONFIG_WORKS, take_levels, 0, NULL, false, 0},

	/* of databases */
	{"path", DB, CONFIG_WORKS, take_db_text, DATABASE(path), NULL, false, 0},
	{"dir", DB, CONFIG_WORKS, take_db_text, DATABASE(dir), NULL, false, 0},
	{"pattern", DB, CONFIG_WORKS, take_db_text, DATABASE(pattern), NULL, false, 0},
	{"recursive", DB, CONFIG_WORKS, take_db_flag, DATABASE(recursive), NULL, false, 0},
	{"watch", DB, CONFIG_WORKS, take_db_flag, DATABASE(watch), NULL, false, 0},
	{"meta-path", DB, CONFIG_WORKS, take_db_text, DATABASE(meta_path), NULL, false, 0},
	{"meta-dir", DB, CONFIG_WORKS, take_db_text, DATABASE(meta_dir), NULL, false, 0},
	{"restore-if-db-not-exists", DB, CONFIG_WORKS, take_db_flag, DATABASE(restore_if_missing), NULL,
		false, 0},
	{"replica", DB, CONFIG_WORKS, take_replica, 0, NULL, false, 2},
	{"replicas", DB, CONFIG_WORKS, take_replicas, 0, NULL, false, 2},
	NONE("monitor-interval", DB, events),
	NONE("checkpoint-interval", DB, checkpoints),
	NONE("busy-timeout", DB, "no statement waits for a lock here"),
	{"min-checkpoint-page-count", DB, CONFIG_WORKS, take_frames, 0, NULL, false, 0},
	NONE("max-checkpoint-page-count", DB, checkpoints),
	NONE("truncate-page-n", DB, "the WAL is never truncated by force: barrier-size lets it shrink"),
	NONE("max-sync-wal-bytes", DB, "staging-size bounds what waits for upload"),

	/* what is kept */
	{"snapshot", TOP | DB, CONFIG_WORKS, take_map, 0, NULL, false, 0},
	{"snapshot.interval", TOP | DB, CONFIG_WORKS, take_snapshot_interval, 0, NULL, false, 0},
	{"snapshot.retention", TOP | DB, CONFIG_WORKS, take_keep, 0, NULL, false, 0},
	{"retention", ALL, CONFIG_WORKS, take_retention, 0, NULL, false, 0},
	{"retention.enabled", ALL, CONFIG_WORKS, take_retention_flag, 0, NULL, false, 0},
	NONE("retention-check-interval", REP, upkeep),
	{"snapshot-interval", ALL, CONFIG_WORKS, take_snapshot_interval, 0, NULL, false, 0},
	{"l0-retention", ALL, CONFIG_WORKS, take_l0_retention, 0, NULL, false, 1},
	{"l1-retention", ALL, CONFIG_WORKS, take_option, 0, NULL, false, 1},
	{"l2-retention", ALL, CONFIG_WORKS, take_option, 0, NULL, false, 1},
	{"l3-retention", ALL, CONFIG_WORKS, take_option, 0, NULL, false, 1},
	{"snapshot-renew", ALL, CONFIG_WORKS, take_option, 0, NULL, false, 0},
	{"validation", TOP, CONFIG_WORKS, take_map, 0, NULL, false, 0},
	NONE("validation.interval", TOP, audits),
	NONE("validation-interval", S3, audits),

	/* how it is uploaded */
	{"sync-interval", ALL, CONFIG_WORKS, take_sync_interval, 0, NULL, false, 0},
	{"staging-size", ALL, CONFIG_WORKS, take_option, 0, NULL, false, 0},
	{"copies-size", ALL, CONFIG_WORKS, take_option, 0, NULL, false, 0},
	{"checkpoint-frames", ALL, CONFIG_WORKS, take_option, 0, NULL, false, 0},
	{"barrier-size", ALL, CONFIG_WORKS, take_option, 0, NULL, false, 0},
	{"no-barrier", ALL, CONFIG_WORKS, take_option, 0, NULL, false, 0},
	{"any-filesystem", ALL, CONFIG_WORKS, take_option, 0, NULL, false, 0},
	NONE("max-sync-ltx-files", S3, "what waits is uploaded as one file"),
	NONE("auto-recover", S3, "what can be made good without a person's word always is"),

	/* of replicas */
	{"type", REP, CONFIG_WORKS, take_rep_text, REPLICA(type), NULL, false, 0},
	{"name", REP, CONFIG_WORKS, take_rep_text, REPLICA(name), NULL, false, 0},
	{"path", REP, CONFIG_WORKS, take_rep_text, REPLICA(path), NULL, false, 0},
	{"url", REP, CONFIG_WORKS, take_rep_text, REPLICA(url), NULL, true, 0},
	{"access-key-id", S3, CONFIG_WORKS, take_text, SETTING(access_key_id), NULL, true, 0},
	{"secret-access-key", S3, CONFIG_WORKS, take_text, SETTING(secret_access_key), NULL, true, 0},
	{"session-token", S3, CONFIG_WORKS, take_text, SETTING(session_token), NULL, true, 0},
	{"region", S3, CONFIG_WORKS, take_text, SETTING(region), NULL, false, 0},
	{"bucket", S3, CONFIG_WORKS, take_text, SETTING(bucket), NULL, false, 0},
	{"endpoint", S3, CONFIG_WORKS, take_text, SETTING(endpoint), NULL, false, 0},
	{"force-path-style", S3, CONFIG_WORKS, take_choice, SETTING(force_path_style), NULL, false, 0},
	{"sign-payload", S3, CONFIG_WORKS, take_choice, SETTING(sign_payload), NULL, false, 0},
	{"require-content-md5", S3, CONFIG_WORKS, take_choice, SETTING(require_content_md5), NULL,
		false, 0},
	{"skip-verify", S3, CONFIG_WORKS, take_choice, SETTING(skip_verify), NULL, false, 0},
	{"storage-class", S3, CONFIG_WORKS, take_text, SETTING(storage_class), NULL, false, 0},
	{"part-size", S3, CONFIG_WORKS, take_part_size, 0, NULL, false, 0},
	{"concurrency", S3, CONFIG_WORKS, take_concurrency, 0, NULL, false, 0},
	{"server-side-encryption", S3, CONFIG_WORKS, take_text, SETTING(server_side_encryption), NULL,
		false, 0},
	{"sse-customer-algorithm", S3, CONFIG_WORKS, take_text, SETTING(sse_algorithm), NULL, false, 0},
	{"sse-customer-key", S3, CONFIG_WORKS, take_text, SETTING(sse_key), NULL, true, 0},
	{"sse-customer-key-path", S3, CONFIG_WORKS, take_text, SETTING(sse_key_path), NULL, false, 0},
	{"sse-kms-key-id", S3, CONFIG_WORKS, take_text, SETTING(sse_kms_key_id), NULL, false, 0},

	/* what we don't have */
	{"age", S3, CONFIG_REFUSED, NULL, 0,
		"age encryption is not supported, here as in Litestream 0.5: the files would be uploaded "
		"without it. Take it out of the configuration, or let the bucket encrypt (sse-kms-key-id)",
		true, 0},
	FOREIGN("account-name", "abs"),
	FOREIGN("account-key", "abs"),
	FOREIGN("sas-token", "abs"),
	FOREIGN("host", "sftp"),
	FOREIGN("user", "sftp"),
	FOREIGN("password", "sftp or nats"),
	FOREIGN("key-path", "sftp"),
	FOREIGN("concurrent-writes", "sftp"),
	FOREIGN("host-key", "sftp"),
	FOREIGN("webdav-url", "webdav"),
	FOREIGN("webdav-username", "webdav"),
	FOREIGN("webdav-password", "webdav"),
	FOREIGN("jwt", "nats"),
	FOREIGN("seed", "nats"),
	FOREIGN("creds", "nats"),
	FOREIGN("nkey", "nats"),
	FOREIGN("username", "nats"),
	FOREIGN("token", "nats"),
	FOREIGN("tls", "nats"),
	FOREIGN("root-cas", "nats"),
	FOREIGN("client-cert", "nats"),
	FOREIGN("client-key", "nats"),
	FOREIGN("max-reconnects", "nats"),
	FOREIGN("reconnect-wait", "nats"),
	FOREIGN("timeout", "nats"),
	{NULL, 0, CONFIG_WORKS, NULL, 0, NULL, false, 0},
};
