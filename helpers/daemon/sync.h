/*
 * POST /sync: one request and one answer for the databases of one app, of all apps, or for one.
 * Each is asked for by itself, so that one that can't be shipped keeps none of the others from it;
 * when all have answered, the answer says which ones failed and has the worst code (err_worse).
 */
#ifndef DAEMON_SYNC_H
#define DAEMON_SYNC_H

#include "daemon/routes.h"

/* Answers the request, at once or later. */
void sync_start(struct routes *r, struct control_request *q);

/* The database of that path or id; NULL. */
const struct desired_database *sync_find(const struct app *a, const char *name);

/* The worker that shall have database i of the app; NULL with the reason. */
struct child *sync_worker(const struct app *a, size_t i, struct err *e);

#endif
