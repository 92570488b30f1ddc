/* litestream options: what a database can be told, from the one table of them. */
#include "conf/options.h"

#include "base/json.h"
#include "cli/args.h"
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

static const struct flag flags[] = {
	{"json", FLAG_BOOL, NULL, "print them as JSON"},
	{0},
};

static void print_table(void)
{
	printf("%-18s  %-8s  %s\n", "option", "default", "is, and takes");
	for (const struct option_entry *o = option_table; o->name; o++) {
		char takes[128];
		option_describe(o, takes);
		printf("%-18s  %-8.*s  %s: %s\n", o->name, (int)strcspn(o->standard, ","), o->standard,
			o->help, takes);
	}
}

static int print_json(struct err *e)
{
	json_t *all = json_array();
	int rc = all ? ERR_OK : ERR_NOMEM;
	for (const struct option_entry *o = option_table; o->name && rc == ERR_OK; o++) {
		char takes[128];
		json_t *one = json_object();
		rc = one ? ERR_OK : ERR_NOMEM;
		option_describe(o, takes);
		if (rc == ERR_OK) {
			json_put_text(one, "name", o->name, &rc);
			json_put_text(one, "takes", takes, &rc);
			json_put_text(one, "default", o->standard, &rc);
			json_put_text(one, "help", o->help, &rc);
		}
		if (rc != ERR_OK)
			json_decref(one);
		else if (json_array_append_new(all, one) != 0)
			rc = ERR_NOMEM;
	}
	if (rc == ERR_OK && json_dumpf(all, stdout, JSON_INDENT(2)) != 0)
		rc = ERR_IO;
	json_decref(all);
	printf("\n");
	return rc == ERR_OK ? ERR_OK : err_set(e, (enum err_code)rc, "cannot print the options");
}

static int run(struct args *a, struct err *e)
{
	struct options o = OPTIONS_DEFAULT;
	if (a->argc == 1)
		return args_usage(a, e, "litestream options NAME VALUE", "which value of %s?", a->argv[0]);
	if (a->argc == 2)
		return options_set(&o, a->argv[0], a->argv[1], e);
	if (args_bool(a, "json"))
		return print_json(e);
	print_table();
	return ERR_OK;
}

const struct command command_options = {
	.name = "options",
	.arguments = "[-json] [NAME VALUE]",
	.summary = "Lists the options of a database, or looks whether a value is one",
	.examples = "    litestream options\n"
				"    litestream options sync-interval 10s\n",
	.flags = flags,
	.max_args = 2,
	.run = run,
};
