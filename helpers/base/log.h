/*
 * Logging to one descriptor, a line an event:
 *     2026-11-20T12:00:00.123Z INFO  text
 * Registered secrets are replaced with "***" in whatever is logged, so that no caller can leak one.
 * Control characters in a text (a server may have sent it) become spaces. errno is left alone.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_TRACE, LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Lines below `level` are dropped. Default LOG_INFO. */
void log_set_level(enum log_level level);

/* Reads "trace", "debug", "info", "warn" or "error" into *level; -1 when it is none of them. */
int log_parse_level(const char *name, enum log_level *level);

/* Where lines go; default descriptor 2. The descriptor stays the caller's. */
void log_set_fd(int fd);

/* Lines as JSON objects: {"time":…,"level":"INFO","msg":…}, as Litestream's logging.type has it. */
void log_set_json(bool on);

/* A word put before every text ("my-app: "), copied; NULL takes it away. At most 63 bytes. */
void log_set_prefix(const char *prefix);

/*
 * Registers a secret of 4 to 4096 bytes (shorter ones are ignored: they would eat ordinary words).
 * At most 64; a secret that is there already counts once. Returns 0, or -1 when the table is full
 * or the secret too long.
 */
int log_add_secret(const char *secret);

/* Makes room: it is no secret any more, because it has expired. NULL and unknown ones are fine. */
void log_forget_secret(const char *secret);

/* Replaces each registered secret in the NUL-terminated text, in place ("***", then cut short). */
void log_redact(char *text);

void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_trace(...) log_write(LOG_TRACE, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)

#endif
