/*
 * Who the other node is, as far as the replica tells: its manifest is written after the first
 * upload of each owner. Names that a person knows, of somebody who may have written anything there.
 */
#include "replicate/internal.h"

#include "base/fs.h"
#include "replicate/survey.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The manifest is ours until the other node has written its own; a clone's says the same. */
static bool is_us(const struct replicator *r, const struct survey *v)
{
	char host[256] = "";
	if (gethostname(host, sizeof(host) - 1))
		host[0] = '\0';
	return strcmp(v->host, host) == 0 && strcmp(v->app, r->cfg.app ? r->cfg.app : "") == 0 &&
		   strcmp(v->database, fs_basename(r->cfg.database)) == 0;
}

void name_owner(struct replicator *r, struct err *why)
{
	struct survey v = {0};
	struct err ignored = ERR_INIT;
	const struct err told = *why;
	if (survey_manifest(r->store, &v, &ignored) || !(v.host[0] || v.app[0]) || is_us(r, &v))
		return;
	err_set(why, told.code, "%.640s; the other node, by its litestream.json: %s%s%s%s%s%s%s",
		told.text, v.host[0] ? "host " : "", v.host, v.host[0] && v.app[0] ? ", " : "",
		v.app[0] ? "app " : "", v.app, v.database[0] ? ", database " : "", v.database);
}
