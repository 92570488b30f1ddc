#include "daemon/credentials.h"

#include "base/log.h"

#include <string.h>

struct message_credentials credentials_to_message(const struct secrets *s)
{
	return (struct message_credentials){
		.access_key_id = s->access_key_id,
		.secret_access_key = s->secret_access_key,
		.session_token = s->session_token,
		.region = s->region,
		.endpoint = s->endpoint,
		.sse_customer_key = s->sse_customer_key,
		.use_iam = s->use_iam,
	};
}

void credentials_to_store(const struct message_credentials *c, struct store_options *o)
{
	memset(o, 0, sizeof(*o));
	o->access_key_id = c->access_key_id;
	o->secret_access_key = c->secret_access_key;
	o->session_token = c->session_token;
	o->region = c->region;
	o->endpoint = c->endpoint;
	o->sse_customer_key = c->sse_customer_key;
	o->use_iam = c->use_iam ? STORE_ON : STORE_OFF;
}

void credentials_hide(const struct message_credentials *c)
{
	log_add_secret(c->secret_access_key);
	log_add_secret(c->session_token);
	log_add_secret(c->sse_customer_key);
}
