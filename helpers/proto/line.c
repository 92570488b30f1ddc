#include "proto/line.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_PART 16384

void channel_init(struct channel *c, int fd)
{
	memset(c, 0, sizeof(*c));
	c->fd = fd;
	buf_init(&c->in, PROTO_LINE_MAX + READ_PART);
	buf_init(&c->out, PROTO_LINE_MAX);
	int flags = fcntl(fd, F_GETFL);
	if (flags >= 0)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

void channel_close(struct channel *c)
{
	fs_close(c->fd);
	c->fd = -1;
	c->eof = true;
	buf_wipe(&c->in);
	buf_wipe(&c->out);
	c->in_used = 0;
}

/* Lines that were taken make room; they may have been credentials. */
static void drop_used(struct channel *c)
{
	if (c->in_used == 0)
		return;
	size_t rest = c->in.len - c->in_used;
	memmove(c->in.data, c->in.data + c->in_used, rest);
	explicit_bzero(c->in.data + rest, c->in_used);
	c->in.len = rest;
	c->in_used = 0;
}

int channel_read(struct channel *c, struct err *e)
{
	drop_used(c);
	while (!c->eof) {
		if (c->in.len > PROTO_LINE_MAX) /* whole lines are taken before more is read */
			return memchr(c->in.data, '\n', c->in.len)
					   ? ERR_OK
					   : err_set(e, ERR_FULL, "a message is longer than %d bytes", PROTO_LINE_MAX);
		if (buf_reserve(&c->in, READ_PART) != ERR_OK)
			return err_nomem(e, "reading a message");
		ssize_t n = read(c->fd, c->in.data + c->in.len, READ_PART);
		if (n > 0)
			c->in.data[c->in.len += (size_t)n] = '\0';
		else if (n < 0 && errno == EINTR)
			continue;
		else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return ERR_OK;
		else
			c->eof = true;
	}
	return ERR_OK;
}

int channel_next(struct channel *c, json_t **out, struct err *e)
{
	*out = NULL;
	if (!c->in.data || c->in_used >= c->in.len)
		return ERR_AGAIN;
	const uint8_t *line = c->in.data + c->in_used;
	const uint8_t *end = memchr(line, '\n', c->in.len - c->in_used);
	if (!end)
		return ERR_AGAIN;
	c->in_used += (size_t)(end - line) + 1;
	return json_parse_object(line, (size_t)(end - line), "a message", out, e);
}

void channel_flush(struct channel *c)
{
	while (c->out.len > 0 && !c->eof) {
		ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL);
		if (n > 0) {
			size_t rest = c->out.len - (size_t)n;
			memmove(c->out.data, c->out.data + n, rest);
			explicit_bzero(c->out.data + rest, (size_t)n);
			c->out.len = rest;
		} else if (n < 0 && errno == EINTR) {
			continue;
		} else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			return;
		} else {
			/* What the peer still said before it went may be read: only sending is over. */
			buf_reset(&c->out);
			return;
		}
	}
}

bool channel_pending(const struct channel *c)
{
	return c->out.len > 0 && !c->eof;
}

int channel_send(struct channel *c, const json_t *message, struct err *e)
{
	if (c->fd < 0)
		return ERR_OK;
	size_t before = c->out.len;
	int rc = json_append(&c->out, message);
	if (rc == ERR_OK)
		rc = buf_append(&c->out, "\n", 1);
	if (rc != ERR_OK) {
		c->out.len = before;
		return rc == ERR_FULL ? err_set(e, ERR_FULL, "the peer does not read its messages")
							  : err_nomem(e, "sending a message");
	}
	channel_flush(c);
	return ERR_OK;
}

bool channel_drain(struct channel *c, int timeout_ms)
{
	int64_t until = clock_mono_us() + (int64_t)timeout_ms * 1000;
	channel_flush(c);
	while (channel_pending(c)) {
		int64_t left = (until - clock_mono_us()) / 1000;
		if (left <= 0)
			return false;
		struct pollfd p = {c->fd, POLLOUT, 0};
		poll(&p, 1, (int)left);
		channel_flush(c);
	}
	return true;
}
