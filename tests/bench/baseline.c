/*
 * baseline [-n N] [-b BYTES] TARGET - what the machine itself needs for what a replicator must do.
 *
 * TARGET is a folder: N times BYTES (4096) are appended to a file and fsynced. Or an s3:// URL: N
 * times an object of BYTES is put, by our own client. The last line of stdout is a JSON object.
 */
#include "lib/samples.h"

#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void die(const char *what, const char *why)
{
	fprintf(stderr, "baseline: %s: %s\n", what, why);
	exit(1);
}

static void fsyncs(const char *dir, const void *bytes, size_t n, long times, struct samples *s)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/baseline.tmp", dir);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		die(path, strerror(errno));
	for (long i = 0; i < times; i++) {
		int64_t before = samples_now_us();
		if (write(fd, bytes, n) != (ssize_t)n || fsync(fd) != 0)
			die(path, strerror(errno));
		samples_add(s, samples_now_us() - before);
	}
	close(fd);
	unlink(path);
}

static void puts_of(const char *url, const void *bytes, size_t n, long times, struct samples *s)
{
	struct err e = ERR_INIT;
	struct store *store;
	if (store_open(&store, url, NULL, &e))
		die(url, e.text);
	struct store_body body = {.data = bytes, .fd = -1, .size = n};
	struct store_put_opts opts = {.single = true};
	for (long i = 0; i < times; i++) {
		char name[32];
		snprintf(name, sizeof(name), "baseline/%08ld", i);
		int64_t before = samples_now_us();
		if (store_put(store, name, &body, &opts, &e))
			die(url, e.text);
		samples_add(s, samples_now_us() - before);
	}
	store_close(store);
}

int main(int argc, char **argv)
{
	long times = 100, n = 4096;
	struct samples s = {0};
	for (int c; (c = getopt(argc, argv, "n:b:")) != -1;)
		if (c == 'n')
			times = atol(optarg);
		else if (c == 'b')
			n = atol(optarg);
		else
			return 2;
	if (optind != argc - 1 || times < 1 || n < 1) {
		fprintf(stderr, "usage: baseline [-n N] [-b BYTES] TARGET\n");
		return 2;
	}
	char *bytes = calloc(1, (size_t)n);
	if (!bytes)
		die("memory", "out of it");
	const char *target = argv[optind];
	if (strstr(target, "://"))
		puts_of(target, bytes, (size_t)n, times, &s);
	else
		fsyncs(target, bytes, (size_t)n, times, &s);
	printf("{\"times\":%ld", times);
	samples_json(&s, "once", stdout);
	printf("}\n");
	samples_free(&s);
	free(bytes);
	return 0;
}
