/*
 * The files of a state folder, and those beside a database that follows, which the owner of a
 * database can write: what is read of them is whole and within bounds, or as good as nothing. Their
 * checksums are also made to fit, so that what lies behind them is reached.
 *
 *   byte 0   which file; then its content
 */
#include "scratch.h"

#include "base/digest.h"
#include "base/endian.h"
#include "base/log.h"
#include "conf/intent.h"
#include "conf/state.h"
#include "format/ltx.h"
#include "replicate/freeze.h"
#include "replicate/inventory.h"
#include "replicate/resume.h"
#include "replicate/slot.h"
#include "restore/follow_state.h"
#include "source/pagesums.h"
#include "store/mem.h"

#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define URL "mem://fuzz"
#define L0_NAME "0000000000000007-0000000000000007.ltx"

static void make_folders(void)
{
	static const char *const folders[] = {"ltx", "ltx/0", "uploads"};
	if (!scratch_make())
		return;
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		must(mkdir(scratch_path(folders[i]), 0700) == 0);
}

/* A copy whose last 8 bytes are the CRC-64 of all before them. */
static uint8_t *sealed(const uint8_t *data, size_t size)
{
	uint8_t *p = malloc(size + 1);
	must(p != NULL);
	memcpy(p, data, size);
	if (size >= 8)
		put_be64(p + size - 8, crc64_iso(0, p, size - 8));
	return p;
}

static void read_state(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct state s;
	scratch_put("state.json", data, size);
	int rc = state_peek(scratch, &s, &e);
	must(rc == ERR_OK || ((rc == ERR_DAMAGED || rc == ERR_NOMEM) && *e.text));
	if (rc)
		return;
	must(memchr(s.replica, 0, sizeof(s.replica)) && memchr(s.reason, 0, sizeof(s.reason)));
	must(memchr(s.stopped, 0, sizeof(s.stopped)) && memchr(s.database, 0, sizeof(s.database)));
}

static void read_intent(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct intent i;
	struct buf text;
	buf_init(&text, 1 << 20);
	must(buf_append(&text, data, size) == ERR_OK);
	if (intent_decode(&i, &text, "app.db", &e) == ERR_OK) {
		must(!strchr(i.file, '/') && strncmp(i.file, ".app.db.", 8) == 0);
		must(memchr(i.stamp, 0, sizeof(i.stamp)) &&
			 strspn(i.stamp, "0123456789TZ-") == strlen(i.stamp));
	} else {
		must(*e.text);
	}
	buf_free(&text);
}

static void read_table(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct pagesums p;
	pagesums_init(&p, 512);
	int rc = pagesums_load(&p, scratch_put("pages", data, size), &e);
	must(rc == ERR_OK || rc == ERR_DAMAGED || rc == ERR_NOMEM);
	if (rc == ERR_OK)
		must((uint64_t)p.n_page * 8 < size && pagesums_get(&p, p.n_page + 1) == 0);
	pagesums_free(&p);
}

static void read_inventory(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct inventory inv;
	struct inventory_totals totals;
	struct ltx_set set;
	uint8_t *p = sealed(data, size);
	/* Of this replica, and as long as it says. */
	if (size >= 32) {
		put_be64(p + 8, crc64_iso(0, URL, strlen(URL)));
		put_be64(p + 16, (size - 32) / 32);
		put_be64(p + size - 8, crc64_iso(0, p, size - 8));
	}
	scratch_put("inventory", p, size);
	free(p);
	inventory_init(&inv);
	ltxset_init(&set);
	const struct ltx_file listed[] = {{0, 7, 7, 100, 1000}, {1, 1, 6, 50, 500}, {9, 1, 5, 20, 0}};
	for (size_t i = 0; i < 3; i++)
		must(ltxset_add(&set, &listed[i]) == ERR_OK);
	ltxset_sort(&set);
	must(inventory_load(&inv, &set, true, scratch, URL, 2000, &e) == ERR_OK);
	inventory_get_totals(&inv, &totals);
	must(inv.count == 3 && totals.files == 3);
	inventory_free(&inv);
	ltxset_free(&set);
}

static void read_upload(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct store *s;
	struct resume r;
	struct frozen f = {.txid = 7, .size = 200, .header = {.min_txid = 7, .max_txid = 7}};
	must(store_open(&s, URL, NULL, &e) == ERR_OK);
	scratch_put("uploads/0-" L0_NAME, data, size);
	must(resume_init(&r, scratch, s, 0, &f, &e) == ERR_OK);
	must(!r.put.token || strlen(r.put.token) <= size);
	resume_free(&r);
	store_close(s);
}

static void read_slot(const uint8_t *data, size_t size)
{
	char folder[128];
	struct err e = ERR_INIT;
	struct frozen f;
	uint8_t *slot = calloc(1, SLOT_SIZE);
	must(slot != NULL);
	memcpy(slot, data, size < SLOT_SIZE ? size : SLOT_SIZE);
	/* Right but for its length, which may be any. */
	memcpy(slot, "DLSFRZN1", 8);
	put_be64(slot + 8, 7);
	uint64_t n = get_be64(slot + 16);
	if (n <= SLOT_FILE_MAX)
		put_be64(slot + 24, crc64_iso(crc64_iso(0, slot, 24), slot + SLOT_HEADER, n));
	scratch_put("ltx/frozen", slot, SLOT_SIZE);
	free(slot);
	strcpy(folder, scratch_path("ltx/0"));
	must(slot_recover(folder, 7, &e) == ERR_OK);
	int rc = frozen_load(folder, 7, &f, &e);
	must(rc == ERR_OK || *e.text);
	must(rc != ERR_OK || (f.txid == 7 && f.size <= SLOT_FILE_MAX));
	scratch_put("ltx/frozen", data, size);
	must(slot_recover(folder, 7, &e) == ERR_OK);
	unlink(scratch_put("ltx/0/" L0_NAME, data, 0));
}

static void read_frozen(const uint8_t *data, size_t size)
{
	char folder[128];
	struct err e = ERR_INIT;
	struct frozen f;
	scratch_put("ltx/0/" L0_NAME, data, size);
	strcpy(folder, scratch_path("ltx/0"));
	int rc = frozen_load(folder, 7, &f, &e);
	must(rc == ERR_OK || *e.text);
	must(rc != ERR_OK || (f.txid == 7 && f.size == size));
	const char *to = scratch_path("snapshot");
	must(freeze_snapshot(folder, 7, to, &e) == ERR_OK || *e.text);
	unlink(to);
	unlink(scratch_put("ltx/0/" L0_NAME, data, 0));
}

static void read_follow(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct follow_state s;
	struct folder in;
	uint64_t txid;
	scratch_put(".app.db-follow", data, size);
	scratch_put("app.db-txid", data, size);
	must(folder_open(&in, scratch, &e) == ERR_OK);
	int rc = follow_state_load(&in, "app.db", &s, &e);
	must(rc == ERR_OK || ((rc == ERR_DATABASE || rc == ERR_NOMEM) && *e.text));
	must(rc || (s.now.txid && s.now.n_page && ltx_valid_page_size(s.now.page_size)));
	must(rc || !s.next.txid || (s.next.n_page && ltx_valid_page_size(s.next.page_size)));
	follow_state_free(&s);
	rc = follow_txid_load(&in, "app.db", &txid, &e);
	must(rc == ERR_OK ? txid != 0 : *e.text);
	folder_close(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const readers[])(const uint8_t *data, size_t size) = {read_state, read_intent,
		read_table, read_inventory, read_upload, read_slot, read_frozen, read_follow};
	if (size == 0)
		return 0;
	make_folders();
	log_set_level(LOG_ERROR);
	uint8_t kind = data[0] % 8;
	readers[kind](data + 1, size - 1);
	if (kind == 2) {
		uint8_t *p = sealed(data + 1, size - 1);
		read_table(p, size - 1);
		free(p);
	}
	return 0;
}
