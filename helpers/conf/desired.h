/*
 * What the user asked for: desired/<app>.json and secrets/<scope>.json, written by the plugin, read
 * by the daemon. The format is in docs/CONTROL.md.
 *
 * The files are opened without following a link, must be regular, belong to root or to `owner`, be
 * writable by nobody else, and have at most DESIRED_FILE_MAX or SECRETS_FILE_MAX bytes.
 */
#ifndef CONF_DESIRED_H
#define CONF_DESIRED_H

#include "base/err.h"
#include "conf/options.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DESIRED_VERSION 1
#define DESIRED_FILE_MAX (1024 * 1024)
#define DESIRED_DATABASES_MAX 1000
#define DESIRED_GLOBAL "--global"
#define SECRETS_FILE_MAX (16 * 1024)
#define SECRETS_GLOBAL "--global"

struct desired_database {
	char *id;             /* name_is_id: the state folder */
	char *storage_dir;    /* name_is_folder */
	char *file;           /* name_is_file */
	char *path;           /* storage_dir/file */
	char *replica;        /* URL, at most 1000 bytes, no control characters */
	char *container_path; /* NULL when absent */
	uid_t uid;            /* who must own the file, told by `check` at create */
	gid_t gid;
	bool mount; /* storage_dir is a mount of the app: need not be below a storage root */
	struct options options;
};

struct desired {
	char *app;
	bool running;           /* as written; desired_read: also in this boot of the host */
	char *boot;             /* only in this boot of the host is it to run; NULL = in every one */
	bool restore_on_deploy; /* the plugin's; nothing that a worker needs to know */
	struct desired_database *databases;
	size_t n_databases;
};

/*
 * Reads `<dir>/<app>.json` into *out (freed by desired_free in every case), with the options of all
 * apps (`<dir>/--global.json`, which may be missing) below its own. ERR_NOT_FOUND when there is
 * none, ERR_USAGE with what is wrong in it, ERR_DENIED when it is not a file that we believe,
 * ERR_IO, ERR_NOMEM.
 */
int desired_read(struct desired *out, const char *dir, const char *app, uid_t owner, struct err *e);

/* The same from bytes; `what` names them in messages. The app in it must be `app`. `base`: what
 * holds where neither the app nor its database says another option. */
int desired_parse(struct desired *out, const void *data, size_t n, const char *app,
	const struct options *base, const char *what, struct err *e);

/* The options of all apps into *out, which has the defaults. */
int desired_parse_global(
	struct options *out, const void *data, size_t n, const char *what, struct err *e);

void desired_free(struct desired *d); /* may be called twice */

/* Calls fn for each app that has a desired file in `dir`, in any order; others are passed over.
 * fn's failure ends it. A missing folder has none. */
int desired_each(const char *dir, int (*fn)(void *ctx, const char *app, struct err *e), void *ctx,
	struct err *e);

/* Credentials of one scope; NULL = not given. Wiped when freed. */
struct secrets {
	char *access_key_id, *secret_access_key, *session_token, *region, *endpoint;
	char *sse_customer_key; /* for URLs that name none */
	bool use_iam;           /* instead of keys: the credentials of the machine's IAM role */
	bool own;               /* the app's, not those of all apps */
};

/*
 * Reads the credentials of an app: `<dir>/<app>.json`, else `<dir>/--global.json`, each whole.
 * `app` may be NULL (global only). Where there is none, *out is empty and that is success: a folder
 * needs none. Errors as desired_read, never with a value in the text.
 */
int secrets_read(struct secrets *out, const char *dir, const char *app, uid_t owner, struct err *e);
int secrets_parse(struct secrets *out, const void *data, size_t n, const char *what, struct err *e);
void secrets_free(struct secrets *s);

#endif
