/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: the chips of the pc board without a CPU, as a hostile guest sees them. The input is a program: ports,
 * configuration spaces, the registers in memory wherever they are now, PCI lines, buttons, sleep, time, resets, saved states
 * from somewhere else. Nothing is expected but that the process survives, that what the guest asks of KVM is about GSIs that
 * there are, and that a reset brings the first state back.
 *
 * Input: operations of one byte and their operands (see step()); it ends with the bytes.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz-input.h"
#include "internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CHIPS = 4, MCH = 0, LPC = 1, STEPS = 2048 };

struct fuzz {
	struct machine_core core;
	struct device *chip[CHIPS];
	struct fuzz_input in;
};

static const char *const names[CHIPS] = {"q35-mch", "ich9-lpc", "hpet", "mc146818"};

/* core.h, in place of the library's. */
int kvcore_ioctl(int fd, unsigned long request, ...)
{
	static uint32_t pit_flags;
	va_list args;
	void *p;

	va_start(args, request);
	p = va_arg(args, void *);
	va_end(args);
	if (request == KVM_IRQ_LINE) {
		if (((const struct kvm_irq_level *)p)->irq > 23)
			abort();
	} else if (request == KVM_GET_PIT2) {
		*(struct kvm_pit_state2 *)p = (struct kvm_pit_state2){.flags = pit_flags};
	} else if (request == KVM_SET_PIT2) {
		pit_flags = ((const struct kvm_pit_state2 *)p)->flags;
		if (pit_flags & ~(uint32_t)KVM_PIT_FLAGS_HPET_LEGACY)
			abort();
	}
	return 0;
}

static void request(void *machine, enum machine_request what)
{
}

static void access_mmio(struct fuzz *f, uint64_t at, unsigned size, bool write)
{
	uint64_t v = write ? fuzz_take(&f->in, size) : 0;

	bus_access(f->core.mmio, at, &v, size, write);
}

static void access_port(struct fuzz *f, uint16_t port, unsigned size, bool write)
{
	uint64_t v = write ? fuzz_take(&f->in, size) : 0;

	bus_access(f->core.ports, port, &v, size, write);
}

static void access_config(struct fuzz *f, unsigned chip, unsigned at, unsigned size, bool write)
{
	uint32_t address = 0x80000000 | (chip == MCH ? 0 : PC_LPC_SLOT << 11) | (at & 0xfc);

	bus_access(f->core.ports, 0xcf8, &address, 4, true);
	access_port(f, (uint16_t)(0xcfc + (at & 3)), size, write);
}

static void set_config(struct fuzz *f, unsigned chip, unsigned at, uint32_t v)
{
	uint32_t address = 0x80000000 | (chip == MCH ? 0 : PC_LPC_SLOT << 11) | at;

	bus_access(f->core.ports, 0xcf8, &address, 4, true);
	bus_access(f->core.ports, 0xcfc, &v, 4, true);
}

/* Half of the time a stream from somewhere else: with a bit that no guest wrote, under a checksum that fits. */
static void save_and_load(struct fuzz *f, struct device *d)
{
	GByteArray *stream = g_byte_array_new();
	unsigned bit = (unsigned)fuzz_take(&f->in, 2);
	size_t offset = 0;
	GBytes *bytes;

	if (d->cls->pause)
		d->cls->pause(d);
	state_save(stream, d->cls->state, d->id, d);
	if (bit & 1) {
		uint32_t h = 2166136261u;

		stream->data[12 + (bit >> 4) % (stream->len - 12)] ^= (uint8_t)(1 << (bit >> 1 & 7));
		for (guint i = 12; i < stream->len; i++)
			h = (h ^ stream->data[i]) * 16777619u;
		memcpy(stream->data + 8, &h, 4);
	}
	bytes = g_byte_array_free_to_bytes(stream);
	if (!state_load(bytes, &offset, d->cls->state, d->id, d, NULL))
		d->cls->reset(d);
	g_bytes_unref(bytes);
	if (d->cls->resume)
		d->cls->resume(d);
}

static void step(struct fuzz *f)
{
	static const uint16_t ports[] = {0x70, 0x71, 0x92, 0xb2, 0xb3, 0xcf8, 0xcfc, 0x600};
	unsigned op = (unsigned)fuzz_take(&f->in, 1), size = 1u << (op >> 4 & 3), at = (unsigned)fuzz_take(&f->in, 1);
	bool write = op & 0x80;
	struct device *d = f->chip[at % CHIPS];

	switch (op & 15) {
	case 0:
	case 1:
		access_port(f, ports[at % G_N_ELEMENTS(ports)], MIN(size, 4u), write);
		break;
	case 2:
	case 3:
		access_port(f, (uint16_t)(PM_BASE + at % PC_PM_PORTS), MIN(size, 4u), write);
		break;
	case 4:
		access_config(f, MCH, at, MIN(size, 4u), write);
		break;
	case 5:
		access_config(f, LPC, at, MIN(size, 4u), write);
		break;
	case 6: /* configuration space in memory */
		access_mmio(f, 0xb0000000 + at + (fuzz_take(&f->in, 1) & 0xf8) * 0x1000, size, write);
		break;
	case 7:
		access_mmio(f, PC_RCBA_BASE + 0x3000 + at * 8, size, write);
		break;
	case 8:
	case 9:
	case 10:
		access_mmio(f, PC_HPET_BASE + at % 0xc0 * 2, size, write);
		break;
	case 11:
		f->core.pci_intx(f->core.pci_intx_opaque, at % 4, write);
		break;
	case 12:
		if (write)
			ich9_lpc_power_button(f->chip[LPC]);
		else
			f->core.wake(f->core.wake_opaque, at % (WAKE_OTHER + 1));
		break;
	case 13:
		for (unsigned i = 0; i < 16 && g_main_context_iteration(NULL, FALSE); i++)
			continue;
		break;
	case 14:
		save_and_load(f, d);
		break;
	default:
		f->core.waking = write;
		d->cls->reset(d);
		f->core.waking = false;
		if (d->cls->resume)
			d->cls->resume(d);
	}
}

static GBytes *fresh_state(struct fuzz *f, unsigned i)
{
	GByteArray *stream = g_byte_array_new();
	struct device *d = f->chip[i];

	d->cls->reset(d);
	if (d->cls->pause)
		d->cls->pause(d);
	state_save(stream, d->cls->state, d->id, d);
	return g_byte_array_free_to_bytes(stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = {.in = {data, size}};

	f.core = (struct machine_core){.vm_fd = 1000, .request = request, .context = g_main_context_default()};
	f.core.ports = bus_new("port");
	f.core.mmio = bus_new("mmio");
	f.core.pci = pci_bus_new(&f.core, &(struct pci_windows){0}, NULL);
	for (unsigned i = 0; i < CHIPS; i++) {
		f.chip[i] = device_new(&f.core, names[i], names[i], NULL, NULL, NULL);
		if (!f.chip[i])
			abort();
		if (f.chip[i]->cls->resume)
			f.chip[i]->cls->resume(f.chip[i]);
	}
	set_config(&f, LPC, 0x40, PM_BASE);
	set_config(&f, LPC, 0x44, 0x80);
	set_config(&f, LPC, 0xf0, PC_RCBA_BASE | 1);
	set_config(&f, MCH, 0x60, 0xb0000001);
	for (unsigned i = 0; i < STEPS && f.in.left; i++)
		step(&f);
	for (unsigned i = 0; i < 4; i++)
		f.core.pci_intx(f.core.pci_intx_opaque, i, false);
	/* All but the clock forget. */
	for (unsigned i = 0; i < CHIPS - 1; i++) {
		GBytes *after = fresh_state(&f, i), *first;
		struct device *d;

		device_free(f.chip[i]);
		f.chip[i] = d = device_new(&f.core, names[i], names[i], NULL, NULL, NULL);
		if (!d)
			abort();
		first = fresh_state(&f, i);
		if (!g_bytes_equal(first, after))
			abort();
		g_bytes_unref(first);
		g_bytes_unref(after);
	}
	for (unsigned i = CHIPS; i-- > 0;)
		device_free(f.chip[i]);
	pci_bus_free(f.core.pci);
	bus_free(f.core.mmio);
	bus_free(f.core.ports);
	return 0;
}
