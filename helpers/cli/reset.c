/*
 * litestream reset: removes what replicate keeps on this machine of one database, so that its next
 * start begins as on a new machine. The database and the replica are not touched.
 */
#include "base/fs.h"
#include "cli/command.h"
#include "cli/listing.h"
#include "cli/place.h"
#include "cli/states.h"
#include "conf/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct flag flags[] = {
	PLACE_FLAGS,
	{"dry-run", FLAG_BOOL, NULL, "print what would be removed, and remove nothing"},
	{"json", FLAG_BOOL, NULL, "print as JSON"},
	{NULL, FLAG_BOOL, NULL, NULL},
};

struct reset {
	bool dry_run, json;
	size_t found; /* state folders with something in them */
	json_t *all;
	char *database;
};

/* The names in the folder that are ours, as an array. NULL with the error. */
static json_t *list_ours(const char *dir, struct err *e)
{
	DIR *d = opendir(dir);
	json_t *names = json_array();
	int bad = !names;
	if (!d && errno != ENOENT) {
		err_errno(e, ERR_IO, errno, "cannot read the state folder %s", dir);
		json_decref(names);
		return NULL;
	}
	for (const struct dirent *ent; d && !bad && (ent = readdir(d));)
		if (state_is_ours(ent->d_name))
			bad = json_array_append_new(names, json_string(ent->d_name));
	if (d)
		closedir(d);
	if (!bad)
		return names;
	json_decref(names);
	err_nomem(e, "reading a state folder");
	return NULL;
}

static int remove_name(const struct folder *f, const char *name, struct err *e)
{
	if (folder_remove_tree(f, name) == 0 || errno == ENOENT)
		return ERR_OK;
	return err_errno(e, ERR_IO, errno, "cannot remove %s/%s", f->path, name);
}

/* Nobody else works with the folder meanwhile: it is locked. Taking the lock settles what a restore
 * has left, so the names are read after it. */
static int remove_all(const char *dir, struct err *e)
{
	struct state_dir *d;
	json_t *names = NULL;
	int rc = state_dir_open(&d, dir, e);
	if (rc)
		return rc;
	const struct folder *f = state_dir_folder(d);
	if (!(names = list_ours(dir, e)))
		rc = e->code;
	/* The state first: without it the rest means nothing to whoever finds a half of it. */
	if (!rc)
		rc = remove_name(f, "state.json", e);
	for (size_t i = 0; !rc && i < json_array_size(names); i++)
		rc = remove_name(f, json_string_value(json_array_get(names, i)), e);
	if (!rc && folder_sync(f) != 0)
		rc = err_errno(e, ERR_IO, errno, "cannot fsync %s", dir);
	json_decref(names);
	state_dir_close(d);
	return rc;
}

static void tell(const struct reset *r, const struct state_place *s, const json_t *names)
{
	printf("%s: %s\n",
		r->dry_run ? "Dry run: local state would be reset for" : "Resetting local state for",
		s->database);
	printf("%s: %s\n", r->dry_run ? "Would remove" : "Removing", s->dir);
	for (size_t i = 0; r->dry_run && i < json_array_size(names); i++)
		printf("  %s/%s\n", s->dir, json_string_value(json_array_get(names, i)));
}

static int reset_one(void *ctx, const struct state_place *s, struct err *e)
{
	struct reset *r = ctx;
	json_t *names = list_ours(s->dir, e);
	if (!names)
		return e->code;
	free(r->database);
	r->database = strdup(s->database);
	int rc = r->database ? ERR_OK : err_nomem(e, "resetting local state");
	if (!rc && json_array_size(names) > 0) {
		r->found++;
		if (!r->json)
			tell(r, s, names);
		if (!r->dry_run)
			rc = remove_all(s->dir, e);
	}
	if (!rc && json_array_size(names) > 0 &&
		json_array_append_new(r->all, json_pack("{s:s,s:O}", "path", s->dir, "names", names)) != 0)
		rc = err_nomem(e, "resetting local state");
	json_decref(names);
	return rc;
}

/* Of a name that is neither a database nor has left a state something else was meant. */
static int check_there(const struct reset *r, struct err *e)
{
	struct stat st;
	if (r->found || stat(r->database, &st) == 0)
		return ERR_OK;
	return err_set(e, ERR_DATABASE, "database does not exist: %s", r->database);
}

static void tell_end(const struct reset *r)
{
	if (!r->found)
		printf("No local state to reset for %s\n", r->database);
	else if (r->dry_run)
		printf("No files were removed.\n");
	else
		printf(
			"Reset complete. The next start compares the database, page by page, with the "
			"replica's\nlatest state, and goes on where they are the same. Where they are not it "
			"stops and says so:\nrestore, or start it with -takeover.\n");
}

static int run(struct args *a, struct err *e)
{
	struct reset r = {.dry_run = args_bool(a, "dry-run"), .json = args_bool(a, "json")};
	r.all = json_array();
	int rc =
		r.all ? states_of(a, a->argv[0], reset_one, &r, e) : err_nomem(e, "resetting local state");
	if (!rc)
		rc = check_there(&r, e);
	if (!rc && r.json)
		rc = listing_print_json(json_pack("{s:s,s:b,s:O}", "db_path", r.database, "dry_run",
									r.dry_run, "removed", r.all),
			e);
	else if (!rc)
		tell_end(&r);
	json_decref(r.all);
	free(r.database);
	return rc;
}

const struct command command_reset = {
	.name = "reset",
	.arguments = "[flags] DB",
	.summary = "Removes the local state of a database that nobody replicates now",
	.details = "Database and replica are not touched. Without local state the next start asks the\n"
			   "replica, and compares every page of the database with its latest state. While a\n"
			   "replicate has the state folder it is refused: stop that first.\n",
	.examples = "    litestream reset /data/app.db\n"
				"    litestream reset -dry-run -config /etc/litestream.yml /data/app.db\n",
	.flags = flags,
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
