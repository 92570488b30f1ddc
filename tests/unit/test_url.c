/* Every form of a replica URL, and what each is taken for. */
#include "store/s3_url.h"
#include "store/store.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CUSTOMER_KEY "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
#define ACCOUNT "0123456789abcdef0123456789abcdef"

static struct err e;

static int clear_environment(void **state)
{
	static const char *const names[] = {"LITESTREAM_S3_ENDPOINT", "LITESTREAM_R2_ACCOUNT_ID",
		"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION",
		"LITESTREAM_ACCESS_KEY_ID", "LITESTREAM_SECRET_ACCESS_KEY", "LITESTREAM_SESSION_TOKEN",
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE",
		"SSL_CERT_FILE", "LITESTREAM_SSE_CUSTOMER_KEY", "AWS_PROFILE", "AWS_DEFAULT_PROFILE",
		"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"};
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unsetenv(names[i]);
	setenv("HOME", "/nonexistent", 1);
	setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
	return 0;
}

static int parse(const char *text, const struct store_options *opts, struct s3_target *t)
{
	static const struct store_options none;
	struct store_url u;
	e = (struct err)ERR_INIT;
	int rc = store_url_parse(&u, text, &e);
	if (!rc)
		rc = s3_target_parse(t, &u, opts ? opts : &none, &e);
	store_url_free(&u);
	return rc;
}

struct form {
	const char *url;
	const char *bucket, *prefix, *server, *region;
	bool path_style;
	enum s3_provider provider;
};

/* server: scheme://host[:port][/base path] */
static const struct form forms[] = {
	{"s3://bucket/path", "bucket", "path", "https://s3.us-east-1.amazonaws.com", "us-east-1", false,
		S3_AWS},
	{"S3://bucket/path/", "bucket", "path", "https://s3.us-east-1.amazonaws.com", "us-east-1",
		false, S3_AWS},
	{"s3://bucket", "bucket", "", "https://s3.us-east-1.amazonaws.com", "us-east-1", false, S3_AWS},
	{"s3://bucket//a/./b//c/", "bucket", "a/b/c", "https://s3.us-east-1.amazonaws.com", "us-east-1",
		false, S3_AWS},
	{"s3://bucket/a%20b%2Bc+d", "bucket", "a b+c+d", "https://s3.us-east-1.amazonaws.com",
		"us-east-1", false, S3_AWS},
	{"s3://bucket/p?region=eu-west-1", "bucket", "p", "https://s3.eu-west-1.amazonaws.com",
		"eu-west-1", false, S3_AWS},
	{"s3://my.bucket/p", "my.bucket", "p", "https://s3.us-east-1.amazonaws.com", "us-east-1", true,
		S3_AWS},
	/* names that no host can have */
	{"s3://My_Bucket/p", "My_Bucket", "p", "https://s3.us-east-1.amazonaws.com", "us-east-1", true,
		S3_AWS},
	{"s3://my_bucket/p?region=eu-west-1", "my_bucket", "p", "https://s3.eu-west-1.amazonaws.com",
		"eu-west-1", true, S3_AWS},
	{"s3://buckeT/p", "buckeT", "p", "https://s3.us-east-1.amazonaws.com", "us-east-1", true,
		S3_AWS},
	{"s3://bucket-/p", "bucket-", "p", "https://s3.us-east-1.amazonaws.com", "us-east-1", true,
		S3_AWS},
	{"s3://bucket/p?region=cn-north-1", "bucket", "p", "https://s3.cn-north-1.amazonaws.com.cn",
		"cn-north-1", false, S3_AWS},
	/* from the documents that users follow */
	{"s3://my-sqlite-backup-bucket/fruits.db", "my-sqlite-backup-bucket", "fruits.db",
		"https://s3.us-east-1.amazonaws.com", "us-east-1", false, S3_AWS},
	{"s3://mybkt.localhost:9000/fruits.db", "mybkt", "fruits.db", "http://localhost:9000",
		"us-east-1", true, S3_OTHER},
	{"s3://bucket-name.litestream.region.digitaloceanspaces.com/production",
		"bucket-name.litestream", "production", "https://region.digitaloceanspaces.com", "region",
		true, S3_DIGITALOCEAN},
	/* AWS by host */
	{"s3://bucket.s3.amazonaws.com/p", "bucket", "p", "https://s3.us-east-1.amazonaws.com",
		"us-east-1", false, S3_AWS},
	{"s3://bucket.s3.eu-central-1.amazonaws.com/p", "bucket", "p",
		"https://s3.eu-central-1.amazonaws.com", "eu-central-1", false, S3_AWS},
	{"s3://bucket.s3-eu-west-1.amazonaws.com/p", "bucket", "p",
		"https://s3.eu-west-1.amazonaws.com", "eu-west-1", false, S3_AWS},
	{"s3://bucket.s3.dualstack.eu-west-1.amazonaws.com/p", "bucket", "p",
		"https://s3.dualstack.eu-west-1.amazonaws.com", "eu-west-1", false, S3_AWS},
	{"s3://bucket.s3.cn-north-1.amazonaws.com.cn/p", "bucket", "p",
		"https://s3.cn-north-1.amazonaws.com.cn", "cn-north-1", false, S3_AWS},
	{"s3://my.bucket.s3.eu-central-1.amazonaws.com/p", "my.bucket", "p",
		"https://s3.eu-central-1.amazonaws.com", "eu-central-1", true, S3_AWS},
	{"s3://arn:aws:s3:us-west-2:123456789012:accesspoint/my-ap/db/x", "my-ap-123456789012", "db/x",
		"https://my-ap-123456789012.s3-accesspoint.us-west-2.amazonaws.com", "us-west-2", false,
		S3_AWS},
	{"s3://arn:aws:s3:us-west-2:123456789012:accesspoint:my-ap/db/x", "my-ap-123456789012", "db/x",
		"https://my-ap-123456789012.s3-accesspoint.us-west-2.amazonaws.com", "us-west-2", false,
		S3_AWS},
	/* other providers */
	{"s3://bucket.nyc3.digitaloceanspaces.com/p", "bucket", "p",
		"https://nyc3.digitaloceanspaces.com", "nyc3", false, S3_DIGITALOCEAN},
	{"s3://bucket.s3.us-west-002.backblazeb2.com/p", "bucket", "p",
		"https://s3.us-west-002.backblazeb2.com", "us-west-002", true, S3_BACKBLAZE},
	{"s3://bucket.s3.filebase.com/p", "bucket", "p", "https://s3.filebase.com", "us-east-1", true,
		S3_FILEBASE},
	{"s3://bucket.s3.fr-par.scw.cloud/p", "bucket", "p", "https://s3.fr-par.scw.cloud", "fr-par",
		false, S3_SCALEWAY},
	{"s3://bucket.fsn1.your-objectstorage.com/p", "bucket", "p",
		"https://fsn1.your-objectstorage.com", "fsn1", false, S3_HETZNER},
	{"s3://bucket." ACCOUNT ".r2.cloudflarestorage.com/p", "bucket", "p",
		"https://" ACCOUNT ".r2.cloudflarestorage.com", "auto", true, S3_R2},
	{"s3://bucket." ACCOUNT ".eu.r2.cloudflarestorage.com/p", "bucket", "p",
		"https://" ACCOUNT ".eu.r2.cloudflarestorage.com", "auto", true, S3_R2},
	{"s3://my-bucket-name.r2.cloudflarestorage.com/backup?endpoint=https://" ACCOUNT
	 ".r2.cloudflarestorage.com",
		"my-bucket-name", "backup", "https://" ACCOUNT ".r2.cloudflarestorage.com", "auto", true,
		S3_R2},
	{"s3://bucket.fly.storage.tigris.dev/p", "bucket", "p", "https://fly.storage.tigris.dev",
		"auto", false, S3_TIGRIS},
	{"s3://bucket.t3.storage.dev/p", "bucket", "p", "https://t3.storage.dev", "auto", false,
		S3_TIGRIS},
	{"s3://bucket.project.supabase.co/p", "bucket", "p",
		"https://project.supabase.co/storage/v1/s3", "us-east-1", true, S3_SUPABASE},
	{"s3://bucket.storage.googleapis.com/p", "bucket", "p", "https://storage.googleapis.com",
		"auto", true, S3_GOOGLE},
	{"s3://bucket.us-east-1.linodeobjects.com/p", "bucket", "p",
		"https://us-east-1.linodeobjects.com", "us-east-1", true, S3_LINODE},
	/* servers of one's own */
	{"s3://bucket.minio.example.com:9000/p", "bucket", "p", "http://minio.example.com:9000",
		"us-east-1", true, S3_OTHER},
	{"s3://bucket.10.0.0.5:9000/p", "bucket", "p", "http://10.0.0.5:9000", "us-east-1", true,
		S3_OTHER},
	{"s3://bucket.localhost/p", "bucket", "p", "http://localhost", "us-east-1", true, S3_OTHER},
	{"s3://bucket/p?endpoint=minio.example.com:9000", "bucket", "p",
		"https://minio.example.com:9000", "us-east-1", true, S3_OTHER},
	{"s3://bucket/p?endpoint=http://minio.example.com:9000/", "bucket", "p",
		"http://minio.example.com:9000", "us-east-1", true, S3_OTHER},
	{"s3://bucket/p?endpoint=192.168.1.5:9000", "bucket", "p", "http://192.168.1.5:9000",
		"us-east-1", true, S3_OTHER},
	{"s3://bucket/p?endpoint=172.31.0.1", "bucket", "p", "http://172.31.0.1", "us-east-1", true,
		S3_OTHER},
	{"s3://bucket/p?endpoint=172.32.0.1", "bucket", "p", "https://172.32.0.1", "us-east-1", true,
		S3_OTHER},
	{"s3://bucket/p?endpoint=nas.local:9000", "bucket", "p", "http://nas.local:9000", "us-east-1",
		true, S3_OTHER},
	{"s3://bucket/"
	 "p?endpoint=https%3A%2F%2Fs3.example.com%2Fbase%2Fpath&region=xx-1&forcePathStyle=false",
		"bucket", "p", "https://s3.example.com/base/path", "xx-1", false, S3_OTHER},
	/* providers by endpoint */
	{"s3://bucket/p?endpoint=https://ams3.digitaloceanspaces.com", "bucket", "p",
		"https://ams3.digitaloceanspaces.com", "ams3", false, S3_DIGITALOCEAN},
	{"s3://bucket/p?endpoint=s3.eu-central-003.backblazeb2.com", "bucket", "p",
		"https://s3.eu-central-003.backblazeb2.com", "eu-central-003", true, S3_BACKBLAZE},
	{"s3://bucket/p?endpoint=https://fly.storage.tigris.dev", "bucket", "p",
		"https://fly.storage.tigris.dev", "auto", false, S3_TIGRIS},
	{"s3://bucket/p?endpoint=https://" ACCOUNT ".r2.cloudflarestorage.com", "bucket", "p",
		"https://" ACCOUNT ".r2.cloudflarestorage.com", "auto", true, S3_R2},
	{"s3://bucket/p?endpoint=https://project.supabase.co/storage/v1/s3&region=eu-west-1", "bucket",
		"p", "https://project.supabase.co/storage/v1/s3", "eu-west-1", true, S3_SUPABASE},
	{"s3://bucket/p?endpoint=https://storage.googleapis.com", "bucket", "p",
		"https://storage.googleapis.com", "auto", true, S3_GOOGLE},
	{"s3://bucket/p?endpoint=https://s3.eu-west-3.amazonaws.com", "bucket", "p",
		"https://s3.eu-west-3.amazonaws.com", "eu-west-3", false, S3_AWS},
};

static void each_form_means_what_it_should(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		const struct form *f = &forms[i];
		struct s3_target t;
		char server[600], port[16] = "";
		if (parse(f->url, NULL, &t))
			fail_msg("%s: %s", f->url, e.text);
		if (t.port)
			snprintf(port, sizeof(port), ":%d", t.port);
		snprintf(server, sizeof(server), "%s://%s%s%s", t.https ? "https" : "http", t.host, port,
			t.base_path);
		if (strcmp(t.bucket, f->bucket) || strcmp(t.prefix, f->prefix) ||
			strcmp(server, f->server) || strcmp(t.region, f->region) ||
			t.path_style != f->path_style || t.provider != f->provider)
			fail_msg("%s: bucket %s prefix %s server %s region %s path style %d provider %d",
				f->url, t.bucket, t.prefix, server, t.region, t.path_style, t.provider);
	}
}

static const struct {
	const char *url, *says;
} mistakes[] = {
	{"", "empty"},
	{"bucket/path", "neither a URL"},
	{"../relative", "neither a URL"},
	{"s3:/bucket", "neither a URL"},
	{"s3://", "no bucket"},
	{"s3:///path", "no bucket"},
	{"s3://.localhost:9000/p", "no bucket"},
	{"s3://localhost:9000/bucket/p", "no bucket"},
	{"s3://s3.amazonaws.com/bucket/p", "no bucket"},
	{"s3://nyc3.digitaloceanspaces.com/bucket", "no bucket"},
	{"s3://s3.us-west-002.backblazeb2.com/bucket", "BUCKET"},
	{"s3://" ACCOUNT ".r2.cloudflarestorage.com/bucket", "no bucket"},
	{"s3://my-bucket-name.r2.cloudflarestorage.com/backup", "LITESTREAM_R2_ACCOUNT_ID"},
	{"s3://ab/p", "3 to 63"},
	{"s3://bucket..name/p", "empty"},
	{"s3://bucket/a/../b", "'..'"},
	{"s3://bucket/a%2", "hexadecimal"},
	{"s3://bucket/a%00b", "control"},
	{"s3://bucket/a%0Ab", "control"},
	{"s3://bucket/p#fragment", "'#'"},
	{"s3://buck et/p", "character"},
	{"s3://bucket.host:0/p", "port"},
	{"s3://bucket.host:99999/p", "port"},
	{"s3://bucket.host:9000x/p", "port"},
	{"s3://bucket.host:9000:9001/p", "port"},
	{"s3://bucket/p?regoin=eu-west-1", "'regoin'"},
	{"s3://bucket/p?region=a&region=b", "twice"},
	{"s3://bucket/p?partSize=6MB&part-size=7MB", "twice"},
	{"s3://bucket/p?region=eu%20west", "region"},
	{"s3://bucket/p?forcePathStyle=maybe", "force-path-style"},
	{"s3://bucket/p?partSize=1MB", "part-size"},
	{"s3://bucket/p?partSize=lots", "part-size"},
	{"s3://bucket/p?partSize=6GiB", "part-size"},
	{"s3://bucket/p?concurrency=0", "concurrency"},
	{"s3://bucket/p?endpoint=ftp://host", "endpoint"},
	{"s3://bucket/p?endpoint=https://user:pw@host", "endpoint"},
	{"s3://bucket/p?endpoint=https://host?x", "endpoint"},
	{"s3://bucket/p?sseCustomerKey=short", "32 bytes"},
	{"s3://bucket/p?sseCustomerAlgorithm=AES256", "sse-customer-key"},
	{"s3://bucket/p?storageClass=bad%20name", "storage-class"},
	{"s3://bucket/p?serverSideEncryption=DES", "AES256 or aws:kms"},
	{"s3://bucket/p?server-side-encryption=", "AES256 or aws:kms"},
	{"s3://bucket/p?server-side-encryption=AES256&sse-kms-key-id=k", "leave out sse-kms-key-id"},
	{"s3://bucket/p?server-side-encryption=aws:kms&sse-customer-key=" CUSTOMER_KEY,
		"either with a key of yours"},
	{"s3://bucket/p?sseKmsKeyId=k&sseCustomerKey=" CUSTOMER_KEY, "either with a key of yours"},
	{"s3://arn:aws:s3:us-west-2:123456789012:accesspoint", "accesspoint/NAME"},
	{"s3://arn:aws:s3::123456789012:accesspoint/name.mrap/p", "multi-Region"},
	{"s3://arn:aws:s3:us-west-2:123456789012:accesspoint/a.b/p", "character"},
	{"s3://arn:aws:sns:us-west-2:123456789012:topic/p", "accesspoint"},
};

static void each_mistake_is_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		struct s3_target t;
		int rc = parse(mistakes[i].url, NULL, &t);
		if (rc != ERR_USAGE || !strstr(e.text, mistakes[i].says))
			fail_msg("%s: %d %s", mistakes[i].url, rc, e.text);
	}
	struct s3_target t;
	char long_url[STORE_URL_MAX + 10];
	memset(long_url, 'a', sizeof(long_url) - 1);
	long_url[sizeof(long_url) - 1] = '\0';
	memcpy(long_url, "s3://bucket/", 12);
	assert_int_equal(parse(long_url, NULL, &t), ERR_USAGE);
	long_url[2000] = '\0';
	assert_int_equal(parse(long_url, NULL, &t), ERR_USAGE);
	long_url[1000] = '\0';
	assert_int_equal(parse(long_url, NULL, &t), ERR_OK);
}

static void secrets_in_a_url_are_not_repeated(void **state)
{
	(void)state;
	struct s3_target t;
	assert_int_equal(parse("s3://AKIDEXAMPLE:verysecret@bucket/p", NULL, &t), ERR_USAGE);
	assert_null(strstr(e.text, "verysecret"));
	assert_int_equal(parse("s3://bucket/p?secret=verysecret", NULL, &t), ERR_USAGE);
	assert_null(strstr(e.text, "verysecret"));
	assert_int_equal(parse("s3://bucket/p?endpoint=https://u:verysecret@h", NULL, &t), ERR_USAGE);
	assert_null(strstr(e.text, "verysecret"));
}

static void rules_of_providers(void **state)
{
	(void)state;
	struct s3_target t;
	assert_int_equal(parse("s3://bucket.fly.storage.tigris.dev/p", NULL, &t), ERR_OK);
	assert_true(t.tigris_consistent && !t.content_md5 && t.sign_payload);
	assert_int_equal(parse("s3://bucket/p", NULL, &t), ERR_OK);
	assert_true(!t.tigris_consistent && t.content_md5 && t.sign_payload);
	assert_int_equal(t.concurrency, 5);
	assert_int_equal(t.part_size, S3_PART_SIZE_MIN);
	assert_int_equal(parse("s3://b-1." ACCOUNT ".r2.cloudflarestorage.com/p", NULL, &t), ERR_OK);
	assert_int_equal(t.concurrency, 2);
	assert_int_equal(parse("s3://bucket/p?part-size=16MiB&concurrency=9&sign-payload=false&"
						   "requireContentMD5=false&skipVerify=true&storage-class=GLACIER_IR&"
						   "sseKmsKeyId=arn:aws:kms:x",
						 NULL, &t),
		ERR_OK);
	assert_int_equal(t.part_size, 16 << 20);
	assert_int_equal(t.concurrency, 9);
	assert_true(!t.sign_payload && !t.content_md5 && t.skip_verify);
	assert_string_equal(t.storage_class, "GLACIER_IR");
	assert_string_equal(t.kms_key_id, "arn:aws:kms:x");
}

/* Which encryption by the store: the URL's word before the caller's, a key of the KMS says aws:kms.
 */
static void encryption_by_the_store(void **state)
{
	static const struct {
		const char *query, *option, *option_key, *kind, *key;
	} rows[] = {
		{"", NULL, NULL, "", ""},
		{"?server-side-encryption=AES256", NULL, NULL, "AES256", ""},
		{"?serverSideEncryption=aws:kms", NULL, NULL, "aws:kms", ""},
		{"?server-side-encryption=aws%3Akms&sse-kms-key-id=k", NULL, NULL, "aws:kms", "k"},
		{"?sse-kms-key-id=k", NULL, NULL, "aws:kms", "k"},
		{"?sse-kms-key-id=", NULL, "o", "", ""},
		{"", "AES256", NULL, "AES256", ""},
		{"", NULL, "o", "aws:kms", "o"},
		{"?server-side-encryption=aws:kms", "AES256", "o", "aws:kms", "o"},
		{"?server-side-encryption=AES256&sse-kms-key-id=", "aws:kms", "o", "AES256", ""},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct store_options o = {
			.server_side_encryption = rows[i].option, .sse_kms_key_id = rows[i].option_key};
		struct s3_target t;
		char url[200];
		snprintf(url, sizeof(url), "s3://bucket/p%s", rows[i].query);
		if (parse(url, &o, &t))
			fail_msg("%s: %s", url, e.text);
		assert_string_equal(t.encryption, rows[i].kind);
		assert_string_equal(t.kms_key_id, rows[i].key);
	}
}

/* A URL is seen by whoever lists processes, so the key may come another way. */
static void key_of_the_customer(void **state)
{
	(void)state;
	static const char key[] = CUSTOMER_KEY,
					  other[] = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";
	char url[200];
	struct s3_target t;
	struct store_options o = {0};
	assert_int_equal(parse("s3://bucket/p", &o, &t), ERR_OK);
	assert_string_equal(t.sse_key, "");
	setenv("LITESTREAM_SSE_CUSTOMER_KEY", other, 1);
	assert_int_equal(parse("s3://bucket/p", &o, &t), ERR_OK);
	assert_string_equal(t.sse_key, other);
	o.sse_customer_key = key;
	assert_int_equal(parse("s3://bucket/p", &o, &t), ERR_OK);
	assert_string_equal(t.sse_key, key);
	assert_string_equal(t.sse_key_md5, "hRasmdxgYDKV3nvbahU1MA==");
	assert_int_equal(parse("s3://bucket/p?endpoint=http://store.example", &o, &t), ERR_USAGE);
	/* An empty one in the URL is a mistake, and no reason to write without encryption. */
	assert_int_equal(parse("s3://bucket/p?sse-customer-key=", &o, &t), ERR_USAGE);
	snprintf(url, sizeof(url), "s3://bucket/p?sse-customer-key=%s", other);
	assert_int_equal(parse(url, &o, &t), ERR_OK);
	assert_string_equal(t.sse_key, other);
	o.sse_customer_key = "much too short";
	assert_int_equal(parse("s3://bucket/p", &o, &t), ERR_USAGE);
	assert_null(strstr(e.text, "short"));
	clear_environment(NULL);
}

static void options_and_environment_fill_in(void **state)
{
	(void)state;
	struct s3_target t;
	struct store_options o = {0};
	o.endpoint = "http://10.1.2.3:9000";
	o.region = "own-1";
	assert_int_equal(parse("s3://bucket/p", &o, &t), ERR_OK);
	assert_string_equal(t.host, "10.1.2.3");
	assert_string_equal(t.region, "own-1");
	/* What the URL says itself is more to the point than what holds for all replicas. */
	assert_int_equal(parse("s3://bucket.nyc3.digitaloceanspaces.com/p", &o, &t), ERR_OK);
	assert_string_equal(t.host, "nyc3.digitaloceanspaces.com");
	assert_string_equal(t.region, "nyc3");
	assert_int_equal(parse("s3://bucket/p?endpoint=https://h.example&region=r", &o, &t), ERR_OK);
	assert_string_equal(t.host, "h.example");
	assert_string_equal(t.region, "r");
	o = (struct store_options){.concurrency = 3,
		.storage_class = "STANDARD_IA",
		.sse_customer_key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="};
	assert_int_equal(parse("s3://bucket/p?storage-class=GLACIER", &o, &t), ERR_OK);
	assert_int_equal(t.concurrency, 3);
	assert_string_equal(t.storage_class, "GLACIER");
	assert_string_equal(t.sse_key, o.sse_customer_key);
	assert_string_equal(t.sse_algorithm, "AES256");
	o = (struct store_options){0};
	setenv("AWS_REGION", "eu-north-1", 1);
	assert_int_equal(parse("s3://bucket/p", &o, &t), ERR_OK);
	assert_string_equal(t.host, "s3.eu-north-1.amazonaws.com");
	assert_false(t.region_fixed); /* the bucket may be elsewhere */
	setenv("LITESTREAM_S3_ENDPOINT", "https://minio.example:9000", 1);
	assert_int_equal(parse("s3://bucket/p", &o, &t), ERR_OK);
	assert_string_equal(t.host, "minio.example");
	assert_int_equal(parse("s3://bucket.s3.amazonaws.com/p", &o, &t), ERR_OK);
	assert_string_equal(t.host, "s3.eu-north-1.amazonaws.com");
	clear_environment(NULL);
	setenv("LITESTREAM_R2_ACCOUNT_ID", ACCOUNT, 1);
	assert_int_equal(parse("s3://my-bucket-name.r2.cloudflarestorage.com/backup", &o, &t), ERR_OK);
	assert_string_equal(t.host, ACCOUNT ".r2.cloudflarestorage.com");
	assert_string_equal(t.bucket, "my-bucket-name");
	setenv("LITESTREAM_R2_ACCOUNT_ID", "not-an-account", 1);
	assert_int_equal(
		parse("s3://my-bucket-name.r2.cloudflarestorage.com/backup", &o, &t), ERR_USAGE);
	o.endpoint = "https://" ACCOUNT ".r2.cloudflarestorage.com";
	assert_int_equal(parse("s3://my-bucket-name.r2.cloudflarestorage.com/backup", &o, &t), ERR_OK);
	assert_string_equal(t.host, ACCOUNT ".r2.cloudflarestorage.com");
}

static int open_url(const char *url, const struct store_options *o)
{
	struct store *s;
	e = (struct err)ERR_INIT;
	int rc = store_open(&s, url, o, &e);
	store_close(s);
	return rc;
}

static void stores_are_found_by_scheme(void **state)
{
	(void)state;
	assert_int_equal(open_url("/tmp/x", NULL), ERR_OK);
	assert_int_equal(open_url("file:///tmp/x", NULL), ERR_OK);
	assert_int_equal(open_url("FILE://localhost/tmp/a%20b", NULL), ERR_OK);
	assert_int_equal(open_url("mem://x", NULL), ERR_OK);
	static const char *const bad[] = {"gs://bucket/p", "sftp://host/p", "file://", "file:///", "/",
		"file://host/path", "file://tmp", "/a/../b", "file:///a?x=1", "mem://", "mem://a/b",
		"fault://unknown", "/a\nb", "http://host/p"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (open_url(bad[i], NULL) != ERR_USAGE)
			fail_msg("%s: %d %s", bad[i], e.code, e.text);
	struct store *s;
	assert_int_equal(store_open(&s, "/tmp//a/./b/", NULL, &e), ERR_OK);
	assert_string_equal(store_url(s), "file:///tmp/a/b");
	store_close(s);
	/* A '?' or '%' in a plain path is just that. */
	assert_int_equal(store_open(&s, "/tmp/a?b%20", NULL, &e), ERR_OK);
	assert_string_equal(store_url(s), "file:///tmp/a?b%20");
	store_close(s);
}

static void credentials_come_in_pairs(void **state)
{
	(void)state;
	struct store_options o = {0};
	assert_int_equal(open_url("s3://bucket/p", &o), ERR_DENIED);
	assert_non_null(strstr(e.text, "LITESTREAM_ACCESS_KEY_ID"));
	o.access_key_id = "AKID";
	assert_int_equal(open_url("s3://bucket/p", &o), ERR_DENIED);
	assert_non_null(strstr(e.text, "secret access key"));
	o.secret_access_key = "sec\nret";
	assert_int_equal(open_url("s3://bucket/p", &o), ERR_USAGE);
	assert_null(strstr(e.text, "sec\nret"));
	o.secret_access_key = "secret";
	assert_int_equal(open_url("s3://bucket/p", &o), ERR_OK);
	o = (struct store_options){0};
	setenv("AWS_ACCESS_KEY_ID", "a", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "b", 1);
	assert_int_equal(open_url("s3://bucket/p", &o), ERR_OK);
	setenv("LITESTREAM_ACCESS_KEY_ID", "half", 1);
	assert_int_equal(open_url("s3://bucket/p", &o), ERR_OK);
	unsetenv("AWS_ACCESS_KEY_ID");
	assert_int_equal(open_url("s3://bucket/p", &o), ERR_DENIED);
	assert_non_null(strstr(e.text, "AWS_SECRET_ACCESS_KEY is set, AWS_ACCESS_KEY_ID is not"));
	struct store *s;
	setenv("LITESTREAM_SECRET_ACCESS_KEY", "thewholesecret", 1);
	assert_int_equal(store_open(&s, "s3://bucket.h.example:9000/p?sseKmsKeyId=k", &o, &e), ERR_OK);
	assert_string_equal(store_url(s), "s3://bucket.h.example:9000/p");
	store_close(s);
}

int main(void)
{
#define TEST(function) \
	cmocka_unit_test_setup_teardown(function, clear_environment, clear_environment)
	const struct CMUnitTest tests[] = {
		TEST(each_form_means_what_it_should),
		TEST(each_mistake_is_named),
		TEST(secrets_in_a_url_are_not_repeated),
		TEST(rules_of_providers),
		TEST(encryption_by_the_store),
		TEST(key_of_the_customer),
		TEST(options_and_environment_fill_in),
		TEST(stores_are_found_by_scheme),
		TEST(credentials_come_in_pairs),
	};
	return cmocka_run_group_tests_name("url", tests, NULL, NULL);
}
