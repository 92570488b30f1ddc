/*
 * A profile of the files that the AWS SDKs share: ~/.aws/config (or AWS_CONFIG_FILE), where its
 * section is [profile NAME], and ~/.aws/credentials (or AWS_SHARED_CREDENTIALS_FILE), where it is
 * [NAME] and what stands counts more. The default profile may be [default] in both. A file that
 * isn't there, or may not be read, has no profiles.
 */
#ifndef NET_PROFILE_H
#define NET_PROFILE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* Strings are the profile's; NULL = not said. */
struct profile {
	bool there;
	char *access_key_id, *secret_access_key, *session_token; /* a pair of one file, or none */
	char *role_arn, *source_profile, *credential_source, *external_id, *role_session_name,
		*duration_seconds, *mfa_serial;
	char *web_identity_token_file, *credential_process;
	char *sso_session, *sso_start_url, *login_session;
	char *region, *endpoint_url, *services, *ignore_endpoints;
};

#define PROFILE_FILES_MAX 600

/* AWS_PROFILE, else AWS_DEFAULT_PROFILE, else "default"; *said: the environment names it. */
const char *profile_chosen(bool *said);

/* Reads it; *out is the caller's in every case (profile_free). ERR_DENIED a file that is none, or
 * half a pair of keys; ERR_NOMEM. That it isn't there is no error. */
int profile_load(const char *name, struct profile *out, struct err *e);
void profile_free(struct profile *p); /* wipes its secrets */

/*
 * Where the profile says that a service ("s3", "sts") is: the endpoint_url of its services section,
 * else its own. A new string, NULL where it doesn't say or
 * AWS_IGNORE_CONFIGURED_ENDPOINT_URLS is true. Errors as profile_load's.
 */
int profile_endpoint(const struct profile *p, const char *service, char **out, struct err *e);

/* "FILE and FILE", for messages. */
void profile_files(char out[PROFILE_FILES_MAX]);

/* Is AWS_IGNORE_CONFIGURED_ENDPOINT_URLS true? */
bool profile_ignores_endpoints(void);

#endif
