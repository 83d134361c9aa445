/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See ring-driver.h. */
#include "ring-driver.h"

#include <string.h>

#include <linux/virtio_ring.h>

static void *at(struct ring_driver *r, uint64_t gpa)
{
	return r->ram + (gpa - r->ram_gpa);
}

static uint16_t get16(struct ring_driver *r, uint64_t gpa)
{
	return __atomic_load_n((uint16_t *)at(r, gpa), __ATOMIC_SEQ_CST);
}

static void put16(struct ring_driver *r, uint64_t gpa, uint16_t v)
{
	__atomic_store_n((uint16_t *)at(r, gpa), v, __ATOMIC_SEQ_CST);
}

uint64_t ring_bytes(uint16_t size)
{
	return 16 * size + (6 + 2 * size + 15) / 16 * 16 + (6 + 8 * size + 15) / 16 * 16;
}

void ring_setup(struct ring_driver *r, uint8_t *ram, uint64_t ram_gpa, uint64_t gpa, uint16_t size,
		bool packed, bool event_idx)
{
	memset(r, 0, sizeof(*r));
	r->ram = ram;
	r->ram_gpa = ram_gpa;
	r->size = size;
	r->packed = packed;
	r->event_idx = event_idx;
	r->desc = gpa;
	r->avail = gpa + 16 * size;
	r->used = r->avail + (6 + 2 * size + 15) / 16 * 16;
	r->avail_wrap = r->used_wrap = true;
	r->n_free = size;
	for (unsigned i = 0; i < size; i++)
		r->free_list[i] = size - 1 - i;
	memset(at(r, gpa), 0, ring_bytes(size));
}

static void fill_split(struct vring_desc *d, const struct ring_buf *b, bool more, uint16_t next)
{
	d->addr = b->gpa;
	d->len = b->len;
	d->flags = (b->writable ? VRING_DESC_F_WRITE : 0) | (more ? VRING_DESC_F_NEXT : 0);
	d->next = next;
}

static uint16_t add_split(struct ring_driver *r, const struct ring_buf *bufs, unsigned n)
{
	struct vring_desc *table = at(r, r->desc);
	uint16_t head = r->free_list[r->n_free - 1], id = head;

	for (unsigned i = 0; i < n; i++) {
		uint16_t next = 0;

		r->n_free--;
		if (i + 1 < n)
			next = r->free_list[r->n_free - 1];
		fill_split(&table[id], &bufs[i], i + 1 < n, next);
		r->chain[id] = next;
		id = next;
	}
	r->slots[head] = n;
	return head;
}

static void add_packed(struct ring_driver *r, const struct ring_buf *bufs, unsigned n,
		       unsigned table_entries, uint16_t id)
{
	struct vring_packed_desc *table = at(r, r->desc);
	uint16_t first = r->next_avail, first_flags = 0;

	for (unsigned i = 0; i < n; i++) {
		struct vring_packed_desc *d = &table[r->next_avail];
		uint16_t flags = r->avail_wrap ? 1 << 7 : 1 << 15;

		flags |= bufs[i].writable ? VRING_DESC_F_WRITE : 0;
		flags |= i + 1 < n ? VRING_DESC_F_NEXT : 0;
		flags |= table_entries ? VRING_DESC_F_INDIRECT : 0;
		d->addr = bufs[i].gpa;
		d->len = table_entries ? 16 * table_entries : bufs[i].len;
		d->id = id;
		if (i == 0)
			first_flags = flags;
		else
			put16(r, r->desc + 16 * r->next_avail + 14, flags);
		if (++r->next_avail == r->size) {
			r->next_avail = 0;
			r->avail_wrap = !r->avail_wrap;
		}
	}
	r->slots[id] = n;
	put16(r, r->desc + 16 * first + 14, first_flags);
}

bool ring_add(struct ring_driver *r, const struct ring_buf *bufs, unsigned n,
	      uint64_t indirect_gpa, void *cookie)
{
	struct ring_buf whole = { .gpa = indirect_gpa, .len = 16 * n };
	unsigned need = indirect_gpa ? 1 : n, entries = 0;
	uint16_t id;

	if (r->n_free < need)
		return false;
	for (unsigned i = 0; indirect_gpa && i < n; i++) {
		void *entry = at(r, indirect_gpa + 16 * i);

		if (r->packed) {
			struct vring_packed_desc *d = entry;

			d->addr = bufs[i].gpa;
			d->len = bufs[i].len;
			d->id = 0;
			d->flags = bufs[i].writable ? VRING_DESC_F_WRITE : 0;
		} else {
			fill_split(entry, &bufs[i], i + 1 < n, i + 1);
		}
	}
	if (indirect_gpa) {
		entries = n;
		bufs = &whole;
		n = 1;
	}
	if (r->packed) {
		id = r->free_list[r->n_free - 1];
		/* An id for each descriptor, so that one counter does; only the first is used. */
		for (uint16_t i = 1, prev = id; i < n; i++)
			prev = r->chain[prev] = r->free_list[r->n_free - 1 - i];
		r->n_free -= n;
		add_packed(r, bufs, n, entries, id);
		r->added += n;
	} else {
		id = add_split(r, bufs, n);
		if (entries)
			((struct vring_desc *)at(r, r->desc))[id].flags = VRING_DESC_F_INDIRECT;
		put16(r, r->avail + 4 + 2 * (r->next_avail % r->size), id);
		put16(r, r->avail + 2, ++r->next_avail);
		r->added++;
	}
	r->cookie[id] = cookie;
	return true;
}

bool ring_kick(struct ring_driver *r)
{
	uint16_t old = r->next_avail - r->added;
	bool kick;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (r->packed) {
		uint16_t flags = get16(r, r->used + 2) & 3, off = get16(r, r->used);
		uint16_t event = off & 0x7fff;

		if (off >> 15 != r->avail_wrap)
			event -= r->size;
		kick = flags == 2 ? vring_need_event(event, r->next_avail, old) : flags != 1;
	} else if (r->event_idx) {
		kick = vring_need_event(get16(r, r->used + 4 + 8 * r->size), r->next_avail, old);
	} else {
		kick = !(get16(r, r->used) & VRING_USED_F_NO_NOTIFY);
	}
	kick = kick && r->added;
	r->added = 0;
	return kick;
}

static bool used_waiting(struct ring_driver *r)
{
	uint16_t flags;

	if (!r->packed)
		return get16(r, r->used + 2) != r->next_used;
	flags = get16(r, r->desc + 16 * r->next_used + 14);
	return !!(flags & 1 << 7) == r->used_wrap && !!(flags & 1 << 15) == r->used_wrap;
}

void *ring_get(struct ring_driver *r, uint32_t *ret_len)
{
	uint16_t id, slots;
	void *cookie;

	if (!used_waiting(r))
		return NULL;
	if (r->packed) {
		struct vring_packed_desc *d = at(r, r->desc + 16 * r->next_used);

		id = d->id;
		if (ret_len)
			*ret_len = d->len;
	} else {
		struct vring_used_elem *e = at(r, r->used + 4 + 8 * (r->next_used % r->size));

		id = e->id;
		if (ret_len)
			*ret_len = e->len;
	}
	if (id >= r->size || !r->cookie[id])
		return (void *)-1; /* the device returned what it does not have */
	slots = r->slots[id];
	if (r->packed) {
		r->next_used += slots;
		if (r->next_used >= r->size) {
			r->next_used -= r->size;
			r->used_wrap = !r->used_wrap;
		}
	} else {
		r->next_used++;
	}
	cookie = r->cookie[id];
	r->cookie[id] = NULL;
	for (uint16_t i = 0; i < slots; i++) {
		uint16_t next = r->chain[id];

		r->free_list[r->n_free++] = id;
		id = next;
	}
	return cookie;
}

bool ring_arm(struct ring_driver *r)
{
	if (r->packed) {
		if (r->event_idx)
			put16(r, r->avail, r->next_used | r->used_wrap << 15);
		put16(r, r->avail + 2, r->event_idx ? 2 : 0);
	} else {
		put16(r, r->avail, 0);
		if (r->event_idx)
			put16(r, r->avail + 4 + 2 * r->size, r->next_used);
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return used_waiting(r);
}

void ring_disarm(struct ring_driver *r)
{
	if (r->packed)
		put16(r, r->avail + 2, 1);
	else
		put16(r, r->avail, VRING_AVAIL_F_NO_INTERRUPT);
}
