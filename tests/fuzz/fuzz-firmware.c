/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: what a hostile guest does with fw_cfg and the flash of firmware's variables. Every access ends; nothing is written
 * outside of the guest's memory; the flash's saved state is one that it takes back.
 *
 * Input: records of 11 bytes: what (1: a write; 2: the flash, else fw_cfg's ports; 4: the whole offset, else the low 4 bits; 8:
 * value goes to memory at the offset, to make DMA commands of), size as a power of 2, offset and value (4 and 5 bytes).
 */
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "fuzz-input.h"
#include "fw-cfg.h"
#include "mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECORD = 11, RAM = 1 << 16, FLASH = 4 * 4096, RECORDS = 512 };
#define FLASH_BASE 0xffc00000ull

static struct device *cfg;

static void make(void *opaque)
{
	fw_cfg_renew(cfg, "late", g_bytes_new("made", 4));
}

static void fill(void)
{
	static const char *const late[] = {"late", NULL};

	check(fw_cfg_set_file(cfg, "opt/file", g_bytes_new("some content of a file", 22), NULL));
	check(fw_cfg_set_file(cfg, "late", g_bytes_new("first", 5), NULL));
	fw_cfg_set_late(cfg, late, make, NULL);
}

static void record(struct machine_core *core, const uint8_t *r)
{
	unsigned what = r[0], size = 1u << r[1] % 4;
	uint32_t at = get_le32(r + 2);
	uint64_t value = get_le32(r + 6) | (uint64_t)r[10] << 56;

	if (what & 8) {
		gpa_write(core->mem, at % RAM, r + 6, 5);
		return;
	}
	if (!(what & 4))
		at &= 15;
	at = what & 2 ? at % FLASH : at % FW_CFG_PORTS;
	bus_access(what & 2 ? core->mmio : core->ports, (what & 2 ? FLASH_BASE : FW_CFG_PORT) + at, &value, size, what & 1);
}

static void round_trip(struct machine_core *core, struct device *flash)
{
	GByteArray *out = g_byte_array_new();
	g_autoptr(GBytes) bytes = NULL;
	size_t at = 0;

	state_save(out, flash->cls->state, "flash", flash);
	bytes = g_byte_array_free_to_bytes(out);
	check(state_load(bytes, &at, flash->cls->state, "flash", flash, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine_core core = {.vm_fd = -1};
	struct device *flash;

	core.mem = mem_new(-1);
	check(mem_add_ram(core.mem, 0, RAM, NULL));
	core.ports = bus_new("port");
	core.mmio = bus_new("mmio");
	cfg = device_new(&core, "fw-cfg", "fwcfg", NULL, NULL, NULL);
	flash = device_new(&core, "pflash", "flash", NULL, NULL, NULL);
	check(cfg && flash);
	fill();
	for (unsigned i = 0; i < RECORDS && size >= RECORD; i++, data += RECORD, size -= RECORD)
		record(&core, data);
	round_trip(&core, flash);
	cfg->cls->reset(cfg);
	flash->cls->reset(flash);
	device_free(flash);
	device_free(cfg);
	bus_free(core.ports);
	bus_free(core.mmio);
	mem_free(core.mem);
	return 0;
}
