#include "net/chain_plan.h"

#include "net/metadata.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void chain_plan_free(struct chain_plan *p)
{
	iam_keys_free(&p->keys);
	free(p->sts_endpoint);
	for (size_t i = 0; i < p->n_profiles; i++)
		profile_free(&p->profiles[i]);
	p->n_profiles = 0;
}

/* One place more that says nothing. */
__attribute__((format(printf, 2, 3))) static void tried(struct chain_plan *p, const char *fmt, ...)
{
	size_t n = strlen(p->tried);
	va_list ap;
	va_start(ap, fmt);
	if (n > 0)
		n += (size_t)snprintf(p->tried + n, sizeof(p->tried) - n, "; ");
	if (n < sizeof(p->tried))
		vsnprintf(p->tried + n, sizeof(p->tried) - n, fmt, ap);
	va_end(ap);
}

static void found(struct chain_plan *p, enum chain_origin origin, const char *where)
{
	p->origin = origin;
	p->named = true;
	snprintf(p->where, sizeof(p->where), "%s", where);
}

/* ---- environment ---- */

int chain_environment(struct chain_words *out, struct err *e)
{
	static const char *const names[2][3] = {
		{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"},
		{"LITESTREAM_ACCESS_KEY_ID", "LITESTREAM_SECRET_ACCESS_KEY", "LITESTREAM_SESSION_TOKEN"}};
	const char *there = NULL, *missing = NULL;
	*out = (struct chain_words){0};
	for (int i = 0; i < 2; i++) {
		const char *id = keys_from_env(names[i][0]), *secret = keys_from_env(names[i][1]);
		if (id && secret) {
			*out = (struct chain_words){id, secret, keys_from_env(names[i][2])};
			return ERR_OK;
		}
		if (!there && (id || secret)) {
			there = names[i][id ? 0 : 1];
			missing = names[i][id ? 1 : 0];
		}
	}
	return there ? err_set(e, ERR_DENIED,
					   "the credentials in the environment are half there: %s is set, %s is not",
					   there, missing)
				 : ERR_OK;
}

static bool plan_token(struct chain_plan *p)
{
	p->token_file = keys_from_env("AWS_WEB_IDENTITY_TOKEN_FILE");
	if (!p->token_file) {
		tried(p, "web identity (no AWS_WEB_IDENTITY_TOKEN_FILE)");
		return false;
	}
	p->by_token = (struct sts_role){.arn = keys_from_env("AWS_ROLE_ARN"),
		.session_name = keys_from_env("AWS_ROLE_SESSION_NAME")};
	found(p, CHAIN_TOKEN, "the web identity of AWS_WEB_IDENTITY_TOKEN_FILE");
	return true;
}

/* ---- profiles ---- */

__attribute__((format(printf, 4, 5))) static int wrong(
	struct err *e, const char *name, const char *more, const char *fmt, ...)
{
	char what[400];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return err_set(
		e, ERR_DENIED, "the profile \"%.100s\"%s%s%s", name, *what == ',' ? "" : " ", what, more);
}

static bool has_keys(const struct profile *f)
{
	return f->access_key_id && f->secret_access_key;
}

/* What no program without a person at it can do, and what contradicts itself. */
static int check_profile(const struct profile *f, const char *name, struct err *e)
{
	int sources = (f->source_profile != NULL) + (f->credential_source != NULL) +
				  (f->web_identity_token_file != NULL) + (f->credential_process != NULL);
	bool of_role = f->source_profile || f->credential_source || f->web_identity_token_file;
	if (of_role && !f->role_arn)
		return wrong(e, name, "", "says with what a role is assumed, but has no role_arn");
	if (sources > 1)
		return wrong(e, name, "",
			"has more than one of source_profile, credential_source, web_identity_token_file and "
			"credential_process");
	if (f->role_arn && f->mfa_serial)
		return wrong(e, name, "",
			"has mfa_serial: a code would have to be typed for each renewal, which a program that "
			"runs by itself can't; use a role without it");
	return ERR_OK;
}

static int take_profile_keys(struct chain_plan *p, const struct profile *f, struct err *e)
{
	found(p, CHAIN_KEYS, "the keys of a profile");
	int rc = iam_keys_set(&p->keys, f->access_key_id, f->secret_access_key, f->session_token, e);
	return rc == ERR_DAMAGED ? (int)(e->code = ERR_DENIED) : rc;
}

static int take_source(
	struct chain_plan *p, const struct profile *f, const char *name, struct err *e)
{
	struct chain_words words;
	if (strcmp(f->credential_source, "Ec2InstanceMetadata") == 0) {
		found(p, CHAIN_EC2, "credential_source = Ec2InstanceMetadata");
		return metadata_is_disabled()
				   ? wrong(e, name, "", "wants EC2's metadata, but AWS_EC2_METADATA_DISABLED")
				   : ERR_OK;
	}
	if (strcmp(f->credential_source, "EcsContainer") == 0) {
		found(p, CHAIN_CONTAINER, "credential_source = EcsContainer");
		return metadata_has_container() ? ERR_OK
										: wrong(e, name, "",
											  "has credential_source = EcsContainer, but no "
											  "AWS_CONTAINER_CREDENTIALS_…_URI is set");
	}
	if (strcmp(f->credential_source, "Environment") != 0)
		return wrong(e, name, "",
			"has another credential_source than Environment, Ec2InstanceMetadata or EcsContainer");
	found(p, CHAIN_KEYS, "credential_source = Environment");
	int rc = chain_environment(&words, e);
	if (!rc && !words.access_key_id)
		return wrong(e, name, "",
			"has credential_source = Environment, but AWS_ACCESS_KEY_ID and "
			"AWS_SECRET_ACCESS_KEY are not set");
	return rc ? rc
			  : iam_keys_set(
					&p->keys, words.access_key_id, words.secret_access_key, words.session_token, e);
}

static int no_person(const struct profile *f, const char *name, struct err *e)
{
	return wrong(e, name, "",
		"is one of %s, which a person logs in with at a browser: not for a program that runs by "
		"itself; use keys, a role, or credential_process",
		f->login_session ? "aws login" : "AWS IAM Identity Center (SSO)");
}

static struct sts_role role_of(const struct profile *f)
{
	return (struct sts_role){.arn = f->role_arn,
		.session_name = f->role_session_name,
		.external_id = f->external_id,
		.seconds = f->duration_seconds};
}

static int resolve(struct chain_plan *p, const char *name, const char *of, struct err *e);

/* The first keys of a profile that is there. CHAIN_NONE: it says nothing of credentials. */
static int resolve_own(
	struct chain_plan *p, const struct profile *f, const char *name, struct err *e)
{
	if (f->source_profile)
		return resolve(p, f->source_profile, name, e);
	if (has_keys(f))
		return take_profile_keys(p, f, e);
	if (f->credential_source)
		return take_source(p, f, name, e);
	if (f->web_identity_token_file) {
		p->by_token = role_of(f);
		p->token_file = f->web_identity_token_file;
		found(p, CHAIN_TOKEN, "the web identity of a profile");
		return ERR_OK;
	}
	if (f->sso_session || f->sso_start_url || f->login_session)
		return no_person(f, name, e);
	if (f->credential_process) {
		p->command = f->credential_process;
		found(p, CHAIN_PROCESS, "the credential_process of a profile");
		return ERR_OK;
	}
	return f->role_arn ? wrong(e, name, "",
							 "has role_arn, but neither source_profile nor "
							 "credential_source to assume it with")
					   : ERR_OK;
}

static bool was_seen(const struct chain_plan *p, const char *name)
{
	for (size_t i = 0; i < p->n_profiles; i++)
		if (strcmp(p->names[i], name) == 0)
			return true;
	return false;
}

/* `of`: the profile that names it as its source; NULL: it is the first one. A source's own keys
 * count, whatever else it says. */
static int resolve(struct chain_plan *p, const char *name, const char *of, struct err *e)
{
	char files[PROFILE_FILES_MAX];
	bool again = was_seen(p, name);
	if (p->n_profiles == CHAIN_PROFILES_MAX)
		return wrong(e, name, "", "comes after %d others that name each other as source_profile",
			CHAIN_PROFILES_MAX);
	struct profile *f = &p->profiles[p->n_profiles];
	p->names[p->n_profiles++] = name;
	int rc = profile_load(name, f, e);
	profile_files(files);
	if (!rc && !f->there && of)
		return wrong(e, name, files, ", source_profile of \"%.100s\", is in none of ", of);
	if (rc || !f->there)
		return rc;
	if (of && has_keys(f))
		return take_profile_keys(p, f, e);
	if (again)
		return wrong(e, name, "", "is its own source_profile by way of others, and has no keys");
	rc = check_profile(f, name, e);
	if (!rc)
		rc = resolve_own(p, f, name, e);
	if (!rc && of && p->origin == CHAIN_NONE)
		return wrong(e, name, "", ", source_profile of \"%.100s\", has no credentials", of);
	if (!rc && f->role_arn && !f->web_identity_token_file && p->origin != CHAIN_NONE)
		p->roles[p->n_roles++] = role_of(f);
	return rc;
}

static int plan_profile(struct chain_plan *p, struct err *e)
{
	bool said;
	char files[PROFILE_FILES_MAX];
	const char *name = profile_chosen(&said);
	int rc = resolve(p, name, NULL, e);
	if (rc)
		return rc;
	const struct profile *f = &p->profiles[0];
	profile_files(files);
	if (!f->there && said)
		return wrong(e, name, files, "of AWS_PROFILE is in none of ");
	if (!p->sts.region)
		p->sts.region = f->region;
	if (!p->sts.endpoint)
		rc = profile_endpoint(f, "sts", &p->sts_endpoint, e);
	if (p->sts_endpoint)
		p->sts.endpoint = p->sts_endpoint;
	if (p->origin == CHAIN_NONE)
		tried(p, "profile \"%.60s\" (%s %s)", name, f->there ? "without credentials in" : "not in",
			files);
	return rc;
}

/* ---- the whole ---- */

static void find_sts(struct chain_plan *p)
{
	p->sts.region = keys_from_env("AWS_REGION");
	if (!p->sts.region)
		p->sts.region = keys_from_env("AWS_DEFAULT_REGION");
	if (profile_ignores_endpoints())
		return;
	p->sts.endpoint = keys_from_env("AWS_ENDPOINT_URL_STS");
	if (!p->sts.endpoint)
		p->sts.endpoint = keys_from_env("AWS_ENDPOINT_URL");
}

static void plan_machine(struct chain_plan *p)
{
	if (metadata_has_container()) {
		found(p, CHAIN_CONTAINER, "a container's credentials");
		return;
	}
	tried(p, "container (no AWS_CONTAINER_CREDENTIALS_…_URI)");
	if (metadata_is_disabled()) {
		tried(p, "EC2's metadata (AWS_EC2_METADATA_DISABLED)");
		return;
	}
	found(p, CHAIN_EC2, "EC2's instance metadata");
	p->named = keys_from_env("AWS_EC2_METADATA_SERVICE_ENDPOINT") != NULL;
}

int chain_plan_make(struct chain_plan *p, struct err *e)
{
	*p = (struct chain_plan){0};
	find_sts(p);
	tried(p, "keys (no AWS_ACCESS_KEY_ID, no LITESTREAM_ACCESS_KEY_ID)");
	bool token = plan_token(p);
	int rc = token && !p->by_token.arn
				 ? err_set(e, ERR_DENIED,
					   "AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN, the role that the "
					   "token is for, is not")
				 : ERR_OK;
	if (!rc && !token)
		rc = plan_profile(p, e);
	if (!rc && p->origin == CHAIN_NONE)
		plan_machine(p);
	return rc;
}

int chain_wants_environment(bool *wants, struct err *e)
{
	struct profile f = {0};
	bool said;
	const char *name = profile_chosen(&said);
	int rc = said ? profile_load(name, &f, e) : ERR_OK;
	*wants = f.role_arn && f.credential_source && strcmp(f.credential_source, "Environment") == 0;
	profile_free(&f);
	return rc;
}
