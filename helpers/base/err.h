/*
 * Errors that carry their story.
 *
 * Every function that can fail returns an int: ERR_OK (0) or one of the codes below, and fills the
 * `struct err` that its caller gave it. The text says what was tried, on what, what came back and,
 * where there is something, what the user can do. A struct err never owns memory, so it works when
 * memory is what ran out.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * 0 to 9 are the exit codes of the programs (docs/EXIT-CODES.md); 10 and 20 belong to Dokku. Codes
 * from 64 on are for callers inside the program, and end as exit code 1 when nobody handles them.
 */
enum err_code {
	ERR_OK = 0,
	ERR_FAIL = 1,        /* anything without a code of its own */
	ERR_USAGE = 2,       /* wrong arguments, options, URL */
	ERR_NO_BACKUP = 3,   /* the replica holds no backup */
	ERR_EXISTS = 4,      /* the target of a restore exists */
	ERR_UNREACHABLE = 5, /* store unreachable or timed out */
	ERR_DENIED = 6,      /* credentials or permissions refused */
	ERR_DAMAGED = 7,     /* replica damaged or with a gap */
	ERR_FENCED = 8,      /* another node owns the replica */
	ERR_DATABASE = 9,    /* database unusable: not SQLite, exclusive, encrypted, no permission */

	ERR_NOMEM = 64,       /* out of memory */
	ERR_IO = 65,          /* a local file system call failed */
	ERR_NOT_FOUND = 66,   /* a named object or file is not there */
	ERR_CONDITION = 67,   /* only-if-absent put: the object is there already (HTTP 412, EEXIST) */
	ERR_UNSUPPORTED = 68, /* the store or server can't do this */
	ERR_AGAIN = 69,       /* nothing wrong: try later */
	ERR_CANCELLED = 70,   /* the caller asked to stop */
	ERR_FULL = 71,        /* a bound was reached: staging, buffer, disk */
};

#define ERR_TEXT_MAX 1024

struct err {
	enum err_code code;
	char text[ERR_TEXT_MAX]; /* one sentence, no newline at the end, never a secret */
};

/* An err without anything in it. */
#define ERR_INIT   \
	{              \
		ERR_OK, "" \
	}

/* Sets code and text and returns code. `e` may be NULL. Text that does not fit is cut. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* As err_set, with ": <strerror(errnum)>" behind the text. */
int err_errno(struct err *e, enum err_code code, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Puts "<fmt>: " before the text that is there, keeps the code and returns it. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ERR_NOMEM with "out of memory while <what>". */
int err_nomem(struct err *e, const char *what);

/* Forgets what is in it. */
void err_clear(struct err *e);

/* The exit code for an error code: itself up to 9, otherwise 1 (ERR_NOT_FOUND too: a command that
 * knows better sets ERR_NO_BACKUP itself). */
int err_exit_code(int code);

/* Of several failures the one to end with is that which a person must mend, the hardest first:
 * fenced, damaged, denied, database, then all others, and last what time may mend (unreachable,
 * again). True when `code` is worse than `other`. */
bool err_worse(int code, int other);

/* A lower-case word for a code ("denied", "unreachable"), for JSON and logs. Never NULL. */
const char *err_name(int code);

#endif
