#include "net/chain.h"

#include "base/log.h"
#include "net/chain_plan.h"
#include "net/metadata.h"
#include "net/process.h"

#include <string.h>

#define ADVICE \
	"set LITESTREAM_ACCESS_KEY_ID and LITESTREAM_SECRET_ACCESS_KEY (with Dokku: litestream:auth)"

static int ask_origin(
	struct http_pool *pool, const struct chain_plan *p, struct iam_keys *out, struct err *e)
{
	switch (p->origin) {
	case CHAIN_KEYS:
		return iam_keys_copy(out, &p->keys, e);
	case CHAIN_TOKEN:
		return sts_assume_by_token(pool, &p->sts, &p->by_token, p->token_file, out, e);
	case CHAIN_PROCESS:
		return process_ask(pool, p->command, out, e);
	case CHAIN_CONTAINER:
		return metadata_ask_container(pool, out, e);
	case CHAIN_EC2:
		return metadata_ask_ec2(pool, out, e);
	case CHAIN_NONE:
		break;
	}
	return err_set(e, ERR_DENIED, "tried, in this order: %s; " ADVICE, p->tried);
}

/* Each role with the keys of the one before. */
static int assume_roles(
	struct http_pool *pool, const struct chain_plan *p, struct iam_keys *keys, struct err *e)
{
	int rc = ERR_OK;
	for (size_t i = 0; !rc && i < p->n_roles; i++) {
		struct iam_keys next;
		rc = sts_assume(pool, &p->sts, &p->roles[i], keys, &next, e);
		iam_keys_free(keys);
		*keys = next;
	}
	return rc;
}

static int explain(const struct chain_plan *p, int rc, struct err *e)
{
	char why[300];
	if (rc == ERR_CANCELLED || rc == ERR_NOMEM || !e || p->origin == CHAIN_NONE)
		return rc;
	if (p->named) {
		const char *name = p->n_profiles ? p->names[0] : NULL;
		return name ? err_wrap(e, "%s (\"%.60s\")", p->where, name) : err_wrap(e, "%s", p->where);
	}
	strncpy(why, e->text, sizeof(why) - 1);
	why[sizeof(why) - 1] = '\0';
	return err_set(e, rc == ERR_UNREACHABLE ? ERR_NOT_FOUND : (enum err_code)rc,
		"tried, in this order: %.480s; EC2's metadata (%.160s); " ADVICE, p->tried, why);
}

int chain_ask(struct http_pool *pool, struct iam_keys *out, struct err *e)
{
	struct chain_plan p;
	*out = (struct iam_keys){0};
	int rc = chain_plan_make(&p, e);
	if (!rc) {
		rc = ask_origin(pool, &p, out, e);
		if (!rc)
			rc = assume_roles(pool, &p, out, e);
		if (rc) {
			iam_keys_free(out);
			rc = explain(&p, rc, e);
		} else {
			log_debug("credentials: %s%s", p.where, p.n_roles ? ", and a role" : "");
		}
	}
	chain_plan_free(&p);
	return rc;
}

int chain_check(struct err *e)
{
	struct chain_plan p;
	int rc = chain_plan_make(&p, e);
	if (!rc && p.origin == CHAIN_NONE)
		rc = ask_origin(NULL, &p, NULL, e);
	chain_plan_free(&p);
	return rc;
}
