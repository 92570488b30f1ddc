/*
 * Random litestream.yml: trees of keys, known ones where they belong and where they don't, unknown
 * ones, good and bad values; and damaged text. Never a fall, never a key that is silently ignored
 * (lib/config_check.h).
 */
#include "conf/config.h"
#include "lib/config_check.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))
#define ROUNDS 6000

static uint64_t seed;
static struct buf text;
static size_t n_keys;

static size_t draw(size_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (size_t)(seed >> 33) % n;
}

static bool chance(size_t percent)
{
	return draw(100) < percent;
}

static const char *value(const char *key)
{
	static const char *const values[] = {"true", "false", "10s", "24h", "5MiB", "3", "x", "''", "~",
		"[a]", "{b: c}", "$HOME", "\"q\\n\"", "0", "-1", "*a", "&a 1h", "s3://bbb/x", "info"};
	static const char *const fitting[][2] = {{"interval", "24h"}, {"retention", "48h"},
		{"timeout", "10s"}, {"size", "64MiB"}, {"enabled", "true"}, {"watch", "true"},
		{"recursive", "true"}, {"barrier", "false"}, {"filesystem", "false"}, {"count", "500"},
		{"frames", "500"}, {"level", "info"}, {"style", "true"}, {"payload", "true"},
		{"md5", "true"}, {"verify", "true"}, {"exists", "true"}, {"concurrency", "4"},
		{"renew", "48h"}, {"stderr", "true"}};
	if (chance(3))
		return values[draw(COUNT(values))];
	if (strcmp(key, "logging.type") == 0)
		return "json";
	for (size_t i = 0; i < COUNT(fitting); i++)
		if (strstr(key, fitting[i][0]))
			return fitting[i][1];
	return "word";
}

/* A key of this level, rarely of another one or with a slip of the pen. */
static void put_key(enum config_level level, const char *indent, unsigned used[])
{
	size_t at = draw(n_keys);
	const struct config_key *k = &config_keys[at];
	bool inner = strchr(k->name, '.') != NULL;
	bool here = (k->levels & (int)level) && k->effect != CONFIG_REFUSED && k->pass < 2;
	char name[120];
	if (used[at]++ || inner || (!here && !chance(1)))
		return;
	snprintf(name, sizeof(name), "%s", k->name);
	if (chance(1))
		name[draw(strlen(name))] = (char)('a' + draw(26));
	size_t n = strlen(k->name);
	bool map = false;
	for (const struct config_key *in = config_keys; in->name && !map; in++)
		map = strncmp(in->name, k->name, n) == 0 && in->name[n] == '.';
	if (!map || chance(10)) {
		buf_printf(&text, "%s%s: %s\n", indent, name, value(k->name));
		return;
	}
	buf_printf(&text, "%s%s:\n", indent, name);
	for (const struct config_key *in = config_keys; in->name; in++)
		if (strncmp(in->name, k->name, n) == 0 && in->name[n] == '.' && chance(60))
			buf_printf(&text, "%s  %s: %s\n", indent, in->name + n + 1, value(in->name));
}

static void put_keys(enum config_level level, const char *indent)
{
	unsigned used[200] = {0};
	for (size_t n = draw(14); n > 0; n--)
		put_key(level, indent, used);
}

static void make_tree(void)
{
	buf_reset(&text);
	put_keys(CONFIG_TOP, "");
	buf_append_str(&text, "dbs:\n");
	for (size_t i = draw(4), k = 0; k < i; k++) {
		buf_printf(
			&text, chance(80) ? "- path: /data/%zu\n" : "- dir: /data/%zu\n  pattern: '*'\n", k);
		put_keys(CONFIG_DATABASE, "  ");
		buf_append_str(&text, chance(95) ? "  replicas:\n" : "  replica:\n");
		for (size_t r = 0; r <= draw(2); r++) {
			buf_printf(&text, "  - url: s3://bucket/%zu/%zu\n", k, r);
			put_keys(CONFIG_REPLICA, "    ");
		}
	}
}

static void test_trees(void **state)
{
	(void)state;
	size_t taken = 0;
	for (size_t i = 0; i < ROUNDS; i++) {
		seed = i;
		make_tree();
		taken += config_check(buf_str(&text), text.len) == ERR_OK;
	}
	/* A test in which all is refused, or nothing, would show little. */
	assert_in_range(taken, ROUNDS / 50, ROUNDS - ROUNDS / 50);
}

/* Pieces of a good text cut out, doubled, changed. */
static void test_damage(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROUNDS; i++) {
		seed = i;
		make_tree();
		char *bytes = (char *)text.data;
		for (size_t n = 1 + draw(4); n > 0 && text.len > 8; n--) {
			size_t at = draw(text.len - 4), len = 1 + draw(4);
			if (chance(50))
				bytes[at] =
					(char)(chance(50) ? "{}[]:,&*!|>'\"%#-\n\t $"[draw(20)] : (char)draw(256));
			else
				memmove(bytes + at, bytes + draw(text.len - 4), len);
		}
		config_check(bytes ? bytes : "", chance(20) ? draw(text.len + 1) : text.len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_trees),
		cmocka_unit_test(test_damage),
	};
	while (config_keys[n_keys].name)
		n_keys++;
	buf_init(&text, 1 << 20);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	buf_free(&text);
	return failed;
}
