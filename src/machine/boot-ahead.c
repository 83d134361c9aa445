/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The first memory that a kernel takes is right behind itself and, downward, below its initrd: Linux writes nearly every page
 * there before it starts /init. The host gives it page by page, each a fault that a vCPU waits for; so a thread asks for these
 * pages while the kernel starts. Called by boot.c, ended by machine.c. A host that cannot do it leaves it to the faults.
 */
#include <sys/mman.h>

#include "boot.h"
#include "bytes.h"
#include "role.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Short, since it holds what other threads want who change mappings. */
enum { PIECE = 256 << 10 };

struct boot_ahead {
	GThread *thread;
	gint stop;
	uint8_t *behind, *below; /* where it goes up, down from */
	uint64_t behind_len, below_len;
};

static bool populate(struct boot_ahead *a, void *host)
{
	return !g_atomic_int_get(&a->stop) && !madvise(host, PIECE, MADV_POPULATE_WRITE);
}

static gpointer ahead(gpointer opaque)
{
	struct boot_ahead *a = opaque;

	kv_role_enter("boot");
	/* What lies below the initrd is taken before there are any other allocations. */
	for (uint64_t n = PIECE; n <= a->below_len; n += PIECE)
		if (!populate(a, a->below - n))
			return NULL;
	for (uint64_t n = 0; n + PIECE <= a->behind_len; n += PIECE)
		if (!populate(a, a->behind + n))
			return NULL;
	return NULL;
}

/* Of guests with little memory an eighth at most, and never more than a kernel of this size will take. */
struct boot_ahead *boot_ahead_new(const struct boot *b)
{
	uint64_t size = MIN(b->kernel_end - BOOT_KERNEL_MIN, b->m->memory / 8);
	uint64_t behind = align_up(b->kernel_end, PIECE), below = align_down(b->initrd_at, PIECE);
	struct boot_ahead *a = g_new0(struct boot_ahead, 1);

	a->behind_len = align_down(size / 8 * 3, PIECE);
	a->behind = gpa_ptr(b->m->core.mem, behind, a->behind_len);
	if (!a->behind)
		a->behind_len = 0;
	a->below_len = align_down(size / 6, PIECE);
	if (below < behind + a->behind_len + a->below_len)
		a->below_len = 0;
	a->below = a->below_len ? (uint8_t *)gpa_ptr(b->m->core.mem, below - a->below_len, a->below_len) : NULL;
	if (a->below)
		a->below += a->below_len;
	else
		a->below_len = 0;
	return a;
}

void boot_ahead_start(struct boot_ahead *a)
{
	if (!a->thread && (a->behind_len || a->below_len))
		a->thread = g_thread_try_new("kv-ahead", ahead, a, NULL);
}

void boot_ahead_free(struct boot_ahead *a)
{
	g_atomic_int_set(&a->stop, 1);
	if (a->thread)
		g_thread_join(a->thread);
	g_free(a);
}
