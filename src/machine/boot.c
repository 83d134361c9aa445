/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Direct kernel boot: a bzImage by its 64-bit entry (Documentation/x86/boot.rst) or an ELF vmlinux by its PVH entry
 * (xen/include/public/arch-x86/hvm/start_info.h): loads kernel, initrd, command line and ACPI, and sets the boot vCPU's
 * registers. The files are not trusted: every offset is checked. Called by machine.c at creation and at reset.
 */
#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "error.h"
#include "internal.h"

#define GDT_AT 0x500ull
#define START_INFO_AT 0x6000ull
#define ZERO_PAGE_AT 0x7000ull
#define PAGE_TABLES_AT 0x9000ull /* PML4, PDPT, four PDs */
#define COMMAND_LINE_AT 0x20000ull
#define COMMAND_LINE_MAX 0x10000u
#define KERNEL_AT 0x1000000ull
#define LOW_MEMORY_END 0x9fc00ull
#define XEN_ELFNOTE_PHYS32_ENTRY 18
#define PVH_MAGIC 0x336ec578u

typedef struct file {
	const char *path;
	const uint8_t *data;
	size_t size;
} file;

static void file_unmap(struct file *f)
{
	if (f->data)
		munmap((void *)f->data, f->size);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(file, file_unmap)

static bool file_map(struct file *f, const char *path, GError **error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *p;

	if (fd < 0)
		return kv_fail_errno(error, errno, "%s", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0) {
		close(fd);
		return kv_fail(error, KV_ERROR_INVALID, "%s: not a file with anything in it", path);
	}
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return kv_fail_errno(error, errno, "%s", path);
	*f = (struct file){ path, p, (size_t)st.st_size };
	return true;
}

static bool to_guest(struct machine *m, uint64_t gpa, const void *data, uint64_t len, const char *what, GError **error)
{
	void *p = gpa_ptr(m->core.mem, gpa, len);

	if (!p)
		return kv_fail(error, KV_ERROR_INVALID, "%s does not fit into the guest's memory; give it more with --memory", what);
	memcpy(p, data, len);
	return true;
}

/* ---- registers ---- */

static struct kvm_segment segment(uint16_t selector, uint8_t type, bool l)
{
	return (struct kvm_segment){ .limit = 0xffffffff, .selector = selector, .type = type, .present = 1, .db = !l, .s = 1,
				     .l = l, .g = 1 };
}

static bool set_registers(struct machine *m, bool paging, struct kvm_regs *regs, GError **error)
{
	static const uint64_t gdt[] = { 0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff };
	struct vcpu *v = &m->vcpu[0];
	struct kvm_sregs s = v->sregs;

	s.cs = paging ? segment(0x10, 11, true) : segment(0x20, 11, false);
	s.ds = s.es = s.fs = s.gs = s.ss = segment(0x18, 3, false);
	s.tr = (struct kvm_segment){ .limit = 0x67, .type = 11, .present = 1 };
	s.gdt = (struct kvm_dtable){ .base = GDT_AT, .limit = sizeof(gdt) - 1 };
	s.cr0 = paging ? 0x80000031 : 0x31;
	s.cr3 = paging ? PAGE_TABLES_AT : 0;
	s.cr4 = paging ? 0x20 : 0;
	s.efer = paging ? 0x500 : 0;
	regs->rflags = 2;
	if (!to_guest(m, GDT_AT, gdt, sizeof(gdt), "the descriptor table", error))
		return false;
	if (kvcore_ioctl(v->fd, KVM_SET_SREGS, &s) < 0 || kvcore_ioctl(v->fd, KVM_SET_REGS, regs) < 0)
		return kv_fail_errno(error, errno, "cannot set the boot vCPU's registers");
	return true;
}

/* The first 4 GiB one to one with 2 MiB pages. */
static bool identity_tables(struct machine *m, GError **error)
{
	g_autofree uint64_t *t = g_new0(uint64_t, 6 * 512);

	t[0] = (PAGE_TABLES_AT + 0x1000) | 3;
	for (unsigned gib = 0; gib < 4; gib++)
		t[512 + gib] = (PAGE_TABLES_AT + 0x2000 + gib * 0x1000) | 3;
	for (uint64_t i = 0; i < 4 * 512; i++)
		t[1024 + i] = i << 21 | 0x83;
	return to_guest(m, PAGE_TABLES_AT, t, 6 * 512 * sizeof(*t), "the page tables", error);
}

/* ---- what both protocols need ---- */

static bool load_command_line(struct machine *m, uint32_t max, GError **error)
{
	const char *text = m->append ? m->append : "";
	size_t len = strlen(text) + 1;

	if (len > MIN(max, COMMAND_LINE_MAX))
		return kv_fail(error, KV_ERROR_USAGE, "the kernel command line is longer than %u characters", max);
	return to_guest(m, COMMAND_LINE_AT, text, len, "the command line", error);
}

/* As high as the kernel can reach in low memory. */
static bool load_initrd(struct machine *m, uint64_t limit, uint64_t floor, uint64_t *ret_at, uint64_t *ret_size, GError **error)
{
	g_auto(file) f = { 0 };
	uint64_t top = MIN(MIN(m->memory, LOW_RAM_END), limit);

	*ret_at = *ret_size = 0;
	if (!m->initrd)
		return true;
	if (!file_map(&f, m->initrd, error))
		return false;
	if (f.size > top || align_down(top - f.size, 4096) < floor)
		return kv_fail(error, KV_ERROR_INVALID, "%s does not fit into the guest's memory; give it more with --memory",
			       m->initrd);
	*ret_at = align_down(top - f.size, 4096);
	*ret_size = f.size;
	return to_guest(m, *ret_at, f.data, f.size, m->initrd, error);
}

struct range {
	uint64_t start, size;
	uint32_t type; /* e820: 1 RAM, 2 reserved */
};

static unsigned memory_map(const struct machine *m, struct range out[5])
{
	uint64_t low = MIN(m->memory, LOW_RAM_END);
	unsigned n = 0;

	out[n++] = (struct range){ 0, LOW_MEMORY_END, 1 };
	out[n++] = (struct range){ 0xe0000, 0x20000, 2 };
	out[n++] = (struct range){ 0x100000, low - 0x100000, 1 };
	out[n++] = (struct range){ ECAM_BASE, ECAM_SIZE, 2 };
	if (m->memory > low)
		out[n++] = (struct range){ HIGH_RAM_BASE, m->memory - low, 1 };
	return n;
}

/* ---- bzImage ---- */

static bool check_header(const struct file *f, struct setup_header *h, size_t *ret_setup, GError **error)
{
	if (f->size < 0x1f1 + sizeof(*h))
		return kv_fail(error, KV_ERROR_INVALID, "%s: too short for a kernel", f->path);
	memcpy(h, f->data + 0x1f1, sizeof(*h));
	if (h->header != 0x53726448 || h->version < 0x020c)
		return kv_fail(error, KV_ERROR_INVALID, "%s: neither a bzImage of protocol 2.12 or newer nor an ELF vmlinux", f->path);
	if (!(h->xloadflags & XLF_KERNEL_64))
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "%s: a 32-bit kernel; only 64-bit kernels can be booted directly", f->path);
	*ret_setup = (h->setup_sects ? h->setup_sects + 1u : 5u) * 512u;
	if (*ret_setup >= f->size)
		return kv_fail(error, KV_ERROR_INVALID, "%s: cut off inside its setup code", f->path);
	return true;
}

static bool load_bzimage(struct machine *m, const struct file *f, GError **error)
{
	struct boot_params *bp;
	struct setup_header h;
	struct range map[5];
	struct kvm_regs regs = { .rip = KERNEL_AT + 0x200, .rsi = ZERO_PAGE_AT };
	uint64_t initrd, initrd_size, rsdp, floor;
	size_t setup;

	if (!check_header(f, &h, &setup, error))
		return false;
	floor = KERNEL_AT + MAX((uint64_t)h.init_size, f->size - setup);
	if (floor > MIN(m->memory, LOW_RAM_END))
		return kv_fail(error, KV_ERROR_INVALID, "%s needs %" G_GUINT64_FORMAT " MiB of memory; give it more with --memory",
			       f->path, (floor >> 20) + 1);
	if (!to_guest(m, KERNEL_AT, f->data + setup, f->size - setup, f->path, error) ||
	    !load_command_line(m, h.cmdline_size, error) ||
	    !load_initrd(m, (uint64_t)h.initrd_addr_max + 1, floor, &initrd, &initrd_size, error) ||
	    !acpi_build(m, &rsdp, error) || !identity_tables(m, error))
		return false;
	bp = gpa_ptr(m->core.mem, ZERO_PAGE_AT, sizeof(*bp));
	memset(bp, 0, sizeof(*bp));
	bp->hdr = h;
	bp->hdr.type_of_loader = 0xff;
	bp->hdr.cmd_line_ptr = COMMAND_LINE_AT;
	bp->hdr.ramdisk_image = (uint32_t)initrd;
	bp->hdr.ramdisk_size = (uint32_t)initrd_size;
	bp->acpi_rsdp_addr = rsdp;
	bp->e820_entries = (uint8_t)memory_map(m, map);
	for (unsigned i = 0; i < bp->e820_entries; i++)
		bp->e820_table[i] = (struct boot_e820_entry){ map[i].start, map[i].size, map[i].type };
	return set_registers(m, true, &regs, error);
}

/* ---- PVH ---- */

struct hvm_module {
	uint64_t paddr, size, cmdline_paddr, reserved;
};

struct hvm_memmap_entry {
	uint64_t addr, size;
	uint32_t type, reserved;
};

struct hvm_start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
	uint32_t memmap_entries, reserved;
};

struct pvh_area {
	struct hvm_start_info info;
	struct hvm_module module;
	struct hvm_memmap_entry map[5];
};

/* The 32-bit entry address from an ELF note segment, or 0. */
static uint32_t entry_note(const uint8_t *p, uint64_t size)
{
	for (uint64_t at = 0; size - at >= sizeof(Elf64_Nhdr) && at <= size;) {
		Elf64_Nhdr n;
		uint64_t name, desc;

		memcpy(&n, p + at, sizeof(n));
		name = at + sizeof(n);
		desc = name + align_up(n.n_namesz, 4);
		if (!range_inside(name, n.n_namesz, size) || !range_inside(desc, n.n_descsz, size))
			return 0;
		if (n.n_type == XEN_ELFNOTE_PHYS32_ENTRY && n.n_namesz == 4 && !memcmp(p + name, "Xen", 4) && n.n_descsz >= 4)
			return get_le32(p + desc);
		at = desc + align_up(n.n_descsz, 4);
		if (at > size)
			return 0;
	}
	return 0;
}

static bool load_segment(struct machine *m, const struct file *f, const Elf64_Phdr *ph, uint64_t *end, GError **error)
{
	void *p = gpa_ptr(m->core.mem, ph->p_paddr, MAX(ph->p_memsz, 1));

	if (!range_inside(ph->p_offset, ph->p_filesz, f->size) || ph->p_filesz > ph->p_memsz)
		return kv_fail(error, KV_ERROR_INVALID, "%s: a program header points outside of the file", f->path);
	if (!p || ph->p_paddr < 0x100000)
		return kv_fail(error, KV_ERROR_INVALID, "%s: a segment at 0x%" G_GINT64_MODIFIER
			       "x does not fit into the guest's memory; give it more with --memory", f->path, (uint64_t)ph->p_paddr);
	memcpy(p, f->data + ph->p_offset, ph->p_filesz);
	memset((uint8_t *)p + ph->p_filesz, 0, ph->p_memsz - ph->p_filesz);
	*end = MAX(*end, ph->p_paddr + ph->p_memsz);
	return true;
}

static bool load_segments(struct machine *m, const struct file *f, uint32_t *entry, uint64_t *end, GError **error)
{
	Elf64_Ehdr eh;

	if (f->size < sizeof(eh))
		return kv_fail(error, KV_ERROR_INVALID, "%s: cut off", f->path);
	memcpy(&eh, f->data, sizeof(eh));
	if (eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_machine != EM_X86_64 || eh.e_phentsize != sizeof(Elf64_Phdr) ||
	    !range_inside(eh.e_phoff, (uint64_t)eh.e_phnum * sizeof(Elf64_Phdr), f->size))
		return kv_fail(error, KV_ERROR_INVALID, "%s: not a 64-bit x86 ELF kernel", f->path);
	for (unsigned i = 0; i < eh.e_phnum; i++) {
		Elf64_Phdr ph;

		memcpy(&ph, f->data + eh.e_phoff + i * sizeof(ph), sizeof(ph));
		if (ph.p_type == PT_NOTE && range_inside(ph.p_offset, ph.p_filesz, f->size) && !*entry)
			*entry = entry_note(f->data + ph.p_offset, ph.p_filesz);
		if (ph.p_type == PT_LOAD && !load_segment(m, f, &ph, end, error))
			return false;
	}
	if (!*entry)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "%s: an ELF file without a PVH entry (CONFIG_PVH)", f->path);
	return true;
}

static bool load_pvh(struct machine *m, const struct file *f, GError **error)
{
	struct pvh_area area = { 0 };
	struct range map[5];
	struct kvm_regs regs = { .rbx = START_INFO_AT };
	uint64_t end = 0, rsdp;
	uint32_t entry = 0;

	if (!load_segments(m, f, &entry, &end, error) || !load_command_line(m, COMMAND_LINE_MAX, error) ||
	    !load_initrd(m, UINT32_MAX, end, &area.module.paddr, &area.module.size, error) || !acpi_build(m, &rsdp, error))
		return false;
	area.info = (struct hvm_start_info){
		.magic = PVH_MAGIC, .version = 1, .nr_modules = m->initrd != NULL,
		.modlist_paddr = m->initrd ? START_INFO_AT + offsetof(struct pvh_area, module) : 0,
		.cmdline_paddr = COMMAND_LINE_AT, .rsdp_paddr = rsdp,
		.memmap_paddr = START_INFO_AT + offsetof(struct pvh_area, map), .memmap_entries = memory_map(m, map),
	};
	for (unsigned i = 0; i < area.info.memmap_entries; i++)
		area.map[i] = (struct hvm_memmap_entry){ map[i].start, map[i].size, map[i].type, 0 };
	regs.rip = entry;
	return to_guest(m, START_INFO_AT, &area, sizeof(area), "the start information", error) &&
	       set_registers(m, false, &regs, error);
}

bool boot_load(struct machine *m, GError **error)
{
	g_auto(file) f = { 0 };

	if (!m->kernel)
		return kv_fail(error, KV_ERROR_USAGE, "this machine boots a kernel directly: give it one with --kernel FILE");
	if (!file_map(&f, m->kernel, error))
		return false;
	if (f.size > SELFMAG && !memcmp(f.data, ELFMAG, SELFMAG))
		return load_pvh(m, &f, error);
	return load_bzimage(m, &f, error);
}
