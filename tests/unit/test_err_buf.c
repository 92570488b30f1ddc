/* Errors that carry their story; buffers that keep below their ceiling. */
#include "base/buf.h"
#include "base/endian.h"
#include "base/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_err_story(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	assert_int_equal(err_errno(&e, ERR_IO, ENOENT, "cannot open %s", "x"), ERR_IO);
	assert_string_equal(e.text, "cannot open x: No such file or directory");
	assert_int_equal(err_wrap(&e, "restore of %s", "app"), ERR_IO);
	assert_string_equal(e.text, "restore of app: cannot open x: No such file or directory");
	assert_int_equal(e.code, ERR_IO);
	assert_int_equal(err_set(&e, ERR_DAMAGED, "file 7 (%s)", e.text), ERR_DAMAGED);
	assert_string_equal(
		e.text, "file 7 (restore of app: cannot open x: No such file or directory)");
	assert_int_equal(err_nomem(&e, "testing"), ERR_NOMEM);
	assert_string_equal(e.text, "out of memory while testing");
	err_clear(&e);
	assert_int_equal(e.code, ERR_OK);
	assert_string_equal(e.text, "");
	assert_int_equal(err_set(NULL, ERR_USAGE, "x"), ERR_USAGE);
	assert_int_equal(err_errno(NULL, ERR_IO, EIO, "x"), ERR_IO);
	assert_int_equal(err_nomem(NULL, "x"), ERR_NOMEM);
}

/* Longer than fits: cut, ended, nothing behind it touched. */
static void test_err_is_cut(void **state)
{
	(void)state;
	char text[3 * ERR_TEXT_MAX];
	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	struct err *e = calloc(1, sizeof(*e));
	assert_non_null(e);
	err_set(e, ERR_FAIL, "%s", text);
	assert_int_equal(strlen(e->text), ERR_TEXT_MAX - 1);
	err_errno(e, ERR_IO, EIO, "%s", text);
	assert_int_equal(strlen(e->text), ERR_TEXT_MAX - 1);
	err_wrap(e, "%s", text);
	assert_int_equal(strlen(e->text), ERR_TEXT_MAX - 1);
	free(e);
}

static void test_exit_codes(void **state)
{
	(void)state;
	for (int code = 0; code <= 9; code++)
		assert_int_equal(err_exit_code(code), code);
	assert_int_equal(err_exit_code(10), 1);
	assert_int_equal(err_exit_code(-1), 1);
	assert_int_equal(err_exit_code(ERR_NOMEM), 1);
	assert_int_equal(err_exit_code(ERR_FULL), 1);
	assert_string_equal(err_name(ERR_DENIED), "denied");
	assert_string_equal(err_name(ERR_FULL), "full");
	assert_string_equal(err_name(12345), "failed");
}

static void test_buf_grows_to_its_ceiling(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, 1000);
	assert_string_equal(buf_str(&b), "");
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(buf_append(&b, "x", 1), ERR_OK);
		assert_int_equal(strlen(buf_str(&b)), i + 1);
	}
	assert_true(b.cap <= 1001);
	assert_int_equal(buf_append(&b, "y", 1), ERR_FULL);
	assert_int_equal(buf_append_str(&b, "yy"), ERR_FULL);
	assert_int_equal(buf_printf(&b, "%d", 7), ERR_FULL);
	assert_int_equal(buf_append(&b, NULL, 0), ERR_OK);
	assert_int_equal(b.len, 1000);
	assert_int_equal(strspn(buf_str(&b), "x"), 1000);
	buf_reset(&b);
	assert_string_equal(buf_str(&b), "");
	assert_int_equal(buf_printf(&b, "%s-%d", "a", 5), ERR_OK);
	assert_int_equal(buf_append_str(&b, "!"), ERR_OK);
	assert_string_equal(buf_str(&b), "a-5!");
	buf_free(&b);
	buf_free(&b);
	assert_string_equal(buf_str(&b), "");
	assert_int_equal(b.max, 1000);
}

static void test_buf_never_wraps(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, SIZE_MAX);
	assert_int_equal(buf_append(&b, "abc", 3), ERR_OK);
	assert_int_equal(buf_reserve(&b, SIZE_MAX), ERR_FULL);
	assert_int_equal(buf_reserve(&b, SIZE_MAX - 3), ERR_NOMEM);
	assert_int_equal(buf_reserve(&b, SIZE_MAX - 4), ERR_NOMEM);
	assert_int_equal(buf_reserve(&b, SIZE_MAX / 2), ERR_NOMEM);
	assert_string_equal(buf_str(&b), "abc");
	buf_free(&b);
	buf_init(&b, 0);
	assert_int_equal(buf_append(&b, "", 0), ERR_OK);
	assert_int_equal(buf_append(&b, "a", 1), ERR_FULL);
	buf_free(&b);
}

static void test_endian(void **state)
{
	(void)state;
	const uint8_t in[8] = {0xf1, 0x02, 0x83, 0x04, 0x95, 0x06, 0xa7, 0x08};
	uint8_t out[8];
	assert_true(get_be16(in) == 0xf102);
	assert_true(get_be32(in) == 0xf1028304);
	assert_true(get_be64(in) == UINT64_C(0xf10283049506a708));
	assert_true(get_le32(in) == 0x048302f1);
	assert_true(get_le64(in) == UINT64_C(0x08a70695048302f1));
	put_be64(out, UINT64_C(0xf10283049506a708));
	assert_memory_equal(in, out, 8);
	put_be16(out, 0xf102);
	put_be32(out + 2, 0x83049506);
	assert_memory_equal(in, out, 6);
	put_le32(out, 0x048302f1);
	assert_memory_equal(in, out, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_err_story),
		cmocka_unit_test(test_err_is_cut),
		cmocka_unit_test(test_exit_codes),
		cmocka_unit_test(test_buf_grows_to_its_ceiling),
		cmocka_unit_test(test_buf_never_wraps),
		cmocka_unit_test(test_endian),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
