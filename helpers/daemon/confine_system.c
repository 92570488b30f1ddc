/*
 * What of the system a child gets. Programs and libraries as they are; of /etc only what name
 * resolution, TLS and the clock read. (Not all of /etc: a worker of root could read its owner's
 * files there.)
 *
 * resolv.conf and its kind are replaced by renaming, often through a symbolic link into /run: a
 * bound file would stay the old one for ever. They are copies (large ones are bound all the same),
 * which confine_system_digest tells the daemon to make anew.
 */
#include "base/buf.h"
#include "base/digest.h"
#include "base/fs.h"
#include "daemon/confine_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct system_part parts[] = {
	{"/usr", SYSTEM_TREE},
	{"/bin", SYSTEM_TREE},
	{"/lib", SYSTEM_TREE},
	{"/lib32", SYSTEM_TREE},
	{"/lib64", SYSTEM_TREE},
	{"/libx32", SYSTEM_TREE},
	{"/etc/ld.so.cache", SYSTEM_TREE},
	{"/etc/ssl/certs", SYSTEM_TREE},
	{"/etc/ssl/openssl.cnf", SYSTEM_TREE},
	{"/etc/resolv.conf", SYSTEM_FILE},
	{"/etc/hosts", SYSTEM_FILE},
	{"/etc/host.conf", SYSTEM_FILE},
	{"/etc/nsswitch.conf", SYSTEM_FILE},
	{"/etc/gai.conf", SYSTEM_FILE},
	{"/etc/services", SYSTEM_FILE},
	{"/etc/localtime", SYSTEM_FILE},
	{"/etc/machine-id", SYSTEM_FILE}, /* F10 */
	{"/dev/null", SYSTEM_DEVICE},
	{"/dev/zero", SYSTEM_DEVICE},
	{"/dev/random", SYSTEM_DEVICE},
	{"/dev/urandom", SYSTEM_DEVICE},
};

#define PARTS (sizeof(parts) / sizeof(parts[0]))
#define GIVEN 4
_Static_assert(PARTS + GIVEN <= SYSTEM_PARTS_MAX, "SYSTEM_PARTS_MAX is too small");

/* In a tree that a child has anyway. */
static bool in_tree(const char *path)
{
	for (size_t i = 0; i < PARTS; i++) {
		size_t n = strlen(parts[i].path);
		if (parts[i].kind == SYSTEM_TREE && strncmp(path, parts[i].path, n) == 0 &&
			(path[n] == '/' || !path[n]))
			return true;
	}
	return false;
}

/*
 * Where the token is that a container's endpoint wants before it gives credentials (net/iam.h).
 * Below /run it is a mount of its own, in which the file is exchanged while a worker runs: the
 * folder. Elsewhere the file alone, for what else may be beside it.
 */
static const char *token_place(void)
{
	static char folder[PATH_MAX];
	const char *file = getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *below = NULL;
	if (file && strncmp(file, "/run/", 5) == 0)
		below = file + 5;
	else if (file && strncmp(file, "/var/run/", 9) == 0)
		below = file + 9;
	if (!below || !strchr(below, '/') || strlen(file) >= sizeof(folder))
		return file;
	strcpy(folder, file);
	*strrchr(folder, '/') = '\0';
	return folder;
}

bool confine_system_next(const char *program, size_t *i, struct system_part *out)
{
	/* The daemon's own environment: the administrator's word, passed on to children. */
	const char *const given[GIVEN] = {
		program, getenv("SSL_CERT_FILE"), getenv("SSL_CERT_DIR"), token_place()};
	for (; *i < PARTS + GIVEN; ++*i) {
		const char *path = *i < PARTS ? parts[*i].path : given[*i - PARTS];
		if (!path || path[0] != '/' || (*i >= PARTS && in_tree(path)))
			continue;
		*out = *i < PARTS ? parts[*i] : (struct system_part){path, SYSTEM_GIVEN};
		++*i;
		return true;
	}
	return false;
}

bool confine_system_file(const char *name)
{
	for (size_t i = 0; i < PARTS; i++) {
		char real[PATH_MAX];
		if (parts[i].kind != SYSTEM_FILE)
			continue;
		if (strcmp(fs_basename(parts[i].path), name) == 0)
			return true;
		if (realpath(parts[i].path, real) && strcmp(fs_basename(real), name) == 0)
			return true;
	}
	return false;
}

void confine_system_watch(void (*fn)(void *ctx, const char *dir), void *ctx)
{
	fn(ctx, "/etc");
	for (size_t i = 0; i < PARTS; i++) {
		char real[PATH_MAX];
		if (parts[i].kind != SYSTEM_FILE || !realpath(parts[i].path, real))
			continue;
		*strrchr(real, '/') = '\0';
		if (real[0] && strcmp(real, "/etc") != 0)
			fn(ctx, real);
	}
}

static bool add_file(struct sha256 *h, enum confine_kind kind, const char *path)
{
	struct buf text;
	struct stat st;
	buf_init(&text, SYSTEM_FILE_MAX);
	errno = 0;
	int rc = fs_read_file(path, &text, NULL);
	bool whole = rc == ERR_OK, known = rc != ERR_NOMEM && (rc != ERR_IO || !fs_may_pass(errno));
	if (whole) {
		uint64_t size = text.len;
		sha256_update(h, &size, sizeof(size));
		sha256_update(h, text.data, text.len);
	}
	/* Landlock's rules are about inodes, and so is the binding of a large file. */
	if ((kind == CONFINE_LANDLOCK || !whole) && stat(path, &st) == 0) {
		sha256_update(h, &st.st_dev, sizeof(st.st_dev));
		sha256_update(h, &st.st_ino, sizeof(st.st_ino));
	}
	sha256_update(h, path, strlen(path) + 1);
	buf_free(&text);
	return known;
}

bool confine_system_digest(enum confine_kind kind, uint8_t out[32])
{
	memset(out, 0, 32);
	struct sha256 *h = kind == CONFINE_NONE ? NULL : sha256_new();
	bool known = kind == CONFINE_NONE || h;
	for (size_t i = 0; h && i < PARTS; i++)
		if (parts[i].kind == SYSTEM_FILE)
			known = add_file(h, kind, parts[i].path) && known;
	if (h)
		sha256_final(h, out);
	return known;
}
