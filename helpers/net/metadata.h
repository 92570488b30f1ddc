/*
 * Credentials that the machine or the container has of its own:
 *
 *   - ECS, EKS and others: an HTTP address in the environment
 * (AWS_CONTAINER_CREDENTIALS_RELATIVE_URI at 169.254.170.2, or AWS_CONTAINER_CREDENTIALS_FULL_URI
 * with AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE or AWS_CONTAINER_AUTHORIZATION_TOKEN).
 *   - EC2: the instance metadata service, version 2 only (a session token by PUT, then the role's
 * name, then its credentials) at 169.254.169.254 or AWS_EC2_METADATA_SERVICE_ENDPOINT; not with
 * AWS_EC2_METADATA_DISABLED=true.
 *
 * Each asks once, with 2 s for each request; *keys is the caller's (iam_keys_free) and empty unless
 * it is ERR_OK. ERR_UNREACHABLE nobody answers, ERR_DENIED there is no role or it isn't to be told,
 * ERR_DAMAGED the answer is none, ERR_USAGE an address in the environment that can't be or must not
 * be asked, ERR_CANCELLED, ERR_NOMEM.
 *
 * Sources: "Use IMDS" and "Retrieve security credentials" in the EC2 user guide, "Container
 * credential provider" in the AWS SDKs and Tools reference guide.
 */
#ifndef NET_METADATA_H
#define NET_METADATA_H

#include "net/http.h"
#include "net/keys.h"

/* Does the environment name a container's address? */
bool metadata_has_container(void);

/* Does it forbid to ask EC2's service? */
bool metadata_is_disabled(void);

int metadata_ask_container(struct http_pool *p, struct iam_keys *keys, struct err *e);
int metadata_ask_ec2(struct http_pool *p, struct iam_keys *keys, struct err *e);

#endif
