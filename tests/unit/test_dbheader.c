/* The database header: reasons that a user understands. Real ones are read in test_wal.c. */
#include "format/dbheader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t good[DB_HEADER_SIZE] = {'S', 'Q', 'L', 'i', 't', 'e', ' ', 'f', 'o', 'r', 'm',
	'a', 't', ' ', '3', 0, 0x10, 0, 2, 2, 0, 64, 32, 32, 0, 0, 1, 2, 0, 0, 0, 9, [92] = 0, 0, 1, 2};

static void refuse(const uint8_t *in, const char *part)
{
	struct db_header h;
	struct err e = ERR_INIT;
	assert_int_equal(db_header_decode(in, &h, &e), ERR_DATABASE);
	assert_int_equal(e.code, ERR_DATABASE);
	if (!strstr(e.text, part))
		fail_msg("\"%s\" has no \"%s\"", e.text, part);
}

static void test_fields(void **state)
{
	(void)state;
	struct db_header h;
	struct err e = ERR_INIT;
	assert_int_equal(db_header_decode(good, &h, &e), ERR_OK);
	assert_int_equal(h.page_size, 4096);
	assert_int_equal(h.write_version, 2);
	assert_int_equal(h.read_version, 2);
	assert_int_equal(h.change_counter, 0x102);
	assert_int_equal(h.n_page, 9);
	assert_int_equal(h.version_valid_for, 0x102);
}

static void test_page_sizes(void **state)
{
	(void)state;
	struct db_header h;
	struct err e = ERR_INIT;
	uint8_t in[DB_HEADER_SIZE];
	memcpy(in, good, sizeof(in));
	for (unsigned v = 0; v <= 65535; v++) {
		in[16] = (uint8_t)(v >> 8);
		in[17] = (uint8_t)v;
		bool right = v == 1 || (v >= 512 && (v & (v - 1)) == 0);
		assert_int_equal(db_header_decode(in, &h, &e), right ? ERR_OK : ERR_DATABASE);
		if (right)
			assert_int_equal(h.page_size, v == 1 ? 65536 : v);
	}
	refuse(in, "page size 65535");
}

static void test_refused(void **state)
{
	(void)state;
	uint8_t in[DB_HEADER_SIZE] = {0};
	refuse(in, "zeros");
	memset(in, 0x5a, sizeof(in));
	refuse(in, "not a SQLite database");
	memcpy(in, good, sizeof(in));
	memset(in, 0x5a, 16); /* as SQLite's SEE leaves it */
	refuse(in, "encrypted");
	memcpy(in, good, sizeof(in));
	in[22] = 33;
	refuse(in, "64, 33, 32");
	memcpy(in, good, sizeof(in));
	in[15] = '!';
	refuse(in, "SQLite");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_page_sizes),
		cmocka_unit_test(test_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
