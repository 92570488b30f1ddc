/*
 * The map is a hash table with open addressing, kept at most two thirds full: `keys` holds page
 * numbers (0 = free), `slots` the slot in the file, its highest bit telling an image. Dropping
 * pages builds the table anew; that happens only when the database shrank.
 */
#include "replicate/staging.h"

#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define IMAGE_BIT (UINT32_C(1) << 31)
#define CAP_MIN 64
#define CACHE_BYTES (64 * 1024)
#define CACHE_LEAST 2
#define CACHE_MOST 32
#define NO_SLOT UINT32_MAX

struct staging {
	char *path;
	int fd; /* -1 while empty */
	uint32_t page_size;
	uint64_t max;

	uint32_t *keys, *slots;
	uint32_t cap, count; /* cap is a power of two, 0 while empty */
	uint32_t images;
	uint32_t next_slot;
	uint32_t largest; /* no page number is above it */
	uint32_t floor;   /* smallest size that the database had since the reset */
	bool clean;

	/*
	 * A few slots that are in memory only: a transaction after the other changes the same pages.
	 * Slot n has its place at n modulo cache_slots, and is written when another one needs that.
	 */
	uint8_t *cache;
	uint32_t cache_slots, cached[CACHE_MOST];
};

int staging_new(struct staging **out, const char *path, struct err *e)
{
	struct staging *s = calloc(1, sizeof(*s));
	if (!s)
		return err_nomem(e, "making a staging");
	s->path = strdup(path);
	s->fd = -1;
	if (!s->path) {
		free(s);
		return err_nomem(e, "making a staging");
	}
	staging_reset(s, 0, 0);
	*out = s;
	return ERR_OK;
}

void staging_free(struct staging *s)
{
	if (!s)
		return;
	staging_reset(s, 0, 0);
	free(s->path);
	free(s);
}

void staging_reset(struct staging *s, uint32_t page_size, uint32_t n_page)
{
	if (s->fd >= 0) {
		fs_close(s->fd);
		fs_unlink(s->path); /* what stays by accident is deleted at the next start */
	}
	free(s->keys);
	free(s->slots);
	free(s->cache);
	s->cache = NULL;
	s->keys = s->slots = NULL;
	s->cap = s->count = s->images = s->next_slot = s->largest = 0;
	s->fd = -1;
	s->page_size = page_size;
	s->floor = n_page;
	s->clean = true;
}

void staging_set_max(struct staging *s, uint64_t max)
{
	s->max = max;
}

bool staging_at_max(const struct staging *s)
{
	return s->max && ((uint64_t)s->next_slot + 1) * s->page_size > s->max;
}

/* ---- the map ---- */

static uint32_t hash(uint32_t pgno)
{
	return (uint32_t)((pgno * UINT64_C(0x9E3779B97F4A7C15)) >> 32);
}

/* Where pgno is, or the free place where it would go. */
static uint32_t find(const struct staging *s, uint32_t pgno)
{
	uint32_t i = hash(pgno) & (s->cap - 1);
	while (s->keys[i] && s->keys[i] != pgno)
		i = (i + 1) & (s->cap - 1);
	return i;
}

/* Moves all pages up to `last` into a table of `cap` places. */
static int rebuild(struct staging *s, uint32_t cap, uint32_t last, struct err *e)
{
	struct staging old = *s;
	s->keys = calloc(cap, sizeof(*s->keys));
	s->slots = malloc(cap * sizeof(*s->slots));
	if (!s->keys || !s->slots) {
		free(s->keys);
		free(s->slots);
		s->keys = old.keys;
		s->slots = old.slots;
		return err_nomem(e, "staging pages");
	}
	s->cap = cap;
	s->count = s->images = 0;
	for (uint32_t i = 0; i < old.cap; i++) {
		if (old.keys[i] == 0 || old.keys[i] > last)
			continue;
		uint32_t at = find(s, old.keys[i]);
		s->keys[at] = old.keys[i];
		s->slots[at] = old.slots[i];
		s->count++;
		s->images += (old.slots[i] & IMAGE_BIT) != 0;
	}
	free(old.keys);
	free(old.slots);
	return ERR_OK;
}

static int make_room(struct staging *s, struct err *e)
{
	if (s->cap && s->count + 1 <= s->cap / 3 * 2)
		return ERR_OK;
	return rebuild(s, s->cap ? s->cap * 2 : CAP_MIN, UINT32_MAX, e);
}

/* ---- pages ---- */

static int open_file(struct staging *s, struct err *e)
{
	if (s->fd >= 0)
		return ERR_OK;
	s->fd = fs_open(s->path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
	if (s->fd < 0)
		return err_errno(e, fs_error_code(errno), errno, "cannot create %s", s->path);
	return ERR_OK;
}

/* Without memory for it there is none. */
static void make_cache(struct staging *s)
{
	if (s->cache)
		return;
	s->cache_slots = CACHE_BYTES / s->page_size;
	if (s->cache_slots > CACHE_MOST)
		s->cache_slots = CACHE_MOST;
	if (s->cache_slots < CACHE_LEAST)
		s->cache_slots = CACHE_LEAST;
	s->cache = malloc((size_t)s->cache_slots * s->page_size);
	for (uint32_t i = 0; i < CACHE_MOST; i++)
		s->cached[i] = NO_SLOT;
}

static uint8_t *cache_place(const struct staging *s, uint32_t slot)
{
	return s->cache + (size_t)(slot % s->cache_slots) * s->page_size;
}

static int write_slot(struct staging *s, uint32_t slot, const void *page, struct err *e)
{
	if (!fs_pwrite_full(s->fd, page, s->page_size, (off_t)slot * s->page_size))
		return ERR_OK;
	return err_errno(e, fs_error_code(errno), errno, "cannot write %s", s->path);
}

static int put_slot(struct staging *s, uint32_t slot, const void *page, struct err *e)
{
	make_cache(s);
	if (!s->cache)
		return write_slot(s, slot, page, e);
	uint32_t *there = &s->cached[slot % s->cache_slots];
	uint8_t *place = cache_place(s, slot);
	int rc = *there != NO_SLOT && *there != slot ? write_slot(s, *there, place, e) : ERR_OK;
	if (rc)
		return rc;
	memcpy(place, page, s->page_size);
	*there = slot;
	return ERR_OK;
}

static int check_bound(const struct staging *s, struct err *e)
{
	if (s->next_slot == IMAGE_BIT - 1)
		return err_set(e, ERR_FULL, "more pages are waiting than can be counted");
	if (!staging_at_max(s))
		return ERR_OK;
	return err_set(e, ERR_FULL,
		"%" PRIu64 " MiB of captured pages wait for upload, the most allowed", s->max >> 20);
}

int staging_put(
	struct staging *s, uint32_t pgno, const void *page, enum staging_origin origin, struct err *e)
{
	int rc = open_file(s, e);
	if (!rc)
		rc = make_room(s, e);
	if (rc)
		return rc;
	uint32_t at = find(s, pgno);
	bool is_new = s->keys[at] == 0;
	uint32_t slot = is_new ? s->next_slot : s->slots[at] & ~IMAGE_BIT;
	if (is_new)
		rc = check_bound(s, e);
	if (!rc)
		rc = put_slot(s, slot, page, e);
	if (rc)
		return rc;
	if (is_new) {
		s->keys[at] = pgno;
		if (pgno > s->largest)
			s->largest = pgno;
		s->next_slot++;
		s->count++;
	} else {
		s->images -= (s->slots[at] & IMAGE_BIT) != 0;
	}
	s->slots[at] = slot | (origin == STAGING_IMAGE ? IMAGE_BIT : 0);
	s->images += origin == STAGING_IMAGE;
	s->clean = false;
	return ERR_OK;
}

int staging_commit(struct staging *s, const struct source_point *point, struct err *e)
{
	uint32_t last = point->n_page;
	if (point->min_n_page < s->floor)
		last = s->floor = point->min_n_page;
	/* Called for every transaction: no look at every page unless there is something to drop. */
	if (s->largest > last) {
		int rc = s->cap ? rebuild(s, s->cap, last, e) : ERR_OK;
		if (rc)
			return rc;
		s->largest = last;
	}
	s->clean = true;
	return ERR_OK;
}

bool staging_has(const struct staging *s, uint32_t pgno)
{
	return s->cap && s->keys[find(s, pgno)] == pgno;
}

bool staging_clean(const struct staging *s)
{
	return s->clean;
}

bool staging_empty(const struct staging *s)
{
	return s->count == 0;
}

uint32_t staging_count(const struct staging *s)
{
	return s->count;
}

uint32_t staging_images(const struct staging *s)
{
	return s->images;
}

uint64_t staging_bytes(const struct staging *s)
{
	return (uint64_t)s->next_slot * s->page_size;
}

uint32_t staging_page_size(const struct staging *s)
{
	return s->page_size;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

uint32_t *staging_pages(const struct staging *s)
{
	uint32_t *pages = malloc(((size_t)s->count + 1) * sizeof(*pages));
	uint32_t n = 0;
	for (uint32_t i = 0; pages && i < s->cap; i++)
		if (s->keys[i])
			pages[n++] = s->keys[i];
	if (pages)
		qsort(pages, n, sizeof(*pages), compare);
	return pages;
}

int staging_get(const struct staging *s, uint32_t pgno, void *page, struct err *e)
{
	if (!staging_has(s, pgno))
		return err_set(e, ERR_FAIL, "page %" PRIu32 " is not in %s", pgno, s->path);
	uint32_t slot = s->slots[find(s, pgno)] & ~IMAGE_BIT;
	if (s->cache && s->cached[slot % s->cache_slots] == slot) {
		memcpy(page, cache_place(s, slot), s->page_size);
		return ERR_OK;
	}
	if (fs_pread_full(s->fd, page, s->page_size, (off_t)slot * s->page_size))
		return err_errno(e, ERR_IO, errno, "cannot read %s", s->path);
	return ERR_OK;
}

int staging_clear_folder(const char *dir, struct err *e)
{
	DIR *d = opendir(dir);
	if (!d)
		return err_errno(e, ERR_IO, errno, "cannot read the folder %s", dir);
	int rc = ERR_OK;
	for (struct dirent *ent = readdir(d); ent && !rc; ent = readdir(d)) {
		if (strncmp(ent->d_name, "staging-", 8) != 0)
			continue;
		char *path = fs_join(dir, ent->d_name);
		if (!path)
			rc = err_nomem(e, "clearing the state folder");
		else if (fs_unlink(path))
			rc = err_errno(e, ERR_IO, errno, "cannot delete %s", path);
		free(path);
	}
	closedir(d);
	return rc;
}
