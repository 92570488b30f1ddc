/* What a command line names: databases and their replicas, told apart. */
#include "conf/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define WORDS_MAX 8

struct line {
	const char *words[WORDS_MAX];
	const char *want; /* "path>url,url path>url", or a part of the error */
};

static const struct line good[] = {
	{{"/a", "s3://b/a"}, "/a>s3://b/a"},
	{{"/a", "/backup"}, "/a>/backup"},
	{{"/a/./b//c", "backup"}, "/a/b/c>backup"},
	{{"/a", "s3://b/a", "file:///r"}, "/a>s3://b/a,file:///r"},
	{{"/a", "s3://b/a", "file:///r", "s3://c"}, "/a>s3://b/a,file:///r,s3://c"},
	{{"/a", "s3://b/a", "/d", "/r"}, "/a>s3://b/a /d>/r"},
	{{"/a", "s3://b/a", "/d", "s3://b/d"}, "/a>s3://b/a /d>s3://b/d"},
	{{"/a", "s3://b/a", "/d", "s3://b/d", "s3://b/e"}, "/a>s3://b/a /d>s3://b/d,s3://b/e"},
	{{"/a", "s3://b/a", "s3://b/b", "/d", "s3://b/d"}, "/a>s3://b/a,s3://b/b /d>s3://b/d"},
};

static const struct line bad[] = {
	{{"/a"}, "must specify at least one replica URL for /a"},
	{{"/a", "s3://b/a", "/r"}, "replica URL for /r; if that is a replica, write it as file:///"},
	{{"/a", "/r", "s3://b/a", "s3://c"}, "replica URL for /a"},
	{{"s3://b/a"}, "a database's path comes first"},
	{{"s3://b/a", "/a"}, "a database's path comes first"},
	{{"/a", "s3://b/a", "/./a", "s3://b/b"}, "one database is named twice"},
	{{"/a", "s3://b/a", "/d", "s3://b/a"}, "one replica is named twice"},
	{{"/a", "s3://b/a", "s3://b/a"}, "one replica is named twice"},
};

static int take(const struct line *l, struct config *c, struct err *e)
{
	size_t n = 0;
	while (n < WORDS_MAX && l->words[n])
		n++;
	return config_from_words(c, (char *const *)l->words, n, e);
}

static void put(char *out, size_t size, const char *before, const char *text)
{
	size_t n = strlen(out);
	snprintf(out + n, size - n, "%s%s", before, text);
}

static void test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct config c;
		struct err e = ERR_INIT;
		char got[400] = "";
		assert_int_equal(take(&good[i], &c, &e), ERR_OK);
		for (size_t d = 0; d < c.n_databases; d++) {
			put(got, sizeof(got), d ? " " : "", c.databases[d].path);
			for (size_t k = 0; k < c.databases[d].n_replicas; k++)
				put(got, sizeof(got), k ? "," : ">", c.databases[d].replicas[k].target);
		}
		assert_string_equal(got, good[i].want);
		assert_null(c.file);
		config_free(&c);
	}
}

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct config c;
		struct err e = ERR_INIT;
		assert_int_equal(take(&bad[i], &c, &e), ERR_USAGE);
		if (!strstr(e.text, bad[i].want))
			fail_msg("%s: not what was to be said: %s", bad[i].words[0], e.text);
		config_free(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
