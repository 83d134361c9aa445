/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine's memory and processors as an ELF core file (System V ABI, chapter 5), which gdb, crash and others read as one of
 * QEMU's: a load segment for each piece of RAM, with its physical address, and for each processor Linux' NT_PRSTATUS and a note
 * of QEMU's own, which has control and segment registers (target/i386/arch_dump.c). Called by kv-vmm (query.h).
 */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/procfs.h>
#include <unistd.h>

#include "bytes.h"
#include "core.h"
#include "error.h"
#include "internal.h"
#include "query.h"

enum { PIECE = 1 << 20, MSR_KERNEL_GS_BASE = 0xc0000102 };

struct qemu_segment {
	uint32_t selector, limit, flags, pad;
	uint64_t base;
};

struct qemu_cpu {
	uint32_t version, size;
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags;
	struct qemu_segment cs, ds, es, fs, gs, ss, ldt, tr, gdt, idt;
	uint64_t cr[5];
	uint64_t kernel_gs_base;
};

static bool put(int fd, const void *data, uint64_t len, GError **error)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(fd, p, MIN(len, PIECE));

		if (n < 0 && errno != EINTR)
			return kv_fail_errno(error, errno, "dump: failed to save memory");
		p += MAX(n, 0);
		len -= (uint64_t)MAX(n, 0);
	}
	return true;
}

/* Name and description, each padded to four bytes. */
static void put_note(GByteArray *out, const char *name, uint32_t type, const void *desc, uint32_t len)
{
	static const uint8_t zeroes[4];
	Elf64_Nhdr head = { .n_namesz = (uint32_t)strlen(name) + 1, .n_descsz = len, .n_type = type };

	g_byte_array_append(out, (const uint8_t *)&head, sizeof(head));
	g_byte_array_append(out, (const uint8_t *)name, head.n_namesz);
	g_byte_array_append(out, zeroes, -head.n_namesz & 3);
	g_byte_array_append(out, desc, len);
	g_byte_array_append(out, zeroes, -len & 3);
}

static void put_status(GByteArray *out, unsigned cpu, const struct kvm_regs *r, const struct kvm_sregs *s)
{
	struct elf_prstatus p = { .pr_pid = (int)cpu + 1 };
	/* As ptrace(2) has them (struct user_regs_struct). */
	const uint64_t regs[] = { r->r15, r->r14, r->r13, r->r12, r->rbp, r->rbx, r->r11, r->r10, r->r9, r->r8, r->rax, r->rcx,
				  r->rdx, r->rsi, r->rdi, 0, r->rip, s->cs.selector, r->rflags, r->rsp, s->ss.selector,
				  s->fs.base, s->gs.base, s->ds.selector, s->es.selector, s->fs.selector, s->gs.selector };

	memcpy(&p.pr_reg, regs, sizeof(regs));
	put_note(out, "CORE", NT_PRSTATUS, &p, sizeof(p));
}

/* flags: the second word of a descriptor. */
static struct qemu_segment segment(const struct kvm_segment *s)
{
	uint32_t flags = (uint32_t)s->type << 8 | (uint32_t)s->s << 12 | (uint32_t)s->dpl << 13 | (uint32_t)s->present << 15 |
			 (uint32_t)s->avl << 20 | (uint32_t)s->l << 21 | (uint32_t)s->db << 22 | (uint32_t)s->g << 23;

	return (struct qemu_segment){ .selector = s->selector, .limit = s->limit, .flags = flags, .base = s->base };
}

static uint64_t kernel_gs_base(struct vcpu *v)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} m = { .head.nmsrs = 1, .entry.index = MSR_KERNEL_GS_BASE };

	return kvcore_ioctl(v->fd, KVM_GET_MSRS, &m) == 1 ? m.entry.data : 0;
}

static void put_qemu(GByteArray *out, struct vcpu *v, const struct kvm_regs *r, const struct kvm_sregs *s)
{
	struct qemu_cpu c = {
		.version = 1, .size = sizeof(c),
		.rax = r->rax, .rbx = r->rbx, .rcx = r->rcx, .rdx = r->rdx, .rsi = r->rsi, .rdi = r->rdi, .rsp = r->rsp,
		.rbp = r->rbp, .r8 = r->r8, .r9 = r->r9, .r10 = r->r10, .r11 = r->r11, .r12 = r->r12, .r13 = r->r13,
		.r14 = r->r14, .r15 = r->r15, .rip = r->rip, .rflags = r->rflags,
		.cs = segment(&s->cs), .ds = segment(&s->ds), .es = segment(&s->es), .fs = segment(&s->fs),
		.gs = segment(&s->gs), .ss = segment(&s->ss), .ldt = segment(&s->ldt), .tr = segment(&s->tr),
		.gdt = { .limit = s->gdt.limit, .base = s->gdt.base }, .idt = { .limit = s->idt.limit, .base = s->idt.base },
		.cr = { s->cr0, 0, s->cr2, s->cr3, s->cr4 },
		.kernel_gs_base = kernel_gs_base(v),
	};

	put_note(out, "QEMU", 0, &c, sizeof(c));
}

static bool put_notes(struct machine *m, GByteArray *out, GError **error)
{
	g_autofree struct kvm_regs *regs = g_new0(struct kvm_regs, m->cpus);
	g_autofree struct kvm_sregs *sregs = g_new0(struct kvm_sregs, m->cpus);

	for (unsigned i = 0; i < m->cpus; i++)
		if (!m->vcpu[i].absent && (kvcore_ioctl(m->vcpu[i].fd, KVM_GET_REGS, &regs[i]) < 0 ||
					   kvcore_ioctl(m->vcpu[i].fd, KVM_GET_SREGS, &sregs[i]) < 0))
			return kv_fail_errno(error, errno, "dump: registers of processor %u", i);
	for (unsigned i = 0; i < m->cpus; i++)
		if (!m->vcpu[i].absent)
			put_status(out, i, &regs[i], &sregs[i]);
	for (unsigned i = 0; i < m->cpus; i++)
		if (!m->vcpu[i].absent)
			put_qemu(out, &m->vcpu[i], &regs[i], &sregs[i]);
	return true;
}

static void put_headers(const struct guest_mem *mem, uint32_t notes, GByteArray *out)
{
	unsigned n = mem->n_blocks + 1;
	uint64_t at = sizeof(Elf64_Ehdr) + n * sizeof(Elf64_Phdr);
	Elf64_Ehdr head = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			    .e_type = ET_CORE, .e_machine = EM_X86_64, .e_version = EV_CURRENT, .e_phoff = sizeof(head),
			    .e_ehsize = sizeof(head), .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = (Elf64_Half)n };
	Elf64_Phdr p = { .p_type = PT_NOTE, .p_offset = at, .p_filesz = notes, .p_memsz = notes };

	g_byte_array_append(out, (const uint8_t *)&head, sizeof(head));
	g_byte_array_append(out, (const uint8_t *)&p, sizeof(p));
	at += notes;
	for (unsigned i = 0; i < mem->n_blocks; i++) {
		const struct ram_block *b = &mem->block[i];

		p = (Elf64_Phdr){ .p_type = PT_LOAD, .p_offset = at, .p_paddr = b->gpa, .p_filesz = b->size, .p_memsz = b->size };
		g_byte_array_append(out, (const uint8_t *)&p, sizeof(p));
		at += b->size;
	}
}

bool machine_dump(struct machine *m, int fd, GError **error)
{
	g_autoptr(GByteArray) notes = g_byte_array_new(), headers = g_byte_array_new();
	const struct guest_mem *mem = m->core.mem;

	if (!put_notes(m, notes, error))
		return false;
	put_headers(mem, notes->len, headers);
	if (!put(fd, headers->data, headers->len, error) || !put(fd, notes->data, notes->len, error))
		return false;
	for (unsigned i = 0; i < mem->n_blocks; i++)
		if (!put(fd, mem->block[i].host, mem->block[i].size, error))
			return false;
	return true;
}
