/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See pc-rig.h. */
#include "pc-rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bytes.h"
#include "fw-cfg.h"

enum { RAM = 2 << 20, COMMAND_AT = 0x1000, DATA_AT = 0x80000 };

struct machine *pc_rig_new(uint64_t memory, unsigned cpus)
{
	struct machine *m = g_new0(struct machine, 1);

	m->core = (struct machine_core){.vm_fd = -1, .machine = m};
	m->kvm_fd = -1;
	m->kind = MACHINE_PC;
	m->cpus = cpus;
	m->memory = memory;
	m->topology = (struct cpu_topology){1, cpus, 1};
	m->core.mem = mem_new(-1);
	assert_true(mem_add_ram(m->core.mem, 0, RAM, NULL));
	m->core.ports = bus_new("port");
	m->core.mmio = bus_new("mmio");
	m->core.pci = pci_bus_new(&m->core, &(struct pci_windows){0}, NULL);
	m->devices = g_ptr_array_new_with_free_func((GDestroyNotify)device_free);
	m->fw_cfg = device_new(&m->core, "fw-cfg", "fwcfg", NULL, NULL, NULL);
	assert_non_null(m->fw_cfg);
	g_ptr_array_add(m->devices, m->fw_cfg);
	return m;
}

void pc_rig_free(struct machine *m)
{
	g_ptr_array_unref(m->devices);
	pci_bus_free(m->core.pci);
	bus_free(m->core.ports);
	bus_free(m->core.mmio);
	mem_free(m->core.mem);
	g_free(m);
}

void pc_rig_out(struct machine *m, uint16_t port, unsigned size, uint64_t v)
{
	assert_true(bus_access(m->core.ports, port, &v, size, true));
}

uint64_t pc_rig_in(struct machine *m, uint16_t port, unsigned size)
{
	uint64_t v = 0;

	assert_true(bus_access(m->core.ports, port, &v, size, false));
	return v;
}

void pc_rig_item(struct machine *m, uint16_t key, void *data, unsigned len)
{
	uint8_t *p = data;

	pc_rig_out(m, FW_CFG_PORT, 2, key);
	for (unsigned i = 0; i < len; i++)
		p[i] = (uint8_t)pc_rig_in(m, FW_CFG_PORT + 1, 1);
}

uint32_t pc_rig_dma(struct machine *m, uint32_t control, uint32_t len, uint64_t at)
{
	uint8_t c[16], low[4];

	put_be32(c, control);
	put_be32(c + 4, len);
	put_be64(c + 8, at);
	assert_true(gpa_write(m->core.mem, COMMAND_AT, c, sizeof(c)));
	put_be32(low, COMMAND_AT);
	pc_rig_out(m, FW_CFG_PORT + 4, 4, 0);
	pc_rig_out(m, FW_CFG_PORT + 8, 4, get_le32(low));
	assert_true(gpa_read(m->core.mem, COMMAND_AT, c, 4));
	return get_be32(c);
}

GByteArray *pc_rig_file(struct machine *m, const char *name)
{
	uint8_t count[4], entry[64];

	pc_rig_item(m, FW_CFG_DIRECTORY, count, sizeof(count));
	for (uint32_t i = 0; i < get_be32(count); i++) {
		GByteArray *a;
		uint32_t size;

		for (unsigned b = 0; b < sizeof(entry); b++)
			entry[b] = (uint8_t)pc_rig_in(m, FW_CFG_PORT + 1, 1);
		if (strcmp((char *)entry + 8, name))
			continue;
		size = get_be32(entry);
		assert_true(size <= RAM - DATA_AT);
		assert_int_equal(pc_rig_dma(m, (uint32_t)get_be16(entry + 4) << 16 | 8 | 2, size, DATA_AT), 0);
		a = g_byte_array_new();
		g_byte_array_set_size(a, size);
		assert_true(gpa_read(m->core.mem, DATA_AT, a->data, size));
		return a;
	}
	return NULL;
}
