/* What the parts of message share: message.c (all, and those of workers), message_job.c. */
#ifndef PROTO_MESSAGE_INTERNAL_H
#define PROTO_MESSAGE_INTERNAL_H

#include "proto/members.h"
#include "proto/message.h"

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
#define TEXT_MAX 1100
#define REASON_MAX 1100
#define SECRET_MAX 4096

#define TEXT(s, key, member, max)                             \
	{                                                         \
		key, JSON_FIELD_TEXT, false, offsetof(s, member), max \
	}
#define MAYBE(s, key, member, max)                           \
	{                                                        \
		key, JSON_FIELD_TEXT, true, offsetof(s, member), max \
	}
#define COUNT(s, key, member, max)                             \
	{                                                          \
		key, JSON_FIELD_COUNT, false, offsetof(s, member), max \
	}
#define NUMBER(s, key, member)                                \
	{                                                         \
		key, JSON_FIELD_NUMBER, false, offsetof(s, member), 0 \
	}
#define FLAG(s, key, member)                                \
	{                                                       \
		key, JSON_FIELD_FLAG, false, offsetof(s, member), 0 \
	}

/* Puts the type in; `object` may be NULL, and is gone on failure. */
json_t *message_typed(json_t *object, enum message_type type);

/* Decodes a message whose members are all in one table, checking its type too. */
int message_decode_flat(enum message_type type, const struct member *members, size_t n, void *to,
	const json_t *message, struct err *e);

/* Puts credentials in; `object` as in message_typed. */
json_t *message_with_credentials(json_t *object, const struct message_credentials *c);
int message_read_credentials(struct message_credentials *c, const json_t *object, struct err *e);
void message_free_credentials(struct message_credentials *c); /* wiped */

#endif
