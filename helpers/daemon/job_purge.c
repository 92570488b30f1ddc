/* Deletes a replica that is ours, while its worker doesn't run. */
#include "base/json.h"
#include "daemon/jobrun_internal.h"
#include "replicate/purge.h"

int jobrun_purge(struct jobrun *r, json_t **out, struct err *e)
{
	struct purge_result result;
	int put = ERR_OK;
	if (!r->job.state_dir)
		return err_set(e, ERR_USAGE, "only the replica of a registered database can be deleted");
	int rc = purge_replica(r->store, r->job.state_dir, jobrun_on_progress, r, &result, e);
	if (rc != ERR_OK)
		return rc;
	if (!(*out = json_object()))
		return err_nomem(e, "telling a result");
	json_put_int(*out, "files", (int64_t)result.files, &put);
	json_put_int(*out, "bytes", (int64_t)result.bytes, &put);
	json_put_flag(*out, "manifest", result.manifest, &put);
	json_put_flag(*out, "versioned", result.versioned, &put);
	return put == ERR_OK ? ERR_OK : err_nomem(e, "telling a result");
}
