/*
 * The command of -exec as words, by Litestream's rules (mattn/go-shellwords, without variables and
 * backquotes): no shell is asked.
 */
#ifndef CLI_EXEC_WORDS_H
#define CLI_EXEC_WORDS_H

#include "base/err.h"

/*
 * Words are parted by spaces, tabs and new lines; '…' keeps everything, "…" all but \ and ". A \
 * takes the next character as it is, \t and \n are a tab and a new line. $, * and ~ mean nothing.
 *
 * What only a shell understands (; & | < > ( ) ` outside of quotes) is an error: Litestream drops
 * it with all that follows. So is a quote that isn't closed, and a command without a word.
 *
 * *out ends with NULL, and one free() frees it with its strings. ERR_USAGE, ERR_NOMEM.
 */
int exec_words(const char *command, char ***out, struct err *e);

#endif
