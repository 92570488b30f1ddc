#include "daemon/metrics_listen.h"

#include "base/fs.h"
#include "conf/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 64

/* -1 with errno. */
static int listen_at(const struct addrinfo *a, bool all)
{
	int one = 1, zero = 0;
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (a->ai_family == AF_INET6 && all)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	int saved = errno;
	fs_close(fd);
	errno = saved;
	return -1;
}

/* A name's first address that can be had, IPv4 first, as Go does it; but of all addresses IPv6
 * first, which has IPv4 in it. */
static int listen_first(const struct addrinfo *list, bool all)
{
	const int order[2] = {all ? AF_INET6 : AF_INET, all ? AF_INET : AF_INET6};
	int fd = -1, first = 0;
	for (int i = 0; i < 2 && fd < 0; i++) {
		for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
			fd = a->ai_family == order[i] ? listen_at(a, all) : -1;
			if (fd < 0 && a->ai_family == order[i] && (!first || first == EAFNOSUPPORT))
				first = errno;
		}
	}
	if (fd < 0)
		errno = first;
	return fd;
}

static const char *advice(int errnum)
{
	return errnum == EADDRINUSE      ? ": something else listens there, choose another addr"
		   : errnum == EADDRNOTAVAIL ? ": this machine doesn't have that address"
		   : errnum == EACCES        ? ": ports below 1024 are root's"
									 : "";
}

static void note_url(const struct address *a, int fd, char url[METRICS_URL_MAX])
{
	struct sockaddr_storage s = {0};
	socklen_t size = sizeof(s);
	const void *at = &s;
	unsigned port = 0;
	if (getsockname(fd, (struct sockaddr *)&s, &size) == 0)
		port = s.ss_family == AF_INET6 ? ntohs(((const struct sockaddr_in6 *)at)->sin6_port)
									   : ntohs(((const struct sockaddr_in *)at)->sin_port);
	bool brackets = strchr(a->host, ':') != NULL;
	snprintf(url, METRICS_URL_MAX, "http://%s%s%s:%u/metrics", brackets ? "[" : "", a->host,
		brackets ? "]" : "", port);
}

int metrics_listen(const char *addr, int *fd, char url[METRICS_URL_MAX], struct err *e)
{
	struct address a;
	struct addrinfo *list = NULL;
	const struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	if (!address_parse(&a, addr))
		return err_set(e, ERR_USAGE, "addr is no address: %.80s", addr);
	int gai = getaddrinfo(*a.host ? a.host : NULL, a.port, &hints, &list);
	if (gai != 0)
		return err_set(
			e, ERR_FAIL, "metrics can't be served at %s (addr): %s", addr, gai_strerror(gai));
	*fd = listen_first(list, !*a.host);
	int saved = errno;
	freeaddrinfo(list);
	if (*fd < 0)
		return err_set(e, ERR_FAIL, "metrics can't be served at %s (addr): %s%s", addr,
			strerror(saved), advice(saved));
	note_url(&a, *fd, url);
	return ERR_OK;
}
