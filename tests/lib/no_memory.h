/*
 * Makes the Nth allocation of a program fail, or all from it on. Included by the one C file of a
 * test that wants it: it replaces malloc, calloc and realloc of the whole program.
 *
 * Not under a sanitizer, which has an allocator of its own, and only with glibc, whose allocator
 * has second names: then NO_MEMORY_POSSIBLE is 0 and the test says that it is skipped.
 */
#ifndef LIB_NO_MEMORY_H
#define LIB_NO_MEMORY_H

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define NO_MEMORY_POSSIBLE 0
#else
#define NO_MEMORY_POSSIBLE 1

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

static bool armed;              /* set and read atomically: other threads allocate too */
static unsigned calls, fail_at; /* allocations since armed; which of them fails */
static bool fail_for_ever;      /* and all behind it */

static bool strikes(void)
{
	if (!__atomic_load_n(&armed, __ATOMIC_ACQUIRE))
		return false;
	unsigned n = __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
	if (n != fail_at && !(fail_for_ever && n > fail_at))
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t n)
{
	return strikes() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return strikes() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return strikes() ? NULL : __libc_realloc(p, n);
}

#endif
#endif
