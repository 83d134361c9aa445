/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PVH boot protocol (Xen's docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h): an
 * ELF file that names its 32-bit entry in a note and finds its modules and memory map through
 * EBX. An uncompressed kernel starts this way without unpacking itself. Called by boot.c.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "boot.h"
#include "bytes.h"
#include "error.h"

enum {
	NOTE_PHYS32_ENTRY = 18,
	SEGMENTS_MAX = 64,
	NOTES_MAX = 64 << 10,
	COMMAND_LINE_MAX = 2047, /* x86 Linux's own limit: the protocol names none */
	START_INFO_VERSION = 1,
};

#define START_INFO_MAGIC 0x336ec578u

struct start_info {
	uint32_t magic, version, flags, n_modules;
	uint64_t modules, command_line, rsdp, memory_map;
	uint32_t memory_map_entries, reserved;
};

struct module {
	uint64_t start, size, command_line, reserved;
};

struct memory_range {
	uint64_t start, size;
	uint32_t type, reserved;
};

/* As they lie in guest memory, from BOOT_START_INFO. */
struct start_area {
	struct start_info info;
	struct module module;
	struct memory_range range[BOOT_RANGES];
};

static bool check_header(const struct boot *b, const Elf64_Ehdr *e, GError **error)
{
	const char *path = b->kernel.path;

	if (e->e_ident[EI_CLASS] != ELFCLASS64 || e->e_ident[EI_DATA] != ELFDATA2LSB ||
	    e->e_machine != EM_X86_64)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "%s is not a 64-bit x86 ELF file", path);
	if (e->e_phentsize != sizeof(Elf64_Phdr) || !e->e_phnum || e->e_phnum > SEGMENTS_MAX)
		return kv_fail(error, KV_ERROR_INVALID, "%s: an ELF kernel has 1 to %d program "
			       "headers of %zu bytes", path, SEGMENTS_MAX, sizeof(Elf64_Phdr));
	return true;
}

static bool load_segment(struct boot *b, const Elf64_Phdr *p, GError **error)
{
	if (!p->p_memsz)
		return true;
	if (p->p_filesz > p->p_memsz || p->p_paddr < BOOT_KERNEL_MIN)
		return kv_fail(error, KV_ERROR_INVALID, "%s: the segment at 0x%" G_GINT64_MODIFIER
			       "x cannot be loaded", b->kernel.path, p->p_paddr);
	if (!gpa_ptr(b->m->core.mem, p->p_paddr, p->p_memsz))
		return kv_fail(error, KV_ERROR_USAGE, "%s needs memory at 0x%" G_GINT64_MODIFIER
			       "x and 0x%" G_GINT64_MODIFIER "x bytes on, the guest has %"
			       G_GUINT64_FORMAT " MiB", b->kernel.path, p->p_paddr, p->p_memsz,
			       b->m->memory >> 20);
	b->kernel_end = MAX(b->kernel_end, p->p_paddr + p->p_memsz);
	/* What follows is zero already: memory is fresh, or cleared by a reset. */
	return boot_file_load(b, &b->kernel, p->p_offset, p->p_paddr, p->p_filesz, error);
}

/* One note at *at of the buffer; false at the end or where the lengths make no sense. */
static bool next_note(const uint8_t *notes, uint64_t len, uint64_t *at, Elf64_Nhdr *ret,
		      const uint8_t **ret_name, const uint8_t **ret_desc)
{
	uint64_t name_len, desc_len;

	if (!range_inside(*at, sizeof(*ret), len))
		return false;
	memcpy(ret, notes + *at, sizeof(*ret));
	*at += sizeof(*ret);
	name_len = align_up(ret->n_namesz, 4);
	desc_len = align_up(ret->n_descsz, 4);
	if (!range_inside(*at, name_len + desc_len, align_up(len, 4)) ||
	    !range_inside(*at, name_len + ret->n_descsz, len))
		return false;
	*ret_name = notes + *at;
	*ret_desc = notes + *at + name_len;
	*at += name_len + desc_len;
	return true;
}

static bool find_entry(const struct boot *b, const Elf64_Phdr *p, uint64_t *ret_entry,
		       GError **error)
{
	g_autofree uint8_t *notes = NULL;
	const uint8_t *name, *desc;
	uint64_t at = 0;
	Elf64_Nhdr n;

	if (!p->p_filesz || p->p_filesz > NOTES_MAX)
		return true;
	notes = g_malloc(p->p_filesz);
	if (!boot_file_read(&b->kernel, p->p_offset, notes, p->p_filesz, error))
		return false;
	while (next_note(notes, p->p_filesz, &at, &n, &name, &desc)) {
		if (n.n_type != NOTE_PHYS32_ENTRY || n.n_namesz != 4 || memcmp(name, "Xen", 4))
			continue;
		if (n.n_descsz == 4)
			*ret_entry = get_le32(desc);
		else if (n.n_descsz == 8)
			*ret_entry = get_le64(desc);
	}
	return true;
}

static bool load_segments(struct boot *b, const Elf64_Ehdr *e, uint64_t *ret_entry, GError **error)
{
	for (unsigned i = 0; i < e->e_phnum; i++) {
		uint64_t at;
		Elf64_Phdr p;

		if (!checked_add(e->e_phoff, i * sizeof(p), &at))
			return kv_fail(error, KV_ERROR_INVALID, "%s: its program headers are "
				       "nowhere", b->kernel.path);
		if (!boot_file_read(&b->kernel, at, &p, sizeof(p), error))
			return false;
		if ((p.p_type == PT_LOAD && !load_segment(b, &p, error)) ||
		    (p.p_type == PT_NOTE && !find_entry(b, &p, ret_entry, error)))
			return false;
	}
	return true;
}

static bool put_start_info(struct boot *b, GError **error)
{
	struct start_area a = {
		.info = {
			.magic = START_INFO_MAGIC,
			.version = START_INFO_VERSION,
			.n_modules = b->initrd_at ? 1 : 0,
			.modules = BOOT_START_INFO + offsetof(struct start_area, module),
			.command_line = BOOT_COMMAND_LINE,
			.rsdp = b->rsdp,
			.memory_map = BOOT_START_INFO + offsetof(struct start_area, range),
			.memory_map_entries = b->n_ranges,
		},
		.module = { .start = b->initrd_at, .size = b->initrd_at ? b->initrd.size : 0 },
	};

	for (unsigned i = 0; i < b->n_ranges; i++)
		a.range[i] = (struct memory_range){ .start = b->range[i].start,
						    .size = b->range[i].size,
						    .type = b->range[i].type };
	return boot_put(b, BOOT_START_INFO, &a, sizeof(a), error);
}

static bool set_registers(struct boot *b, GError **error)
{
	struct vcpu *v = &b->m->vcpu[0];
	struct kvm_regs regs = { .rip = b->entry, .rbx = BOOT_START_INFO, .rflags = 2 };
	struct kvm_segment flat = { .limit = UINT32_MAX, .type = 3, .present = 1, .db = 1, .s = 1,
				    .g = 1, .selector = 0x10 };
	struct kvm_sregs s = v->power_on.sregs;

	s.ds = s.es = s.fs = s.gs = s.ss = flat;
	s.cs = flat;
	s.cs.type = 11;
	s.cs.selector = 8;
	s.tr = (struct kvm_segment){ .limit = 0x67, .type = 11, .present = 1 };
	s.cr0 = 0x11; /* ET, PE */
	s.cr4 = 0;
	s.efer = 0;
	if (kvcore_ioctl(v->fd, KVM_SET_SREGS, &s) < 0)
		return kv_fail_errno(error, errno, "KVM_SET_SREGS");
	if (kvcore_ioctl(v->fd, KVM_SET_REGS, &regs) < 0)
		return kv_fail_errno(error, errno, "KVM_SET_REGS");
	return true;
}

bool boot_pvh_read(struct boot *b, GError **error)
{
	Elf64_Ehdr e;

	b->entry = UINT64_MAX;
	if (!boot_file_read(&b->kernel, 0, &e, sizeof(e), error) || !check_header(b, &e, error) ||
	    !load_segments(b, &e, &b->entry, error))
		return false;
	if (b->entry == UINT64_MAX)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "%s has no PVH entry note (a Linux "
			       "kernel has it with CONFIG_PVH)", b->kernel.path);
	if (b->entry > UINT32_MAX || !gpa_ptr(b->m->core.mem, b->entry, 1))
		return kv_fail(error, KV_ERROR_INVALID, "%s: the PVH entry 0x%" G_GINT64_MODIFIER
			       "x is not in memory", b->kernel.path, b->entry);
	b->command_line_max = COMMAND_LINE_MAX;
	b->initrd_below = LOW_RAM_END;
	return boot_load_rest(b, error);
}

bool boot_pvh_enter(struct boot *b, GError **error)
{
	return put_start_info(b, error) && set_registers(b, error);
}
