#include "restore/v3apply.h"

#include "base/fs.h"
#include "base/thread.h"
#include "format/dbheader.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WRITERS_MIN 2
#define WRITERS_MAX 4
#define PIECES 8 /* an arena is written in so many, side by side */
#define IOV_BYTES ((size_t)256 << 10)

size_t v3_apply_bytes = (size_t)4 << 20;

/* Frames (header and page), one behind the other as they came; or pages of a snapshot. */
struct arena {
	uint8_t *data;
	uint32_t *order; /* frames: those to write, by page number */
	size_t n_order;
};

/* A part of what is being written. */
struct piece {
	struct v3_apply *apply;
	const struct arena *arena;
	size_t from, to;  /* in order[], or pages of a snapshot */
	uint32_t pgno;    /* snapshot: of data[from] */
	uint8_t *scratch; /* IOV_BYTES: neighbouring pages, to be written at once */
};

struct v3_apply {
	int fd;
	const char *path;
	const struct folder *scratch;
	uint32_t page_size;
	size_t frame_size, cap; /* frames in an arena */

	struct arena arenas[2];
	int filling;            /* the one that gathers; the other may be being written */
	size_t committed, used; /* of its frames */
	struct piece pieces[PIECES];
	struct pool *pool;

	int spill;        /* of a transaction that doesn't fit into memory; -1 = none yet */
	uint64_t spilled; /* frames in it */

	struct v3_wal wal;
	uint32_t commit; /* pages, by this WAL's last commit; 0 = it has none */
	uint32_t n_page; /* of the database, after the WALs before it */
	uint32_t high;   /* the last page that the file may hold */

	pthread_mutex_t lock;
	struct err failure; /* of the writers */
};

/* ---- the writers ---- */

static bool all_zero(const uint8_t *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

static int write_at(
	const struct v3_apply *a, const uint8_t *p, size_t pages, uint32_t pgno, struct err *e)
{
	off_t at = (off_t)(pgno - 1) * a->page_size;
	size_t n = pages * a->page_size;
	if (n && fs_pwrite_full(a->fd, p, n, at))
		return err_errno(e, fs_error_code(errno), errno, "cannot write %s", a->path);
	return ERR_OK;
}

/* Pages of zeros stay holes: the file is new. The disk's part begins at once, so that the fsync at
 * the end has less to wait for. */
static int write_pages(const struct piece *piece, struct err *e)
{
	const struct v3_apply *a = piece->apply;
	const uint8_t *data = piece->arena->data;
	size_t run = piece->from;
	int rc = ERR_OK;
	for (size_t i = piece->from; i < piece->to && !rc; i++) {
		if (!all_zero(data + i * a->page_size, a->page_size))
			continue;
		rc = write_at(
			a, data + run * a->page_size, i - run, piece->pgno + (uint32_t)(run - piece->from), e);
		run = i + 1;
	}
	if (!rc)
		rc = write_at(a, data + run * a->page_size, piece->to - run,
			piece->pgno + (uint32_t)(run - piece->from), e);
	sync_file_range(a->fd, (off_t)(piece->pgno - 1) * a->page_size,
		(off_t)(piece->to - piece->from) * a->page_size, SYNC_FILE_RANGE_WRITE);
	return rc;
}

static const uint8_t *frame_at(const struct v3_apply *a, const struct arena *arena, size_t i)
{
	return arena->data + i * a->frame_size;
}

static uint32_t pgno_at(const struct v3_apply *a, const struct arena *arena, size_t i)
{
	struct wal_frame_header h;
	wal_frame_header_decode(frame_at(a, arena, i), &h);
	return h.pgno;
}

/* Neighbours are written together: a page alone costs a system call. */
static int write_frames(const struct piece *piece, struct err *e)
{
	const struct v3_apply *a = piece->apply;
	const uint32_t *order = piece->arena->order;
	size_t most = IOV_BYTES / a->page_size, n = 0;
	uint32_t first = 0;
	int rc = ERR_OK;
	for (size_t i = piece->from; i < piece->to && !rc; i++) {
		uint32_t pgno = pgno_at(a, piece->arena, order[i]);
		if (n && (n == most || pgno != first + n)) {
			rc = write_at(a, piece->scratch, n, first, e);
			n = 0;
		}
		if (n == 0)
			first = pgno;
		memcpy(piece->scratch + n++ * a->page_size,
			frame_at(a, piece->arena, order[i]) + WAL_FRAME_HEADER_SIZE, a->page_size);
	}
	return rc ? rc : write_at(a, piece->scratch, n, first, e);
}

static void run_piece(void *arg)
{
	struct piece *piece = arg;
	struct v3_apply *a = piece->apply;
	struct err e = ERR_INIT;
	int rc = piece->pgno ? write_pages(piece, &e) : write_frames(piece, &e);
	pthread_mutex_lock(&a->lock);
	if (rc && !a->failure.code)
		a->failure = e;
	pthread_mutex_unlock(&a->lock);
}

/* Nothing is being written any more. */
static int settle(struct v3_apply *a, struct err *e)
{
	pool_wait(a->pool);
	if (a->failure.code)
		*e = a->failure;
	return a->failure.code;
}

/* Has n things of an arena written, by all threads. Settled before. */
static void write_all(struct v3_apply *a, const struct arena *arena, size_t n, uint32_t pgno)
{
	size_t each = (n + PIECES - 1) / PIECES;
	for (size_t i = 0, from = 0; from < n; i++, from += each) {
		struct piece *p = &a->pieces[i];
		p->arena = arena;
		p->from = from;
		p->to = from + each < n ? from + each : n;
		p->pgno = pgno ? pgno + (uint32_t)from : 0;
		pool_run(a->pool, run_piece, p);
	}
}

/* ---- begin and end ---- */

static size_t count_writers(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	return n < WRITERS_MIN ? WRITERS_MIN : n > WRITERS_MAX ? WRITERS_MAX : (size_t)n;
}

int v3_apply_new(
	struct v3_apply **out, int fd, const char *path, const struct folder *scratch, struct err *e)
{
	struct v3_apply *a = calloc(1, sizeof(*a));
	if (!a)
		return err_nomem(e, "restoring");
	pthread_mutex_init(&a->lock, NULL);
	a->fd = fd;
	a->path = path;
	a->scratch = scratch;
	a->spill = -1;
	int rc = pool_new(&a->pool, count_writers(), PIECES, e);
	for (size_t i = 0; i < PIECES && !rc; i++) {
		a->pieces[i].apply = a;
		a->pieces[i].scratch = malloc(IOV_BYTES);
		if (!a->pieces[i].scratch)
			rc = err_nomem(e, "restoring");
	}
	if (rc) {
		v3_apply_free(a);
		return rc;
	}
	*out = a;
	return ERR_OK;
}

void v3_apply_free(struct v3_apply *a)
{
	if (!a)
		return;
	pool_free(a->pool);
	fs_close(a->spill);
	for (size_t i = 0; i < PIECES; i++)
		free(a->pieces[i].scratch);
	for (int i = 0; i < 2; i++) {
		free(a->arenas[i].data);
		free(a->arenas[i].order);
	}
	pthread_mutex_destroy(&a->lock);
	free(a);
}

/* Once the page size is known. */
static int make_arenas(struct v3_apply *a, struct err *e)
{
	a->frame_size = WAL_FRAME_HEADER_SIZE + a->page_size;
	a->cap = v3_apply_bytes / a->frame_size;
	a->cap = a->cap < 2 ? 2 : a->cap;
	for (int i = 0; i < 2; i++) {
		a->arenas[i].data = malloc(a->cap * a->frame_size);
		a->arenas[i].order = calloc(a->cap, sizeof(*a->arenas[i].order));
		if (!a->arenas[i].data || !a->arenas[i].order)
			return err_nomem(e, "restoring");
	}
	return ERR_OK;
}

/* ---- the snapshot ---- */

static int read_beginning(
	struct v3_apply *a, struct v3_stream *content, uint8_t head[DB_HEADER_SIZE], struct err *e)
{
	struct db_header h;
	ptrdiff_t got = v3_stream_read(content, head, DB_HEADER_SIZE, e);
	if (got < 0)
		return e->code;
	if (got < DB_HEADER_SIZE)
		return err_set(e, ERR_DAMAGED, "%td bytes are no database", got);
	if (db_header_decode(head, &h, e)) {
		e->code = ERR_DAMAGED;
		return ERR_DAMAGED;
	}
	a->page_size = h.page_size;
	return make_arenas(a, e);
}

/* The next pages of the snapshot, as many as fit; `have` bytes of them were read already. *end:
 * there were fewer. */
static int read_pages(
	struct v3_apply *a, struct v3_stream *content, size_t have, bool *end, struct err *e)
{
	struct arena *arena = &a->arenas[a->filling];
	size_t room = a->cap * a->page_size;
	ptrdiff_t got = v3_stream_read(content, arena->data + have, room - have, e);
	if (got < 0)
		return e->code;
	size_t n = have + (size_t)got;
	if (n % a->page_size)
		return err_set(e, ERR_DAMAGED,
			"it ends in the middle of page %" PRIu64 " (pages have %" PRIu32 " bytes)",
			a->n_page + (uint64_t)n / a->page_size + 1, a->page_size);
	if (n / a->page_size > UINT32_MAX - a->n_page)
		return err_set(e, ERR_DAMAGED, "it has more pages than a database can have");
	*end = n < room;
	int rc = settle(a, e);
	if (rc)
		return rc;
	write_all(a, arena, n / a->page_size, a->n_page + 1);
	a->n_page += (uint32_t)(n / a->page_size);
	a->filling = !a->filling;
	return ERR_OK;
}

int v3_apply_snapshot(struct v3_apply *a, struct v3_stream *content, struct err *e)
{
	uint8_t head[DB_HEADER_SIZE];
	bool end = false;
	int rc = read_beginning(a, content, head, e);
	if (rc)
		return rc;
	memcpy(a->arenas[a->filling].data, head, sizeof(head));
	rc = read_pages(a, content, sizeof(head), &end, e);
	while (!rc && !end)
		rc = read_pages(a, content, 0, &end, e);
	if (!rc)
		rc = settle(a, e);
	a->high = a->n_page;
	return rc;
}

/* ---- frames ---- */

static int by_page(const void *x, const void *y, void *ctx)
{
	const struct v3_apply *a = ctx;
	const struct arena *arena = &a->arenas[a->filling];
	uint32_t i = *(const uint32_t *)x, j = *(const uint32_t *)y;
	uint32_t p = pgno_at(a, arena, i), q = pgno_at(a, arena, j);
	return p != q ? (p < q ? -1 : 1) : i < j ? -1 : i > j;
}

/* Has the first n frames of the arena that gathers written, of each page the last one. */
static int write_newest(struct v3_apply *a, size_t n, struct err *e)
{
	struct arena *arena = &a->arenas[a->filling];
	for (size_t i = 0; i < n; i++)
		arena->order[i] = (uint32_t)i;
	qsort_r(arena->order, n, sizeof(*arena->order), by_page, a);
	arena->n_order = 0;
	for (size_t i = 0; i < n; i++) {
		bool last = i + 1 == n ||
					pgno_at(a, arena, arena->order[i]) != pgno_at(a, arena, arena->order[i + 1]);
		if (last)
			arena->order[arena->n_order++] = arena->order[i];
	}
	uint32_t highest = n ? pgno_at(a, arena, arena->order[arena->n_order - 1]) : 0;
	a->high = highest > a->high ? highest : a->high;
	int rc = settle(a, e);
	if (!rc)
		write_all(a, arena, arena->n_order, 0);
	return rc;
}

/* The committed frames are on their way; the others begin the other arena. */
static int flush(struct v3_apply *a, struct err *e)
{
	int rc = write_newest(a, a->committed, e);
	if (rc)
		return rc;
	const struct arena *old = &a->arenas[a->filling];
	size_t rest = a->used - a->committed;
	a->filling = !a->filling;
	memcpy(a->arenas[a->filling].data, frame_at(a, old, a->committed), rest * a->frame_size);
	a->used = rest;
	a->committed = 0;
	return ERR_OK;
}

/* All frames are of one transaction that has not ended yet. */
static int spill(struct v3_apply *a, struct err *e)
{
	if (a->spill < 0 && (a->spill = folder_create_scratch(a->scratch)) < 0)
		return err_errno(e, ERR_IO, errno, "cannot make a file in %s", a->scratch->path);
	if (fs_pwrite_full(a->spill, a->arenas[a->filling].data, a->used * a->frame_size,
			(off_t)(a->spilled * a->frame_size)))
		return err_errno(e, fs_error_code(errno), errno, "cannot keep a large transaction in %s",
			a->scratch->path);
	a->spilled += a->used;
	a->used = 0;
	return ERR_OK;
}

/* It has: all of it goes to its place. */
static int write_spilled(struct v3_apply *a, struct err *e)
{
	int rc = spill(a, e);
	for (uint64_t done = 0; done < a->spilled && !rc;) {
		size_t n = a->spilled - done < a->cap ? (size_t)(a->spilled - done) : a->cap;
		if (fs_pread_full(a->spill, a->arenas[a->filling].data, n * a->frame_size,
				(off_t)(done * a->frame_size)))
			rc = err_errno(
				e, ERR_IO, errno, "cannot read back a large transaction in %s", a->scratch->path);
		if (!rc)
			rc = write_newest(a, n, e);
		a->filling = !a->filling;
		done += n;
	}
	a->spilled = 0;
	if (!rc && fs_ftruncate(a->spill, 0))
		rc = err_errno(e, ERR_IO, errno, "cannot empty a file in %s", a->scratch->path);
	return rc;
}

static int make_room(struct v3_apply *a, struct err *e)
{
	if (a->used < a->cap)
		return ERR_OK;
	return a->committed ? flush(a, e) : spill(a, e);
}

/* One more frame is gathered and verified. */
static int take_frame(struct v3_apply *a, uint32_t commit, struct err *e)
{
	int rc = ERR_OK;
	a->used++;
	if (!commit)
		return ERR_OK;
	a->commit = commit;
	if (a->spilled)
		rc = write_spilled(a, e);
	a->committed = a->used;
	return rc;
}

/* ---- a WAL ---- */

void v3_apply_wal(struct v3_apply *a)
{
	v3_wal_begin(&a->wal, a->page_size);
	a->commit = 0;
}

uint64_t v3_apply_offset(const struct v3_apply *a)
{
	return a->wal.offset;
}

static int truncated(const struct v3_apply *a, size_t got, struct err *e)
{
	return err_set(e, ERR_DAMAGED,
		"it is truncated: it ends %zu bytes behind byte %" PRIu64
		" of its WAL, in the middle of a %s",
		got, a->wal.offset, a->wal.offset ? "frame" : "header");
}

static int read_header(struct v3_apply *a, struct v3_stream *content, struct err *e)
{
	uint8_t header[WAL_HEADER_SIZE];
	ptrdiff_t got = v3_stream_read(content, header, sizeof(header), e);
	if (got < 0)
		return e->code;
	if ((size_t)got < sizeof(header))
		return truncated(a, (size_t)got, e);
	return v3_wal_header(&a->wal, header, e);
}

int v3_apply_segment(struct v3_apply *a, struct v3_stream *content, struct err *e)
{
	int rc = a->wal.offset == 0 ? read_header(a, content, e) : ERR_OK;
	while (!rc) {
		struct wal_frame_header h;
		rc = make_room(a, e);
		if (rc)
			break;
		uint8_t *frame = a->arenas[a->filling].data + a->used * a->frame_size;
		ptrdiff_t got = v3_stream_read(content, frame, a->frame_size, e);
		if (got <= 0)
			return got ? (int)e->code : ERR_OK;
		if ((size_t)got < a->frame_size)
			return truncated(a, (size_t)got, e);
		rc = v3_wal_frame(&a->wal, frame, &h, e);
		if (!rc)
			rc = take_frame(a, h.commit, e);
	}
	return rc;
}

/* Pages past the database's end, of this WAL or of before, are cut off: should it grow again, they
 * are new. */
static int cut(struct v3_apply *a, struct err *e)
{
	int rc = flush(a, e);
	if (!rc)
		rc = settle(a, e);
	if (!rc && a->high > a->n_page) {
		if (fs_ftruncate(a->fd, (off_t)a->n_page * a->page_size))
			rc = err_errno(e, ERR_IO, errno, "cannot cut %s", a->path);
		a->high = a->n_page;
	}
	return rc;
}

int v3_apply_wal_end(struct v3_apply *a, struct err *e)
{
	a->used = a->committed;
	a->spilled = 0;
	if (!a->commit)
		return ERR_OK;
	bool shrank = a->commit < a->n_page || a->commit < a->high;
	/* What still gathers may lie past the end, too. */
	for (size_t i = 0; i < a->used && !shrank; i++)
		shrank = pgno_at(a, &a->arenas[a->filling], i) > a->commit;
	a->n_page = a->commit;
	return shrank ? cut(a, e) : ERR_OK;
}

int v3_apply_finish(struct v3_apply *a, uint32_t *page_size, uint32_t *n_page, struct err *e)
{
	a->used = a->committed;
	int rc = flush(a, e);
	if (!rc)
		rc = settle(a, e);
	if (!rc && fs_ftruncate(a->fd, (off_t)a->n_page * a->page_size))
		rc = err_errno(e, fs_error_code(errno), errno, "cannot make %s %llu bytes long", a->path,
			(unsigned long long)a->n_page * a->page_size);
	*page_size = a->page_size;
	*n_page = a->n_page;
	return rc;
}
