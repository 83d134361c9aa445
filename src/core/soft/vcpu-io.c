/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a guest's processor meets outside memory (cpu/host.h): in-core chips, ioeventfds, coalesced zones, else user space
 * by replay. Called by the MMU and the interpreter on the vCPU's thread.
 */
#include <string.h>
#include "chip/chip.h"
#include "coalesced.h"
#include "cpu/host.h"
#include "msr.h"
#include "run.h"
#include "soft.h"
#include "sys.h"

/* At most the eight bytes of a record. */
static inline void copy_data(void *dst, const void *src, unsigned len)
{
	for (unsigned n = 0; n < len; n++)
		((volatile u8 *)dst)[n] = ((const u8 *)src)[n];
}

/* The answer user space gave when this instruction was tried before. Another access drops the rest of the record. */
static bool replayed(struct cpu *c, u64 addr, void *data, unsigned len, bool write, bool port)
{
	struct io_replay *r = &c->replay[c->replay_pos];

	if (likely(c->replay_pos >= c->replay_count))
		return false;
	if (!r->done || r->addr != addr || r->len != len || r->write != write || r->port != port) {
		c->replay_count = c->replay_pos;
		return false;
	}
	c->replay_pos++;
	if (!write)
		copy_data(data, r->data, len);
	return true;
}

static void __attribute__((noreturn)) ask_user(struct cpu *c, u64 addr, const void *data, unsigned len, bool write, bool port)
{
	struct io_replay *r = &c->replay[c->replay_count];

	if (c->replay_count == IO_REPLAY_MAX)
		cpu_leave(c, LEAVE_ERROR);
	*r = (struct io_replay){ .addr = addr, .len = (u8)len, .write = write, .port = port };
	if (write)
		copy_data(r->data, data, len);
	c->replay_count++;
	cpu_leave(c, port ? LEAVE_PIO : LEAVE_MMIO);
}

/* A lowered priority may have made an interrupt deliverable. */
static void recheck(struct vcpu *v)
{
	if (v->lapic && lapic_pending(v) >= 0)
		vcpu_request(v, REQ_EVENT);
}

void host_mmio(struct cpu *c, u64 gpa, void *data, unsigned len, bool write)
{
	struct vcpu *v = c->vcpu;

	if (replayed(c, gpa, data, len, write, false))
		return;
	if (v->vm->chips && chips_mmio(v, gpa, data, len, write)) {
		if (write)
			recheck(v);
		return;
	}
	if (write && ((v->vm->ioevents && ioeventfd_match(v->vm, gpa, data, len, false)) ||
		      coalesced_write(v->vm, gpa, data, len, false)))
		return;
	ask_user(c, gpa, data, len, write, false);
}

/* A batch of REP INS elements that user space filled at once (run.c): the next one, if this is its instruction still. */
static bool pio_batch_take(struct vcpu *v, u16 port, void *data, unsigned size)
{
	struct cpu *c = &v->cpu;

	if (v->pio_pos >= v->pio_count)
		return false;
	if (v->pio_port != port || v->pio_size != size || (u32)v->pio_rcx != (u32)c->gpr[RCX] ||
	    v->io_rip != c->seg[SEG_CS].base + c->rip) {
		v->pio_count = 0;
		return false;
	}
	memcpy(data, (u8 *)v->run + PAGE_SIZE + v->pio_pos * size, size);
	v->pio_rcx--;
	if (++v->pio_pos == v->pio_count)
		*vcpu_poll_byte(v) = 1; /* the next one has to be asked for; events come first */
	return true;
}

void host_pio(struct cpu *c, u16 port, void *data, unsigned size, bool write)
{
	struct vcpu *v = c->vcpu;

	if (unlikely(v->pio_count) && !write && pio_batch_take(v, port, data, size))
		return;
	if (replayed(c, port, data, size, write, true))
		return;
	if (v->vm->chips && chips_pio(v, port, data, size, write))
		return;
	if (write && ((v->vm->ioevents && ioeventfd_match(v->vm, port, data, size, true)) ||
		      coalesced_write(v->vm, port, data, size, true)))
		return;
	ask_user(c, port, data, size, write, true);
}

u64 host_tsc(struct cpu *c)
{
	return sys_rdtsc() + (u64)c->tsc_offset;
}

u64 host_get_cr8(struct cpu *c)
{
	return c->vcpu->lapic ? lapic_get_tpr(c->vcpu) : c->cr8;
}

void host_set_cr8(struct cpu *c, u64 value)
{
	if (c->vcpu->lapic) {
		lapic_set_tpr(c->vcpu, value & 15);
		recheck(c->vcpu);
	} else {
		c->cr8 = value & 15;
	}
}

u64 host_apic_base(struct cpu *c)
{
	return c->vcpu->lapic ? lapic_base(c->vcpu) : c->vcpu->apic_base;
}

void host_event_check(struct cpu *c)
{
	struct vcpu *v = c->vcpu;

	if (v->event_blocked)
		vcpu_request(v, REQ_EVENT);
}

bool host_nmi_done(struct cpu *c)
{
	c->nmi_blocked = false;
	host_event_check(c);
	return true;
}

bool host_rdmsr(struct cpu *c, u32 index, u64 *value)
{
	return msr_guest_access(c->vcpu, index, value, false);
}

bool host_wrmsr(struct cpu *c, u32 index, u64 value)
{
	bool ok = msr_guest_access(c->vcpu, index, &value, true);

	if (ok && index - 0x800 < 0x100)
		recheck(c->vcpu);
	return ok;
}
