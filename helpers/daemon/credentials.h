/* Credentials on their way from a message to a store. */
#ifndef DAEMON_CREDENTIALS_H
#define DAEMON_CREDENTIALS_H

#include "conf/desired.h"
#include "proto/message.h"
#include "store/store.h"

/* What a child is told of them; texts are borrowed. */
struct message_credentials credentials_to_message(const struct secrets *s);

/* Fills *o (all else as the store's defaults) with borrowed texts. */
void credentials_to_store(const struct message_credentials *c, struct store_options *o);

/* Registers the secret parts with the log, which then never shows them. */
void credentials_hide(const struct message_credentials *c);

#endif
