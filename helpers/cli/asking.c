#include "cli/asking.h"

#include "base/clock.h"
#include "base/fs.h"
#include "daemon/client.h"

#include <stdlib.h>

#define LOOK_MS 10000
#define CHANGE_MS 30000
#define SLACK_MS 15000 /* for the answer, after the time that the other side was given */

const char *asking_socket(const struct args *a)
{
	return args_string(a, "socket", CONFIG_SOCKET_DEFAULT);
}

int asking_timeout(struct args *a, int64_t otherwise_ms, int64_t *ms, struct err *e)
{
	*ms = args_ms(a, "timeout", otherwise_ms);
	return *ms > 0 ? ERR_OK : args_usage(a, e, NULL, "timeout must be greater than 0");
}

int asking_look(struct args *a, const char *path, json_t **out, struct err *e)
{
	int64_t ms;
	*out = NULL;
	int rc = asking_timeout(a, LOOK_MS, &ms, e);
	return rc ? rc : client_ask_replicate(asking_socket(a), "GET", path, NULL, ms, out, e);
}

char *asking_path(const char *word, struct err *e)
{
	char *absolute = config_absolute(word), *real = absolute ? fs_real_name(absolute) : NULL;
	free(absolute);
	if (!real)
		err_nomem(e, "asking for a database");
	return real;
}

int asking_change(
	struct args *a, const char *path, json_t *more, json_t **out, int64_t *took_ms, struct err *e)
{
	int64_t ms, began_us = clock_mono_us();
	char *database = NULL;
	json_t *body = NULL;
	*out = NULL;
	int rc = asking_timeout(a, CHANGE_MS, &ms, e);
	if (!rc && !(database = asking_path(a->argv[0], e)))
		rc = ERR_NOMEM;
	if (!rc) {
		body = json_pack("{s:s,s:I}", "path", database, "timeout", (json_int_t)((ms + 999) / 1000));
		if (!body)
			rc = err_set(e, ERR_USAGE, "\"%s\" can't be asked for: it is no UTF-8", a->argv[0]);
	}
	if (!rc && more && json_object_update(body, more) != 0)
		rc = err_nomem(e, "asking for a database");
	if (!rc)
		rc = client_ask_replicate(asking_socket(a), "POST", path, body, ms + SLACK_MS, out, e);
	if (took_ms)
		*took_ms = (clock_mono_us() - began_us) / 1000;
	json_decref(more);
	json_decref(body);
	free(database);
	return rc;
}
