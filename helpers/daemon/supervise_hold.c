#include "daemon/supervise.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int supervisor_hold(struct supervisor *s, struct app *a, const char *id, struct err *e)
{
	struct hold *h = calloc(1, sizeof(*h));
	if (!h)
		return err_nomem(e, "stopping a worker");
	snprintf(h->id, sizeof(h->id), "%s", id);
	h->next = s->holds;
	s->holds = h;
	supervisor_apply(s, a);
	return ERR_OK;
}

/* The app may be gone, or have another name. */
void supervisor_release(struct supervisor *s, const char *id)
{
	struct hold **link = &s->holds;
	while (*link && strcmp((*link)->id, id) != 0)
		link = &(*link)->next;
	struct hold *h = *link;
	if (!h)
		return;
	*link = h->next;
	free(h);
	for (struct app *a = s->apps; a; a = a->next)
		for (size_t i = 0; i < a->desired.n_databases; i++)
			if (strcmp(a->desired.databases[i].id, id) == 0)
				supervisor_apply(s, a);
}

bool supervisor_holds(const struct supervisor *s, const char *id)
{
	const struct hold *h = s->holds;
	while (h && strcmp(h->id, id) != 0)
		h = h->next;
	return h != NULL;
}
