/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The 8254 (ports 40 to 43) and, with KVM_PIT_SPEAKER_DUMMY, the speaker port 61. Channel 0 raises GSI 0. Ticks are
 * reinjected: one goes out when the guest has taken the last, so that none is lost (KVM_REINJECT_CONTROL turns it off).
 * Callers hold irqchips.lock.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"

#define HZ 1193182u
#define NS 1000000000u
#define PERIOD_MIN 200000u

struct pit {
	struct irqchips *chips;
	struct kvm_pit_channel_state ch[3];
	u32 flags;
	bool speaker_port, speaker_on, reinject;
	bool acked; /* the last tick was taken */
	u32 pending;
	u64 period; /* 0: one-shot */
	u64 deadline;
	struct kv_timer timer;
};

enum { RW_LSB = 1, RW_MSB, RW_WORD0, RW_WORD1 };

/* ---- counting ---- */

static u64 ticks_of(u64 ns)
{
	return ns / NS * HZ + ns % NS * HZ / NS;
}

static u64 ns_of(u64 ticks)
{
	return ticks * NS / HZ;
}

static u64 elapsed(const struct kvm_pit_channel_state *s)
{
	u64 now = host_now_ns();

	return now > (u64)s->count_load_time ? ticks_of(now - (u64)s->count_load_time) : 0;
}

static u16 counter(const struct kvm_pit_channel_state *s)
{
	u64 d = elapsed(s);

	switch (s->mode) {
	case 0:
	case 1:
	case 4:
	case 5:
		return (u16)(s->count - d);
	case 3:
		return (u16)(s->count - 2 * d % s->count);
	}
	return (u16)(s->count - d % s->count);
}

static bool output(const struct kvm_pit_channel_state *s)
{
	u64 d = elapsed(s);

	switch (s->mode) {
	case 0:
		return d >= s->count;
	case 1:
		return d < s->count;
	case 2:
		return d && d % s->count == 0;
	case 3:
		return d % s->count < (s->count + 1) >> 1;
	}
	return d == s->count;
}

/* ---- channel 0's interrupt ---- */

static void tick(struct pit *p)
{
	struct vm *vm = p->chips->vm;
	u32 count = __atomic_load_n(&vm->vcpu_count, __ATOMIC_ACQUIRE);

	p->acked = false;
	irq_set_line(vm, 0, 1, IRQ_SOURCE_PIT);
	irq_set_line(vm, 0, 0, IRQ_SOURCE_PIT);
	for (u32 i = 0; i < count; i++)
		if (vm->vcpu[i]->lapic)
			lapic_lint0_nmi(vm->vcpu[i]->lapic); /* the NMI watchdog of old kernels */
}

static void on_timer(struct kv_timer *t)
{
	struct pit *p = t->opaque;
	u64 now = host_now_ns();

	pthread_mutex_lock(&p->chips->lock);
	if (now < p->deadline) {
		timer_set(p->chips->vm, t, p->deadline);
	} else {
		u64 late = p->period ? (now - p->deadline) / p->period + 1 : 1;

		p->deadline = p->period ? p->deadline + late * p->period : UINT64_MAX;
		p->pending += late < NS / PERIOD_MIN ? (u32)late : NS / PERIOD_MIN;
		if (p->pending > NS / PERIOD_MIN)
			p->pending = NS / PERIOD_MIN; /* a guest that was stopped does not get hours of ticks */
		timer_set(p->chips->vm, t, p->deadline);
		if (!p->reinject || p->acked)
			tick(p);
	}
	pthread_mutex_unlock(&p->chips->lock);
}

void pit_ack(struct irqchips *c)
{
	struct pit *p = c->pit;

	if (!p)
		return;
	p->acked = true;
	if (!p->reinject || !p->pending)
		return;
	if (--p->pending)
		tick(p);
}

void pit_unmask(struct irqchips *c)
{
	if (!c->pit)
		return;
	c->pit->pending = 0;
	c->pit->acked = true;
}

static void start(struct pit *p)
{
	const struct kvm_pit_channel_state *s = &p->ch[0];
	u64 ns = ns_of(s->count);

	p->deadline = UINT64_MAX;
	p->period = 0;
	pit_unmask(p->chips);
	if (s->mode <= 4 && !(p->flags & KVM_PIT_FLAGS_HPET_LEGACY)) {
		if (s->mode == 2 || s->mode == 3)
			p->period = ns = ns < PERIOD_MIN ? PERIOD_MIN : ns;
		p->deadline = (u64)s->count_load_time + ns;
	}
	timer_set(p->chips->vm, &p->timer, p->deadline);
}

static void load(struct pit *p, unsigned channel, u32 count)
{
	p->ch[channel].count = count ? count : 0x10000;
	p->ch[channel].count_load_time = (s64)host_now_ns();
	if (channel == 0)
		start(p);
}

/* ---- ports (8254 data sheet) ---- */

static void latch_count(struct kvm_pit_channel_state *s)
{
	if (s->count_latched)
		return;
	s->latched_count = counter(s);
	s->count_latched = s->rw_mode;
}

static void latch_status(struct kvm_pit_channel_state *s)
{
	unsigned high = output(s);

	if (s->status_latched)
		return;
	s->status = (u8)(high << 7 | (s->rw_mode & 3u) << 4 | (s->mode & 7u) << 1 | s->bcd);
	s->status_latched = 1;
}

static void write_control(struct pit *p, u8 value)
{
	unsigned channel = value >> 6, access = value >> 4 & 3;
	struct kvm_pit_channel_state *s = &p->ch[channel % 3];

	if (channel == 3) { /* read-back */
		for (unsigned i = 0; i < 3; i++) {
			if (!(value & 2u << i))
				continue;
			if (!(value & 0x20))
				latch_count(&p->ch[i]);
			if (!(value & 0x10))
				latch_status(&p->ch[i]);
		}
	} else if (!access) {
		latch_count(s);
	} else {
		s->rw_mode = s->read_state = s->write_state = (u8)access;
		s->mode = value >> 1 & 7;
		if (s->mode > 5)
			s->mode -= 4;
		s->bcd = value & 1;
	}
}

static void write_counter(struct pit *p, unsigned channel, u8 value)
{
	struct kvm_pit_channel_state *s = &p->ch[channel];

	switch (s->write_state) {
	case RW_LSB:
		load(p, channel, value);
		break;
	case RW_MSB:
		load(p, channel, (u32)value << 8);
		break;
	case RW_WORD0:
		s->write_latch = value;
		s->write_state = RW_WORD1;
		break;
	case RW_WORD1:
		s->write_state = RW_WORD0;
		load(p, channel, s->write_latch | (u32)value << 8);
		break;
	}
}

static u8 read_latched(struct kvm_pit_channel_state *s)
{
	unsigned how = s->count_latched;

	s->count_latched = how == RW_WORD0 ? RW_MSB : 0;
	return (u8)(how == RW_MSB ? s->latched_count >> 8 : s->latched_count);
}

static u8 read_counter(struct kvm_pit_channel_state *s)
{
	u16 count;

	if (s->status_latched) {
		s->status_latched = 0;
		return s->status;
	}
	if (s->count_latched)
		return read_latched(s);
	count = counter(s);
	switch (s->read_state) {
	case RW_MSB:
		return (u8)(count >> 8);
	case RW_WORD0:
		s->read_state = RW_WORD1;
		break;
	case RW_WORD1:
		s->read_state = RW_WORD0;
		return (u8)(count >> 8);
	}
	return (u8)count;
}

static void set_gate(struct kvm_pit_channel_state *s, bool gate)
{
	if (gate && !s->gate && s->mode != 0 && s->mode != 4)
		s->count_load_time = (s64)host_now_ns();
	s->gate = gate;
}

static u8 read_speaker(const struct pit *p)
{
	unsigned refresh = host_now_ns() >> 14 & 1;

	return (u8)((unsigned)p->speaker_on << 1 | p->ch[2].gate | (unsigned)output(&p->ch[2]) << 5 | refresh << 4);
}

bool pit_pio(struct irqchips *c, u16 port, void *data, unsigned size, bool write)
{
	struct pit *p = c->pit;
	u8 *value = data;

	if (!p || (port == 0x61 ? !p->speaker_port : (port & ~3) != 0x40))
		return false;
	if (write) {
		if (port == 0x61) {
			p->speaker_on = *value >> 1 & 1;
			set_gate(&p->ch[2], *value & 1);
		} else if (port == 0x43) {
			write_control(p, *value);
		} else {
			write_counter(p, port & 3, *value);
		}
		return true;
	}
	memset(data, 0, size);
	if (port != 0x43)
		*value = port == 0x61 ? read_speaker(p) : read_counter(&p->ch[port & 3]);
	return true;
}

/* ---- life and state ---- */

int pit_create(struct vm *vm, const struct kvm_pit_config *config)
{
	struct irqchips *c = vm->chips;
	struct pit *p;
	int err;

	if (!c || c->split)
		return -ENOENT;
	if (c->pit)
		return -EEXIST;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->chips = c;
	p->speaker_port = config->flags & KVM_PIT_SPEAKER_DUMMY;
	p->reinject = p->acked = true;
	p->deadline = UINT64_MAX;
	p->timer = (struct kv_timer){ .deadline = UINT64_MAX, .fire = on_timer, .opaque = p };
	err = timer_add(vm, &p->timer);
	if (err) {
		free(p);
		return err;
	}
	for (unsigned i = 0; i < 3; i++) {
		p->ch[i].mode = 0xff;
		p->ch[i].gate = i != 2;
		load(p, i, 0);
	}
	pthread_mutex_lock(&c->lock);
	c->pit = p;
	pthread_mutex_unlock(&c->lock);
	return 0;
}

void pit_destroy(struct irqchips *c)
{
	if (!c->pit)
		return;
	timer_remove(c->vm, &c->pit->timer);
	free(c->pit);
	c->pit = NULL;
}

int pit_get(struct vm *vm, struct kvm_pit_state2 *s)
{
	struct irqchips *c = vm->chips;

	if (!c->pit)
		return -ENXIO;
	memset(s, 0, sizeof(*s));
	pthread_mutex_lock(&c->lock);
	memcpy(s->channels, c->pit->ch, sizeof(s->channels));
	s->flags = c->pit->flags | (c->pit->speaker_on ? KVM_PIT_FLAGS_SPEAKER_DATA_ON : 0);
	pthread_mutex_unlock(&c->lock);
	return 0;
}

int pit_set(struct vm *vm, const struct kvm_pit_state2 *s)
{
	struct irqchips *c = vm->chips;
	struct pit *p = c->pit;
	s64 now = (s64)host_now_ns();

	if (!p)
		return -ENXIO;
	pthread_mutex_lock(&c->lock);
	memcpy(p->ch, s->channels, sizeof(p->ch));
	for (unsigned i = 0; i < 3; i++) {
		struct kvm_pit_channel_state *ch = &p->ch[i];

		if (!ch->count || ch->count > 0x10000)
			ch->count = 0x10000;
		if (ch->count_load_time < 0 || ch->count_load_time > now)
			ch->count_load_time = now;
		ch->gate = ch->gate != 0;
		ch->bcd &= 1;
	}
	p->flags = s->flags & KVM_PIT_FLAGS_HPET_LEGACY;
	p->speaker_on = s->flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON;
	load(p, 0, p->ch[0].count);
	pthread_mutex_unlock(&c->lock);
	return 0;
}

int pit_set_reinject(struct vm *vm, bool on)
{
	struct irqchips *c = vm->chips;

	if (!c || !c->pit)
		return -ENXIO;
	pthread_mutex_lock(&c->lock);
	c->pit->reinject = on;
	pit_unmask(c);
	pthread_mutex_unlock(&c->lock);
	return 0;
}
