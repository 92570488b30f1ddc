/* Whatever lies in a bucket as litestream.json: what is believed of it can be used as it is. */
#include "conf/manifest.h"
#include "conf/names.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void need(bool ok)
{
	if (!ok)
		abort();
}

static void check_facts(const struct manifest_facts *f)
{
	need(!*f->app || name_is_app(f->app));
	need(!*f->database || name_is_file(f->database));
	need(!*f->storage || name_is_storage(f->storage));
	need(!*f->container_path || name_is_folder(f->container_path));
	need(!strpbrk(f->container_path, ": \t\n,;$`'\"\\*?"));
	need(f->owner <= 65535);
	need((f->mode & ~0666u) == 0);
	for (const char *p = f->host; *p; p++)
		need((unsigned char)*p > 0x20 && (unsigned char)*p < 0x7f);
	need(strlen(f->doubted) < sizeof(f->doubted) - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct manifest_facts facts;
	struct err e = ERR_INIT;
	int rc = manifest_read(data, size, &facts, &e);
	need(rc == ERR_OK || rc == ERR_USAGE || rc == ERR_NOMEM);
	need(rc == ERR_OK || e.text[0]);
	check_facts(&facts);
	return 0;
}
