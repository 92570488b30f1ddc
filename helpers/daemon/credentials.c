#include "daemon/credentials.h"

#include "base/log.h"

#include <string.h>

void credentials_to_store(const struct message_credentials *c, struct store_options *o)
{
	memset(o, 0, sizeof(*o));
	o->access_key_id = c->access_key_id;
	o->secret_access_key = c->secret_access_key;
	o->session_token = c->session_token;
	o->region = c->region;
	o->endpoint = c->endpoint;
	o->use_iam = c->use_iam ? STORE_ON : STORE_OFF;
}

void credentials_hide(const struct message_credentials *c)
{
	log_add_secret(c->secret_access_key);
	log_add_secret(c->session_token);
}
