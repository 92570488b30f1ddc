#include "base/log.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SECRETS_MAX 64
#define SECRET_LEN_MIN 4
#define SECRET_LEN_MAX 4096
#define LINE_MAX_LEN 2048

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int threshold = LOG_INFO;
static atomic_int out_fd = STDERR_FILENO;
static atomic_bool as_json;
static char prefix_text[64];
static char secrets[SECRETS_MAX][SECRET_LEN_MAX + 1]; /* pages never used cost no memory */
static size_t by_length[SECRETS_MAX];                 /* longest first */
static size_t n_secrets;

void log_set_level(enum log_level level)
{
	atomic_store(&threshold, level);
}

int log_parse_level(const char *name, enum log_level *level)
{
	static const char *const names[] = {"trace", "debug", "info", "warn", "error"};
	for (int i = 0; i < 5; i++) {
		if (strcmp(name, names[i]) == 0) {
			*level = (enum log_level)i;
			return 0;
		}
	}
	return -1;
}

void log_set_json(bool on)
{
	atomic_store(&as_json, on);
}

void log_set_fd(int fd)
{
	atomic_store(&out_fd, fd);
}

void log_set_prefix(const char *prefix)
{
	pthread_mutex_lock(&lock);
	snprintf(prefix_text, sizeof(prefix_text), "%s", prefix ? prefix : "");
	pthread_mutex_unlock(&lock);
}

/* A secret may be a part of a longer one: the longer is replaced first, or its rest would stay. */
static void insert_by_length(size_t index)
{
	size_t at = n_secrets, n = strlen(secrets[index]);
	for (; at > 0 && strlen(secrets[by_length[at - 1]]) < n; at--)
		by_length[at] = by_length[at - 1];
	by_length[at] = index;
}

int log_add_secret(const char *secret)
{
	size_t n = secret ? strlen(secret) : 0;
	if (n < SECRET_LEN_MIN)
		return 0;
	if (n > SECRET_LEN_MAX)
		return -1;
	int rc = 0;
	pthread_mutex_lock(&lock);
	size_t i = 0;
	while (i < n_secrets && strcmp(secrets[i], secret) != 0)
		i++;
	if (i == SECRETS_MAX) {
		rc = -1;
	} else if (i == n_secrets) {
		memcpy(secrets[i], secret, n + 1);
		insert_by_length(i);
		n_secrets++;
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

/* Under the lock: the last one takes the place of number i. */
static void remove_secret(size_t i)
{
	size_t last = n_secrets - 1, at = 0;
	while (by_length[at] != i)
		at++;
	memmove(&by_length[at], &by_length[at + 1], (last - at) * sizeof(by_length[0]));
	if (i != last) {
		strcpy(secrets[i], secrets[last]);
		for (at = 0; by_length[at] != last; at++)
			;
		by_length[at] = i;
	}
	explicit_bzero(secrets[last], sizeof(secrets[last]));
	n_secrets = last;
}

void log_forget_secret(const char *secret)
{
	if (!secret)
		return;
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < n_secrets; i++) {
		if (strcmp(secrets[i], secret) == 0) {
			remove_secret(i);
			break;
		}
	}
	pthread_mutex_unlock(&lock);
}

/* The caller holds the lock. */
static void redact_locked(char *text)
{
	for (size_t i = 0; i < n_secrets; i++) {
		const char *secret = secrets[by_length[i]];
		size_t n = strlen(secret);
		for (char *p = strstr(text, secret); p; p = strstr(p, secret)) {
			memcpy(p, "***", 3);
			memmove(p + 3, p + n, strlen(p + n) + 1);
			p += 3;
		}
	}
}

/* Text that was cut may end within a secret, which then isn't found: its beginning goes too. */
static void redact_cut_end(char *text)
{
	size_t len = strlen(text), cut = 0;
	for (size_t i = 0; i < n_secrets; i++) {
		size_t n = strlen(secrets[i]) - 1;
		for (n = n < len ? n : len; n > cut; n--)
			if (memcmp(text + len - n, secrets[i], n) == 0)
				cut = n;
	}
	text[len - cut] = '\0';
}

void log_redact(char *text)
{
	pthread_mutex_lock(&lock);
	redact_locked(text);
	pthread_mutex_unlock(&lock);
}

static size_t format_head(char *line, size_t size, enum log_level level)
{
	static const char *const words[] = {"TRACE", "DEBUG", "INFO ", "WARN ", "ERROR"};
	char time[32];
	clock_format_rfc3339(clock_wall_ms(), time);
	if (atomic_load(&as_json))
		return (size_t)snprintf(line, size, "{\"time\":\"%s\",\"level\":\"%.*s\",\"msg\":\"%s",
			time, (int)strcspn(words[level], " "), words[level], prefix_text);
	return (size_t)snprintf(line, size, "%s %s %s", time, words[level], prefix_text);
}

static void one_line(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = ' ';
}

/* What was said becomes a JSON string's inside, and the object ends. `text` is in a line of
 * LINE_MAX_LEN bytes; the escaped form has twice as many. */
static void end_json(char out[2 * LINE_MAX_LEN], const char *line, size_t head)
{
	memcpy(out, line, head);
	char *to = out + head;
	for (const char *p = line + head; *p; p++) {
		if (*p == '"' || *p == '\\')
			*to++ = '\\';
		*to++ = *p;
	}
	memcpy(to, "\"}", 3);
}

void log_write(enum log_level level, const char *fmt, ...)
{
	if ((int)level < atomic_load(&threshold))
		return;
	int saved = errno;
	char line[LINE_MAX_LEN - 4];
	pthread_mutex_lock(&lock);
	size_t n = format_head(line, sizeof(line), level), room = sizeof(line) - n - 1;
	va_list ap;
	va_start(ap, fmt);
	int want = vsnprintf(line + n, room, fmt, ap);
	va_end(ap);
	if (want < 0)
		line[n] = '\0';
	if (want >= (int)room)
		redact_cut_end(line + n);
	redact_locked(line + n);
	one_line(line + n);
	char json[2 * LINE_MAX_LEN], *out = line;
	if (atomic_load(&as_json)) {
		end_json(json, line, n);
		out = json;
	}
	n = strlen(out);
	out[n++] = '\n';
	/* A log that can't be written must not stop replication. */
	ssize_t ignored = write(atomic_load(&out_fd), out, n);
	(void)ignored;
	pthread_mutex_unlock(&lock);
	errno = saved;
}
