/*
 * The files of profiles: any bytes are refused, or give a profile whose words are one line each,
 * and no message has more of them than a line's number.
 *
 *   byte 0    bit 0: the file of credentials, else that of the configuration; then the text
 */
#include "scratch.h"

#include "base/log.h"
#include "net/ini.h"
#include "net/profile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *word)
{
	must(!word || (*word && strlen(word) <= INI_LINE_MAX && !strpbrk(word, "\n")));
}

static void check_profile(const struct profile *p)
{
	must(!p->access_key_id == !p->secret_access_key);
	must(p->there || (!p->access_key_id && !p->role_arn && !p->region && !p->services));
	check(p->access_key_id);
	check(p->secret_access_key);
	check(p->role_arn);
	check(p->source_profile);
	check(p->credential_process);
	check(p->region);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {"default", "x"};
	if (size == 0)
		return 0;
	scratch_make();
	log_set_level(LOG_ERROR);
	setenv("AWS_CONFIG_FILE", scratch_path("config"), 1);
	setenv("AWS_SHARED_CREDENTIALS_FILE", scratch_path("credentials"), 1);
	unlink(scratch_path("config"));
	unlink(scratch_path("credentials"));
	scratch_put(data[0] & 1 ? "credentials" : "config", data + 1, size - 1);
	for (size_t i = 0; i < 2; i++) {
		struct profile p;
		struct err e = ERR_INIT;
		char *endpoint = NULL;
		int rc = profile_load(names[i], &p, &e);
		if (rc == ERR_OK) {
			check_profile(&p);
			rc = profile_endpoint(&p, "s3", &endpoint, &e);
			check(endpoint && *endpoint ? endpoint : NULL);
		}
		must(rc == ERR_OK || (rc == ERR_DENIED && e.code == ERR_DENIED));
		must(rc == ERR_OK || strncmp(e.text, scratch, strlen(scratch)) == 0);
		free(endpoint);
		profile_free(&p);
	}
	return 0;
}
