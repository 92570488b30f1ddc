#include "net/profile.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/log.h"
#include "net/ini.h"
#include "net/keys.h"

#include <limits.h>
#include <pwd.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const struct {
	const char *key;
	size_t at;
} known[] = {
	{"aws_access_key_id", offsetof(struct profile, access_key_id)},
	{"aws_secret_access_key", offsetof(struct profile, secret_access_key)},
	{"aws_session_token", offsetof(struct profile, session_token)},
	{"role_arn", offsetof(struct profile, role_arn)},
	{"source_profile", offsetof(struct profile, source_profile)},
	{"credential_source", offsetof(struct profile, credential_source)},
	{"external_id", offsetof(struct profile, external_id)},
	{"role_session_name", offsetof(struct profile, role_session_name)},
	{"duration_seconds", offsetof(struct profile, duration_seconds)},
	{"mfa_serial", offsetof(struct profile, mfa_serial)},
	{"web_identity_token_file", offsetof(struct profile, web_identity_token_file)},
	{"credential_process", offsetof(struct profile, credential_process)},
	{"sso_session", offsetof(struct profile, sso_session)},
	{"sso_start_url", offsetof(struct profile, sso_start_url)},
	{"login_session", offsetof(struct profile, login_session)},
	{"region", offsetof(struct profile, region)},
	{"endpoint_url", offsetof(struct profile, endpoint_url)},
	{"services", offsetof(struct profile, services)},
	{"ignore_configured_endpoint_urls", offsetof(struct profile, ignore_endpoints)},
};
#define KNOWN (sizeof(known) / sizeof(known[0]))
#define USUAL ((size_t)64 * 1024) /* bytes that such a file has at most, but for odd ones */
#define KEYS 3                    /* of them are the keys, which count together */

static char **field(struct profile *p, size_t i)
{
	return (char **)((char *)p + known[i].at);
}

void profile_free(struct profile *p)
{
	for (size_t i = 0; i < KNOWN; i++)
		keys_wipe(field(p, i));
	p->there = false;
}

const char *profile_chosen(bool *said)
{
	const char *name = keys_from_env("AWS_PROFILE");
	if (!name)
		name = keys_from_env("AWS_DEFAULT_PROFILE");
	*said = name != NULL;
	return name ? name : "default";
}

bool profile_ignores_endpoints(void)
{
	const char *said = keys_from_env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
	return said && strcasecmp(said, "true") == 0;
}

/* ---- where the files are ---- */

/* HOME, else what the system says of the user. */
static const char *home(char out[PATH_MAX])
{
	const char *said = keys_from_env("HOME");
	char space[4096];
	struct passwd pw, *found = NULL;
	if (!said && getpwuid_r(geteuid(), &pw, space, sizeof(space), &found) == 0 && found)
		said = pw.pw_dir;
	if (!said || snprintf(out, PATH_MAX, "%s", said) >= PATH_MAX)
		return NULL;
	return out;
}

/* "" = there is no place for it. */
static void file_name(const char *variable, const char *name, char out[PATH_MAX])
{
	char folder[PATH_MAX];
	const char *said = keys_from_env(variable), *dir = said ? "" : home(folder);
	int n = said  ? snprintf(out, PATH_MAX, "%s", said)
			: dir ? snprintf(out, PATH_MAX, "%s/.aws/%s", dir, name)
				  : 0;
	if (n <= 0 || n >= PATH_MAX)
		*out = '\0';
}

static void config_name(char out[PATH_MAX])
{
	file_name("AWS_CONFIG_FILE", "config", out);
}

static void credentials_name(char out[PATH_MAX])
{
	file_name("AWS_SHARED_CREDENTIALS_FILE", "credentials", out);
}

void profile_files(char out[PROFILE_FILES_MAX])
{
	char config[PATH_MAX], credentials[PATH_MAX];
	config_name(config);
	credentials_name(credentials);
	snprintf(out, PROFILE_FILES_MAX, "%.290s and %.290s", *config ? config : "~/.aws/config",
		*credentials ? credentials : "~/.aws/credentials");
}

static atomic_bool told; /* of a file that can't be read: once is enough */

/* Feeds a file's lines to fn; the SDKs take one that can't be read for one that isn't there. */
static int read_file(const char *file, ini_fn fn, void *ctx, struct err *e)
{
	struct buf text;
	struct err why = ERR_INIT;
	if (!*file)
		return ERR_OK;
	buf_init(&text, INI_TEXT_MAX + 1);
	/* Growing would leave pieces behind that nobody wipes. */
	int rc = buf_reserve(&text, USUAL);
	if (rc == ERR_OK)
		rc = fs_read_file(file, &text, &why);
	if (rc == ERR_OK || rc == ERR_FULL)
		rc = ini_parse(file, text.data, rc == ERR_OK ? text.len : INI_TEXT_MAX + 1, fn, ctx, e);
	else if (rc == ERR_NOMEM)
		err_nomem(e, "reading a profile");
	else {
		if (rc != ERR_NOT_FOUND && !atomic_exchange(&told, true))
			log_warn("%s: no profile is read from it", why.text);
		rc = ERR_OK;
	}
	buf_wipe(&text);
	return rc;
}

/* ---- a section ---- */

struct reading {
	struct profile *out;
	const char *section;
};

static int take(void *ctx, const char *section, const char *key, const char *sub, const char *value,
	struct err *e)
{
	const struct reading *r = ctx;
	if (strcmp(section, r->section) != 0 || *sub)
		return ERR_OK;
	r->out->there = true;
	for (size_t i = 0; key && i < KNOWN; i++) {
		char **at = field(r->out, i);
		if (strcmp(key, known[i].key) != 0)
			continue;
		keys_wipe(at);
		if (*value && !(*at = strdup(value)))
			return err_nomem(e, "reading a profile");
	}
	return ERR_OK;
}

/* Adds what the file's section says to an empty profile. */
static int read_section(const char *file, const char *section, struct profile *out, struct err *e)
{
	struct reading r = {out, section};
	int rc = read_file(file, take, &r, e);
	if (rc == ERR_OK && !out->access_key_id != !out->secret_access_key)
		return err_set(e, ERR_DENIED, "%s: the credentials in [%s] are half there: %s is missing",
			file, section, known[out->access_key_id ? 1 : 0].key);
	return rc;
}

static int read_config(const char *name, struct profile *out, struct err *e)
{
	char file[PATH_MAX], section[300];
	config_name(file);
	snprintf(section, sizeof(section), "profile %.280s", name);
	int rc = read_section(file, section, out, e);
	if (rc == ERR_OK && !out->there && strcmp(name, "default") == 0)
		rc = read_section(file, name, out, e);
	return rc;
}

int profile_load(const char *name, struct profile *out, struct err *e)
{
	char file[PATH_MAX];
	struct profile over = {0};
	*out = (struct profile){0};
	credentials_name(file);
	int rc = read_config(name, out, e);
	if (rc == ERR_OK)
		rc = read_section(file, name, &over, e);
	bool pair = over.access_key_id != NULL;
	for (size_t i = 0; rc == ERR_OK && i < KNOWN; i++) {
		char **from = field(&over, i), **to = field(out, i);
		if (!*from && !(i < KEYS && pair))
			continue;
		keys_wipe(to);
		*to = *from;
		*from = NULL;
	}
	out->there |= over.there;
	profile_free(&over);
	return rc;
}

/* ---- endpoints ---- */

struct finding {
	char section[300];
	const char *service;
	char *out;
};

static int find(void *ctx, const char *section, const char *key, const char *sub, const char *value,
	struct err *e)
{
	struct finding *f = ctx;
	if (!key || strcmp(section, f->section) != 0 || strcmp(key, f->service) != 0 ||
		strcmp(sub, "endpoint_url") != 0)
		return ERR_OK;
	keys_wipe(&f->out);
	f->out = strdup(value);
	return f->out ? ERR_OK : err_nomem(e, "reading a profile");
}

int profile_endpoint(const struct profile *p, const char *service, char **out, struct err *e)
{
	char file[PATH_MAX];
	struct finding f = {.service = service};
	bool ignored = profile_ignores_endpoints() ||
				   (p->ignore_endpoints && strcasecmp(p->ignore_endpoints, "true") == 0);
	int rc = ERR_OK;
	config_name(file);
	*out = NULL;
	if (ignored)
		return ERR_OK;
	if (p->services) {
		snprintf(f.section, sizeof(f.section), "services %.280s", p->services);
		rc = read_file(file, find, &f, e);
	}
	if (rc == ERR_OK && !f.out && p->endpoint_url && !(f.out = strdup(p->endpoint_url)))
		rc = err_nomem(e, "reading a profile");
	*out = f.out;
	return rc;
}
