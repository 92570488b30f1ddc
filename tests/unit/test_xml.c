#include "net/xml.h"

#include "base/buf.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct buf seen;
static struct err e;

static int on_begin(void *ctx, const char *path, struct err *err)
{
	(void)ctx, (void)err;
	return buf_printf(&seen, "<%s>", path);
}

static int on_end(void *ctx, const char *path, const char *text, struct err *err)
{
	if (ctx && !strcmp(path, ctx))
		return err_set(err, ERR_AGAIN, "enough");
	return buf_printf(&seen, "</%s=%s>", path, text);
}

static int parse(const char *text, const char *stop_at)
{
	struct xml_handler h = {.begin = on_begin, .end = on_end, .ctx = (char *)stop_at};
	buf_free(&seen);
	buf_init(&seen, 1 << 20);
	e = (struct err)ERR_INIT;
	return xml_parse(text, strlen(text), &h, &e);
}

static void gives_paths_and_text(void **state)
{
	(void)state;
	assert_int_equal(
		parse("<?xml version=\"1.0\"?><r xmlns=\"http://x/\" a=\"b\"> <k> a&amp;b&#x41; </k><e/>"
			  "<n:k xmlns:n=\"y\"><![CDATA[<c>]]></n:k></r>",
			NULL),
		ERR_OK);
	assert_string_equal(buf_str(&seen), "<r><r/k></r/k=a&bA><r/e></r/e=><r/k></r/k=<c>></r=>");
}

static void stops_when_told(void **state)
{
	(void)state;
	assert_int_equal(parse("<r><a>1</a><b>2</b><c>3</c></r>", "r/b"), ERR_AGAIN);
	assert_string_equal(e.text, "enough");
	assert_null(strstr(buf_str(&seen), "r/c"));
}

static void refuses_what_is_broken(void **state)
{
	(void)state;
	static const char *const broken[] = {"", " ", "text", "<r>", "<r></s>", "<r/><s/>",
		"<r>&unknown;</r>", "<r a=1/>", "{\"json\": true}", "<!DOCTYPE html><html></html>",
		"<r>\x01</r>", "<r>\xff</r>", "<html><body><p>unclosed</body></html>"};
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		if (parse(broken[i], NULL) != ERR_DAMAGED)
			fail_msg("'%s' was taken: %s", broken[i], buf_str(&seen));
		assert_true(strlen(e.text) > 5);
	}
}

static void refuses_entities_that_grow(void **state)
{
	(void)state;
	assert_int_equal(parse("<!DOCTYPE r [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">"
						   "<!ENTITY c \"&b;&b;&b;&b;\">]><r>&c;</r>",
						 NULL),
		ERR_DAMAGED);
	assert_non_null(strstr(e.text, "document type"));
	assert_int_equal(parse("<!DOCTYPE r SYSTEM \"file:///etc/passwd\"><r/>", NULL), ERR_DAMAGED);
}

/* Built by repeating `unit` between two ends. */
static int parse_repeated(const char *head, const char *unit, size_t times, const char *tail)
{
	struct buf text;
	buf_init(&text, (size_t)64 << 20);
	assert_int_equal(buf_append_str(&text, head), ERR_OK);
	for (size_t i = 0; i < times; i++)
		assert_int_equal(buf_append_str(&text, unit), ERR_OK);
	assert_int_equal(buf_append_str(&text, tail), ERR_OK);
	struct xml_handler h = {0};
	e = (struct err)ERR_INIT;
	int rc = xml_parse(text.data, text.len, &h, &e);
	buf_free(&text);
	return rc;
}

static void has_bounds(void **state)
{
	(void)state;
	assert_int_equal(parse_repeated("<r>", "<k>text</k>", 200000, "</r>"), ERR_OK);
	assert_int_equal(parse_repeated("<r>", "a", XML_MAX_TEXT, "</r>"), ERR_OK);
	assert_int_equal(parse_repeated("<r>", "a", XML_MAX_TEXT + 1, "</r>"), ERR_DAMAGED);
	assert_int_equal(parse_repeated("", "<a>", 1000, ""), ERR_DAMAGED);
	assert_int_equal(parse_repeated("<", "a", 100, "/>"), ERR_DAMAGED);
	/* One token of 4 MB would have to be kept whole. */
	assert_int_equal(parse_repeated("<r a=\"", "a", 4000000, "\"/>"), ERR_DAMAGED);
	assert_non_null(strstr(e.text, "memory"));
	assert_int_equal(parse_repeated("<r>", "<k n=\"1\"/>", 10, "</r>"), ERR_OK);
	/* As many attributes as fit into no memory. */
	struct buf many;
	buf_init(&many, (size_t)64 << 20);
	assert_int_equal(buf_append_str(&many, "<r"), ERR_OK);
	for (int i = 0; i < 100000; i++)
		assert_int_equal(buf_printf(&many, " a%d='x'", i), ERR_OK);
	assert_int_equal(buf_append_str(&many, "/>"), ERR_OK);
	struct xml_handler h = {0};
	assert_int_equal(xml_parse(many.data, many.len, &h, &e), ERR_DAMAGED);
	buf_free(&many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_paths_and_text),
		cmocka_unit_test(stops_when_told),
		cmocka_unit_test(refuses_what_is_broken),
		cmocka_unit_test(refuses_entities_that_grow),
		cmocka_unit_test(has_bounds),
	};
	int failed = cmocka_run_group_tests_name("xml", tests, NULL, NULL);
	buf_free(&seen);
	return failed;
}
