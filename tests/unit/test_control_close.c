/* Closing the control socket while clients are there: each gets an answer or an end, whenever it
 * came. (MHD ends the program that stops it while a connection waits.) */
#include "daemon/control.h"
#include "lib/tmpdir.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

static const char asks[] = "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n";

struct bed {
	char *dir;
	char path[100];
	struct control *control;
	int handled;
};

static void never_answers(void *ctx, struct control_request *r)
{
	(void)r;
	((struct bed *)ctx)->handled++;
}

static void begin(struct bed *b)
{
	struct err e = ERR_INIT;
	*b = (struct bed){.dir = tmpdir_new()};
	snprintf(b->path, sizeof(b->path), "%s/c.sock", b->dir);
	const struct control_config cfg = {
		.socket = b->path, .gid = getegid(), .mode = 0600, .handle = never_answers, .ctx = b};
	assert_int_equal(control_open(&b->control, &cfg, &e), ERR_OK);
}

static int connected(const struct bed *b)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(to.sun_path, sizeof(to.sun_path), "%s", b->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static void ask(int fd)
{
	assert_int_equal(send(fd, asks, sizeof(asks) - 1, 0), sizeof(asks) - 1);
}

static void run_until_handled(struct bed *b, int n)
{
	for (int i = 0; b->handled < n && i < 1000; i++) {
		struct pollfd p = {.fd = control_fd(b->control), .events = POLLIN};
		poll(&p, 1, 10);
		control_run(b->control);
	}
	assert_int_equal(b->handled, n);
}

/* Everything up to the end of the connection. */
static void read_all(int fd, char *out, size_t size)
{
	size_t n = 0;
	ssize_t got;
	while (n < size - 1 && (got = recv(fd, out + n, size - 1 - n, 0)) > 0)
		n += (size_t)got;
	out[n] = '\0';
	close(fd);
}

static void test_asked_before(void **state)
{
	struct bed b;
	char answer[2000];
	(void)state;
	begin(&b);
	int fd = connected(&b);
	ask(fd);
	run_until_handled(&b, 1);
	control_close(b.control);
	read_all(fd, answer, sizeof(answer));
	assert_non_null(strstr(answer, "litestream is stopping"));
	tmpdir_free(b.dir);
}

/* What comes in while the last ones are answered finds nobody who would handle it. */
static void test_asked_while_it_closes(void **state)
{
	struct bed b;
	char answer[2000];
	(void)state;
	begin(&b);
	int first = connected(&b);
	ask(first);
	run_until_handled(&b, 1);
	int late = connected(&b), silent = connected(&b);
	ask(late);
	control_close(b.control);
	assert_int_equal(b.handled, 1);
	read_all(first, answer, sizeof(answer));
	assert_non_null(strstr(answer, "litestream is stopping"));
	read_all(late, answer, sizeof(answer));
	if (answer[0])
		assert_non_null(strstr(answer, "litestream is stopping"));
	read_all(silent, answer, sizeof(answer));
	assert_string_equal(answer, "");
	tmpdir_free(b.dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_asked_before),
		cmocka_unit_test(test_asked_while_it_closes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
