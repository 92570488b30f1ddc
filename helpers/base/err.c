#include "base/err.h"

#include <stdio.h>
#include <string.h>

/* By way of a copy: e's own text may be among the arguments. */
static void set_text(struct err *e, const char *fmt, va_list ap)
{
	char text[ERR_TEXT_MAX] = "";
	vsnprintf(text, sizeof(text), fmt, ap);
	memcpy(e->text, text, strlen(text) + 1);
}

int err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
	if (!e)
		return code;
	e->code = code;
	va_list ap;
	va_start(ap, fmt);
	set_text(e, fmt, ap);
	va_end(ap);
	return code;
}

int err_errno(struct err *e, enum err_code code, int errnum, const char *fmt, ...)
{
	if (!e)
		return code;
	e->code = code;
	va_list ap;
	va_start(ap, fmt);
	set_text(e, fmt, ap);
	va_end(ap);
	size_t n = strlen(e->text);
	char why[128];
	snprintf(e->text + n, sizeof(e->text) - n, ": %s", strerror_r(errnum, why, sizeof(why)));
	return code;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	if (!e)
		return ERR_FAIL;
	char old[ERR_TEXT_MAX];
	memcpy(old, e->text, sizeof(old));
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	size_t n = strlen(e->text);
	snprintf(e->text + n, sizeof(e->text) - n, ": %s", old);
	return e->code;
}

int err_nomem(struct err *e, const char *what)
{
	return err_set(e, ERR_NOMEM, "out of memory while %s", what);
}

void err_clear(struct err *e)
{
	e->code = ERR_OK;
	e->text[0] = '\0';
}

int err_exit_code(int code)
{
	return code >= ERR_OK && code <= ERR_DATABASE ? code : ERR_FAIL;
}

bool err_worse(int code, int other)
{
	static const int ranks[] = {
		ERR_OK, ERR_AGAIN, ERR_UNREACHABLE, -1, ERR_DATABASE, ERR_DENIED, ERR_DAMAGED, ERR_FENCED};
	const int n = sizeof(ranks) / sizeof(ranks[0]);
	int a = 3, b = 3; /* the place of all that aren't named */
	for (int i = 0; i < n; i++) {
		a = ranks[i] == code ? i : a;
		b = ranks[i] == other ? i : b;
	}
	return a > b;
}

const char *err_name(int code)
{
	static const struct {
		int code;
		const char *name;
	} names[] = {
		{ERR_OK, "ok"},
		{ERR_FAIL, "failed"},
		{ERR_USAGE, "usage"},
		{ERR_NO_BACKUP, "no-backup"},
		{ERR_EXISTS, "exists"},
		{ERR_UNREACHABLE, "unreachable"},
		{ERR_DENIED, "denied"},
		{ERR_DAMAGED, "damaged"},
		{ERR_FENCED, "fenced"},
		{ERR_DATABASE, "database"},
		{ERR_NOMEM, "out-of-memory"},
		{ERR_IO, "io"},
		{ERR_NOT_FOUND, "not-found"},
		{ERR_CONDITION, "condition"},
		{ERR_UNSUPPORTED, "unsupported"},
		{ERR_AGAIN, "again"},
		{ERR_CANCELLED, "cancelled"},
		{ERR_FULL, "full"},
	};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].code == code)
			return names[i].name;
	return "failed";
}
