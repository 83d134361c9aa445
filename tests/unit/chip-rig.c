/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See chip-rig.h. Stands for vcpu.c and vm.c of the software KVM. */
#include <time.h>
#include "chip-rig.h"

_Atomic u64 rig_now;
u32 rig_kicks[MAX_VCPUS];
u8 rig_memory[64];

u64 host_now_ns(void)
{
	u64 now = rig_now;
	struct timespec ts;

	if (now)
		return now;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
}

u64 host_tsc_hz(void)
{
	return 1000000000u;
}

u64 host_ticks_to_ns(u64 ticks)
{
	return ticks;
}

void vcpu_kick(struct vcpu *v)
{
	__atomic_add_fetch(&rig_kicks[v->index], 1, __ATOMIC_SEQ_CST);
}

struct vcpu *vm_vcpu_by_id(struct vm *vm, u32 id)
{
	return id < vm->vcpu_count ? vm->vcpu[id] : NULL;
}

bool vm_read_phys(struct vm *vm, u64 gpa, void *data, unsigned len)
{
	if (gpa + len > sizeof(rig_memory))
		return false;
	memcpy(data, rig_memory + gpa, len);
	return true;
}

bool vm_write_phys(struct vm *vm, u64 gpa, const void *data, unsigned len)
{
	if (gpa + len > sizeof(rig_memory))
		return false;
	memcpy(rig_memory + gpa, data, len);
	return true;
}

struct vm *rig_create(u32 vcpus, bool chips, bool split)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	assert_non_null(vm);
	memset(rig_kicks, 0, sizeof(rig_kicks));
	pthread_mutex_init(&vm->lock, NULL);
	if (chips)
		assert_int_equal(irqchips_create(vm, split, split ? 24 : 0), 0);
	for (u32 i = 0; i < vcpus; i++) {
		struct vcpu *v = aligned_alloc(PAGE_SIZE, (sizeof(*v) + PAGE_SIZE - 1) & PAGE_MASK);

		assert_non_null(v);
		memset(v, 0, sizeof(*v));
		v->vm = vm;
		v->id = v->index = i;
		v->in_run = 1;
		v->cpu.phys_mask = (1ull << 46) - 1;
		if (chips) {
			v->lapic = lapic_create(v);
			assert_non_null(v->lapic);
		}
		vm->vcpu[vm->vcpu_count++] = v;
	}
	return vm;
}

void rig_destroy(struct vm *vm)
{
	ioevents_destroy(vm);
	timers_stop(vm);
	for (u32 i = 0; i < vm->vcpu_count; i++) {
		if (vm->vcpu[i]->lapic)
			lapic_destroy(vm->vcpu[i]->lapic);
		free(vm->vcpu[i]);
	}
	irqchips_destroy(vm);
	timers_destroy(vm);
	pthread_mutex_destroy(&vm->lock);
	free(vm);
	rig_now = 0;
}

u32 rig_apic_read(struct vcpu *v, u32 reg)
{
	u32 value = 0xdeadbeef;

	assert_true(chips_mmio(v, 0xfee00000 + reg, &value, 4, false));
	return value;
}

void rig_apic_write(struct vcpu *v, u32 reg, u32 value)
{
	assert_true(chips_mmio(v, 0xfee00000 + reg, &value, 4, true));
}

void rig_apic_enable(struct vcpu *v)
{
	rig_apic_write(v, 0xf0, 0x1ff);
}

void rig_x2apic(struct vcpu *v)
{
	assert_true(lapic_msr_write(v, 0x1b, lapic_base(v) | 0xc00));
	assert_true(lapic_msr_write(v, 0x80f, 0x1ff));
}

u8 rig_in(struct vm *vm, u16 port)
{
	u8 value = 0;

	assert_true(chips_pio(vm->vcpu[0], port, &value, 1, false));
	return value;
}

void rig_out(struct vm *vm, u16 port, u8 value)
{
	assert_true(chips_pio(vm->vcpu[0], port, &value, 1, true));
}

u32 rig_ioapic_read(struct vm *vm, u8 index)
{
	u32 value = index;

	assert_true(chips_mmio(vm->vcpu[0], 0xfec00000, &value, 4, true));
	assert_true(chips_mmio(vm->vcpu[0], 0xfec00010, &value, 4, false));
	return value;
}

void rig_ioapic_write(struct vm *vm, u8 index, u32 value)
{
	u32 select = index;

	assert_true(chips_mmio(vm->vcpu[0], 0xfec00000, &select, 4, true));
	assert_true(chips_mmio(vm->vcpu[0], 0xfec00010, &value, 4, true));
}

void rig_ioapic_rte(struct vm *vm, unsigned pin, u64 rte)
{
	rig_ioapic_write(vm, (u8)(0x11 + 2 * pin), (u32)(rte >> 32));
	rig_ioapic_write(vm, (u8)(0x10 + 2 * pin), (u32)rte);
}
