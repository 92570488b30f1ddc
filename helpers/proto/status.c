/* What a worker says of its databases, put together from what it said of some at a time. */
#include "proto/message.h"

#include <stdlib.h>
#include <string.h>

static struct message_status_database *find(struct message_status *m, const char *id)
{
	for (size_t i = 0; i < m->n_databases; i++) {
		if (strcmp(m->databases[i].id, id) == 0)
			return &m->databases[i];
	}
	return NULL;
}

/* A new last one, empty. */
static struct message_status_database *append(struct message_status *m, struct err *e)
{
	size_t n = m->n_databases;
	if (n == PROTO_DATABASES_MAX) {
		err_set(e, ERR_USAGE, "status: more than %d databases", PROTO_DATABASES_MAX);
		return NULL;
	}
	struct message_status_database *list = realloc(m->databases, (n + 1) * sizeof(*list));
	if (!list) {
		err_nomem(e, "reading a message");
		return NULL;
	}
	memset(&list[n], 0, sizeof(*list));
	m->databases = list;
	m->n_databases++;
	return &list[n];
}

int message_status_merge(struct message_status *m, struct message_status *news, struct err *e)
{
	for (size_t i = 0; i < news->n_databases; i++) {
		struct message_status_database *from = &news->databases[i];
		struct message_status_database *to = find(m, from->id);
		if (!to && !(to = append(m, e)))
			return e->code;
		struct message_status_database old = *to;
		*to = *from;
		*from = old;
	}
	return ERR_OK;
}
