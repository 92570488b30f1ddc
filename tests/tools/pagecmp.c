/*
 * pagecmp A B - compares two database files page by page.
 *
 * The page size is A's own (bytes 16 and 17 of its header). Prints how many pages differ, the
 * first ten of them with the first differing byte, and sizes that differ; "identical, N pages"
 * otherwise. Exit 1 when they differ. The lock page (with byte 2^30) is not compared: SQLite never
 * reads or writes it.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct file {
	const uint8_t *bytes;
	size_t size;
};

static void die(const char *path)
{
	perror(path);
	exit(1);
}

static struct file map(const char *path)
{
	struct file f = {0};
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0)
		die(path);
	f.size = (size_t)st.st_size;
	if (f.size > 0) {
		void *p = mmap(NULL, f.size, PROT_READ, MAP_SHARED, fd, 0);
		if (p == MAP_FAILED)
			die(path);
		f.bytes = p;
	}
	close(fd);
	return f;
}

static size_t page_size(const struct file *f)
{
	if (f->size < 100)
		return 512;
	size_t n = (size_t)f->bytes[16] << 8 | f->bytes[17];
	return n == 1 ? 65536 : n >= 512 ? n : 512;
}

static size_t first_difference(const uint8_t *a, const uint8_t *b, size_t n)
{
	size_t i = 0;
	while (i < n && a[i] == b[i])
		i++;
	return i;
}

static size_t differing_pages(const struct file *a, const struct file *b, size_t size, size_t n)
{
	size_t lock = (size_t)0x40000000 / size, differ = 0;
	for (size_t i = 0; i < n; i++) {
		const uint8_t *x = a->bytes + i * size, *y = b->bytes + i * size;
		if (i == lock || memcmp(x, y, size) == 0)
			continue;
		if (differ++ < 10)
			printf("page %zu differs from byte %zu on\n", i + 1, first_difference(x, y, size));
	}
	return differ;
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: pagecmp A B\n");
		return 2;
	}
	struct file a = map(argv[1]), b = map(argv[2]);
	size_t size = page_size(&a), common = (a.size < b.size ? a.size : b.size) / size;
	size_t differ = differing_pages(&a, &b, size, common);
	if (a.size != b.size)
		printf("sizes differ: %zu bytes and %zu bytes\n", a.size, b.size);
	if (differ)
		printf("%zu of %zu pages differ\n", differ, common);
	if (differ || a.size != b.size)
		return 1;
	printf("identical, %zu pages\n", a.size / size);
	return 0;
}
