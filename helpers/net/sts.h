/*
 * Temporary credentials from AWS's Security Token Service, or from a server that speaks as it does
 * (Ceph, MinIO): one POST, answered in XML. No retries in here.
 *
 * Source: AssumeRole and AssumeRoleWithWebIdentity in the AWS STS API reference.
 */
#ifndef NET_STS_H
#define NET_STS_H

#include "net/http.h"
#include "net/keys.h"

/* Strings are borrowed. */
struct sts_role {
	const char *arn;
	const char *session_name; /* NULL: "litestream" */
	const char *external_id;  /* NULL = none; not with a web identity */
	const char *seconds;      /* how long they shall hold, decimal; NULL: the role decides */
};

/* Where to ask: the endpoint's URL, else the region's own, else the one that serves all. */
struct sts_place {
	const char *endpoint, *region; /* each may be NULL */
};

/*
 * The role's credentials, asked for in the name of `by`, or of the token in a file, which is read
 * anew each time: who wrote it exchanges it. *out is the caller's (iam_keys_free) and empty unless
 * it is ERR_OK.
 *
 * ERR_UNREACHABLE nobody answers, or not now; ERR_DENIED it refuses (the text has its code and
 * words), the token can't be read, a word of `role` can't be one; ERR_USAGE an endpoint that is
 * none; ERR_DAMAGED the answer is none; ERR_CANCELLED, ERR_NOMEM.
 */
int sts_assume(struct http_pool *p, const struct sts_place *place, const struct sts_role *role,
	const struct iam_keys *by, struct iam_keys *out, struct err *e);
int sts_assume_by_token(struct http_pool *p, const struct sts_place *place,
	const struct sts_role *role, const char *token_file, struct iam_keys *out, struct err *e);

#endif
