/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PCI transport and the common part of virtio, with the entropy device behind them: what a
 * driver may do in any order, and what it may not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "virtio-pci.h"
#include "virtio-rig.h"

enum { DRIVER = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER };

static struct rig rig;

static int open_rng(void **state)
{
	rig_open(&rig, "virtio-rng", NULL, NULL);
	return 0;
}

static int close_rng(void **state)
{
	rig_close(&rig);
	return 0;
}

static void write_status(uint8_t v)
{
	rig_write(&rig, rig.common + VIRTIO_PCI_COMMON_STATUS, 1, v);
}

static void write_features(uint64_t f)
{
	rig_write(&rig, rig.common + VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
	rig_write(&rig, rig.common + VIRTIO_PCI_COMMON_GF, 4, (uint32_t)f);
	rig_write(&rig, rig.common + VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	rig_write(&rig, rig.common + VIRTIO_PCI_COMMON_GF, 4, f >> 32);
}

static void test_negotiation(void **state)
{
	uint64_t offered = rig_offered(&rig);

	assert_int_equal(rig_read(&rig, rig.config + 2, 2), 0x1040 + VIRTIO_ID_RNG);
	assert_int_equal(rig.device, 0); /* no configuration, no capability */
	/* Pages beyond the 64 bits are empty. */
	rig_write(&rig, rig.common + VIRTIO_PCI_COMMON_DFSELECT, 4, 2);
	assert_int_equal(rig_read(&rig, rig.common + VIRTIO_PCI_COMMON_DF, 4), 0);
	rig_write(&rig, rig.common + VIRTIO_PCI_COMMON_GFSELECT, 4, 0xffffffff);
	rig_write(&rig, rig.common + VIRTIO_PCI_COMMON_GF, 4, 0xffffffff);
	/* A bit that was not offered, or no VERSION_1: FEATURES_OK does not stick. */
	assert_false(rig_negotiate(&rig, 1ull << 63));
	write_status(0);
	write_status(DRIVER);
	write_features(1ull << VIRTIO_RING_F_EVENT_IDX);
	write_status(DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
	assert_int_equal(rig_status(&rig), DRIVER);
	/* DRIVER_OK before FEATURES_OK does not stick either. */
	write_status(DRIVER | VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(rig_status(&rig), DRIVER);
	assert_true(rig_negotiate(&rig, offered));
	/* Features are final now, and bits are not taken back. */
	write_features(0);
	rig_write(&rig, rig.common + VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	assert_int_equal(rig_read(&rig, rig.common + VIRTIO_PCI_COMMON_GF, 4), offered >> 32);
	write_status(1);
	assert_int_equal(rig_status(&rig), DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
	write_status(0);
	assert_int_equal(rig_status(&rig), 0);
}

static void test_queue_registers(void **state)
{
	uint64_t c = rig.common;

	rig_negotiate(&rig, 0);
	rig_write(&rig, c + VIRTIO_PCI_COMMON_Q_SELECT, 2, 1); /* there is none */
	assert_int_equal(rig_read(&rig, c + VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
	rig_write(&rig, c + VIRTIO_PCI_COMMON_Q_SIZE, 2, 4);
	rig_write(&rig, c + VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	assert_int_equal(rig_read(&rig, c + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	rig_write(&rig, c + VIRTIO_PCI_COMMON_Q_SELECT, 2, 0xffff);
	assert_int_equal(rig_read(&rig, c + VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
	rig_write(&rig, c + VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
	assert_int_equal(rig_read(&rig, c + VIRTIO_PCI_COMMON_Q_SIZE, 2), 8);
	rig_write(&rig, c + VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0x12345670);
	rig_write(&rig, c + VIRTIO_PCI_COMMON_Q_DESCHI, 4, 0x9);
	assert_true(rig_read(&rig, c + VIRTIO_PCI_COMMON_Q_DESCLO, 8) == 0x912345670);
	/* Accesses of a wrong width change nothing; reads of any width see the bytes. */
	rig_write(&rig, c + VIRTIO_PCI_COMMON_Q_DESCLO, 2, 0xffff);
	rig_write(&rig, c + VIRTIO_PCI_COMMON_STATUS, 4, 0);
	assert_int_equal(rig_read(&rig, c + VIRTIO_PCI_COMMON_Q_DESCLO + 1, 1), 0x56);
	assert_int_equal(rig_read(&rig, c + VIRTIO_PCI_COMMON_NUMQ, 4) & 0xffff, 1);
	assert_int_not_equal(rig_status(&rig), 0);
	rig_write(&rig, c + VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
	assert_int_equal(rig_read(&rig, c + VIRTIO_PCI_COMMON_Q_MSIX, 2), 1);
	rig_write(&rig, c + VIRTIO_PCI_COMMON_Q_MSIX, 2, 2);
	assert_int_equal(rig_read(&rig, c + VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	/* Outside of all registers: zero, and nothing happens. */
	for (uint64_t at = 0; at < 0x8000; at += 0x3fc) {
		rig_write(&rig, RIG_BAR + at, 8, 0);
		rig_read(&rig, RIG_BAR + at, 8);
	}
	assert_int_equal(rig_read(&rig, c + VIRTIO_PCI_COMMON_Q_NDATA, 8), 0);
}

/* A ring that cannot be: the device asks for a reset instead of walking it. */
static void test_bad_ring(void **state)
{
	rig_negotiate(&rig, 0);
	rig_queue(&rig, 0, 8);
	assert_int_equal(rig_read(&rig, rig.common + VIRTIO_PCI_COMMON_Q_SIZE, 2), 8);
	/* Fixed once enabled. */
	rig_write(&rig, rig.common + VIRTIO_PCI_COMMON_Q_SIZE, 2, 4);
	assert_int_equal(rig_read(&rig, rig.common + VIRTIO_PCI_COMMON_Q_SIZE, 2), 8);
	rig_negotiate(&rig, 0);
	rig_write(&rig, rig.common + VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
	rig_write(&rig, rig.common + VIRTIO_PCI_COMMON_Q_DESCLO, 4, RIG_RAM - 16);
	rig_write(&rig, rig.common + VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	rig_driver_ok(&rig);
	assert_true(rig_status(&rig) & VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(rig_isr(&rig), 2);
	rig_run();
	rig_reset(&rig);
	assert_int_equal(rig_status(&rig), 0);
}

static void start_rng(uint64_t features)
{
	assert_true(rig_negotiate(&rig, features));
	rig_queue(&rig, 0, 8);
	rig_driver_ok(&rig);
}

static unsigned varied(const uint8_t *p, size_t n)
{
	bool seen[256] = { false };
	unsigned count = 0;

	for (size_t i = 0; i < n; i++) {
		count += !seen[p[i]];
		seen[p[i]] = true;
	}
	return count;
}

static void test_rng(void **state)
{
	struct ring_buf b[] = { { RIG_DATA, 100, true }, { RIG_DATA + 0x1000, 412, true } };
	struct ring_buf big = { RIG_DATA, 0x30000, true };
	uint64_t modes[] = { 0, 1ull << VIRTIO_F_RING_PACKED, 1ull << VIRTIO_RING_F_EVENT_IDX };

	for (unsigned i = 0; i < G_N_ELEMENTS(modes); i++) {
		memset(rig.ram + RIG_DATA, 0, 0x2000);
		start_rng(modes[i]);
		assert_int_equal(rig_request(&rig, 0, b, 2), 512);
		assert_true(varied(rig.ram + RIG_DATA, 100) > 50);
		assert_true(varied(rig.ram + RIG_DATA + 0x1000, 412) > 100);
		assert_int_equal(rig_isr(&rig), 1);
	}
	/* The quota: the rest of it, then nothing for a while, then again. */
	assert_true(rig_request(&rig, 0, &big, 1) <= 128 << 10);
	assert_true(rig_request(&rig, 0, b, 2) == 512);
}

static void test_msix(void **state)
{
	struct ring_buf b = { RIG_DATA, 16, true };
	struct pci_device *p = (struct pci_device *)rig.dev;
	uint64_t cap = rig.config + p->msix_cap, table, pba;

	assert_int_equal(rig_read(&rig, cap + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE, 1);
	table = RIG_BAR + (rig_read(&rig, cap + PCI_MSIX_TABLE, 4) & ~7u);
	pba = RIG_BAR + (rig_read(&rig, cap + PCI_MSIX_PBA, 4) & ~7u);
	rig_write(&rig, cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	start_rng(0);
	rig_write(&rig, rig.common + VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
	rig_write(&rig, rig.common + VIRTIO_PCI_COMMON_MSIX, 2, 0);
	/* Masked: pending, and nothing in the interrupt status. */
	rig_request(&rig, 0, &b, 1);
	assert_int_equal(rig_read(&rig, pba, 8), 2);
	assert_int_equal(rig_isr(&rig), 0);
	assert_int_equal(p->msix_sent, 0);
	rig_write(&rig, table + 16 + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, 0);
	assert_int_equal(p->msix_sent, 1);
	assert_int_equal(rig_read(&rig, pba, 8), 0);
	rig_request(&rig, 0, &b, 1);
	assert_int_equal(p->msix_sent, 2);
	/* Without a vector there is no interrupt. */
	rig_write(&rig, rig.common + VIRTIO_PCI_COMMON_Q_MSIX, 2, VIRTIO_MSI_NO_VECTOR);
	rig_request(&rig, 0, &b, 1);
	assert_int_equal(p->msix_sent, 2);
	/* The driver looks elsewhere meanwhile. */
	rig_write(&rig, rig.common + VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
	ring_disarm(&rig.ring[0]);
	assert_true(ring_add(&rig.ring[0], &b, 1, 0, &rig));
	rig_kick(&rig, 0);
	assert_ptr_equal(ring_get(&rig.ring[0], NULL), &rig);
	assert_int_equal(p->msix_sent, 2);
}

/* Firmware's way to the registers without a BAR. */
static void test_window(void **state)
{
	uint64_t w = rig.window, data = rig.window + sizeof(struct virtio_pci_cap);

	rig_write(&rig, w + VIRTIO_PCI_CAP_BAR, 1, 0);
	rig_write(&rig, w + VIRTIO_PCI_CAP_LENGTH, 4, 1);
	rig_write(&rig, w + VIRTIO_PCI_CAP_OFFSET, 4, rig.common - RIG_BAR + VIRTIO_PCI_COMMON_STATUS);
	rig_write(&rig, data, 1, DRIVER);
	assert_int_equal(rig_status(&rig), DRIVER);
	assert_int_equal(rig_read(&rig, data, 1), DRIVER);
	rig_write(&rig, w + VIRTIO_PCI_CAP_OFFSET, 4, rig.common - RIG_BAR + VIRTIO_PCI_COMMON_NUMQ);
	rig_write(&rig, w + VIRTIO_PCI_CAP_LENGTH, 4, 2);
	assert_int_equal(rig_read(&rig, data, 2), 1);
	/* A window that makes no sense shows nothing. */
	for (unsigned i = 0; i < 64; i++) {
		rig_write(&rig, w + VIRTIO_PCI_CAP_OFFSET, 4, 0xfffffff0 + i);
		rig_write(&rig, w + VIRTIO_PCI_CAP_LENGTH, 4, i);
		rig_write(&rig, w + VIRTIO_PCI_CAP_BAR, 1, i & 8);
		rig_read(&rig, data, 1 + (i & 1));
		rig_write(&rig, data, 4, 0xffffffff);
	}
	rig_write(&rig, w + VIRTIO_PCI_CAP_BAR, 1, 3);
	assert_int_equal(rig_read(&rig, data, 4), 0);
	rig_reset(&rig);
}

static void test_move_and_reset(void **state)
{
	struct ring_buf b = { RIG_DATA, 16, true };

	start_rng(1ull << VIRTIO_F_RING_PACKED);
	assert_int_equal(rig_request(&rig, 0, &b, 1), 16);
	rig_move(&rig, "virtio-rng", NULL, NULL);
	assert_int_equal(rig_status(&rig) & VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(rig_request(&rig, 0, &b, 1), 16);
	/* The machine's reset. */
	rig.dev->cls->reset(rig.dev);
	rig_write(&rig, rig.config + PCI_BASE_ADDRESS_0, 4, RIG_BAR);
	rig_write(&rig, rig.config + PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(rig_status(&rig), 0);
	start_rng(0);
	assert_int_equal(rig_request(&rig, 0, &b, 1), 16);
}

/* A stream that claims what cannot be is refused in words. */
static void test_bad_state(void **state)
{
	struct virtqueue *vq = &((struct virtio_pci_device *)rig.dev)->v.queues[0];
	GByteArray *stream = g_byte_array_new();
	g_autoptr(GError) error = NULL;
	struct ring_buf b = { RIG_DATA, 16, true };
	uint64_t good;
	GBytes *bytes;
	size_t at = 0;

	start_rng(0);
	rig_request(&rig, 0, &b, 1);
	good = vq->desc;
	vq->desc = 0xabcdef0123456780;
	state_save(stream, rig.dev->cls->state, rig.dev->id, rig.dev);
	vq->desc = good;
	bytes = g_bytes_new(stream->data, stream->len);
	assert_false(state_load(bytes, &at, rig.dev->cls->state, rig.dev->id, rig.dev, &error));
	assert_string_equal(error->message,
			    "dev0: saved queue 0: ring is misaligned or outside guest memory");
	rig_reset(&rig);
	g_bytes_unref(bytes);
	g_byte_array_free(stream, TRUE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_negotiation, open_rng, close_rng),
		cmocka_unit_test_setup_teardown(test_queue_registers, open_rng, close_rng),
		cmocka_unit_test_setup_teardown(test_bad_ring, open_rng, close_rng),
		cmocka_unit_test_setup_teardown(test_rng, open_rng, close_rng),
		cmocka_unit_test_setup_teardown(test_msix, open_rng, close_rng),
		cmocka_unit_test_setup_teardown(test_window, open_rng, close_rng),
		cmocka_unit_test_setup_teardown(test_move_and_reset, open_rng, close_rng),
		cmocka_unit_test_setup_teardown(test_bad_state, open_rng, close_rng),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
