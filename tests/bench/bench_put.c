/*
 * bench_put - what a store adds to a PUT, and what an open connection costs in memory.
 *
 * On radosgw, started here: runs of 100 puts of 10 KB through store_put alternate with runs through
 * a bare libcurl handle that keeps its connection (signed before its clock starts). Then the memory
 * of this process with a TLS connection open. The last line of stdout is a JSON object.
 */
#include "lib/samples.h"
#include "lib/server.h"

#include "base/clock.h"
#include "net/sigv4.h"
#include "store/store.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUNS 5
#define PUTS 100

static const char bytes[10240];

static void die(const char *what, const char *why)
{
	fprintf(stderr, "bench_put: %s: %s\n", what, why);
	exit(1);
}

static const char *env(const char *name)
{
	const char *v = getenv(name);
	if (!v)
		die(name, "not set");
	return v;
}

static struct store *open_store(const char *endpoint_variable)
{
	struct store *s;
	struct err e = ERR_INIT;
	char url[400];
	struct store_options o = {.access_key_id = env("LITESTREAM_TEST_S3_ACCESS_KEY_ID"),
		.secret_access_key = env("LITESTREAM_TEST_S3_SECRET_ACCESS_KEY"),
		.ca_file = env("LITESTREAM_TEST_S3_CA_FILE")};
	snprintf(url, sizeof(url), "s3://%s/bench?endpoint=%s", env("LITESTREAM_TEST_S3_BUCKET"),
		env(endpoint_variable));
	if (store_open(&s, url, &o, &e))
		die(url, e.text);
	return s;
}

static void put_by_store(struct store *s, struct samples *samples)
{
	struct err e = ERR_INIT;
	struct store_body body = {.data = bytes, .fd = -1, .size = sizeof(bytes)};
	struct store_put_opts opts = {.single = true, .timestamp_ms = 1700000000123};
	for (int i = 0; i < PUTS; i++) {
		char name[40];
		snprintf(name, sizeof(name), "0000/%016x", i);
		int64_t before = samples_now_us();
		if (store_put(s, name, &body, &opts, &e))
			die("store_put", e.text);
		samples_add(samples, samples_now_us() - before);
	}
}

static size_t read_body(char *p, size_t size, size_t n, void *left)
{
	size_t *rest = left, part = size * n < *rest ? size * n : *rest;
	memset(p, 0, part);
	*rest -= part;
	return part;
}

/* The headers of a PUT that is signed as AWS wants it, but whose body is not hashed. */
static struct curl_slist *sign(const char *url)
{
	char host[100], date[SIGV4_DATE_LEN], line[64];
	struct err e = ERR_INIT;
	struct buf authorization;
	const char *path = strchr(url + strlen("http://"), '/');
	snprintf(host, sizeof(host), "%.*s", (int)(path - url - 7), url + 7);
	int64_t now = clock_wall_ms();
	sigv4_date(now, date);
	struct sigv4_header headers[] = {
		{"Host", host}, {"x-amz-content-sha256", SIGV4_UNSIGNED}, {"x-amz-date", date}};
	struct sigv4_request r = {.method = "PUT",
		.path = path,
		.query = "",
		.headers = headers,
		.n_headers = 3,
		.payload_hash = SIGV4_UNSIGNED,
		.access_key_id = env("LITESTREAM_TEST_S3_ACCESS_KEY_ID"),
		.secret_access_key = env("LITESTREAM_TEST_S3_SECRET_ACCESS_KEY"),
		.region = "us-east-1",
		.service = "s3",
		.wall_ms = now};
	buf_init(&authorization, 4096);
	if (buf_append_str(&authorization, "Authorization: ") ||
		sigv4_sign(&r, &authorization, NULL, &e))
		die("signing", e.text);
	struct curl_slist *list = curl_slist_append(NULL, "Expect:");
	list = curl_slist_append(list, "x-amz-content-sha256: " SIGV4_UNSIGNED);
	snprintf(line, sizeof(line), "x-amz-date: %s", date);
	list = curl_slist_append(list, line);
	list = curl_slist_append(list, buf_str(&authorization));
	buf_free(&authorization);
	return list;
}

static void put_by_curl(CURL *c, struct samples *samples)
{
	for (int i = 0; i < PUTS; i++) {
		char url[300];
		size_t left = sizeof(bytes);
		long status = 0;
		snprintf(url, sizeof(url), "%s/%s/bare/%d", env("LITESTREAM_TEST_S3_ENDPOINT"),
			env("LITESTREAM_TEST_S3_BUCKET"), i);
		struct curl_slist *headers = sign(url);
		curl_easy_setopt(c, CURLOPT_URL, url);
		curl_easy_setopt(c, CURLOPT_PROXY, "");
		curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(c, CURLOPT_READFUNCTION, read_body);
		curl_easy_setopt(c, CURLOPT_READDATA, &left);
		curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)left);
		curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
		int64_t before = samples_now_us();
		CURLcode code = curl_easy_perform(c);
		samples_add(samples, samples_now_us() - before);
		curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
		if (code != CURLE_OK || status != 200)
			die("bare PUT", code ? curl_easy_strerror(code) : "refused");
		curl_slist_free_all(headers);
	}
}

static long memory_kb(const char *field)
{
	char line[200];
	long kb = -1;
	FILE *f = fopen("/proc/self/smaps_rollup", "r");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, field, strlen(field)))
			kb = atol(line + strlen(field));
	if (f)
		fclose(f);
	return kb;
}

int main(void)
{
	struct samples by_store = {0}, by_curl = {0}, over_tls = {0};
	if (!server_start("ceph.sh", "LITESTREAM_TEST_S3_ENDPOINT"))
		die("ceph.sh", "radosgw is not installed");
	struct store *tls = open_store("LITESTREAM_TEST_S3_TLS_ENDPOINT");
	put_by_store(tls, &over_tls);
	long rss = memory_kb("Rss:"), anonymous = memory_kb("Anonymous:");
	store_close(tls);
	struct store *s = open_store("LITESTREAM_TEST_S3_ENDPOINT");
	CURL *c = curl_easy_init();
	for (int i = 0; i < RUNS; i++) {
		put_by_store(s, &by_store);
		put_by_curl(c, &by_curl);
	}
	curl_easy_cleanup(c);
	store_close(s);
	printf("{\"bytes\":%zu,\"tls_rss_kb\":%ld,\"tls_anonymous_kb\":%ld", sizeof(bytes), rss,
		anonymous);
	samples_json(&by_store, "store", stdout);
	samples_json(&by_curl, "curl", stdout);
	samples_json(&over_tls, "tls", stdout);
	printf("}\n");
	samples_free(&by_store);
	samples_free(&by_curl);
	samples_free(&over_tls);
	return 0;
}
