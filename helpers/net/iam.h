/*
 * Credentials that change: those of the machine's or the container's role (net/metadata.h), or
 * whatever the chain of AWS's SDKs finds (net/chain.h). One set of each kind for the process,
 * whatever the number of stores.
 *
 * It is asked for when a request needs it, so idle costs nothing: anew from five to six minutes
 * before it expires (chance, so that a thousand hosts don't ask at once; EC2 has the next one by
 * then), or from the last third of its life where that is short. While that fails the old set is
 * used as long as it holds, with another attempt a minute later, sooner where less is left. Without
 * a set: once a second; every ten seconds where nobody has said that there are credentials
 * anywhere. No retries in here: who needs them has his own.
 */
#ifndef NET_IAM_H
#define NET_IAM_H

#include "net/http.h"
#include "net/keys.h"

enum iam_source {
	IAM_ROLE,  /* a container's address in the environment, else EC2 */
	IAM_CHAIN, /* net/chain.h */
	IAM_SOURCES
};

/*
 * What holds now, as new strings in *out (iam_keys_free, in every case). Asks through `p`, if it
 * must: http_pool_cancel ends that within a second; but whoever is asked by https must have a
 * certificate that can be verified, whatever `p` accepts. Waits for another thread that is asking,
 * unless the old set still holds. The secret and the token are registered with the log.
 *
 * ERR_UNREACHABLE nobody answers, ERR_DENIED there is no role, no credentials, or they aren't to be
 * told, ERR_DAMAGED the answer is none, ERR_USAGE an address in the environment that can't be or
 * must not be asked, ERR_CANCELLED, ERR_NOMEM; the text says what was asked.
 */
int iam_get(struct http_pool *p, enum iam_source source, struct iam_keys *out, struct err *e);

/* A server says that this set has expired, or doesn't know its token: the next iam_get asks anew,
 * unless the set is fresh: of the last minute, or of the first third of a life that is short. False
 * when that is so: then it makes no sense to try again. */
bool iam_expired(enum iam_source source, const char *access_key_id);

/* Forgets everything: for tests. */
void iam_reset(void);

#endif
