/*
 * replay FOLDER|FILE... - feeds each file of a corpus to a fuzz target, and then,
 * deterministically, what is near it: cut off at many lengths, with single bits flipped, with a
 * byte set to an extreme, and two halves swapped. So a corpus is an ordinary test, also without a
 * fuzzer and with any compiler.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FILE_MAX_SIZE ((size_t)1 << 20)

/* Of each kind a file, spread over its length; REPLAY_TRIES where it is slow. */
static size_t most_tries = 200;

static unsigned long runs;

/* A copy of exactly n bytes, so that ASan sees what is read behind them. */
static void feed(const uint8_t *data, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);
	if (!copy)
		abort();
	memcpy(copy, data, n);
	LLVMFuzzerTestOneInput(copy, n);
	free(copy);
	runs++;
}

/* The i-th of most_tries places in n: all of them when n is small. */
static size_t place(size_t i, size_t n)
{
	return n <= most_tries ? i % n : i * n / most_tries + i % 7 * (n / most_tries / 7);
}

static void feed_neighbours(uint8_t *data, size_t n)
{
	static const uint8_t extremes[] = {0x00, 0x7f, 0x80, 0xff};
	size_t tries = n < most_tries ? n : most_tries;
	for (size_t i = 0; i < tries; i++)
		feed(data, place(i, n));
	for (size_t i = 0; i < 8 * tries; i++) {
		uint8_t *p = data + place(i / 8, n), old = *p;
		*p ^= (uint8_t)(1u << i % 8);
		feed(data, n);
		*p = extremes[i % 4];
		feed(data, n);
		*p = old;
	}
	uint8_t *swapped = malloc(n);
	if (!swapped)
		abort();
	memcpy(swapped, data + n / 2, n - n / 2);
	memcpy(swapped + n - n / 2, data, n / 2);
	feed(swapped, n);
	free(swapped);
}

static int replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = malloc(FILE_MAX_SIZE);
	if (!f || !data) {
		perror(path);
		exit(1);
	}
	size_t n = fread(data, 1, FILE_MAX_SIZE, f);
	fclose(f);
	feed(data, n);
	if (n)
		feed_neighbours(data, n);
	free(data);
	return 1;
}

static int not_hidden(const struct dirent *ent)
{
	return ent->d_name[0] != '.';
}

static int replay_path(const char *path)
{
	struct stat st;
	if (stat(path, &st)) {
		perror(path);
		exit(1);
	}
	if (!S_ISDIR(st.st_mode))
		return replay_file(path);
	struct dirent **names;
	int n = scandir(path, &names, not_hidden, alphasort), files = 0;
	for (int i = 0; i < n; i++) {
		char *below = NULL;
		if (asprintf(&below, "%s/%s", path, names[i]->d_name) < 0)
			abort();
		files += replay_path(below);
		free(below);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	return files;
}

int main(int argc, char **argv)
{
	const char *tries = getenv("REPLAY_TRIES");
	int files = 0;
	if (tries && atoi(tries) > 0)
		most_tries = (size_t)atoi(tries);
	for (int i = 1; i < argc; i++)
		files += replay_path(argv[i]);
	printf("%d files, %lu inputs\n", files, runs);
	if (files == 0)
		fprintf(stderr, "replay: no corpus, so nothing was tested\n");
	return files == 0;
}
