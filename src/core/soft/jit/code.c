/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory of the translator: host code in a memfd mapped twice, writable and executable but never both (W^X), and bump
 * allocated records. All of it is reset at once by jit_flush(). Called by run.c.
 */
#include <sys/mman.h>
#include <unistd.h>
#include "internal.h"

static void *map_lazy(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static bool code_map(struct jit *j)
{
	int fd = memfd_create("kvcore-code", MFD_CLOEXEC);
	void *w, *x;

	if (fd < 0)
		return false;
	if (ftruncate(fd, CODE_SIZE) < 0) {
		close(fd);
		return false;
	}
	w = mmap(NULL, CODE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	x = mmap(NULL, CODE_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	close(fd);
	j->code_w = w == MAP_FAILED ? NULL : w;
	j->code_x = x == MAP_FAILED ? NULL : x;
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

void code_ahead(struct jit *j)
{
	if (j->code_used + AHEAD / 4 < j->code_ahead || j->code_ahead + AHEAD > CODE_SIZE)
		return;
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
