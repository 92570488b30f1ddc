/* Checksums of pages, for a comparison with a database that is live. Inner part of restore. */
#ifndef RESTORE_SUMS_H
#define RESTORE_SUMS_H

#include "base/err.h"
#include "source/pagesums.h"

/* Adds those of the n_page pages of the database in `fd` to an empty table, whose page size says
 * how large they are. ERR_IO, ERR_NOMEM. */
int sums_read(struct pagesums *sums, int fd, uint32_t n_page, struct err *e);

#endif
