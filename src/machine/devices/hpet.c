/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * High precision event timers (IA-PC HPET specification 1.0a) at PC_HPET_BASE: a counter of 100 MHz and three comparators, the
 * first of them periodic, too. With legacy replacement they are the 8254's channel 0 and the clock's interrupt, which KVM and
 * mc146818.c then hold back. Created by the board.
 */
#include <errno.h>

#include "../internal.h"
#include "classes.h"
#include "log.h"
#include "timer.h"

enum { TIMERS = 3, SPACE = 0x400 };
enum { ID = 0x00, CONFIG = 0x10, STATUS = 0x20, COUNTER = 0xf0, FIRST_TIMER = 0x100, TIMER_SPACE = 0x20 };
enum { TIMER_CONFIG = 0x00, TIMER_COMPARATOR = 0x08 };
enum { ENABLE_CNF = 1, LEG_RT_CNF = 2 };
enum { INT_TYPE_LEVEL = 2, INT_ENB = 4, TYPE_PERIODIC = 8, PER_CAP = 0x10, SIZE_64 = 0x20, VAL_SET = 0x40, MODE_32 = 0x100 };
enum { ROUTE_SHIFT = 9, ROUTE = 31 << ROUTE_SHIFT };
enum { TIMER_WRITABLE = INT_TYPE_LEVEL | INT_ENB | TYPE_PERIODIC | VAL_SET | MODE_32 | ROUTE };

#define HZ	      100000000u
#define TICK_FS	      (1000000000000000ull / HZ)
#define ROUTES	      0xf00000u /* GSIs 20 to 23: the ones that nobody has */
#define NEVER	      UINT64_MAX
#define LATE	      (1u << 31) /* ticks */
#define PIT_GSI	      0
#define INTERVAL_MIN  50000 /* ns between two interrupts of a period that nobody could serve */

struct hpet_timer {
	uint32_t config;
	uint64_t comparator; /* periodic: the next of them */
	uint64_t period;     /* ticks */
	uint64_t due;	     /* the counter's value then, or NEVER */
	bool asserted;	     /* a level */
};

struct hpet {
	struct device dev;
	GMutex lock;
	struct chip_timer *alarm; /* the first that is due */
	uint64_t not_before;	  /* ns */
	uint32_t config, status;
	struct chip_counter counter;
	bool halted; /* the machine has not run since it was made, reset or loaded */
	struct hpet_timer timer[TIMERS];
};

/* ---- interrupts; h->lock held, as below ---- */

static bool legacy(const struct hpet *h)
{
	return h->config & LEG_RT_CNF;
}

/* The GSI of timer n, or -1. */
static int gsi_of(const struct hpet *h, unsigned n)
{
	static const uint8_t replaced[] = {PIT_GSI, RTC_GSI};
	unsigned route = (h->timer[n].config & ROUTE) >> ROUTE_SHIFT;

	if (legacy(h) && n < G_N_ELEMENTS(replaced))
		return replaced[n];
	return ROUTES >> route & 1 ? (int)route : -1;
}

static void set_level(struct hpet *h, unsigned n, bool level)
{
	int gsi = gsi_of(h, n);

	if (h->timer[n].asserted != level && gsi >= 0)
		machine_irq(h->dev.core, (uint32_t)gsi, level);
	h->timer[n].asserted = level;
}

static void interrupt(struct hpet *h, unsigned n)
{
	uint32_t config = h->timer[n].config;
	int gsi = gsi_of(h, n);

	if (config & INT_TYPE_LEVEL) {
		h->status |= 1u << n;
		if (config & INT_ENB)
			set_level(h, n, true);
	} else if (config & INT_ENB && gsi >= 0) {
		machine_irq(h->dev.core, (uint32_t)gsi, true);
		machine_irq(h->dev.core, (uint32_t)gsi, false);
	}
}

/* The 8254 stands still, or runs again; what KVM refuses leaves it as it was. */
static void hold_pit(struct hpet *h, bool hold)
{
	struct kvm_pit_state2 pit;
	int fd = h->dev.core->vm_fd;

	if (fd < 0)
		return;
	if (kvcore_ioctl(fd, KVM_GET_PIT2, &pit) == 0) {
		pit.flags = (pit.flags & ~(uint32_t)KVM_PIT_FLAGS_HPET_LEGACY) | (hold ? KVM_PIT_FLAGS_HPET_LEGACY : 0);
		if (kvcore_ioctl(fd, KVM_SET_PIT2, &pit) == 0)
			return;
	}
	kv_log_debug("%s: the 8254: %s", h->dev.id, g_strerror(errno));
}

static void set_legacy(struct hpet *h, bool on)
{
	if (on == legacy(h))
		return;
	for (unsigned i = 0; i < TIMERS; i++)
		set_level(h, i, false);
	h->config = (h->config & ~(uint32_t)LEG_RT_CNF) | (on ? LEG_RT_CNF : 0);
	__atomic_store_n(&h->dev.core->hpet_legacy, on, __ATOMIC_SEQ_CST);
	hold_pit(h, on);
	machine_irq(h->dev.core, PIT_GSI, false);
	machine_irq(h->dev.core, RTC_GSI, false);
}

/* ---- comparators ---- */

static bool enabled(const struct hpet *h)
{
	return h->config & ENABLE_CNF;
}

/*
 * When the counter comes to the comparator. late: software has just written it, and if the counter came there first, a short
 * while ago, that counts as now: drivers do not expect to wait for a whole turn.
 */
static void arm(struct hpet *h, unsigned n, bool late)
{
	struct hpet_timer *t = &h->timer[n];
	uint64_t now = chip_counter_read(&h->counter), left = t->comparator - now, ago = -left;

	if (t->config & MODE_32) {
		left = (uint32_t)left;
		ago = (uint32_t)ago;
	}
	if (late && ago <= LATE)
		left = 0;
	t->due = enabled(h) && left < NEVER - now ? now + left : NEVER;
}

/* Its moment has come: to the next one, of which those that have passed meanwhile are lost. */
static void expire(struct hpet *h, unsigned n, uint64_t now)
{
	struct hpet_timer *t = &h->timer[n];
	uint64_t step = t->config & TYPE_PERIODIC ? t->period : t->config & MODE_32 ? 1ull << 32 : 0;
	uint64_t passed = step ? ((now - t->due) / step + 1) * step : 0;

	t->due = passed && passed < NEVER - t->due ? t->due + passed : NEVER;
	if (t->config & TYPE_PERIODIC && t->due != NEVER)
		t->comparator = t->config & MODE_32 ? (uint32_t)t->due : t->due;
	interrupt(h, n);
}

static void set_alarm(struct hpet *h, uint64_t now)
{
	uint64_t first = NEVER, at;

	for (unsigned i = 0; i < TIMERS; i++)
		if (h->timer[i].config & INT_ENB)
			first = MIN(first, h->timer[i].due);
	if (first == NEVER || h->halted) {
		chip_timer_set(h->alarm, CHIP_TIMER_NEVER);
		return;
	}
	at = chip_timer_now() + (first > now ? chip_counter_ns(&h->counter, first - now) : 0);
	chip_timer_set(h->alarm, MAX(at, h->not_before));
}

/* What is due by now, and when to look again. */
static void run(struct hpet *h)
{
	uint64_t now = chip_counter_read(&h->counter);

	for (unsigned i = 0; i < TIMERS; i++)
		if (h->timer[i].due <= now)
			expire(h, i, now);
	set_alarm(h, now);
}

static void on_alarm(void *opaque)
{
	struct hpet *h = opaque;

	g_mutex_lock(&h->lock);
	h->not_before = chip_timer_now() + INTERVAL_MIN;
	run(h);
	g_mutex_unlock(&h->lock);
}

/* ---- registers ---- */

static uint64_t timer_config(const struct hpet_timer *t, unsigned n)
{
	return t->config | SIZE_64 | (n == 0 ? PER_CAP : 0) | (uint64_t)ROUTES << 32;
}

/* The 64 bits at a multiple of 8. */
static uint64_t read_qword(const struct hpet *h, unsigned at)
{
	unsigned n = (at - FIRST_TIMER) / TIMER_SPACE;

	switch (at) {
	case ID:
		return PC_HPET_ID | TICK_FS << 32;
	case CONFIG:
		return h->config;
	case STATUS:
		return h->status;
	case COUNTER:
		return chip_counter_read(&h->counter);
	default:
		break;
	}
	if (at < FIRST_TIMER || n >= TIMERS)
		return 0;
	if (at % TIMER_SPACE == TIMER_CONFIG)
		return timer_config(&h->timer[n], n);
	return at % TIMER_SPACE == TIMER_COMPARATOR ? h->timer[n].comparator : 0;
}

/* It counts, as the guest wants and as the machine runs; the comparators are armed while it stands. */
static void update_counter(struct hpet *h)
{
	chip_counter_stop(&h->counter);
	for (unsigned i = 0; i < TIMERS; i++)
		arm(h, i, false);
	if (enabled(h) && !h->halted)
		chip_counter_start(&h->counter);
}

static void write_config(struct hpet *h, uint32_t v)
{
	bool was = enabled(h);

	set_legacy(h, v & LEG_RT_CNF);
	h->config = (h->config & ~(uint32_t)ENABLE_CNF) | (v & ENABLE_CNF);
	if (enabled(h) != was)
		update_counter(h);
}

static void write_timer_config(struct hpet *h, unsigned n, uint32_t v)
{
	struct hpet_timer *t = &h->timer[n];
	uint32_t writable = n == 0 ? TIMER_WRITABLE : TIMER_WRITABLE & ~(TYPE_PERIODIC | VAL_SET);
	bool rearm = (t->config ^ v) & writable & (TYPE_PERIODIC | MODE_32);

	set_level(h, n, false);
	if (!(v & INT_TYPE_LEVEL))
		h->status &= ~(1u << n);
	t->config = v & writable;
	if (t->config & MODE_32) {
		t->comparator = (uint32_t)t->comparator;
		t->period = (uint32_t)t->period;
	}
	if (h->status >> n & 1 && t->config & INT_ENB)
		set_level(h, n, true);
	if (rearm)
		arm(h, n, false);
}

/* A periodic one: the value of the accumulator after VAL_SET, and always the period (2.3.9.2.2). */
static void write_comparator(struct hpet *h, unsigned n, uint64_t v, uint64_t mask)
{
	struct hpet_timer *t = &h->timer[n];
	bool periodic = t->config & TYPE_PERIODIC;

	if (t->config & MODE_32)
		mask &= UINT32_MAX;
	if (!periodic || t->config & VAL_SET)
		t->comparator = (t->comparator & ~mask) | (v & mask);
	if (periodic)
		t->period = (t->period & ~mask) | (v & mask);
	t->config &= ~(uint32_t)VAL_SET;
	arm(h, n, true);
}

static void write_counter(struct hpet *h, uint64_t v, uint64_t mask)
{
	if (enabled(h))
		return; /* 2.3.7: software halts it first */
	chip_counter_write(&h->counter, (h->counter.value & ~mask) | (v & mask));
	update_counter(h);
}

static void write_status(struct hpet *h, uint32_t v)
{
	for (unsigned i = 0; i < TIMERS; i++)
		if (v >> i & 1)
			set_level(h, i, false);
	h->status &= ~v;
}

/* v and mask are in place: the bytes that are written. */
static void write_qword(struct hpet *h, unsigned at, uint64_t v, uint64_t mask)
{
	uint64_t merged = (read_qword(h, at) & ~mask) | (v & mask);
	unsigned n = (at - FIRST_TIMER) / TIMER_SPACE;

	if (at == CONFIG)
		write_config(h, (uint32_t)merged);
	else if (at == STATUS)
		write_status(h, (uint32_t)(v & mask));
	else if (at == COUNTER)
		write_counter(h, v, mask);
	else if (at < FIRST_TIMER || n >= TIMERS)
		return;
	else if (at % TIMER_SPACE == TIMER_CONFIG && (mask & UINT32_MAX))
		write_timer_config(h, n, (uint32_t)merged);
	else if (at % TIMER_SPACE == TIMER_COMPARATOR)
		write_comparator(h, n, v, mask);
}

static uint64_t hpet_read(void *opaque, uint64_t offset, unsigned size)
{
	struct hpet *h = opaque;
	uint64_t v;

	g_mutex_lock(&h->lock);
	run(h);
	v = read_qword(h, offset & ~7u);
	g_mutex_unlock(&h->lock);
	return v >> 8 * (offset & 7);
}

static void hpet_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct hpet *h = opaque;
	unsigned shift = 8 * (offset & 7);
	uint64_t mask = size >= 8 ? UINT64_MAX : (1ull << 8 * size) - 1;

	g_mutex_lock(&h->lock);
	run(h);
	write_qword(h, offset & ~7u, data << shift, mask << shift);
	run(h);
	g_mutex_unlock(&h->lock);
}

static const struct bus_ops hpet_ops = {hpet_read, hpet_write};

/* ---- life ---- */

static void hpet_reset(struct device *dev)
{
	struct hpet *h = (struct hpet *)dev;

	g_mutex_lock(&h->lock);
	set_legacy(h, false);
	for (unsigned i = 0; i < TIMERS; i++) {
		set_level(h, i, false);
		h->timer[i] = (struct hpet_timer){.due = NEVER, .comparator = UINT64_MAX};
	}
	h->config = h->status = 0;
	h->counter = (struct chip_counter){.hz = HZ, .stopped = true};
	h->halted = true;
	run(h);
	g_mutex_unlock(&h->lock);
}

static bool hpet_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct hpet *h = (struct hpet *)dev;

	g_mutex_init(&h->lock);
	h->alarm = chip_timer_new(dev->core->context, on_alarm, h, error);
	if (!h->alarm)
		return false;
	hpet_reset(dev);
	return bus_register(dev->core->mmio, PC_HPET_BASE, SPACE, "hpet", &hpet_ops, h, error);
}

static void hpet_destroy(struct device *dev)
{
	struct hpet *h = (struct hpet *)dev;

	bus_unregister(dev->core->mmio, PC_HPET_BASE);
	chip_timer_free(h->alarm);
	g_mutex_clear(&h->lock);
}

static void hpet_pause(struct device *dev)
{
	struct hpet *h = (struct hpet *)dev;

	g_mutex_lock(&h->lock);
	if (!h->halted)
		run(h);
	chip_counter_snapshot(&h->counter);
	chip_timer_set(h->alarm, CHIP_TIMER_NEVER);
	g_mutex_unlock(&h->lock);
}

/* The counter ran on meanwhile, as the time stamp counter did; after a load it goes on where it was. */
static void hpet_resume(struct device *dev)
{
	struct hpet *h = (struct hpet *)dev;

	g_mutex_lock(&h->lock);
	h->halted = false;
	if (enabled(h))
		chip_counter_start(&h->counter);
	run(h);
	g_mutex_unlock(&h->lock);
}

static bool hpet_loaded(void *opaque, GError **error)
{
	struct hpet *h = opaque;

	g_mutex_lock(&h->lock);
	h->config &= ENABLE_CNF | LEG_RT_CNF;
	h->status &= (1u << TIMERS) - 1;
	h->halted = h->counter.stopped = true;
	__atomic_store_n(&h->dev.core->hpet_legacy, legacy(h), __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < TIMERS; i++) {
		struct hpet_timer *t = &h->timer[i];
		int gsi = gsi_of(h, i);

		t->config &= i == 0 ? TIMER_WRITABLE : TIMER_WRITABLE & ~(TYPE_PERIODIC | VAL_SET);
		if (t->asserted && gsi >= 0)
			machine_irq(h->dev.core, (uint32_t)gsi, true);
	}
	chip_timer_set(h->alarm, CHIP_TIMER_NEVER);
	g_mutex_unlock(&h->lock);
	return true;
}

static const struct state_field counter_fields[] = {STATE_INT(struct chip_counter, value, STATE_U64), STATE_END};
static const struct state_field timer_fields[] = {
	STATE_INT(struct hpet_timer, config, STATE_U32), STATE_INT(struct hpet_timer, comparator, STATE_U64),
	STATE_INT(struct hpet_timer, period, STATE_U64), STATE_INT(struct hpet_timer, due, STATE_U64),
	STATE_INT(struct hpet_timer, asserted, STATE_BOOL), STATE_END};
static const struct state_field hpet_fields[] = {STATE_INT(struct hpet, config, STATE_U32),
						 STATE_INT(struct hpet, status, STATE_U32),
						 STATE_ONE(struct hpet, counter, counter_fields),
						 STATE_MANY(struct hpet, timer, timer_fields),
						 STATE_END};
static const struct state_desc hpet_state = {"hpet", 1, 1, hpet_fields, NULL, hpet_loaded};

const struct device_class device_hpet = {
	.name = "hpet",
	.description = "high precision event timers",
	.size = sizeof(struct hpet),
	.create = hpet_create,
	.reset = hpet_reset,
	.destroy = hpet_destroy,
	.pause = hpet_pause,
	.resume = hpet_resume,
	.state = &hpet_state,
};
