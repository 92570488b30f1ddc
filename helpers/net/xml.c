#include "net/xml.h"

#include <ctype.h>
#include <expat.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NAME 64
#define NAMESPACE_SEPARATOR '\x01'

/*
 * expat's memory functions know no context, so what a parse uses is counted for its thread: a
 * parser lives and dies within one call of xml_parse. Each block has its size before it.
 */
static _Thread_local size_t memory_used;
static _Thread_local bool limit_reached;

union block {
	size_t size;
	max_align_t align;
};

static void *bounded_realloc(void *p, size_t n)
{
	union block *old = p ? (union block *)p - 1 : NULL;
	size_t before = old ? old->size : 0;
	if (n > XML_MAX_MEMORY || memory_used - before + n > XML_MAX_MEMORY) {
		limit_reached = true;
		return NULL;
	}
	union block *b = realloc(old, sizeof(*b) + n);
	if (!b)
		return NULL;
	b->size = n;
	memory_used += n - before;
	return b + 1;
}

static void *bounded_malloc(size_t n)
{
	return bounded_realloc(NULL, n);
}

static void bounded_free(void *p)
{
	if (!p)
		return;
	union block *b = (union block *)p - 1;
	memory_used -= b->size;
	free(b);
}

struct parse {
	XML_Parser parser;
	const struct xml_handler *h;
	struct err *e;
	int rc; /* what ended it early */
	int depth;
	char path[XML_MAX_DEPTH * (MAX_NAME + 1)];
	size_t text_len;
	char text[XML_MAX_TEXT + 1];
};

static void stop(struct parse *p, int rc)
{
	p->rc = rc;
	XML_StopParser(p->parser, XML_FALSE);
}

static const char *local_name(const char *name)
{
	const char *separator = strrchr(name, NAMESPACE_SEPARATOR);
	return separator ? separator + 1 : name;
}

static void XMLCALL on_begin(void *ctx, const XML_Char *name, const XML_Char **attributes)
{
	struct parse *p = ctx;
	(void)attributes;
	name = local_name(name);
	if (p->rc)
		return;
	if (p->depth == XML_MAX_DEPTH || strlen(name) > MAX_NAME) {
		stop(p,
			err_set(p->e, ERR_DAMAGED, "the XML is nested deeper or has longer names than S3's"));
		return;
	}
	size_t n = strlen(p->path);
	snprintf(p->path + n, sizeof(p->path) - n, "%s%s", p->depth ? "/" : "", name);
	p->depth++;
	p->text_len = 0;
	int rc = p->h->begin ? p->h->begin(p->h->ctx, p->path, p->e) : ERR_OK;
	if (rc)
		stop(p, rc);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *trimmed(struct parse *p)
{
	size_t n = p->text_len, from = 0;
	while (n > 0 && is_space(p->text[n - 1]))
		n--;
	while (from < n && is_space(p->text[from]))
		from++;
	p->text[n] = '\0';
	return p->text + from;
}

static void XMLCALL on_end(void *ctx, const XML_Char *name)
{
	struct parse *p = ctx;
	(void)name;
	if (p->rc)
		return;
	int rc = p->h->end ? p->h->end(p->h->ctx, p->path, trimmed(p), p->e) : ERR_OK;
	char *slash = strrchr(p->path, '/');
	*(slash ? slash : p->path) = '\0';
	p->depth--;
	p->text_len = 0;
	if (rc)
		stop(p, rc);
}

static void XMLCALL on_text(void *ctx, const XML_Char *text, int n)
{
	struct parse *p = ctx;
	if (p->rc)
		return;
	if (p->text_len + (size_t)n > XML_MAX_TEXT) {
		stop(p, err_set(p->e, ERR_DAMAGED, "the XML has an element with more than %d bytes of text",
					XML_MAX_TEXT));
		return;
	}
	memcpy(p->text + p->text_len, text, (size_t)n);
	p->text_len += (size_t)n;
}

static void XMLCALL on_doctype(
	void *ctx, const XML_Char *name, const XML_Char *sysid, const XML_Char *pubid, int internal)
{
	struct parse *p = ctx;
	(void)name, (void)sysid, (void)pubid, (void)internal;
	if (!p->rc)
		stop(p, err_set(p->e, ERR_DAMAGED,
					"the answer has a document type declaration: it is HTML or an attack, not S3's "
					"XML"));
}

/* Expat 2.9 has a wider one, and calls the other one deprecated. */
static unsigned long line_number(XML_Parser parser)
{
#if XML_MAJOR_VERSION > 2 || XML_MINOR_VERSION >= 9
	return (unsigned long)XML_GetCurrentLineNumber64(parser);
#else
	return (unsigned long)XML_GetCurrentLineNumber(parser);
#endif
}

static int run(struct parse *p, const char *data, size_t n)
{
	/* In pieces, because XML_Parse takes an int and copies what a token left over. */
	for (size_t done = 0;;) {
		size_t part = n - done < 65536 ? n - done : 65536;
		int last = done + part == n;
		enum XML_Status status = XML_Parse(p->parser, data + done, (int)part, last);
		if (p->rc)
			return p->rc;
		if (status != XML_STATUS_OK) {
			enum XML_Error why = XML_GetErrorCode(p->parser);
			if (why == XML_ERROR_NO_MEMORY && !limit_reached)
				return err_nomem(p->e, "parsing XML");
			if (why == XML_ERROR_NO_MEMORY)
				return err_set(p->e, ERR_DAMAGED,
					"the XML needs more than %zu bytes of memory to be parsed", XML_MAX_MEMORY);
			return err_set(p->e, ERR_DAMAGED, "broken XML in line %lu: %s", line_number(p->parser),
				XML_ErrorString(why));
		}
		done += part;
		if (last)
			return ERR_OK;
	}
}

int xml_parse(const void *data, size_t n, const struct xml_handler *h, struct err *e)
{
	static const XML_Memory_Handling_Suite memory = {bounded_malloc, bounded_realloc, bounded_free};
	static const char separator[] = {NAMESPACE_SEPARATOR, 0};
	struct parse *p = calloc(1, sizeof(*p));
	if (!p)
		return err_nomem(e, "parsing XML");
	p->h = h;
	p->e = e;
	limit_reached = false;
	p->parser = XML_ParserCreate_MM(NULL, &memory, separator);
	if (!p->parser) {
		free(p);
		return err_nomem(e, "parsing XML");
	}
	XML_SetUserData(p->parser, p);
	XML_SetElementHandler(p->parser, on_begin, on_end);
	XML_SetCharacterDataHandler(p->parser, on_text);
	XML_SetStartDoctypeDeclHandler(p->parser, on_doctype);
	int rc = run(p, data, n);
	XML_ParserFree(p->parser);
	free(p);
	return rc;
}

void xml_copy_line(char *out, size_t size, const char *text)
{
	size_t n = 0;
	for (; *text && n + 1 < size; text++)
		out[n++] = (char)(iscntrl((unsigned char)*text) ? ' ' : *text);
	out[n] = '\0';
}
