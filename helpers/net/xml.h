/*
 * Small XML documents from servers, parsed by expat within bounds: at most XML_MAX_DEPTH levels,
 * XML_MAX_TEXT bytes of text in an element, XML_MAX_MEMORY bytes of parser memory. A document type
 * declaration is refused, and with it every entity that isn't one of XML's own five.
 */
#ifndef NET_XML_H
#define NET_XML_H

#include "base/err.h"

#include <stddef.h>

#define XML_MAX_DEPTH 12
#define XML_MAX_TEXT 8192
#define XML_MAX_MEMORY ((size_t)512 * 1024)

struct xml_handler {
	/*
	 * An element begins or ends. `path` is the names from the root joined by '/', namespaces left
	 * out
	 * ("ListBucketResult/Contents/Key"). `text` is the element's own text without surrounding white
	 * space, "" if it has none; both are borrowed for the call. Not ERR_OK ends the parsing with
	 * that code. Either may be NULL.
	 */
	int (*begin)(void *ctx, const char *path, struct err *e);
	int (*end)(void *ctx, const char *path, const char *text, struct err *e);
	void *ctx;
};

/*
 * Parses a whole document. ERR_DAMAGED says why it is none that we accept; ERR_NOMEM; or the code
 * of a handler. Handlers may have been called for what came before the fault.
 */
int xml_parse(const void *data, size_t n, const struct xml_handler *h, struct err *e);

/* Copies text from a server for a message: one printable line, cut to size. */
void xml_copy_line(char *out, size_t size, const char *text);

#endif
