/* Who may write to a replica: F6, F7 and F10 as a table of what was found and what follows. */
#include "replicate/start.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define US 0xaa
#define THEM 0xbb
#define SUM(n) (LTX_CHECKSUM_FLAG | (n))

static struct state st;
static struct start_facts f;
static struct start_plan p;
static struct err why;

/* A replica of ours at TXID 5, and a state that says so. */
static int setup(void **state)
{
	(void)state;
	st = (struct state){.txid = 5, .checksum = SUM(5), .last_l0_node_id = US, .node_id = US};
	f = (struct start_facts){
		.state = &st,
		.max_txid = 5,
		.last_is_l0 = true,
		.last = {.node_id = US, .ours = true, .after_checksum = SUM(5), .timestamp = 50},
	};
	why = (struct err)ERR_INIT;
	return 0;
}

static enum start_kind decide(void)
{
	why = (struct err)ERR_INIT;
	start_decide(&f, &p, &why);
	assert_true(p.base_txid == f.max_txid);
	assert_true((p.kind == START_FENCED || p.kind == START_PROVE) == (why.text[0] != '\0'));
	return p.kind;
}

static void test_empty(void **state)
{
	(void)state;
	f = (struct start_facts){.state = NULL};
	assert_int_equal(decide(), START_FIRST);
	assert_false(p.resend);
	/* Frozen, perhaps sent, never seen there. */
	st = (struct state){.txid = 0};
	f = (struct start_facts){.state = &st, .frozen_txid = 1};
	assert_int_equal(decide(), START_FIRST);
	assert_true(p.resend);
	/* A copy's is not sent. */
	f.copied = true;
	assert_int_equal(decide(), START_FIRST);
	assert_false(p.resend);
	/* What we had is gone: anew, not in the middle. */
	st = (struct state){.txid = 5, .last_l0_node_id = US};
	f = (struct start_facts){.state = &st, .frozen_txid = 6};
	assert_int_equal(decide(), START_FIRST);
	assert_false(p.resend);
}

static void test_ours(void **state)
{
	(void)state;
	assert_int_equal(decide(), START_CONTINUE);
	assert_false(p.resend);
	assert_true(p.base_checksum == SUM(5));
	assert_int_equal(p.base_timestamp_ms, 50);
	assert_int_equal(p.base_node_id, US);
	f.frozen_txid = 6;
	assert_int_equal(decide(), START_CONTINUE);
	assert_true(p.resend);
	/* A person's word changes nothing for the owner. */
	f.takeover = true;
	assert_int_equal(decide(), START_CONTINUE);
	/* Litestream drops our bytes when it compacts; who wrote the L0 still shows. */
	f.takeover = false;
	f.last.ours = false;
	f.last.after_checksum = 0;
	assert_int_equal(decide(), START_CONTINUE);
}

static void test_accepted_but_not_journaled(void **state)
{
	(void)state;
	f.max_txid = 6;
	f.frozen_txid = 6;
	f.frozen_there = f.frozen_same = true;
	f.last.after_checksum = SUM(6);
	assert_int_equal(decide(), START_CONTINUE);
	assert_true(p.resend);
	/* A clone's frozen file proves nothing. */
	f.copied = true;
	assert_int_equal(decide(), START_PROVE);
}

static void test_not_ours(void **state)
{
	(void)state;
	struct start_facts ours = f;
	/* They wrote the last file. */
	f.last.node_id = THEM;
	assert_int_equal(decide(), START_PROVE);
	f.last.after_checksum = 0;
	assert_int_equal(decide(), START_FENCED);
	f.takeover = true;
	assert_int_equal(decide(), START_TAKEOVER);
	assert_true(p.base_checksum == 0);
	/* They went on. */
	f = ours;
	why = (struct err)ERR_INIT;
	f.max_txid = 7;
	assert_int_equal(decide(), START_PROVE);
	/* They wrote what we were about to write. */
	f = ours;
	f.max_txid = 6;
	f.frozen_txid = 6;
	f.frozen_there = true;
	assert_int_equal(decide(), START_PROVE);
	assert_non_null(strstr(why.text, "0000000000000006"));
	/* The same node id with another checksum: a clone was here. */
	f = ours;
	f.last.after_checksum = SUM(99);
	assert_int_equal(decide(), START_PROVE);
	/* No node id is nobody's. */
	f = ours;
	f.last.node_id = st.last_l0_node_id = 0;
	assert_int_equal(decide(), START_PROVE);
}

static void test_files_vanished(void **state)
{
	(void)state;
	f.max_txid = 4;
	f.last.ours = false;
	assert_int_equal(decide(), START_FENCED);
	assert_non_null(strstr(why.text, "files were removed"));
	f.takeover = true;
	assert_int_equal(decide(), START_TAKEOVER);
}

static void test_no_state(void **state)
{
	(void)state;
	f.state = NULL;
	assert_int_equal(decide(), START_PROVE);
	f.last.ours = false;
	assert_int_equal(decide(), START_FENCED);
	f.takeover = true;
	assert_int_equal(decide(), START_TAKEOVER);
}

static void test_copies(void **state)
{
	(void)state;
	f.copied = true;
	assert_int_equal(decide(), START_PROVE);
	assert_non_null(strstr(why.text, "copy"));
	st.restored = true;
	assert_int_equal(decide(), START_PROVE);
}

static void test_restored(void **state)
{
	(void)state;
	st.restored = true;
	st.last_l0_node_id = 0;
	assert_int_equal(decide(), START_RESTORED);
	/* Restore notes whose file it was. That file is settled by nobody here. */
	st.last_l0_node_id = f.last.node_id;
	assert_int_equal(decide(), START_RESTORED);
	/* The claim began before a crash: it goes on with the bytes that may be on their way. */
	st.claim_due = true;
	f.frozen_txid = 6;
	assert_int_equal(decide(), START_CONTINUE);
	assert_true(p.resend);
	st.claim_due = false;
	f.frozen_txid = 0;
	/* To an older point, of this replica as it was then… */
	st.txid = 3;
	st.restored_of = 5;
	assert_int_equal(decide(), START_RESTORED);
	assert_true(p.base_checksum == SUM(5));
	/* …and somebody has written since. */
	f.max_txid = 6;
	assert_int_equal(decide(), START_PROVE);
	why = (struct err)ERR_INIT;
	/* Another state of the same TXID is not what was restored. */
	f.max_txid = 5;
	st.txid = 5;
	st.restored_of = 0;
	st.checksum = SUM(77);
	assert_int_equal(decide(), START_PROVE);
}

/* Proven, the claim frozen, then a crash: it goes on without another proof. */
static void test_claim_under_way(void **state)
{
	(void)state;
	st.last_l0_node_id = THEM;
	st.claim_due = true;
	f.last.node_id = THEM;
	f.frozen_txid = 6;
	assert_int_equal(decide(), START_CONTINUE);
	assert_true(p.resend);
}

/* Only higher levels are left (another program's work): nobody's place to go on. */
static void test_no_l0(void **state)
{
	(void)state;
	f.last_is_l0 = false;
	assert_int_equal(decide(), START_PROVE);
}

/* Litestream's files record nothing: where they can be read, the database is compared with them. */
static void test_litestreams(void **state)
{
	(void)state;
	f.state = NULL;
	f.last = (struct ltx_header){.timestamp = 50};
	f.comparable = true;
	assert_int_equal(decide(), START_COMPARE);
	f.takeover = true;
	assert_int_equal(decide(), START_TAKEOVER);
	f.takeover = false;
	/* What was restored from them goes on; once it is shown to be theirs, a claim is due. */
	f.state = &st;
	st = (struct state){.txid = 5, .restored = true};
	assert_int_equal(decide(), START_RESTORED);
	st = (struct state){.txid = 5, .claim_due = true, .timestamp_ms = 50};
	assert_int_equal(decide(), START_CONTINUE);
	/* Not of another file of that TXID, nor without the claim. */
	st.timestamp_ms = 51;
	assert_int_equal(decide(), START_COMPARE);
	st.timestamp_ms = 50;
	st.claim_due = false;
	assert_int_equal(decide(), START_COMPARE);
	/* Ours, with a checksum, are proven. */
	f.last.ours = true;
	f.last.after_checksum = SUM(5);
	f.last.node_id = THEM;
	assert_int_equal(decide(), START_PROVE);
}

static void test_legacy(void **state)
{
	(void)state;
	f = (struct start_facts){.comparable = true, .legacy = true, .legacy_ms = 50};
	assert_int_equal(decide(), START_COMPARE);
	f.takeover = true;
	assert_int_equal(decide(), START_FIRST);
	f.takeover = false;
	/* Restored, and nobody has written there since. */
	f.state = &st;
	st = (struct state){.restored = true, .timestamp_ms = 50};
	f.same_file = true;
	assert_int_equal(decide(), START_FIRST);
	assert_int_equal(p.legacy_ms, 50);
	f.legacy_ms = 51;
	assert_int_equal(decide(), START_COMPARE);
	f.legacy_ms = 50;
	f.same_file = false;
	assert_int_equal(decide(), START_COMPARE);
	f.same_file = f.copied = true;
	assert_int_equal(decide(), START_COMPARE);
	/* A file that may be on its way is the answer. */
	f.copied = false;
	st.restored = false;
	f.frozen_txid = 1;
	assert_int_equal(decide(), START_FIRST);
	assert_true(p.resend);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_empty),
		TEST(test_ours),
		TEST(test_accepted_but_not_journaled),
		TEST(test_not_ours),
		TEST(test_files_vanished),
		TEST(test_no_state),
		TEST(test_copies),
		TEST(test_restored),
		TEST(test_claim_under_way),
		TEST(test_no_l0),
		TEST(test_litestreams),
		TEST(test_legacy),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
