/*
 * intruder replicate|job … - in the place of the program that litestreamd starts: a worker, or a
 * job, that somebody has taken over. It says hello as they do, takes its message, and does what
 * stands in the file `orders` of its database's folder, a line each; what came of it goes to
 * `answers` there, as "<line>: ok", "<line>: ok: <text>" or "<line>: <error>".
 *
 *   read PATH      a byte of it              write PATH   a byte into it, made if it is missing
 *   list PATH      its first name            link A B     symbolic link A at B
 *   trace PID      PTRACE_ATTACH             signal PID   SIGCONT
 *   become UID     setresuid                 mount PATH   a tmpfs there
 *   connect PATH   a Unix socket             node PATH    a character device, 1 3
 *   chroot PATH                              resolve NAME getaddrinfo: its first address
 *   ids            the real and effective uid
 *
 * A worker then waits until it is told to stop; a job answers that it is done.
 */
#include "proto/line.h"
#include "proto/message.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- what can be tried: 0, or -1 with errno; some leave a text ---- */

static char text[300];

static int try_read(const char *path)
{
	char byte;
	int fd = open(path, O_RDONLY | O_NONBLOCK);
	return fd < 0 || read(fd, &byte, 1) < 0 ? -1 : close(fd);
}

static int try_write(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_NONBLOCK, 0600);
	return fd < 0 || write(fd, "x", 1) < 0 ? -1 : close(fd);
}

static int try_list(const char *path)
{
	DIR *d = opendir(path);
	const struct dirent *ent;
	if (!d)
		return -1;
	while ((ent = readdir(d)) && ent->d_name[0] == '.')
		;
	snprintf(text, sizeof(text), "%s", ent ? ent->d_name : "nothing");
	return closedir(d);
}

static int try_connect(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	return connect(fd, (const struct sockaddr *)&a, sizeof(a));
}

static int try_resolve(const char *name)
{
	const struct addrinfo hints = {.ai_family = AF_INET};
	struct addrinfo *found;
	int rc = getaddrinfo(name, NULL, &hints, &found);
	if (rc == 0)
		inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)found->ai_addr)->sin_addr, text, 64);
	else
		snprintf(text, sizeof(text), "%s", gai_strerror(rc));
	return 0;
}

static int attempt(const char *verb, const char *what, const char *more)
{
	const int number = atoi(what);
	text[0] = '\0';
	if (strcmp(verb, "read") == 0)
		return try_read(what);
	if (strcmp(verb, "write") == 0)
		return try_write(what);
	if (strcmp(verb, "list") == 0)
		return try_list(what);
	if (strcmp(verb, "link") == 0)
		return symlink(what, more);
	if (strcmp(verb, "trace") == 0)
		return (int)ptrace(PTRACE_ATTACH, number, NULL, NULL);
	if (strcmp(verb, "signal") == 0)
		return kill(number, SIGCONT);
	if (strcmp(verb, "become") == 0)
		return setresuid((uid_t)number, (uid_t)number, (uid_t)number);
	if (strcmp(verb, "mount") == 0)
		return mount("tmpfs", what, "tmpfs", 0, NULL);
	if (strcmp(verb, "node") == 0)
		return mknod(what, S_IFCHR | 0666, makedev(1, 3));
	if (strcmp(verb, "chroot") == 0)
		return chroot(what);
	if (strcmp(verb, "connect") == 0)
		return try_connect(what);
	if (strcmp(verb, "resolve") == 0)
		return try_resolve(what);
	if (strcmp(verb, "ids") == 0)
		return snprintf(text, sizeof(text), "%d %d", (int)getuid(), (int)geteuid()) < 0;
	return errno = EINVAL, -1;
}

/* ---- orders and answers ---- */

static void obey(const char *database)
{
	char dir[4096], path[4200], line[1000], verb[20], what[500], more[400];
	snprintf(dir, sizeof(dir), "%s", database);
	*strrchr(dir, '/') = '\0';
	snprintf(path, sizeof(path), "%s/orders", dir);
	FILE *orders = fopen(path, "r");
	snprintf(path, sizeof(path), "%s/answers.new", dir);
	FILE *answers = fopen(path, "w");
	while (orders && answers && fgets(line, sizeof(line), orders)) {
		what[0] = more[0] = '\0';
		line[strcspn(line, "\n")] = '\0';
		if (sscanf(line, "%19s %499s %399s", verb, what, more) < 1)
			continue;
		int rc = attempt(verb, what, more);
		fprintf(answers, "%s: %s%s%s\n", line, rc ? strerror(errno) : "ok",
			!rc && text[0] ? ": " : "", rc ? "" : text);
	}
	if (answers)
		fclose(answers);
	snprintf(line, sizeof(line), "%.900s/answers", dir);
	rename(path, line);
}

/* ---- as a child of litestreamd ---- */

/* False when the daemon has gone. */
static bool receive(struct channel *c, json_t **message)
{
	struct err e = ERR_INIT;
	while (channel_next(c, message, &e) != ERR_OK) {
		struct pollfd p = {c->fd, POLLIN, 0};
		if (c->eof || poll(&p, 1, -1) < 0 || channel_read(c, &e) != ERR_OK)
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	struct channel c;
	struct err e = ERR_INIT;
	struct message_config config = {0};
	struct message_job job = {0};
	json_t *message = NULL;
	bool is_job = argc > 1 && strcmp(argv[1], "job") == 0;
	channel_init(&c, 3);
	json_t *hello = message_hello_encode("intruder");
	if (channel_send(&c, hello, &e) != ERR_OK || !receive(&c, &message))
		return 1;
	json_decref(hello);
	if (is_job && message_job_decode(&job, message, &e) == ERR_OK)
		obey(job.path);
	else if (!is_job && message_config_decode(&config, message, &e) == ERR_OK)
		obey(config.databases[0].path);
	json_decref(message);
	const struct message_result done = {0, NULL, NULL};
	json_t *result = message_result_encode(&done);
	if (is_job && channel_send(&c, result, &e) == ERR_OK)
		channel_drain(&c, 10000);
	json_decref(result);
	while (!is_job && receive(&c, &message)) {
		json_decref(message);
		break; /* whatever it is, it means the end */
	}
	message_config_free(&config);
	message_job_free(&job);
	channel_close(&c);
	return 0;
}
