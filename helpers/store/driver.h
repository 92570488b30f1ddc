/*
 * What a kind of store implements. Only store.c and the drivers include this.
 *
 * store.c has checked names and prefixes, has refused the call when the store is cancelled, and
 * gives `opts` that are never NULL. A driver counts its requests with store_begin and store_end,
 * looks at store_is_cancelled while it waits, and otherwise keeps the contract of store.h.
 */
#ifndef STORE_DRIVER_H
#define STORE_DRIVER_H

#include "store/store.h"
#include "store/url.h"

#include <stdatomic.h>

struct store_driver {
	struct store_caps caps; /* caps.scheme is what the URL begins with */
	/* Sets s->impl, and s->url when the display URL is not the parsed one's. On failure nothing is
	 * left behind. */
	int (*open)(struct store *s, const struct store_url *url, const struct store_options *opts,
		struct err *e);
	void (*close)(struct store *s); /* frees s->impl */
	int (*put)(struct store *s, const char *name, const struct store_body *body,
		const struct store_put_opts *opts, struct err *e);
	int (*get)(struct store *s, const char *name, uint64_t offset, uint64_t length, store_sink sink,
		void *ctx, struct err *e);
	int (*head)(struct store *s, const char *name, struct store_object *out, struct err *e);
	int (*list)(struct store *s, const char *prefix, const char *after, size_t max,
		store_list_fn fn, void *ctx, struct err *e);
	int (*list_folder)(struct store *s, const char *prefix, size_t max, store_list_fn fn, void *ctx,
		struct err *e);
	int (*del)(struct store *s, const char *const *names, size_t n,
		struct store_delete_result *results, struct err *e);
	int (*versioned)(struct store *s, bool *out, struct err *e); /* NULL: it knows no versions */
	/* NULL: it has no uploads in parts */
	int (*end_unfinished)(struct store *s, const char *prefix,
		bool (*chosen)(void *ctx, const struct store_unfinished *u), void *ctx, size_t *n,
		struct err *e);
	int64_t (*tidy)(struct store *s); /* may be NULL */
	void (*cancel)(struct store *s);  /* may be NULL: the flag is enough */
};

/* The first ones are those of enum store_operation. */
enum store_counter {
	STORE_N_PUT,
	STORE_N_GET,
	STORE_N_HEAD,
	STORE_N_LIST,
	STORE_N_DELETE,
	STORE_N_BYTES_OUT,
	STORE_N_BYTES_IN,
	STORE_N_RETRIES,
	STORE_N_COUNTERS,
};

struct store {
	const struct store_driver *driver;
	struct store_caps caps; /* the driver's, unless it changed them in open */
	char *url;              /* without secrets and without a slash at the end */
	void *impl;
	atomic_bool cancelled;
	_Atomic uint64_t counters[STORE_N_COUNTERS];
};

extern const struct store_driver store_file_driver, store_mem_driver, store_fault_driver,
	store_s3_driver;

void store_count(struct store *s, enum store_counter which, uint64_t n);

/* One request of the kind `which` (STORE_N_PUT … STORE_N_DELETE) begins; when. */
int64_t store_begin(struct store *s, enum store_counter which);
/* It ended with rc, which is returned. An error is counted by the server's word for it, `code`
 * (NULL or "" = it said none), or by rc. */
int store_end(
	struct store *s, enum store_counter which, int64_t began_us, const char *code, int rc);
/* An error within a request that did not fail itself. */
void store_count_error(struct store *s, enum store_counter which, const char *code, int rc);
/* Bytes that a request of this kind sent (PUT, DELETE) or received. */
void store_count_bytes(struct store *s, enum store_counter which, uint64_t n);

bool store_is_cancelled(struct store *s);

/* ERR_CANCELLED with its sentence. */
int store_cancelled_error(const struct store *s, struct err *e);

/* Whether a listed name is one that store_put would have taken. Foreign files are no objects. */
bool store_name_is_valid(const char *name);

/*
 * Fills one delete result and, when it is the first that failed, *e. Returns `first` or, if that is
 * ERR_OK, `code`: so that a loop of `rc = store_delete_note(...)` ends with the first failure.
 */
int store_delete_note(
	int first, struct store_delete_result *result, int code, const struct err *why, struct err *e);

#endif
