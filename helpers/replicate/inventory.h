/*
 * The files of a replica, as its replicator knows them: from one listing at the start, and what it
 * uploaded and deleted since.
 */
#ifndef REPLICATE_INVENTORY_H
#define REPLICATE_INVENTORY_H

#include <stdint.h>

/* One LTX file in the replica. TXID order is time order: of two files of one level the one with the
 * higher max_txid never has the lower timestamp (each upload is at least 1 ms after the one
 * before). */
struct replica_file {
	int level;                   /* 0 to 9; 9 = snapshot */
	uint64_t min_txid, max_txid; /* a file with min_txid 1 holds every page */
	uint64_t size;               /* bytes */
	int64_t timestamp_ms;        /* wall time of the last upload in it: its LTX header's timestamp */
	int64_t uploaded_ms;         /* wall time at which it came into the replica */
};

#endif
