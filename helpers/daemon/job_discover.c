/* A job that looks which replicas are below a URL. */
#include "daemon/jobrun_internal.h"

#include "daemon/credentials.h"
#include "restore/discover.h"

int jobrun_discover(struct jobrun *r, json_t **out, struct err *e)
{
	struct store_options options;
	struct discovery found = {0};
	struct store *replicas;
	credentials_to_store(&r->job.credentials, &options);
	options.of_replicas = true;
	int rc = store_open(&replicas, r->job.replica, &options, e);
	if (rc != ERR_OK)
		return rc;
	atomic_store(&r->second, replicas);
	rc = discover(replicas, r->store, &found, e);
	if (rc == ERR_OK && !(*out = discovery_json(&found)))
		rc = err_nomem(e, "telling a result");
	discovery_free(&found);
	return rc;
}
