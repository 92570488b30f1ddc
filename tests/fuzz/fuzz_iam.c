/*
 * Whatever answers where a machine's or container's credentials are asked for: a set that can be
 * put into headers, or an error whose sentence has nothing of them.
 *
 *   byte 0   bit 0: a container's address, else EC2's; bit 1: STS instead, asked in the name of a
 *            pair of keys; bit 2 with that: no keys, so that EC2 is asked as the last place; then
 *            answers (answers.h)
 */
#include "answers.h"

#include "base/log.h"
#include "net/iam.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

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

static void ask(struct http_pool *pool, enum iam_source source)
{
	struct iam_keys keys = {0};
	struct err e = ERR_INIT;
	int rc = iam_get(pool, source, &keys, &e);
	if (rc == ERR_OK) {
		check_keys(&keys);
		iam_expired(source, keys.access_key_id);
	} else {
		must(rc == ERR_UNREACHABLE || rc == ERR_DENIED || rc == ERR_DAMAGED || rc == ERR_USAGE);
		must(e.code == (unsigned)rc && *e.text && !keys.secret_access_key);
	}
	iam_keys_free(&keys);
}

/* A role that is assumed with keys. */
static void use_profile(bool use)
{
	static const char text[] = "[default]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = b\n"
							   "[profile b]\naws_access_key_id = A\naws_secret_access_key = S\n";
	static char name[40];
	if (!*name) {
		int fd = memfd_create("config", 0);
		must(fd >= 0 && write(fd, text, sizeof(text) - 1) == (ssize_t)sizeof(text) - 1);
		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	}
	setenv("AWS_CONFIG_FILE", use ? name : "/dev/null", 1);
	setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null", 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct http_config config = {.user_agent = "fuzz"};
	struct http_pool *pool;
	struct err e = ERR_INIT;
	if (size == 0)
		return 0;
	log_set_level(LOG_ERROR);
	enum iam_source source = data[0] & 2 ? IAM_CHAIN : IAM_ROLE;
	use_profile(!(data[0] & 4));
	if (data[0] & 1)
		setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x", 1);
	else
		unsetenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	server_begin(data + 1, size - 1);
	iam_reset();
	must(http_pool_new(&pool, &config, &e) == ERR_OK);
	/* The second time it may have expired. */
	ask(pool, source);
	server.now_us += INT64_C(3600) * 1000000;
	ask(pool, source);
	http_pool_free(pool);
	iam_reset();
	return 0;
}
