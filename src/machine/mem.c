/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See mem.h. Block n is memslot n of the VM, the regions have the slots above them. */
#include "mem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "bytes.h"
#include "core.h"
#include "error.h"
#include "mem-backing.h"
#include "mem-lost.h"

enum { PAGE_BITS = 12, HUGE_PAGE = 2 << 20 };
#define HIGH (1ull << 32)

struct guest_mem *mem_new(int vm_fd)
{
	struct guest_mem *mem = g_new0(struct guest_mem, 1);

	mem->vm_fd = vm_fd;
	if (vm_fd >= 0)
		kvcore_report_writes(vm_fd); /* mem_written() does */
	return mem;
}

static bool set_slot(struct guest_mem *mem, unsigned n, bool on, GError **error)
{
	const struct ram_block *b = &mem->block[n];
	struct kvm_userspace_memory_region slot = {
		.slot = n,
		.flags = (b->readonly ? KVM_MEM_READONLY : 0) | (mem->log_guest ? KVM_MEM_LOG_DIRTY_PAGES : 0),
		.guest_phys_addr = b->gpa,
		.memory_size = on ? b->size : 0,
		.userspace_addr = (uintptr_t)b->host,
	};

	if (mem->vm_fd < 0 || !kvcore_ioctl(mem->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot))
		return true;
	return kv_fail_errno(error, errno, "KVM does not take guest memory at 0x%"
			     G_GINT64_MODIFIER "x", b->gpa);
}

void mem_free(struct guest_mem *mem)
{
	if (!mem)
		return;
	for (unsigned i = 0; i < mem->n_blocks; i++) {
		if (!mem->backing)
			munmap(mem->block[i].host, mem->block[i].size);
		g_free(mem->block[i].written);
	}
	g_free(mem);
}

/* Aligned like the guest's own large pages, so that the host can back them by its own. */
static void *reserve(uint64_t size)
{
	uint64_t total = size + HUGE_PAGE;
	uint8_t *p = mmap(NULL, total, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *start;

	if (p == MAP_FAILED)
		return p;
	start = (uint8_t *)align_up((uintptr_t)p, HUGE_PAGE);
	if (start > p)
		munmap(p, start - p);
	if (p + total > start + size)
		munmap(start + size, p + total - (start + size));
	return start;
}

void mem_set_backing(struct guest_mem *mem, const struct mem_backing *backing, uint64_t low)
{
	mem->backing = backing;
	mem->low = low;
}

static void *take_backing(const struct guest_mem *mem, uint64_t gpa, uint64_t size, GError **error)
{
	const struct mem_backing *b = mem->backing;
	uint64_t at = gpa < HIGH ? gpa : gpa - HIGH + mem->low;

	if (at <= b->size && size <= b->size - at)
		return b->host + at;
	kv_fail(error, KV_ERROR_INVALID, "the memory backend has no memory for 0x%" G_GINT64_MODIFIER "x", gpa);
	return NULL;
}

/* NULL with an error. */
static void *take_ram(const struct guest_mem *mem, uint64_t gpa, uint64_t size, GError **error)
{
	void *host = mem->backing ? take_backing(mem, gpa, size, error) : reserve(size);

	if (host != MAP_FAILED)
		return host;
	kv_fail_errno(error, errno, "%" G_GUINT64_FORMAT " MiB of guest memory", size >> 20);
	return NULL;
}

bool mem_add_ram(struct guest_mem *mem, uint64_t gpa, uint64_t size, GError **error)
{
	struct ram_block *b = &mem->block[mem->n_blocks];
	uint64_t end;

	if (mem->n_blocks == G_N_ELEMENTS(mem->block))
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "more than %d blocks of guest memory", MEM_BLOCKS);
	if (!size || size > INT64_MAX || (gpa | size) & ((1 << PAGE_BITS) - 1) ||
	    !checked_add(gpa, size, &end))
		return kv_fail(error, KV_ERROR_INVALID, "guest memory of 0x%" G_GINT64_MODIFIER
			       "x bytes at 0x%" G_GINT64_MODIFIER "x", size, gpa);
	for (unsigned i = 0; i < mem->n_blocks; i++)
		if (gpa < mem->block[i].gpa + mem->block[i].size && mem->block[i].gpa < end)
			return kv_fail(error, KV_ERROR_INVALID, "guest memory at 0x%"
				       G_GINT64_MODIFIER "x overlaps other memory", gpa);
	*b = (struct ram_block){ .gpa = gpa, .size = size, .host = take_ram(mem, gpa, size, error) };
	if (!b->host)
		return false;
	if (!set_slot(mem, mem->n_blocks, true, error)) {
		if (!mem->backing)
			munmap(b->host, size);
		return false;
	}
	mem->n_blocks++;
	return true;
}

/* What came from a file would come again with MADV_DONTNEED. */
static bool clear_block(const struct guest_mem *mem, struct ram_block *b)
{
	if (mem->backing) {
		mem_backing_clear(mem->backing, b->host, b->size);
		return true;
	}
	if (!b->mapped)
		return madvise(b->host, b->size, MADV_DONTNEED) == 0;
	b->mapped = mmap(b->host, b->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
			 0) == MAP_FAILED;
	return !b->mapped;
}

bool mem_can_map_file(const struct guest_mem *mem)
{
	return !mem->backing;
}

bool mem_map_file(struct guest_mem *mem, const struct mem_area *a, int fd, uint64_t offset, GError **error)
{
	struct ram_block *b = &mem->block[a->slot];

	if (mmap(b->host, b->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, fd, (off_t)offset) ==
	    MAP_FAILED)
		return kv_fail_errno(error, errno, "guest memory cannot be mapped from the file");
	mem_lost_watch(b->host, b->size);
	b->mapped = true;
	return true;
}

void mem_hold(struct guest_mem *mem, bool on)
{
	__atomic_store_n(&mem->held, on, __ATOMIC_SEQ_CST);
}

bool mem_discard(struct guest_mem *mem, uint64_t gpa, uint64_t len)
{
	void *host = gpa_ptr(mem, gpa, len);

	if (!host || __atomic_load_n(&mem->held, __ATOMIC_SEQ_CST))
		return false;
	if (mem->backing ? !mem_backing_discard(mem->backing, host, len) : madvise(host, len, MADV_DONTNEED) != 0)
		return false;
	mem_written(mem, gpa, len);
	return true;
}

bool mem_clear(struct guest_mem *mem, GError **error)
{
	for (unsigned i = 0; i < mem->n_blocks; i++) {
		struct ram_block *b = &mem->block[i];

		/* Without the slot no CPU engine can keep anything it derived from the bytes. */
		if (!set_slot(mem, i, false, error))
			return false;
		if (!clear_block(mem, b))
			return kv_fail_errno(error, errno, "guest memory is not cleared");
		if (!set_slot(mem, i, true, error))
			return false;
		mem_written(mem, b->gpa, b->size);
	}
	return true;
}

/* The block with gpa; *ret_room is the number of bytes from there to its end. */
static const struct ram_block *find(const struct guest_mem *mem, uint64_t gpa, uint64_t *ret_room)
{
	for (unsigned i = 0; i < mem->n_blocks; i++) {
		const struct ram_block *b = &mem->block[i];

		if (gpa >= b->gpa && gpa - b->gpa < b->size) {
			*ret_room = b->size - (gpa - b->gpa);
			return b;
		}
	}
	return NULL;
}

void *gpa_ptr(const struct guest_mem *mem, uint64_t gpa, uint64_t len)
{
	uint64_t room;
	const struct ram_block *b = find(mem, gpa, &room);

	return b && len && len <= room ? b->host + (gpa - b->gpa) : NULL;
}

bool gpa_read(const struct guest_mem *mem, uint64_t gpa, void *data, uint64_t len)
{
	uint64_t room, at = gpa, left = len;
	uint8_t *to = data;

	for (; left; at += room, left -= room) {
		if (!find(mem, at, &room))
			return false;
		room = MIN(room, left);
	}
	for (at = gpa, left = len; left; at += room, left -= room, to += room) {
		const struct ram_block *b = find(mem, at, &room);

		room = MIN(room, left);
		memcpy(to, b->host + (at - b->gpa), room);
	}
	return true;
}

bool gpa_write(struct guest_mem *mem, uint64_t gpa, const void *data, uint64_t len)
{
	const uint8_t *from = data;
	uint64_t room;

	for (; len; gpa += room, len -= room, from += room) {
		const struct ram_block *b = find(mem, gpa, &room);

		if (!b || b->readonly)
			return false;
		room = MIN(room, len);
		memcpy(b->host + (gpa - b->gpa), from, room);
		mem_written(mem, gpa, room);
	}
	return true;
}

/* Who writes may be on its way through mem_written(): the bits stay until the memory goes. */
void mem_log_writes(struct guest_mem *mem, bool on)
{
	for (unsigned i = 0; on && i < mem->n_blocks; i++) {
		struct ram_block *b = &mem->block[i];
		size_t words = (b->size >> PAGE_BITS) / 64 + 1;

		if (!b->written)
			b->written = g_new0(uint64_t, words);
		for (size_t w = 0; w < words; w++)
			__atomic_store_n(&b->written[w], 0, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&mem->log_writes, on, __ATOMIC_SEQ_CST);
}

void mem_written(struct guest_mem *mem, uint64_t gpa, uint64_t len)
{
	uint64_t room;
	const struct ram_block *b = find(mem, gpa, &room);

	if (!len || !b)
		return;
	len = MIN(len, room);
	if (mem->vm_fd >= 0)
		kvcore_memory_written(mem->vm_fd, gpa, len);
	if (!__atomic_load_n(&mem->log_writes, __ATOMIC_SEQ_CST))
		return;
	for (uint64_t page = (gpa - b->gpa) >> PAGE_BITS,
	     last = (gpa - b->gpa + len - 1) >> PAGE_BITS; page <= last; page++)
		__atomic_fetch_or(&b->written[page / 64], 1ull << page % 64, __ATOMIC_RELEASE);
}

bool mem_take_written(struct guest_mem *mem, uint64_t gpa)
{
	uint64_t room, page, bit;
	const struct ram_block *b = find(mem, gpa, &room);

	if (!b || !mem->log_writes)
		return false;
	page = (gpa - b->gpa) >> PAGE_BITS;
	bit = 1ull << page % 64;
	return __atomic_fetch_and(&b->written[page / 64], ~bit, __ATOMIC_ACQUIRE) & bit;
}

bool mem_log_guest(struct guest_mem *mem, bool on, GError **error)
{
	mem->log_guest = on;
	for (unsigned i = 0; i < mem->n_blocks; i++)
		if (!set_slot(mem, i, true, error))
			return false;
	return true;
}

uint64_t mem_total(const struct guest_mem *mem)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < mem->n_blocks; i++)
		total += mem->block[i].size;
	return total;
}

/* ---- regions ---- */

/* A window's size changes: as many as its largest needs. */
static size_t region_words(const struct mem_region *r)
{
	return ((r->of ? MEM_WINDOW_MAX : r->size) >> PAGE_BITS) / 64 + 1;
}

/* Holds lock. Flags of a slot that is there may change, its place only by taking it away. */
static bool set_region(struct mem_region *r, bool on, GError **error)
{
	struct kvm_userspace_memory_region slot = {
		.slot = r->slot,
		.flags = (r->readonly ? KVM_MEM_READONLY : 0) | (r->logged ? KVM_MEM_LOG_DIRTY_PAGES : 0),
		.guest_phys_addr = r->gpa,
		.memory_size = on ? r->size : 0,
		.userspace_addr = (uintptr_t)r->host,
	};

	if (r->mem->vm_fd < 0 || !kvcore_ioctl(r->mem->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot))
		return true;
	return kv_fail_errno(error, errno, "%s: KVM does not take memory at 0x%" G_GINT64_MODIFIER "x", r->name, r->gpa);
}

/* What was written through a window is news of the region for the one who saves it; a painter asks the window itself. */
static void tell_base(struct mem_region *w, const uint64_t *bitmap)
{
	uint64_t first = (uint64_t)(w->host - w->of->host) >> PAGE_BITS;

	g_mutex_lock(&w->of->lock);
	for (uint64_t page = 0; w->of->dirty[MEM_LOG_SAVE] && page < w->size >> PAGE_BITS; page++)
		if (bitmap[page / 64] >> page % 64 & 1)
			w->of->dirty[MEM_LOG_SAVE][(first + page) / 64] |= 1ull << (first + page) % 64;
	g_mutex_unlock(&w->of->lock);
}

/* Holds lock. KVM's log is taken once, and is news to everybody who logs. */
static void fetch_region(struct mem_region *r)
{
	size_t words = region_words(r);
	g_autofree uint64_t *bitmap = NULL;
	struct kvm_dirty_log log = { .slot = r->slot };

	if (!r->logged || !r->mapped || r->mem->vm_fd < 0)
		return;
	log.dirty_bitmap = bitmap = g_new0(uint64_t, words);
	if (kvcore_ioctl(r->mem->vm_fd, KVM_GET_DIRTY_LOG, &log) < 0)
		return;
	for (int who = 0; who < MEM_LOGS; who++)
		for (size_t i = 0; r->dirty[who] && i < words; i++)
			r->dirty[who][i] |= bitmap[i];
	if (r->of)
		tell_base(r, bitmap);
}

/* Without bytes. */
static struct mem_region *add_region(struct guest_mem *mem, const char *name, GError **error)
{
	unsigned n = 0;
	struct mem_region *r;

	while (n < MEM_REGIONS && mem->region[n])
		n++;
	if (n == MEM_REGIONS) {
		kv_fail(error, KV_ERROR_UNSUPPORTED, "%s: more than %d pieces of devices' memory", name, MEM_REGIONS);
		return NULL;
	}
	r = g_new0(struct mem_region, 1);
	*r = (struct mem_region){ .mem = mem, .slot = MEM_BLOCKS + n, .name = g_strdup(name) };
	g_mutex_init(&r->lock);
	mem->region[n] = r;
	return r;
}

struct mem_region *mem_region_new(struct guest_mem *mem, const char *name, uint64_t size, bool readonly, GError **error)
{
	struct mem_region *r = add_region(mem, name, error);
	uint8_t *host = r ? reserve(size) : NULL;

	if (host == MAP_FAILED) {
		kv_fail_errno(error, errno, "%s: %" G_GUINT64_FORMAT " KiB of memory", name, size >> 10);
		mem_region_free(r);
		return NULL;
	}
	if (r) {
		r->size = size;
		r->readonly = readonly;
		r->host = host;
	}
	return r;
}

struct mem_region *mem_window_new(struct mem_region *of, const char *name, GError **error)
{
	struct mem_region *w = add_region(of->mem, name, error);

	if (w)
		w->of = of;
	return w;
}

void mem_region_free(struct mem_region *r)
{
	if (!r)
		return;
	mem_region_unmap(r);
	r->mem->region[r->slot - MEM_BLOCKS] = NULL;
	if (r->host && !r->of)
		munmap(r->host, r->size);
	g_mutex_clear(&r->lock);
	for (int who = 0; who < MEM_LOGS; who++)
		g_free(r->dirty[who]);
	g_free(r->name);
	g_free(r);
}

/* Holds lock. */
static void unmap_region(struct mem_region *r)
{
	fetch_region(r);
	if (r->mapped)
		set_region(r, false, NULL);
	r->mapped = false;
}

bool mem_region_map(struct mem_region *r, uint64_t gpa, GError **error)
{
	bool ok = true;

	g_mutex_lock(&r->lock);
	if (!r->mapped || r->gpa != gpa) {
		unmap_region(r);
		r->gpa = gpa;
		r->mapped = ok = set_region(r, true, error);
	}
	g_mutex_unlock(&r->lock);
	return ok;
}

bool mem_window_map(struct mem_region *w, uint64_t offset, uint64_t size, uint64_t gpa, GError **error)
{
	bool ok = true;

	if (size > MEM_WINDOW_MAX)
		return kv_fail(error, KV_ERROR_INVALID, "%s: a window of more than %d KiB", w->name, MEM_WINDOW_MAX >> 10);
	g_mutex_lock(&w->lock);
	if (!w->mapped || w->gpa != gpa || w->size != size || w->host != w->of->host + offset) {
		unmap_region(w);
		w->gpa = gpa;
		w->size = size;
		w->host = w->of->host + offset;
		w->mapped = ok = set_region(w, true, error);
	}
	g_mutex_unlock(&w->lock);
	return ok;
}

void mem_region_unmap(struct mem_region *r)
{
	g_mutex_lock(&r->lock);
	unmap_region(r);
	g_mutex_unlock(&r->lock);
}

void mem_region_written(struct mem_region *r, uint64_t offset, uint64_t len)
{
	uint64_t *dirty;

	g_mutex_lock(&r->lock);
	if (r->mapped && r->mem->vm_fd >= 0)
		kvcore_memory_written(r->mem->vm_fd, r->gpa + offset, len);
	dirty = r->dirty[MEM_LOG_SAVE];
	for (uint64_t page = offset >> PAGE_BITS; dirty && len && page <= (offset + len - 1) >> PAGE_BITS; page++)
		dirty[page / 64] |= 1ull << page % 64;
	g_mutex_unlock(&r->lock);
}

bool mem_region_take(struct mem_region *r, enum mem_log who, uint64_t *bitmap)
{
	size_t words = region_words(r);
	bool any = false;

	g_mutex_lock(&r->lock);
	fetch_region(r);
	if (!r->dirty[who])
		memset(r->dirty[who] = g_new(uint64_t, words), 0xff, words * sizeof(*bitmap));
	if (!r->logged) {
		r->logged = true;
		if (r->mapped)
			set_region(r, true, NULL);
	}
	for (size_t i = 0; i < words; i++) {
		bitmap[i] |= r->dirty[who][i];
		any |= r->dirty[who][i] != 0;
	}
	memset(r->dirty[who], 0, words * sizeof(*bitmap));
	g_mutex_unlock(&r->lock);
	return any;
}

void mem_region_end_log(struct mem_region *r, enum mem_log who)
{
	g_mutex_lock(&r->lock);
	fetch_region(r);
	g_clear_pointer(&r->dirty[who], g_free);
	if (r->logged && !r->dirty[MEM_LOG_DISPLAY] && !r->dirty[MEM_LOG_SAVE]) {
		r->logged = false;
		if (r->mapped)
			set_region(r, true, NULL);
	}
	g_mutex_unlock(&r->lock);
}

bool mem_region_watch(struct mem_region *r, int eventfd)
{
	bool watched;

	g_mutex_lock(&r->lock);
	watched = !r->mapped || r->mem->vm_fd < 0 || !kvcore_watch_dirty(r->mem->vm_fd, r->slot, eventfd);
	g_mutex_unlock(&r->lock);
	return watched;
}

bool mem_region_take_dirty(struct mem_region *r, uint64_t *bitmap)
{
	memset(bitmap, 0, region_words(r) * sizeof(*bitmap));
	return mem_region_take(r, MEM_LOG_DISPLAY, bitmap);
}
