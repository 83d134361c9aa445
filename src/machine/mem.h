/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's memory: RAM blocks in host memory, told to KVM as memslots. The only way from a
 * guest-physical address to a host pointer. The map is fixed before the vCPUs start; after that
 * every function here may be called from any thread. Regions, below, come and go: a card's memory,
 * ROMs, flash; devices do no DMA there.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

struct mem_backing;

struct ram_block {
	uint64_t gpa, size; /* bytes, page multiples */
	uint8_t *host;
	bool readonly;
	bool mapped; /* a saved machine's file is behind it, for what was not written since */
	uint64_t *written; /* a bit a page, atomic; from the first mem_log_writes() on */
};

enum { MEM_BLOCKS = 8, MEM_REGIONS = 32, MEM_WINDOW_MAX = 128 << 10, MEM_AREAS = MEM_BLOCKS + MEM_REGIONS };

/* Who wants to know of changes of a region: a display, the saving of the machine. */
enum mem_log { MEM_LOG_DISPLAY, MEM_LOG_SAVE, MEM_LOGS };

/* Memory that a device owns and the guest sees while it is mapped. */
struct mem_region {
	struct guest_mem *mem;
	char *name;
	uint64_t size; /* bytes, a page multiple */
	uint8_t *host;
	unsigned slot;
	bool readonly; /* a guest's write is an MMIO exit, for who has the addresses on the bus */
	struct mem_region *of; /* a window's: whose bytes it shows; else NULL */
	GMutex lock;
	bool mapped, logged;
	uint64_t gpa;
	uint64_t *dirty[MEM_LOGS]; /* what each of those has not taken yet; NULL: it does not log */
};

struct guest_mem {
	int vm_fd; /* -1: no KVM (tests) */
	unsigned n_blocks;
	bool log_writes; /* atomic; as is: */
	bool log_guest;	 /* KVM's log of all RAM is on */
	bool held;	 /* atomic; mem_hold() */
	const struct mem_backing *backing; /* NULL: RAM is anonymous, and our own */
	uint64_t low;	 /* bytes of it that lie below 4 GiB */
	struct ram_block block[MEM_BLOCKS];
	struct mem_region *region[MEM_REGIONS]; /* by slot - MEM_BLOCKS */
};

struct guest_mem *mem_new(int vm_fd);
void mem_free(struct guest_mem *mem); /* after the VM; NULL is fine */
/*
 * What RAM is made of, before there is any; it stays the caller's. Its first bytes, low of them, are those from address 0 on, the
 * rest those from 4 GiB on.
 */
void mem_set_backing(struct guest_mem *mem, const struct mem_backing *backing, uint64_t low);
/* RAM, lazily backed, anonymous but for mem_set_backing(); next free memslot. */
bool mem_add_ram(struct guest_mem *mem, uint64_t gpa, uint64_t size, GError **error);
/* All RAM is zero again and given back to the host; vCPUs and devices stand still. */
bool mem_clear(struct guest_mem *mem, GError **error);

/* Host address of [gpa, gpa + len); NULL when not wholly in one RAM block, and for len 0. */
void *gpa_ptr(const struct guest_mem *mem, uint64_t gpa, uint64_t len);
/* Copies; false (and nothing, or for write a part, copied) when some byte is not RAM. */
bool gpa_read(const struct guest_mem *mem, uint64_t gpa, void *data, uint64_t len);
bool gpa_write(struct guest_mem *mem, uint64_t gpa, const void *data, uint64_t len);
/*
 * A device wrote [gpa, gpa + len) through a pointer, which KVM's dirty log does not see, nor would code be dropped that was
 * translated from these bytes. Afterwards, but before the guest can learn that the bytes are there.
 */
void mem_written(struct guest_mem *mem, uint64_t gpa, uint64_t len);
/* Start (all pages clean) or stop the log of such writes. */
void mem_log_writes(struct guest_mem *mem, bool on);
/* Whether the page of gpa was written since the log started or this was last asked. */
bool mem_take_written(struct guest_mem *mem, uint64_t gpa);
/* KVM's log of the guest's own writes to RAM, for mem-log.c. */
bool mem_log_guest(struct guest_mem *mem, bool on, GError **error);
uint64_t mem_total(const struct guest_mem *mem);

/* Zeroes, and nowhere yet. Main thread, as is free, which unmaps it. */
struct mem_region *mem_region_new(struct guest_mem *mem, const char *name, uint64_t size, bool readonly, GError **error);
void mem_region_free(struct mem_region *r); /* NULL is fine */
/* To gpa, from wherever it was: false, and it is nowhere, when something else is there. The guest loses nothing of its bytes. */
bool mem_region_map(struct mem_region *r, uint64_t gpa, GError **error);
void mem_region_unmap(struct mem_region *r);
/* A second place where the guest has some bytes of a region, which lives longer. Freed as a region; the log is its own. */
struct mem_region *mem_window_new(struct mem_region *of, const char *name, GError **error);
/* [offset, offset + size) of the region to gpa, all page multiples; as mem_region_map(). */
bool mem_window_map(struct mem_region *w, uint64_t offset, uint64_t size, uint64_t gpa, GError **error);
/*
 * Bytes that we changed ourselves while it is mapped: the guest must not run code that was translated from the old ones.
 */
void mem_region_written(struct mem_region *r, uint64_t offset, uint64_t len);
/* The guest's writes, a bit a page, since the log was started or last taken: false when there are none. Starts the log. */
bool mem_region_take_dirty(struct mem_region *r, uint64_t *bitmap);
/* The same for one of those who log, added to the bitmap; bytes that we wrote are MEM_LOG_SAVE's alone. */
bool mem_region_take(struct mem_region *r, enum mem_log who, uint64_t *bitmap);
void mem_region_end_log(struct mem_region *r, enum mem_log who);
/*
 * The guest's next write to a page that it has not written since the log was last taken adds 1 to the eventfd, once; memory
 * that is nowhere does not change. Take the log again afterwards. False: KVM cannot tell. The eventfd outlives the region.
 */
bool mem_region_watch(struct mem_region *r, int eventfd);

/* ---- all of it, to be saved and loaded: RAM blocks, then regions, each a name and bytes (mem-log.c) ---- */
struct mem_area {
	char name[32];
	uint8_t *host;
	uint64_t size; /* bytes, a page multiple */
	unsigned slot;
};
unsigned mem_areas(const struct guest_mem *mem, struct mem_area *ret); /* MEM_AREAS of them at most */
/*
 * The log of who wrote what, guest or device, in all areas: all pages are clean when it starts. The main thread; the machine may
 * run. No region is made or freed meanwhile.
 */
bool mem_log_start(struct guest_mem *mem, GError **error);
void mem_log_stop(struct guest_mem *mem);
/* Adds the pages written since the start or the last call to the bitmap, a bit a page. Any one thread. */
bool mem_log_take(struct guest_mem *mem, const struct mem_area *a, uint64_t *bitmap, GError **error);
/*
 * The block's bytes are those of a file from now on, as far as nobody has written to them (MAP_PRIVATE): the file must stay as
 * long as the memory. vCPUs have not run since the memory was added or cleared.
 */
bool mem_can_map_file(const struct guest_mem *mem); /* it is anonymous */
bool mem_map_file(struct guest_mem *mem, const struct mem_area *a, int fd, uint64_t offset, GError **error);
/*
 * Somebody saves pages as they were, write-protected: mem_discard() does nothing meanwhile, and mem_clear() is for after that.
 */
void mem_hold(struct guest_mem *mem, bool on);
/* Pages to the host; the guest finds zeroes there, or what they were at some time. Any thread. False: they stay. */
bool mem_discard(struct guest_mem *mem, uint64_t gpa, uint64_t len);
