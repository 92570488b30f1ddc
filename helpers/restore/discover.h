/*
 * Which replicas lie below a URL: a walk through its folders, and what each of them says of itself.
 *
 * A replica is a folder with a litestream.json, or with the folders of LTX files. Folders are
 * listed one by one, many at a time, so objects of replicas cost nothing; of each replica the
 * manifest, the names of its files and the header of the last one are read. Everything is bounded.
 */
#ifndef RESTORE_DISCOVER_H
#define RESTORE_DISCOVER_H

#include "base/err.h"
#include "conf/manifest.h"
#include "store/store.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISCOVER_DEPTH_MAX 8       /* folders below each other */
#define DISCOVER_FOLDERS_MAX 10000 /* folders that are looked into */
#define DISCOVER_NAMES_MAX 10000   /* names that are looked at in one folder */
#define DISCOVER_REPLICAS_MAX 1000 /* replicas that are told */

struct discovered {
	char *path;                     /* below the URL, "apps/my-app"; "" = the URL itself */
	bool has_manifest;              /* there is a litestream.json … */
	char manifest_error[160];       /* … and why it is none, or "" … */
	struct manifest_facts manifest; /* … or what is believed of it */
	/* Its last state, or why there is none: ERR_NO_BACKUP, ERR_DAMAGED, ERR_DENIED, … */
	struct err err;
	uint64_t txid, bytes; /* bytes of the database */
	int64_t timestamp_ms;
};

struct discovery {
	struct discovered *list; /* by path */
	size_t count;
	bool cut; /* a bound was reached: there may be more */
};

/*
 * Fills *out (discovery_free in every case). The URL's own errors: ERR_USAGE, ERR_UNREACHABLE,
 * ERR_DENIED, …; a folder below it that may not be read is told as a replica with ERR_DENIED. No
 * replica at all is ERR_OK. Folders whose names no object of ours can have are passed over.
 */
int discover(struct store *replicas, struct store *self, struct discovery *out, struct err *e);
void discovery_free(struct discovery *d);

/* Opens both stores for a URL: `replicas` for what is below it (store_cancel of that one stops the
 * search), `self` for the case that it is a replica. Neither makes a request. */
int discover_open(struct store **replicas, struct store **self, const char *url,
	const struct store_options *opts, struct err *e);

/* {"replicas": [{"path", "manifest", "manifest_error", "doubted", "app", "database", "storage",
 * "container_path", "host", "owner", "mode", "txid", "timestamp", "bytes", "code", "error"}],
 * "cut"}: null for what isn't said. NULL when out of memory. */
json_t *discovery_json(const struct discovery *d);

#endif
