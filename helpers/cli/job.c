/* litestream job: one check or restore for litestreamd, which starts it as the database's owner. */
#include "daemon/jobrun.h"

#include "cli/args.h"
#include "cli/command.h"

static const struct flag flags[] = {
	{"fd", FLAG_INT, "N", "the stream socket to litestreamd"},
	{NULL, FLAG_BOOL, NULL, NULL},
};

static int run(struct args *a, struct err *e)
{
	int64_t fd = args_int(a, "fd", -1);
	if (fd < 3 || fd > 1023)
		return args_usage(a, e, NULL, "job is started by litestreamd, with -fd");
	return jobrun((int)fd, e);
}

const struct command command_job = {
	.name = "job",
	.arguments = "-fd N",
	.summary = "Checks or restores for litestreamd",
	.flags = flags,
	.min_args = 0,
	.max_args = 0,
	.run = run,
	.hidden = true,
};
