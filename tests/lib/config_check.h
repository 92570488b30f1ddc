/* What holds of litestream.yml whatever is in it. */
#ifndef TESTS_LIB_CONFIG_CHECK_H
#define TESTS_LIB_CONFIG_CHECK_H

#include <stddef.h>

/*
 * Reads the text as a configuration, and aborts, having said why, unless
 * - it is refused with a sentence that names the file, or out of memory; or
 * - every key that is in it, at its level, is known and not one of the refused, and each of those
 *   without effect that isn't null is told in a note; and every database has a path or a folder,
 * and replicas with target, type and a name of their own. Returns the code.
 */
int config_check(const char *text, size_t n);

#endif
