/*
 * A store reads and writes named bytes somewhere: a folder, an S3 bucket. It knows nothing of
 * transactions. A name is relative to the replica's URL: parts of [A-Za-z0-9._-] joined by '/'.
 *
 * Every call may be made from several threads at once on the same store, blocks, gives up within
 * bounded time, and returns ERR_OK or
 *   ERR_UNREACHABLE  network, time-out, the server's own failure after all retries, clock skew
 *   ERR_DENIED       credentials or permissions
 *   ERR_NOT_FOUND    no such object (get, head)
 *   ERR_CONDITION    put with only_if_absent, and the object is there
 *   ERR_UNSUPPORTED  the store can't do that (only_if_absent where the server answers 501)
 *   ERR_CANCELLED    store_cancel was called
 *   ERR_DAMAGED      the answer was not what the protocol demands (HTML, broken XML, wrong size)
 *   ERR_FAIL         anything else: a bucket that is missing (store_head can't tell: there it is
 *                    ERR_NOT_FOUND) or in another region
 *   ERR_NOMEM, ERR_IO
 * with a sentence in *e that names the object (as a URL without secrets) and the answer. With
 * ERR_OK *e is as it was, however many attempts it took.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

/* Which layout of the level folders this store has in Litestream. */
enum store_layout {
	STORE_LAYOUT_LTX, /* "ltx/<level in decimal>/<name>": file, sftp, webdav, … */
	STORE_LAYOUT_HEX, /* "%04x/<name>": s3 */
};

struct store_caps {
	enum store_layout layout;
	bool conditional_put; /* only_if_absent is atomic as far as known without a probe */
	bool deletes_batch;
	const char *scheme; /* "file", "s3", "mem" */
};

/* What a body is put from: exactly one of the two. */
struct store_body {
	const void *data; /* `size` bytes in memory, the caller's until the call returns */
	int fd;           /* else: a regular file, read with pread from `offset`; -1 when data is set */
	uint64_t offset;
	uint64_t size;
};

/*
 * For a put that may take many requests, of a file that stays where it is: what was sent before a
 * failure, or a crash, is not sent again. The store says by a token how far it is, text whose
 * meaning is its own; the caller keeps the last one, and gives it back with the same name and the
 * same bytes. Stores that put in one request look at none of this.
 */
struct store_resume {
	const char *token; /* the last one, NULL = there is none */
	/* A newer one, at most 2 MiB; NULL = nothing is left to go on with. Called from any thread, one
	 * call at a time, the last one before the put returns. Not ERR_OK (it is not kept): the put
	 * goes on, and when it fails what it sent is given up. */
	int (*keep)(void *ctx, const char *token, struct err *e);
	void *ctx;
};

struct store_put_opts {
	bool only_if_absent;  /* atomic; ERR_CONDITION when it exists, whoever wrote it */
	int64_t timestamp_ms; /* > 0: kept with the object as Litestream does (metadata or mtime) */
	bool single;          /* one request up to 5 GiB, never multipart */
	const struct store_resume *resume; /* NULL: what a put that failed had sent is given up */
};

/* Takes a part of a body in order. Not ERR_OK ends the get with that code. */
typedef int (*store_sink)(void *ctx, const void *p, size_t n, struct err *e);

struct store_object {
	const char *name; /* relative to the URL, or to the listed prefix in a listing; borrowed */
	uint64_t size;
	int64_t modified_ms; /* server's time */
	int64_t
		timestamp_ms; /* of the metadata, 0 = none; only from store_head. A file's is its mtime */
};

/* Takes one listed object; not ERR_OK ends the listing with that code. */
typedef int (*store_list_fn)(void *ctx, const struct store_object *o, struct err *e);

/* The answer for each name of a batch delete. */
struct store_delete_result {
	int code; /* ERR_OK also when it was not there */
	char text[160];
};

/* A setting that may be left to the provider's rule, so that an all-zero struct says nothing. */
enum store_choice { STORE_BY_RULE = 0, STORE_ON = 1, STORE_OFF = -1 };

/* Where credentials and settings come from when the URL does not say. All may be NULL / 0. */
struct store_options {
	const char *access_key_id, *secret_access_key, *session_token;
	const char *region, *endpoint;
	const char *sse_customer_key; /* base64 of 32 bytes, where the URL names none */
	/* The credentials of the machine's IAM role (net/iam.h) instead of keys. By rule: where there
	 * are no keys, here or in the environment, those that AWS's SDKs would find (net/chain.h), in
	 * files of whoever runs us too; with LITESTREAM_USE_IAM=true the role's. */
	enum store_choice use_iam;
	/* What a profile of those files says, where nothing else does; store_open fills it in. */
	const char *profile_region, *profile_endpoint;
	const char *ca_file; /* PEM, instead of the system's */
	enum store_choice force_path_style, sign_payload, require_content_md5;
	bool skip_verify;
	int64_t connect_timeout_ms, stall_timeout_ms, request_timeout_ms; /* 0 = 10 s, 30 s, 60 min */
	int max_attempts;                                                 /* 0 = 8 */
	int64_t first_answer_ms; /* > 0: a server that has never answered is given up after that */
	uint64_t part_size;      /* 0 = 5 MiB */
	unsigned concurrency;    /* parts at a time, 1 to 64; 0 = by rule */
	const char *storage_class, *server_side_encryption, *sse_kms_key_id;
	/* The URL is where replicas are, not a replica: without a path it is the root of an S3 bucket.
	 * (The names of a replica without a path begin with '/', as Litestream has them.) For reading.
	 */
	bool of_replicas;
};

/*
 * Opens the store that a replica URL names: "/path", "file:///path", "s3://…" (all forms of
 * docs/URLS.md), "mem://name" and "fault://…" where a test registered them. No request is made.
 * ERR_USAGE with what is wrong: unknown scheme or query key, no bucket, no path, no account.
 * Credentials that the options don't have are those of the environment (AWS_ACCESS_KEY_ID,
 * LITESTREAM_ACCESS_KEY_ID, …), or see use_iam. `opts` may be NULL; its strings are copied.
 */
int store_open(
	struct store **out, const char *url, const struct store_options *opts, struct err *e);

void store_close(struct store *s); /* NULL is fine; no call may be under way */

const struct store_caps *store_capabilities(const struct store *s);

/* The URL without secrets, for messages. Borrowed. */
const char *store_url(const struct store *s);

int store_put(struct store *s, const char *name, const struct store_body *body,
	const struct store_put_opts *opts, struct err *e);

/* Bytes [offset, offset + length) in order to sink; length 0 = to the end. Each byte is given at
 * most once, whatever was retried. A range that isn't wholly there is ERR_DAMAGED (also an offset >
 * 0 that is the size). */
int store_get(struct store *s, const char *name, uint64_t offset, uint64_t length, store_sink sink,
	void *ctx, struct err *e);

/* The whole of a small object appended to `out`, within its bound: ERR_FULL when it is larger. */
struct buf;
int store_get_all(struct store *s, const char *name, struct buf *out, struct err *e);

/* out->name = name. */
int store_head(struct store *s, const char *name, struct store_object *out, struct err *e);

/*
 * Objects below `prefix` ("ltx/0/", "0000/"; "" = all below the URL) whose names, relative to
 * the prefix, sort after `after` (NULL = from the start), in byte order, at most `max` (0 = all).
 * A prefix without anything is an empty listing, not an error.
 */
int store_list(struct store *s, const char *prefix, const char *after, size_t max, store_list_fn fn,
	void *ctx, struct err *e);

/*
 * What is directly in the folder `prefix` (as above): its objects, and the folders in it, whose
 * names end in '/', each with size 0; at most `max` of both together, in no certain order. Names
 * that no object can have are left out. A folder that isn't there is empty.
 */
int store_list_folder(
	struct store *s, const char *prefix, size_t max, store_list_fn fn, void *ctx, struct err *e);

/*
 * A store for reading that is the folder `path` ("apps/my-app") of `base`, with base's connections,
 * counts and store_cancel: calls of it are calls of base, which must stay open. put and delete are
 * ERR_UNSUPPORTED. ERR_USAGE for a path that no object can have.
 */
int store_open_folder(struct store **out, struct store *base, const char *path, struct err *e);

/*
 * Deletes n objects. results[n] says what became of each. Returns ERR_OK only if every one is
 * gone; otherwise the first failure's code and text.
 */
int store_delete(struct store *s, const char *const *names, size_t n,
	struct store_delete_result *results, struct err *e);

/*
 * Does what is deleted go on taking room, as an old version, until a lifecycle rule removes it? On
 * S3 one request, which few credentials may make; on Backblaze B2 none, it is always so there.
 * *versioned is false where the answer isn't known: the store's errors, ERR_UNSUPPORTED where the
 * server has no such question.
 */
int store_versioned(struct store *s, bool *versioned, struct err *e);

/* An upload in parts that was begun and not finished: no listing shows it, its parts cost money. */
struct store_unfinished {
	const char *name; /* of the object that it was to be, relative to the URL; borrowed */
	int64_t age_ms;   /* since it was begun, by the server's clock; -1 = the server doesn't say */
};

/*
 * Asks for the unfinished uploads below `prefix` (as for store_list) and gives those up that
 * `chosen` is true of; *n says how many. Memory: one page of a hundred. Stores that have no uploads
 * in parts say 0. ERR_UNSUPPORTED, ERR_DENIED: the server has no such question, or we may not ask
 * it or give up. What was not reached is there at the next call.
 */
int store_end_unfinished(struct store *s, const char *prefix,
	bool (*chosen)(void *ctx, const struct store_unfinished *u), void *ctx, size_t *n,
	struct err *e);

/*
 * Closes what nobody used for a while (connections and their memory). Call it now and then from a
 * timer. Returns after how many ms there may be more to close, or -1 when nothing is open.
 */
int64_t store_tidy(struct store *s);

/* Makes calls that run and that come return ERR_CANCELLED, within a second. From any thread. */
void store_cancel(struct store *s);

/* "0000/" or "ltx/0/": the folder of a level in this store's layout, into out[16]. */
void store_level_prefix(const struct store *s, int level, char out[16]);

/* Requests made so far by kind, for status and costs. */
struct store_counts {
	uint64_t put, get, head, list, del, bytes_out, bytes_in, retries;
};
void store_get_counts(const struct store *s, struct store_counts *out);

#endif
