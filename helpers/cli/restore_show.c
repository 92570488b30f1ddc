#include "cli/restore_show.h"

#include "base/clock.h"
#include "cli/listing.h"

#include <inttypes.h>
#include <stdio.h>

const char *restore_integrity_name(enum integrity_mode mode)
{
	static const char *const names[] = {"none", "quick", "full"};
	return names[mode];
}

static const char *replica_type(const struct restore_shown *s)
{
	return store_capabilities(s->store)->scheme;
}

/* ---- JSON: Litestream's keys, and ours beside them ---- */

static json_t *hex(uint64_t v)
{
	return json_sprintf("%016" PRIx64, v);
}

static json_t *rfc3339(int64_t ms)
{
	char text[32];
	clock_format_rfc3339(ms, text);
	return json_string(text);
}

static json_t *v3_files_json(const struct restore_plan *plan)
{
	json_t *files = json_array();
	for (size_t i = 0; i < plan->n_v3; i++) {
		char name[V3_NAME_SIZE];
		json_array_append_new(files,
			json_pack("{s:s,s:I,s:o}", "name", v3_format_name(&plan->v3[i], name), "size",
				(json_int_t)plan->v3[i].size, "timestamp", rfc3339(plan->v3[i].modified_ms)));
	}
	return files;
}

static json_t *files_json(const struct restore_plan *plan)
{
	json_t *files = json_array();
	for (size_t i = 0; i < plan->count; i++) {
		const struct ltx_file *f = &plan->files[i];
		char name[LTX_NAME_SIZE];
		ltx_format_name(f->min_txid, f->max_txid, name);
		json_array_append_new(
			files, json_pack("{s:i,s:s,s:o,s:o,s:I,s:o}", "level", f->level, "name", name,
					   "min_txid", hex(f->min_txid), "max_txid", hex(f->max_txid), "size",
					   (json_int_t)f->size, "timestamp", rfc3339(f->modified_ms)));
	}
	return files;
}

/* Where in the replica the restored state is. */
static void add_point(json_t *root, const struct restore_result *r)
{
	const struct restore_plan *plan = &r->plan;
	json_object_set_new(root, "format", json_string(plan->n_v3 ? "0.3" : "0.5"));
	json_object_set_new(root, "txid", plan->n_v3 ? json_null() : hex(r->txid));
	if (!plan->n_v3)
		return;
	json_object_set_new(root, "generation", hex(plan->v3[0].generation));
	json_object_set_new(root, "index", json_sprintf("%08" PRIx32, plan->v3[plan->n_v3 - 1].index));
}

static void add_plan(json_t *root, const struct restore_shown *s)
{
	const struct restore_plan *plan = &s->result->plan;
	json_object_set_new(root, "source", json_string(s->source));
	if (s->options->output)
		json_object_set_new(root, "target_path", json_string(s->options->output));
	if (!plan->n_v3) {
		json_object_set_new(root, "min_txid", hex(plan->files[0].min_txid));
		json_object_set_new(root, "max_txid", hex(plan->txid));
	}
	json_object_set_new(root, "files", plan->n_v3 ? v3_files_json(plan) : files_json(plan));
}

static void add_result(json_t *root, const struct restore_shown *s)
{
	const struct restore_result *r = s->result;
	json_object_set_new(root, "db_path", json_string(s->options->output));
	json_object_set_new(root, "duration_ms", json_integer(s->duration_us / 1000));
	json_object_set_new(
		root, "integrity_check", json_string(restore_integrity_name(s->options->integrity)));
	json_object_set_new(root, "files", json_integer((json_int_t)r->files));
	if (r->before[0])
		json_object_set_new(
			root, "before", json_sprintf("%s.before-%s", s->options->output, r->before));
}

static int show_json(const struct restore_shown *s, struct err *e)
{
	const struct restore_result *r = s->result;
	json_t *root = json_pack("{s:s,s:s,s:o,s:I,s:I,s:b}", "replica", replica_type(s), "url",
		store_url(s->store), "timestamp", rfc3339(r->timestamp_ms), "bytes", (json_int_t)r->bytes,
		"page_size", (json_int_t)r->page_size, "proven", r->proof == RESTORE_PROVEN);
	if (root)
		add_point(root, r);
	if (root && s->options->dry_run)
		add_plan(root, s);
	else if (root)
		add_result(root, s);
	return listing_print_json(root, e);
}

/* ---- text ---- */

static void print_v3_plan(const struct restore_plan *plan)
{
	printf("  generation: %016" PRIx64 " (Litestream 0.3)\n  index: %08" PRIx32 "\n",
		plan->v3[0].generation, plan->v3[plan->n_v3 - 1].index);
	printf("\nFiles to fetch:\n%-72s  %12s\n", "file", "size");
	for (size_t i = 0; i < plan->n_v3; i++) {
		char name[V3_NAME_SIZE];
		printf("%-72s  %12" PRIu64 "\n", v3_format_name(&plan->v3[i], name), plan->v3[i].size);
	}
}

static void print_ltx_plan(const struct restore_plan *plan, uint64_t bytes)
{
	printf("  txid range: %016" PRIx64 " - %016" PRIx64 "\n  size: %" PRIu64
		   " bytes\n\nFiles to fetch:\n",
		plan->files[0].min_txid, plan->txid, bytes);
	printf("%-5s  %-37s  %-16s  %-16s  %12s  %s\n", "level", "file", "min_txid", "max_txid", "size",
		"timestamp");
	for (size_t i = 0; i < plan->count; i++) {
		const struct ltx_file *f = &plan->files[i];
		char name[LTX_NAME_SIZE], when[32];
		ltx_format_name(f->min_txid, f->max_txid, name);
		printf("%-5d  %s  %016" PRIx64 "  %016" PRIx64 "  %12" PRIu64 "  %s\n", f->level, name,
			f->min_txid, f->max_txid, f->size, listing_time(f->modified_ms, when));
	}
}

static void print_plan(const struct restore_shown *s)
{
	char when[32];
	clock_format_rfc3339(s->result->timestamp_ms, when);
	printf("Restore plan:\n  source: %s\n  target: %s\n  replica: %s\n  timestamp: %s\n", s->source,
		s->options->output ? s->options->output : "-", replica_type(s), when);
	if (s->result->plan.n_v3)
		print_v3_plan(&s->result->plan);
	else
		print_ltx_plan(&s->result->plan, s->result->bytes);
}

static void print_point(const struct restore_result *r)
{
	const struct restore_plan *plan = &r->plan;
	if (plan->n_v3)
		printf("  generation %016" PRIx64 " (Litestream 0.3)\n  index      %08" PRIx32 "\n",
			plan->v3[0].generation, plan->v3[plan->n_v3 - 1].index);
	else
		printf("  txid       %016" PRIx64 "\n", r->txid);
}

static const char *proof_text(const struct restore_result *r)
{
	if (r->proof == RESTORE_PROVEN)
		return "proven";
	return r->plan.n_v3 ? "not proven: Litestream 0.3 recorded none"
						: "not proven: the replica records none for this state";
}

static void print_result(const struct restore_shown *s)
{
	const struct restore_result *r = s->result;
	char when[32];
	clock_format_rfc3339(r->timestamp_ms, when);
	printf("restored %s from %s\n", s->options->output, store_url(s->store));
	print_point(r);
	printf("  timestamp  %s\n", when);
	printf("  size       %" PRIu64 " bytes (%" PRIu32 " pages of %" PRIu32 ")\n", r->bytes,
		r->n_page, r->page_size);
	printf("  files      %zu\n", r->files);
	printf("  checksum   %s\n", proof_text(r));
	if (s->options->integrity)
		printf("  integrity  ok (%s)\n", restore_integrity_name(s->options->integrity));
	if (r->before[0])
		printf("  before     %s.before-%s\n", s->options->output, r->before);
}

int restore_show(const struct restore_shown *s, struct err *e)
{
	if (s->json)
		return show_json(s, e);
	if (s->options->dry_run)
		print_plan(s);
	else
		print_result(s);
	return ERR_OK;
}
