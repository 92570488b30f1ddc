/*
 * Credentials that the machine or the container has of its own, instead of keys that somebody
 * stored:
 *
 *   - ECS, EKS and others: an HTTP address in the environment
 * (AWS_CONTAINER_CREDENTIALS_RELATIVE_URI at 169.254.170.2, or AWS_CONTAINER_CREDENTIALS_FULL_URI
 * with AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE or AWS_CONTAINER_AUTHORIZATION_TOKEN); it counts when
 * it is set.
 *   - else EC2: the instance metadata service, version 2 only (a session token by PUT, then the
 * role's name, then its credentials) at 169.254.169.254 or AWS_EC2_METADATA_SERVICE_ENDPOINT; not
 * with AWS_EC2_METADATA_DISABLED=true.
 *
 * One set for the process, whatever the number of stores. It is asked for when a request needs it,
 * so idle costs nothing: anew from five minutes before it expires (EC2 has the next one by then),
 * at most once a minute while the old one still holds, once a second when there is none. No retries
 * in here: who needs them has his own.
 *
 * Sources: "Use IMDS" and "Retrieve security credentials" in the EC2 user guide, "Container
 * credential provider" in the AWS SDKs and Tools reference guide.
 */
#ifndef NET_IAM_H
#define NET_IAM_H

#include "base/err.h"
#include "net/http.h"

#include <stdbool.h>

struct iam_keys {
	char *access_key_id, *secret_access_key;
	char *session_token; /* NULL = none */
};

/*
 * What holds now, as new strings in *out (iam_keys_free, in every case). Asks through `p`, if it
 * must: http_pool_cancel ends that within a second. Waits for another thread that is asking, unless
 * the old set still holds. The secret and the token are registered with the log.
 *
 * ERR_UNREACHABLE nobody answers, ERR_DENIED there is no role or it isn't to be told, ERR_DAMAGED
 * the answer is none, ERR_USAGE an address in the environment that can't be or must not be asked,
 * ERR_CANCELLED, ERR_NOMEM; the text says what was asked.
 */
int iam_get(struct http_pool *p, struct iam_keys *out, struct err *e);
void iam_keys_free(struct iam_keys *k); /* wipes them */

/* A server says that this set has expired, or doesn't know its token: the next iam_get asks anew,
 * unless it was asked for within the last minute. False when that is so: then it makes no sense to
 * try again. */
bool iam_expired(const char *access_key_id);

/* Does the environment name a container's address? */
bool iam_in_container(void);

/* Forgets everything: for tests. */
void iam_reset(void);

#endif
