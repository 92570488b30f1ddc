/* litestream: each command is in its own file; this is the table of them. */
#include "cli/command.h"

#include <stddef.h>

extern const struct command command_ctl;
extern const struct command command_databases;
extern const struct command command_find;
extern const struct command command_generations;
extern const struct command command_info;
extern const struct command command_job;
extern const struct command command_list;
extern const struct command command_ltx;
extern const struct command command_options;
extern const struct command command_register;
extern const struct command command_replicate;
extern const struct command command_reset;
extern const struct command command_restore;
extern const struct command command_snapshots;
extern const struct command command_start;
extern const struct command command_status;
extern const struct command command_stop;
extern const struct command command_sync;
extern const struct command command_unregister;
extern const struct command command_verify;
extern const struct command command_version;
extern const struct command command_wal;

const struct command *const litestream_commands[] = {
	&command_ctl,
	&command_databases,
	&command_find,
	&command_generations,
	&command_info,
	&command_job,
	&command_list,
	&command_ltx,
	&command_options,
	&command_register,
	&command_replicate,
	&command_reset,
	&command_restore,
	&command_snapshots,
	&command_start,
	&command_status,
	&command_stop,
	&command_sync,
	&command_unregister,
	&command_verify,
	&command_version,
	&command_wal,
	NULL,
};
