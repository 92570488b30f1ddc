/* What was found in environment and files, without having asked anybody. For chain.c only. */
#ifndef NET_CHAIN_PLAN_H
#define NET_CHAIN_PLAN_H

#include "net/chain.h"
#include "net/profile.h"
#include "net/sts.h"

#define CHAIN_PROFILES_MAX 6 /* that name each other */

enum chain_origin {
	CHAIN_NONE,
	CHAIN_KEYS,
	CHAIN_TOKEN,
	CHAIN_PROCESS,
	CHAIN_CONTAINER,
	CHAIN_EC2
};

struct chain_plan {
	enum chain_origin origin; /* of the first keys */
	bool named;               /* somebody said that it is there */
	struct iam_keys keys;     /* CHAIN_KEYS */
	struct sts_role by_token; /* CHAIN_TOKEN: the role, and in whose name; borrowed, as all below */
	const char *token_file;
	const char *command;                       /* CHAIN_PROCESS */
	struct sts_role roles[CHAIN_PROFILES_MAX]; /* to be assumed after that, in this order */
	size_t n_roles;
	struct sts_place sts;
	char *sts_endpoint;                          /* of the profile, ours */
	char where[200];                             /* what says it, for messages */
	char tried[700];                             /* what was looked at before, for messages */
	struct profile profiles[CHAIN_PROFILES_MAX]; /* what is borrowed from */
	const char *names[CHAIN_PROFILES_MAX];
	size_t n_profiles;
};

/* Fills it; the caller's in every case. ERR_DENIED, ERR_NOMEM. */
int chain_plan_make(struct chain_plan *p, struct err *e);
void chain_plan_free(struct chain_plan *p);

#endif
