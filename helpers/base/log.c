#include "base/log.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SECRETS_MAX 64
#define SECRET_LEN_MAX 512
#define LINE_MAX_LEN 2048

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static enum log_level threshold = LOG_INFO;
static int out_fd = STDERR_FILENO;
static char prefix_text[64];
static char secrets[SECRETS_MAX][SECRET_LEN_MAX + 1];
static size_t n_secrets;

void log_set_level(enum log_level level)
{
	threshold = level;
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

void log_set_fd(int fd)
{
	out_fd = fd;
}

void log_set_prefix(const char *prefix)
{
	pthread_mutex_lock(&lock);
	snprintf(prefix_text, sizeof(prefix_text), "%s", prefix ? prefix : "");
	pthread_mutex_unlock(&lock);
}

int log_add_secret(const char *secret)
{
	size_t n = secret ? strlen(secret) : 0;
	if (n < 4 || n > SECRET_LEN_MAX)
		return 0;
	int rc = 0;
	pthread_mutex_lock(&lock);
	size_t i = 0;
	while (i < n_secrets && strcmp(secrets[i], secret) != 0)
		i++;
	if (i == SECRETS_MAX)
		rc = -1;
	else if (i == n_secrets)
		memcpy(secrets[n_secrets++], secret, n + 1);
	pthread_mutex_unlock(&lock);
	return rc;
}

/* The caller holds the lock. */
static void redact_locked(char *text)
{
	for (size_t i = 0; i < n_secrets; i++) {
		size_t n = strlen(secrets[i]);
		for (char *p = strstr(text, secrets[i]); p; p = strstr(p, secrets[i])) {
			memcpy(p, "***", 3);
			memmove(p + 3, p + n, strlen(p + n) + 1);
			p += 3;
		}
	}
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
	int64_t ms = clock_wall_ms();
	time_t s = (time_t)(ms / 1000);
	struct tm tm;
	gmtime_r(&s, &tm);
	size_t n = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &tm);
	n += (size_t)snprintf(
		line + n, size - n, ".%03dZ %s %s", (int)(ms % 1000), words[level], prefix_text);
	return n;
}

void log_write(enum log_level level, const char *fmt, ...)
{
	if (level < threshold)
		return;
	char line[LINE_MAX_LEN];
	pthread_mutex_lock(&lock);
	size_t n = format_head(line, sizeof(line), level);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	va_end(ap);
	redact_locked(line + n);
	n = strlen(line);
	line[n++] = '\n';
	/* A log that can't be written must not stop replication. */
	ssize_t ignored = write(out_fd, line, n);
	(void)ignored;
	pthread_mutex_unlock(&lock);
}
