/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ring walker against an exhaustive small model and against a driver.
 *
 * The model: every descriptor table of a tiny ring, with fields drawn from a few good and
 * bad values, is walked by virtq_pop and, independently, by a recursive reading of the
 * specification in expect_list(); both must agree on the segments or on the refusal. Guest
 * memory is an exact heap block, so that the address sanitizer sees any stray access.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "mem.h"
#include "ring-driver.h"
#include "virtqueue.h"

enum {
	BASE = 0x10000,
	DESC = BASE,
	TABLE = BASE + 0x40, /* the indirect table of the model */
	DATA = BASE + 0x80,
	AVAIL = BASE + 0xc0,
	USED = BASE + 0xe0,
	MODEL_RAM = 0x110,
	BIG_RAM = 0x8000,
	BAD_GPA = 0x900000,
};

/* The walker's only needs from mem.c, over one block of exactly ram_len bytes. */
static uint8_t *ram;
static uint64_t ram_len;
static uint8_t dirty[BIG_RAM];

void *gpa_ptr(const struct guest_mem *mem, uint64_t gpa, uint64_t len)
{
	if (gpa < BASE || gpa - BASE > ram_len || len > ram_len - (gpa - BASE))
		return NULL;
	return ram + (gpa - BASE);
}

void mem_written(struct guest_mem *mem, uint64_t gpa, uint64_t len)
{
	assert_non_null(gpa_ptr(mem, gpa, len));
	memset(dirty + (gpa - BASE), 1, len);
}

static void ram_new(uint64_t len)
{
	free(ram);
	ram = aligned_alloc(16, (len + 15) & ~15ull);
	ram_len = len;
	memset(ram, 0, len);
	memset(dirty, 0, sizeof(dirty));
}

struct segment {
	uint64_t gpa;
	uint32_t len;
	bool writable;
};

struct list {
	bool bad;
	bool any_in;
	unsigned n;
	struct segment seg[8];
};

static void expect_list(struct list *l, uint64_t table, unsigned entries, unsigned i,
			unsigned left, bool inside, bool features)
{
	struct vring_desc d;

	if (i >= entries || left == 0) {
		l->bad = true;
		return;
	}
	memcpy(&d, ram + (table - BASE) + 16 * i, 16);
	if (d.flags & VRING_DESC_F_INDIRECT) {
		if (!features || inside || d.flags & VRING_DESC_F_NEXT || !d.len || d.len % 16 ||
		    d.len / 16 > VIRTQ_MAX_SEGS || !gpa_ptr(NULL, d.addr, d.len))
			l->bad = true;
		else
			expect_list(l, d.addr, d.len / 16, 0, d.len / 16, true, features);
		return;
	}
	if (d.len) {
		bool writable = d.flags & VRING_DESC_F_WRITE;

		if (!gpa_ptr(NULL, d.addr, d.len) || (l->any_in && !writable)) {
			l->bad = true;
			return;
		}
		l->any_in |= writable;
		l->seg[l->n++] = (struct segment){ d.addr, d.len, writable };
	}
	if (d.flags & VRING_DESC_F_NEXT)
		expect_list(l, table, entries, d.next, left - 1, inside, features);
}

static void check_chain(const struct virtq_chain *c, const struct list *l)
{
	assert_int_equal(c->n_out + c->n_in, l->n);
	for (unsigned i = 0; i < l->n; i++) {
		const struct iovec *v = i < c->n_out ? &c->out[i] : &c->in[i - c->n_out];

		assert_ptr_equal(v->iov_base, ram + (l->seg[i].gpa - BASE));
		assert_int_equal(v->iov_len, l->seg[i].len);
		assert_int_equal(l->seg[i].writable, i >= c->n_out);
		if (i >= c->n_out)
			assert_int_equal(c->in_gpa[i - c->n_out], l->seg[i].gpa);
	}
}

struct model {
	struct virtqueue vq;
	unsigned good, bad;
};

static void model_step(struct model *m, uint16_t head, unsigned size, bool indirect)
{
	struct virtqueue *vq = &m->vq;
	struct virtq_chain *c;
	struct list l = { 0 };

	memcpy(ram + (AVAIL - BASE) + 4, &head, 2);
	virtq_reset(vq);
	vq->size = size;
	vq->desc = DESC;
	vq->avail = AVAIL;
	vq->used = USED;
	assert_true(virtq_start(vq, indirect ? 1ull << VIRTIO_RING_F_INDIRECT_DESC : 0));
	expect_list(&l, DESC, size, head, size, false, indirect);
	c = virtq_pop(vq);
	assert_int_equal(!c, l.bad);
	assert_int_equal(vq->broken, l.bad);
	if (c) {
		check_chain(c, &l);
		assert_null(virtq_pop(vq));
		assert_false(vq->broken);
		m->good++;
	} else {
		assert_non_null(vq->why);
		assert_null(virtq_pop(vq));
		m->bad++;
	}
}

static const uint64_t addrs[] = { DATA, TABLE, BAD_GPA, BASE + MODEL_RAM - 16, UINT64_MAX - 8 };
static const uint32_t lens[] = { 0, 16, 32, 20, UINT32_MAX };
static const uint16_t nexts[] = { 0, 1, 2 };

static void put_desc(uint64_t gpa, unsigned code)
{
	struct vring_desc d;

	d.flags = code & 7;
	code >>= 3;
	d.addr = addrs[code % G_N_ELEMENTS(addrs)];
	code /= G_N_ELEMENTS(addrs);
	d.len = lens[code % G_N_ELEMENTS(lens)];
	code /= G_N_ELEMENTS(lens);
	d.next = nexts[code % G_N_ELEMENTS(nexts)];
	memcpy(ram + (gpa - BASE), &d, 16);
}

enum { CODES = 8 * G_N_ELEMENTS(addrs) * G_N_ELEMENTS(lens) * G_N_ELEMENTS(nexts) };

static void model_begin(struct model *m)
{
	ram_new(MODEL_RAM);
	virtq_init(&m->vq, NULL, 0, 4);
	ram[AVAIL - BASE + 2] = 1;
}

/* All tables of two descriptors (the ring of one is the case next == 0, head == 0). */
static void test_all_tables(void **state)
{
	struct model m = { 0 };

	model_begin(&m);
	for (unsigned a = 0; a < CODES; a++)
		for (unsigned b = 0; b < CODES; b++) {
			put_desc(DESC, a);
			put_desc(DESC + 16, b);
			model_step(&m, (a ^ b) % 3, 2, true);
		}
	assert_true(m.good > 10000);
	assert_true(m.bad > 10000);
	virtq_destroy(&m.vq);
}

/* An indirect table with every pair of entries, entered from the ring. */
static void test_all_indirect(void **state)
{
	struct model m = { 0 };
	struct vring_desc d = { .addr = TABLE, .len = 32, .flags = VRING_DESC_F_INDIRECT };

	model_begin(&m);
	for (unsigned a = 0; a < CODES; a++)
		for (unsigned b = 0; b < CODES; b++) {
			d.flags = VRING_DESC_F_INDIRECT | ((a ^ b) & 2);
			memcpy(ram, &d, 16);
			put_desc(TABLE, a);
			put_desc(TABLE + 16, b);
			model_step(&m, 0, 1, true);
		}
	assert_true(m.good > 10000);
	assert_true(m.bad > 10000);
	virtq_destroy(&m.vq);
}

/* Rings of four and three-step walks: flags and next only, all buffers good. */
static void test_all_links(void **state)
{
	struct model m = { 0 };

	model_begin(&m);
	for (unsigned code = 0; code < 1 << 20; code++) {
		for (unsigned i = 0; i < 4; i++) {
			unsigned bits = code >> 5 * i & 31;
			struct vring_desc d = { .addr = DATA + 4 * i, .len = 4 };

			d.flags = (bits & 1 ? VRING_DESC_F_NEXT : 0) |
				  (bits & 2 ? VRING_DESC_F_WRITE : 0);
			d.next = (bits >> 2) + (bits >> 2 == 5 ? 65530 : 0);
			memcpy(ram + 16 * i, &d, 16);
		}
		model_step(&m, code % 5, 4, false);
	}
	assert_true(m.good > 10000);
	virtq_destroy(&m.vq);
}

/* Every available index in a ring of four: taken, refused, never overrun. */
static void test_index_jumps(void **state)
{
	struct model m = { 0 };

	model_begin(&m);
	for (unsigned i = 0; i < 4; i++)
		memcpy(ram + 16 * i, &(struct vring_desc){ .addr = DATA, .len = 1 }, 16);
	for (unsigned idx = 0; idx < 65536; idx++) {
		unsigned n = 0;
		uint16_t v = idx;

		virtq_reset(&m.vq);
		m.vq.size = 4;
		m.vq.desc = DESC;
		m.vq.avail = AVAIL;
		m.vq.used = USED;
		m.vq.next_avail = m.vq.next_used = 3;
		memcpy(ram + (AVAIL - BASE) + 2, &v, 2);
		assert_true(virtq_start(&m.vq, 0));
		while (virtq_pop(&m.vq))
			n++;
		assert_int_equal(n, idx >= 3 && idx <= 7 ? idx - 3 : 0);
		assert_int_equal(m.vq.broken, idx < 3 || idx > 7);
	}
	/* Chains in flight are bounded even when the index creeps on. */
	virtq_reset(&m.vq);
	m.vq.size = 4;
	m.vq.desc = DESC;
	m.vq.avail = AVAIL;
	m.vq.used = USED;
	assert_true(virtq_start(&m.vq, 0));
	for (uint16_t v = 1; v <= 5; v++) {
		memcpy(ram + (AVAIL - BASE) + 2, &v, 2);
		assert_int_equal(!!virtq_pop(&m.vq), v <= 4);
	}
	assert_true(m.vq.broken);
	virtq_destroy(&m.vq);
}

static void test_start_refuses(void **state)
{
	static const struct {
		uint16_t size;
		uint64_t desc, avail, used;
		bool packed, ok;
	} rows[] = {
		{ 2, DESC, AVAIL, USED, false, true },	 { 0, DESC, AVAIL, USED, false, false },
		{ 3, DESC, AVAIL, USED, false, false },	 { 3, DESC, AVAIL, USED, true, true },
		{ 8, DESC, AVAIL, USED, false, false },	 { 2, DESC + 8, AVAIL, USED, false, false },
		{ 2, DESC, AVAIL + 1, USED, false, false }, { 2, DESC, AVAIL, USED + 2, false, false },
		{ 2, BAD_GPA, AVAIL, USED, false, false }, { 2, DESC, BAD_GPA, USED, false, false },
		{ 2, DESC, AVAIL, BAD_GPA, false, false },
		{ 2, DESC, AVAIL, BASE + MODEL_RAM - 20, false, false },
		{ 2, DESC, AVAIL, BASE + MODEL_RAM - 24, false, true },
		{ 2, DESC, BASE + MODEL_RAM - 8, USED, false, false },
		{ 2, DESC, BASE + MODEL_RAM - 10, USED, false, true },
		{ 2, UINT64_MAX - 15, AVAIL, USED, false, false },
		{ 2, DESC, AVAIL + 2, USED, true, false },
	};
	struct virtqueue vq;

	ram_new(MODEL_RAM);
	virtq_init(&vq, NULL, 0, 4);
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		virtq_reset(&vq);
		vq.size = rows[i].size;
		vq.desc = rows[i].desc;
		vq.avail = rows[i].avail;
		vq.used = rows[i].used;
		assert_int_equal(virtq_start(&vq, rows[i].packed ? 1ull << VIRTIO_F_RING_PACKED : 0),
				 rows[i].ok);
		assert_int_equal(vq.broken, !rows[i].ok);
		if (!rows[i].ok)
			assert_null(virtq_pop(&vq));
	}
	virtq_destroy(&vq);
}

/* All packed rings of two: every flag pattern, never out of bounds, never endless. */
static void test_packed_tables(void **state)
{
	struct virtqueue vq;
	unsigned good = 0, bad = 0;

	ram_new(MODEL_RAM);
	virtq_init(&vq, NULL, 0, 4);
	for (unsigned code = 0; code < 1 << 22; code++) {
		unsigned n = 0;

		for (unsigned i = 0; i < 2; i++) {
			unsigned bits = code >> 11 * i & 0x7ff;
			struct vring_packed_desc d = {
				.addr = addrs[(bits >> 5 & 7) % G_N_ELEMENTS(addrs)],
				.len = lens[(bits >> 8 & 7) % G_N_ELEMENTS(lens)],
				.flags = (bits & 7) | (bits & 8 ? 1 << 7 : 0) | (bits & 16 ? 1 << 15 : 0),
			};

			memcpy(ram + 16 * i, &d, 16);
		}
		virtq_reset(&vq);
		vq.size = 2;
		vq.desc = DESC;
		vq.avail = AVAIL;
		vq.used = USED;
		assert_true(virtq_start(&vq, 1ull << VIRTIO_F_RING_PACKED |
						     1ull << VIRTIO_RING_F_INDIRECT_DESC));
		for (struct virtq_chain *c; (c = virtq_pop(&vq)); n += c->slots)
			for (unsigned i = 0; i < c->n_out + c->n_in; i++)
				assert_non_null(gpa_ptr(NULL, BASE + ((uint8_t *)vq.iov[i].iov_base - ram),
							vq.iov[i].iov_len));
		assert_true(n <= 2);
		/* Bits 3 and 4 of the first descriptor: made available and not used yet. */
		if ((code >> 3 & 3) != 1)
			assert_true(n == 0 && !vq.broken);
		good += n > 0;
		bad += vq.broken;
	}
	assert_true(good > 10000);
	assert_true(bad > 10000);
	virtq_destroy(&vq);
}

/*
 * Random traffic between a driver and a device that answers out of order, in batches, with
 * notifications and interrupts suppressed whenever the other side says so: every chain comes
 * back once with its bytes, and nobody waits for a signal that was not sent.
 */
enum { SLOTS = 64, CHAINS = 3000 };

struct traffic {
	GRand *rand;
	struct ring_driver d;
	struct virtqueue vq;
	GPtrArray *flight; /* chains the device has taken */
	bool kicked, irq;
	bool busy[SLOTS]; /* buffer areas in use: 128 bytes each and room for a table */
	unsigned sent, done;
};

static bool driver_adds(struct traffic *t)
{
	bool moved = false;

	for (unsigned k = g_rand_int_range(t->rand, 0, 4); k && t->sent < CHAINS; k--) {
		unsigned slot = g_rand_int_range(t->rand, 0, SLOTS);
		uint64_t area = BASE + 0x2000 + slot * 0x100;
		unsigned n = g_rand_int_range(t->rand, 2, 5), out = g_rand_int_range(t->rand, 1, n);
		struct ring_buf b[4];

		if (t->busy[slot])
			continue;
		for (unsigned i = 0; i < n; i++)
			b[i] = (struct ring_buf){ area + 16 * i, 16, i >= out };
		ram[area - BASE] = slot;
		ram[area - BASE + 16 * out] = 0xee;
		if (!ring_add(&t->d, b, n, g_rand_boolean(t->rand) ? area + 0x80 : 0,
			      GUINT_TO_POINTER(slot + 1)))
			continue;
		t->busy[slot] = true;
		t->sent++;
		moved = true;
	}
	if (moved && ring_kick(&t->d))
		t->kicked = true;
	return moved;
}

/* The device takes what there is, sometimes gives one back and takes it again. */
static void device_takes(struct traffic *t)
{
	struct virtqueue *vq = &t->vq;
	struct virtq_chain *c;

	do {
		virtq_disable_notify(vq);
		while ((c = virtq_pop(vq))) {
			if (g_rand_int_range(t->rand, 0, 8) == 0) {
				virtq_unpop(vq, c->slots);
				c = virtq_pop(vq);
			}
			g_ptr_array_add(t->flight,
					virtq_chain_copy(c, g_malloc(virtq_chain_size(c))));
		}
		/* Between the last look and asking for notifications. */
		if (g_rand_int_range(t->rand, 0, 4) == 0)
			driver_adds(t);
	} while (virtq_enable_notify(vq));
}

static bool device_completes(struct traffic *t)
{
	bool moved = false;

	for (unsigned left = g_rand_int_range(t->rand, 0, 6); left && t->flight->len; left--) {
		unsigned i = g_rand_int_range(t->rand, 0, t->flight->len);
		struct virtq_chain *c = g_ptr_array_remove_index_fast(t->flight, i);
		uint32_t written;

		assert_int_equal(c->in_len % 16, 0);
		*(uint8_t *)c->in[0].iov_base = *(uint8_t *)c->out[0].iov_base;
		memset(dirty, 0, sizeof(dirty));
		written = g_rand_boolean(t->rand) ? 1 : c->in_len;
		virtq_push(&t->vq, c, written);
		for (unsigned k = 0; k < c->in_len; k++)
			assert_int_equal(dirty[c->in_gpa[k / 16] - BASE + k % 16], k < written);
		g_free(c);
		moved = true;
	}
	if (virtq_publish(&t->vq))
		t->irq = true;
	return moved;
}

static bool driver_takes(struct traffic *t)
{
	bool moved = false;
	uint32_t len;
	void *p;

	ring_disarm(&t->d);
	do {
		while ((p = ring_get(&t->d, &len))) {
			unsigned slot = GPOINTER_TO_UINT(p) - 1;

			assert_true(p != (void *)-1 && slot < SLOTS && t->busy[slot]);
			assert_true(len == 1 || len % 16 == 0);
			t->busy[slot] = false;
			t->done++;
			moved = true;
		}
	} while (ring_arm(&t->d));
	return moved;
}

static void traffic(bool packed, bool event_idx, unsigned size, unsigned seed)
{
	struct traffic t = { .rand = g_rand_new_with_seed(seed), .flight = g_ptr_array_new() };
	uint64_t features = 1ull << VIRTIO_RING_F_INDIRECT_DESC;
	unsigned idle = 0;

	features |= packed ? 1ull << VIRTIO_F_RING_PACKED : 0;
	features |= event_idx ? 1ull << VIRTIO_RING_F_EVENT_IDX : 0;
	ram_new(BIG_RAM);
	ring_setup(&t.d, ram, BASE, BASE, size, packed, event_idx);
	virtq_init(&t.vq, NULL, 0, 64);
	t.vq.size = size;
	t.vq.desc = t.d.desc;
	t.vq.avail = t.d.avail;
	t.vq.used = t.d.used;
	assert_true(virtq_start(&t.vq, features));
	ring_arm(&t.d);
	virtq_enable_notify(&t.vq);
	while (t.done < CHAINS) {
		bool moved = driver_adds(&t);

		if (t.kicked) {
			t.kicked = false;
			device_takes(&t);
			moved = true;
		}
		moved |= device_completes(&t);
		if (t.irq) {
			t.irq = false;
			moved |= driver_takes(&t);
		}
		assert_false(t.vq.broken);
		idle = moved ? 0 : idle + 1;
		assert_true(idle < 1000); /* a lost wake-up */
	}
	assert_int_equal(t.flight->len, 0);
	assert_int_equal(t.vq.in_use, 0);
	g_ptr_array_free(t.flight, TRUE);
	virtq_destroy(&t.vq);
	g_rand_free(t.rand);
}

static void test_traffic(void **state)
{
	for (unsigned mode = 0; mode < 4; mode++)
		for (unsigned size = 4; size <= 64; size *= 2)
			traffic(mode & 1, mode & 2, size, 77 + size + mode);
	traffic(true, true, 7, 5);
	traffic(true, false, 63, 6);
}

static void test_long_chain(void **state)
{
	struct vring_desc d = { .addr = DATA, .len = 1, .flags = VRING_DESC_F_NEXT };
	struct virtqueue vq;
	uint64_t features = 1ull << VIRTIO_RING_F_INDIRECT_DESC;

	/* An indirect table of exactly the most segments, then one more. */
	for (unsigned n = VIRTQ_MAX_SEGS; n <= VIRTQ_MAX_SEGS + 1; n++) {
		struct virtq_chain *c;

		ram_new(BIG_RAM);
		for (unsigned i = 0; i < n; i++) {
			d.next = i + 1;
			d.flags = i + 1 < n ? VRING_DESC_F_NEXT : 0;
			memcpy(ram + 0x1000 + 16 * i, &d, 16);
		}
		memcpy(ram, &(struct vring_desc){ BASE + 0x1000, 16 * n, VRING_DESC_F_INDIRECT, 0 }, 16);
		ram[AVAIL - BASE + 2] = 1;
		virtq_init(&vq, NULL, 0, 4);
		vq.size = 1;
		vq.desc = DESC;
		vq.avail = AVAIL;
		vq.used = USED;
		assert_true(virtq_start(&vq, features));
		c = virtq_pop(&vq);
		assert_int_equal(!!c, n <= VIRTQ_MAX_SEGS);
		if (c)
			assert_int_equal(c->out_len, VIRTQ_MAX_SEGS);
		virtq_destroy(&vq);
	}
}

/* What a migration copies must be what the driver sees: the held flags are logged when they are written. */
static void test_published_flags_are_logged(void **state)
{
	struct ring_buf b = { DATA, 4, true };
	struct virtq_chain *c;
	struct ring_driver d;
	struct virtqueue vq;

	ram_new(BIG_RAM);
	ring_setup(&d, ram, BASE, BASE, 4, true, false);
	virtq_init(&vq, NULL, 0, 4);
	vq.desc = d.desc;
	vq.avail = d.avail;
	vq.used = d.used;
	assert_true(virtq_start(&vq, 1ull << VIRTIO_F_RING_PACKED));
	assert_true(ring_add(&d, &b, 1, 0, &d));
	c = virtq_pop(&vq);
	assert_non_null(c);
	virtq_push(&vq, c, 0);
	memset(dirty, 0, sizeof(dirty));
	virtq_publish(&vq);
	assert_ptr_equal(ring_get(&d, NULL), &d);
	assert_int_equal(dirty[d.desc - BASE + 14], 1);
	virtq_destroy(&vq);
}

static void test_iov(void **state)
{
	char a[] = "abc", b[] = "defgh", buf[16];
	struct iovec v[] = { { a, 3 }, { NULL, 0 }, { b, 5 } }, s[2];

	assert_int_equal(virtq_iov_read(v, 3, 2, buf, 4), 4);
	assert_memory_equal(buf, "cdef", 4);
	assert_int_equal(virtq_iov_read(v, 3, 6, buf, 9), 2);
	assert_int_equal(virtq_iov_read(v, 3, 8, buf, 9), 0);
	assert_int_equal(virtq_iov_write(v, 3, 1, "XYZ", 3), 3);
	assert_string_equal(a, "aXY");
	assert_string_equal(b, "Zefgh");
	assert_int_equal(virtq_iov_slice(v, 3, 1, 4, s, 2), 2);
	assert_ptr_equal(s[0].iov_base, a + 1);
	assert_int_equal(s[1].iov_len, 2);
	assert_int_equal(virtq_iov_slice(v, 3, 1, 4, s, 1), -1);
	assert_int_equal(virtq_iov_slice(v, 3, 1, 8, s, 2), -1);
	assert_int_equal(virtq_iov_slice(v, 3, 8, 0, s, 2), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_tables),   cmocka_unit_test(test_all_indirect),
		cmocka_unit_test(test_all_links),    cmocka_unit_test(test_index_jumps),
		cmocka_unit_test(test_start_refuses), cmocka_unit_test(test_packed_tables),
		cmocka_unit_test(test_traffic),	     cmocka_unit_test(test_long_chain),
		cmocka_unit_test(test_iov),	     cmocka_unit_test(test_published_flags_are_logged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
