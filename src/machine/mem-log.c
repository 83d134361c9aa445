/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All of a machine's memory as a list of areas, and the log of who wrote to it: KVM's own for the guest (KVM_GET_DIRTY_LOG,
 * Documentation/virt/kvm/api.rst 4.8), mem.c's for devices. Called by the saving of machines (saver.c).
 */
#include <errno.h>

#include "core.h"
#include "error.h"
#include "mem.h"

enum { PAGE_BITS = 12 };

unsigned mem_areas(const struct guest_mem *mem, struct mem_area *ret)
{
	unsigned n = 0;

	for (unsigned i = 0; i < mem->n_blocks; i++) {
		ret[n] = (struct mem_area){ .host = mem->block[i].host, .size = mem->block[i].size, .slot = i };
		g_snprintf(ret[n++].name, sizeof(ret->name), "ram%u", i);
	}
	for (unsigned i = 0; i < MEM_REGIONS; i++) {
		const struct mem_region *r = mem->region[i];

		if (!r || r->of)
			continue;
		ret[n] = (struct mem_area){ .host = r->host, .size = r->size, .slot = r->slot };
		g_strlcpy(ret[n++].name, r->name, sizeof(ret->name));
	}
	return n;
}

static void each_region(struct guest_mem *mem, bool on)
{
	for (unsigned i = 0; i < MEM_REGIONS; i++) {
		struct mem_region *r = mem->region[i];
		size_t words = r ? (MAX(r->size, MEM_WINDOW_MAX) >> PAGE_BITS) / 64 + 1 : 0;
		g_autofree uint64_t *nobody = g_new0(uint64_t, words);

		if (r && on)
			mem_region_take(r, MEM_LOG_SAVE, nobody);
		else if (r)
			mem_region_end_log(r, MEM_LOG_SAVE);
	}
}

bool mem_log_start(struct guest_mem *mem, GError **error)
{
	mem_log_writes(mem, true);
	each_region(mem, true);
	if (mem_log_guest(mem, true, error))
		return true;
	mem_log_stop(mem);
	return false;
}

void mem_log_stop(struct guest_mem *mem)
{
	mem_log_writes(mem, false);
	each_region(mem, false);
	mem_log_guest(mem, false, NULL);
}

/* Their news becomes the region's. */
static void take_windows(struct guest_mem *mem, const struct mem_region *of)
{
	uint64_t nobody[(MEM_WINDOW_MAX >> PAGE_BITS) / 64 + 1] = {};

	for (unsigned i = 0; i < MEM_REGIONS; i++)
		if (mem->region[i] && mem->region[i]->of == of)
			mem_region_take(mem->region[i], MEM_LOG_SAVE, nobody);
}

bool mem_log_take(struct guest_mem *mem, const struct mem_area *a, uint64_t *bitmap, GError **error)
{
	size_t words = (a->size >> PAGE_BITS) / 64 + 1;
	g_autofree uint64_t *guest = NULL;
	struct kvm_dirty_log log = { .slot = a->slot };
	struct ram_block *b;

	if (a->slot >= MEM_BLOCKS) {
		take_windows(mem, mem->region[a->slot - MEM_BLOCKS]);
		mem_region_take(mem->region[a->slot - MEM_BLOCKS], MEM_LOG_SAVE, bitmap);
		return true;
	}
	b = &mem->block[a->slot];
	log.dirty_bitmap = guest = g_new0(uint64_t, words);
	/* A reset takes the slot away for a moment; all of it is written by that. */
	if (mem->vm_fd >= 0 && kvcore_ioctl(mem->vm_fd, KVM_GET_DIRTY_LOG, &log) < 0 && errno != ENOENT)
		return kv_fail_errno(error, errno, "KVM's log of guest memory");
	for (size_t i = 0; i < words; i++)
		bitmap[i] |= guest[i] | __atomic_exchange_n(&b->written[i], 0, __ATOMIC_ACQ_REL);
	return true;
}
