/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preloaded into kvd by kvd-torture.py: the Nth thing that can fail does. KV_FAIL is "write:N", of what changes files (each open
 * that makes one, write, sync, rename, link, unlink, folder), with ENOSPC or EIO in turn; or "malloc:N", of allocations. With
 * N 0 they are counted, and how many there were is written to the file KV_FAIL_COUNT at the end. Other programs are left alone.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size), *__libc_calloc(size_t n, size_t size), *__libc_realloc(void *p, size_t size);

static unsigned long write_at, malloc_at;
static unsigned long writes, mallocs;
static bool active;

__attribute__((constructor)) static void begin(void)
{
	const char *what = getenv("KV_FAIL");

	if (!what || strcmp(program_invocation_short_name, "kvd"))
		return;
	if (!strncmp(what, "write:", 6))
		write_at = strtoul(what + 6, NULL, 10);
	else if (!strncmp(what, "malloc:", 7))
		malloc_at = strtoul(what + 7, NULL, 10);
	active = true;
}

__attribute__((destructor)) static void end(void)
{
	const char *path = active ? getenv("KV_FAIL_COUNT") : NULL;
	FILE *f;

	active = false;
	f = path ? fopen(path, "w") : NULL;
	if (!f)
		return;
	fprintf(f, "%lu %lu\n", writes, mallocs);
	fclose(f);
}

static bool write_fails(void)
{
	unsigned long n;

	if (!active)
		return false;
	n = __atomic_add_fetch(&writes, 1, __ATOMIC_RELAXED);
	if (n != write_at)
		return false;
	errno = n % 2 ? ENOSPC : EIO;
	return true;
}

static bool malloc_fails(void)
{
	return active && __atomic_add_fetch(&mallocs, 1, __ATOMIC_RELAXED) == malloc_at;
}

void *malloc(size_t size)
{
	return malloc_fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return malloc_fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	return malloc_fails() ? NULL : __libc_realloc(p, size);
}

static bool is_file(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

#define REAL(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))
#define FAILING(type, name, params, args, also)                 \
	type name params                                        \
	{                                                       \
		static __typeof__(&name) real;                  \
	\
		if (!real)                                      \
			real = REAL(name);                      \
		return (also) && write_fails() ? -1 : real args; \
	}

FAILING(ssize_t, write, (int fd, const void *data, size_t len), (fd, data, len), is_file(fd))
FAILING(ssize_t, pwrite, (int fd, const void *data, size_t len, off_t at), (fd, data, len, at), is_file(fd))
FAILING(ssize_t, pwrite64, (int fd, const void *data, size_t len, off64_t at), (fd, data, len, at), is_file(fd))
FAILING(int, fsync, (int fd), (fd), true)
FAILING(int, fdatasync, (int fd), (fd), true)
FAILING(int, rename, (const char *from, const char *to), (from, to), true)
FAILING(int, unlink, (const char *path), (path), true)
FAILING(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags), true)
FAILING(int, symlink, (const char *to, const char *path), (to, path), true)
FAILING(int, mkdir, (const char *path, mode_t mode), (path, mode), true)
FAILING(int, ftruncate, (int fd, off_t len), (fd, len), true)

static int opened(int dir, const char *path, int flags, mode_t mode)
{
	static __typeof__(&openat) real;

	if (!real)
		real = REAL(openat);
	return flags & O_CREAT && write_fails() ? -1 : real(dir, path, flags, mode);
}

#define OPEN(name, params, dir)                                        \
	int name params                                                \
	{                                                              \
		va_list more;                                          \
		mode_t mode;                                           \
	\
		va_start(more, flags);                                 \
		mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;     \
		va_end(more);                                          \
		return opened(dir, path, flags, mode);                 \
	}

OPEN(open, (const char *path, int flags, ...), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD)
OPEN(openat, (int dir, const char *path, int flags, ...), dir)
OPEN(openat64, (int dir, const char *path, int flags, ...), dir)
