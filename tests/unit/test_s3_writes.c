/* What the S3 store does with many keys or in many steps: deletions, uploads in parts. */
#include "lib/s3_bed.h"

static void every_deletion_is_answered(void **state)
{
	(void)state;
	const char *const names[] = {"0000/a", "0000/b", "0000/c"};
	struct store_delete_result r[3];
	scripted_answers(&server,
		"[{'body': "
		"'<DeleteResult><Deleted><Key>db/0000/a</Key></Deleted><Error><Key>db/0000/b</Key>"
		"<Code>AccessDenied</Code><Message>No.</Message></Error></DeleteResult>'}]");
	assert_code(store_delete(s, names, 3, r, &e), ERR_DENIED);
	assert_int_equal(r[0].code, ERR_OK);
	assert_int_equal(r[1].code, ERR_DENIED);
	assert_non_null(strstr(r[1].text, "AccessDenied"));
	assert_int_equal(r[2].code, ERR_DAMAGED); /* left out of the answer: nobody knows */
	assert_string_equal(scripted_method(&server, 0), "POST");
	assert_string_equal(scripted_path(&server, 0), "/bucket?delete=");
	assert_int_equal(strlen(scripted_header(&server, 0, "content-md5")), 24);
	scripted_answers(&server, "[{'body': '<DeleteResult/>'}]");
	assert_code(store_delete(s, names, 3, r, &e), ERR_DAMAGED);
	scripted_answers(&server, "[" HTML(200) "]");
	assert_code(store_delete(s, names, 3, r, &e), ERR_DAMAGED);
	assert_int_equal(r[0].code, ERR_DAMAGED);
	scripted_answers(&server,
		"[{'body': '<DeleteResult><Error><Key>db/0000/a</Key><Code>NoSuchKey</Code></Error>"
		"<Deleted><Key>db/0000/c</Key></Deleted><Deleted><Key>db/0000/b</Key></Deleted></"
		"DeleteResult>'}]");
	assert_code(store_delete(s, names, 3, r, &e), ERR_OK);
}

static void deletes_singly_where_there_are_no_batches(void **state)
{
	(void)state;
	const char *const names[] = {"0000/a", "0000/b"};
	struct store_delete_result r[2];
	open_store("/db", "&require-content-md5=false", options());
	scripted_answers(
		&server, "[" ERROR(501, "NotImplemented") ",{'status': 204}," ERROR(404, "NoSuchKey") "]");
	assert_code(store_delete(s, names, 2, r, &e), ERR_OK);
	assert_null(scripted_header(&server, 0, "content-md5"));
	assert_string_equal(scripted_method(&server, 1), "DELETE");
	assert_string_equal(scripted_path(&server, 2), "/bucket/db/0000/b");
	assert_code(store_delete(s, names, 2, r, &e), ERR_OK);
	assert_int_equal(scripted_count(&server), 5); /* the batch is not tried again */
}

#define IN_200(code) \
	"{'body': '<?xml version=\\\"1.0\\\"?>\\n<Error><Code>" code "</Code></Error>'}"

static void upload_in_parts(void **state)
{
	(void)state;
	open_store("/db", "&concurrency=1", options());
	scripted_answers(&server,
		"[" PARTS_BEGUN "," OK_PUT "," OK_PUT "," IN_200("InternalError") "," PARTS_ENDED "]");
	assert_code(put_two_parts(false), ERR_OK);
	assert_int_equal(scripted_count(&server), 5);
	assert_string_equal(scripted_path(&server, 0), "/bucket/db/0009/large?uploads=");
	assert_string_equal(
		scripted_path(&server, 1), "/bucket/db/0009/large?partNumber=1&uploadId=an%2Fid%2B1");
	assert_string_equal(scripted_header(&server, 1, "content-length"), "5242880");
	assert_string_equal(scripted_header(&server, 2, "content-length"), "1048576");
	assert_string_equal(scripted_path(&server, 4), "/bucket/db/0009/large?uploadId=an%2Fid%2B1");
}

/* S3 refuses the store's encryption and the class on whatever doesn't make an object; a key of
 * the customer's goes with each part, too. */
static void encryption_is_said_where_an_object_is_made(void **state)
{
	static const char kind[] = "x-amz-server-side-encryption",
					  key[] = "x-amz-server-side-encryption-aws-kms-key-id",
					  class[] = "x-amz-storage-class";
	struct store_object o;
	(void)state;
	open_store("/db", "&concurrency=1&server-side-encryption=AES256&storage-class=COLD", options());
	scripted_answers(
		&server, "[" PARTS_BEGUN "," OK_PUT "," OK_PUT "," PARTS_ENDED "," OK_PUT "," OK_PUT "]");
	assert_code(put_two_parts(false), ERR_OK);
	assert_code(put("x", false), ERR_OK);
	store_head(s, "0000/name", &o, &e);
	assert_int_equal(scripted_count(&server), 6);
	for (size_t i = 0; i < 6; i++) {
		const char *said = scripted_header(&server, i, kind);
		if (i == 0 || i == 4) {
			assert_string_equal(said, "AES256");
			assert_string_equal(scripted_header(&server, i, class), "COLD");
		} else if (said || scripted_header(&server, i, class)) {
			fail_msg("request %zu says %s", i, said ? said : "the class");
		}
		assert_null(scripted_header(&server, i, key));
	}
	open_store("/db", "&sse-kms-key-id=a-key", options());
	scripted_answers(&server, "[" OK_PUT "]");
	assert_code(put("x", false), ERR_OK);
	assert_string_equal(scripted_header(&server, 0, kind), "aws:kms");
	assert_string_equal(scripted_header(&server, 0, key), "a-key");
}

static void upload_that_fails_is_aborted(void **state)
{
	(void)state;
	open_store("/db", "&concurrency=1", options());
	static const struct {
		const char *answers;
		int code;
		size_t requests;
	} cases[] = {
		{"[" PARTS_BEGUN "," OK_PUT "," ERROR(403, "AccessDenied") ",{'status': 204}]", ERR_DENIED,
			4},
		{"[" PARTS_BEGUN "," OK_PUT ",{},{'status': 204}]", ERR_DAMAGED, 4},
		{"[" PARTS_BEGUN "," OK_PUT "," OK_PUT "," IN_200("AccessDenied") ",{'status': 204}]",
			ERR_UNREACHABLE, 0},
		{"[" PARTS_BEGUN "," OK_PUT "," OK_PUT "," HTML(200) ",{'status': 204}]", ERR_DAMAGED, 5},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		scripted_answers(&server, cases[i].answers);
		int rc = put_two_parts(false);
		size_t n = scripted_count(&server);
		if (cases[i].requests && (rc != cases[i].code || n != cases[i].requests))
			fail_msg("case %zu: %d after %zu requests: %s", i, rc, n, e.text);
		assert_int_not_equal(rc, ERR_OK);
		assert_string_equal(scripted_method(&server, n - 1), "DELETE");
	}
	scripted_answers(&server, "[" HTML(200) "]");
	assert_code(put_two_parts(false), ERR_DAMAGED);
	assert_int_equal(scripted_count(&server), 1);
}

static void upload_looks_before_it_completes(void **state)
{
	(void)state;
	open_store("/db", "&concurrency=1", options());
	/* Another one came while the parts were sent. */
	scripted_answers(&server,
		"[{'status': 404}," PARTS_BEGUN "," OK_PUT "," OK_PUT "," OK_PUT ",{'status': 204}]");
	assert_code(put_two_parts(true), ERR_CONDITION);
	assert_string_equal(scripted_method(&server, 4), "HEAD");
	assert_string_equal(scripted_method(&server, 5), "DELETE");
	/* The server honours the condition itself. */
	scripted_answers(&server,
		"[{'status': 404}," PARTS_BEGUN "," OK_PUT "," OK_PUT
		",{'status': 404}," ERROR(412, "PreconditionFailed") ",{'status': 204}]");
	assert_code(put_two_parts(true), ERR_CONDITION);
	assert_string_equal(scripted_header(&server, 5, "if-none-match"), "*");
	assert_null(scripted_header(&server, 1, "if-none-match"));
	/* Completed, the answer lost, the upload unknown: the object is there. */
	scripted_answers(&server,
		"[" PARTS_BEGUN "," OK_PUT "," OK_PUT ",{'reset': true}," ERROR(
			404, "NoSuchUpload") ","
								 "{'headers': {'ETag': '1', 'Content-Length': '6291456', "
								 "'Last-Modified': 'Fri, 01 Jan 2100 00:00:00 GMT'}}]");
	assert_code(put_two_parts(false), ERR_OK);
	/* Or an older one of this size is, and somebody aborted the upload. */
	scripted_answers(&server,
		"[" PARTS_BEGUN "," OK_PUT "," OK_PUT "," ERROR(404,
			"NoSuchUpload") ","
							"{'headers': {'ETag': '1', 'Content-Length': '6291456', "
							"'Last-Modified': 'Fri, 01 Jan 2010 00:00:00 GMT'}},{'status': 204}]");
	assert_code(put_two_parts(false), ERR_FAIL);
	assert_string_equal(scripted_method(&server, 5), "DELETE");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_deletion_is_answered),
		TEST(deletes_singly_where_there_are_no_batches),
		TEST(upload_in_parts),
		TEST(encryption_is_said_where_an_object_is_made),
		TEST(upload_that_fails_is_aborted),
		TEST(upload_looks_before_it_completes),
	};
	int failed = run_with_server("s3 writes", tests, sizeof(tests) / sizeof(tests[0]));
	return failed;
}
