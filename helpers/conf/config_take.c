/* Values of litestream.yml's keys. */
#include "conf/config_internal.h"

#include "base/amount.h"
#include "conf/address.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HOUR_MS OPTION_HOUR_MS
#define KEEP_MIN_MS (3 * HOUR_MS)
#define HEARTBEAT_MIN_MS 60000
#define PART_MIN ((uint64_t)5 << 20)
#define PART_MAX ((uint64_t)5 << 30)
#define CONCURRENCY_MAX 64

/* ---- kinds of values ---- */

static int need_scalar(struct config_reading *r, const struct tree_node *v)
{
	return v->kind == TREE_SCALAR ? ERR_OK
								  : config_bad(r, "one value was expected, not a list or a map");
}

static int read_flag(struct config_reading *r, const struct tree_node *v, bool *out)
{
	static const char *const yes[] = {"true", "yes", "on", "y"}, *const no[] = {
																	 "false", "no", "off", "n"};
	int rc = need_scalar(r, v);
	for (size_t i = 0; !rc && i < 4; i++) {
		*out = strcasecmp(v->text, yes[i]) == 0;
		if (*out || strcasecmp(v->text, no[i]) == 0)
			return ERR_OK;
	}
	return rc ? rc : config_bad(r, "it is true or false, not \"%.40s\"", v->text);
}

static int read_duration(struct config_reading *r, const struct tree_node *v, int64_t *ms)
{
	int rc = need_scalar(r, v);
	if (rc)
		return rc;
	if (!amount_duration_ms(v->text, ms) || *ms < 0)
		return config_bad(
			r, "it takes a duration with its unit, as 500ms, 10s or 24h, not \"%.40s\"", v->text);
	return ERR_OK;
}

static int read_size(struct config_reading *r, const struct tree_node *v, uint64_t *bytes)
{
	int rc = need_scalar(r, v);
	if (!rc && !amount_size(v->text, bytes))
		rc = config_bad(r, "it takes a size as 16MiB, 64MB or bytes, not \"%.40s\"", v->text);
	return rc;
}

static int read_count(struct config_reading *r, const struct tree_node *v, int64_t *n)
{
	char *end;
	int rc = need_scalar(r, v);
	if (rc)
		return rc;
	errno = 0;
	*n = strtoll(v->text, &end, 10);
	if (!*v->text || isspace((unsigned char)*v->text) || *end || errno)
		return config_bad(r, "it takes a whole number, not \"%.40s\"", v->text);
	return ERR_OK;
}

/* ---- plain members ---- */

static int copy_text(struct config_reading *r, const struct tree_node *v, void *base, size_t offset)
{
	int rc = need_scalar(r, v);
	char *copy = rc ? NULL : tree_strdup(&r->c->memory, v->text);
	if (!rc && !copy)
		return config_nomem(r);
	if (!rc)
		*(const char **)((char *)base + offset) = copy;
	return rc;
}

int take_text(struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	return copy_text(r, v, r->settings, k->offset);
}

int take_top_text(struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	return copy_text(r, v, r->c, k->offset);
}

int take_db_text(struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	return copy_text(r, v, r->db, k->offset);
}

int take_rep_text(struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	return copy_text(r, v, r->replica, k->offset);
}

int take_db_flag(struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	return read_flag(r, v, (bool *)((char *)r->db + k->offset));
}

int take_choice(struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	bool on = false;
	int rc = read_flag(r, v, &on);
	*(int *)((char *)r->settings + k->offset) = on ? 1 : -1;
	return rc;
}

/* ---- uploads ---- */

int take_part_size(struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	uint64_t n = 0;
	(void)k;
	int rc = read_size(r, v, &n);
	if (!rc && n > PART_MAX)
		return config_bad(r, "a part has 5 GiB at most");
	/* Below that S3 takes none; Litestream says so at the first large upload. */
	if (!rc && n < PART_MIN)
		rc = config_note(r, true, "is below S3's least size of a part, 5MiB, which is taken");
	r->settings->part_size = n < PART_MIN ? PART_MIN : n;
	return rc;
}

int take_concurrency(
	struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	(void)k;
	int rc = read_count(r, v, &r->settings->concurrency);
	if (!rc && (r->settings->concurrency < 1 || r->settings->concurrency > CONCURRENCY_MAX))
		rc = config_bad(r, "it takes a number from 1 to %d", CONCURRENCY_MAX);
	return rc;
}

/* Bounds are the option's own (conf/options.h). */
static int set_option(
	struct config_reading *r, const char *name, int64_t value, const struct tree_node *v)
{
	struct err why;
	if (!options_set_value(&r->settings->options, options_find(name), value, v->text, &why))
		return ERR_OK;
	return config_bad(r, "%s", why.text);
}

int take_option(struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	const struct option_entry *entry = options_find(k->name);
	int64_t value = 0;
	uint64_t bytes = 0;
	bool flag = false;
	int rc = ERR_OK;
	switch (entry->type) {
	case OPTION_DURATION:
		rc = read_duration(r, v, &value);
		break;
	case OPTION_SIZE:
		rc = read_size(r, v, &bytes);
		value = (int64_t)bytes;
		break;
	case OPTION_COUNT:
		rc = read_count(r, v, &value);
		break;
	case OPTION_FLAG:
		rc = read_flag(r, v, &flag);
		value = flag;
		break;
	}
	return rc ? rc : set_option(r, k->name, value, v);
}

/* What Litestream allows and we don't is moved to our bound, and that is told. */
static int set_at_least(struct config_reading *r, const char *name, int64_t value,
	const struct tree_node *v, const char *why)
{
	const struct option_entry *entry = options_find(name);
	if (value >= entry->min)
		return set_option(r, name, value, v);
	int rc = config_note(r, false, "is less than can be had here, %s", why);
	return rc ? rc : set_option(r, name, entry->min, v);
}

int take_sync_interval(
	struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	int64_t ms = 0;
	int rc = read_duration(r, v, &ms);
	return rc ? rc : set_at_least(r, k->name, ms, v, "10ms are taken");
}

int take_frames(struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	int64_t n = 0;
	(void)k;
	int rc = read_count(r, v, &n);
	if (!rc && n < 1)
		return config_bad(r, "it takes a number from 1 on");
	return rc ? rc : set_at_least(r, "checkpoint-frames", n, v, "10 pages are taken");
}

/* ---- what is kept ---- */

/* What a single number says of four: nothing is promised for longer, the hours are for so long. */
static int keep_for(struct config_reading *r, int64_t ms, const struct tree_node *v)
{
	static const struct {
		const char *name;
		int64_t most;
	} steps[] = {{"l0-retention", KEEP_MIN_MS}, {"l1-retention", 24 * HOUR_MS},
		{"l2-retention", 72 * HOUR_MS}, {"l3-retention", INT64_MAX}};
	int rc = ERR_OK;
	if (ms < KEEP_MIN_MS) {
		rc = config_note(r, false, "is less than the 3h for which everything is kept here");
		ms = KEEP_MIN_MS;
	}
	for (size_t i = 0; !rc && i < sizeof(steps) / sizeof(steps[0]); i++)
		rc = set_option(r, steps[i].name, ms < steps[i].most ? ms : steps[i].most, v);
	return rc;
}

int take_keep(struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	int64_t ms = 0;
	(void)k;
	int rc = read_duration(r, v, &ms);
	return rc ? rc : keep_for(r, ms, v);
}

int take_retention_flag(
	struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	(void)k;
	return read_flag(r, v, &r->settings->options.retention);
}

int take_retention(struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	if (v->kind == TREE_MAP)
		return take_map(r, k, v);
	if (v->kind == TREE_SCALAR && isdigit((unsigned char)*v->text))
		return take_keep(r, k, v);
	return take_retention_flag(r, k, v);
}

int take_l0_retention(
	struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	int64_t ms = 0;
	int rc = read_duration(r, v, &ms);
	return rc ? rc
			  : set_at_least(r, k->name, ms, v,
					"3h are taken: two writers are told apart by the files of that time");
}

int take_snapshot_interval(
	struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	int64_t ms = 0;
	(void)k;
	int rc = read_duration(r, v, &ms);
	/* 0.3's "off" means: only one at the beginning. */
	if (!rc && ms == 0)
		return config_note(r, false, "can't be off: a snapshot is made each day with changes");
	return rc ? rc : set_at_least(r, "snapshot-interval", ms, v, "1h is taken");
}

int take_levels(struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	static const int64_t ours[] = {30000, 300000, HOUR_MS};
	bool same = true;
	(void)k;
	if (v->kind != TREE_LIST)
		return config_bad(r, "a list of intervals was expected");
	for (size_t i = 0; i < v->count; i++) {
		const struct tree_node *item = v->items[i];
		r->line = item->line;
		if (item->kind != TREE_MAP || item->count != 1 ||
			strcmp(item->pairs[0].key, "interval") != 0)
			return config_bad(r, "\"interval: 30s\" was expected, and nothing else");
		int64_t ms = 0;
		int rc = read_duration(r, item->pairs[0].value, &ms);
		if (rc)
			return rc;
		same = same && i < 3 && ms == ours[i];
	}
	if (same)
		return ERR_OK;
	return config_note(r, false,
		"has no effect here: levels are of 30s, 5m and 1h, and files are merged when enough wait");
}

/* ---- the program ---- */

int take_heartbeat_url(
	struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	int rc = take_top_text(r, k, v);
	if (!rc && *v->text && strncasecmp(v->text, "http://", 7) != 0 &&
		strncasecmp(v->text, "https://", 8) != 0)
		rc = config_bad(r, "it takes a URL that begins with http:// or https://");
	return rc;
}

int take_heartbeat_interval(
	struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	(void)k;
	int rc = read_duration(r, v, &r->c->heartbeat_interval_ms);
	if (!rc && r->c->heartbeat_interval_ms < HEARTBEAT_MIN_MS)
		rc = config_bad(r, "it takes a minute or more");
	return rc;
}

int take_addr(struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	struct address a;
	int rc = take_top_text(r, k, v);
	if (!rc && *v->text && !address_parse(&a, v->text))
		rc = config_bad(
			r, "it takes an address as \":9090\" or \"127.0.0.1:9090\", not \"%.80s\"", v->text);
	return rc;
}

int take_shutdown_timeout(
	struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	(void)k;
	return read_duration(r, v, &r->c->shutdown_timeout_ms);
}

int take_socket_enabled(
	struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	(void)k;
	return read_flag(r, v, &r->c->socket_enabled);
}

/* 0600, as YAML 1.1 and people write it, or 0o600. Litestream takes 600 for a decimal number, which
 * is a mode that nobody means. */
int take_socket_mode(
	struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	char *end = NULL;
	(void)k;
	int rc = need_scalar(r, v);
	if (rc)
		return rc;
	const char *digits = v->text + (strncasecmp(v->text, "0o", 2) == 0 ? 2 : 0);
	unsigned long mode =
		strspn(digits, "01234567") == strlen(digits) ? strtoul(digits, &end, 8) : 0;
	if (!end || end == digits || mode == 0 || mode > 0777)
		return config_bad(
			r, "it takes permissions in octal, as 0600 or 0660, not \"%.40s\"", v->text);
	r->c->socket_mode = (unsigned)mode;
	return ERR_OK;
}

int take_log_level(struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	static const char *const levels[] = {"trace", "debug", "info", "warn", "error"};
	(void)k;
	int rc = need_scalar(r, v);
	for (size_t i = 0; !rc && i < 5; i++) {
		if (strcasecmp(v->text, levels[i]) == 0) {
			r->c->log_level = levels[i];
			return ERR_OK;
		}
	}
	return rc ? rc
			  : config_bad(r, "it is trace, debug, info, warn or error, not \"%.40s\"", v->text);
}

int take_log_type(struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	(void)k;
	int rc = need_scalar(r, v);
	if (rc)
		return rc;
	r->c->log_json = strcmp(v->text, "json") == 0;
	if (r->c->log_json || strcmp(v->text, "text") == 0)
		return ERR_OK;
	if (strcmp(v->text, "pretty") == 0)
		return config_note(r, false, "pretty is written as text");
	return config_bad(r, "it is text or json, not \"%.40s\"", v->text);
}

int take_log_stderr(struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	bool on = true;
	(void)k;
	int rc = read_flag(r, v, &on);
	return rc || on ? rc : config_note(r, false, "has no effect here: the log is on stderr always");
}

int take_map(struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	char inside[TREE_KEY_LEN_MAX];
	snprintf(inside, sizeof(inside), "%s.", k->name);
	return config_walk(r, v, inside);
}

/* ---- lists ---- */

int take_databases(struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	(void)k;
	struct config *c = r->c;
	if (v->kind != TREE_LIST)
		return config_bad(r, "a list of databases was expected (\"- path: …\")");
	c->databases = tree_alloc(&c->memory, v->count * sizeof(*c->databases));
	if (!c->databases)
		return config_nomem(r);
	int rc = ERR_OK;
	for (size_t i = 0; !rc && i < v->count; i++) {
		struct config_reading in = *r;
		struct config_database *db = in.db = &c->databases[c->n_databases++];
		db->line = in.line = v->items[i]->line;
		db->settings = *r->settings;
		in.settings = &db->settings;
		in.level = CONFIG_DATABASE;
		rc = config_walk(&in, v->items[i], "");
	}
	return rc;
}

static int read_replica(
	struct config_reading *r, struct config_replica *replica, const struct tree_node *v)
{
	struct config_reading in = *r;
	replica->line = in.line = v->line;
	replica->settings = r->db->settings;
	replica->settings.bucket = NULL; /* the default is not its own: resolving looks */
	in.replica = replica;
	in.settings = &replica->settings;
	in.level = CONFIG_REPLICA;
	int rc = config_walk(&in, v, "");
	in.line = replica->line;
	in.key = NULL;
	return rc ? rc : config_resolve_replica(&in, replica);
}

static int new_replicas(struct config_reading *r, size_t n)
{
	if (r->db->replicas)
		return config_bad(r, "replica and replicas exclude each other");
	r->db->replicas = tree_alloc(&r->c->memory, n * sizeof(*r->db->replicas));
	return r->db->replicas ? ERR_OK : config_nomem(r);
}

int take_replica(struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	(void)k;
	int rc = new_replicas(r, 1);
	return rc ? rc : read_replica(r, &r->db->replicas[r->db->n_replicas++], v);
}

int take_replicas(struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	(void)k;
	if (v->kind != TREE_LIST)
		return config_bad(r, "a list of replicas was expected (\"- url: …\")");
	int rc = new_replicas(r, v->count);
	for (size_t i = 0; !rc && i < v->count; i++)
		rc = read_replica(r, &r->db->replicas[r->db->n_replicas++], v->items[i]);
	return rc;
}
