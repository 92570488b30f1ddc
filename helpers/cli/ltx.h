/* litestream ltx, for the command that was its old name. */
#ifndef CLI_LTX_H
#define CLI_LTX_H

#include "cli/args.h"

/* With the flags -level, -json and those of place.h. */
int ltx_run(struct args *a, struct err *e);

#endif
