#include "daemon/metrics_peers.h"

#include "base/fs.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct peer {
	int ends[2]; /* the first process's, its own */
	int part_fd;
};

struct metrics_peers {
	size_t n;
	_Atomic uint64_t *starts; /* n of them, in memory that all share */
	struct peer list[];       /* that of the first process is not used */
};

int metrics_peers_new(struct metrics_peers **out, size_t n, struct err *e)
{
	struct metrics_peers *p = calloc(1, sizeof(*p) + n * sizeof(p->list[0]));
	if (!p)
		return err_nomem(e, "preparing metrics");
	p->n = n;
	for (size_t i = 0; i < n; i++)
		p->list[i] = (struct peer){{-1, -1}, -1};
	p->starts = mmap(
		NULL, n * sizeof(*p->starts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int rc = ERR_OK;
	if (p->starts == MAP_FAILED) {
		p->starts = NULL;
		rc = err_nomem(e, "preparing metrics");
	}
	for (size_t i = 1; !rc && i < n; i++) {
		struct peer *o = &p->list[i];
		o->part_fd = memfd_create("litestream-metrics", MFD_CLOEXEC);
		if (o->part_fd < 0 ||
			socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, o->ends) != 0)
			rc = err_errno(e, ERR_IO, errno, "cannot prepare metrics");
	}
	if (rc) {
		metrics_peers_free(p);
		return rc;
	}
	*out = p;
	return ERR_OK;
}

void metrics_peers_free(struct metrics_peers *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++) {
		fs_close(p->list[i].ends[0]);
		fs_close(p->list[i].ends[1]);
		fs_close(p->list[i].part_fd);
	}
	if (p->starts)
		munmap(p->starts, p->n * sizeof(*p->starts));
	free(p);
}

size_t metrics_peers_count(const struct metrics_peers *p)
{
	return p->n;
}

void metrics_peers_started(struct metrics_peers *p, size_t index)
{
	atomic_fetch_add(&p->starts[index], 1);
}

uint64_t metrics_peers_restarts(const struct metrics_peers *p, size_t index)
{
	uint64_t starts = atomic_load(&p->starts[index]);
	return starts ? starts - 1 : 0;
}

/* ---- questions and answers ---- */

static bool say(int fd, int64_t question)
{
	return send(fd, &question, sizeof(question), MSG_NOSIGNAL) == sizeof(question);
}

/* Empties the socket: the last one that came, 0 = none. */
static int64_t hear(int fd)
{
	int64_t question, last = 0;
	while (recv(fd, &question, sizeof(question), 0) == sizeof(question))
		last = question;
	return last;
}

bool metrics_peers_ask(struct metrics_peers *p, size_t index, int64_t question)
{
	return say(p->list[index].ends[0], question);
}

int metrics_peers_answer_fd(const struct metrics_peers *p, size_t index)
{
	return p->list[index].ends[0];
}

int metrics_peers_question_fd(const struct metrics_peers *p, size_t index)
{
	return p->list[index].ends[1];
}

int64_t metrics_peers_question(struct metrics_peers *p, size_t index)
{
	return hear(p->list[index].ends[1]);
}

int metrics_peers_answer(struct metrics_peers *p, size_t index, int64_t question,
	const struct metrics_part *part, struct err *e)
{
	const struct peer *o = &p->list[index];
	struct buf bytes;
	buf_init(&bytes, METRICS_PART_MAX);
	int rc = metrics_part_encode(part, &bytes);
	if (rc)
		rc = err_set(e, (enum err_code)rc, "metrics take more than can be had");
	if (!rc && (ftruncate(o->part_fd, 0) || fs_pwrite_full(o->part_fd, bytes.data, bytes.len, 0) ||
				   !say(o->ends[1], question)))
		rc = err_errno(e, ERR_IO, errno, "cannot hand metrics over");
	buf_free(&bytes);
	return rc;
}

int metrics_peers_take(struct metrics_peers *p, size_t index, int64_t question,
	struct metrics_part *part, struct err *e)
{
	const struct peer *o = &p->list[index];
	struct stat st;
	if (hear(o->ends[0]) != question)
		return ERR_AGAIN;
	if (fstat(o->part_fd, &st) || st.st_size <= 0 || (size_t)st.st_size > METRICS_PART_MAX)
		return err_set(e, ERR_DAMAGED, "another process's metrics can't be read");
	char *bytes = malloc((size_t)st.st_size);
	if (!bytes)
		return err_nomem(e, "collecting metrics");
	int rc = fs_pread_full(o->part_fd, bytes, (size_t)st.st_size, 0)
				 ? err_errno(e, ERR_IO, errno, "cannot read another process's metrics")
				 : metrics_part_decode(part, bytes, (size_t)st.st_size, e);
	if (ftruncate(o->part_fd, 0)) /* its memory */
		rc = rc ? rc : ERR_OK;
	free(bytes);
	return rc;
}
