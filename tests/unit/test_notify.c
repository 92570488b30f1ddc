/* What litestreamd tells a service manager, received on a socket as systemd has it. */
#include "daemon/notify.h"

#include "lib/tmpdir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

/* A bound datagram socket whose name is in NOTIFY_SOCKET. */
static int listen_at(const char *name)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", name);
	setenv("NOTIFY_SOCKET", name, 1);
	if (a.sun_path[0] == '@')
		a.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(fd >= 0);
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
	assert_int_equal(bind(fd, (struct sockaddr *)&a, size), 0);
	return fd;
}

static void assert_received(int fd, const char *text)
{
	char buf[200];
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, 0);
	assert_true(n > 0);
	buf[n] = '\0';
	assert_string_equal(buf, text);
}

static void messages_arrive_at_a_path(void **state)
{
	(void)state;
	char *dir = tmpdir_new();
	int fd = listen_at(tmpdir_path(dir, "notify"));
	notify_manager("READY=1");
	assert_received(fd, "READY=1");
	notify_stopping(45000);
	assert_received(fd, "STOPPING=1\nEXTEND_TIMEOUT_USEC=45000000");
	close(fd);
	notify_manager("READY=1"); /* nobody listens: no harm */
	tmpdir_free(dir);
}

static void messages_arrive_at_an_abstract_name(void **state)
{
	(void)state;
	char name[64];
	snprintf(name, sizeof(name), "@litestream-test-notify-%ld", (long)getpid());
	int fd = listen_at(name);
	notify_manager("WATCHDOG=1");
	assert_received(fd, "WATCHDOG=1");
	close(fd);
	unsetenv("NOTIFY_SOCKET");
	notify_manager("WATCHDOG=1");
}

static int64_t asked(const char *usec, const char *pid)
{
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	if (usec)
		setenv("WATCHDOG_USEC", usec, 1);
	if (pid)
		setenv("WATCHDOG_PID", pid, 1);
	return notify_watchdog_us();
}

static void the_watchdog_is_fed_twice_as_often_as_it_asks(void **state)
{
	(void)state;
	char own[24], other[24];
	snprintf(own, sizeof(own), "%ld", (long)getpid());
	snprintf(other, sizeof(other), "%ld", (long)getppid());
	assert_int_equal(asked(NULL, NULL), 0);
	assert_int_equal(asked("300000000", NULL), 150000000);
	assert_int_equal(asked("2000000", own), 1000000);
	assert_int_equal(asked("2000000", other), 0);
	assert_int_equal(asked("1", own), 1);
	assert_int_equal(asked("0", own), 0);
	assert_int_equal(asked("-5", own), 0);
	assert_int_equal(asked("5s", own), 0);
	assert_int_equal(asked("99999999999999999999", own), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_arrive_at_a_path),
		cmocka_unit_test(messages_arrive_at_an_abstract_name),
		cmocka_unit_test(the_watchdog_is_fed_twice_as_often_as_it_asks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
