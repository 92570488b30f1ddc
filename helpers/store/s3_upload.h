/*
 * An upload in parts, while it runs. Inner part of s3_multipart.c (which sends it) and s3_resume.c
 * (which takes one up that an earlier put left).
 */
#ifndef STORE_S3_UPLOAD_H
#define STORE_S3_UPLOAD_H

#include "store/s3.h"

#define S3_UPLOAD_ID_SIZE 1024

struct s3_upload;

struct s3_part {
	struct s3_upload *u;
	int number; /* from 1 */
	bool up;    /* the store has it, and called it `etag` */
	struct store_body body;
	char etag[128];
};

struct s3_upload {
	struct store *s;
	const char *name;
	const struct store_body *body;
	const struct store_put_opts *opts;
	char id[S3_UPLOAD_ID_SIZE]; /* "" = not begun */
	int64_t begun_ms;           /* by the server's clock, 0 = it did not say */
	uint64_t part_size;
	struct s3_part *parts;
	size_t n;
	bool forgotten; /* the server doesn't know it (any more) */
	pthread_mutex_t lock;
	int rc; /* the first failure; then the parts that wait are not sent */
	struct err e;
	/* What the caller keeps (store_resume). */
	bool kept;            /* he has a token of this upload… */
	uint64_t since_bytes; /* …so many bytes ago */
	int64_t kept_us;      /* …from this moment */
};

/* Cuts the body into parts of this size, or of a larger one where they would be too many; none is
 * up. ERR_NOMEM. */
int s3_upload_cut(struct s3_upload *u, uint64_t part_size, struct err *e);

/* Takes the caller's token: id, part size, and what the parts that were up are called. One that is
 * not of this body is as good as none. ERR_NOMEM. */
int s3_upload_take(struct s3_upload *u, struct err *e);

/* Asks which of these are there (ListParts): `up` is true for those of the right size and ETag.
 * ERR_NOT_FOUND: the server has forgotten the upload. The store's errors otherwise. */
int s3_upload_verify(struct s3_upload *u, struct err *e);

/* Gives the caller a new token, if he wants one; `now`, or when enough was sent since the last one.
 * With the lock held, or no thread running. */
void s3_upload_keep(struct s3_upload *u, bool now);

/* Tells the server to forget an upload. ERR_OK too when it has. `last_words`: see struct s3_call.
 */
int s3_upload_abort(
	struct store *s, const char *name, const char *id, bool last_words, struct err *e);

#endif
