/* Uploads in parts that nobody finished are found, page by page, and given up where they may be. */
#include "lib/s3_bed.h"

#define UPLOAD(key, id, begun)                                                                \
	"<Upload><Key>" key "</Key><UploadId>" id "</UploadId><Initiated>" begun "</Initiated></" \
	"Upload>"
#define PAGE(more, uploads)                                                                        \
	"{'headers': {'Date': 'Sat, 21 Nov 2026 12:00:00 GMT'}, 'body': '<ListMultipartUploadsResult>" \
	"<IsTruncated>" #more "</IsTruncated>" uploads "</ListMultipartUploadsResult>'}"
#define NEXT(key, id) \
	"<NextKeyMarker>" key "</NextKeyMarker><NextUploadIdMarker>" id "</NextUploadIdMarker>"
#define GONE "{'status': 204}"

static char seen[1000];
static const char *spare; /* this one is not chosen */

static bool choose(void *ctx, const struct store_unfinished *u)
{
	(void)ctx;
	size_t n = strlen(seen);
	snprintf(seen + n, sizeof(seen) - n, "%s %lld;", u->name, (long long)u->age_ms);
	return !spare || strcmp(u->name, spare) != 0;
}

static int end_all(const char *prefix, size_t *n)
{
	seen[0] = '\0';
	e = (struct err)ERR_INIT;
	return store_end_unfinished(s, prefix, choose, NULL, n, &e);
}

static void the_chosen_are_given_up(void **state)
{
	(void)state;
	size_t n;
	spare = "0009/b";
	scripted_answers(&server,
		"[" PAGE(false, UPLOAD("db/0009/a", "i/1", "2026-11-20T11:59:59.000Z")
							UPLOAD("db/0009/b", "2", "2026-11-21T11:59:59Z") UPLOAD("db/0001/c",
								"3", "nonsense")) "," GONE "," ERROR(404, "NoSuchUpload") "]");
	assert_code(end_all("", &n), ERR_OK);
	assert_int_equal(n, 2);
	assert_string_equal(seen, "0009/a 86401000;0009/b 1000;0001/c -1;");
	assert_int_equal(scripted_count(&server), 3);
	assert_string_equal(scripted_path(&server, 0),
		"/bucket?uploads=&encoding-type=url&max-uploads=100&prefix=db%2F");
	assert_string_equal(scripted_method(&server, 1), "DELETE");
	assert_string_equal(scripted_path(&server, 1), "/bucket/db/0009/a?uploadId=i%2F1");
	assert_string_equal(scripted_path(&server, 2), "/bucket/db/0001/c?uploadId=3");
	spare = NULL;
}

/* What is not below the prefix, or is no name of ours, is nobody's business. */
static void others_are_left_alone(void **state)
{
	(void)state;
	size_t n;
	scripted_answers(&server,
		"[" PAGE(false, "<EncodingType>url</EncodingType>" UPLOAD("db/0009/a%2Bb", "1", "")
							UPLOAD("other/0009/a", "2", "") UPLOAD("db/0009/..", "3", "")
								UPLOAD("db/0009/c", "", "") UPLOAD("db/0001/d", "4", "")) "]");
	assert_code(end_all("0009/", &n), ERR_OK);
	assert_int_equal(n, 0);
	assert_string_equal(seen, "");
	assert_int_equal(scripted_count(&server), 1);
}

static void page_by_page(void **state)
{
	(void)state;
	size_t n;
	scripted_answers(&server,
		"[" PAGE(true, UPLOAD("db/0009/a", "1", "") NEXT("db/0009/a", "1")) "," GONE "," PAGE(
			true, "<EncodingType>url</EncodingType>" NEXT("db%2F0009%2Fb", "")) "," PAGE(false,
			UPLOAD("db/0009/c", "3", "")) "," GONE "]");
	assert_code(end_all("", &n), ERR_OK);
	assert_int_equal(n, 2);
	assert_string_equal(scripted_path(&server, 2),
		"/bucket?uploads=&encoding-type=url&max-uploads=100&prefix=db%2F&key-marker=db%2F0009%2Fa"
		"&upload-id-marker=1");
	assert_string_equal(scripted_path(&server, 3),
		"/bucket?uploads=&encoding-type=url&max-uploads=100&prefix=db%2F&key-marker=db%2F0009%2Fb");
	scripted_answers(&server, "[" PAGE(true, NEXT("db/0009/a", "1")) "]");
	assert_code(end_all("", &n), ERR_DAMAGED);
	assert_says("in circles");
	assert_int_equal(scripted_count(&server), 2);
}

static void refusals(void **state)
{
	(void)state;
	size_t n;
	static const struct {
		const char *answers;
		int code;
	} cases[] = {
		{"[" ERROR(501, "NotImplemented") "]", ERR_UNSUPPORTED},
		{"[" ERROR(403, "AccessDenied") "]", ERR_DENIED},
		{"[" HTML(200) "]", ERR_DAMAGED},
		{"[{'body': '<ListBucketResult/>'}]", ERR_DAMAGED},
		{"[" PAGE(false, UPLOAD("db/0009/a", "1", "") UPLOAD("db/0009/b", "2", "")) "," ERROR(
			 403, "AccessDenied") "]",
			ERR_DENIED},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		scripted_answers(&server, cases[i].answers);
		assert_code(end_all("", &n), cases[i].code);
		assert_int_equal(n, 0);
	}
}

/* A store that puts in one request has nothing to give up. */
static void other_stores_have_none(void **state)
{
	(void)state;
	size_t n = 7;
	struct store *m;
	assert_int_equal(store_open(&m, "mem://m", NULL, &e), ERR_OK);
	assert_int_equal(store_end_unfinished(m, "", choose, NULL, &n, &e), ERR_OK);
	assert_int_equal(n, 0);
	store_close(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_chosen_are_given_up),
		TEST(others_are_left_alone),
		TEST(page_by_page),
		TEST(refusals),
		TEST(other_stores_have_none),
	};
	return run_with_server("s3 unfinished", tests, sizeof(tests) / sizeof(tests[0]));
}
