/* litestream version */
#include "cli/args.h"
#include "cli/command.h"

#include <curl/curl.h>
#include <openssl/crypto.h>
#include <sqlite3.h>
#include <stdio.h>

static int run(struct args *a, struct err *e)
{
	(void)e;
	printf("%s\n", LITESTREAM_VERSION);
	if (args_bool(a, "verbose")) {
		printf("SQLite %s\n", sqlite3_libversion());
		printf("%s\n", curl_version());
		printf("%s\n", OpenSSL_version(OPENSSL_VERSION));
	}
	return ERR_OK;
}

static const struct flag flags[] = {
	{"verbose", FLAG_BOOL, NULL, "also the versions of the libraries in use"},
	{0},
};

const struct command command_version = {
	.name = "version",
	.arguments = "[-verbose]",
	.summary = "Prints the version",
	.flags = flags,
	.run = run,
};
