/* XML from a server: as an error document and as any document. */
#include "store/s3.h"

#include "net/xml.h"

#include <stdlib.h>
#include <string.h>

static int on_element(void *ctx, const char *path, const char *text, struct err *e)
{
	(void)e;
	*(size_t *)ctx += strlen(path) + strlen(text);
	if (strlen(text) > XML_MAX_TEXT)
		abort();
	return ERR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct s3_refusal refusal;
	size_t total = 0;
	struct xml_handler h = {.end = on_element, .ctx = &total};
	int rc = xml_parse(data, size, &h, &e);
	if (rc != ERR_OK && rc != ERR_DAMAGED && rc != ERR_NOMEM)
		abort();
	if (rc != ERR_OK && !e.text[0])
		abort();
	s3_parse_refusal(data, size, &refusal);
	if (rc != ERR_OK && refusal.is_document)
		abort();
	return 0;
}
