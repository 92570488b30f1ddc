/* The state folder: locked, replaced whole, and its copies known (F10). */
#include "conf/state.h"

#include "base/buf.h"
#include "base/fs.h"
#include "lib/tmpdir.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

struct bed {
	char *root;
	char dir[256], file[300];
	struct state_dir *d;
	struct state s;
	struct err e;
};

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	b->root = tmpdir_new();
	snprintf(b->dir, sizeof(b->dir), "%s/a/meta", b->root);
	snprintf(b->file, sizeof(b->file), "%s/state.json", b->dir);
	if (state_dir_open(&b->d, b->dir, &b->e))
		return -1;
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bed *b = *state;
	state_dir_close(b->d);
	tmpdir_free(b->root);
	free(b);
	return 0;
}

static void save(struct bed *b)
{
	if (state_save(b->d, &b->s, &b->e))
		fail_msg("%s", b->e.text);
}

/* Every member other than 0, with text that JSON must escape. */
static void fill(struct state *s)
{
	memset(s, 0, sizeof(*s));
	snprintf(s->replica, sizeof(s->replica), "s3://bucket/\"a\\b\"");
	snprintf(s->database, sizeof(s->database), "/data/\xc3\xa4 \n.db");
	s->dev = UINT64_MAX;
	s->ino = 2;
	s->page_size = 65536;
	s->n_page = UINT32_MAX;
	s->txid = UINT64_MAX - 1;
	s->checksum = UINT64_C(1) << 63 | 5;
	s->timestamp_ms = INT64_C(1700000000123);
	s->pos = (struct state_position){true, {0xff, 1, 0, 2, 3, 4, 5, 6}, 77, {UINT32_MAX, 8}};
	s->node_id = 9;
	s->prev_node_id = 10;
	s->last_l0_node_id = 11;
	s->restored = s->claim_due = s->probed = s->weak_fencing = true;
	s->restored_of = 12;
	s->snapshot_txid = 13;
	s->manifest_digest = 14;
	snprintf(s->stopped, sizeof(s->stopped), "fenced");
	snprintf(s->reason, sizeof(s->reason), "because");
	s->confirmed_wall_ms = 15;
	s->confirmed_boot_ms = 16;
}

static void test_round_trip(void **state)
{
	struct bed *b = *state;
	struct state read;
	bool copied = true;
	assert_int_equal(state_load(b->d, &read, &copied, &b->e), ERR_NOT_FOUND);
	fill(&b->s);
	save(b);
	assert_int_equal(state_load(b->d, &read, &copied, &b->e), ERR_OK);
	assert_false(copied);
	assert_true(state_same_boot(&read));
	assert_string_equal(read.replica, b->s.replica);
	assert_string_equal(read.database, b->s.database);
	assert_int_equal(read.dev, b->s.dev);
	assert_int_equal(read.ino, b->s.ino);
	assert_int_equal(read.page_size, b->s.page_size);
	assert_int_equal(read.n_page, b->s.n_page);
	assert_true(read.txid == b->s.txid);
	assert_true(read.checksum == b->s.checksum);
	assert_int_equal(read.timestamp_ms, b->s.timestamp_ms);
	assert_true(read.pos.resumable);
	assert_memory_equal(read.pos.salt, b->s.pos.salt, 8);
	assert_int_equal(read.pos.frame, 77);
	assert_int_equal(read.pos.cksum[0], UINT32_MAX);
	assert_int_equal(read.pos.cksum[1], 8);
	assert_int_equal(read.node_id, 9);
	assert_int_equal(read.prev_node_id, 10);
	assert_int_equal(read.last_l0_node_id, 11);
	assert_true(read.restored && read.claim_due && read.probed && read.weak_fencing);
	assert_int_equal(read.restored_of, 12);
	assert_int_equal(read.snapshot_txid, 13);
	assert_int_equal(read.manifest_digest, 14);
	assert_string_equal(read.stopped, "fenced");
	assert_string_equal(read.reason, "because");
	assert_int_equal(read.confirmed_wall_ms, 15);
	assert_int_equal(read.confirmed_boot_ms, 16);
}

/* Of a process of its own: flock does not hold within one that opened it twice by fork. */
static void test_locked(void **state)
{
	struct bed *b = *state;
	struct state_dir *second = NULL;
	char pid[32];
	assert_int_equal(state_dir_open(&second, b->dir, &b->e), ERR_AGAIN);
	snprintf(pid, sizeof(pid), "process %ld", (long)getpid());
	assert_non_null(strstr(b->e.text, pid));
	state_dir_close(b->d);
	b->d = NULL;
	assert_int_equal(state_dir_open(&b->d, b->dir, &b->e), ERR_OK);
	struct stat st;
	assert_int_equal(stat(b->dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
}

/* At rest it is locked, and what was true before is. */
static void test_at_rest(void **state)
{
	struct bed *b = *state;
	struct state_dir *second = NULL;
	struct state read;
	bool copied = true;
	fill(&b->s);
	assert_false(state_exists(b->d));
	state_dir_rest(b->d);
	assert_int_equal(state_dir_open(&second, b->dir, &b->e), ERR_AGAIN);
	assert_false(state_exists(b->d));
	assert_int_equal(state_load(b->d, &read, &copied, &b->e), ERR_NOT_FOUND);
	save(b);
	assert_true(state_exists(b->d));
	assert_int_equal(state_load(b->d, &read, &copied, &b->e), ERR_OK);
	assert_false(copied);
	assert_int_equal(read.txid, b->s.txid);
	/* A folder that is gone is not one without a state. */
	char away[300];
	snprintf(away, sizeof(away), "%s-away", b->dir);
	assert_int_equal(rename(b->dir, away), 0);
	assert_int_equal(state_load(b->d, &read, &copied, &b->e), ERR_IO);
	assert_int_equal(state_save(b->d, &b->s, &b->e), ERR_IO);
	assert_non_null(strstr(b->e.text, "is gone"));
	assert_int_equal(rename(away, b->dir), 0);
}

static void reopen_at(struct bed *b, const char *dir)
{
	state_dir_close(b->d);
	b->d = NULL;
	assert_int_equal(state_dir_open(&b->d, dir, &b->e), ERR_OK);
}

static bool load_copied(struct bed *b)
{
	struct state read;
	bool copied = false;
	assert_int_equal(state_load(b->d, &read, &copied, &b->e), ERR_OK);
	return copied;
}

/* Changes one member in the file, as another machine, boot or disk would have it. The checksum goes
 * with it: versions before it wrote none, and theirs are read. */
static void edit(struct bed *b, const char *sed)
{
	char command[800];
	snprintf(command, sizeof(command),
		"sed -i -e '%s' -e '/\"crc64\"/d' -e '/confirmed_boot_ms/s/,$//' '%s'", sed, b->file);
	assert_int_equal(system(command), 0);
}

static void test_copies(void **state)
{
	struct bed *b = *state;
	char command[900], copy[300];
	fill(&b->s);
	save(b);
	snprintf(copy, sizeof(copy), "%s/copy", b->root);
	snprintf(command, sizeof(command), "cp -a '%s' '%s'", b->dir, copy);
	assert_int_equal(system(command), 0);
	reopen_at(b, copy);
	assert_true(load_copied(b));
	/* Saved there it is at home there. */
	save(b);
	assert_false(load_copied(b));
	reopen_at(b, b->dir);
	assert_false(load_copied(b));
	edit(b, "/dir_dev/s/[0-9a-f]\\{16\\}/00000000000000ff/");
	assert_true(load_copied(b));
	/* Device numbers may change with a boot. */
	edit(b, "/boot_id/s/: \".*\"/: \"another\"/");
	assert_false(load_copied(b));
	edit(b, "/machine_id/s/: \".*\"/: \"another\"/");
	/* Where this machine has no id (a bare container) it can't tell another one's. */
	assert_int_equal(load_copied(b), access("/etc/machine-id", R_OK) == 0);
}

static void test_damaged(void **state)
{
	struct bed *b = *state;
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"{\"version\": 2}",
		"{\"version\": 1, \"txid\": 5}",
		"{\"version\": 1, \"txid\": \"5\"}",
		"{\"version\": 1, \"txid\": \"000000000000000G\"}",
		"{\"version\": 1, \"n_page\": -1}",
		"{\"version\": 1, \"n_page\": 4294967296}",
		"{\"version\": 1, \"restored\": 1}",
		"{\"version\": 1, \"pos.salt\": \"00\"}",
		"{\"version\": 1, \"stopped\": \"a word that is much too long for this\"}",
		"{\"version\": 1, \"version\": 1}",
	};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct state read;
		bool copied;
		assert_int_equal(fs_replace_file(b->file, texts[i], strlen(texts[i]), 0600, &b->e), ERR_OK);
		assert_int_equal(state_load(b->d, &read, &copied, &b->e), ERR_DAMAGED);
		assert_non_null(strstr(b->e.text, "state.json"));
		assert_int_equal(read.txid, 0);
	}
}

/* Written over what is there: a file that is emptied first waits for the disk. */
static void put_bytes(struct bed *b, const void *p, size_t n)
{
	int fd = fs_open(b->file, O_WRONLY, 0);
	assert_true(fd >= 0 && !fs_pwrite_full(fd, p, n, 0) && !fs_ftruncate(fd, (off_t)n));
	fs_close(fd);
}

/* Nothing else than what was written is ever taken for it: cut off anywhere, a bit wrong anywhere.
 */
static void test_every_bit_counts(void **state)
{
	struct bed *b = *state;
	struct buf text;
	struct state read;
	bool copied;
	fill(&b->s);
	save(b);
	buf_init(&text, 65536);
	assert_int_equal(fs_read_file(b->file, &text, &b->e), ERR_OK);
	for (size_t n = 0; n < text.len; n++) {
		put_bytes(b, text.data, n);
		assert_int_equal(state_load(b->d, &read, &copied, &b->e), ERR_DAMAGED);
	}
	for (size_t bit = 0; bit < 8 * text.len; bit++) {
		text.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		put_bytes(b, text.data, text.len);
		text.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		memset(&read, 0, sizeof(read));
		int rc = state_load(b->d, &read, &copied, &b->e);
		/* In the checksum's own name: the rest is whole. */
		if (rc != ERR_DAMAGED && memcmp(&read, &b->s, sizeof(read)) != 0)
			fail_msg("bit %zu: %d", bit, rc);
	}
	buf_free(&text);
}

static void test_names(void **state)
{
	(void)state;
	char *dir = state_default_dir("/data/app.db");
	assert_string_equal(dir, "/data/.app.db-litestream");
	free(dir);
	uint64_t one = state_new_node_id(), two = state_new_node_id();
	assert_true(one != 0 && two != 0 && one != two);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_round_trip),
		TEST(test_locked),
		TEST(test_at_rest),
		TEST(test_copies),
		TEST(test_damaged),
		TEST(test_every_bit_counts),
		TEST(test_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
