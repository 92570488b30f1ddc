#include "restore/discover.h"

#include "base/clock.h"
#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>

static void put_name(json_t *o, const char *key, const char *name, int *rc)
{
	json_put_text(o, key, *name ? name : NULL, rc);
}

static void put_manifest(json_t *o, const struct discovered *d, int *rc)
{
	const struct manifest_facts *m = &d->manifest;
	char mode[16] = "";
	if (m->mode)
		snprintf(mode, sizeof(mode), "%04o", (unsigned)m->mode);
	json_put_flag(o, "manifest", d->has_manifest, rc);
	put_name(o, "manifest_error", d->manifest_error, rc);
	put_name(o, "doubted", m->doubted, rc);
	put_name(o, "app", m->app, rc);
	put_name(o, "database", m->database, rc);
	put_name(o, "storage", m->storage, rc);
	put_name(o, "container_path", m->container_path, rc);
	put_name(o, "host", m->host, rc);
	json_put(o, "owner", m->owner ? json_integer(m->owner) : json_null(), rc);
	put_name(o, "mode", mode, rc);
}

static void put_state(json_t *o, const struct discovered *d, int *rc)
{
	char txid[17] = "", timestamp[32] = "";
	if (d->txid) {
		snprintf(txid, sizeof(txid), "%016" PRIx64, d->txid);
		clock_format_rfc3339(d->timestamp_ms, timestamp);
	}
	put_name(o, "txid", txid, rc);
	put_name(o, "timestamp", timestamp, rc);
	json_put_int(o, "bytes", (int64_t)d->bytes, rc);
	json_put_int(o, "code", err_exit_code(d->err.code), rc);
	put_name(o, "error", d->err.code ? d->err.text : "", rc);
}

static json_t *replica_json(const struct discovered *d)
{
	json_t *o = json_object();
	int rc = o ? ERR_OK : ERR_NOMEM;
	if (rc)
		return NULL;
	json_put_text(o, "path", d->path, &rc);
	put_manifest(o, d, &rc);
	put_state(o, d, &rc);
	if (!rc)
		return o;
	json_decref(o);
	return NULL;
}

json_t *discovery_json(const struct discovery *d)
{
	json_t *root = json_object(), *list = json_array();
	int rc = root && list ? ERR_OK : ERR_NOMEM;
	for (size_t i = 0; !rc && i < d->count; i++)
		rc = json_array_append_new(list, replica_json(&d->list[i])) ? ERR_NOMEM : ERR_OK;
	if (!rc) {
		json_put(root, "replicas", list, &rc);
		json_put_flag(root, "cut", d->cut, &rc);
		list = NULL;
	}
	json_decref(list);
	if (!rc)
		return root;
	json_decref(root);
	return NULL;
}
