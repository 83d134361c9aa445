/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See bus.h. Intervals live in a fixed pool that is never freed under a reader; a sorted index
 * of the pool is searched between two reads of a sequence number. A reader first pins the slot
 * it found, then looks at the number again: when it has not changed, an unregister that follows
 * waits for the pin.
 */
#include "bus.h"

#include <sched.h>
#include <string.h>

#include "bytes.h"
#include "error.h"

enum { INTERVALS = 256 };

struct interval {
	uint64_t start, last;
	const char *name;
	const struct bus_ops *ops;
	void *opaque;
	unsigned users; /* handlers running; atomic */
	bool taken;
};

struct bus {
	const char *name;
	GMutex lock; /* writers */
	unsigned sequence; /* odd while the index changes; atomic */
	unsigned n; /* atomic */
	unsigned made; /* slots from here on were never in use, nor written to: a page that is not touched takes no memory */
	uint16_t order[INTERVALS]; /* slots by start; atomic */
	struct interval slots[INTERVALS];
};

/* What this thread's handlers have pinned: an access may nest (a PCI window into a BAR). */
struct pin {
	const struct interval *slot;
	struct pin *outer;
};

static __thread struct pin *pins;

struct bus *bus_new(const char *name)
{
	struct bus *bus = g_new(struct bus, 1);

	/* With the slot that a reader may look at before there is one. */
	memset(bus, 0, offsetof(struct bus, slots[1]));
	bus->made = 1;
	bus->name = name;
	g_mutex_init(&bus->lock);
	return bus;
}

void bus_free(struct bus *bus)
{
	if (!bus)
		return;
	g_mutex_clear(&bus->lock);
	g_free(bus);
}

/* Position in order[] of the last interval that starts at or below the address, or -1. */
static int search(const struct bus *bus, uint64_t address)
{
	unsigned n = __atomic_load_n(&bus->n, __ATOMIC_RELAXED);
	int low = 0, high = (int)MIN(n, INTERVALS) - 1;

	while (low <= high) {
		int middle = (low + high) / 2;
		unsigned slot = __atomic_load_n(&bus->order[middle], __ATOMIC_RELAXED);

		if (__atomic_load_n(&bus->slots[slot].start, __ATOMIC_RELAXED) <= address)
			low = middle + 1;
		else
			high = middle - 1;
	}
	return high;
}

/* The interval with the address, pinned, or NULL. */
static struct interval *acquire(struct bus *bus, uint64_t address)
{
	for (;;) {
		unsigned sequence = __atomic_load_n(&bus->sequence, __ATOMIC_ACQUIRE);
		struct interval *slot = NULL;
		int at;

		if (sequence & 1) {
			sched_yield();
			continue;
		}
		at = search(bus, address);
		if (at >= 0) {
			slot = &bus->slots[__atomic_load_n(&bus->order[at], __ATOMIC_RELAXED)];
			if (address > __atomic_load_n(&slot->last, __ATOMIC_RELAXED))
				slot = NULL;
		}
		if (slot)
			__atomic_add_fetch(&slot->users, 1, __ATOMIC_SEQ_CST);
		else
			__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (__atomic_load_n(&bus->sequence, __ATOMIC_SEQ_CST) == sequence)
			return slot;
		if (slot)
			__atomic_sub_fetch(&slot->users, 1, __ATOMIC_RELEASE);
	}
}

static void change_begin(struct bus *bus)
{
	__atomic_add_fetch(&bus->sequence, 1, __ATOMIC_SEQ_CST);
}

static void change_end(struct bus *bus)
{
	__atomic_add_fetch(&bus->sequence, 1, __ATOMIC_SEQ_CST);
}

static struct interval *free_slot(struct bus *bus)
{
	for (unsigned i = 0; i < bus->made; i++)
		if (!bus->slots[i].taken && !__atomic_load_n(&bus->slots[i].users, __ATOMIC_SEQ_CST))
			return &bus->slots[i];
	if (bus->made == INTERVALS)
		return NULL;
	memset(&bus->slots[bus->made], 0, sizeof(bus->slots[0]));
	return &bus->slots[bus->made++];
}

static bool insert(struct bus *bus, uint64_t start, uint64_t last, const char *name,
		   const struct bus_ops *ops, void *opaque, GError **error)
{
	int at = search(bus, last);
	const struct interval *below = at >= 0 ? &bus->slots[bus->order[at]] : NULL;
	struct interval *slot = free_slot(bus);

	if (below && below->last >= start)
		return kv_fail(error, KV_ERROR_INVALID,
			       "%s: %s range 0x%" G_GINT64_MODIFIER "x-0x%" G_GINT64_MODIFIER
			       "x overlaps %s", name, bus->name, start, last, below->name);
	if (!slot)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "%s: more than %d %s ranges", name,
			       INTERVALS, bus->name);
	change_begin(bus);
	slot->taken = true;
	__atomic_store_n(&slot->start, start, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->last, last, __ATOMIC_RELAXED);
	slot->name = name;
	slot->ops = ops;
	slot->opaque = opaque;
	for (int i = (int)bus->n; i > at + 1; i--)
		__atomic_store_n(&bus->order[i], bus->order[i - 1], __ATOMIC_RELAXED);
	__atomic_store_n(&bus->order[at + 1], slot - bus->slots, __ATOMIC_RELAXED);
	__atomic_store_n(&bus->n, bus->n + 1, __ATOMIC_RELAXED);
	change_end(bus);
	return true;
}

bool bus_register(struct bus *bus, uint64_t start, uint64_t len, const char *name,
		  const struct bus_ops *ops, void *opaque, GError **error)
{
	uint64_t last;
	bool ok;

	if (!len || !checked_add(start, len - 1, &last))
		return kv_fail(error, KV_ERROR_INVALID, "%s: %s range of 0x%" G_GINT64_MODIFIER
			       "x bytes at 0x%" G_GINT64_MODIFIER "x does not fit", name, bus->name,
			       len, start);
	g_mutex_lock(&bus->lock);
	ok = insert(bus, start, last, name, ops, opaque, error);
	g_mutex_unlock(&bus->lock);
	return ok;
}

static unsigned own_pins(const struct interval *slot)
{
	unsigned n = 0;

	for (const struct pin *p = pins; p; p = p->outer)
		n += p->slot == slot;
	return n;
}

/* Out of the index; its slot, which stays taken, or NULL. */
static struct interval *take_out(struct bus *bus, uint64_t start)
{
	int at = search(bus, start);
	struct interval *slot = at >= 0 ? &bus->slots[bus->order[at]] : NULL;

	if (!slot || slot->start != start)
		return NULL;
	change_begin(bus);
	for (unsigned i = at; i + 1 < bus->n; i++)
		__atomic_store_n(&bus->order[i], bus->order[i + 1], __ATOMIC_RELAXED);
	__atomic_store_n(&bus->n, bus->n - 1, __ATOMIC_RELAXED);
	change_end(bus);
	return slot;
}

void bus_unregister(struct bus *bus, uint64_t start)
{
	struct interval *slot;

	g_mutex_lock(&bus->lock);
	slot = take_out(bus, start);
	g_mutex_unlock(&bus->lock);
	if (!slot)
		return;
	/* Outside of the lock: the handlers that are waited for may want it. The slot stays taken. */
	while (__atomic_load_n(&slot->users, __ATOMIC_SEQ_CST) > own_pins(slot))
		sched_yield();
	g_mutex_lock(&bus->lock);
	slot->taken = false;
	g_mutex_unlock(&bus->lock);
}

/* The slot is used again when its last handler is done: free_slot(). */
void bus_withdraw(struct bus *bus, uint64_t start)
{
	struct interval *slot;

	g_mutex_lock(&bus->lock);
	slot = take_out(bus, start);
	if (slot)
		slot->taken = false;
	g_mutex_unlock(&bus->lock);
}

bool bus_access(struct bus *bus, uint64_t address, void *data, unsigned size, bool write)
{
	struct interval *slot = acquire(bus, address);
	struct pin pin = { .slot = slot, .outer = pins };
	uint64_t value = 0;

	if (!slot) {
		if (!write)
			memset(data, 0xff, size);
		return false;
	}
	pins = &pin;
	if (write) {
		memcpy(&value, data, MIN(size, sizeof(value)));
		slot->ops->write(slot->opaque, address - slot->start, size, value);
	} else {
		value = slot->ops->read(slot->opaque, address - slot->start, size);
		memcpy(data, &value, MIN(size, sizeof(value)));
	}
	pins = pin.outer;
	__atomic_sub_fetch(&slot->users, 1, __ATOMIC_RELEASE);
	return true;
}
