/*
 * mkreplica URL N [PAGES]            makes a replica of N transactions, each an L0, the same in
 * every run mkreplica -check TXID DB [PAGES]   is DB what that replica holds at TXID? Exit 0 or 1.
 *
 * The database has 20 to 49 pages of 4 KiB, or PAGES to PAGES + 29: what is above S3's least size
 * of a part then goes there in parts, as our replicator does it with much larger files only.
 *
 * For tests of restore that need no replicator.
 */
#include "lib/replica.h"

#include "store/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void make(struct replica *r, uint64_t n, uint32_t pages, bool put)
{
	for (uint64_t t = 1; t <= n; t++) {
		replica_commit(r, pages + (uint32_t)(t * 7 % 30), 3);
		if (put)
			replica_put(r, 0, t, t);
	}
}

int main(int argc, char **argv)
{
	bool check = argc > 1 && strcmp(argv[1], "-check") == 0;
	int n_args = check ? 4 : 3; /* without PAGES */
	if (argc != n_args && argc != n_args + 1) {
		fprintf(stderr, "usage: mkreplica URL N [PAGES] | mkreplica -check TXID DB [PAGES]\n");
		return 2;
	}
	uint32_t pages = argc > n_args ? (uint32_t)strtoul(argv[n_args], NULL, 10) : 20;
	struct store *s;
	struct err e = ERR_INIT;
	if (store_open(&s, check ? "mem://mkreplica" : argv[1], NULL, &e)) {
		fprintf(stderr, "mkreplica: %s\n", e.text);
		return 1;
	}
	static struct replica r;
	uint64_t n = strtoull(argv[2], NULL, 10);
	replica_init(&r, s, 4096, true);
	make(&r, n, pages, !check);
	int rc = check && !replica_is_state(&r, n, argv[3]);
	replica_free(&r);
	store_close(s);
	store_mem_forget(NULL);
	return rc;
}
