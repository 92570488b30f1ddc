#include "daemon/status_message.h"

#include "base/err.h"

void status_message(
	const char *id, const struct replicator_status *status, struct message_status_database *m)
{
	*m = (struct message_status_database){
		.id = (char *)id,
		.state = (char *)replicator_state_name(status->state),
		.code = (uint64_t)err_exit_code(status->code),
		.reason = status->reason[0] ? (char *)status->reason : NULL,
		.last_error = status->last_error[0] ? (char *)status->last_error : NULL,
		.txid = status->txid,
		.pending_bytes = status->pending_bytes,
		.pending_transactions = status->pending_transactions,
		.lag_since_ms = status->lag_since_ms,
		.last_upload_ms = status->last_upload_ms,
		.last_error_ms = status->last_error_ms,
		.wal_bytes = status->wal_bytes,
		.db_bytes = status->db_bytes,
		.uploads = status->uploads,
		.weak_fencing = status->weak_fencing,
		.earliest_txid = status->earliest_txid,
		.latest_txid = status->latest_txid,
		.earliest_ms = status->earliest_ms,
		.latest_ms = status->latest_ms,
		.snapshot_ms = status->snapshot_ms,
		.next_snapshot_ms = status->next_snapshot_ms,
		.replica_files = status->replica_files,
		.replica_bytes = status->replica_bytes,
		.upkeep_error = status->upkeep_error[0] ? (char *)status->upkeep_error : NULL,
		.upkeep_error_ms = status->upkeep_error_ms,
		.puts = status->requests.put,
		.gets = status->requests.get,
		.heads = status->requests.head,
		.lists = status->requests.list,
		.deletes = status->requests.del,
		.bytes_out = status->requests.bytes_out,
		.bytes_in = status->requests.bytes_in,
		.retries = status->requests.retries,
	};
}
