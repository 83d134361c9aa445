/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory of the translator, one memfd: host code, mapped twice, writable and executable but never both (W^X), and bump
 * allocated records behind it. All of it is reset at once by jit_flush(). Called by run.c.
 */
#include <sys/mman.h>
#include <unistd.h>
#include "../sys.h"
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

/* At a multiple of LARGE, so that the host can use large pages: they cost it a tenth, and code misses its TLB less often. */
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
	if (ftruncate(fd, CODE_SIZE + META_SIZE) < 0) {
		close(fd);
		return false;
	}
	j->code_w = map_code(fd, PROT_READ | PROT_WRITE);
	j->code_x = map_code(fd, PROT_READ | PROT_EXEC);
	j->meta = mmap(NULL, META_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, CODE_SIZE);
	if (j->meta == MAP_FAILED)
		j->meta = NULL;
	close(fd);
	return j->code_w && j->code_x && j->meta;
}

/*
 * Code memory and records get their pages from a thread of their own, always one LARGE piece ahead: what the host takes for
 * them, a third of what translating takes, is not the guest's time. Who comes too early gets pages by faults.
 */
#define AHEAD_STOP UINT32_MAX
#define AHEAD_FROM (32u << 10) /* the first instructions do not wait for a piece: while it is made its pages are locked */
#define META_PIECE (LARGE / 4) /* the records of a piece of code, most of them: what is not used is lost */

static void prepare(struct jit *j, u32 piece)
{
	u8 *code = j->code_w + piece * (size_t)LARGE;
	size_t meta = piece * (size_t)META_PIECE;

	(void)*(volatile u8 *)code; /* where nothing is there is nothing to collapse */
	if (madvise(code, LARGE, MADV_COLLAPSE)) {
		madvise(code, LARGE, MADV_POPULATE_WRITE);
		madvise(j->code_x + piece * (size_t)LARGE, LARGE, MADV_POPULATE_READ);
	}
	if (meta + META_PIECE <= META_SIZE)
		madvise(j->meta + meta, META_PIECE, MADV_POPULATE_WRITE);
}

static void *ahead_thread(void *arg)
{
	struct jit *j = arg;
	u32 done = 0, wanted;

	while ((wanted = __atomic_load_n(&j->pieces_wanted, __ATOMIC_ACQUIRE)) != AHEAD_STOP)
		if (done < wanted)
			prepare(j, done++);
		else
			sys_futex_wait(&j->pieces_wanted, wanted, UINT64_MAX);
	return NULL;
}

static void want_pieces(struct jit *j, u32 pieces)
{
	__atomic_store_n(&j->pieces_wanted, pieces, __ATOMIC_RELEASE);
	sys_futex_wake(&j->pieces_wanted, 1);
}

void code_ahead(struct jit *j)
{
	u32 pieces = (j->code_used + LARGE / 2) / LARGE + 1;

	if (unlikely(j->code_used < AHEAD_FROM))
		return;
	if (unlikely(pieces > __atomic_load_n(&j->pieces_wanted, __ATOMIC_RELAXED)) && pieces <= CODE_SIZE / LARGE)
		want_pieces(j, pieces);
}

static void ahead_start(struct jit *j)
{
	j->has_ahead = !thread_start(&j->ahead, "kv-code", ahead_thread, j);
}

static void ahead_stop(struct jit *j)
{
	if (!j->has_ahead)
		return;
	want_pieces(j, AHEAD_STOP);
	thread_join(&j->ahead);
}

void *meta_alloc(struct jit *j, size_t size)
{
	size_t need = (size + 7) & ~(size_t)7;
	void *p;

	if (META_SIZE - j->meta_used < need)
		return NULL;
	p = j->meta + j->meta_used;
	j->meta_used += need;
	__builtin_memset(p, 0, size);
	return p;
}

bool code_create(struct jit *j)
{
	j->blocks = map_lazy(MAX_BLOCKS * sizeof(*j->blocks));
	if (!code_map(j) || !j->blocks)
		return false;
	ahead_start(j);
	return true;
}

void code_destroy(struct jit *j)
{
	ahead_stop(j);
	if (j->code_w)
		munmap(j->code_w, CODE_SIZE);
	if (j->code_x)
		munmap(j->code_x, CODE_SIZE);
	if (j->meta)
		munmap(j->meta, META_SIZE);
	if (j->blocks)
		munmap(j->blocks, MAX_BLOCKS * sizeof(*j->blocks));
}
