/* An upload in parts that failed is gone on with, by the token that was kept. */
#include "lib/s3_bed.h"

#define CREATED                                                           \
	"{'body': '<InitiateMultipartUploadResult><UploadId>two</UploadId></" \
	"InitiateMultipartUploadResult>'}"
#define COMPLETED "{'body': '<CompleteMultipartUploadResult/>'}"
#define NO_UPLOAD ERROR(404, "NoSuchUpload")
#define ABSENT "{'status': 404}"
#define GONE "{'status': 204}"
#define PART(number, etag, size)                                                          \
	"<Part><PartNumber>" #number "</PartNumber><ETag>\\\"" etag "\\\"</ETag><Size>" #size \
	"</Size></Part>"
#define PARTS(parts) \
	"{'body': '<ListPartsResult><IsTruncated>false</IsTruncated>" parts "</ListPartsResult>'}"
#define FIRST PART(1, "1", 5242880)

/* What was kept after part 1 of 2 of the upload "one". */
#define TOKEN "5242880\none\n1 \"1\"\n"

/* The keeper. */
static char kept[4096];
static unsigned keeps;
static int keep_fails;
static bool cancels;

static int keep(void *ctx, const char *token, struct err *err)
{
	(void)ctx;
	keeps++;
	if (token && keep_fails)
		return err_set(err, keep_fails, "the disk is full");
	snprintf(kept, sizeof(kept), "%s", token ? token : "");
	if (cancels)
		store_cancel(s);
	return ERR_OK;
}

static int put_large(const char *token, bool only_if_absent)
{
	static char large[6 * 1024 * 1024];
	struct store_body b = {.data = large, .fd = -1, .size = sizeof(large)};
	struct store_resume resume = {.token = token, .keep = keep};
	struct store_put_opts opts = {.only_if_absent = only_if_absent, .resume = &resume};
	e = (struct err)ERR_INIT;
	keeps = 0;
	snprintf(kept, sizeof(kept), "%s", token ? token : "");
	return store_put(s, "0009/large", &b, &opts, &e);
}

static int begin(void **state)
{
	int rc = set_up(state);
	keep_fails = 0;
	cancels = false;
	open_store("/db", "&concurrency=1", options());
	return rc;
}

static void assert_asked(size_t i, const char *method, const char *query)
{
	char path[200];
	snprintf(path, sizeof(path), "/bucket/db/0009/large%s", query);
	assert_string_equal(scripted_method(&server, i), method);
	assert_string_equal(scripted_path(&server, i), path);
}

static void what_was_sent_is_kept(void **state)
{
	(void)state;
	scripted_answers(&server, "[" CREATED "," OK_PUT "," ERROR(403, "AccessDenied") "]");
	assert_code(put_large(NULL, false), ERR_DENIED);
	assert_int_equal(scripted_count(&server), 3); /* not aborted */
	assert_string_equal(kept, "5242880\ntwo\n1 \"1\"\n");
	assert_int_equal(keeps, 2); /* begun; ended */
}

static void only_the_rest_is_sent(void **state)
{
	(void)state;
	scripted_answers(&server, "[" ABSENT "," PARTS(FIRST) "," OK_PUT "," ABSENT "," COMPLETED "]");
	assert_code(put_large(TOKEN, true), ERR_OK);
	assert_int_equal(scripted_count(&server), 5);
	assert_asked(1, "GET", "?max-parts=1000&uploadId=one");
	assert_asked(2, "PUT", "?partNumber=2&uploadId=one");
	assert_asked(4, "POST", "?uploadId=one");
	assert_string_equal(kept, "");
	/* All are up, only the last step was missing. */
	scripted_answers(&server, "[" PARTS(FIRST PART(2, "2", 1048576)) "," COMPLETED "]");
	assert_code(put_large(TOKEN "2 \"2\"\n", false), ERR_OK);
	assert_int_equal(scripted_count(&server), 2);
}

/* What is not there as it was sent, or was not noted, is sent again. */
static void a_part_that_differs_is_sent_again(void **state)
{
	(void)state;
	static const char *const listed[] = {
		PARTS(""),
		PARTS(PART(1, "9", 5242880)),
		PARTS(PART(1, "1", 5242879)),
		PARTS(PART(7, "1", 5242880) PART(0, "1", 5242880)),
		PARTS("<Part><PartNumber>1</PartNumber></Part>"),
		PARTS(PART(1, "1", 99) PART(2, "2", 1048576)),
	};
	for (size_t i = 0; i < sizeof(listed) / sizeof(listed[0]); i++) {
		char answers[2000];
		snprintf(answers, sizeof(answers), "[%s,%s,%s,%s]", listed[i], OK_PUT, OK_PUT, COMPLETED);
		scripted_answers(&server, answers);
		assert_code(put_large(TOKEN, false), ERR_OK);
		assert_int_equal(scripted_count(&server), 4);
		assert_asked(1, "PUT", "?partNumber=1&uploadId=one");
		assert_asked(2, "PUT", "?partNumber=2&uploadId=one");
	}
}

static void a_forgotten_upload_begins_anew(void **state)
{
	(void)state;
	scripted_answers(&server, "[" NO_UPLOAD "," CREATED "," OK_PUT "," OK_PUT "," COMPLETED "]");
	assert_code(put_large(TOKEN, false), ERR_OK);
	assert_int_equal(scripted_count(&server), 5);
	assert_asked(1, "POST", "?uploads=");
	assert_asked(2, "PUT", "?partNumber=1&uploadId=two");
	/* It is forgotten while it runs: the next put begins anew. */
	scripted_answers(&server, "[" PARTS(FIRST) "," NO_UPLOAD "," GONE "]");
	assert_code(put_large(TOKEN, false), ERR_FAIL);
	assert_string_equal(kept, "");
	assert_int_equal(keeps, 1);
}

/* Nobody may look: a new one, and the old one is given up once there is a new one. */
static void what_may_not_be_looked_at_begins_anew(void **state)
{
	(void)state;
	scripted_answers(&server, "[" ERROR(403, "AccessDenied") "," CREATED "," GONE "," OK_PUT
															 "," OK_PUT "," COMPLETED "]");
	assert_code(put_large(TOKEN, false), ERR_OK);
	assert_asked(2, "DELETE", "?uploadId=one");
	assert_asked(3, "PUT", "?partNumber=1&uploadId=two");
	scripted_answers(&server, "[" ERROR(501, "NotImplemented") "," ERROR(403, "AccessDenied") "]");
	assert_code(put_large(TOKEN, false), ERR_DENIED);
	assert_int_equal(scripted_count(&server), 2);
	assert_string_equal(kept, TOKEN);
}

static void parts_are_listed_in_pages(void **state)
{
	(void)state;
	scripted_answers(&server,
		"[{'body': '<ListPartsResult><IsTruncated>true</IsTruncated><NextPartNumberMarker>1"
		"</NextPartNumberMarker>" FIRST
		"</ListPartsResult>'}," PARTS(PART(2, "2", 1048576)) "," COMPLETED "]");
	assert_code(put_large(TOKEN "2 \"2\"\n", false), ERR_OK);
	assert_int_equal(scripted_count(&server), 3);
	assert_asked(1, "GET", "?max-parts=1000&part-number-marker=1&uploadId=one");
	/* In circles, and no list at all: the token stays for another day. */
	static const char *const answers[] = {
		"[{'body': '<ListPartsResult><IsTruncated>true</IsTruncated></ListPartsResult>'}]",
		"[{'body': '<Other/>'}]",
		"[" HTML(200) "]",
	};
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		scripted_answers(&server, answers[i]);
		assert_code(put_large(TOKEN, false), ERR_DAMAGED);
		assert_int_equal(scripted_count(&server), 1);
		assert_string_equal(kept, TOKEN);
	}
}

/* The object is there: an earlier put was completed and its answer lost, or it is another's. */
static void what_is_there_ends_it(void **state)
{
	(void)state;
	scripted_answers(&server, "[{'headers': {'ETag': '1', 'Content-Length': '6291456'}}," GONE "]");
	assert_code(put_large(TOKEN, true), ERR_CONDITION);
	assert_asked(1, "DELETE", "?uploadId=one");
	assert_string_equal(kept, "");
	/* Parts that the server does not take together are no use a second time. */
	scripted_answers(
		&server, "[" PARTS(FIRST) "," OK_PUT "," ERROR(400, "InvalidPart") "," GONE "]");
	assert_code(put_large(TOKEN, false), ERR_FAIL);
	assert_asked(3, "DELETE", "?uploadId=one");
	assert_string_equal(kept, "");
}

static void without_a_token_it_is_given_up(void **state)
{
	(void)state;
	keep_fails = ERR_FULL;
	scripted_answers(&server, "[" CREATED "," OK_PUT "," ERROR(403, "AccessDenied") "," GONE "]");
	assert_code(put_large(NULL, false), ERR_DENIED);
	assert_asked(3, "DELETE", "?uploadId=two");
	/* An ID that would not fit into a token. */
	keep_fails = 0;
	scripted_answers(&server,
		"[{'body': '<InitiateMultipartUploadResult><UploadId>t w</UploadId></"
		"InitiateMultipartUploadResult>'}," ERROR(403, "AccessDenied") "," GONE "]");
	assert_code(put_large(NULL, false), ERR_DENIED);
	assert_asked(2, "DELETE", "?uploadId=t%20w");
	assert_string_equal(kept, "");
}

static void what_is_no_token_begins_anew(void **state)
{
	(void)state;
	static const char *const tokens[] = {"", "5242880", "5242880\n", "5242880\none", "12\none\n",
		"x\none\n", "99999999999\none\n", "-1\none\n", "\n\n\n"};
	for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
		scripted_answers(&server, "[" CREATED "," OK_PUT "," OK_PUT "," COMPLETED "]");
		if (put_large(tokens[i], false))
			fail_msg("token %zu: %s", i, e.text);
		assert_asked(0, "POST", "?uploads=");
	}
	/* Half of one counts as far as it goes. */
	scripted_answers(&server, "[" PARTS(FIRST) "," OK_PUT "," OK_PUT "," COMPLETED "]");
	assert_code(put_large("5242880\none\n77 \"1\"\n1 \"1\"\n", false), ERR_OK);
	assert_asked(1, "PUT", "?partNumber=1&uploadId=one");
}

static void a_cancelled_one_stays(void **state)
{
	(void)state;
	cancels = true;
	scripted_answers(&server, "[" CREATED "," OK_PUT "]");
	assert_code(put_large(NULL, false), ERR_CANCELLED);
	assert_int_equal(scripted_count(&server), 1);
	assert_string_equal(kept, "5242880\ntwo\n");
}

/* Not for each part, but when enough time has passed. */
static void tokens_come_now_and_then(void **state)
{
	(void)state;
	scripted_answers(&server, "[" CREATED "," OK_PUT "," OK_PUT "," COMPLETED "]");
	assert_code(put_large(NULL, false), ERR_OK);
	assert_int_equal(keeps, 2); /* begun; done */
	/* A part that took six seconds, because it was sent again after a pause. */
	scripted_answers(&server,
		"[" CREATED ",{'status': 503, 'headers': {'Retry-After': '6'}}," OK_PUT "," OK_PUT
		"," COMPLETED "]");
	assert_code(put_large(NULL, false), ERR_OK);
	assert_int_equal(keeps, 3);
}

#define RESUME(function) cmocka_unit_test_setup_teardown(function, begin, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RESUME(what_was_sent_is_kept),
		RESUME(only_the_rest_is_sent),
		RESUME(a_part_that_differs_is_sent_again),
		RESUME(a_forgotten_upload_begins_anew),
		RESUME(what_may_not_be_looked_at_begins_anew),
		RESUME(parts_are_listed_in_pages),
		RESUME(what_is_there_ends_it),
		RESUME(without_a_token_it_is_given_up),
		RESUME(what_is_no_token_begins_anew),
		RESUME(a_cancelled_one_stays),
		RESUME(tokens_come_now_and_then),
	};
	return run_with_server("s3 resume", tests, sizeof(tests) / sizeof(tests[0]));
}
