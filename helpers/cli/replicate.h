/* What `litestream replicate` with arguments and with a configuration have in common. */
#ifndef CLI_REPLICATE_H
#define CLI_REPLICATE_H

#include "cli/args.h"
#include "conf/options.h"
#include "replicate/replicator.h"

/* Sets the options that were given as flags. ERR_USAGE. */
int replicate_read_options(struct args *a, struct options *o, struct err *e);

/* Puts options, and the words -takeover and -accept, into a replicator's configuration. */
void replicate_fill(struct args *a, const struct options *o, struct replicator_config *cfg);

#endif
