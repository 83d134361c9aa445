/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: commands to a SCSI disk or CD-ROM drive, with buffers of any length, over an image in memory that may be full or
 * broken. Every command ends, with a status that there is, and moves no more than there is room for; nothing is read or written
 * outside of the image (disk-rig.c).
 *
 * Input: a byte of options (1: a CD-ROM drive, 2: discard=off, 4: read only), then commands: 16 bytes of CDB, a byte of what
 * happens (the lower four bits: how the image fails; 16: data goes out, 32: comes in, 64: other LUN, 192: the well-known),
 * two of the length of data, one that all of it is, and 32 bytes that its first ones are.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/disk-rig.h"
#include "devices/scsi.h"
#include "fuzz-input.h"
#include "pci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	RECORD = 52,
	HEAD = 32,
	DATA_MAX = 8192,
	COMMANDS = 64,
	ROUNDS = 4096,
};

static bool over;

static void done(struct scsi_req *r)
{
	over = true;
}

static void kept(struct scsi_req *r, bool on)
{
}

static void changed(struct device *controller, unsigned target, uint8_t asc, uint8_t ascq)
{
}

static const struct scsi_host fuzz_host = {.done = done, .kept = kept, .changed = changed};

/* Until it is over; who is full has room after a while. */
static void finish(struct scsi_lun *lun, struct ram_image *m)
{
	for (unsigned i = 0; !over; i++) {
		check(i < ROUNDS);
		if (g_main_context_iteration(NULL, FALSE))
			continue;
		check(disk_has_kept(lun->disk));
		m->fail = 0;
		disk_resume(lun->disk);
	}
}

static void command(struct scsi_lun *lun, struct ram_image *m, const uint8_t *record)
{
	static const int errors[] = {0, EIO, ENOSPC, ENOTSUP, EINVAL, ENOMEDIUM};
	unsigned len = (record[17] | record[18] << 8) % (DATA_MAX + 1), half = len / 2;
	g_autofree uint8_t *data = g_malloc(MAX(len, 1u));
	struct iovec iov[2] = {{data, half}, {data + half, len - half}};
	struct scsi_req *r = g_new0(struct scsi_req, 1);

	memset(data, record[19], len);
	memcpy(data, record + 20, MIN(len, HEAD));
	m->fail = errors[(record[16] & 15) % G_N_ELEMENTS(errors)];
	memcpy(r->cdb, record, SCSI_CDB);
	r->lun = lun;
	r->other_lun = record[16] & 64;
	r->well_known = (record[16] & 192) == 192;
	if (record[16] & 16) {
		r->out = iov;
		r->n_out = 2;
		r->out_len = len;
	} else if (record[16] & 32) {
		r->in = iov;
		r->n_in = 2;
		r->in_len = len;
	}
	over = scsi_start(r);
	disk_kick(lun->io[0]);
	finish(lun, m);
	check(r->status == SCSI_GOOD || r->status == SCSI_CHECK_CONDITION);
	check(r->transferred <= r->out_len + r->in_len);
	check(r->status == SCSI_GOOD || r->sense[0] == 0x70);
	scsi_end(r);
	g_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ram_image m;
	const struct pci_windows windows = {0xc0000000, 0x10000000, 1ull << 40, 1ull << 30, 0xc000, 0x1000};
	struct machine_core core = {.vm_fd = -1};
	struct device_backend backend = {0};
	g_autoptr(GVariant) options = NULL;
	const struct scsi_host *host;
	struct scsi_lun *lun;

	if (!size)
		return 0;
	ram_init(&m);
	m.img.discard = true;
	m.img.readonly = data[0] & 4;
	options = g_variant_ref_sink(g_variant_new_parsed("{'discard': <%s>}", data[0] & 2 ? "off" : "on"));
	core.mem = mem_new(-1);
	check(mem_add_ram(core.mem, 0, 1 << 16, NULL));
	core.ports = bus_new("port");
	core.mmio = bus_new("mmio");
	core.pci = pci_bus_new(&core, &windows, NULL);
	pci_bus_set_ecam(core.pci, 0xb0000000, 1, NULL);
	backend.disk = disk_new("drive", &m.img, options, NULL);
	backend.controller = device_new(&core, "virtio-scsi", "hba", NULL, NULL, NULL);
	lun = (struct scsi_lun *)device_new(&core, data[0] & 1 ? "scsi-cd" : "scsi-disk", "lun", NULL, &backend, NULL);
	check(lun);
	host = lun->host;
	lun->host = &fuzz_host;
	data++;
	size--;
	for (unsigned i = 0; i < COMMANDS && size >= RECORD; i++, data += RECORD, size -= RECORD)
		command(lun, &m, data);
	lun->host = host;
	device_free(&lun->dev);
	device_free(backend.controller);
	disk_free(backend.disk);
	pci_bus_free(core.pci);
	bus_free(core.mmio);
	bus_free(core.ports);
	mem_free(core.mem);
	return 0;
}
