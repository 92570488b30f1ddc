#include "conf/followed.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

char *followed_txid_name(const char *name)
{
	char *out;
	return asprintf(&out, "%s-txid", name) < 0 ? NULL : out;
}

char *followed_state_name(const char *name)
{
	char *out;
	return asprintf(&out, ".%s-follow", name) < 0 ? NULL : out;
}

int followed_refuse(const char *database, struct err *e)
{
	struct stat st;
	char *txid = followed_txid_name(database);
	if (!txid)
		return err_nomem(e, "looking at the database");
	bool there = lstat(txid, &st) == 0;
	free(txid);
	if (!there)
		return ERR_OK;
	return err_set(e, ERR_DATABASE,
		"%s is a copy that restore -f keeps up to date: replicate the original. To make this one "
		"the original, end restore -f and remove %s-txid",
		database, database);
}

void followed_forget(const struct folder *in, const char *name)
{
	char *names[] = {followed_txid_name(name), followed_state_name(name)};
	for (size_t i = 0; i < 2; i++) {
		if (names[i])
			folder_unlink(in, names[i]);
		free(names[i]);
	}
}
