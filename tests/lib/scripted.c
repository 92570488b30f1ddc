#include "lib/scripted.h"

#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static json_t *requests; /* of the last look at the log */

static void path_in(const struct scripted *s, const char *name, char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s/%s", s->dir, name);
}

static void spawn(struct scripted *s, bool tls)
{
	char script[PATH_MAX], log[PATH_MAX], certificate[PATH_MAX], key[PATH_MAX];
	path_in(s, "script", script);
	path_in(s, "log", log);
	path_in(s, "tls/server.pem", certificate);
	path_in(s, "tls/server.key", key);
	const char *args[] = {script, log, tls ? certificate : NULL, key, NULL};
	s->pid = server_spawn("scripted.py", args, &s->port);
}

void scripted_start(struct scripted *s, bool tls)
{
	char tls_dir[PATH_MAX];
	server_temp_dir(s->dir);
	path_in(s, "tls", tls_dir);
	if (tls && server_run("certificate.sh", (const char *[]){tls_dir, NULL}) != 0)
		exit(1);
	spawn(s, tls);
}

void scripted_stop(struct scripted *s)
{
	server_stop(s->pid);
	json_decref(requests);
	requests = NULL;
}

void scripted_answers(struct scripted *s, const char *json)
{
	char path[PATH_MAX], next[PATH_MAX];
	path_in(s, "script", path);
	path_in(s, "script.next", next);
	FILE *f = fopen(next, "w");
	for (; *json; json++)
		fputc(*json == '\'' ? '"' : *json, f);
	fclose(f);
	rename(next, path);
	path_in(s, "log", path);
	unlink(path);
	/* The server counts its answers from zero again. */
	kill(s->pid, SIGUSR1);
	path_in(s, "ready", path);
	for (int i = 0; i < 1000 && access(path, F_OK) != 0; i++)
		usleep(2000);
	unlink(path);
}

static void read_log(struct scripted *s)
{
	char path[PATH_MAX], line[16384];
	path_in(s, "log", path);
	json_decref(requests);
	requests = json_array();
	FILE *f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		json_array_append_new(requests, json_loads(line, 0, NULL));
	if (f)
		fclose(f);
}

size_t scripted_count(struct scripted *s)
{
	read_log(s);
	return json_array_size(requests);
}

static json_t *request(struct scripted *s, size_t i)
{
	read_log(s);
	json_t *r = json_array_get(requests, i);
	if (!r) {
		fprintf(stderr, "request %zu did not come\n", i);
		exit(1);
	}
	return r;
}

const char *scripted_method(struct scripted *s, size_t i)
{
	return json_string_value(json_object_get(request(s, i), "method"));
}

const char *scripted_path(struct scripted *s, size_t i)
{
	return json_string_value(json_object_get(request(s, i), "path"));
}

const char *scripted_header(struct scripted *s, size_t i, const char *name)
{
	return json_string_value(json_object_get(json_object_get(request(s, i), "headers"), name));
}

const char *scripted_sha256(struct scripted *s, size_t i)
{
	return json_string_value(json_object_get(request(s, i), "sha256"));
}
