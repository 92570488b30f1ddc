#include "cli/exec_words.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct reading {
	const char *at;
	char *out;  /* where the next character goes */
	char quote; /* '\'', '"', or 0 */
	struct err *e;
};

static bool is_space(char c)
{
	return c && strchr(" \t\r\n", c);
}

static int bad(struct reading *r, const char *what)
{
	return err_set(r->e, ERR_USAGE, "cannot parse exec command: %s", what);
}

/* Behind a backslash. */
static int read_escaped(struct reading *r)
{
	char c = *++r->at;
	if (!c)
		return bad(r, "nothing follows the backslash at its end");
	*r->out++ = c == 't' ? '\t' : c == 'n' ? '\n' : c;
	r->at++;
	return ERR_OK;
}

static int read_one(struct reading *r)
{
	char c = *r->at;
	if (c == '\\' && r->quote != '\'')
		return read_escaped(r);
	if (r->quote ? c == r->quote : c == '\'' || c == '"')
		r->quote = r->quote ? 0 : c;
	else if (!r->quote && strchr(";&|<>()`", c))
		return bad(r, "it is not run by a shell: for ; & | < > ( ) ` write sh -c '…'");
	else
		*r->out++ = c;
	r->at++;
	return ERR_OK;
}

static int read_word(struct reading *r)
{
	int rc = ERR_OK;
	while (!rc && *r->at && (r->quote || !is_space(*r->at)))
		rc = read_one(r);
	if (!rc && r->quote)
		rc = bad(r, "a quote is not closed");
	*r->out++ = '\0';
	return rc;
}

int exec_words(const char *command, char ***out, struct err *e)
{
	size_t len = strlen(command), n = 0;
	size_t most = len / 2 + 2; /* a word and what parts it from the next, and the NULL */
	char **list = malloc(most * sizeof(*list) + len + most);
	struct reading r = {.at = command, .out = (char *)(list + most), .e = e};
	int rc = list ? ERR_OK : err_nomem(e, "reading the exec command");
	while (!rc) {
		while (is_space(*r.at))
			r.at++;
		if (!*r.at)
			break;
		list[n++] = r.out;
		rc = read_word(&r);
	}
	if (!rc && n == 0)
		rc = bad(&r, "there is no word in it");
	if (rc) {
		free(list);
		return rc;
	}
	list[n] = NULL;
	*out = list;
	return ERR_OK;
}
