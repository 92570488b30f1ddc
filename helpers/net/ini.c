#include "net/ini.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define NAME_MAX_LEN 256 /* of a section or a key */

struct parse {
	const char *name;
	unsigned line;
	ini_fn fn;
	void *ctx;
	struct err *e;
	char section[NAME_MAX_LEN]; /* "" = none yet */
	char block[NAME_MAX_LEN];   /* the key without a value that is being filled; "" = none */
	char text[INI_LINE_MAX + 1];
};

static int wrong(const struct parse *p, const char *what)
{
	return err_set(p->e, ERR_DENIED, "%s:%u: %s", p->name, p->line, what);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static char *trim(char *text)
{
	size_t n = strlen(text);
	while (n > 0 && is_blank(text[n - 1]))
		text[--n] = '\0';
	return text + strspn(text, " \t");
}

/* Not tolower: the locale must not change a key. */
static void lower(char *text)
{
	for (; *text; text++)
		if (*text >= 'A' && *text <= 'Z')
			*text = (char)(*text + ('a' - 'A'));
}

/* A comment behind white space. */
static void cut_comment(char *text)
{
	for (char *p = text; *p; p++) {
		if ((*p == '#' || *p == ';') && (p == text || is_blank(p[-1]))) {
			*p = '\0';
			return;
		}
	}
}

static char *unquote(char *text)
{
	size_t n = strlen(text);
	if (n < 2 || (text[0] != '"' && text[0] != '\'') || text[n - 1] != text[0])
		return text;
	text[n - 1] = '\0';
	return text + 1;
}

static int take_section(struct parse *p, char *text)
{
	char *end = strchr(text, ']');
	if (!end)
		return wrong(p, "a section has no ']'");
	*end = '\0';
	size_t n = 0;
	for (char *word = strtok_r(text + 1, " \t", &end); word; word = strtok_r(NULL, " \t", &end)) {
		size_t more = strlen(word) + (n > 0);
		if (n + more >= sizeof(p->section))
			return wrong(p, "the section's name is too long");
		if (n > 0)
			p->section[n] = ' ';
		memcpy(p->section + n + (n > 0), word, strlen(word) + 1);
		n += more;
	}
	p->block[0] = '\0';
	if (n == 0)
		return wrong(p, "the section has no name");
	return p->fn(p->ctx, p->section, NULL, "", "", p->e);
}

static int take_value(struct parse *p, char *text, bool indented)
{
	char *is = strchr(text, '=');
	if (!is)
		return indented ? ERR_OK : wrong(p, "neither a section nor \"key = value\"");
	*is = '\0';
	char *key = trim(text), *value = is + 1;
	cut_comment(value);
	value = unquote(trim(value));
	lower(key);
	if (!*key || strlen(key) >= sizeof(p->block))
		return wrong(p, "there is no key before the '='");
	if (!indented)
		p->block[0] = '\0';
	if (!*p->section)
		return ERR_OK;
	if (*p->block)
		return p->fn(p->ctx, p->section, p->block, key, value, p->e);
	if (!*value && !indented)
		strcpy(p->block, key);
	return p->fn(p->ctx, p->section, key, "", value, p->e);
}

static int take_line(struct parse *p, const char *line, size_t n)
{
	if (n > 0 && line[n - 1] == '\r')
		n--;
	if (n > INI_LINE_MAX)
		return wrong(p, "the line is too long");
	if (memchr(line, '\0', n))
		return wrong(p, "a NUL byte: this is no text");
	memcpy(p->text, line, n);
	p->text[n] = '\0';
	char *text = trim(p->text);
	if (!*text || *text == '#' || *text == ';')
		return ERR_OK;
	if (*text == '[')
		return take_section(p, text);
	return take_value(p, text, text != p->text);
}

int ini_parse(const char *name, const void *data, size_t n, ini_fn fn, void *ctx, struct err *e)
{
	struct parse p = {.name = name, .fn = fn, .ctx = ctx, .e = e};
	const char *at = data, *end = at ? at + n : at;
	int rc = ERR_OK;
	if (n > INI_TEXT_MAX)
		return err_set(e, ERR_DENIED, "%s is larger than %zu bytes", name, INI_TEXT_MAX);
	if (n >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0)
		at += 3;
	while (rc == ERR_OK && at < end) {
		const char *eol = memchr(at, '\n', (size_t)(end - at));
		size_t len = (size_t)((eol ? eol : end) - at);
		p.line++;
		rc = take_line(&p, at, len);
		at += len + (eol != NULL);
	}
	explicit_bzero(p.text, sizeof(p.text));
	return rc;
}
