/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Linux boot protocol's 64-bit entry (Documentation/x86/boot.rst, protocol 2.12 and later):
 * the compressed kernel at its preferred address, boot_params, a flat GDT and an identity map of
 * the first four gigabytes. Called by boot.c.
 */
#include <errno.h>
#include <string.h>

#include "boot.h"
#include "bytes.h"
#include "error.h"

enum {
	HEADER_AT = 0x1f1,
	SECTOR = 512,
	PROTOCOL_64BIT = 0x020c,
	ENTRY_64 = 0x200,
	LOADER_UNKNOWN = 0xff,
	CODE_SELECTOR = 0x10,
	DATA_SELECTOR = 0x18,
};

#define HEADER_MAGIC 0x53726448u /* "HdrS" */

static bool check_header(const struct boot *b, const struct setup_header *h, GError **error)
{
	const char *path = b->kernel.path;

	if (h->header != HEADER_MAGIC || h->boot_flag != 0xaa55)
		return kv_fail(error, KV_ERROR_INVALID, "%s is neither a bzImage nor an ELF kernel",
			       path);
	if (h->version < PROTOCOL_64BIT || !(h->xloadflags & XLF_KERNEL_64))
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "%s has no 64-bit entry (boot protocol "
			       "%u.%02u, 2.12 is the oldest that does)", path, h->version >> 8,
			       h->version & 0xff);
	if (!(h->loadflags & LOADED_HIGH))
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "%s is a zImage; use a bzImage", path);
	return true;
}

/* Where the protected-mode part goes, and how much room it needs there. */
static bool place_kernel(struct boot *b, const struct setup_header *h, uint64_t len,
			 uint64_t *ret_at, GError **error)
{
	uint64_t at = h->pref_address, need = MAX((uint64_t)h->init_size, len), end;

	if (at < BOOT_KERNEL_MIN || at > UINT32_MAX)
		return kv_fail(error, KV_ERROR_INVALID, "%s wants to be at 0x%" G_GINT64_MODIFIER
			       "x, which is not possible", b->kernel.path, at);
	end = at + need;
	if (!gpa_ptr(b->m->core.mem, at, need))
		return kv_fail(error, KV_ERROR_USAGE, "%s needs %" G_GUINT64_FORMAT " MiB of "
			       "memory, the guest has %" G_GUINT64_FORMAT, b->kernel.path,
			       (end >> 20) + 1, b->m->memory >> 20);
	b->kernel_end = end;
	*ret_at = at;
	return true;
}

static bool put_params(struct boot *b, GError **error)
{
	struct boot_params p = { .hdr = b->header };

	p.hdr.type_of_loader = LOADER_UNKNOWN;
	p.hdr.cmd_line_ptr = BOOT_COMMAND_LINE;
	p.hdr.ramdisk_image = b->initrd_at;
	p.hdr.ramdisk_size = b->initrd_at ? b->initrd.size : 0;
	p.hdr.setup_data = 0;
	p.acpi_rsdp_addr = b->rsdp;
	for (unsigned i = 0; i < b->n_ranges; i++)
		p.e820_table[i] = (struct boot_e820_entry){
			.addr = b->range[i].start, .size = b->range[i].size, .type = b->range[i].type
		};
	p.e820_entries = b->n_ranges;
	return boot_put(b, BOOT_PARAMS, &p, sizeof(p), error);
}

/* Four levels, 2 MiB pages: they need no CPUID bit. */
static bool put_page_tables(struct boot *b, GError **error)
{
	enum { ENTRIES = 512, GIB = 4, PRESENT_WRITE = 3, LARGE = 0x80 };
	g_autofree uint64_t *t = g_new0(uint64_t, (2 + GIB) * ENTRIES);

	t[0] = (BOOT_PAGE_TABLES + 0x1000) | PRESENT_WRITE;
	for (uint64_t i = 0; i < GIB; i++)
		t[ENTRIES + i] = (BOOT_PAGE_TABLES + (2 + i) * 0x1000) | PRESENT_WRITE;
	for (uint64_t i = 0; i < GIB * ENTRIES; i++)
		t[2 * ENTRIES + i] = i << 21 | LARGE | PRESENT_WRITE;
	return boot_put(b, BOOT_PAGE_TABLES, t, (2 + GIB) * ENTRIES * sizeof(*t), error);
}

static struct kvm_segment segment(uint16_t selector, uint8_t type, bool code)
{
	return (struct kvm_segment){ .limit = UINT32_MAX, .selector = selector, .type = type,
				     .present = 1, .s = 1, .g = 1, .l = code, .db = !code };
}

static bool set_registers(struct boot *b, GError **error)
{
	static const uint64_t gdt[] = { 0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff };
	struct vcpu *v = &b->m->vcpu[0];
	struct kvm_regs regs = { .rip = b->entry, .rsi = BOOT_PARAMS, .rsp = BOOT_STACK_END,
				 .rflags = 2 };
	struct kvm_sregs s = v->power_on.sregs;

	if (!boot_put(b, BOOT_GDT, gdt, sizeof(gdt), error))
		return false;
	s.gdt = (struct kvm_dtable){ .base = BOOT_GDT, .limit = sizeof(gdt) - 1 };
	s.cs = segment(CODE_SELECTOR, 11, true);
	s.ds = s.es = s.fs = s.gs = s.ss = segment(DATA_SELECTOR, 3, false);
	s.tr = (struct kvm_segment){ .limit = 0x67, .type = 11, .present = 1 };
	s.cr0 = 0x80000011; /* PG, ET, PE */
	s.cr3 = BOOT_PAGE_TABLES;
	s.cr4 = 0x20;	/* PAE */
	s.efer = 0x500; /* LMA, LME */
	if (kvcore_ioctl(v->fd, KVM_SET_SREGS, &s) < 0)
		return kv_fail_errno(error, errno, "KVM_SET_SREGS");
	if (kvcore_ioctl(v->fd, KVM_SET_REGS, &regs) < 0)
		return kv_fail_errno(error, errno, "KVM_SET_REGS");
	return true;
}

bool boot_linux_read(struct boot *b, GError **error)
{
	struct setup_header *h = &b->header;
	uint64_t setup, at = 0;

	if (!boot_file_read(&b->kernel, HEADER_AT, h, sizeof(*h), error) || !check_header(b, h, error))
		return false;
	setup = ((h->setup_sects ? h->setup_sects : 4) + 1) * SECTOR;
	if (setup >= b->kernel.size)
		return kv_fail(error, KV_ERROR_INVALID, "%s is cut short: nothing follows its %"
			       G_GUINT64_FORMAT " bytes of setup code", b->kernel.path, setup);
	b->command_line_max = h->cmdline_size;
	b->initrd_below = (uint64_t)h->initrd_addr_max + 1;
	if (!place_kernel(b, h, b->kernel.size - setup, &at, error))
		return false;
	b->entry = at + ENTRY_64;
	return boot_file_load(b, &b->kernel, setup, at, b->kernel.size - setup, error) && boot_load_rest(b, error);
}

bool boot_linux_enter(struct boot *b, GError **error)
{
	return put_params(b, error) && put_page_tables(b, error) && set_registers(b, error);
}
