/* All that a litestream.yml says, as words. */
#ifndef TESTS_LIB_CONFIG_DUMP_H
#define TESTS_LIB_CONFIG_DUMP_H

#include "base/buf.h"
#include "conf/config.h"

/*
 * Empties `dump` and writes into it " name=value" for each member that a key of the file sets, a
 * line for each database and each replica, and "note LINE+MORE: text" or "warning …" for each note.
 * A key that has an effect changes it: a member that a new key sets belongs in here.
 */
void config_dump(const struct config *c, struct buf *dump);

#endif
