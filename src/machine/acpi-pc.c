/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ACPI tables of the pc board, given to firmware as files of fw_cfg: the tables with pointers that are offsets, and a list of
 * commands that place the files in memory and make addresses and sums of what is in them (QEMU's linker and loader, hw/acpi/
 * bios-linker-loader and SeaBIOS src/fw/romfile_loader). They are made when firmware first reads them after a reset: it has
 * programmed PCI by then. Called by pc.c.
 *
 * Sources: ACPI 6.4, 5.2; HPET specification 1.0a, 3.2.4; Windows ACPI emulated devices table (WAET).
 */
#include "acpi-pc.h"

#include <string.h>

#include "bytes.h"
#include "error.h"
#include "fw-cfg.h"

#define TABLES_FILE "etc/acpi/tables"
#define RSDP_FILE   "etc/acpi/rsdp"
#define LOADER_FILE "etc/table-loader"

enum { ROUND = 4096, SLACK = 2048 /* for what the late tables have more than the first */ };
enum { FACS_SIZE = 64, FADT_SIZE = 244, TABLES_ALIGN = 64, TABLES_MAX = 8 };
enum { RTC_CENTURY = 0x32 /* in the clock chip */ };
enum { FADT_FACS = 36, FADT_DSDT = 40, FADT_X_DSDT = 140, RSDP_RSDT = 16, RSDP_XSDT = 24, SUM = 9 };
enum { COMMAND = 128, ALLOCATE = 1, ADD_POINTER = 2, ADD_CHECKSUM = 3, ZONE_HIGH = 1, ZONE_FSEG = 2 };

struct files {
	GByteArray *tables, *rsdp, *loader;
	uint32_t at[TABLES_MAX]; /* of what the RSDT names */
	unsigned n;
};

/* ---- the loader's commands ---- */

static uint8_t *command(GByteArray *loader, uint32_t what, const char *file)
{
	uint8_t *c;

	g_byte_array_set_size(loader, loader->len + COMMAND);
	c = loader->data + loader->len - COMMAND;
	memset(c, 0, COMMAND);
	put_le32(c, what);
	g_strlcpy((char *)c + 4, file, FW_CFG_NAME);
	return c + 4 + FW_CFG_NAME;
}

static void allocate(GByteArray *loader, const char *file, uint32_t align, uint8_t zone)
{
	uint8_t *c = command(loader, ALLOCATE, file);

	put_le32(c, align);
	c[4] = zone;
}

/* The bytes at `at` of one file are an offset in the other, and become an address. */
static void add_pointer(GByteArray *loader, const char *in, uint32_t at, uint8_t size, const char *to)
{
	uint8_t *c = command(loader, ADD_POINTER, in);

	g_strlcpy((char *)c, to, FW_CFG_NAME);
	put_le32(c + FW_CFG_NAME, at);
	c[FW_CFG_NAME + 4] = size;
}

static void add_checksum(GByteArray *loader, const char *in, uint32_t at, uint32_t start, uint32_t len)
{
	uint8_t *c = command(loader, ADD_CHECKSUM, in);

	put_le32(c, at);
	put_le32(c + 4, start);
	put_le32(c + 8, len);
}

/* ---- tables ---- */

static GByteArray *facs(void)
{
	GByteArray *t = g_byte_array_new();

	g_byte_array_set_size(t, FACS_SIZE);
	memset(t->data, 0, FACS_SIZE);
	memcpy(t->data, "FACS", 4);
	put_le32(t->data + 4, FACS_SIZE);
	t->data[32] = 1; /* version */
	return t;
}

/* Power and sleep buttons: the first is PM1's, the second is not there. pm: where firmware has put the block. */
static GByteArray *fadt(uint32_t facs_at, uint32_t dsdt_at, uint16_t pm)
{
	GByteArray *t = acpi_table_new("FACP", 3, ACPI_PC_OEM_TABLE);
	uint8_t *f;

	g_byte_array_set_size(t, FADT_SIZE);
	f = t->data;
	memset(f + ACPI_HEADER, 0, FADT_SIZE - ACPI_HEADER);
	put_le32(f + FADT_FACS, facs_at);
	put_le32(f + FADT_DSDT, dsdt_at);
	put_le16(f + 46, PM_GSI);
	put_le32(f + 48, PC_SMI_COMMAND);
	f[52] = PC_ACPI_ENABLE;
	f[53] = PC_ACPI_DISABLE;
	put_le32(f + 56, pm);
	put_le32(f + 64, pm + PC_PM_CONTROL);
	put_le32(f + 76, pm + PC_PM_TIMER);
	put_le32(f + 80, pm + PC_PM_GPE0);
	f[88] = 4;
	f[89] = 2;
	f[91] = 4;
	f[92] = PC_PM_GPE0_SIZE;
	put_le16(f + 96, 0xfff); /* no C2, no C3 */
	put_le16(f + 98, 0xfff);
	f[108] = RTC_CENTURY;
	put_le16(f + 109, 0x0003); /* legacy devices, 8042 */
	/* WBINVD, C1, no sleep button, reset register, the PM timer is better than the TSC across processors */
	put_le32(f + 112, 1u << 0 | 1u << 2 | 1u << 5 | 1u << 10 | 1u << 15);
	acpi_put_port(f + 116, PC_RESET_PORT, 8);
	f[128] = PC_RESET_VALUE;
	put_le64(f + FADT_X_DSDT, dsdt_at);
	acpi_put_port(f + 148, pm, 32);
	acpi_put_port(f + 172, pm + PC_PM_CONTROL, 16);
	acpi_put_port(f + 208, pm + PC_PM_TIMER, 32);
	acpi_put_port(f + 220, pm + PC_PM_GPE0, 8 * PC_PM_GPE0_SIZE);
	return t;
}

static GByteArray *madt(const struct machine *m)
{
	GByteArray *t = acpi_table_new("APIC", 3, ACPI_PC_OEM_TABLE);

	acpi_put(t, LAPIC_BASE, 4);
	acpi_put(t, 1, 4); /* there are 8259s, too */
	acpi_put_apics(t, m);
	acpi_put_override(t, PM_GSI, PM_GSI, 0x000d); /* level, active high */
	for (uint8_t irq = 5; irq <= 11; irq++)
		if (irq == 5 || irq >= 10) /* links of PCI */
			acpi_put_override(t, irq, irq, 0x000d);
	return t;
}

static GByteArray *hpet(void)
{
	GByteArray *t = acpi_table_new("HPET", 1, ACPI_PC_OEM_TABLE);

	acpi_put(t, PC_HPET_ID, 4);
	acpi_put(t, 0, 4); /* memory */
	acpi_put(t, PC_HPET_BASE, 8);
	acpi_put(t, 0, 1); /* number */
	acpi_put(t, 0, 2); /* least ticks of a periodic interrupt */
	acpi_put(t, 0, 1);
	return t;
}

/* The PM timer is read once: it has no bug that three reads would find. */
static GByteArray *waet(void)
{
	GByteArray *t = acpi_table_new("WAET", 1, ACPI_PC_OEM_TABLE);

	acpi_put(t, 1u << 1, 4);
	return t;
}

/* Takes the table; its sum, if it has one, is the loader's last work on it. */
static uint32_t place(struct files *f, GByteArray *table)
{
	g_autoptr(GByteArray) t = table;
	uint32_t at = f->tables->len;

	put_le32(t->data + 4, t->len);
	g_byte_array_append(f->tables, t->data, t->len);
	return at;
}

static uint32_t place_summed(struct files *f, GByteArray *t)
{
	uint32_t len = t->len, at = place(f, t);

	add_checksum(f->loader, TABLES_FILE, at + SUM, at, len);
	return at;
}

static void place_named(struct files *f, GByteArray *t)
{
	f->at[f->n++] = place_summed(f, t);
}

static void place_fadt(struct files *f, uint32_t facs_at, uint32_t dsdt_at, uint16_t pm)
{
	uint32_t at = place(f, fadt(facs_at, dsdt_at, pm));

	add_pointer(f->loader, TABLES_FILE, at + FADT_FACS, 4, TABLES_FILE);
	add_pointer(f->loader, TABLES_FILE, at + FADT_DSDT, 4, TABLES_FILE);
	add_pointer(f->loader, TABLES_FILE, at + FADT_X_DSDT, 8, TABLES_FILE);
	add_checksum(f->loader, TABLES_FILE, at + SUM, at, FADT_SIZE);
	f->at[f->n++] = at;
}

/* The table of the others, with addresses of 4 (RSDT) or 8 bytes (XSDT). */
static uint32_t place_list(struct files *f, const char *signature, uint8_t size)
{
	GByteArray *t = acpi_table_new(signature, 1, ACPI_PC_OEM_TABLE);
	uint32_t at;

	for (unsigned i = 0; i < f->n; i++)
		acpi_put(t, f->at[i], size);
	at = place(f, t);
	for (unsigned i = 0; i < f->n; i++)
		add_pointer(f->loader, TABLES_FILE, at + ACPI_HEADER + i * size, size, TABLES_FILE);
	add_checksum(f->loader, TABLES_FILE, at + SUM, at, ACPI_HEADER + f->n * size);
	return at;
}

static void place_rsdp(struct files *f, uint32_t rsdt, uint32_t xsdt)
{
	uint8_t r[ACPI_RSDP] = "RSD PTR ";

	memcpy(r + 9, ACPI_OEM_ID, 6);
	r[15] = 2;
	put_le32(r + RSDP_RSDT, rsdt);
	put_le32(r + 20, sizeof(r));
	put_le64(r + RSDP_XSDT, xsdt);
	g_byte_array_append(f->rsdp, r, sizeof(r));
	add_pointer(f->loader, RSDP_FILE, RSDP_RSDT, 4, TABLES_FILE);
	add_pointer(f->loader, RSDP_FILE, RSDP_XSDT, 8, TABLES_FILE);
	add_checksum(f->loader, RSDP_FILE, 8, 0, 20);
	add_checksum(f->loader, RSDP_FILE, 32, 0, sizeof(r));
}

static void build(const struct machine *m, struct files *f)
{
	uint64_t ecam;
	unsigned buses = pci_bus_ecam(m->core.pci, &ecam);
	uint32_t facs_at, dsdt_at, rsdt, xsdt;

	*f = (struct files){.tables = g_byte_array_new(), .rsdp = g_byte_array_new(), .loader = g_byte_array_new()};
	allocate(f->loader, RSDP_FILE, 16, ZONE_FSEG);
	allocate(f->loader, TABLES_FILE, TABLES_ALIGN, ZONE_HIGH);
	facs_at = place(f, facs());
	dsdt_at = place_summed(f, acpi_pc_dsdt(m));
	place_fadt(f, facs_at, dsdt_at, m->pm ? ich9_lpc_pm_base(m->pm) : PM_BASE);
	place_named(f, madt(m));
	if (acpi_pc_has(m, "hpet"))
		place_named(f, hpet());
	if (buses)
		place_named(f, acpi_mcfg(ACPI_PC_OEM_TABLE, ecam, buses));
	place_named(f, waet());
	rsdt = place_list(f, "RSDT", 4);
	xsdt = place_list(f, "XSDT", 8);
	place_rsdp(f, rsdt, xsdt);
}

/* ---- files ---- */

static GBytes *padded(GByteArray *a, size_t size)
{
	guint len = a->len;

	g_byte_array_set_size(a, (guint)size);
	memset(a->data + len, 0, size - len);
	return g_byte_array_free_to_bytes(a);
}

static size_t room(const GByteArray *a)
{
	return align_up(a->len + SLACK, ROUND);
}

static void renew(void *opaque)
{
	struct machine *m = opaque;
	struct files f;

	build(m, &f);
	fw_cfg_renew(m->fw_cfg, RSDP_FILE, g_byte_array_free_to_bytes(f.rsdp));
	fw_cfg_renew(m->fw_cfg, TABLES_FILE, padded(f.tables, m->acpi_tables_room));
	fw_cfg_renew(m->fw_cfg, LOADER_FILE, padded(f.loader, m->acpi_loader_room));
}

/* The sizes are those of the widest tables: what firmware decides adds to these a table and two windows. */
bool acpi_pc_add(struct machine *m, GError **error)
{
	static const char *const names[] = {RSDP_FILE, TABLES_FILE, LOADER_FILE, NULL};
	struct files f;

	build(m, &f);
	m->acpi_tables_room = room(f.tables);
	m->acpi_loader_room = room(f.loader);
	if (!fw_cfg_set_file(m->fw_cfg, RSDP_FILE, g_byte_array_free_to_bytes(f.rsdp), error) ||
	    !fw_cfg_set_file(m->fw_cfg, TABLES_FILE, padded(f.tables, m->acpi_tables_room), error) ||
	    !fw_cfg_set_file(m->fw_cfg, LOADER_FILE, padded(f.loader, m->acpi_loader_room), error))
		return false;
	fw_cfg_set_late(m->fw_cfg, names, renew, m);
	return true;
}
