/*
 * compacter URL FOLDER [KEEP]   makes what is there of each level into one file of the next, from
 *                               TXID 2 on, up to level 3; then deletes the L0s but the last KEEP
 *
 * For tests that ask others to read what compaction wrote. FOLDER: a state folder (its copies are
 * used, and files are made there).
 */
#include "format/ltxset.h"
#include "replicate/compact.h"
#include "replicate/fence.h"

#include <stdio.h>
#include <stdlib.h>

static struct err e;

static int take(void *ctx, const struct store_object *o, struct err *err)
{
	struct ltx_file f = {.size = o->size};
	if (!ltx_parse_name(o->name, &f.min_txid, &f.max_txid) || f.min_txid == 1)
		return ERR_OK;
	return ltxset_add(ctx, &f) ? err_nomem(err, "listing") : ERR_OK;
}

/* The files of a level, *n of them (free). */
static struct replica_file *list(struct store *s, int level, size_t *n)
{
	char prefix[16];
	struct ltx_set set;
	ltxset_init(&set);
	store_level_prefix(s, level, prefix);
	if (store_list(s, prefix, NULL, 0, take, &set, &e))
		return NULL;
	ltxset_sort(&set);
	struct replica_file *files = calloc(set.count + 1, sizeof(*files));
	for (size_t i = 0; files && i < set.count; i++)
		files[i] = (struct replica_file){.level = level,
			.min_txid = set.files[i].min_txid,
			.max_txid = set.files[i].max_txid,
			.size = set.files[i].size};
	*n = set.count;
	ltxset_free(&set);
	return files;
}

static int compact_level(struct compact_env *env, int level)
{
	size_t n = 0;
	struct compact_result out;
	struct replica_file *files = list(env->store, level - 1, &n);
	int rc = files ? ERR_OK : ERR_FAIL;
	for (size_t done = 0; !rc && done < n; done += out.used)
		rc = compact_run(env, level, files + done, n - done, &out, &e);
	free(files);
	return rc;
}

static int delete_l0(struct store *s, size_t keep)
{
	size_t n = 0;
	struct replica_file *files = list(s, 0, &n);
	int rc = files ? ERR_OK : ERR_FAIL;
	for (size_t i = 0; !rc && i + keep < n; i++) {
		char name[FENCE_NAME_SIZE];
		struct store_delete_result result;
		const char *names[] = {name};
		fence_name(s, 0, files[i].min_txid, files[i].max_txid, name);
		rc = store_delete(s, names, 1, &result, &e);
	}
	free(files);
	return rc;
}

int main(int argc, char **argv)
{
	if (argc != 3 && argc != 4) {
		fprintf(stderr, "usage: compacter URL FOLDER [KEEP]\n");
		return 2;
	}
	struct compact_env env = {.state_dir = argv[2], .copies_max = 64 << 20};
	int rc = store_open(&env.store, argv[1], NULL, &e);
	for (int level = 1; !rc && level <= COMPACT_TOP_LEVEL; level++)
		rc = compact_level(&env, level);
	if (!rc)
		rc = delete_l0(env.store, argc == 4 ? strtoul(argv[3], NULL, 10) : 1);
	if (rc)
		fprintf(stderr, "compacter: %d %s\n", rc, e.text);
	store_close(env.store);
	return rc != ERR_OK;
}
