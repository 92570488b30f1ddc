/* litestream replicate without arguments: what litestream.yml names. */
#include "cli/replicate_run.h"

#include "base/log.h"
#include "cli/configured.h"
#include "cli/replicas.h"
#include "cli/wanted.h"
#include "conf/inplace.h"

struct configured_run {
	struct args *args;
	const struct config *config;
	struct heartbeat_notes *notes; /* NULL: no heartbeat */
};

static int run_one(void *ctx, size_t index, struct err *e)
{
	const struct configured_run *r = ctx;
	struct replicate_run run = {.config = r->config,
		.index = index,
		.notes = r->notes,
		.alone = configured_alone(r->config)};
	return replicate_run(&run, r->args, e);
}

/* What must be said of one database can't be meant for all that a configuration names. */
static int check_words(struct args *a, const struct config *c, struct err *e)
{
	static const char *const words[] = {"takeover", "accept", "meta-path"};
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (args_given(a, words[i]) && (i == 2 || !configured_alone(c)))
			return args_usage(a, e, "litestream replicate -flag DB URL",
				i == 2
					? "-%s is for a database on the command line: the configuration has meta-path"
					: "-%s is a word about one database with one replica: name them",
				words[i]);
	return ERR_OK;
}

/* What a restore that was interrupted left is put right by one process, before there are several.
 */
static void recover_all(const struct config *c)
{
	struct err e;
	for (size_t i = 0; i < c->n_databases; i++)
		if (c->databases[i].path && inplace_recover(c->databases[i].path, false, &e))
			log_error("%s: %s", c->databases[i].path, e.text);
}

int replicate_configured(struct args *a, struct err *e)
{
	struct config c;
	struct configured_run r = {.args = a, .config = &c};
	int rc = config_file_need(a, &c, e);
	size_t n = configured_processes(&c);
	if (!rc)
		rc = config_file_log(a, &c, e);
	if (!rc && n == 0)
		rc = err_set(e, ERR_USAGE, "%s: no databases specified in configuration", c.file);
	if (!rc)
		rc = check_words(a, &c, e);
	if (!rc)
		rc = wanted_check(&c, e);
	if (!rc && c.heartbeat_url)
		rc = heartbeat_notes_new(&r.notes, n, e);
	if (!rc) {
		config_file_tell(&c);
		if (n > 1)
			recover_all(&c);
		rc = n == 1 ? run_one(&r, 0, e) : replicas_run(n, run_one, &r, e);
	}
	heartbeat_notes_free(r.notes);
	config_free(&c);
	return rc;
}
