/*
 * The Nth allocation fails, and from then on all, or that one alone: of our code, SQLite, jansson
 * and the C library. Over the opening, uploads and an upkeep; what must be true after each life
 * says lib/host_bed.h. (Not under a sanitizer, which has an allocator of its own.)
 */
#include "lib/no_memory.h"

#include "lib/host_bed.h"
#include "lib/sweep.h"

#if !NO_MEMORY_POSSIBLE
static void test_uploads(void **state)
{
	(void)state;
	skip();
}

static void test_upkeep(void **state)
{
	(void)state;
	skip();
}
#else

static void no_memory(bool begin)
{
	__atomic_store_n(&armed, begin, __ATOMIC_RELEASE);
}

static void one_life(struct bed *b, unsigned at, bool upkeep)
{
	if (upkeep)
		ship_skip(DAY_MS + DAY_MS / 10);
	snprintf(b->what, sizeof(b->what), "allocation %u%s", at, fail_for_ever ? " and on" : "");
	witness_commit(&b->w);
	bed_begin(b);
	b->around = no_memory;
	calls = 0;
	fail_at = at;
	bool opened = open_if_possible(b);
	if (opened)
		live(b, upkeep);
	unsigned n = calls;
	bed_settle(b, opened, upkeep, !fail_for_ever);
	calls = n;
}

static void sweep(bool for_ever, bool upkeep, unsigned rounds)
{
	struct sweep s;
	struct bed b;
	fail_for_ever = for_ever;
	bed_open(&b);
	for (sweep_begin(&s, rounds); sweep_next(&s);) {
		one_life(&b, s.at, upkeep);
		sweep_saw(&s, calls);
	}
	bed_close(&b);
}

static void test_uploads(void **state)
{
	(void)state;
	sweep(false, false, 10);
	sweep(true, false, 20);
}

static void test_upkeep(void **state)
{
	(void)state;
	sweep(false, true, 10);
	sweep(true, true, 10);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uploads),
		cmocka_unit_test(test_upkeep),
	};
	return cmocka_run_group_tests_name("memory of the host", tests, NULL, NULL);
}
