#include "conf/desired.h"

#include "base/fs.h"
#include "base/json.h"
#include "conf/names.h"
#include "conf/state.h"
#include "conf/trusted.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 1000
#define ID_MAX 4294967294u /* -1 is no uid */
#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

static bool has_control(const char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	}
	return false;
}

static int read_options(struct options *out, const json_t *object, const char *what, struct err *e)
{
	for (void *it = json_object_iter((json_t *)object); it;
		 it = json_object_iter_next((json_t *)object, it)) {
		const char *name = json_object_iter_key(it);
		const json_t *value = json_object_iter_value(it);
		if (!json_is_string(value))
			return err_set(
				e, ERR_USAGE, "%s: option \"%.64s\" must be a text, as \"1s\"", what, name);
		if (options_set(out, name, json_string_value(value), e) != ERR_OK)
			return err_wrap(e, "%s", what);
	}
	return ERR_OK;
}

static int check_names(const struct desired_database *d, const char *what, struct err *e)
{
	if (!name_is_id(d->id))
		return err_set(e, ERR_USAGE, "%s: \"%.64s\" can't be an id", what, d->id);
	if (!name_is_folder(d->storage_dir))
		return err_set(e, ERR_USAGE,
			"%s: \"%.200s\" is not an absolute folder without \"..\", \".\" and double slashes",
			what, d->storage_dir);
	if (!name_is_file(d->file))
		return err_set(
			e, ERR_USAGE, "%s: \"%.140s\" can't be the name of a database", what, d->file);
	if (d->replica[0] == '\0' || has_control(d->replica))
		return err_set(e, ERR_USAGE, "%s: the replica of %s is not a URL", what, d->id);
	if (d->container_path && (d->container_path[0] != '/' || has_control(d->container_path)))
		return err_set(
			e, ERR_USAGE, "%s: the container_path of %s is not an absolute path", what, d->id);
	return ERR_OK;
}

/* `base`: what holds where the database says nothing else. */
static int read_database(struct desired_database *d, const json_t *object,
	const struct options *base, const char *what, struct err *e)
{
	uint64_t uid = 0, gid = 0;
	json_t *options = NULL;
	const struct json_field fields[] = {
		{"id", JSON_FIELD_TEXT, false, &d->id, 127},
		{"storage_dir", JSON_FIELD_TEXT, false, &d->storage_dir, TEXT_MAX},
		{"file", JSON_FIELD_TEXT, false, &d->file, 128},
		{"replica", JSON_FIELD_TEXT, false, &d->replica, TEXT_MAX},
		{"uid", JSON_FIELD_COUNT, false, &uid, ID_MAX},
		{"gid", JSON_FIELD_COUNT, false, &gid, ID_MAX},
		{"container_path", JSON_FIELD_TEXT, true, &d->container_path, TEXT_MAX},
		{"mount", JSON_FIELD_FLAG, true, &d->mount, 0},
		{"options", JSON_FIELD_OBJECT, true, &options, 0},
	};
	d->options = *base;
	int rc = json_read_fields(object, fields, COUNT_OF(fields), what, e);
	if (rc == ERR_OK)
		rc = check_names(d, what, e);
	if (rc == ERR_OK && options)
		rc = read_options(&d->options, options, what, e);
	if (rc != ERR_OK)
		return rc;
	d->uid = (uid_t)uid;
	d->gid = (gid_t)gid;
	d->path = fs_join(d->storage_dir, d->file);
	return d->path ? ERR_OK : err_nomem(e, "reading the desired state");
}

/* Two entries with one state folder, or one file, would fight each other. */
static int check_doubles(const struct desired *d, const char *what, struct err *e)
{
	for (size_t i = 0; i < d->n_databases; i++) {
		for (size_t j = 0; j < i; j++) {
			if (strcmp(d->databases[i].id, d->databases[j].id) == 0)
				return err_set(e, ERR_USAGE, "%s: id \"%s\" comes twice", what, d->databases[i].id);
		}
	}
	return ERR_OK;
}

static int read_databases(struct desired *d, const json_t *array, const struct options *base,
	const char *what, struct err *e)
{
	size_t n = json_array_size(array);
	d->databases = calloc(n ? n : 1, sizeof(*d->databases));
	if (!d->databases)
		return err_nomem(e, "reading the desired state");
	d->n_databases = n;
	for (size_t i = 0; i < n; i++) {
		int rc = read_database(&d->databases[i], json_array_get(array, i), base, what, e);
		if (rc != ERR_OK)
			return rc;
	}
	return check_doubles(d, what, e);
}

static int check_version(uint64_t version, const char *what, struct err *e)
{
	return version == DESIRED_VERSION
			   ? ERR_OK
			   : err_set(e, ERR_USAGE, "%s has version %llu, this program reads version %d", what,
					 (unsigned long long)version, DESIRED_VERSION);
}

int desired_parse_global(
	struct options *out, const void *data, size_t n, const char *what, struct err *e)
{
	json_t *root = NULL, *options = NULL;
	uint64_t version = 0;
	const struct json_field fields[] = {
		{"version", JSON_FIELD_COUNT, false, &version, 0},
		{"options", JSON_FIELD_OBJECT, true, &options, 0},
	};
	*out = (struct options)OPTIONS_DEFAULT;
	int rc = json_parse_object(data, n, what, &root, e);
	if (rc == ERR_OK)
		rc = json_read_fields(root, fields, COUNT_OF(fields), what, e);
	if (rc == ERR_OK)
		rc = check_version(version, what, e);
	if (rc == ERR_OK && options)
		rc = read_options(out, options, what, e);
	json_decref(root);
	return rc;
}

int desired_parse(struct desired *out, const void *data, size_t n, const char *app,
	const struct options *base, const char *what, struct err *e)
{
	memset(out, 0, sizeof(*out));
	json_t *root = NULL, *databases = NULL, *own = NULL;
	struct options options = *base;
	uint64_t version = 0;
	const struct json_field fields[] = {
		{"version", JSON_FIELD_COUNT, false, &version, 0},
		{"app", JSON_FIELD_TEXT, false, &out->app, 63},
		{"running", JSON_FIELD_FLAG, false, &out->running, 0},
		{"boot", JSON_FIELD_TEXT, true, &out->boot, 63},
		{"options", JSON_FIELD_OBJECT, true, &own, 0},
		{"restore_on_deploy", JSON_FIELD_FLAG, true, &out->restore_on_deploy, 0},
		{"databases", JSON_FIELD_ARRAY, false, &databases, DESIRED_DATABASES_MAX},
	};
	int rc = json_parse_object(data, n, what, &root, e);
	if (rc == ERR_OK)
		rc = json_read_fields(root, fields, COUNT_OF(fields), what, e);
	if (rc == ERR_OK)
		rc = check_version(version, what, e);
	if (rc == ERR_OK && (!name_is_app(out->app) || strcmp(out->app, app) != 0))
		rc = err_set(e, ERR_USAGE, "%s speaks of the app \"%.64s\"", what, out->app);
	if (rc == ERR_OK && own)
		rc = read_options(&options, own, what, e);
	if (rc == ERR_OK)
		rc = read_databases(out, databases, &options, what, e);
	json_decref(root);
	return rc;
}

static int read_global(struct options *out, const char *dir, uid_t owner, struct err *e)
{
	static const char name[] = DESIRED_GLOBAL ".json";
	struct buf text;
	buf_init(&text, DESIRED_FILE_MAX);
	*out = (struct options)OPTIONS_DEFAULT;
	int rc = trusted_read_file(dir, name, owner, &text, e);
	if (rc == ERR_OK)
		rc = desired_parse_global(out, text.data, text.len, name, e);
	else if (rc == ERR_NOT_FOUND)
		rc = ERR_OK;
	buf_free(&text);
	return rc;
}

/* One that isn't started at boot was started in an earlier one. A host that doesn't tell its boots
 * apart is always in the same. */
static bool is_over(const struct desired *d)
{
	char now[STATE_WORD_MAX];
	return d->boot && state_boot_id(now) && strcmp(d->boot, now) != 0;
}

int desired_read(struct desired *out, const char *dir, const char *app, uid_t owner, struct err *e)
{
	struct options base;
	memset(out, 0, sizeof(*out));
	if (!name_is_app(app))
		return err_set(e, ERR_USAGE, "\"%.64s\" can't be the name of an app", app);
	char name[80];
	snprintf(name, sizeof(name), "%s.json", app);
	struct buf text;
	buf_init(&text, DESIRED_FILE_MAX);
	int rc = trusted_read_file(dir, name, owner, &text, e);
	if (rc == ERR_OK)
		rc = read_global(&base, dir, owner, e);
	if (rc == ERR_OK)
		rc = desired_parse(out, text.data, text.len, app, &base, name, e);
	if (rc == ERR_OK && is_over(out))
		out->running = false;
	buf_free(&text);
	return rc;
}

void desired_free(struct desired *d)
{
	for (size_t i = 0; i < d->n_databases; i++) {
		struct desired_database *db = &d->databases[i];
		free(db->id);
		free(db->storage_dir);
		free(db->file);
		free(db->path);
		free(db->replica);
		free(db->container_path);
	}
	free(d->databases);
	free(d->app);
	free(d->boot);
	memset(d, 0, sizeof(*d));
}

/* "my-app.json" → "my-app" in app[64]. */
static bool app_of_file(const char *name, char app[64])
{
	size_t n = strlen(name);
	if (n < 6 || n > 63 + 5 || strcmp(name + n - 5, ".json") != 0)
		return false;
	memcpy(app, name, n - 5);
	app[n - 5] = '\0';
	return name_is_app(app);
}

int desired_each(
	const char *dir, int (*fn)(void *ctx, const char *app, struct err *e), void *ctx, struct err *e)
{
	DIR *d = opendir(dir);
	if (!d)
		return errno == ENOENT ? ERR_OK : err_errno(e, ERR_IO, errno, "cannot list %s", dir);
	int rc = ERR_OK;
	struct dirent *entry;
	char app[64];
	while (rc == ERR_OK && (entry = readdir(d))) {
		if (app_of_file(entry->d_name, app))
			rc = fn(ctx, app, e);
	}
	closedir(d);
	return rc;
}
