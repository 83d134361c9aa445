/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See mem-backing.h. memfd_create(2), mbind(2), madvise(2); hugetlbfs: Linux' Documentation/admin-guide/mm/hugetlbpage.rst. */
#include "mem-backing.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "bytes.h"
#include "error.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum {
	LARGE_PAGE = 2 << 20,
	HUGE_SHIFT = 26, /* MFD_HUGE_SHIFT: log2 of the page's size above it */
	MOVE = 3,	 /* MPOL_MF_STRICT | MPOL_MF_MOVE */
	BITS = 8 * sizeof(unsigned long),
};

/* ---- files ---- */

static int make_memfd(const char *id, const struct mem_backing_config *c, GError **error)
{
	unsigned flags = MFD_CLOEXEC | (c->seal ? MFD_ALLOW_SEALING : 0);
	int fd;

	if (c->hugetlb_size && c->hugetlb_size & (c->hugetlb_size - 1)) {
		kv_fail(error, KV_ERROR_USAGE, "%s: hugetlbsize is not a power of 2", id);
		return -1;
	}
	if (c->hugetlb)
		flags |= MFD_HUGETLB;
	if (c->hugetlb && c->hugetlb_size)
		flags |= (unsigned)__builtin_ctzll(c->hugetlb_size) << HUGE_SHIFT;
	fd = memfd_create(id, flags);
	if (fd < 0)
		kv_fail_errno(error, errno, "%s: memfd", id);
	return fd;
}

static int open_file(const char *id, const char *path, GError **error)
{
	struct stat st;
	bool folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
	int fd = open(path, O_RDWR | (folder ? O_TMPFILE : O_CREAT) | O_CLOEXEC, 0600);

	if (fd < 0)
		kv_fail_errno(error, errno, "%s: cannot open '%s'", id, path);
	return fd;
}

static uint64_t page_of(int fd)
{
	struct statfs fs;

	return fd >= 0 && fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC ? (uint64_t)fs.f_bsize :
										   (uint64_t)sysconf(_SC_PAGESIZE);
}

/* A file that has something has all of it, or is another's. */
static bool fit_file(const char *id, const struct mem_backing_config *c, int fd, uint64_t size, GError **error)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return kv_fail_errno(error, errno, "%s: its file", id);
	if (st.st_size && (uint64_t)st.st_size < size)
		return kv_fail(error, KV_ERROR_INVALID,
			       "%s: '%s' has 0x%" G_GINT64_MODIFIER "x bytes, less than size: 0x%" G_GINT64_MODIFIER "x", id,
			       c->path, (uint64_t)st.st_size, size);
	if (!st.st_size && ftruncate(fd, (off_t)size) < 0)
		return kv_fail_errno(error, errno, "%s: its file cannot have %" G_GUINT64_FORMAT " MiB", id, size >> 20);
	if (c->kind == MEM_BACKING_MEMFD && c->seal && fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return kv_fail_errno(error, errno, "%s: its size cannot be sealed", id);
	return true;
}

/* ---- memory ---- */

/* At an address that large pages of the host's can have. */
static uint8_t *map(uint64_t size, uint64_t page, int fd, bool share)
{
	uint64_t align = MAX(page, LARGE_PAGE), total = size + align;
	uint8_t *room = mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), *p;
	int flags = (share ? MAP_SHARED : MAP_PRIVATE) | (fd < 0 ? MAP_ANONYMOUS : 0) | MAP_FIXED;


	if (room == MAP_FAILED)
		return MAP_FAILED;
	/* Large pages are there, or are refused: nobody takes them away later. */
	if (page < LARGE_PAGE)
		flags |= MAP_NORESERVE;
	p = (uint8_t *)align_up((uintptr_t)room, align);
	if (mmap(p, size, PROT_READ | PROT_WRITE, flags, fd, 0) == MAP_FAILED) {
		munmap(room, total);
		return MAP_FAILED;
	}
	if (p > room)
		munmap(room, (size_t)(p - room));
	munmap(p + size, total - size - (size_t)(p - room));
	return p;
}

static bool bind_nodes(const char *id, const struct mem_backing_config *c, const struct mem_backing *b, GError **error)
{
	unsigned long mask[MEM_NODES / BITS] = { 0 };
	bool any = false;

	for (unsigned i = 0; i < MEM_NODES; i++)
		if (c->nodes[i]) {
			mask[i / BITS] |= 1ul << i % BITS;
			any = true;
		}
	if (any && c->policy == MEM_POLICY_DEFAULT)
		return kv_fail(error, KV_ERROR_USAGE, "host-nodes must be empty for policy default, or you should explicitly "
			       "specify a policy other than default");
	if (!any && c->policy != MEM_POLICY_DEFAULT)
		return kv_fail(error, KV_ERROR_USAGE, "host-nodes must be set for policy %s",
			       (const char *const[]){ "", "preferred", "bind", "interleave" }[c->policy]);
	/* The kernel takes one bit less than it is told. */
	if (any && syscall(SYS_mbind, b->host, b->size, c->policy, mask, MEM_NODES + 1ul, MOVE) < 0)
		return kv_fail_errno(error, errno, "%s: cannot bind memory to host NUMA nodes", id);
	return true;
}

static bool take_pages(const char *id, const struct mem_backing *b, GError **error)
{
	if (!madvise(b->host, b->size, MADV_POPULATE_WRITE))
		return true;
	return kv_fail_errno(error, errno, "%s: prealloc: the host does not give %" G_GUINT64_FORMAT " MiB", id, b->size >> 20);
}

static bool advise(const char *id, const struct mem_backing *b, int what, const char *name, GError **error)
{
	return !madvise(b->host, b->size, what) || kv_fail_errno(error, errno, "%s: %s", id, name);
}

/* What a private mapping of a file has had from there would come back. */
static int zeroes_by(const struct mem_backing_config *c)
{
	if (c->share)
		return MADV_REMOVE;
	return c->kind == MEM_BACKING_FILE ? 0 : MADV_DONTNEED;
}

static bool fill(struct mem_backing *b, const char *id, const struct mem_backing_config *c, int fd, GError **error)
{
	b->page = page_of(fd);
	b->size = c->size;
	b->zeroes = zeroes_by(c);
	if (b->size % b->page)
		return kv_fail(error, KV_ERROR_USAGE, "%s: size is not a multiple of its pages, of %" G_GUINT64_FORMAT " KiB", id,
			       b->page >> 10);
	if (fd >= 0 && !fit_file(id, c, fd, b->size, error))
		return false;
	b->host = map(b->size, b->page, fd, c->share);
	if (b->host == MAP_FAILED) {
		b->host = NULL;
		return kv_fail_errno(error, errno, "%s: %" G_GUINT64_FORMAT " MiB of memory", id, b->size >> 20);
	}
	if ((c->merge && !advise(id, b, MADV_MERGEABLE, "merge", error)) ||
	    (c->no_dump && !advise(id, b, MADV_DONTDUMP, "dump", error)) || !bind_nodes(id, c, b, error))
		return false;
	b->discard_data = c->discard_data && c->share;
	return !c->prealloc || take_pages(id, b, error);
}

struct mem_backing *mem_backing_new(const char *id, const struct mem_backing_config *c, GError **error)
{
	struct mem_backing *b;
	int fd = -1;
	bool ok;

	if (c->size > INT64_MAX) {
		kv_fail(error, KV_ERROR_USAGE, "%s: size is larger than any memory", id);
		return NULL;
	}
	if (c->kind != MEM_BACKING_RAM) {
		fd = c->kind == MEM_BACKING_MEMFD ? make_memfd(id, c, error) : open_file(id, c->path, error);
		if (fd < 0)
			return NULL;
	}
	b = g_new0(struct mem_backing, 1);
	b->fd = fd;
	b->share = c->share;
	ok = fill(b, id, c, fd, error);
	if (!ok)
		g_clear_pointer(&b, mem_backing_free);
	return b;
}

void mem_backing_free(struct mem_backing *b)
{
	if (!b)
		return;
	if (b->host && b->discard_data)
		madvise(b->host, b->size, MADV_REMOVE);
	if (b->host)
		munmap(b->host, b->size);
	if (b->fd >= 0)
		close(b->fd);
	g_free(b);
}

bool mem_backing_discard(const struct mem_backing *b, void *host, uint64_t len)
{
	return b->zeroes && !(((uintptr_t)host | len) & (b->page - 1)) && !madvise(host, len, b->zeroes);
}

void mem_backing_clear(const struct mem_backing *b, void *host, uint64_t len)
{
	uint8_t *from = host, *to = from + len;
	uint8_t *first = (uint8_t *)align_up((uintptr_t)from, b->page), *last = (uint8_t *)align_down((uintptr_t)to, b->page);

	if (first >= last || !mem_backing_discard(b, first, (uint64_t)(last - first)))
		first = last = from;
	memset(from, 0, (size_t)(first - from));
	memset(last, 0, (size_t)(to - last));
}

bool mem_backing_has_data(const struct mem_backing *b, const void *host, uint64_t *ret_len)
{
	off_t at = (const uint8_t *)host - b->host, data, hole;

	*ret_len = b->size - (uint64_t)at;
	if (b->fd < 0)
		return b->share;
	data = lseek(b->fd, at, SEEK_DATA);
	if (data < 0)
		return errno != ENXIO; /* else there is none up to the end */
	if (data > at) {
		*ret_len = MIN(*ret_len, (uint64_t)(data - at));
		return false;
	}
	hole = lseek(b->fd, at, SEEK_HOLE);
	if (hole > at)
		*ret_len = MIN(*ret_len, (uint64_t)(hole - at));
	return true;
}

/* ---- NUMA nodes of the host ---- */

bool mem_backing_nodes(struct mem_backing_config *c, const char *text, GError **error)
{
	g_auto(GStrv) ranges = g_strsplit(text, ",", -1);

	for (char **r = ranges; *r; r++) {
		g_auto(GStrv) ends = g_strsplit(*r, "-", 2);
		guint64 first, last;

		if (!ends[0] || !g_ascii_string_to_unsigned(ends[0], 10, 0, MEM_NODES - 1, &first, NULL))
			return kv_fail(error, KV_ERROR_USAGE, "host-nodes: '%s' is not N or N-M, up to %d", *r, MEM_NODES - 1);
		last = first;
		if (ends[1] && !g_ascii_string_to_unsigned(ends[1], 10, first, MEM_NODES - 1, &last, NULL))
			return kv_fail(error, KV_ERROR_USAGE, "host-nodes: '%s' is not N or N-M, up to %d", *r, MEM_NODES - 1);
		for (guint64 i = first; i <= last; i++)
			c->nodes[i] = true;
	}
	return true;
}
