/*
 * The file, all integers big-endian:
 *
 *     0   4  "DLSP"
 *     4   4  version, 1
 *     8   4  page size
 *    12   4  number of pages n
 *    16   8  TXID that it describes
 *    24   8  database checksum at that TXID
 *    32  8n  a checksum for each page: 0 = unknown, and for the lock page
 *  32+8n  8  CRC-64/ISO of all bytes before
 *
 * A reader takes nothing of a file whose length, CRC or database checksum isn't right: then every
 * page of the database is compared with the replica's newest snapshot instead.
 */
#include "source/pagesums.h"

#include "base/digest.h"
#include "base/endian.h"
#include "base/fs.h"
#include "format/ltx.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HEAD_SIZE 32
#define TAIL_SIZE 8
#define GIVE_BACK (1u << 20) /* pages of memory are smaller everywhere */
#define CHUNK 8192           /* sums written or read at a time */
#define VERSION 1

static const uint8_t magic[4] = {'D', 'L', 'S', 'P'};

void pagesums_init(struct pagesums *p, uint32_t page_size)
{
	memset(p, 0, sizeof(*p));
	p->page_size = page_size;
}

void pagesums_free(struct pagesums *p)
{
	free(p->sums);
	pagesums_init(p, p->page_size);
}

int pagesums_reserve(struct pagesums *p, uint32_t n_page)
{
	if (n_page <= p->cap)
		return ERR_OK;
	uint64_t cap = (uint64_t)n_page + n_page / 8 + 64;
	if (cap > UINT32_MAX)
		cap = UINT32_MAX;
	uint64_t *sums = realloc(p->sums, cap * sizeof(*sums));
	if (!sums)
		return ERR_NOMEM;
	p->sums = sums;
	p->cap = (uint32_t)cap;
	return ERR_OK;
}

int pagesums_resize(struct pagesums *p, uint32_t n_page)
{
	if (n_page > p->n_page) {
		if (pagesums_reserve(p, n_page))
			return ERR_NOMEM;
		memset(p->sums + p->n_page, 0, (size_t)(n_page - p->n_page) * sizeof(*p->sums));
	}
	for (uint32_t i = n_page; i < p->n_page; i++)
		if (p->sums[i])
			p->checksum = ltx_checksum_xor(p->checksum, p->sums[i]);
	p->n_page = n_page;
	return ERR_OK;
}

int pagesums_set(struct pagesums *p, uint32_t pgno, uint64_t sum)
{
	if (pgno > p->n_page && pagesums_resize(p, pgno))
		return ERR_NOMEM;
	uint64_t *at = &p->sums[pgno - 1];
	if (*at)
		p->checksum = ltx_checksum_xor(p->checksum, *at);
	if (sum)
		p->checksum = ltx_checksum_xor(p->checksum, sum);
	*at = sum;
	return ERR_OK;
}

uint64_t pagesums_get(const struct pagesums *p, uint32_t pgno)
{
	return pgno >= 1 && pgno <= p->n_page ? p->sums[pgno - 1] : 0;
}

/* ---- the file ---- */

static int put(int fd, const void *data, size_t n, uint64_t *crc)
{
	*crc = crc64_iso(*crc, data, n);
	return fs_write_full(fd, data, n);
}

/* What a mapped file holds stays in it. */
static void give_back(const struct pagesums *p, uint32_t upto)
{
	size_t n = (size_t)upto * sizeof(*p->sums) / GIVE_BACK * GIVE_BACK;
	if (p->mapped && n)
		madvise(p->sums, n, MADV_DONTNEED);
}

static int put_sums(const struct pagesums *p, int fd, uint64_t *crc)
{
	uint8_t *chunk = malloc(CHUNK * 8);
	if (!chunk)
		return errno = ENOMEM, -1;
	int rc = 0;
	for (uint32_t i = 0; i < p->n_page && rc == 0;) {
		uint32_t n = p->n_page - i < CHUNK ? p->n_page - i : CHUNK;
		for (uint32_t k = 0; k < n; k++)
			put_be64(chunk + 8 * (size_t)k, p->sums[i + k]);
		rc = put(fd, chunk, 8 * (size_t)n, crc);
		i += n;
		if (i % GIVE_BACK == 0)
			give_back(p, i);
	}
	int saved = errno;
	free(chunk);
	errno = saved;
	return rc;
}

static int put_file(const struct pagesums *p, int fd)
{
	uint8_t head[HEAD_SIZE], tail[TAIL_SIZE];
	uint64_t crc = 0;
	memcpy(head, magic, sizeof(magic));
	put_be32(head + 4, VERSION);
	put_be32(head + 8, p->page_size);
	put_be32(head + 12, p->n_page);
	put_be64(head + 16, p->txid);
	put_be64(head + 24, p->checksum);
	if (put(fd, head, sizeof(head), &crc) || put_sums(p, fd, &crc))
		return -1;
	put_be64(tail, crc);
	return fs_write_full(fd, tail, sizeof(tail));
}

int pagesums_save_in(
	const struct pagesums *p, const struct folder *f, const char *name, struct err *e)
{
	struct folder_aside a;
	if (folder_aside(&a, f, name, 0600))
		return err_errno(e, ERR_IO, errno, "cannot create %s/%s", f->path, a.name);
	if (put_file(p, a.fd))
		folder_replace_not(&a, f);
	else if (!folder_replace(&a, f, name))
		return ERR_OK;
	if (errno == ENOMEM)
		return err_nomem(e, "writing the page table");
	return err_errno(e, fs_error_code(errno), errno, "cannot %s %s/%s",
		a.renamed ? "fsync the folder of" : "write the page table", f->path, name);
}

int pagesums_save(const struct pagesums *p, const char *path, struct err *e)
{
	struct folder f;
	int rc = folder_open_of(&f, path, "writing the page table", e);
	if (!rc)
		rc = pagesums_save_in(p, &f, fs_basename(path), e);
	folder_close(&f);
	return rc;
}

static int damaged(struct err *e, const char *path, const char *why)
{
	return err_set(e, ERR_DAMAGED, "the page table %s is damaged: %s", path, why);
}

static int read_failed(struct err *e, const char *path)
{
	if (errno == ENODATA)
		return damaged(e, path, "it ends early");
	return err_errno(e, ERR_IO, errno, "cannot read the page table %s", path);
}

static int get_head(struct pagesums *p, int fd, const char *path, uint64_t *crc, uint64_t *checksum,
	uint32_t *n_page, struct err *e)
{
	uint8_t head[HEAD_SIZE];
	struct stat st;
	if (fs_read_full(fd, head, sizeof(head)) || fstat(fd, &st))
		return read_failed(e, path);
	*crc = crc64_iso(0, head, sizeof(head));
	if (memcmp(head, magic, sizeof(magic)) != 0 || get_be32(head + 4) != VERSION)
		return damaged(e, path, "it is none, or of another version");
	p->page_size = get_be32(head + 8);
	*n_page = get_be32(head + 12);
	p->txid = get_be64(head + 16);
	*checksum = get_be64(head + 24);
	if (!ltx_valid_page_size(p->page_size))
		return damaged(e, path, "a page size that can't be");
	if ((uint64_t)st.st_size != HEAD_SIZE + 8 * (uint64_t)*n_page + TAIL_SIZE)
		return damaged(e, path, "its length is not what its header says");
	return ERR_OK;
}

static int get_sums(
	struct pagesums *p, int fd, const char *path, uint32_t n_page, uint64_t *crc, struct err *e)
{
	uint8_t *chunk = malloc(CHUNK * 8);
	int rc = chunk && !pagesums_resize(p, n_page) ? ERR_OK : err_nomem(e, "reading the page table");
	for (uint32_t i = 0; i < n_page && !rc;) {
		uint32_t n = n_page - i < CHUNK ? n_page - i : CHUNK;
		if (fs_read_full(fd, chunk, 8 * (size_t)n)) {
			rc = read_failed(e, path);
			break;
		}
		*crc = crc64_iso(*crc, chunk, 8 * (size_t)n);
		for (uint32_t k = 0; k < n; k++)
			pagesums_set(p, i + k + 1, get_be64(chunk + 8 * (size_t)k));
		i += n;
	}
	free(chunk);
	return rc;
}

static int get_file(struct pagesums *p, int fd, const char *path, struct err *e)
{
	uint64_t crc = 0, checksum = 0;
	uint32_t n_page = 0;
	uint8_t tail[TAIL_SIZE];
	int rc = get_head(p, fd, path, &crc, &checksum, &n_page, e);
	if (!rc)
		rc = get_sums(p, fd, path, n_page, &crc, e);
	if (rc)
		return rc;
	if (fs_read_full(fd, tail, sizeof(tail)))
		return read_failed(e, path);
	if (get_be64(tail) != crc)
		return damaged(e, path, "its checksum is wrong");
	if ((p->checksum & ~LTX_CHECKSUM_FLAG) != (checksum & ~LTX_CHECKSUM_FLAG))
		return damaged(e, path, "its pages don't add up to its database checksum");
	p->checksum = checksum;
	return ERR_OK;
}

int pagesums_load(struct pagesums *p, const char *path, struct err *e)
{
	int fd = fs_open(path, O_RDONLY, 0);
	if (fd < 0)
		return err_errno(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno,
			"cannot open the page table %s", path);
	struct pagesums loaded;
	pagesums_init(&loaded, 0);
	int rc = get_file(&loaded, fd, path, e);
	fs_close(fd);
	if (rc) {
		pagesums_free(&loaded);
		return rc;
	}
	pagesums_free(p);
	*p = loaded;
	return ERR_OK;
}
