#include "restore/fetch.h"

#include "base/thread.h"

#include <pthread.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#define RING_SIZE 512 /* parts in the window at most */
#define THREADS_MAX 64

/* How far to fetch ahead. A network wants many requests under way, to hide its round trips; a
 * folder is only read while something else is decoded. */
static const struct fetch_limits network_limits = {48, (size_t)1 << 20, (size_t)24 << 20};
static const struct fetch_limits folder_limits = {4, (size_t)256 << 10, (size_t)2 << 20};

enum part_state { PART_RUNNING, PART_DONE, PART_FAILED };

struct part {
	size_t file; /* index into files */
	uint64_t offset;
	size_t size;
	uint8_t *data; /* NULL until its thread has memory */
	enum part_state state;
};

struct fetch {
	struct store *store;
	struct fetch_list list;
	struct fetch_limits limits;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct part ring[RING_SIZE]; /* taken[tail … head), in order */
	size_t tail, head;
	size_t window; /* bytes of these parts */
	size_t take_file;
	uint64_t take_offset; /* the next part to take */
	int stopping;
	struct err failure; /* of the first part, by time, that failed */
	uint8_t **spare;    /* buffers of part_size bytes, for use again */
	size_t n_spare, spare_cap;

	unsigned long *threads;
	size_t n_threads;

	/* The reader's own. */
	size_t read_file;
	size_t read_done; /* bytes of the part at tail that were given out */
	uint64_t file_done;
};

const char *fetch_object_name(
	const struct store *s, const struct ltx_file *f, char out[FETCH_NAME_SIZE])
{
	char prefix[16], name[LTX_NAME_SIZE];
	store_level_prefix(s, f->level, prefix);
	ltx_format_name(f->min_txid, f->max_txid, name);
	snprintf(out, FETCH_NAME_SIZE, "%s%s", prefix, name);
	return out;
}

struct fetch_limits fetch_limits_for(const struct store *s, int parallelism)
{
	bool folder = strcmp(store_capabilities(s)->scheme, "file") == 0;
	struct fetch_limits limits = folder ? folder_limits : network_limits;
	if (parallelism > 0)
		limits.threads = (size_t)(parallelism < THREADS_MAX ? parallelism : THREADS_MAX);
	return limits;
}

/* ---- the list ---- */

static uint64_t size_of(const struct fetch *f, size_t file)
{
	return f->list.ltx ? f->list.ltx[file].size : f->list.v3[file].size;
}

static void name_of(const struct fetch *f, size_t file, char out[FETCH_NAME_SIZE])
{
	if (f->list.ltx)
		fetch_object_name(f->store, &f->list.ltx[file], out);
	else
		v3_format_name(&f->list.v3[file], out);
}

/* ---- one range into memory ---- */

struct range {
	struct fetch *fetch; /* NULL: can't be stopped */
	uint8_t *data;
	size_t size, done;
};

static int take_bytes(void *ctx, const void *p, size_t n, struct err *e)
{
	struct range *r = ctx;
	if (r->fetch && __atomic_load_n(&r->fetch->stopping, __ATOMIC_RELAXED))
		return err_set(e, ERR_CANCELLED, "stopped");
	if (n > r->size - r->done)
		return err_set(e, ERR_DAMAGED, "the store sent more than the %zu bytes asked for", r->size);
	memcpy(r->data + r->done, p, n);
	r->done += n;
	return ERR_OK;
}

static int get_range(struct store *s, const char *name, uint64_t size, uint64_t offset,
	struct range *r, struct err *e)
{
	if (r->size == 0)
		return ERR_OK;
	int rc = store_get(s, name, offset, r->size, take_bytes, r, e);
	if (!rc && r->done < r->size)
		rc = err_set(e, ERR_DAMAGED, "%s/%s is shorter than the %llu bytes that were listed",
			store_url(s), name, (unsigned long long)size);
	return rc;
}

int fetch_range(struct store *s, const char *name, uint64_t size, uint64_t offset, void *p,
	size_t n, struct err *e)
{
	struct range r = {NULL, p, n, 0};
	return get_range(s, name, size, offset, &r, e);
}

/* ---- buffers ---- */

/* Full-size buffers are kept: getting each new from the system costs a page fault for every 4 KiB.
 */
static uint8_t *buffer_get(struct fetch *f, size_t size)
{
	if (size == f->limits.part_size && f->n_spare > 0)
		return f->spare[--f->n_spare];
	return malloc(size ? size : 1);
}

static void buffer_put(struct fetch *f, uint8_t *data, size_t size)
{
	if (data && size == f->limits.part_size && f->n_spare < f->spare_cap)
		f->spare[f->n_spare++] = data;
	else
		free(data);
}

/* ---- the threads; the lock is held where nothing else is said ---- */

static bool all_taken(const struct fetch *f)
{
	return f->take_file >= f->list.count;
}

static size_t next_size(const struct fetch *f)
{
	uint64_t left = size_of(f, f->take_file) - f->take_offset;
	return left < f->limits.part_size ? (size_t)left : f->limits.part_size;
}

/* An empty window takes any part, so that a window smaller than a part still moves. */
static bool may_take(const struct fetch *f)
{
	return f->head == f->tail ||
		   (f->head - f->tail < RING_SIZE && f->window + next_size(f) <= f->limits.window);
}

static struct part *take_part(struct fetch *f)
{
	struct part *p = &f->ring[f->head++ % RING_SIZE];
	*p = (struct part){f->take_file, f->take_offset, next_size(f), NULL, PART_RUNNING};
	f->window += p->size;
	f->take_offset += p->size;
	if (f->take_offset >= size_of(f, f->take_file)) {
		f->take_file++;
		f->take_offset = 0;
	}
	return p;
}

static void run_part(struct fetch *f, struct part *p)
{
	struct err e = ERR_INIT;
	p->data = buffer_get(f, p->size);
	struct range r = {f, p->data, p->size, 0};
	char name[FETCH_NAME_SIZE];
	uint64_t offset = p->offset, size = size_of(f, p->file);
	name_of(f, p->file, name);
	pthread_mutex_unlock(&f->lock);
	int rc =
		r.data ? get_range(f->store, name, size, offset, &r, &e) : err_nomem(&e, "fetching a file");
	pthread_mutex_lock(&f->lock);
	p->state = rc ? PART_FAILED : PART_DONE;
	if (rc && !f->failure.code)
		f->failure = e;
}

static void *fetch_main(void *arg)
{
	struct fetch *f = arg;
	pthread_mutex_lock(&f->lock);
	while (!f->stopping && !all_taken(f) && !f->failure.code) {
		if (may_take(f)) {
			run_part(f, take_part(f));
			pthread_cond_broadcast(&f->changed);
		} else {
			pthread_cond_wait(&f->changed, &f->lock);
		}
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

/* More threads than parts would only cost their start. */
static size_t useful_threads(const struct fetch *f)
{
	size_t parts = 0;
	for (size_t i = 0; i < f->list.count && parts < f->limits.threads; i++)
		parts += (size_t)(size_of(f, i) / f->limits.part_size) + 1;
	return parts < f->limits.threads ? parts : f->limits.threads;
}

int fetch_new(struct fetch **out, struct store *s, const struct fetch_list *list,
	const struct fetch_limits *limits, struct err *e)
{
	struct fetch *f = calloc(1, sizeof(*f));
	if (!f)
		return err_nomem(e, "starting to fetch");
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	f->store = s;
	f->list = *list;
	f->limits = *limits;
	f->spare_cap = limits->window / limits->part_size + 1;
	size_t threads = useful_threads(f);
	f->spare = calloc(f->spare_cap, sizeof(*f->spare));
	f->threads = calloc(threads + 1, sizeof(*f->threads));
	while (f->spare && f->threads && f->n_threads < threads &&
		   thread_start(&f->threads[f->n_threads], fetch_main, f) == 0)
		f->n_threads++;
	/* Fewer threads than asked for are slower, not wrong. */
	if (!f->spare || !f->threads || (threads && f->n_threads == 0)) {
		fetch_free(f);
		return err_nomem(e, "starting to fetch");
	}
	*out = f;
	return ERR_OK;
}

/* ---- the reader ---- */

/* Gives back the part at the tail. */
static void drop_part(struct fetch *f)
{
	struct part *p = &f->ring[f->tail++ % RING_SIZE];
	f->window -= p->size;
	buffer_put(f, p->data, p->size);
	p->data = NULL;
	f->read_done = 0;
	pthread_cond_broadcast(&f->changed);
}

/* The part that holds the next byte of the current file, or NULL with *e set. */
static struct part *wait_part(struct fetch *f, struct err *e)
{
	for (;;) {
		struct part *p = f->tail < f->head ? &f->ring[f->tail % RING_SIZE] : NULL;
		if (p && p->state == PART_DONE)
			return p;
		if (f->failure.code) {
			*e = f->failure;
			return NULL;
		}
		pthread_cond_wait(&f->changed, &f->lock);
	}
}

ptrdiff_t fetch_read(void *ctx, void *dst, size_t n, struct err *e)
{
	struct fetch *f = ctx;
	if (f->read_file >= f->list.count || f->file_done >= size_of(f, f->read_file))
		return 0;
	pthread_mutex_lock(&f->lock);
	struct part *p = wait_part(f, e);
	pthread_mutex_unlock(&f->lock);
	if (!p)
		return -1;
	size_t left = p->size - f->read_done;
	size_t take = n < left ? n : left;
	memcpy(dst, p->data + f->read_done, take);
	f->read_done += take;
	f->file_done += take;
	if (f->read_done == p->size) {
		pthread_mutex_lock(&f->lock);
		drop_part(f);
		pthread_mutex_unlock(&f->lock);
	}
	return (ptrdiff_t)take;
}

void fetch_next_file(struct fetch *f)
{
	pthread_mutex_lock(&f->lock);
	size_t wanted = f->read_file + 1;
	for (;;) {
		if (f->tail < f->head && f->ring[f->tail % RING_SIZE].file < wanted) {
			if (f->ring[f->tail % RING_SIZE].state != PART_RUNNING)
				drop_part(f);
			else
				pthread_cond_wait(&f->changed, &f->lock);
		} else {
			break;
		}
	}
	if (f->take_file < wanted) {
		f->take_file = wanted;
		f->take_offset = 0;
	}
	f->read_file = wanted;
	f->read_done = 0;
	f->file_done = 0;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

void fetch_free(struct fetch *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&f->lock);
	__atomic_store_n(&f->stopping, 1, __ATOMIC_RELAXED);
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	for (size_t i = 0; i < f->n_threads; i++)
		pthread_join(f->threads[i], NULL);
	for (; f->tail < f->head; f->tail++)
		free(f->ring[f->tail % RING_SIZE].data);
	while (f->n_spare > 0)
		free(f->spare[--f->n_spare]);
	free(f->spare);
	free(f->threads);
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->changed);
	free(f);
}
