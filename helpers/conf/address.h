/* Where to listen, as Go's programs are told it: ":9090", "127.0.0.1:9090", "[::1]:9090". */
#ifndef CONF_ADDRESS_H
#define CONF_ADDRESS_H

#include <stdbool.h>

struct address {
	char host[256]; /* a name or an IP address, without brackets; "" = all of this machine's */
	char port[6];   /* a number; 0 = one that is free */
};

/* False: it is none of these. */
bool address_parse(struct address *a, const char *text);

#endif
