#include "replicate/slot.h"

#include "base/buf.h"
#include "base/digest.h"
#include "base/endian.h"
#include "base/fs.h"
#include "replicate/freeze.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t magic[8] = "DLSFRZN1";
static const uint8_t nothing[SLOT_HEADER];

static char *slot_path(const char *folder, struct err *e)
{
	char *levels = fs_dirname(folder);
	char *path = levels ? fs_join(levels, "frozen") : NULL;
	free(levels);
	if (!path)
		err_nomem(e, "freezing a transaction");
	return path;
}

static int cannot(const char *what, const char *path, struct err *e)
{
	return err_errno(e, fs_error_code(errno), errno, "cannot %s %s", what, path);
}

static uint64_t checksum(const uint8_t *slot, uint64_t size)
{
	return crc64_iso(crc64_iso(0, slot, 24), slot + SLOT_HEADER, size);
}

static void fill_header(uint8_t *slot, uint64_t txid, uint64_t size)
{
	memcpy(slot, magic, sizeof(magic));
	put_be64(slot + 8, txid);
	put_be64(slot + 16, size);
	put_be64(slot + 24, checksum(slot, size));
}

/* ---- writing ---- */

static int read_whole(const char *path, uint8_t *to, uint64_t size, struct err *e)
{
	int fd = fs_open(path, O_RDONLY | O_NOFOLLOW, 0);
	int rc = ERR_OK;
	if (fd < 0 || fs_pread_full(fd, to, size, 0))
		rc = cannot("read", path, e);
	fs_close(fd);
	return rc;
}

/* Into blocks that are there already. ERR_NOT_FOUND when they are not. */
static int write_in_place(const char *path, const uint8_t *slot, uint64_t n, struct err *e)
{
	struct stat st;
	int fd = fs_open(path, O_RDWR | O_NOFOLLOW, 0);
	int rc = ERR_OK;
	if (fd < 0 || fstat(fd, &st))
		rc = errno == ENOENT ? ERR_NOT_FOUND : cannot("open", path, e);
	else if (st.st_size != (off_t)SLOT_SIZE)
		rc = ERR_NOT_FOUND;
	else if (fs_pwrite_full(fd, slot, n, 0) || fs_fdatasync(fd))
		rc = cannot("write", path, e);
	fs_close(fd);
	return rc;
}

/* A new slot that may not be durable: emptied as far as that goes, and gone for those that live. */
static void give_up(const char *path)
{
	struct err ignored = ERR_INIT;
	write_in_place(path, nothing, sizeof(nothing), &ignored);
	fs_unlink(path);
}

static int make(const char *path, const uint8_t *slot, struct err *e)
{
	int rc = fs_replace_file(path, slot, SLOT_SIZE, 0600, e);
	if (rc)
		give_up(path);
	return rc;
}

int slot_put(const char *folder, uint64_t txid, const char *from, uint64_t size, struct err *e)
{
	char *path = slot_path(folder, e);
	uint8_t *slot = path ? calloc(1, SLOT_SIZE) : NULL;
	int rc = slot ? read_whole(from, slot + SLOT_HEADER, size, e)
				  : err_nomem(e, "freezing a transaction");
	if (!rc) {
		fill_header(slot, txid, size);
		rc = write_in_place(path, slot, SLOT_HEADER + size, e);
		if (rc == ERR_NOT_FOUND)
			rc = make(path, slot, e);
	}
	free(slot);
	free(path);
	return rc;
}

/* ---- reading ---- */

/* The TXID that the slot's header names, 0 = none; its checksum isn't looked at. */
static int read_txid(const char *path, uint64_t *txid, struct err *e)
{
	uint8_t header[SLOT_HEADER];
	int fd = fs_open(path, O_RDONLY | O_NOFOLLOW, 0);
	int rc = ERR_OK;
	*txid = 0;
	if (fd < 0)
		rc = errno == ENOENT ? ERR_OK : cannot("open", path, e);
	else if (!fs_pread_full(fd, header, sizeof(header), 0))
		*txid = memcmp(header, magic, sizeof(magic)) == 0 ? get_be64(header + 8) : 0;
	else if (errno != ENODATA) /* shorter than a header */
		rc = cannot("read", path, e);
	fs_close(fd);
	return rc;
}

int slot_clear(const char *folder, uint64_t txid, struct err *e)
{
	uint64_t held;
	char *path = slot_path(folder, e);
	if (!path)
		return ERR_NOMEM;
	int rc = read_txid(path, &held, e);
	if (!rc && held == txid) {
		rc = write_in_place(path, nothing, sizeof(nothing), e);
		if (rc == ERR_NOT_FOUND) /* no slot of ours: too short, or too long */
			rc = fs_unlink(path) || fs_fsync_parent(path) ? cannot("delete", path, e) : ERR_OK;
	}
	free(path);
	return rc;
}

static bool holds(const struct buf *slot, uint64_t txid)
{
	if (slot->len != SLOT_SIZE || memcmp(slot->data, magic, sizeof(magic)) != 0)
		return false;
	uint64_t size = get_be64(slot->data + 16);
	return get_be64(slot->data + 8) == txid && size <= SLOT_FILE_MAX &&
		   get_be64(slot->data + 24) == checksum(slot->data, size);
}

/* Whether the copy that is there survived by luck or is durable can't be told: written again. */
static int put_back(const char *folder, uint64_t txid, const struct buf *slot, struct err *e)
{
	char *path = frozen_path(folder, txid);
	if (!path)
		return err_nomem(e, "reading a frozen file");
	const uint8_t *file = slot->data + SLOT_HEADER;
	uint64_t size = get_be64(slot->data + 16);
	int rc = fs_replace_file(path, file, size, 0600, e);
	free(path);
	return rc;
}

int slot_recover(const char *folder, uint64_t txid, struct err *e)
{
	struct err why = ERR_INIT;
	struct buf slot;
	char *path = slot_path(folder, e);
	if (!path)
		return ERR_NOMEM;
	buf_init(&slot, SLOT_SIZE);
	int rc = fs_read_file(path, &slot, &why);
	if (rc == ERR_NOT_FOUND || rc == ERR_FULL) /* none, or not ours */
		rc = ERR_OK;
	else if (rc)
		*e = why;
	else if (holds(&slot, txid))
		rc = put_back(folder, txid, &slot, e);
	buf_free(&slot);
	free(path);
	return rc;
}
