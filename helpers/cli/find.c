/* litestream find: SQLite databases below a folder */
#include "base/json.h"
#include "cli/args.h"
#include "cli/command.h"
#include "source/find.h"

#include <inttypes.h>
#include <stdio.h>

static const struct flag flags[] = {
	{"json", FLAG_BOOL, NULL, "print them as JSON"},
	{0},
};

static int print_file(void *ctx, const struct find_file *f, struct err *e)
{
	(void)ctx;
	(void)e;
	printf("%12" PRIu64 "  %-8s  %s/%s\n", f->bytes, f->wal ? "WAL" : "rollback", f->dir, f->name);
	return ERR_OK;
}

static int collect(void *ctx, const struct find_file *f, struct err *e)
{
	json_t *one = json_object();
	int rc = one ? ERR_OK : ERR_NOMEM;
	if (rc == ERR_OK) {
		json_put_text(one, "storage_dir", f->dir, &rc);
		json_put_text(one, "file", f->name, &rc);
		json_put_int(one, "bytes", (int64_t)f->bytes, &rc);
		json_put_int(one, "page_size", f->page_size, &rc);
		json_put_text(one, "journal_mode", f->wal ? "wal" : "rollback", &rc);
	}
	if (rc != ERR_OK)
		json_decref(one);
	else if (json_array_append_new(ctx, one) != 0)
		rc = ERR_NOMEM;
	return rc == ERR_OK ? ERR_OK : err_nomem(e, "listing databases");
}

static int print_json(json_t *databases, const struct find_totals *t, struct err *e)
{
	json_t *root = json_object();
	int rc = root ? ERR_OK : ERR_NOMEM;
	if (rc == ERR_OK) {
		json_put(root, "databases", json_incref(databases), &rc);
		json_put_int(root, "unreadable", (int64_t)t->unreadable, &rc);
		json_put_text(root, "first_unreadable", t->unreadable ? t->first_unreadable : NULL, &rc);
		json_put_flag(root, "cut", t->cut, &rc);
	}
	if (rc == ERR_OK && json_dumpf(root, stdout, JSON_INDENT(2)) != 0)
		rc = ERR_IO;
	json_decref(root);
	printf("\n");
	return rc == ERR_OK ? ERR_OK : err_set(e, (enum err_code)rc, "cannot print the databases");
}

static void tell(const char *dir, const struct find_totals *t)
{
	if (t->unreadable)
		fprintf(stderr, "%zu files or folders can't be looked into, %s first\n", t->unreadable,
			t->first_unreadable);
	if (t->cut)
		fprintf(stderr, "there is more below %s than was looked at: name a folder in it\n", dir);
}

static int run(struct args *a, struct err *e)
{
	struct find_totals t = {0};
	bool json = args_bool(a, "json");
	json_t *databases = json_array();
	int rc = databases ? ERR_OK : err_nomem(e, "looking for databases");
	if (rc == ERR_OK)
		rc = find_databases(a->argv[0], json ? collect : print_file, databases, &t, e);
	if (rc == ERR_OK && json)
		rc = print_json(databases, &t, e);
	else if (rc == ERR_OK)
		tell(a->argv[0], &t);
	json_decref(databases);
	return rc;
}

const struct command command_find = {
	.name = "find",
	.arguments = "[-json] DIR",
	.summary = "Finds SQLite databases below a folder",
	.details = "By the header of each file. Symbolic links and hidden files are passed over.\n",
	.examples = "    litestream find /var/lib/dokku/data/storage/my-app--db\n",
	.flags = flags,
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
