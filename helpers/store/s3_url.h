/*
 * Where an S3 replica is: bucket, key prefix, server, region, and the rules of the provider.
 *
 * Three sources, the more specific one first: the URL's query, the URL's host
 * ("bucket.s3.eu-west-1.amazonaws.com"), options, environment. docs/URLS.md has all forms and the
 * providers' rules.
 */
#ifndef STORE_S3_URL_H
#define STORE_S3_URL_H

#include "store/store.h"
#include "store/url.h"

enum s3_provider {
	S3_AWS,
	S3_TIGRIS,
	S3_DIGITALOCEAN,
	S3_BACKBLAZE,
	S3_FILEBASE,
	S3_SCALEWAY,
	S3_HETZNER,
	S3_R2,
	S3_SUPABASE,
	S3_GOOGLE,
	S3_LINODE,
	S3_OTHER, /* any other endpoint: MinIO, Ceph, … */
};

#define S3_PART_SIZE_MIN ((uint64_t)5 * 1024 * 1024) /* S3's own bounds */
#define S3_PART_SIZE_MAX ((uint64_t)5 * 1024 * 1024 * 1024)

struct s3_target {
	enum s3_provider provider;
	char bucket[256];
	char prefix[1100]; /* of keys, without slashes around it; "" = keys begin with '/' … */
	bool root;         /* … or, where this is set, with the name */
	char host[400];    /* the server, without the bucket and the port */
	int port;          /* 0 = the scheme's */
	bool https;
	char base_path[128]; /* of the endpoint ("/storage/v1/s3"), no slash at the end */
	char region[64];
	bool region_fixed; /* somebody said it: don't follow the server's hint */
	bool path_style;
	bool bucket_in_host; /* host names the bucket itself (access points): put it nowhere else */
	bool sign_payload, content_md5, tigris_consistent, skip_verify;
	uint64_t part_size;
	unsigned concurrency; /* parts sent at a time */
	char storage_class[40];
	char encryption[8], kms_key_id[300];                  /* by the store: "AES256" or "aws:kms" */
	char sse_algorithm[20], sse_key[64], sse_key_md5[32]; /* SSE-C: base64 */
};

/*
 * Fills the target from a URL of scheme "s3" and the options. Reads the environment
 * (LITESTREAM_S3_ENDPOINT, LITESTREAM_R2_ACCOUNT_ID, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL,
 * AWS_REGION, AWS_DEFAULT_REGION) where nothing else says it; the regions of the environment and of
 * a profile are only where to look first. ERR_USAGE with what is missing or
 * wrong.
 */
int s3_target_parse(struct s3_target *out, const struct store_url *url,
	const struct store_options *opts, struct err *e);

/* Changes the region, and with it AWS's host name. */
void s3_target_set_region(struct s3_target *t, const char *region);

/* What stands between prefix and name in a key: "/", or "" in the root. */
const char *s3_target_slash(const struct s3_target *t);

/* "s3://bucket/prefix" with what distinguishes it from another server's. A new string (free). */
char *s3_target_display(const struct s3_target *t);

#endif
