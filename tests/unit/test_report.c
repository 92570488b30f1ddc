/* URLs as status shows them: no password, no key. */
#include "daemon/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void test_urls(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{"file:///var/x", "file:///var/x"},
		{"/var/x", "/var/x"},
		{"s3://bucket/p", "s3://bucket/p"},
		{"s3://bucket/p?region=eu&part-size=5MB", "s3://bucket/p?region=eu&part-size=5MB"},
		{"s3://user:secret@bucket/p", "s3://***@bucket/p"},
		{"s3://user:se@cret@bucket", "s3://***@bucket"},
		{"s3://bucket/p@q", "s3://bucket/p@q"},
		{"s3://bucket?sse-customer-key=QUJD", "s3://bucket?sse-customer-key=***"},
		{"s3://u:x@bucket/p?a=1&SSECustomer-Key=QUJD=&b=2",
			"s3://***@bucket/p?a=1&SSECustomer-Key=***&b=2"},
		{"s3://bucket/p?-s-s-e-customerKey=QUJD&sse-kms-key-id=id&",
			"s3://bucket/p?-s-s-e-customerKey=***&sse-kms-key-id=id&"},
		/* What it doesn't understand may be one. */
		{"s3://bucket/p?%73se-customer-key=QUJD&x", "s3://bucket/p?%73se-customer-key=***&x"},
		{"s3://bucket/p?&=&sse", "s3://bucket/p?&=&sse"},
	};
	char shown[1100];
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		report_url(cases[i][0], shown, sizeof(shown));
		assert_string_equal(shown, cases[i][1]);
	}
	char small[12];
	report_url("s3://bucket/p?sse-customer-key=QUJD", small, sizeof(small));
	assert_null(strstr(small, "QUJD"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_urls)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
