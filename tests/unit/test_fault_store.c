/* The store that goes wrong on command does so as its rules say, and otherwise is the one behind
 * it. */
#include "store/fault.h"
#include "store/mem.h"

#include "base/buf.h"
#include "base/clock.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

static struct store *s;
static struct err e;

static int set_up(void **state)
{
	(void)state;
	store_mem_forget(NULL);
	assert_int_equal(store_fault_register("f", NULL, &e), ERR_OK);
	return store_open(&s, "fault://f", NULL, &e);
}

static int tear_down(void **state)
{
	(void)state;
	store_close(s);
	store_fault_forget();
	store_mem_forget(NULL);
	return 0;
}

static int put(const char *name)
{
	struct store_body body = {.data = "0123456789", .fd = -1, .size = 10};
	return store_put(s, name, &body, &(struct store_put_opts){.only_if_absent = true}, &e);
}

static void add(struct store_fault rule)
{
	assert_int_equal(store_fault_add("f", &rule), ERR_OK);
}

static void strikes_the_nth_call_some_times(void **state)
{
	(void)state;
	add((struct store_fault){.op = STORE_OP_PUT, .nth = 2, .times = 2, .code = ERR_DENIED});
	assert_int_equal(put("a"), ERR_OK);
	assert_int_equal(put("b"), ERR_DENIED);
	assert_int_equal(put("b"), ERR_DENIED);
	assert_int_equal(put("b"), ERR_OK);
	assert_int_equal(store_fault_calls("f", STORE_OP_PUT), 4);
	assert_int_equal(store_fault_calls("f", STORE_OP_GET), 0);
	assert_int_equal(store_fault_calls("f", STORE_OP_ANY), 4);
}

static void strikes_by_name_for_ever_until_healed(void **state)
{
	(void)state;
	struct store_object o;
	add((struct store_fault){.op = STORE_OP_ANY, .name_contains = "0009/"});
	assert_int_equal(put("0000/a"), ERR_OK);
	for (int i = 0; i < 5; i++)
		assert_int_equal(put("0009/a"), ERR_UNREACHABLE);
	assert_int_equal(store_head(s, "0009/a", &o, &e), ERR_UNREACHABLE);
	store_fault_heal("f");
	assert_int_equal(store_head(s, "0009/a", &o, &e), ERR_NOT_FOUND);
	assert_int_equal(put("0009/a"), ERR_OK);
}

static bool is_b(void *ctx, const char *name)
{
	(void)ctx;
	return strcmp(name, "b") == 0;
}

static int join(void *ctx, const struct store_object *o, struct err *err)
{
	(void)err;
	strcat(ctx, o->name);
	return ERR_OK;
}

static void hides_what_is_there_from_a_listing(void **state)
{
	(void)state;
	struct store_object o;
	char names[8] = "", first[8] = "";
	for (int i = 0; i < 3; i++)
		assert_int_equal(put((const char *[]){"0/a", "0/b", "0/c"}[i]), ERR_OK);
	add((struct store_fault){.op = STORE_OP_LIST, .action = STORE_FAULT_HIDE, .hides = is_b});
	assert_int_equal(store_list(s, "0/", NULL, 0, join, names, &e), ERR_OK);
	assert_string_equal(names, "ac");
	assert_int_equal(store_list(s, "0/", "a", 1, join, first, &e), ERR_OK);
	assert_string_equal(first, "c");
	assert_int_equal(store_head(s, "0/b", &o, &e), ERR_OK);
}

static void loses_the_answer_but_not_the_object(void **state)
{
	(void)state;
	add((struct store_fault){.op = STORE_OP_PUT, .times = 1, .action = STORE_FAULT_LOSE_ANSWER});
	assert_int_equal(put("a"), ERR_UNREACHABLE);
	assert_int_equal(put("a"), ERR_CONDITION);
}

static int collect(void *ctx, const void *p, size_t n, struct err *err)
{
	(void)err;
	return buf_append(ctx, p, n);
}

static void cuts_what_is_read_and_written(void **state)
{
	(void)state;
	struct buf got;
	struct store_object o;
	buf_init(&got, 100);
	assert_int_equal(put("a"), ERR_OK);
	add((struct store_fault){.op = STORE_OP_GET, .times = 1, .action = STORE_FAULT_CUT, .cut = 4});
	assert_int_equal(store_get(s, "a", 0, 0, collect, &got, &e), ERR_UNREACHABLE);
	assert_string_equal(buf_str(&got), "0123");
	buf_reset(&got);
	assert_int_equal(store_get(s, "a", 0, 0, collect, &got, &e), ERR_OK);
	assert_string_equal(buf_str(&got), "0123456789");
	add((struct store_fault){.op = STORE_OP_PUT, .times = 1, .action = STORE_FAULT_CUT, .cut = 3});
	assert_int_equal(put("torn"), ERR_UNREACHABLE);
	assert_int_equal(store_head(s, "torn", &o, &e), ERR_OK);
	assert_int_equal(o.size, 3);
	buf_free(&got);
}

static void remember(void *ctx, const char *name)
{
	strcpy(ctx, name);
}

static void calls_a_hook_and_goes_on(void **state)
{
	(void)state;
	char seen[50] = "";
	add((struct store_fault){
		.op = STORE_OP_PUT, .times = 1, .action = STORE_FAULT_HOOK, .hook = remember, .ctx = seen});
	assert_int_equal(put("a"), ERR_OK);
	assert_string_equal(seen, "a");
	seen[0] = '\0';
	assert_int_equal(put("b"), ERR_OK);
	assert_string_equal(seen, "");
}

static void look_for_it(void *ctx, const char *name)
{
	struct store *inner;
	struct store_object o;
	assert_int_equal(store_open(&inner, "mem://f", NULL, &e), ERR_OK);
	*(int *)ctx = store_head(inner, name, &o, &e);
	store_close(inner);
}

/* Before the call the object isn't there, behind it it is. */
static void calls_a_hook_before_the_answer(void **state)
{
	(void)state;
	int before = -1, behind = -1;
	add((struct store_fault){.op = STORE_OP_PUT,
		.name_contains = "a",
		.action = STORE_FAULT_HOOK,
		.hook = look_for_it,
		.ctx = &before});
	add((struct store_fault){
		.op = STORE_OP_PUT, .action = STORE_FAULT_HOOK_AFTER, .hook = look_for_it, .ctx = &behind});
	assert_int_equal(put("a"), ERR_OK);
	assert_int_equal(before, ERR_NOT_FOUND);
	assert_int_equal(put("b"), ERR_OK);
	assert_int_equal(behind, ERR_OK);
}

static int64_t slept;

static void sleep_us(int64_t us)
{
	slept += us;
	if (slept > 500000)
		store_cancel(s);
}

static int64_t zero(void)
{
	return 0;
}

static void delay_ends_when_cancelled(void **state)
{
	(void)state;
	static const struct clock_ops clock = {zero, zero, zero, sleep_us};
	slept = 0;
	clock_set_ops(&clock);
	add((struct store_fault){
		.op = STORE_OP_PUT, .times = 1, .action = STORE_FAULT_DELAY, .delay_us = 300000});
	assert_int_equal(put("a"), ERR_OK);
	assert_int_equal(slept, 300000);
	add((struct store_fault){.op = STORE_OP_PUT, .action = STORE_FAULT_DELAY, .delay_us = 3000000});
	assert_int_equal(put("b"), ERR_CANCELLED);
	assert_true(slept < 1000000);
	clock_set_ops(NULL);
}

static void deletes_each_name_by_itself(void **state)
{
	(void)state;
	const char *names[] = {"a", "b", "c"};
	struct store_delete_result r[3];
	assert_int_equal(put("a"), ERR_OK);
	assert_int_equal(put("b"), ERR_OK);
	add((struct store_fault){
		.op = STORE_OP_DELETE, .name_contains = "b", .times = 1, .code = ERR_DENIED});
	assert_int_equal(store_delete(s, names, 3, r, &e), ERR_DENIED);
	assert_int_equal(r[0].code, ERR_OK);
	assert_int_equal(r[1].code, ERR_DENIED);
	assert_int_equal(r[2].code, ERR_OK);
	assert_int_equal(put("b"), ERR_CONDITION);
	assert_int_equal(put("a"), ERR_OK);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(strikes_the_nth_call_some_times),
		TEST(strikes_by_name_for_ever_until_healed),
		TEST(hides_what_is_there_from_a_listing),
		TEST(hides_what_is_there_from_a_listing),
		TEST(loses_the_answer_but_not_the_object),
		TEST(cuts_what_is_read_and_written),
		TEST(calls_a_hook_and_goes_on),
		TEST(calls_a_hook_before_the_answer),
		TEST(delay_ends_when_cancelled),
		TEST(deletes_each_name_by_itself),
	};
	return cmocka_run_group_tests_name("fault store", tests, NULL, NULL);
}
