/*
 * mkreplica URL N            makes a replica of N transactions, each an L0, the same in every run
 * mkreplica -check TXID DB   is DB what that replica holds at TXID? Exit 0 or 1.
 *
 * For tests of restore that need no replicator.
 */
#include "lib/replica.h"

#include "store/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void make(struct replica *r, uint64_t n, bool put)
{
	for (uint64_t t = 1; t <= n; t++) {
		replica_commit(r, 20 + (uint32_t)(t * 7 % 30), 3);
		if (put)
			replica_put(r, 0, t, t);
	}
}

int main(int argc, char **argv)
{
	bool check = argc == 4 && strcmp(argv[1], "-check") == 0;
	if (!check && argc != 3) {
		fprintf(stderr, "usage: mkreplica URL N | mkreplica -check TXID DB\n");
		return 2;
	}
	struct store *s;
	struct err e = ERR_INIT;
	if (store_open(&s, check ? "mem://mkreplica" : argv[1], NULL, &e)) {
		fprintf(stderr, "mkreplica: %s\n", e.text);
		return 1;
	}
	static struct replica r;
	uint64_t n = strtoull(argv[2], NULL, 10);
	replica_init(&r, s, 4096, true);
	make(&r, n, !check);
	int rc = check && !replica_is_state(&r, n, argv[3]);
	replica_free(&r);
	store_close(s);
	store_mem_forget(NULL);
	return rc;
}
