/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory of the translator: host code in a memfd mapped twice, writable and executable but never both (W^X), and bump
 * allocated records. All of it is reset at once by jit_flush(). Called by run.c.
 */
#include <sys/mman.h>
#include <unistd.h>
#include "internal.h"

#define LARGE (2u << 20)
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

static void *map_lazy(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/*
 * Mapped at a multiple of LARGE, so that the host may use large pages: with small ones half as much time goes into getting
 * them as into filling them.
 */
static u8 *map_code(int fd, int prot)
{
	u8 *all = mmap(NULL, CODE_SIZE + LARGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), *at;
	size_t before;

	if (all == MAP_FAILED)
		return NULL;
	at = (u8 *)(((uintptr_t)all + LARGE - 1) & ~(uintptr_t)(LARGE - 1));
	before = (size_t)(at - all);
	if (before)
		munmap(all, before);
	munmap(at + CODE_SIZE, LARGE - before);
	if (mmap(at, CODE_SIZE, prot, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED)
		return at;
	munmap(at, CODE_SIZE);
	return NULL;
}

static bool code_map(struct jit *j)
{
	int fd = memfd_create("kvcore-code", MFD_CLOEXEC);

	if (fd < 0)
		return false;
	if (ftruncate(fd, CODE_SIZE) < 0) {
		close(fd);
		return false;
	}
	j->code_w = map_code(fd, PROT_READ | PROT_WRITE);
	j->code_x = map_code(fd, PROT_READ | PROT_EXEC);
	close(fd);
	return j->code_w && j->code_x;
}

bool code_create(struct jit *j)
{
	j->meta = map_lazy(META_SIZE);
	j->blocks = map_lazy(MAX_BLOCKS * sizeof(*j->blocks));
	return code_map(j) && j->meta && j->blocks;
}

void code_destroy(struct jit *j)
{
	if (j->code_w)
		munmap(j->code_w, CODE_SIZE);
	if (j->code_x)
		munmap(j->code_x, CODE_SIZE);
	if (j->meta)
		munmap(j->meta, META_SIZE);
	if (j->blocks)
		munmap(j->blocks, MAX_BLOCKS * sizeof(*j->blocks));
}

/* Pages by the dozen: a fault for each costs the host several times as much. A kernel that cannot do it leaves it to faults. */
#define AHEAD (64u << 10)

/* The next LARGE bytes of code memory as one page of the host's. */
static bool large_ahead(struct jit *j)
{
	u8 *next = j->code_w + j->code_ahead;

	(void)*(volatile u8 *)next; /* where nothing is there is nothing to collapse */
	return !madvise(next, LARGE, MADV_COLLAPSE);
}

void code_ahead(struct jit *j)
{
	if (j->code_used + AHEAD / 4 < j->code_ahead || j->code_ahead + AHEAD > CODE_SIZE)
		return;
	if (!(j->code_ahead % LARGE) && large_ahead(j)) {
		j->code_ahead += LARGE;
		return;
	}
	madvise(j->code_w + j->code_ahead, AHEAD, MADV_POPULATE_WRITE);
	madvise(j->code_x + j->code_ahead, AHEAD, MADV_POPULATE_READ);
	j->code_ahead += AHEAD;
}

void *meta_alloc(struct jit *j, size_t size)
{
	size_t need = (size + 7) & ~(size_t)7;
	void *p;

	if (META_SIZE - j->meta_used < need)
		return NULL;
	if (j->meta_used + need > j->meta_ahead && j->meta_ahead + AHEAD <= META_SIZE) {
		madvise(j->meta + j->meta_ahead, AHEAD, MADV_POPULATE_WRITE);
		j->meta_ahead += AHEAD;
	}
	p = j->meta + j->meta_used;
	j->meta_used += need;
	__builtin_memset(p, 0, size);
	return p;
}
