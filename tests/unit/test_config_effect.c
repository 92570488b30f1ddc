/*
 * Every key that is written in litestream.yml counts: it changes what is done, or the log tells of
 * it, or it is an error. Random files are made of all keys of the table, in all places, with values
 * that fit and some that don't; then each value is replaced by another one.
 *
 * Which values fit a key is learned from the reader itself: each key stands by itself in a small
 * file, with each of `words`. So a new key is in here once it is in the table, and its effect must
 * be in lib/config_dump.c. SEED=n makes the files of an earlier run again.
 */
#include "conf/config.h"
#include "lib/chance.h"
#include "lib/config_dump.h"
#include "lib/config_made.h"
#include "lib/rounds.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))
#define FILES ROUNDS(400)
#define LEARNED_MAX 300

/* ---- files ---- */

static const char *const words[] = {"true", "false", "24h", "48h", "90h", "30s", "20m", "6MiB",
	"64MiB", "128MB", "3", "14", "700", "/a/word", "other", ":9090", "127.0.0.1:9091",
	"http://localhost/a", "https://localhost/b", "0600", "0640", "json", "text", "info", "debug",
	"file", "s3", "[{interval: 10s}]", "[{interval: 30s}]", "{a: b}"};

/* A key at one level, and what was seen of it by itself. */
struct learned {
	const struct config_key *k;
	enum config_level level;
	size_t bed; /* where it was tried */
	bool fits[COUNT(words)], refused[COUNT(words)];
	char *dump[COUNT(words)]; /* with those that fit */
	size_t kinds;             /* how many different ones */
};

static struct learned learned[LEARNED_MAX];
static size_t n_learned;
static struct made f;
static struct buf dump, before;
static struct config c;
static struct err e;
static struct chance dice;

/* Reads the file as it is now: the code, and what it says in `dump`. */
static int read_file(void)
{
	made_write(&f);
	config_free(&c);
	e = (struct err)ERR_INIT;
	int rc = config_read(&c, "f.yml", buf_str(&f.text), f.text.len, false, &e);
	config_dump(&c, &dump);
	return rc;
}

/* ---- what fits a key ---- */

enum { BED_URL, BED_DIR, BED_PARTS, BED_FOLDER, BED_KEYS, BED_ENCRYPTED, BEDS };

/* One database with one replica of each kind; what goes together only is beside the key, which
 * comes first, so that the bed has not what it has. */
static void make_bed(size_t bed, enum config_level level)
{
	f.n_databases = f.n_replicas[0] = 1;
	if (bed == BED_DIR) {
		made_say(&f, CONFIG_DATABASE, 0, 0, "dir", "/data", 0);
		made_say(&f, CONFIG_DATABASE, 0, 0, "pattern", "'*.db'", 0);
	} else {
		made_say(&f, CONFIG_DATABASE, 0, 0, "path", "/data/1", 0);
	}
	if (bed == BED_PARTS) {
		made_say(&f, CONFIG_REPLICA, 0, 0, "type", "s3", 0);
		if (strcmp(f.leaves[0].key, "bucket") != 0)
			made_say(&f, CONFIG_REPLICA, 0, 0, "bucket", "bed", 0);
		made_say(&f, CONFIG_REPLICA, 0, 0, "path", "x", 0);
	} else {
		made_say(&f, CONFIG_REPLICA, 0, 0, "url", bed == BED_FOLDER ? "/r" : "s3://bucket/1", 0);
	}
	if (bed == BED_KEYS) {
		made_say(&f, level, 0, 0, "access-key-id", "AK", 0);
		made_say(&f, level, 0, 0, "secret-access-key", "SK", 0);
	}
	if (bed == BED_ENCRYPTED)
		made_say(&f, level, 0, 0, "sse-customer-key", "KEY", 0);
	if (strncmp(f.leaves[0].key, "socket.", 7) == 0)
		made_say(&f, CONFIG_TOP, 0, 0, "socket.enabled", "true", 0);
	if (strcmp(f.leaves[0].key, "heartbeat-interval") == 0)
		made_say(&f, CONFIG_TOP, 0, 0, "heartbeat-url", "http://localhost/", 0);
}

/* Tries all words in one bed; how many different things came of them. */
static size_t try_words(struct learned *l, size_t bed)
{
	size_t kinds = 0;
	l->bed = bed;
	for (size_t w = 0; w < COUNT(words); w++) {
		f.n = 0;
		made_say(&f, l->level, 0, 0, l->k->name, words[w], 0);
		make_bed(bed, l->level);
		l->fits[w] = read_file() == ERR_OK;
		if (!l->fits[w])
			continue;
		l->refused[w] = false;
		free(l->dump[w]);
		l->dump[w] = strdup(buf_str(&dump));
		bool known = false;
		for (size_t o = 0; o < w; o++)
			known = known || (l->fits[o] && strcmp(l->dump[o], l->dump[w]) == 0);
		kinds += !known;
	}
	return kinds;
}

static void learn(const struct config_key *k, enum config_level level)
{
	struct learned *l = &learned[n_learned++];
	size_t best = 0;
	*l = (struct learned){.k = k, .level = level};
	memset(l->refused, true, sizeof(l->refused));
	for (size_t bed = 0; bed < BEDS; bed++) {
		size_t kinds = try_words(l, bed);
		if (kinds > l->kinds) {
			l->kinds = kinds;
			best = bed;
		}
	}
	try_words(l, best);
}

/* Those that say where something is are put into a file by themselves. */
static bool is_place(const char *key)
{
	static const char *const places[] = {
		"dbs", "replica", "replicas", "path", "dir", "pattern", "type", "url", "meta-path"};
	for (size_t i = 0; i < COUNT(places); i++)
		if (strcmp(places[i], key) == 0)
			return true;
	return false;
}

static bool is_map(const struct config_key *k)
{
	size_t n = strlen(k->name);
	for (const struct config_key *o = config_keys; o->name; o++)
		if (strncmp(o->name, k->name, n) == 0 && o->name[n] == '.')
			return true;
	return false;
}

static int learn_all(void **state)
{
	(void)state;
	for (const struct config_key *k = config_keys; k->name; k++) {
		/* "retention" is a map, and more than that. */
		bool only_map = is_map(k) && strcmp(k->name, "retention") != 0;
		if (k->effect != CONFIG_REFUSED && !is_place(k->name) && !only_map)
			for (int level = CONFIG_TOP; level <= CONFIG_REPLICA; level *= 2)
				if (k->levels & level)
					learn(k, (enum config_level)level);
	}
	return 0;
}

static int forget_all(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_learned; i++)
		for (size_t w = 0; w < COUNT(words); w++)
			free(learned[i].dump[w]);
	config_free(&c);
	return 0;
}

/* ---- each key by itself ---- */

static const char *level_name(enum config_level level)
{
	return level == CONFIG_TOP ? "top" : level == CONFIG_DATABASE ? "database" : "replica";
}

static bool is_told(const struct made_leaf *leaf)
{
	size_t n = strlen(leaf->key);
	for (size_t i = 0; i < c.n_notes; i++)
		if (strncmp(c.notes[i].text, leaf->key, n) == 0 && c.notes[i].text[n] == ' ' &&
			(c.notes[i].more || c.notes[i].line == leaf->line))
			return true;
	return false;
}

static void test_each_key_has_two_sides(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_learned; i++) {
		const struct learned *l = &learned[i];
		if (l->k->effect == CONFIG_WORKS && l->kinds < 2)
			fail_msg("%s (%s): whatever its value is, nothing of it is seen (lib/config_dump.c)",
				l->k->name, level_name(l->level));
	}
}

/* ---- together ---- */

/* Names of what differs in two dumps of one bed. */
static void differing(const char *a, const char *b, char *out, size_t size)
{
	for (int side = 0; side < 2; side++) {
		const char *mine = side ? b : a, *other = side ? a : b;
		for (const char *p = mine; *p && strncmp(p, "\nnote", 5) && strncmp(p, "\nwarning", 8);) {
			size_t n = 1 + strcspn(p + 1, " \n");
			char token[200], name[100];
			snprintf(token, sizeof(token), "%.*s", (int)n, p);
			snprintf(name, sizeof(name), " %.*s ", (int)strcspn(token + 1, "="), token + 1);
			if (!strstr(other, token) && !strstr(out, name) && strlen(out) + 110 < size)
				strcat(out, name);
			p += n;
		}
	}
}

/* Whether it may set what is called `name` ("" and blanks around it). */
static bool sets(const struct learned *l, const char *name)
{
	char all[2000] = "";
	size_t first = COUNT(words);
	for (size_t w = 0; w < COUNT(words); w++) {
		if (!l->fits[w])
			continue;
		if (first < COUNT(words))
			differing(l->dump[first], l->dump[w], all, sizeof(all));
		else
			first = w;
	}
	/* One number for all levels sets the lowest one too, to the same always. */
	bool all_levels = strstr(all, " l1-retention ") && strstr(all, " l2-retention ");
	return strstr(all, name) || (all_levels && strcmp(name, " l0-retention ") == 0);
}

/* In this replica, something nearer to it says the same: what it is the default for is not asked
 * for. Of one map, l1-retention and the like count over retention. */
static bool overruled_in(const struct made_leaf *leaf, size_t db, size_t r, const char *name)
{
	for (size_t i = 0; i < f.n; i++) {
		const struct made_leaf *o = &f.leaves[i];
		bool above = o->level == CONFIG_TOP ||
					 (o->db == db && (o->level == CONFIG_DATABASE || o->replica == r));
		bool nearer =
			o->level > leaf->level || (o->level == leaf->level && o->about && leaf->about &&
										  o->about->k->pass > leaf->about->k->pass);
		bool same = strcmp(o->key, leaf->key) == 0;
		if (above && nearer && (same || (o->about && sets(o->about, name))))
			return true;
	}
	return false;
}

/* Keys of S3 are not for a folder, and a URL has a bucket in it. */
static bool is_for(const struct made_leaf *leaf, size_t db, size_t r)
{
	const struct config_replica *p = &c.databases[db].replicas[r];
	bool of_s3 = leaf->about->k->levels == (CONFIG_TOP | CONFIG_REPLICA);
	return !of_s3 || (strcmp(p->type, "s3") == 0 && (!p->url || strcmp(leaf->key, "bucket") != 0));
}

static bool overruled(const struct made_leaf *leaf, size_t word)
{
	char names[2000] = "", name[100];
	size_t seen = 0;
	differing(leaf->about->dump[leaf->word], leaf->about->dump[word], names, sizeof(names));
	for (size_t db = 0; db < f.n_databases; db++) {
		for (size_t r = 0; r < f.n_replicas[db]; r++) {
			bool below = leaf->level == CONFIG_TOP ||
						 (leaf->db == db && (leaf->level == CONFIG_DATABASE || leaf->replica == r));
			if (!below || !is_for(leaf, db, r))
				continue;
			seen++;
			for (const char *p = names; sscanf(p, " %98s", name) == 1;) {
				char blanks[102];
				snprintf(blanks, sizeof(blanks), " %s ", name);
				if (!overruled_in(leaf, db, r, blanks))
					return false;
				p = strstr(p, blanks) + strlen(blanks);
			}
		}
	}
	return seen > 0;
}

/* How much of a dump is no note. */
static size_t effect_of(const char *text)
{
	const char *note = strstr(text, "\nnote"), *warning = strstr(text, "\nwarning");
	if (!note || (warning && warning < note))
		note = warning;
	return note ? (size_t)(note - text) : strlen(text);
}

static bool same_effect(const char *a, const char *b)
{
	size_t n = effect_of(a);
	return n == effect_of(b) && strncmp(a, b, n) == 0;
}

/* With this value instead: something is different. */
static bool differs_with(struct made_leaf *leaf, const char *value)
{
	snprintf(leaf->value, sizeof(leaf->value), "%s", value);
	return read_file() != ERR_OK || !same_effect(buf_str(&dump), buf_str(&before));
}

/* With any other value, unless something else says this, which has the last word. */
static bool counts(struct made_leaf *leaf)
{
	const struct learned *l = leaf->about;
	bool all_overruled = l != NULL;
	if (!l)
		return differs_with(leaf, "/other");
	for (size_t w = 0; w < COUNT(words); w++) {
		if (!l->fits[w] || same_effect(l->dump[w], l->dump[leaf->word]))
			continue;
		if (differs_with(leaf, words[w]))
			return true;
		all_overruled = all_overruled && overruled(leaf, w);
	}
	return all_overruled;
}

static void must_count(struct made_leaf *leaf, uint64_t seed)
{
	char value[sizeof(leaf->value)];
	assert_int_equal(read_file(), ERR_OK);
	if (is_told(leaf))
		return;
	buf_reset(&before);
	buf_append(&before, dump.data, dump.len);
	strcpy(value, leaf->value);
	if (!counts(leaf))
		fail_msg("SEED=%" PRIu64 ": %s (%s) makes no difference, and nobody is told:\n%s", seed,
			leaf->key, level_name(leaf->level), buf_str(&f.text));
	strcpy(leaf->value, value);
}

/* A key that was learned, with a word that fits. */
static struct made_leaf *put_learned(const struct learned *l, size_t db, size_t replica)
{
	struct made_leaf *leaf = l->kinds ? made_put(&f, l->level, db, replica, l->k->name) : NULL;
	if (!leaf)
		return NULL;
	leaf->about = l;
	do
		leaf->word = (size_t)chance_below(&dice, COUNT(words));
	while (!l->fits[leaf->word]);
	snprintf(leaf->value, sizeof(leaf->value), "%s", words[leaf->word]);
	return leaf;
}

/* Some keys of one place, such as go with what is there. */
static void put_some(enum config_level level, size_t db, size_t replica, size_t bed)
{
	for (size_t i = 0; i < n_learned; i++) {
		const struct learned *l = &learned[i];
		bool here = l->level == level && (l->bed == BED_URL || l->bed == bed ||
											 l->bed == BED_KEYS || l->bed == BED_ENCRYPTED);
		if (here && chance_once_in(&dice, 12))
			put_learned(l, db, replica);
		if (here && f.n && l->bed == BED_KEYS && f.leaves[f.n - 1].about == l)
			for (size_t k = 0; k < n_learned; k++)
				if (learned[k].bed == BED_KEYS && learned[k].level == level)
					put_learned(&learned[k], db, replica);
	}
}

static void put_replica(size_t db, size_t r)
{
	size_t bed = (size_t)chance_below(&dice, 3), number = 10 * db + r + 1;
	if (bed == 0) {
		made_say(&f, CONFIG_REPLICA, db, r, "url", "s3://bucket/", number);
	} else if (bed == 1) {
		made_say(&f, CONFIG_REPLICA, db, r, "type", "s3", 0);
		made_say(&f, CONFIG_REPLICA, db, r, "bucket", "own", number);
		made_say(&f, CONFIG_REPLICA, db, r, "path", "in/", number);
	} else {
		made_say(&f, CONFIG_REPLICA, db, r, "path", "/folder/", number);
	}
	put_some(CONFIG_REPLICA, db, r, bed == 1 ? BED_PARTS : bed ? BED_FOLDER : BED_URL);
}

static void make_file(uint64_t seed)
{
	dice = chance_of(seed, 1);
	f.n = 0;
	f.n_databases = 1 + (size_t)chance_below(&dice, MADE_DATABASES_MAX);
	put_some(CONFIG_TOP, 0, 0, BED_PARTS);
	for (size_t db = 0; db < f.n_databases; db++) {
		bool dir = chance_once_in(&dice, 3);
		made_say(&f, CONFIG_DATABASE, db, 0, dir ? "dir" : "path", "/data/", db + 1);
		if (dir)
			made_say(&f, CONFIG_DATABASE, db, 0, "pattern", "a", db + 1);
		else if (chance_once_in(&dice, 4))
			made_say(&f, CONFIG_DATABASE, db, 0, "meta-path", "/meta/", db + 1);
		put_some(CONFIG_DATABASE, db, 0, dir ? BED_DIR : BED_URL);
		f.n_replicas[db] = 1 + (size_t)chance_below(&dice, 2);
		for (size_t r = 0; r < f.n_replicas[db]; r++)
			put_replica(db, r);
	}
}

static uint64_t first_seed(void)
{
	const char *given = getenv("SEED");
	return given ? strtoull(given, NULL, 10) : 1;
}

static void test_all_that_is_written_counts(void **state)
{
	(void)state;
	size_t taken = 0, looked = 0;
	uint64_t first = first_seed();
	for (uint64_t seed = first; seed < first + FILES; seed++) {
		make_file(seed);
		if (read_file() != ERR_OK) {
			assert_int_equal(strncmp(e.text, "f.yml", 5), 0);
			continue;
		}
		taken++;
		for (size_t i = 0; i < f.n; i++, looked++)
			must_count(&f.leaves[i], seed);
	}
	print_message("SEED=%" PRIu64 ": %zu of %d files taken, %zu values replaced\n", first, taken,
		FILES, looked);
	/* A test in which nearly all is refused would show little. */
	assert_true(taken > FILES / 4);
}

/* What no bed takes makes the whole file an error, wherever it stands. */
static void test_what_does_not_fit_is_an_error(void **state)
{
	(void)state;
	size_t looked = 0;
	uint64_t first = first_seed();
	for (uint64_t seed = first; seed < first + FILES; seed++) {
		make_file(seed);
		for (size_t tries = 0; tries < 4; tries++) {
			struct made_leaf *leaf = &f.leaves[chance_below(&dice, (int64_t)f.n)];
			size_t word = (size_t)chance_below(&dice, COUNT(words));
			if (!leaf->about || !leaf->about->refused[word])
				continue;
			snprintf(leaf->value, sizeof(leaf->value), "%s", words[word]);
			if (read_file() != ERR_USAGE)
				fail_msg("SEED=%" PRIu64 ": %s: %s was taken:\n%s", seed, leaf->key, words[word],
					buf_str(&f.text));
			looked++;
		}
	}
	assert_true(looked > FILES / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_key_has_two_sides),
		cmocka_unit_test(test_all_that_is_written_counts),
		cmocka_unit_test(test_what_does_not_fit_is_an_error),
	};
	buf_init(&f.text, 1 << 20);
	buf_init(&dump, 1 << 20);
	buf_init(&before, 1 << 20);
	int failed = cmocka_run_group_tests(tests, learn_all, forget_all);
	buf_free(&f.text);
	buf_free(&dump);
	buf_free(&before);
	return failed;
}
