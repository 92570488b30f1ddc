/* Whatever comes over a channel or the control socket: every decoder is tried on every input. */
#include "conf/desired.h"
#include "proto/line.h"
#include "proto/message.h"
#include "proto/request.h"

#include "base/json.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void try_messages(const json_t *m)
{
	struct err e = ERR_INIT;
	enum message_type type;
	struct message_hello hello;
	struct message_config config;
	struct message_sync sync;
	struct message_answer synced;
	struct message_decide decide;
	struct message_status status;
	struct message_bye bye;
	struct message_job job;
	struct message_progress progress;
	struct message_alive alive;
	struct message_result result;
	message_type(m, &type, &e);
	message_hello_decode(&hello, m, &e);
	message_hello_free(&hello);
	/* What was understood can be said again. */
	if (message_config_decode(&config, m, &e) == ERR_OK)
		json_decref(message_config_encode(&config));
	message_config_free(&config);
	message_sync_decode(&sync, m, &e);
	message_sync_free(&sync);
	message_decide_decode(&decide, m, &e);
	message_decide_free(&decide);
	message_answer_decode(MESSAGE_SYNCED, &synced, m, &e);
	message_answer_free(&synced);
	if (message_status_decode(&status, m, &e) == ERR_OK)
		json_decref(message_status_encode(&status));
	message_status_free(&status);
	message_bye_decode(&bye, m, &e);
	message_bye_free(&bye);
	message_job_decode(&job, m, &e);
	message_job_free(&job);
	message_progress_decode(&progress, m, &e);
	message_alive_decode(&alive, m, &e);
	message_result_decode(&result, m, &e);
	message_result_free(&result);
}

static void try_requests(const json_t *m)
{
	struct err e = ERR_INIT;
	struct request_reload reload;
	struct request_sync sync;
	struct request_decide decide;
	struct request_target target;
	struct request_discover discover;
	struct request_forget forget;
	struct request_database database;
	static const enum request_verb verbs[] = {REQUEST_START_STOP, REQUEST_SYNC, REQUEST_REGISTER};
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		/* What was taken is about a database, and ends. */
		if (request_database_decode(&database, verbs[i], m, &e) == ERR_OK &&
			(!database.path[0] || database.timeout == 0 ||
				database.timeout > REQUEST_DATABASE_TIMEOUT_MAX ||
				(verbs[i] == REQUEST_REGISTER && !database.replica_url[0])))
			abort();
		request_database_free(&database);
	}
	request_forget_decode(&forget, m, &e);
	request_forget_free(&forget);
	request_discover_decode(&discover, m, &e);
	request_discover_free(&discover);
	request_reload_decode(&reload, m, &e);
	request_reload_free(&reload);
	request_decide_decode(&decide, m, &e);
	request_decide_free(&decide);
	request_sync_decode(&sync, m, &e);
	request_sync_free(&sync);
	request_check_decode(&target, m, &e);
	request_target_free(&target);
	request_restore_decode(&target, m, &e);
	request_target_free(&target);
}

static void try_files(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct desired desired;
	struct secrets secrets;
	struct options options;
	desired_parse_global(&options, data, size, "fuzz", &e);
	desired_parse(&desired, data, size, "my-app", &options, "fuzz", &e);
	desired_free(&desired);
	secrets_parse(&secrets, data, size, "fuzz", &e);
	secrets_free(&secrets);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	json_t *m;
	int pair[2];
	try_files(data, size);
	if (size > 60000 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
		return 0;
	struct channel c;
	channel_init(&c, pair[0]);
	ssize_t sent = write(pair[1], data, size);
	close(pair[1]);
	int rc = sent < 0 ? ERR_IO : channel_read(&c, &e);
	while (rc == ERR_OK || rc == ERR_USAGE) {
		rc = channel_next(&c, &m, &e);
		if (rc != ERR_OK)
			continue;
		try_messages(m);
		try_requests(m);
		json_decref(m);
	}
	channel_close(&c);
	return 0;
}
