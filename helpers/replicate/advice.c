#include "replicate/advice.h"

#include <stdio.h>

#define TEXT_SIZE 128

static char takeover[TEXT_SIZE] = "start litestream replicate once with -takeover";
static char accepting[TEXT_SIZE] = "start litestream replicate once with -accept";
static const char *space = ", or move the state elsewhere (-meta-path)";

void advice_set_app(const char *app)
{
	snprintf(takeover, sizeof(takeover), "run dokku litestream:takeover %.63s", app);
	snprintf(accepting, sizeof(accepting), "run dokku litestream:accept %.63s", app);
	space = "";
}

const char *advice_takeover(void)
{
	return takeover;
}

const char *advice_accept(void)
{
	return accepting;
}

const char *advice_space(void)
{
	return space;
}
