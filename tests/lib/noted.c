#include "lib/noted.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

int64_t *noted_map(const char *path, size_t count)
{
	size_t size = count * sizeof(int64_t);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return NULL;
	void *p = MAP_FAILED;
	if (ftruncate(fd, (off_t)size) == 0)
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}
