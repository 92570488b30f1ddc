/*
 * Whatever answers where a machine's or container's credentials are asked for: a set that can be
 * put into headers, or an error whose sentence has nothing of them.
 *
 *   byte 0   bit 0: a container's address, else EC2's; then answers (answers.h)
 */
#include "answers.h"

#include "base/log.h"
#include "net/iam.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_header(const char *text)
{
	must(text && *text && strlen(text) <= 4096);
	for (const char *p = text; *p; p++)
		must((unsigned char)*p > 0x20 && (unsigned char)*p < 0x7f);
}

static void check_keys(const struct iam_keys *k)
{
	check_header(k->access_key_id);
	check_header(k->secret_access_key);
	if (k->session_token)
		check_header(k->session_token);
}

static void ask(struct http_pool *pool)
{
	struct iam_keys keys = {0};
	struct err e = ERR_INIT;
	int rc = iam_get(pool, &keys, &e);
	if (rc == ERR_OK) {
		check_keys(&keys);
		iam_expired(keys.access_key_id);
	} else {
		must(rc == ERR_UNREACHABLE || rc == ERR_DENIED || rc == ERR_DAMAGED || rc == ERR_USAGE);
		must(e.code == (unsigned)rc && *e.text && !keys.secret_access_key);
	}
	iam_keys_free(&keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct http_config config = {.user_agent = "fuzz"};
	struct http_pool *pool;
	struct err e = ERR_INIT;
	if (size == 0)
		return 0;
	log_set_level(LOG_ERROR);
	if (data[0] & 1)
		setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x", 1);
	else
		unsetenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	server_begin(data + 1, size - 1);
	iam_reset();
	must(http_pool_new(&pool, &config, &e) == ERR_OK);
	/* The second time it may have expired. */
	ask(pool);
	server.now_us += INT64_C(3600) * 1000000;
	ask(pool);
	http_pool_free(pool);
	iam_reset();
	return 0;
}
