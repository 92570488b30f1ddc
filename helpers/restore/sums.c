#include "restore/sums.h"

#include "base/fs.h"
#include "format/ltx.h"
#include "restore/restore.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES (UINT32_C(1) << 20)
#define AT_ONCE 8 /* requests: nobody waits for this as for a restore */

int sums_read(struct pagesums *sums, int fd, uint32_t n_page, struct err *e)
{
	uint32_t size = sums->page_size, most = CHUNK_BYTES / size;
	uint8_t *chunk = malloc((size_t)most * size);
	int rc = chunk && !pagesums_resize(sums, n_page) ? ERR_OK : err_nomem(e, "comparing");
	for (uint32_t done = 0; !rc && done < n_page;) {
		uint32_t n = n_page - done < most ? n_page - done : most;
		if (fs_pread_full(fd, chunk, (size_t)n * size, (off_t)done * size))
			rc = err_errno(e, ERR_IO, errno, "cannot read back what was restored");
		for (uint32_t i = 0; !rc && i < n; i++, done++) {
			uint32_t pgno = done + 1;
			if (pgno != ltx_lock_page(size))
				pagesums_set(sums, pgno, ltx_page_checksum(pgno, chunk + (size_t)i * size, size));
		}
	}
	free(chunk);
	return rc;
}

/* A copy: the restore's own are gone with it. */
static int take(void *ctx, const struct pagesums *sums, struct err *e)
{
	struct pagesums *out = ctx;
	pagesums_init(out, sums->page_size);
	if (pagesums_resize(out, sums->n_page))
		return err_nomem(e, "comparing");
	memcpy(out->sums, sums->sums, (size_t)sums->n_page * sizeof(*sums->sums));
	out->txid = sums->txid;
	out->checksum = sums->checksum;
	return ERR_OK;
}

int restore_sums(struct store *s, const char *scratch, struct pagesums *sums,
	struct restore_result *result, struct err *e)
{
	char *path = fs_join(scratch, "latest");
	const struct restore_options what = {
		.output = path,
		.state_dir = "",
		.parallelism = AT_ONCE,
		.sums = take,
		.sums_ctx = sums,
	};
	memset(result, 0, sizeof(*result));
	pagesums_init(sums, 0);
	int rc = path ? restore_run(s, &what, result, e) : err_nomem(e, "comparing");
	if (rc)
		pagesums_free(sums);
	restore_plan_free(&result->plan);
	free(path);
	return rc;
}
