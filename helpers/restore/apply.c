#include "restore/apply.h"

#include "base/digest.h"
#include "base/endian.h"
#include "base/fs.h"
#include "base/thread.h"
#include "format/ltx.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define WRITERS_MIN 2
#define WRITERS_MAX 6
#define BATCHES_MAX (2 * WRITERS_MAX + 2)
#define BATCH_BYTES ((size_t)512 * 1024)
/* Sums of raw batches are added in order: so many may wait for one that is slow. */
#define SUMS_AHEAD (4 * BATCHES_MAX)
/* Tables of page checksums larger than this are kept in a file, so that the kernel may write them
 * out: memory stays bounded whatever the size of the database. */
#define SUMS_IN_MEMORY ((size_t)4 << 20)
#define GIVE_BACK_BATCHES 32 /* after so many of them memory of that file is given back */

uint64_t apply_raw_bytes = UINT64_C(1) << 20;

/* A page that is still to be decoded. */
struct packed {
	uint32_t pgno;
	size_t at, size; /* in the batch's `raw` */
	bool wanted;     /* no newer file has it */
};

struct batch {
	struct apply *apply;
	struct batch *next_free;
	size_t count;    /* pages in it */
	uint32_t *pgnos; /* of each */
	uint64_t *sums;
	uint8_t *pages;

	/* A raw one: pages come out of these. */
	struct packed *packed; /* NULL before the first raw batch */
	uint8_t *raw;
	size_t n_packed, raw_size;
	uint64_t seq;
};

struct apply {
	int fd;
	const char *path;
	uint32_t page_size, n_page, lock_page, limit;
	size_t batch_pages;
	uint8_t *seen;   /* a bit a page */
	uint32_t unseen; /* pages up to limit without the bit, the lock page left out */

	uint64_t *sums;
	size_t sums_size;
	bool sums_in_file, only_sums;
	unsigned written; /* batches */
	struct pool *pool;
	struct batch batches[BATCHES_MAX];
	size_t n_batches;
	struct batch *filling;         /* being filled; NULL = none */
	struct ltx_unpacker *unpacker; /* NULL before the first raw batch */
	uint64_t next_seq;             /* of raw batches */

	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t freed;
	struct batch *free;
	uint64_t checksum; /* XOR of the pages written so far */
	struct err failure;
	struct ltx_pages_sum file_sum; /* of the raw batches of the present file before added_seq */
	uint64_t added_seq;
	struct {
		bool done;
		struct ltx_pages_sum sum;
	} ahead[SUMS_AHEAD]; /* by seq */
};

/* ---- the writers ---- */

static bool all_zero(const uint8_t *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

static int write_run(struct apply *a, const struct batch *b, size_t from, size_t to, struct err *e)
{
	if (from == to || (a->only_sums && b->pgnos[from] != 1))
		return ERR_OK;
	to = a->only_sums ? from + 1 : to;
	off_t offset = (off_t)(b->pgnos[from] - 1) * a->page_size;
	size_t n = (to - from) * a->page_size;
	if (fs_pwrite_full(a->fd, b->pages + from * a->page_size, n, offset))
		return err_errno(e, fs_error_code(errno), errno, "cannot write %s", a->path);
	/* Begin with the disk's part now: the fsync at the end would otherwise wait for all of it. */
	sync_file_range(a->fd, offset, (off_t)n, SYNC_FILE_RANGE_WRITE);
	return ERR_OK;
}

/* Neighbours are written together; a page of zeros ends a run and is not written. */
static int write_batch(struct apply *a, const struct batch *b, uint64_t *sum, struct err *e)
{
	size_t from = 0;
	int rc = ERR_OK;
	for (size_t i = 0; i < b->count && !rc; i++) {
		const uint8_t *page = b->pages + i * a->page_size;
		*sum ^= b->sums[i];
		if (a->sums)
			a->sums[b->pgnos[i] - 1] = b->sums[i];
		bool zero = all_zero(page, a->page_size);
		if (!zero && (i == from || b->pgnos[i] == b->pgnos[i - 1] + 1))
			continue;
		rc = write_run(a, b, from, i, e);
		from = i + (zero ? 1 : 0);
	}
	return rc ? rc : write_run(a, b, from, b->count, e);
}

static void sum_pages(const struct apply *a, const struct batch *b)
{
	for (size_t i = 0; i < b->count; i++)
		b->sums[i] = ltx_page_checksum(b->pgnos[i], b->pages + i * a->page_size, a->page_size);
}

/* Pages that nobody wants are decoded for the file's checksum; the next one takes their place. */
static int unpack(const struct apply *a, struct batch *b, struct ltx_pages_sum *sum, struct err *e)
{
	for (size_t i = 0; i < b->n_packed; i++) {
		const struct packed *p = &b->packed[i];
		int rc = ltx_unpack(a->unpacker, b->raw + p->at, p->size,
			b->pages + b->count * a->page_size, sum, &b->sums[b->count], e);
		if (rc)
			return rc;
		if (p->wanted)
			b->pgnos[b->count++] = p->pgno;
	}
	return ERR_OK;
}

/* The lock is held. */
static void add_sum(struct apply *a, const struct batch *b, const struct ltx_pages_sum *sum)
{
	a->ahead[b->seq % SUMS_AHEAD].sum = *sum;
	a->ahead[b->seq % SUMS_AHEAD].done = true;
	for (size_t i; i = a->added_seq % SUMS_AHEAD, a->ahead[i].done; a->added_seq++) {
		ltx_pages_sum_add(a->unpacker, &a->file_sum, &a->ahead[i].sum);
		a->ahead[i].done = false;
	}
}

static void run_batch(void *arg)
{
	struct batch *b = arg;
	struct apply *a = b->apply;
	struct err e = ERR_INIT;
	struct ltx_pages_sum file_sum = {0};
	uint64_t sum = 0;
	bool raw = b->n_packed > 0;
	int rc = ERR_OK;
	if (raw)
		rc = unpack(a, b, &file_sum, &e);
	else
		sum_pages(a, b);
	if (!rc)
		rc = write_batch(a, b, &sum, &e);
	pthread_mutex_lock(&a->lock);
	if (++a->written % GIVE_BACK_BATCHES == 0 && a->sums_in_file)
		madvise(a->sums, a->sums_size, MADV_DONTNEED); /* the file keeps what is in it */
	a->checksum ^= sum;
	if (raw)
		add_sum(a, b, &file_sum);
	if (rc && !a->failure.code)
		a->failure = e;
	b->count = b->n_packed = b->raw_size = 0;
	b->next_free = a->free;
	a->free = b;
	pthread_cond_signal(&a->freed);
	pthread_mutex_unlock(&a->lock);
}

/* ---- begin and end ---- */

static int new_sums(struct apply *a, const struct folder *scratch, struct err *e)
{
	a->sums_size = (size_t)a->n_page * sizeof(*a->sums);
	int fd = -1;
	if (a->sums_size > SUMS_IN_MEMORY)
		fd = folder_create_unnamed(scratch);
	if (fd >= 0 && fs_ftruncate(fd, (off_t)a->sums_size)) {
		fs_close(fd);
		return err_errno(
			e, ERR_IO, errno, "cannot make room for page checksums in %s", scratch->path);
	}
	/* A file system without O_TMPFILE: in memory then. */
	int flags = fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
	void *map = mmap(NULL, a->sums_size, PROT_READ | PROT_WRITE, flags, fd, 0);
	fs_close(fd);
	if (map == MAP_FAILED)
		return err_nomem(e, "making the page table");
	a->sums = map;
	a->sums_in_file = flags == MAP_SHARED;
	return ERR_OK;
}

/* One for each processor: they decode, sum up and write. */
static size_t count_writers(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	return n < WRITERS_MIN ? WRITERS_MIN : n > WRITERS_MAX ? WRITERS_MAX : (size_t)n;
}

static int new_batches(struct apply *a, struct err *e)
{
	size_t writers = count_writers();
	a->batch_pages = BATCH_BYTES / a->page_size;
	a->n_batches = 2 * writers + 2;
	for (size_t i = 0; i < a->n_batches; i++) {
		struct batch *b = &a->batches[i];
		b->apply = a;
		b->pgnos = calloc(a->batch_pages, sizeof(*b->pgnos));
		/* A page that nobody wants may be decoded behind the last one that somebody does. */
		b->sums = calloc(a->batch_pages + 1, sizeof(*b->sums));
		b->pages = malloc((a->batch_pages + 1) * a->page_size);
		if (!b->pgnos || !b->sums || !b->pages)
			return err_nomem(e, "restoring");
		b->next_free = a->free;
		a->free = b;
	}
	return pool_new(&a->pool, writers, a->n_batches, e);
}

int apply_new(struct apply **out, int fd, const char *path, const struct folder *scratch,
	uint32_t page_size, uint32_t n_page, bool keep_sums, struct err *e)
{
	struct apply *a = calloc(1, sizeof(*a));
	if (!a)
		return err_nomem(e, "restoring");
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->freed, NULL);
	a->fd = fd;
	a->path = path;
	a->page_size = page_size;
	a->n_page = a->limit = n_page;
	a->lock_page = ltx_lock_page(page_size);
	a->unseen = n_page - (n_page >= a->lock_page);
	a->seen = calloc((size_t)n_page / 8 + 1, 1);
	int rc = a->seen ? ERR_OK : err_nomem(e, "restoring");
	if (!rc)
		rc = new_batches(a, e);
	if (!rc && keep_sums)
		rc = new_sums(a, scratch, e);
	if (!rc && fs_ftruncate(fd, (off_t)n_page * page_size))
		rc = err_errno(e, fs_error_code(errno), errno, "cannot make %s %llu bytes long", path,
			(unsigned long long)n_page * page_size);
	if (rc) {
		apply_free(a);
		return rc;
	}
	*out = a;
	return ERR_OK;
}

void apply_only_sums(struct apply *a)
{
	a->only_sums = true;
}

void apply_free(struct apply *a)
{
	if (!a)
		return;
	pool_free(a->pool);
	if (a->sums)
		munmap(a->sums, a->sums_size);
	for (size_t i = 0; i < a->n_batches; i++) {
		free(a->batches[i].pgnos);
		free(a->batches[i].sums);
		free(a->batches[i].pages);
		free(a->batches[i].packed);
		free(a->batches[i].raw);
	}
	free(a->unpacker);
	free(a->seen);
	pthread_mutex_destroy(&a->lock);
	pthread_cond_destroy(&a->freed);
	free(a);
}

/* ---- pages ---- */

static bool seen(const struct apply *a, uint32_t pgno)
{
	return a->seen[(pgno - 1) / 8] >> ((pgno - 1) % 8) & 1;
}

void apply_limit(struct apply *a, uint32_t commit)
{
	for (; a->limit > commit; a->limit--)
		if (a->limit != a->lock_page && !seen(a, a->limit))
			a->unseen--;
}

static void submit(struct apply *a)
{
	struct batch *b = a->filling;
	a->filling = NULL;
	if (b && b->count + b->n_packed == 0) { /* begun for nothing */
		pthread_mutex_lock(&a->lock);
		b->next_free = a->free;
		a->free = b;
		pthread_mutex_unlock(&a->lock);
	} else if (b)
		pool_run(a->pool, run_batch, b);
}

/* The lock is held. */
static bool may_fill(const struct apply *a, bool raw)
{
	return a->free && (!raw || a->next_seq < a->added_seq + SUMS_AHEAD);
}

/* A batch to fill, of this kind. May wait for one; false with *e set when one has failed. */
static bool begin_batch(struct apply *a, bool raw, struct err *e)
{
	if (a->filling && (a->filling->n_packed > 0) != raw)
		submit(a);
	if (a->filling)
		return true;
	pthread_mutex_lock(&a->lock);
	while (!may_fill(a, raw) && !a->failure.code)
		pthread_cond_wait(&a->freed, &a->lock);
	struct err failure = a->failure;
	if (!failure.code) {
		a->filling = a->free;
		a->free = a->filling->next_free;
	}
	pthread_mutex_unlock(&a->lock);
	if (failure.code)
		*e = failure;
	return !failure.code;
}

/* True when this version of the page is to be in the database. */
static bool claim(struct apply *a, uint32_t pgno)
{
	if (pgno > a->limit || pgno == a->lock_page || seen(a, pgno))
		return false;
	a->seen[(pgno - 1) / 8] |= (uint8_t)(1 << (pgno - 1) % 8);
	a->unseen--;
	return true;
}

void *apply_slot(struct apply *a, struct err *e)
{
	return begin_batch(a, false, e) ? a->filling->pages + a->filling->count * a->page_size : NULL;
}

void apply_page(struct apply *a, uint32_t pgno)
{
	struct batch *b = a->filling;
	if (!claim(a, pgno))
		return;
	b->pgnos[b->count++] = pgno;
	if (b->count == a->batch_pages)
		submit(a);
}

/* ---- pages that are still to be decoded ---- */

static int make_raw(struct apply *a, struct batch *b, struct err *e)
{
	if (!a->unpacker && (a->unpacker = malloc(sizeof(*a->unpacker))))
		ltx_unpacker_init(a->unpacker, a->page_size);
	if (!b->raw)
		b->raw = malloc(a->batch_pages * ltx_raw_max(a->page_size));
	if (!b->packed)
		b->packed = calloc(a->batch_pages, sizeof(*b->packed));
	return a->unpacker && b->raw && b->packed ? ERR_OK : err_nomem(e, "restoring");
}

int apply_raw(struct apply *a, const struct ltx_raw *page, struct err *e)
{
	if (!begin_batch(a, true, e))
		return e->code;
	struct batch *b = a->filling;
	int rc = make_raw(a, b, e);
	if (rc)
		return rc;
	if (b->n_packed == 0)
		b->seq = a->next_seq++;
	b->packed[b->n_packed++] =
		(struct packed){page->pgno, b->raw_size, page->n, claim(a, page->pgno)};
	memcpy(b->raw + b->raw_size, page->data, page->n);
	b->raw_size += page->n;
	if (b->n_packed == a->batch_pages)
		submit(a);
	return ERR_OK;
}

int apply_raw_end(struct apply *a, struct ltx_pages_sum *sum, struct err *e)
{
	submit(a);
	pool_wait(a->pool);
	*sum = a->file_sum;
	a->file_sum = (struct ltx_pages_sum){0};
	if (a->failure.code)
		*e = a->failure;
	return a->failure.code;
}

uint32_t apply_missing(const struct apply *a)
{
	return a->unseen;
}

uint64_t *apply_sums(struct apply *a, bool *mapped)
{
	*mapped = a->sums_in_file;
	return a->sums;
}

/* Pages that nobody wrote are zeros and count as such in the checksum. A hostile file may leave out
 * a million times what it holds: the zeros are summed up once. */
static int count_holes(struct apply *a, uint32_t *holes, uint32_t *first, struct err *e)
{
	struct crc64_append behind_number;
	uint8_t *zeros = calloc(1, a->page_size);
	if (!zeros)
		return err_nomem(e, "checking what was restored");
	uint64_t content = crc64_iso(0, zeros, a->page_size);
	crc64_append_init(&behind_number, a->page_size);
	free(zeros);
	*holes = 0;
	*first = 0;
	for (uint32_t i = 0; i < a->n_page; i++) {
		uint32_t pgno = i + 1;
		uint8_t number[4];
		if (pgno == a->lock_page || seen(a, pgno))
			continue;
		if ((*holes)++ == 0)
			*first = pgno;
		put_be32(number, pgno);
		uint64_t sum =
			LTX_CHECKSUM_FLAG |
			(crc64_append(&behind_number, crc64_iso(0, number, sizeof(number))) ^ content);
		a->checksum ^= sum;
		if (a->sums)
			a->sums[i] = sum;
	}
	return ERR_OK;
}

int apply_finish(
	struct apply *a, uint32_t *holes, uint32_t *first_hole, uint64_t *checksum, struct err *e)
{
	submit(a);
	pool_wait(a->pool);
	if (a->failure.code) {
		*e = a->failure;
		return a->failure.code;
	}
	int rc = count_holes(a, holes, first_hole, e);
	*checksum = LTX_CHECKSUM_FLAG | a->checksum;
	return rc;
}
