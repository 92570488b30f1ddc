/* Who may go on with a replica: copies and restored databases, with and without their state (F6,
 * F10). */
#include "lib/fence_bed.h"

#include "base/fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define HOUR_MS (INT64_C(3600) * 1000)

/* ---- the same database, another state ---- */

/* F10: a copy of folder and database that went another way must not go on. */
static void test_copy_that_went_its_own_way(void **state)
{
	struct bed *b = *state;
	a_shipped(b, 20);
	copy_node(&b->a, &b->b);
	app_change(b->b.db);
	start(&b->b);
	check_stopped(&b->b);
	start(&b->a);
	goes_on(b, &b->a);
	/* Being refused has not made the copy an original. */
	restart(&b->b);
	check_stopped(&b->b);
}

/* A copy that shows the recorded checksum may claim; the original then is second. */
static void test_copy_that_is_the_same(void **state)
{
	struct bed *b = *state;
	b->line.handovers = 1;
	a_shipped(b, 20);
	copy_node(&b->a, &b->b);
	start_as(b, &b->b, 2);
	goes_on(b, &b->b);
	start(&b->a);
	check_stopped(&b->a);
}

/* A folder that was only renamed is no copy. */
static void test_renamed_folder(void **state)
{
	struct bed *b = *state;
	b->line.handovers = 1;
	a_shipped(b, 20);
	assert_int_equal(rmdir(b->b.dir), 0);
	assert_int_equal(rename(b->a.dir, b->b.dir), 0);
	app_change(b->b.db);
	start_as(b, &b->b, 2);
}

/* F6: without a state the checksum is proof, and page 1 the claim. */
static void test_lost_state(void **state)
{
	struct bed *b = *state;
	a_shipped(b, 200);
	assert_int_equal(fs_remove_tree(b->a.meta), 0);
	start_as(b, &b->a, 2);
	struct replicator_status st = ship_status(&b->a.s);
	assert_int_equal(st.state, REPLICATOR_REPLICATING);
	assert_int_equal(st.uploads, 1);
	ship_close(&b->a.s);
	assert_int_equal(fs_remove_tree(b->a.meta), 0);
	app_change(b->a.db);
	start(&b->a);
	check_stopped(&b->a);
}

/* ---- clones of a whole host: nothing in the folder tells them apart ---- */

static void clone_host(struct bed *b)
{
	copy_node(&b->a, &b->b);
	as_on_a_cloned_disk(&b->b);
}

/* While nobody runs, and nothing is on its way. */
static void ship_and_clone(struct bed *b)
{
	a_shipped(b, 20);
	clone_host(b);
}

/* A's second upload is frozen, and A ends before the store is back. */
static void ship_and_freeze(struct bed *b)
{
	a_ships(b, 20);
	fault(STORE_OP_PUT, "2.ltx", 0, 0, ERR_UNREACHABLE);
	app_change(b->a.db);
	assert_true(ship_until(&b->a.s, REPLICATOR_BEHIND));
	ship_close(&b->a.s);
	store_fault_heal("f");
}

/* Both run, both know the last upload for theirs; who ships first has the replica (F2, F3). */
static void test_clones_that_both_run(void **state)
{
	struct bed *b = *state;
	b->line.handovers = 1;
	ship_and_clone(b);
	start(&b->a);
	start(&b->b);
	ship(&b->a);
	ship(&b->b);
	assert_int_equal(ship_max_txid(URL), 1);
	goes_on(b, &b->b);
	app_change(b->a.db);
	check_stopped(&b->a);
	goes_on(b, &b->b);
	restart(&b->a);
	check_stopped(&b->a);
}

/* The clone is started when the other one had gone on. */
static void test_clone_that_comes_second(void **state)
{
	struct bed *b = *state;
	ship_and_clone(b);
	start(&b->a);
	goes_on(b, &b->a);
	app_change(b->b.db);
	start(&b->b);
	check_stopped(&b->b);
	goes_on(b, &b->a);
}

/* It ran all the time and was idle, and the names that would refuse it are free again (F4). */
static void test_clone_that_slept_for_hours(void **state)
{
	struct bed *b = *state;
	ship_and_clone(b);
	start(&b->b);
	ship(&b->b);
	start(&b->a);
	goes_on_for_long(b, &b->a);
	ship_skip(3 * 3600 * 1000);
	app_change(b->b.db);
	check_stopped(&b->b);
	goes_on(b, &b->a);
}

/* Cloned with an upload on its way: both send the same bytes, and that is one state. The next one
 * tells them apart. */
static void test_clones_with_a_frozen_file(void **state)
{
	struct bed *b = *state;
	b->line.handovers = 1;
	ship_and_freeze(b);
	clone_host(b);
	start(&b->b);
	check_same(b, &b->b);
	start(&b->a);
	ship(&b->a);
	assert_int_equal(ship_max_txid(URL), 2);
	goes_on(b, &b->b);
	app_change(b->a.db);
	check_stopped(&b->a);
	goes_on(b, &b->b);
}

/* A state folder alone was copied, to another database. */
static void test_copied_state_of_another_database(void **state)
{
	struct bed *b = *state;
	char command[700];
	a_shipped(b, 20);
	app_create(b->b.db, 20);
	snprintf(command, sizeof(command), "cp -a '%s' '%s'", b->a.meta, b->b.meta);
	assert_int_equal(system(command), 0);
	start(&b->b);
	check_stopped(&b->b);
	assert_non_null(strstr(ship_status(&b->b.s).reason, "copy"));
	restart(&b->b);
	check_stopped(&b->b);
	start(&b->a);
	goes_on(b, &b->a);
}

/* ---- restored ---- */

static uint64_t bytes_put(struct node *n)
{
	return ship_status(&n->s).requests.bytes_out;
}

/* A restored database goes on without a snapshot, even when its app is quicker than we. */
static void test_restored(void **state)
{
	struct bed *b = *state;
	b->line.handovers = 1;
	a_ships(b, 2000);
	goes_on(b, &b->a);
	ship_close(&b->a.s);
	restore_to(b, &b->b, 0);
	app_sql(b->b.db, "INSERT INTO t(b) VALUES ('quick')");
	start_as(b, &b->b, 3);
	assert_true(bytes_put(&b->b) < 100000);
	goes_on(b, &b->b);
	app_change(b->a.db);
	start(&b->a);
	check_stopped(&b->a);
}

/* Restored and never written: it claims all the same, so the first node hears of it at once. */
static void test_restored_and_idle(void **state)
{
	struct bed *b = *state;
	a_shipped(b, 20);
	b_claims(b);
	app_change(b->a.db);
	start(&b->a);
	check_stopped(&b->a);
}

/* The timeline stays one: what comes after turns the last state into the restored one. */
static void test_restored_to_an_older_point(void **state)
{
	struct bed *b = *state;
	b->line.handovers = 1;
	app_create(b->a.db, 300);
	start(&b->a);
	for (int i = 0; i < 3; i++) {
		check_same(b, &b->a);
		app_change(b->a.db);
	}
	check_same(b, &b->a);
	ship_close(&b->a.s);
	restore_to(b, &b->b, 2);
	start_as(b, &b->b, 5);
	goes_on(b, &b->b);
}

/* Restored, and meanwhile the first node went on: too late. */
static void test_restored_too_early(void **state)
{
	struct bed *b = *state;
	a_ships(b, 20);
	restore_to(b, &b->b, 0);
	goes_on(b, &b->a);
	start(&b->b);
	check_stopped(&b->b);
}

/* ---- claims ---- */

/* Two hosts restored the same state, and both found that nobody had written since. */
static void test_two_claims(void **state)
{
	struct bed *b = *state;
	char command[700];
	b->line.handovers = 1;
	a_shipped(b, 20);
	snprintf(command, sizeof(command), "rm -rf '%s'/*.db* '%s'", b->a.dir, b->a.meta);
	assert_int_equal(system(command), 0);
	restore_to(b, &b->a, 0);
	restore_to(b, &b->b, 0);
	fault(STORE_OP_PUT, "2.ltx", 1, 1, ERR_UNREACHABLE);
	start(&b->a);
	assert_true(ship_until(&b->a.s, REPLICATOR_BEHIND));
	start(&b->b);
	check_same(b, &b->b);
	check_stopped(&b->a);
	restart(&b->a);
	check_stopped(&b->a);
	goes_on(b, &b->b);
}

/* The owner lives and was idle: the claim is first, and the owner stops at its next upload. */
static void test_claim_against_an_idle_owner(void **state)
{
	struct bed *b = *state;
	a_ships(b, 20);
	b_claims(b);
	app_change(b->a.db);
	check_stopped(&b->a);
	goes_on(b, &b->b);
}

/* The owner is quicker by a moment: the claim is refused, the owner hears nothing of it, and who
 * was refused does not come again behind it. */
static void test_claim_against_a_busy_owner(void **state)
{
	struct bed *b = *state;
	a_ships(b, 20);
	restore_to(b, &b->b, 0);
	let_a_come_between(b);
	start(&b->b);
	assert_true(ship_until(&b->b.s, REPLICATOR_FENCED));
	assert_int_equal(ship_max_txid(URL), 2);
	check_second(b, &b->b, &b->a);
}

/* A's put was accepted and the answer lost; before it asked again, another one had restored that
 * very state and claimed it. */
static void lost_answer_and_a_claim(struct bed *b)
{
	b->line.handovers = 1;
	a_ships(b, 20);
	add_fault(STORE_OP_PUT, "2.ltx", 1, 1, STORE_FAULT_LOSE_ANSWER, ERR_UNREACHABLE);
	app_change(b->a.db);
	assert_true(ship_until(&b->a.s, REPLICATOR_BEHIND));
	timeline_note(&b->line, "a", b->a.db, 2, b->dir);
	restore_to(b, &b->b, 0);
	start(&b->b);
	goes_on(b, &b->b);
}

/* The upload was its own, the replica is not any more. */
static void test_lost_answer_and_a_claim(void **state)
{
	struct bed *b = *state;
	lost_answer_and_a_claim(b);
	assert_int_equal(ship_sync(&b->a.s, 0), ERR_OK);
	assert_int_equal(ship_status(&b->a.s).txid, 2);
	app_change(b->a.db);
	check_stopped(&b->a);
	goes_on(b, &b->b);
}

/* The same, and it was away for longer than a proof lasts: it looks behind its last upload first,
 * and finds its own file there, and what follows it. */
static void test_lost_answer_and_hours(void **state)
{
	struct bed *b = *state;
	lost_answer_and_a_claim(b);
	ship_skip(100 * 60 * 1000);
	assert_int_equal(ship_sync(&b->a.s, 0), ERR_FENCED);
	check_stopped(&b->a);
	goes_on(b, &b->b);
}

/* Frozen and not sent when it stopped; another one then wrote that TXID. */
static void test_frozen_and_another_is_there(void **state)
{
	struct bed *b = *state;
	ship_and_freeze(b);
	b_claims(b);
	start(&b->a);
	check_stopped(&b->a);
	goes_on(b, &b->b);
}

/* Restored, claimed and gone on for hours, so that the names behind its last upload are free: the
 * old host comes back. By its clocks so much time has passed. */
static void old_host_comes_back(struct bed *b, bool stopped, int64_t boot_ms, int64_t wall_ms)
{
	b->line.handovers = 1;
	a_ships(b, 20);
	if (stopped)
		ship_close(&b->a.s);
	restore_to(b, &b->b, 0);
	start(&b->b);
	goes_on_for_long(b, &b->b);
	ship_skip(boot_ms);
	ship_set_clock(wall_ms - boot_ms);
	app_change(b->a.db);
	if (stopped)
		start(&b->a);
	check_stopped(&b->a);
	goes_on(b, &b->b);
}

static void test_old_host_is_started_again(void **state)
{
	old_host_comes_back(*state, true, 4 * HOUR_MS, 4 * HOUR_MS);
}

static void test_old_host_was_never_stopped(void **state)
{
	old_host_comes_back(*state, false, 4 * HOUR_MS, 4 * HOUR_MS);
}

/* Meanwhile somebody set its clock back. */
static void test_old_host_with_a_slow_clock(void **state)
{
	old_host_comes_back(*state, false, 4 * HOUR_MS, 0);
}

/* A machine that goes on from a picture of its memory knows of the time since by a time server. */
static void test_old_host_from_a_snapshot(void **state)
{
	old_host_comes_back(*state, false, 0, 4 * HOUR_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_copy_that_went_its_own_way),
		TEST(test_copy_that_is_the_same),
		TEST(test_renamed_folder),
		TEST(test_lost_state),
		TEST(test_clones_that_both_run),
		TEST(test_clone_that_comes_second),
		TEST(test_clone_that_slept_for_hours),
		TEST(test_clones_with_a_frozen_file),
		TEST(test_copied_state_of_another_database),
		TEST(test_restored),
		TEST(test_restored_and_idle),
		TEST(test_restored_to_an_older_point),
		TEST(test_restored_too_early),
		TEST(test_two_claims),
		TEST(test_claim_against_an_idle_owner),
		TEST(test_claim_against_a_busy_owner),
		TEST(test_lost_answer_and_a_claim),
		TEST(test_lost_answer_and_hours),
		TEST(test_frozen_and_another_is_there),
		TEST(test_old_host_is_started_again),
		TEST(test_old_host_was_never_stopped),
		TEST(test_old_host_with_a_slow_clock),
		TEST(test_old_host_from_a_snapshot),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
