/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See virtio-rig.h. */
#include "virtio-rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "display.h"
#include "pci.h"

static void request(void *machine, enum machine_request what)
{
}

uint64_t rig_read(struct rig *r, uint64_t address, unsigned size)
{
	uint64_t v = 0;

	bus_access(r->core.mmio, address, &v, size, false);
	return v;
}

void rig_write(struct rig *r, uint64_t address, unsigned size, uint64_t value)
{
	bus_access(r->core.mmio, address, &value, size, true);
}

static void read_capability(struct rig *r, uint64_t cap)
{
	uint64_t at = RIG_BAR + rig_read(r, cap + VIRTIO_PCI_CAP_OFFSET, 4);

	if (rig_read(r, cap + VIRTIO_PCI_CAP_CFG_TYPE, 1) == VIRTIO_PCI_CAP_COMMON_CFG)
		r->bar = rig_read(r, cap + VIRTIO_PCI_CAP_BAR, 1);
	switch (rig_read(r, cap + VIRTIO_PCI_CAP_CFG_TYPE, 1)) {
	case VIRTIO_PCI_CAP_COMMON_CFG:
		r->common = at;
		break;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		r->notify = at;
		r->notify_multiplier = rig_read(r, cap + VIRTIO_PCI_NOTIFY_CAP_MULT, 4);
		break;
	case VIRTIO_PCI_CAP_ISR_CFG:
		r->isr = at;
		break;
	case VIRTIO_PCI_CAP_DEVICE_CFG:
		r->device = at;
		break;
	case VIRTIO_PCI_CAP_PCI_CFG:
		r->window = cap;
		break;
	}
}

static void find_function(struct rig *r)
{
	unsigned cap;

	for (unsigned slot = 0; slot < 32; slot++) {
		r->config = RIG_ECAM + (slot << 15);
		if (rig_read(r, r->config, 2) == 0x1af4)
			break;
	}
	assert_int_equal(rig_read(r, r->config, 2), 0x1af4);
	cap = rig_read(r, r->config + PCI_CAPABILITY_LIST, 1);
	for (unsigned n = 0; cap; n++) {
		assert_true(n < 16);
		if (rig_read(r, r->config + cap, 1) == PCI_CAP_ID_VNDR)
			read_capability(r, r->config + cap);
		cap = rig_read(r, r->config + cap + 1, 1);
	}
	assert_true(r->common && r->notify && r->isr && r->window);
}

/* Others are out of the way. */
void rig_map(struct rig *r)
{
	rig_write(r, r->config + PCI_BASE_ADDRESS_0, 4, RIG_OTHER_BAR);
	rig_write(r, r->config + PCI_BASE_ADDRESS_0 + 4 * r->bar, 4, RIG_BAR);
	rig_write(r, r->config + PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

void rig_open(struct rig *r, const char *cls, GVariant *options,
	      const struct device_backend *backend)
{
	const struct pci_windows windows = { RIG_BAR, 0x10000000, 1ull << 40, 1ull << 30, 0xc000, 0x1000 };
	g_autoptr(GVariant) own = options ? g_variant_ref_sink(options) : NULL;
	g_autoptr(GError) error = NULL;

	memset(r, 0, sizeof(*r));
	r->core.vm_fd = -1;
	r->core.mem = mem_new(-1);
	assert_true(mem_add_ram(r->core.mem, 0, RIG_RAM, &error));
	r->ram = gpa_ptr(r->core.mem, 0, RIG_RAM);
	r->core.ports = bus_new("port");
	r->core.mmio = bus_new("mmio");
	r->core.context = g_main_context_default();
	r->core.request = request;
	r->core.display = display_new();
	r->core.pci = pci_bus_new(&r->core, &windows, NULL);
	pci_bus_set_ecam(r->core.pci, RIG_ECAM, 1, NULL);
	assert_non_null(r->core.pci);
	r->dev = device_new(&r->core, cls, "dev0", own, backend, &error);
	if (!r->dev)
		fail_msg("%s", error->message);
	find_function(r);
	rig_map(r);
	r->ring_at = 0x1000;
}

void rig_close(struct rig *r)
{
	device_free(r->dev);
	display_free(r->core.display);
	pci_bus_free(r->core.pci);
	bus_free(r->core.mmio);
	bus_free(r->core.ports);
	mem_free(r->core.mem);
}

uint64_t rig_offered(struct rig *r)
{
	uint64_t f;

	rig_write(r, r->common + VIRTIO_PCI_COMMON_DFSELECT, 4, 0);
	f = rig_read(r, r->common + VIRTIO_PCI_COMMON_DF, 4);
	rig_write(r, r->common + VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
	return f | rig_read(r, r->common + VIRTIO_PCI_COMMON_DF, 4) << 32;
}

uint8_t rig_status(struct rig *r)
{
	return rig_read(r, r->common + VIRTIO_PCI_COMMON_STATUS, 1);
}

static void add_status(struct rig *r, uint8_t bits)
{
	rig_write(r, r->common + VIRTIO_PCI_COMMON_STATUS, 1, rig_status(r) | bits);
}

void rig_reset(struct rig *r)
{
	rig_write(r, r->common + VIRTIO_PCI_COMMON_STATUS, 1, 0);
	for (unsigned i = 0; rig_status(r); i++) {
		assert_true(i < 1000);
		rig_run();
	}
	r->ring_at = 0x1000;
}

bool rig_negotiate(struct rig *r, uint64_t features)
{
	features |= 1ull << VIRTIO_F_VERSION_1;
	r->features = features;
	rig_reset(r);
	add_status(r, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	rig_write(r, r->common + VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
	rig_write(r, r->common + VIRTIO_PCI_COMMON_GF, 4, (uint32_t)features);
	rig_write(r, r->common + VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	rig_write(r, r->common + VIRTIO_PCI_COMMON_GF, 4, features >> 32);
	add_status(r, VIRTIO_CONFIG_S_FEATURES_OK);
	return rig_status(r) & VIRTIO_CONFIG_S_FEATURES_OK;
}

void rig_queue(struct rig *r, unsigned index, uint16_t size)
{
	struct ring_driver *d = &r->ring[index];

	ring_setup(d, r->ram, 0, r->ring_at, size, r->features >> VIRTIO_F_RING_PACKED & 1,
		   r->features >> VIRTIO_RING_F_EVENT_IDX & 1);
	r->ring_at += (ring_bytes(size) + 15) / 16 * 16;
	assert_true(r->ring_at <= RIG_DATA);
	rig_write(r, r->common + VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
	assert_true(rig_read(r, r->common + VIRTIO_PCI_COMMON_Q_SIZE, 2) >= size);
	rig_write(r, r->common + VIRTIO_PCI_COMMON_Q_SIZE, 2, size);
	rig_write(r, r->common + VIRTIO_PCI_COMMON_Q_DESCLO, 4, d->desc);
	rig_write(r, r->common + VIRTIO_PCI_COMMON_Q_DESCHI, 4, d->desc >> 32);
	rig_write(r, r->common + VIRTIO_PCI_COMMON_Q_AVAILLO, 4, d->avail);
	rig_write(r, r->common + VIRTIO_PCI_COMMON_Q_AVAILHI, 4, d->avail >> 32);
	rig_write(r, r->common + VIRTIO_PCI_COMMON_Q_USEDLO, 8, d->used);
	rig_write(r, r->common + VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	assert_int_equal(rig_read(r, r->common + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	ring_arm(d);
}

void rig_driver_ok(struct rig *r)
{
	add_status(r, VIRTIO_CONFIG_S_DRIVER_OK);
}

void rig_run(void)
{
	while (g_main_context_iteration(NULL, FALSE))
		continue;
}

void rig_kick(struct rig *r, unsigned index)
{
	uint64_t off;

	if (ring_kick(&r->ring[index])) {
		rig_write(r, r->common + VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
		off = rig_read(r, r->common + VIRTIO_PCI_COMMON_Q_NOFF, 2);
		rig_write(r, r->notify + off * r->notify_multiplier, 2, index);
	}
	rig_run();
}

uint8_t rig_isr(struct rig *r)
{
	return rig_read(r, r->isr, 1);
}

uint32_t rig_request(struct rig *r, unsigned index, const struct ring_buf *bufs, unsigned n)
{
	uint32_t len = 0;

	assert_true(ring_add(&r->ring[index], bufs, n, 0, r));
	rig_kick(r, index);
	for (unsigned i = 0; i < 60000; i++) {
		void *cookie = ring_get(&r->ring[index], &len);

		if (cookie) {
			assert_ptr_equal(cookie, r);
			assert_false(ring_arm(&r->ring[index]));
			return len;
		}
		g_usleep(1000);
		rig_run();
	}
	fail_msg("no answer on queue %u", index);
	return 0;
}

void rig_move(struct rig *r, const char *cls, GVariant *options,
	      const struct device_backend *backend)
{
	g_autoptr(GVariant) own = options ? g_variant_ref_sink(options) : NULL;
	g_autoptr(GError) error = NULL;
	GByteArray *stream = g_byte_array_new();
	GByteArray *again = g_byte_array_new();
	GBytes *bytes;
	size_t at = 0;

	r->dev->cls->pause(r->dev);
	state_save(stream, r->dev->cls->state, r->dev->id, r->dev);
	device_free(r->dev);
	r->dev = device_new(&r->core, cls, "dev0", own, backend, &error);
	if (!r->dev)
		fail_msg("%s", error->message);
	bytes = g_bytes_new(stream->data, stream->len);
	if (!state_load(bytes, &at, r->dev->cls->state, r->dev->id, r->dev, &error))
		fail_msg("%s", error->message);
	assert_int_equal(at, stream->len);
	/* What was loaded saves as it was. */
	state_save(again, r->dev->cls->state, r->dev->id, r->dev);
	assert_int_equal(again->len, stream->len);
	r->dev->cls->resume(r->dev);
	rig_run();
	g_bytes_unref(bytes);
	g_byte_array_free(stream, TRUE);
	g_byte_array_free(again, TRUE);
}
