/* YAML as a tree: what it reads, what it refuses and where; variables. */
#include "conf/expand.h"
#include "conf/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static struct tree t;
static struct err e;

static int read_text(const char *text)
{
	e = (struct err)ERR_INIT;
	return tree_read(&t, "f.yml", text, strlen(text), &e);
}

static void good(const char *text)
{
	if (read_text(text))
		fail_msg("%s", e.text);
}

static const char *scalar(const struct tree_node *map, const char *key)
{
	const struct tree_node *node = tree_get(map, key);
	assert_non_null(node);
	assert_int_equal(node->kind, TREE_SCALAR);
	return node->text;
}

static void test_shapes(void **state)
{
	(void)state;
	good("# a comment\na: 1\nb:\n  - x\n  - {c: 'd', e: \"f\\n\"}\nempty:\nquoted: ''\n");
	assert_int_equal(t.root->kind, TREE_MAP);
	assert_string_equal(scalar(t.root, "a"), "1");
	const struct tree_node *b = tree_get(t.root, "b");
	assert_int_equal(b->kind, TREE_LIST);
	assert_int_equal(b->count, 2);
	assert_int_equal(b->items[1]->line, 5);
	assert_string_equal(scalar(b->items[1], "c"), "d");
	assert_string_equal(scalar(b->items[1], "e"), "f\n");
	assert_true(tree_is_null(tree_get(t.root, "empty")));
	assert_true(tree_is_null(tree_get(t.root, "quoted")));
	assert_null(tree_get(t.root, "none"));
	assert_int_equal(t.root->pairs[1].line, 3);
	tree_free(&t);
}

static void test_nothing(void **state)
{
	(void)state;
	static const char *const texts[] = {"", "\n\n", "# only words\n"};
	for (size_t i = 0; i < COUNT(texts); i++) {
		good(texts[i]);
		assert_null(t.root);
		tree_free(&t);
	}
}

static void test_aliases(void **state)
{
	(void)state;
	good("a: &one {k: 1, l: 2}\n"
		 "b: *one\n"
		 "c: {<<: *one, l: 3}\n"
		 "d:\n  <<: [{k: 7}, *one]\n  m: 4\n");
	assert_ptr_equal(tree_get(t.root, "a"), tree_get(t.root, "b"));
	assert_string_equal(scalar(tree_get(t.root, "c"), "k"), "1");
	assert_string_equal(scalar(tree_get(t.root, "c"), "l"), "3");
	assert_string_equal(scalar(tree_get(t.root, "d"), "k"), "7");
	assert_string_equal(scalar(tree_get(t.root, "d"), "l"), "2");
	assert_string_equal(scalar(tree_get(t.root, "d"), "m"), "4");
	assert_null(tree_get(tree_get(t.root, "d"), "<<"));
	tree_free(&t);
}

static void test_refused(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{"a: 1\na: 2\n", "f.yml:2: the key \"a\" is there twice"},
		{"a: 1\n---\nb: 2\n", "f.yml:2: a second document begins"},
		{"a: *x\n", "f.yml:1: an alias"},
		{"a: &x [*x]\n", "f.yml:1: an alias"},
		{"a: !thing 1\n", "f.yml:1: tags"},
		{"? [a]\n: 1\n", "f.yml:1: a key has to be a word"},
		{"a: \"x\\0y\"\n", "f.yml:1: there is a NUL byte"},
		{"a:\n\t- b\n", "f.yml:2: this is no YAML"},
		{"a: [1, 2\n", "this is no YAML"},
		{"a: 1\n  b: 2\n", "f.yml:2: this is no YAML"},
		{"a: {<<: 3}\n", "f.yml:1: \"<<\" takes a map"},
		{"a: {<<: {}, <<: {}}\n", "is there twice"},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		if (read_text(cases[i][0]) != ERR_USAGE || !strstr(e.text, cases[i][1]))
			fail_msg("%s: %s", cases[i][0], e.text);
		tree_free(&t);
	}
}

/* What is small and stands for much; what is large. */
static void test_bounds(void **state)
{
	(void)state;
	assert_int_equal(read_text("a: &a [x,x,x,x,x,x,x,x,x,x]\n"
							   "b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
							   "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
							   "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
							   "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n"),
		ERR_USAGE);
	assert_non_null(strstr(e.text, "with its aliases there is too much"));
	tree_free(&t);
	char deep[200];
	memset(deep, '[', 100);
	memset(deep + 100, ']', 99);
	deep[199] = '\0';
	assert_int_equal(read_text(deep), ERR_USAGE);
	assert_non_null(strstr(e.text, "too deep"));
	tree_free(&t);
	char *large = malloc(TREE_TEXT_MAX + 2);
	memset(large, '\n', TREE_TEXT_MAX + 1);
	assert_int_equal(tree_read(&t, "f.yml", large, TREE_TEXT_MAX + 1, &e), ERR_USAGE);
	for (size_t i = 0; i + 3 < TREE_TEXT_MAX; i += 2)
		memcpy(large + i, "-\n", 2);
	assert_int_equal(tree_read(&t, "f.yml", large, TREE_TEXT_MAX / 2, &e), ERR_USAGE);
	assert_non_null(strstr(e.text, "too much"));
	tree_free(&t);
	free(large);
}

/* ---- variables ---- */

static const char *lookup(void *ctx, const char *name)
{
	(void)ctx;
	if (strcmp(name, "A") == 0)
		return "aaa";
	if (strcmp(name, "YAML") == 0)
		return "x: \"y\"\n# [";
	return NULL;
}

static void test_variables(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{"$A", "aaa"},
		{"${A}", "aaa"},
		{"x${A}y$A-$A", "xaaayaaa-aaa"},
		{"$B", ""},
		{"${B}x", "x"},
		{"$", "$"},
		{"a$ b", "a$ b"},
		{"$$A", "A"},
		{"$1x", "x"},
		{"${}", ""},
		{"${A", "A"},
		{"$-x", "x"},
		{"100%", "100%"},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		char unset[EXPAND_NAME_MAX + 1];
		struct buf out;
		bool had;
		buf_init(&out, 1000);
		assert_int_equal(expand_text(cases[i][0], lookup, NULL, &out, &had, unset), ERR_OK);
		assert_string_equal(buf_str(&out), cases[i][1]);
		buf_free(&out);
	}
}

static void test_variables_in_trees(void **state)
{
	(void)state;
	good("a: $A\nb: &b ['$B', plain]\nc: *b\nd: $YAML\n$A: key\n");
	assert_int_equal(expand_tree(&t, "f.yml", lookup, NULL, &e), ERR_OK);
	assert_string_equal(scalar(t.root, "a"), "aaa");
	assert_true(tree_get(t.root, "a")->expanded);
	assert_true(tree_is_null(tree_get(t.root, "b")->items[0]));
	assert_false(tree_get(t.root, "b")->items[1]->expanded);
	assert_string_equal(scalar(t.root, "d"), "x: \"y\"\n# [");
	assert_string_equal(scalar(t.root, "$A"), "key");
	assert_string_equal(tree_get(t.root, "b")->items[0]->unset, "B");
	assert_null(tree_get(t.root, "a")->unset);
	tree_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_aliases),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_variables),
		cmocka_unit_test(test_variables_in_trees),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
