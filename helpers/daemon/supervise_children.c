/* The worker processes: which one a signal is about, and whether any is left. */
#include "daemon/supervise.h"

static struct child *find_child(struct supervisor *s, pid_t pid)
{
	for (struct app *a = s->apps; a; a = a->next) {
		for (struct child *c = a->children; c; c = c->next) {
			if (c->pid == pid)
				return c;
		}
	}
	return NULL;
}

bool supervisor_child_exited(struct supervisor *s, pid_t pid, int status)
{
	struct child *c = find_child(s, pid);
	if (!c)
		return false;
	child_exited(c, status);
	s->rechecked_us = INT64_MIN / 2; /* another may wait for what it had */
	return true;
}

void supervisor_child_stopped(struct supervisor *s, pid_t pid, bool stopped)
{
	struct child *c = find_child(s, pid);
	if (c)
		child_stopped(c, stopped);
}

bool supervisor_quiet(const struct app *a)
{
	for (const struct child *c = a->children; c; c = c->next) {
		if (c->pid > 0)
			return false;
	}
	return true;
}

bool supervisor_stopped(const struct supervisor *s)
{
	for (const struct app *a = s->apps; a; a = a->next) {
		if (!supervisor_quiet(a))
			return false;
	}
	return true;
}
