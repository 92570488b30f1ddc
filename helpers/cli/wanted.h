/* One database of litestream.yml and one of its replicas, as a replicator or a restore needs it. */
#ifndef CLI_WANTED_H
#define CLI_WANTED_H

#include "cli/config_file.h"

struct wanted {
	const struct config_database *database;
	const struct config_replica *replica;
	char *path;      /* of the database, absolute */
	char *url;       /* of the replica */
	char *state_dir; /* NULL = the default one */
	struct store_options store;
	char key[CONFIG_KEY_SIZE];
};

/*
 * `relative`: of a folder of databases, the path in it; otherwise NULL. A database's state folder
 * is
 * `.<file>-litestream`, or meta-path. With several replicas it is the first one's, unless what is
 * in it says that it is another's of them; the others have "-<8 digits>" behind it, from their URL.
 * ERR_USAGE (a URL that is none), ERR_NOMEM. wanted_free in every case.
 */
int wanted_make(struct wanted *out, const struct config *c, const struct config_database *database,
	const struct config_replica *replica, const char *relative, struct err *e);
void wanted_free(struct wanted *w);

/* Is every replica's URL one that can be opened? ERR_USAGE names the line. No request is made. */
int wanted_check(const struct config *c, struct err *e);

#endif
