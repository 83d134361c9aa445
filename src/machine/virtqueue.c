/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The walker of guest rings: split rings, packed rings, indirect tables, event suppression.
 * See virtqueue.h for the contract. Three rules hold everywhere below:
 *  - a value in guest memory is copied once, behind a compiler barrier, and only the copy is
 *    checked and used;
 *  - a loop over guest data has a bound that does not come from the guest;
 *  - guest memory is reached through pointers of gpa_ptr() only, and each byte we write there
 *    is reported to mem_written() here, in mark_written().
 */
#include "virtqueue.h"

#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "mem.h"

enum {
	SPLIT_HEADER = 4, /* flags and index in front of both split rings */
	EVENT_LEN = 4,	  /* packed: one event suppression structure */
	PACKED_AVAIL = 1 << VRING_PACKED_DESC_F_AVAIL,
	PACKED_USED = 1 << VRING_PACKED_DESC_F_USED,
};

static uint16_t load16(const uint8_t *p)
{
	return GUINT16_FROM_LE(__atomic_load_n((const uint16_t *)(const void *)p,
					       __ATOMIC_ACQUIRE));
}

static void store16(uint8_t *p, uint16_t v)
{
	__atomic_store_n((uint16_t *)(void *)p, GUINT16_TO_LE(v), __ATOMIC_RELEASE);
}

/* A private copy of 16 bytes: a split or a packed descriptor. */
static void copy_desc(void *dst, const uint8_t *src)
{
	memcpy(dst, src, 16);
	__asm__ volatile("" ::: "memory");
}

static void mark_written(struct virtqueue *vq, uint64_t gpa, uint64_t len)
{
	mem_written(vq->mem, gpa, len);
}

void virtq_init(struct virtqueue *vq, struct guest_mem *mem, uint16_t index, uint16_t size_max)
{
	memset(vq, 0, sizeof(*vq));
	g_mutex_init(&vq->lock);
	vq->mem = mem;
	vq->index = index;
	vq->size_max = size_max;
	virtq_reset(vq);
}

void virtq_destroy(struct virtqueue *vq)
{
	g_free(vq->iov);
	g_free(vq->gpa);
	g_mutex_clear(&vq->lock);
}

void virtq_reset(struct virtqueue *vq)
{
	virtq_stop(vq);
	vq->size = vq->size_max;
	vq->vector = 0xffff;
	vq->enabled = false;
	vq->desc = vq->avail = vq->used = 0;
	vq->next_avail = vq->next_used = 0;
	vq->avail_wrap = vq->used_wrap = true;
	vq->broken = false;
	vq->why = NULL;
	vq->in_use = 0;
}

void virtq_break(struct virtqueue *vq, const char *why)
{
	if (!vq->broken) {
		vq->broken = true;
		vq->why = why;
	}
}

static uint8_t *resolve(struct virtqueue *vq, uint64_t gpa, uint64_t len, unsigned align)
{
	return gpa % align ? NULL : gpa_ptr(vq->mem, gpa, len);
}

bool virtq_start(struct virtqueue *vq, uint64_t features)
{
	unsigned n = vq->size;

	vq->packed = features >> VIRTIO_F_RING_PACKED & 1;
	vq->event_idx = features >> VIRTIO_RING_F_EVENT_IDX & 1;
	vq->indirect = features >> VIRTIO_RING_F_INDIRECT_DESC & 1;
	if (n == 0 || n > vq->size_max || (!vq->packed && (n & (n - 1)))) {
		virtq_break(vq, "ring size is not allowed");
		return false;
	}
	vq->desc_ptr = resolve(vq, vq->desc, 16 * n, 16);
	if (vq->packed) {
		vq->avail_ptr = resolve(vq, vq->avail, EVENT_LEN, 4);
		vq->used_ptr = resolve(vq, vq->used, EVENT_LEN, 4);
	} else {
		vq->avail_ptr = resolve(vq, vq->avail, SPLIT_HEADER + 2 * n + 2, 2);
		vq->used_ptr = resolve(vq, vq->used, SPLIT_HEADER + 8 * n + 2, 4);
	}
	if (!vq->desc_ptr || !vq->avail_ptr || !vq->used_ptr) {
		virtq_break(vq, "ring is misaligned or outside guest memory");
		return false;
	}
	/* A position from a saved state is as untrusted as the rest. */
	if (vq->packed && (vq->next_avail >= n || vq->next_used >= n)) {
		virtq_break(vq, "ring position is outside the ring");
		return false;
	}
	/* A queue that no driver uses, and most are, needs no room. */
	if (!vq->iov) {
		vq->iov = g_new(struct iovec, VIRTQ_MAX_SEGS);
		vq->gpa = g_new(uint64_t, VIRTQ_MAX_SEGS);
	}
	vq->avail_seen = vq->next_avail;
	vq->in_use = 0;
	vq->pending = 0;
	vq->notify_each = true;
	vq->started = true;
	return true;
}

void virtq_stop(struct virtqueue *vq)
{
	vq->started = false;
	vq->pending = 0;
	vq->desc_ptr = vq->avail_ptr = vq->used_ptr = NULL;
}

/* One descriptor's buffer to the chain being built. */
static bool add_segment(struct virtqueue *vq, uint64_t gpa, uint32_t len, bool writable)
{
	struct virtq_chain *c = &vq->chain;
	unsigned n = c->n_out + c->n_in;
	void *p;

	if (!len)
		return true;
	if (!writable && c->n_in) {
		virtq_break(vq, "readable buffer after a writable one");
		return false;
	}
	if (n == VIRTQ_MAX_SEGS || (uint64_t)c->out_len + c->in_len + len > UINT32_MAX) {
		virtq_break(vq, "chain is too long");
		return false;
	}
	p = gpa_ptr(vq->mem, gpa, len);
	if (!p) {
		virtq_break(vq, "buffer outside guest memory");
		return false;
	}
	vq->iov[n] = (struct iovec){ .iov_base = p, .iov_len = len };
	vq->gpa[n] = gpa;
	if (writable) {
		c->n_in++;
		c->in_len += len;
	} else {
		c->n_out++;
		c->out_len += len;
	}
	return true;
}

static void begin_chain(struct virtqueue *vq)
{
	vq->chain = (struct virtq_chain){ .out = vq->iov };
}

static struct virtq_chain *end_chain(struct virtqueue *vq)
{
	vq->chain.in = vq->iov + vq->chain.n_out;
	vq->chain.in_gpa = vq->gpa + vq->chain.n_out;
	return &vq->chain;
}

/* The table an indirect descriptor points to and its number of entries. */
static uint8_t *open_indirect(struct virtqueue *vq, uint64_t gpa, uint32_t len, unsigned *ret_n)
{
	uint8_t *table;

	if (!vq->indirect) {
		virtq_break(vq, "indirect descriptor without the feature");
		return NULL;
	}
	if (!len || len % 16 || len / 16 > VIRTQ_MAX_SEGS) {
		virtq_break(vq, "indirect table has a bad length");
		return NULL;
	}
	table = gpa_ptr(vq->mem, gpa, len);
	if (!table) {
		virtq_break(vq, "indirect table outside guest memory");
		return NULL;
	}
	*ret_n = len / 16;
	return table;
}

/* Follow a list of split descriptors: the ring's own table, then at most one indirect one. */
static bool walk_split(struct virtqueue *vq, unsigned head)
{
	const uint8_t *table = vq->desc_ptr;
	unsigned n = vq->size, i = head, steps = 0;
	bool inside = false;

	for (;;) {
		struct vring_desc d;
		uint16_t flags;

		if (i >= n) {
			virtq_break(vq, "descriptor index outside the table");
			return false;
		}
		if (steps++ == n) {
			virtq_break(vq, "descriptor list is a loop");
			return false;
		}
		copy_desc(&d, table + 16 * i);
		flags = GUINT16_FROM_LE(d.flags);
		if (flags & VRING_DESC_F_INDIRECT) {
			if (inside || (flags & VRING_DESC_F_NEXT)) {
				virtq_break(vq, "indirect descriptor in a wrong place");
				return false;
			}
			table = open_indirect(vq, GUINT64_FROM_LE(d.addr), GUINT32_FROM_LE(d.len),
					      &n);
			if (!table)
				return false;
			inside = true;
			i = steps = 0;
			continue;
		}
		if (!add_segment(vq, GUINT64_FROM_LE(d.addr), GUINT32_FROM_LE(d.len),
				 flags & VRING_DESC_F_WRITE))
			return false;
		if (!(flags & VRING_DESC_F_NEXT))
			return true;
		i = GUINT16_FROM_LE(d.next);
	}
}

/* Chains the guest has made available and we have not popped. */
static unsigned split_available(struct virtqueue *vq)
{
	uint16_t n = vq->avail_seen - vq->next_avail;

	if (n)
		return n;
	vq->avail_seen = load16(vq->avail_ptr + 2);
	n = vq->avail_seen - vq->next_avail;
	if (n > vq->size) {
		virtq_break(vq, "available index jumped");
		vq->avail_seen = vq->next_avail;
		return 0;
	}
	return n;
}

static struct virtq_chain *pop_split(struct virtqueue *vq)
{
	unsigned slot = vq->next_avail & (vq->size - 1);
	uint16_t head;

	if (!split_available(vq))
		return NULL;
	if (vq->in_use == vq->size) {
		virtq_break(vq, "more chains in flight than the ring holds");
		return NULL;
	}
	head = load16(vq->avail_ptr + SPLIT_HEADER + 2 * slot);
	begin_chain(vq);
	if (!walk_split(vq, head))
		return NULL;
	vq->chain.id = head;
	vq->chain.slots = 1;
	vq->next_avail++;
	vq->in_use++;
	return end_chain(vq);
}

static bool packed_available(struct virtqueue *vq)
{
	uint16_t flags = load16(vq->desc_ptr + 16 * vq->next_avail + 14);

	return !!(flags & PACKED_AVAIL) == vq->avail_wrap &&
	       !!(flags & PACKED_USED) != vq->avail_wrap;
}

/* In a packed table the list is simply consecutive and its length known. */
static bool walk_packed_indirect(struct virtqueue *vq, uint64_t gpa, uint32_t len)
{
	unsigned n;
	const uint8_t *table = open_indirect(vq, gpa, len, &n);

	if (!table)
		return false;
	for (unsigned i = 0; i < n; i++) {
		struct vring_packed_desc d;

		copy_desc(&d, table + 16 * i);
		if (GUINT16_FROM_LE(d.flags) & VRING_DESC_F_INDIRECT) {
			virtq_break(vq, "indirect descriptor in a wrong place");
			return false;
		}
		if (!add_segment(vq, GUINT64_FROM_LE(d.addr), GUINT32_FROM_LE(d.len),
				 GUINT16_FROM_LE(d.flags) & VRING_DESC_F_WRITE))
			return false;
	}
	return true;
}

static struct virtq_chain *pop_packed(struct virtqueue *vq)
{
	unsigned slot = vq->next_avail, slots = 0;
	struct vring_packed_desc d;
	uint16_t flags;

	if (!packed_available(vq))
		return NULL;
	begin_chain(vq);
	do {
		bool ok;

		if (vq->in_use + slots == vq->size) {
			virtq_break(vq, "descriptor list is longer than the ring");
			return NULL;
		}
		copy_desc(&d, vq->desc_ptr + 16 * slot);
		flags = GUINT16_FROM_LE(d.flags);
		if ((flags & VRING_DESC_F_INDIRECT) && (flags & VRING_DESC_F_NEXT)) {
			virtq_break(vq, "indirect descriptor in a wrong place");
			return NULL;
		}
		ok = flags & VRING_DESC_F_INDIRECT ?
			     walk_packed_indirect(vq, GUINT64_FROM_LE(d.addr),
						  GUINT32_FROM_LE(d.len)) :
			     add_segment(vq, GUINT64_FROM_LE(d.addr), GUINT32_FROM_LE(d.len),
					 flags & VRING_DESC_F_WRITE);
		if (!ok)
			return NULL;
		slots++;
		if (++slot == vq->size)
			slot = 0;
	} while (flags & VRING_DESC_F_NEXT);
	if (slot <= vq->next_avail)
		vq->avail_wrap = !vq->avail_wrap;
	vq->next_avail = slot;
	vq->in_use += slots;
	vq->chain.id = GUINT16_FROM_LE(d.id);
	vq->chain.slots = slots;
	return end_chain(vq);
}

struct virtq_chain *virtq_pop(struct virtqueue *vq)
{
	if (!vq->started || vq->broken)
		return NULL;
	return vq->packed ? pop_packed(vq) : pop_split(vq);
}

void virtq_unpop(struct virtqueue *vq, unsigned slots)
{
	if (!vq->started || !slots)
		return;
	vq->in_use -= slots;
	if (!vq->packed) {
		vq->next_avail -= slots;
		return;
	}
	if (slots > vq->next_avail) {
		vq->next_avail += vq->size;
		vq->avail_wrap = !vq->avail_wrap;
	}
	vq->next_avail -= slots;
}

bool virtq_empty(struct virtqueue *vq)
{
	if (!vq->started || vq->broken)
		return true;
	return vq->packed ? !packed_available(vq) : !split_available(vq);
}

static void push_split(struct virtqueue *vq, const struct virtq_chain *c, uint32_t written)
{
	unsigned offset = SPLIT_HEADER + 8 * (vq->next_used & (vq->size - 1));
	struct vring_used_elem e = { .id = GUINT32_TO_LE(c->id), .len = GUINT32_TO_LE(written) };

	memcpy(vq->used_ptr + offset, &e, sizeof(e));
	mark_written(vq, vq->used + offset, sizeof(e));
	vq->next_used++;
}

static void push_packed(struct virtqueue *vq, const struct virtq_chain *c, uint32_t written)
{
	unsigned slot = vq->next_used;
	struct vring_packed_desc d = { .len = GUINT32_TO_LE(written), .id = GUINT16_TO_LE(c->id) };
	uint16_t flags = (written ? VRING_DESC_F_WRITE : 0) |
			 (vq->used_wrap ? PACKED_AVAIL | PACKED_USED : 0);

	/* Behind the address: length, id; the flags of the first entry wait for publish. */
	memcpy(vq->desc_ptr + 16 * slot + 8, &d.len, 6);
	if (vq->pending)
		store16(vq->desc_ptr + 16 * slot + 14, flags);
	else {
		vq->held_slot = slot;
		vq->held_flags = flags;
	}
	mark_written(vq, vq->desc + 16 * slot, 16);
	vq->next_used += c->slots;
	if (vq->next_used >= vq->size) {
		vq->next_used -= vq->size;
		vq->used_wrap = !vq->used_wrap;
	}
}

void virtq_push(struct virtqueue *vq, const struct virtq_chain *chain, uint32_t written)
{
	uint32_t left = MIN(written, chain->in_len);

	for (unsigned i = 0; i < chain->n_in && left; i++) {
		uint32_t part = MIN(left, chain->in[i].iov_len);

		mark_written(vq, chain->in_gpa[i], part);
		left -= part;
	}
	if (!vq->started)
		return;
	vq->in_use -= MIN(chain->slots, vq->in_use);
	if (vq->packed)
		push_packed(vq, chain, MIN(written, chain->in_len));
	else
		push_split(vq, chain, MIN(written, chain->in_len));
	vq->pending += chain->slots;
}

/* Packed: did our step from new - pending to new pass the point the driver named? */
static bool packed_wants_interrupt(struct virtqueue *vq)
{
	uint16_t off_wrap, flags, event;

	flags = load16(vq->avail_ptr + 2) & 3;
	if (flags != VRING_PACKED_EVENT_FLAG_DESC || !vq->event_idx)
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	off_wrap = load16(vq->avail_ptr);
	event = off_wrap & 0x7fff;
	if (off_wrap >> 15 != vq->used_wrap)
		event -= vq->size;
	return vring_need_event(event, vq->next_used, vq->next_used - vq->pending);
}

static bool split_wants_interrupt(struct virtqueue *vq)
{
	if (!vq->event_idx)
		return !(load16(vq->avail_ptr) & VRING_AVAIL_F_NO_INTERRUPT);
	return vring_need_event(load16(vq->avail_ptr + SPLIT_HEADER + 2 * vq->size),
				vq->next_used, vq->next_used - vq->pending);
}

bool virtq_publish(struct virtqueue *vq)
{
	bool wanted;

	if (!vq->started || !vq->pending)
		return false;
	if (vq->packed) {
		store16(vq->desc_ptr + 16 * vq->held_slot + 14, vq->held_flags);
		mark_written(vq, vq->desc + 16 * vq->held_slot, 16);
	} else {
		store16(vq->used_ptr + 2, vq->next_used);
		mark_written(vq, vq->used, SPLIT_HEADER);
	}
	/* The driver writes its wish, then looks; we show, then read its wish. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	wanted = vq->packed ? packed_wants_interrupt(vq) : split_wants_interrupt(vq);
	vq->pending = 0;
	return wanted;
}

/* Position and mode of the packed driver's notifications, one store: it reads them as one. */
static void set_packed_event(struct virtqueue *vq, uint16_t position, uint16_t mode)
{
	__atomic_store_n((uint32_t *)(void *)vq->used_ptr,
			 GUINT32_TO_LE(position | (uint32_t)mode << 16), __ATOMIC_RELEASE);
	mark_written(vq, vq->used, EVENT_LEN);
}

/*
 * With event indices there is one notification when the named position is passed and "off"
 * needs no write. The position is that of the next chain to come; a device may wait for more
 * than the chains that it has left lying there.
 */
static void set_notify(struct virtqueue *vq, bool on)
{
	unsigned offset = SPLIT_HEADER + 8 * vq->size;

	if (vq->packed) {
		if (on && vq->event_idx && !packed_available(vq)) {
			set_packed_event(vq, vq->next_avail | vq->avail_wrap << 15,
					 VRING_PACKED_EVENT_FLAG_DESC);
			vq->notify_each = false;
		} else if (on || !vq->event_idx || vq->notify_each) {
			set_packed_event(vq, 0, on ? VRING_PACKED_EVENT_FLAG_ENABLE :
						     VRING_PACKED_EVENT_FLAG_DISABLE);
			vq->notify_each = on;
		}
	} else if (!vq->event_idx) {
		store16(vq->used_ptr, on ? 0 : VRING_USED_F_NO_NOTIFY);
		mark_written(vq, vq->used, SPLIT_HEADER);
	} else if (on) {
		store16(vq->used_ptr + offset, load16(vq->avail_ptr + 2));
		mark_written(vq, vq->used + offset, 2);
	}
}

void virtq_disable_notify(struct virtqueue *vq)
{
	if (vq->started)
		set_notify(vq, false);
}

bool virtq_enable_notify(struct virtqueue *vq)
{
	if (!vq->started || vq->broken)
		return false;
	set_notify(vq, true);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return !virtq_empty(vq);
}

size_t virtq_chain_size(const struct virtq_chain *c)
{
	return sizeof(*c) + (c->n_out + c->n_in) * sizeof(struct iovec) +
	       c->n_in * sizeof(uint64_t);
}

struct virtq_chain *virtq_chain_copy(const struct virtq_chain *c, void *dst)
{
	struct virtq_chain *copy = dst;

	*copy = *c;
	copy->out = (struct iovec *)(copy + 1);
	copy->in = copy->out + c->n_out;
	copy->in_gpa = (uint64_t *)(copy->in + c->n_in);
	memcpy(copy->out, c->out, c->n_out * sizeof(*c->out));
	memcpy(copy->in, c->in, c->n_in * sizeof(*c->in));
	memcpy(copy->in_gpa, c->in_gpa, c->n_in * sizeof(*c->in_gpa));
	return copy;
}

/* Both directions of copying; exactly one of @to and @from is set. */
static size_t iov_copy(const struct iovec *iov, unsigned n, size_t offset, void *to,
		       const void *from, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < len; i++) {
		size_t part;

		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		part = MIN(iov[i].iov_len - offset, len - done);
		if (to)
			memcpy((char *)to + done, (char *)iov[i].iov_base + offset, part);
		else
			memcpy((char *)iov[i].iov_base + offset, (const char *)from + done, part);
		done += part;
		offset = 0;
	}
	return done;
}

size_t virtq_iov_read(const struct iovec *iov, unsigned n, size_t offset, void *buf, size_t len)
{
	size_t done = iov_copy(iov, n, offset, buf, NULL, len);

	__asm__ volatile("" ::: "memory");
	return done;
}

size_t virtq_iov_write(const struct iovec *iov, unsigned n, size_t offset, const void *buf,
		       size_t len)
{
	return iov_copy(iov, n, offset, NULL, buf, len);
}

int virtq_iov_slice(const struct iovec *iov, unsigned n, size_t offset, size_t len,
		    struct iovec *dst, unsigned max)
{
	unsigned used = 0;

	for (unsigned i = 0; i < n && len; i++) {
		size_t part;

		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		if (used == max)
			return -1;
		part = MIN(iov[i].iov_len - offset, len);
		dst[used].iov_base = (char *)iov[i].iov_base + offset;
		dst[used++].iov_len = part;
		len -= part;
		offset = 0;
	}
	return len ? -1 : (int)used;
}
