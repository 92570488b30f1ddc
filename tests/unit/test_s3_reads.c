/* What the S3 store reads: transfers that break, ranges, listings, and answers that are neither. */
#include "lib/s3_bed.h"

#define WHOLE(etag) "'headers': {'ETag': '" etag "'}, 'body': 'abcdefghij'"
#define PART(etag, range, body)                                                      \
	"{'status': 206, 'headers': {'ETag': '" etag "', 'Content-Range': 'bytes " range \
	"'}, 'body': '" body "'}"

static void goes_on_where_a_transfer_broke(void **state)
{
	(void)state;
	scripted_answers(&server,
		"[{" WHOLE("1") ", 'cut': 4}, " ERROR(
			503, "SlowDown") ", {'status': 206, "
							 "'headers': {'ETag': '1', 'Content-Range': 'bytes 4-9/10'}, 'body': "
							 "'efghij', 'cut': 3}, " PART("1", "7-9/10", "hij") "]");
	assert_code(get(0, 0), ERR_OK);
	assert_string_equal(buf_str(&got), "abcdefghij");
	assert_null(scripted_header(&server, 0, "range"));
	assert_string_equal(scripted_header(&server, 1, "range"), "bytes=4-9");
	assert_string_equal(scripted_header(&server, 2, "range"), "bytes=4-9");
	assert_string_equal(scripted_header(&server, 3, "range"), "bytes=7-9");
	/* Inside a range. */
	scripted_answers(&server,
		"[{'status': 206, 'headers': {'ETag': '1', 'Content-Range': 'bytes 2-5/10'}, "
		"'body': 'cdef', 'cut': 1}, " PART("1", "3-5/10", "def") "]");
	assert_code(get(2, 4), ERR_OK);
	assert_string_equal(buf_str(&got), "cdef");
	assert_string_equal(scripted_header(&server, 0, "range"), "bytes=2-5");
	assert_string_equal(scripted_header(&server, 1, "range"), "bytes=3-5");
}

static void does_not_splice_two_objects(void **state)
{
	(void)state;
	scripted_answers(&server, "[{" WHOLE("1") ", 'cut': 4}, " PART("2", "4-9/10", "EFGHIJ") "]");
	assert_code(get(0, 0), ERR_DAMAGED);
	assert_says("replaced while it was read");
	assert_string_equal(buf_str(&got), "abcd");
	/* Nor an object and its own beginning. */
	scripted_answers(&server, "[{" WHOLE("1") ", 'cut': 4}, {" WHOLE("1") "}]");
	assert_code(get(0, 0), ERR_DAMAGED);
	assert_string_equal(buf_str(&got), "abcd");
}

static void checks_ranges(void **state)
{
	(void)state;
	static const char *const wrong[] = {
		"[" PART("1", "1-5/10", "bcdef") "]",
		"[" PART("1", "2-4/10", "cde") "]",
		"[" PART("1", "2-6/10", "cdefg") "]",
		"[" PART("1", "nonsense", "cdef") "]",
		"[{'status': 206, 'headers': {'ETag': '1'}, 'body': 'cdef'}]",
		"[{'status': 206, 'headers': {'Content-Range': 'bytes 2-5/10'}, 'body': 'cdef'}]",
		"[{" WHOLE("1") "}]",
		"[" ERROR(416, "InvalidRange") "]",
	};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		scripted_answers(&server, wrong[i]);
		assert_code(get(2, 4), ERR_DAMAGED);
		assert_int_equal(got.len, 0);
	}
	/* An answer whose Content-Length is not its range's. */
	scripted_answers(&server, "[" PART("1", "2-5/10", "cdefXX") "]");
	assert_code(get(2, 4), ERR_DAMAGED);
	struct store_options o = options();
	o.max_attempts = 2;
	open_store("/db", "", o);
	scripted_answers(&server, "[" PART("1", "2-5/10", "cd") "," PART("1", "4-5/10", "e") "," PART(
								  "1", "5-5/10", "f") "]");
	assert_code(get(2, 4), ERR_OK);
	assert_string_equal(buf_str(&got), "cdef");
}

#define LIST(inside)                                                                            \
	"{'body': '<ListBucketResult xmlns=\\\"http://s3.amazonaws.com/doc/2006-03-01/\\\">" inside \
	"</ListBucketResult>'}"
#define KEY(key)          \
	"<Contents><Key>" key \
	"</Key><LastModified>2026-11-20T12:00:00.000Z</LastModified><Size>3</Size></Contents>"

static char listed[400];

static int note_object(void *ctx, const struct store_object *o, struct err *err)
{
	(void)ctx, (void)err;
	size_t n = strlen(listed);
	snprintf(listed + n, sizeof(listed) - n, "%s%s", n ? " " : "", o->name);
	assert_int_equal(o->size, 3);
	assert_int_equal(o->modified_ms, 1795176000000);
	return ERR_OK;
}

static int list(const char *after, size_t max)
{
	listed[0] = '\0';
	e = (struct err)ERR_INIT;
	return store_list(s, "0000/", after, max, note_object, NULL, &e);
}

#define DENIED ERROR(403, "AccessDenied")
#define HEAD_DENIED "{'status': 403}"
#define FALSE_END "<IsTruncated>false</IsTruncated>"

static void denied_may_mean_absent(void **state)
{
	(void)state;
	struct store_object o;
	/* Its folder can be listed, and it is not there: nothing, or what stands behind it. */
	scripted_answers(&server, "[" DENIED "," LIST(FALSE_END) "]");
	assert_code(get(0, 0), ERR_NOT_FOUND);
	assert_non_null(strstr(scripted_path(&server, 1), "start-after"));
	scripted_answers(&server, "[" HEAD_DENIED "," LIST(KEY("db/zzz") FALSE_END) "]");
	assert_code(store_head(s, "name", &o, &e), ERR_NOT_FOUND);
	/* It is there, something before it is, or it can't be listed either: the refusal stays. */
	scripted_answers(&server, "[" DENIED "," LIST(KEY("db/0000/name") FALSE_END) "]");
	assert_code(get(0, 0), ERR_DENIED);
	scripted_answers(&server, "[" DENIED "," DENIED "]");
	assert_code(get(0, 0), ERR_DENIED);
	assert_int_equal(scripted_count(&server), 2);
	/* Wrong keys: nothing more is asked. */
	scripted_answers(&server, "[" ERROR(403, "InvalidAccessKeyId") "]");
	assert_code(get(0, 0), ERR_DENIED);
	assert_int_equal(scripted_count(&server), 1);
}

static void listing_goes_on_by_its_token(void **state)
{
	(void)state;
	scripted_answers(&server,
		"[" LIST(
			"<IsTruncated>true</IsTruncated><NextContinuationToken>a+/=&amp;b</"
			"NextContinuationToken>" KEY("db/0000/a") KEY(
				"db%2F0000%2Fb") "<EncodingType>url</EncodingType>") "," LIST(KEY("db/0000/c") "<Is"
																							   "Tru"
																							   "nca"
																							   "ted"
																							   ">fa"
																							   "lse"
																							   "</"
																							   "IsT"
																							   "run"
																							   "cat"
																							   "ed"
																							   ">") "]");
	assert_code(list("0", 0), ERR_OK);
	assert_string_equal(listed, "a b c");
	assert_string_equal(scripted_path(&server, 0),
		"/bucket?list-type=2&encoding-type=url&max-keys=1000&prefix=db%"
		"2F0000%2F&start-after=db%2F0000%2F0");
	assert_string_equal(scripted_path(&server, 1),
		"/bucket?list-type=2&encoding-type=url&max-keys=1000&prefix=db%"
		"2F0000%2F&continuation-token=a%2B%2F%3D%26b");
	assert_int_equal(scripted_count(&server), 2);
	scripted_answers(&server,
		"[" LIST(
			"<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>" KEY(
				"db/0000/a") KEY("db/0000/b")) "]");
	assert_code(list(NULL, 2), ERR_OK);
	assert_string_equal(listed, "a b");
	assert_int_equal(scripted_count(&server), 1);
	assert_non_null(strstr(scripted_path(&server, 0), "max-keys=2&"));
}

static void listing_skips_what_is_not_ours(void **state)
{
	(void)state;
	scripted_answers(&server,
		"[" LIST(KEY("db/0000/") KEY("db/0000/a") KEY("db/0000/b c") KEY("db/0000/d")) "]");
	assert_code(list(NULL, 0), ERR_OK);
	assert_string_equal(listed, "a d");
	/* A server that ignores start-after and max-keys. */
	assert_code(list("a", 0), ERR_OK);
	assert_string_equal(listed, "d");
	assert_code(list(NULL, 1), ERR_OK);
	assert_string_equal(listed, "a");
}

static void listing_that_is_none_is_damaged(void **state)
{
	(void)state;
	static const char *const wrong[] = {
		"[{'body': ''}]",
		"[{'body': 'ok'}]",
		"[{'body': '{}'}]",
		"[{'body': '<ListBucketResult><Contents>'}]",
		"[{'body': '<Other/>'}]",
		"[" LIST(KEY("other/0000/a")) "]",
		"[" LIST(KEY("db/0000/b") KEY("db/0000/a")) "]",
		"[" LIST("<Contents><Key>db/0000/a</Key></Contents>") "]",
		"[" LIST("<Contents><Key>db/0000/a</Key><Size>many</Size></Contents>") "]",
		"[" LIST("<IsTruncated>true</IsTruncated>" KEY("db/0000/a")) "]",
		("[{'body': '<!DOCTYPE x [<!ENTITY a \\\"aaaa\\\"><!ENTITY b "
		 "\\\"&a;&a;&a;\\\">]><ListBucketResult>&b;</ListBucketResult>'}]"),
		"[{'body': 'x', 'body_repeat': 9000000}]",
	};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		scripted_answers(&server, wrong[i]);
		int rc = list(NULL, 0);
		if (rc != ERR_DAMAGED)
			fail_msg("case %zu: %d %s", i, rc, e.text);
	}
	scripted_answers(&server, "[" LIST("<IsTruncated>true</IsTruncated><NextContinuationToken>t"
									   "</NextContinuationToken>") "]");
	assert_code(list(NULL, 0), ERR_DAMAGED);
	assert_int_equal(scripted_count(&server), 2);
	scripted_answers(&server, "[" ERROR(404, "NoSuchBucket") "]");
	assert_code(list(NULL, 0), ERR_FAIL);
	/* A transfer that breaks is repeated, and nothing is given twice. */
	scripted_answers(
		&server, "[{'body': '<ListBucketResult>" KEY(
					 "db/0000/a") "</ListBucketResult>', 'cut': 130}," LIST(KEY("db/0000/a")) "]");
	assert_code(list(NULL, 0), ERR_OK);
	assert_string_equal(listed, "a");
}

#define VERSIONING(inside)                                                                  \
	"[{'body': '<VersioningConfiguration xmlns=\\\"http://s3.amazonaws.com/doc/2006-03-01/" \
	"\\\">" inside "</VersioningConfiguration>'}]"

static int versioned(const char *answers, bool *out)
{
	e = (struct err)ERR_INIT;
	*out = true;
	scripted_answers(&server, answers);
	return store_versioned(s, out, &e);
}

static void versions_as_the_bucket_says(void **state)
{
	(void)state;
	bool is;
	assert_code(versioned(VERSIONING("<Status>Enabled</Status>"), &is), ERR_OK);
	assert_true(is);
	assert_string_equal(scripted_method(&server, 0), "GET");
	assert_string_equal(scripted_path(&server, 0), "/bucket?versioning=");
	assert_code(versioned(VERSIONING("<Status>Suspended</Status>"), &is), ERR_OK);
	assert_false(is);
	assert_code(versioned(VERSIONING("<MfaDelete>Disabled</MfaDelete>"), &is), ERR_OK);
	assert_false(is);
	assert_code(versioned("[" LIST(KEY("db/0000/a")) "]", &is), ERR_OK);
	assert_false(is);
}

/* Few credentials may ask, and few servers know it: then it isn't known, after one request. */
static void versions_that_nobody_tells(void **state)
{
	(void)state;
	bool is;
	assert_code(versioned("[" ERROR(403, "AccessDenied") "]", &is), ERR_DENIED);
	assert_false(is);
	assert_int_equal(scripted_count(&server), 1);
	assert_code(versioned("[" ERROR(501, "NotImplemented") "]", &is), ERR_UNSUPPORTED);
	assert_false(is);
	assert_int_equal(scripted_count(&server), 1);
	assert_code(versioned("[{'body': 'enabled'}]", &is), ERR_DAMAGED);
	assert_false(is);
}

/* Nobody answers there: it isn't asked. */
static void versions_of_backblaze(void **state)
{
	(void)state;
	struct store_options o = options();
	bool is = false;
	store_close(s);
	s = NULL;
	assert_code(
		store_open(&s, "s3://bucket/p?endpoint=s3.eu-central-003.backblazeb2.com", &o, &e), ERR_OK);
	assert_code(store_versioned(s, &is, &e), ERR_OK);
	assert_true(is);
	struct store_counts counts;
	store_get_counts(s, &counts);
	assert_int_equal(counts.get + counts.list + counts.head, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(versions_as_the_bucket_says),
		TEST(versions_that_nobody_tells),
		TEST(versions_of_backblaze),
		TEST(goes_on_where_a_transfer_broke),
		TEST(does_not_splice_two_objects),
		TEST(checks_ranges),
		TEST(denied_may_mean_absent),
		TEST(listing_goes_on_by_its_token),
		TEST(listing_skips_what_is_not_ours),
		TEST(listing_that_is_none_is_damaged),
	};
	int failed = run_with_server("s3 reads", tests, sizeof(tests) / sizeof(tests[0]));
	return failed;
}
