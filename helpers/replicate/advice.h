/*
 * What a person types to decide on a database that is fenced or replaced: flags of `litestream
 * replicate`, or the plugin's commands where Dokku's user never sees that program.
 */
#ifndef REPLICATE_ADVICE_H
#define REPLICATE_ADVICE_H

/* This process is a worker for that app of Dokku (copied; names longer than Dokku's are cut).
 * Before any thread is started. */
void advice_set_app(const char *app);

/* "start litestream replicate once with -takeover", or "run dokku litestream:takeover my-app". */
const char *advice_takeover(void);
const char *advice_accept(void);

/* What ends the sentence of a replica that is another's; %s: advice_takeover(). */
#define ADVICE_FENCED                                                                           \
	"stop the other one and restore from the replica here, or %s to replace its state by this " \
	"database"

/* What else than free space helps: ", or move the state elsewhere (-meta-path)", or nothing. */
const char *advice_space(void);

#endif
