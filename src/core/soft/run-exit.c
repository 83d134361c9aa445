/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What KVM_RUN tells user space at an exit, and how its answer is taken when it comes back (run.h). */
#include <string.h>
#include "chip/chip.h"
#include "cpu/host.h"
#include "cpu/insn.h"
#include "cpu/interp.h"
#include "mmu.h"
#include "msr.h"
#include "run.h"

static u64 linear_rip(const struct vcpu *v)
{
	return v->cpu.seg[SEG_CS].base + v->cpu.rip;
}

void exit_simple(struct vcpu *v, u32 exit_reason)
{
	v->run->exit_reason = exit_reason;
	v->exits[exit_reason & 63]++;
}

void exit_state(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	struct cpu *c = &v->cpu;
	bool open = (c->rflags & FL_IF) && !c->intr_shadow && v->user_irq < 0;

	run->if_flag = !!(c->rflags & FL_IF);
	run->ready_for_interrupt_injection = (v->lapic && !irqchips_split(v->vm)) || open;
	run->cr8 = host_get_cr8(c);
	run->apic_base = host_apic_base(c);
	run->flags = 0;
}

/* Bytes at CS:RIP, as many as can be fetched. */
static unsigned code_bytes(struct vcpu *v, u8 *bytes, unsigned max)
{
	u64 la = linear_rip(v);
	unsigned n = 0;

	while (n < max) {
		unsigned room = (unsigned)(PAGE_SIZE - ((la + n) & ~PAGE_MASK)), piece = max - n < room ? max - n : room;
		u64 gpa;
		u8 *host;
		u32 error;
		bool mmio;

		if (!mmu_fetch(&v->cpu, la + n, &gpa, &host, &error, &mmio))
			break;
		memcpy(bytes + n, host + ((la + n) & ~PAGE_MASK), piece);
		n += piece;
	}
	return n;
}

/* Bytes from `off` in ES on that a string goes through before its segment or its address ends; 0: the end is not looked for. */
static u64 string_room(const struct cpu *c, u64 off, unsigned adsize)
{
	const struct segment *es = &c->seg[SEG_ES];
	u64 top = adsize == 2 ? 0xffff : 0xffffffff;

	if (c->mode == MODE_LONG64)
		return adsize == 8 ? UINT64_MAX : top - off + 1;
	if ((es->type & 12) == 4 && c->mode >= MODE_PROT16) /* down to its limit */
		return 0;
	if (es->limit < top)
		top = es->limit;
	return off > top ? 0 : top - off + 1;
}

/*
 * How many elements of a REP INS user space may read at once: one page of the destination, so that none of them faults when the
 * first has not. 1 for anything else, and where a trap comes behind each.
 */
static u32 ins_batch(struct vcpu *v, unsigned size)
{
	struct cpu *c = &v->cpu;
	u64 left = c->gpr[RCX], to = c->gpr[RDI], room, in_segment;
	u8 code[INSN_MAX];
	unsigned n = code_bytes(v, code, sizeof(code));
	struct insn i;

	if (insn_decode(&i, code, n, c->decode_mode) != DECODE_OK || !i.rep || (i.opcode & 0xfe) != 0x6c || i.map)
		return 1;
	if (i.adsize != 8) {
		left &= i.adsize == 2 ? 0xffff : 0xffffffff;
		to &= i.adsize == 2 ? 0xffff : 0xffffffff;
	}
	in_segment = string_room(c, to, i.adsize);
	if (c->mode != MODE_LONG64)
		to += c->seg[SEG_ES].base;
	room = PAGE_SIZE - (to & ~PAGE_MASK);
	room = (in_segment < room ? in_segment : room) / size;
	if ((c->rflags & (FL_DF | FL_TF)) || (c->dr[7] & 0xff) || v->guest_debug || !room)
		return 1;
	return (u32)(left < room ? left : room);
}

static void exit_pio(struct vcpu *v)
{
	struct cpu *c = &v->cpu;
	const struct io_replay *r = &c->replay[c->replay_count - 1];
	struct kvm_run *run = v->run;
	u32 count = r->write || c->single.insn == c->insns || c->replay_count > 1 ? 1 : ins_batch(v, r->len);

	exit_simple(v, KVM_EXIT_IO);
	run->io.direction = r->write ? KVM_EXIT_IO_OUT : KVM_EXIT_IO_IN;
	run->io.size = r->len;
	run->io.port = (u16)r->addr;
	run->io.count = count;
	run->io.data_offset = PAGE_SIZE;
	if (r->write)
		memcpy((u8 *)run + PAGE_SIZE, r->data, sizeof(r->data));
	if (count > 1) {
		v->pio_count = count;
		v->pio_pos = 0;
		v->pio_port = (u16)r->addr;
		v->pio_size = r->len;
		v->pio_rcx = c->gpr[RCX];
		c->replay_count = 0;
	} else {
		v->pio_count = 0;
	}
}

static void exit_mmio(struct vcpu *v)
{
	const struct io_replay *r = &v->cpu.replay[v->cpu.replay_count - 1];
	struct kvm_run *run = v->run;

	exit_simple(v, KVM_EXIT_MMIO);
	run->mmio.phys_addr = r->addr;
	run->mmio.len = r->len;
	run->mmio.is_write = r->write;
	memcpy(run->mmio.data, r->data, sizeof(run->mmio.data)); /* zeros, but for what is written */
}

static void exit_error(struct vcpu *v)
{
	struct kvm_run *run = v->run;

	exit_simple(v, KVM_EXIT_INTERNAL_ERROR);
	memset(&run->internal, 0, sizeof(run->internal));
	run->internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
	run->emulation_failure.insn_size = (u8)code_bytes(v, run->emulation_failure.insn_bytes, 15);
	if (run->emulation_failure.insn_size) {
		run->emulation_failure.ndata = 3;
		run->emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
	}
}

void exit_to_user(struct vcpu *v, unsigned reason)
{
	v->io_rip = linear_rip(v);
	v->io_pending = 0;
	switch (reason) {
	case LEAVE_MMIO:
		v->io_pending = LEAVE_MMIO;
		exit_mmio(v);
		break;
	case LEAVE_PIO:
		v->io_pending = LEAVE_PIO;
		exit_pio(v);
		break;
	case LEAVE_MSR:
		v->io_pending = LEAVE_MSR;
		exit_simple(v, msr_exit_fill(v));
		break;
	case LEAVE_TRIPLE_FAULT:
		exit_simple(v, KVM_EXIT_SHUTDOWN);
		break;
	case LEAVE_DEBUG:
		exit_simple(v, KVM_EXIT_DEBUG);
		break;
	default:
		exit_error(v);
	}
}

static bool batch_waits(const struct vcpu *v)
{
	return v->pio_pos < v->pio_count && linear_rip(v) == v->io_rip;
}

/* A batch is taken to its end before an event can be: whatever its handler asks user space for would replace what is left. */
static unsigned execute_again(struct vcpu *v)
{
	struct cpu *c = &v->cpu;
	unsigned reason = 0;
	u32 taken;

	do {
		taken = v->pio_pos;
		if (!batch_waits(v))
			*vcpu_poll_byte(v) = 1; /* a REP instruction stops after the element that asked */
		c->replay_pos = 0;
		if (interp_step(c, &reason) == INTERP_LEAVE)
			return reason;
		c->replay_count = c->replay_pos = 0;
	} while (batch_waits(v) && v->pio_pos != taken);
	return 0;
}

unsigned exit_complete(struct vcpu *v)
{
	struct cpu *c = &v->cpu;
	struct io_replay *r = &c->replay[c->replay_count ? c->replay_count - 1 : 0];
	unsigned pending = v->io_pending;

	v->io_pending = 0;
	if (!pending)
		return 0;
	if (linear_rip(v) != v->io_rip || v->init_pending) { /* user space set other registers: the access is history */
		c->replay_count = 0;
		v->pio_count = 0;
		return 0;
	}
	if (pending == LEAVE_MSR) {
		msr_exit_complete(v);
	} else if (c->replay_count) {
		if (pending == LEAVE_MMIO && !r->write)
			memcpy(r->data, v->run->mmio.data, sizeof(r->data));
		else if (pending == LEAVE_PIO && !r->write)
			memcpy(r->data, (u8 *)v->run + PAGE_SIZE, sizeof(r->data));
		r->done = true;
		if (!v->guest_debug && interp_finish(c))
			return 0;
	}
	return execute_again(v);
}
