/* What root finds out about a database's path: whose it is, and that no link leads elsewhere. The
 * same with openat2 and without. */
#include "daemon/storage.h"

#include "base/fs.h"
#include "lib/tmpdir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char *dir;
static char roots[512];

static const char *at(const char *name)
{
	return tmpdir_path(dir, name);
}

static void touch(const char *name)
{
	struct err e = ERR_INIT;
	assert_int_equal(fs_replace_file(at(name), "x", 1, 0600, &e), ERR_OK);
}

static int make_dir(void **state)
{
	storage_walk_only = *state != NULL;
	dir = tmpdir_new();
	snprintf(roots, sizeof(roots), "/nonexistent:%s/root/", dir);
	assert_int_equal(fs_mkdirs(at("root/app--db/inner"), 0755), 0);
	assert_int_equal(fs_mkdirs(at("root2/app--db"), 0755), 0);
	touch("root/app--db/a.db");
	return 0;
}

static int drop_dir(void **state)
{
	(void)state;
	storage_walk_only = false;
	tmpdir_free(dir);
	return 0;
}

static int look(const char *folder, const char *file, bool mount, struct storage_answer *out)
{
	struct err e = ERR_INIT;
	int rc = storage_look(roots, folder, file, mount, out, &e);
	assert_true(rc == ERR_OK || e.text[0] != '\0');
	return rc;
}

static void test_found(void **state)
{
	(void)state;
	struct storage_answer a;
	assert_int_equal(look(at("root/app--db"), "a.db", false, &a), ERR_OK);
	assert_true(a.exists);
	assert_false(a.empty);
	assert_int_equal(a.uid, geteuid());
	assert_int_equal(truncate(at("root/app--db/a.db"), 0), 0);
	assert_int_equal(look(at("root/app--db"), "a.db", false, &a), ERR_OK);
	assert_true(a.exists && a.empty);
	assert_int_equal(look(at("root/app--db/inner"), "new.db", false, &a), ERR_OK);
	assert_false(a.exists);
	assert_int_equal(a.folder_uid, geteuid());
}

static void test_elsewhere(void **state)
{
	(void)state;
	struct storage_answer a;
	assert_int_equal(look(at("root2/app--db"), "a.db", false, &a), ERR_USAGE);
	assert_int_equal(look(at("root2/app--db"), "a.db", true, &a), ERR_OK);
	assert_int_equal(look(at("root"), "a.db", false, &a), ERR_USAGE); /* not below: the root */
	assert_int_equal(look(at("root/app--db/../../root2"), "a.db", false, &a), ERR_USAGE);
	assert_int_equal(look("/", "passwd", true, &a), ERR_USAGE);
	assert_int_equal(look(at("root/app--db"), "../a.db", false, &a), ERR_USAGE);
	assert_int_equal(look(at("root/none"), "a.db", false, &a), ERR_DATABASE);
}

static void test_links(void **state)
{
	(void)state;
	struct storage_answer a;
	assert_int_equal(symlink("app--db", at("root/link")), 0);
	assert_int_equal(symlink("../root2", at("root/out")), 0);
	assert_int_equal(symlink("a.db", at("root/app--db/l.db")), 0);
	assert_int_equal(look(at("root/link"), "a.db", false, &a), ERR_DATABASE);
	assert_int_equal(look(at("root/link/inner"), "a.db", false, &a), ERR_DATABASE);
	assert_int_equal(look(at("root/out/app--db"), "a.db", false, &a), ERR_DATABASE);
	assert_int_equal(look(at("root/out/app--db"), "a.db", true, &a), ERR_DATABASE);
	assert_int_equal(look(at("root/app--db"), "l.db", false, &a), ERR_DATABASE);
	assert_int_equal(link(at("root/app--db/a.db"), at("root/app--db/b.db")), 0);
	assert_int_equal(look(at("root/app--db"), "a.db", false, &a), ERR_DATABASE);
	assert_int_equal(mkfifo(at("root/app--db/f.db"), 0600), 0);
	assert_int_equal(look(at("root/app--db"), "f.db", false, &a), ERR_DATABASE);
	assert_int_equal(look(at("root/app--db"), "inner", false, &a), ERR_DATABASE);
	assert_int_equal(look(at("root/app--db/a.db"), "x", false, &a), ERR_DATABASE);
}

/* The root itself may be reached through a link: Dokku in Docker keeps its data so. */
static void test_linked_root(void **state)
{
	(void)state;
	struct storage_answer a;
	char folder[600];
	assert_int_equal(symlink("root", at("alias")), 0);
	snprintf(roots, sizeof(roots), "%s/alias", dir);
	snprintf(folder, sizeof(folder), "%s/alias/app--db", dir);
	assert_int_equal(look(folder, "a.db", false, &a), ERR_OK);
	assert_true(a.exists);
}

int main(void)
{
#define BOTH(test)                                        \
	{#test, test, make_dir, drop_dir, NULL},              \
	{                                                     \
#test "_walking", test, make_dir, drop_dir, roots \
	}
	const struct CMUnitTest tests[] = {
		BOTH(test_found),
		BOTH(test_elsewhere),
		BOTH(test_links),
		BOTH(test_linked_root),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
