/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Direct boot without firmware: what bzImage and PVH have in common. Kernel and initrd go from
 * their files straight to guest memory; every number in them is checked, since a kernel file
 * may come from anywhere. Called by machine.c at creation, where a thread reads the files while
 * the rest of the machine is made, and at each reset.
 */
#include "boot.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "devices/acpi-pm.h"
#include "error.h"
#include "role.h"

enum { E820_RAM = 1, E820_RESERVED = 2, PAGE = 4096, LARGE_PAGE = 2 << 20, READ_SPLIT = 4 << 20, THREAD_MIN = 1 << 20 };

/* Opened once: when the guest resets, the process may have no files to name any more. */
static bool open_file(struct boot_file *f, struct boot_held *held, const char *what, const char *path, GError **error)
{
	struct stat st;

	f->path = path;
	if (!held->open) {
		held->fd = open(path, O_RDONLY | O_CLOEXEC);
		held->open = held->fd >= 0;
	}
	if (!held->open || fstat(held->fd, &st) < 0)
		return kv_fail_errno(error, errno, "%s %s", what, path);
	if (!S_ISREG(st.st_mode))
		return kv_fail(error, KV_ERROR_USAGE, "%s %s is not a file", what, path);
	f->fd = held->fd;
	f->size = st.st_size;
	return true;
}

static void close_file(struct boot_held *held)
{
	if (held->open)
		close(held->fd);
	held->open = false;
}

void boot_forget_files(struct machine *m)
{
	close_file(&m->kernel_file);
	close_file(&m->initrd_file);
}

/* A piece of a file on its way to memory. */
struct piece {
	const struct boot_file *f;
	uint8_t *to;
	uint64_t offset, len;
	GError *error;
};

static void read_all(struct piece *p)
{
	while (p->len) {
		ssize_t n = pread(p->f->fd, p->to, p->len, p->offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			kv_fail_errno(&p->error, errno, "cannot read %s", p->f->path);
		else if (!n)
			kv_fail(&p->error, KV_ERROR_INVALID, "%s became shorter", p->f->path);
		if (n <= 0)
			return;
		p->to += n;
		p->offset += n;
		p->len -= n;
	}
}

static gpointer read_piece(gpointer piece)
{
	kv_role_enter("boot");
	read_all(piece);
	return NULL;
}

/* A large piece by two threads: most of the time goes into memory that the host has to clear before. */
bool boot_file_read(const struct boot_file *f, uint64_t offset, void *data, uint64_t len,
		    GError **error)
{
	uint64_t first = len >= READ_SPLIT ? align_up(len / 2, LARGE_PAGE) : len;
	struct piece a = {f, data, offset, first, NULL};
	struct piece b = {f, (uint8_t *)data + first, offset + first, len - first, NULL};
	GThread *thread = NULL;

	if (!range_inside(offset, len, f->size))
		return kv_fail(error, KV_ERROR_INVALID, "%s is cut short: it says that there are 0x%"
			       G_GINT64_MODIFIER "x bytes at 0x%" G_GINT64_MODIFIER "x", f->path,
			       len, offset);
	if (b.len)
		thread = g_thread_try_new("kv-boot", read_piece, &b, NULL);
	read_all(&a);
	if (thread)
		g_thread_join(thread);
	else
		read_all(&b);
	if (!a.error)
		a.error = g_steal_pointer(&b.error);
	g_clear_error(&b.error);
	if (a.error)
		g_propagate_error(error, a.error);
	return !a.error;
}

/* Of the host, for memory that will be written all over: one fault instead of 512. It need not have them. */
static void want_large_pages(void *host, uint64_t len)
{
	uintptr_t from = align_up((uintptr_t)host, LARGE_PAGE), to = align_down((uintptr_t)host + len, LARGE_PAGE);

	if (from < to)
		madvise((void *)from, to - from, MADV_HUGEPAGE);
}

bool boot_file_load(struct boot *b, const struct boot_file *f, uint64_t offset, uint64_t gpa,
		    uint64_t len, GError **error)
{
	void *host = gpa_ptr(b->m->core.mem, gpa, len);

	if (!len)
		return true;
	if (!host)
		return kv_fail(error, KV_ERROR_INVALID, "%s needs guest memory at 0x%"
			       G_GINT64_MODIFIER "x-0x%" G_GINT64_MODIFIER "x: give the guest more "
			       "memory", f->path, gpa, gpa + len - 1);
	want_large_pages(host, len);
	if (!boot_file_read(f, offset, host, len, error))
		return false;
	mem_written(b->m->core.mem, gpa, len);
	return true;
}

bool boot_put(struct boot *b, uint64_t gpa, const void *data, uint64_t len, GError **error)
{
	if (gpa_write(b->m->core.mem, gpa, data, len))
		return true;
	return kv_fail(error, KV_ERROR_USAGE, "%" G_GUINT64_FORMAT " MiB of memory are too few to "
		       "boot a kernel", b->m->memory >> 20);
}

static uint64_t low_ram_end(const struct machine *m)
{
	return MIN(m->memory, LOW_RAM_END);
}

static bool load_initrd(struct boot *b, GError **error)
{
	uint64_t end = MIN(b->initrd_below, low_ram_end(b->m)), at;

	if (b->initrd.fd < 0 || !b->initrd.size)
		return true;
	at = b->initrd.size < end ? align_down(end - b->initrd.size, PAGE) : 0;
	if (at < b->kernel_end)
		return kv_fail(error, KV_ERROR_USAGE, "kernel and initrd %s do not fit into %"
			       G_GUINT64_FORMAT " MiB of memory", b->initrd.path,
			       b->m->memory >> 20);
	b->initrd_at = at;
	return boot_file_load(b, &b->initrd, 0, at, b->initrd.size, error);
}

bool boot_load_rest(struct boot *b, GError **error)
{
	size_t len = strlen(b->command_line);
	uint64_t max = MIN(b->command_line_max, BOOT_COMMAND_LINE_MAX - 1);

	if (len > max)
		return kv_fail(error, KV_ERROR_USAGE, "the kernel command line has %zu bytes, %s "
			       "takes %" G_GUINT64_FORMAT, len, b->kernel.path, max);
	return boot_put(b, BOOT_COMMAND_LINE, b->command_line, len + 1, error) &&
	       load_initrd(b, error);
}

static void add_range(struct boot *b, uint64_t start, uint64_t end, uint32_t type)
{
	if (end > start && b->n_ranges < BOOT_RANGES)
		b->range[b->n_ranges++] =
			(struct boot_range){ .start = start, .size = end - start, .type = type };
}

static void memory_map(struct boot *b)
{
	uint64_t memory = b->m->memory, low = low_ram_end(b->m);

	add_range(b, 0, BOOT_LOW_RAM_END, E820_RAM);
	add_range(b, BOOT_LOW_RAM_END, 0xa0000, E820_RESERVED);
	add_range(b, 0xe0000, 0x100000, E820_RESERVED); /* ACPI tables */
	add_range(b, 0x100000, low, E820_RAM);
	add_range(b, ECAM_BASE, ECAM_BASE + ECAM_SIZE, E820_RESERVED);
	add_range(b, HIGH_RAM_BASE, HIGH_RAM_BASE + (memory - low), E820_RAM);
}

/*
 * Where firmware would start after a reset: Linux on hardware-reduced ACPI ends a reboot by
 * jumping there in real mode, so the place holds what resets this machine.
 */
static bool put_reset_code(struct boot *b, GError **error)
{
	enum { PORT = PM_BASE + PM_RESET };
	static const uint8_t code[] = {
		0xba, PORT & 0xff, PORT >> 8, /* mov dx, PORT */
		0xb0, PM_RESET_VALUE,	      /* mov al, value */
		0xee,			      /* out dx, al */
		0xf4, 0xeb, 0xfd,	      /* hlt; and again */
	};

	return boot_put(b, BOOT_RESET_VECTOR, code, sizeof(code), error);
}

/* What firmware would have set on every processor; a KVM without one of them does without. */
static void set_firmware_msrs(struct machine *m)
{
	enum { MISC_ENABLE = 0x1a0, FAST_STRINGS = 1, MTRR_DEF_TYPE = 0x2ff, ENABLED_WB = 0x806 };
	static const uint64_t msrs[][2] = {
		{ MISC_ENABLE, FAST_STRINGS }, /* or Linux does without REP MOVSB */
		{ MTRR_DEF_TYPE, ENABLED_WB }, /* or Linux does without PAT */
	};

	for (unsigned i = 0; i < m->cpus; i++)
		for (unsigned n = 0; n < G_N_ELEMENTS(msrs); n++)
			vcpu_set_msr(&m->vcpu[i], msrs[n][0], msrs[n][1]);
}

/* Needs guest memory, and nothing else of the machine. */
static bool read_files(struct boot *b, GError **error)
{
	struct machine *m = b->m;
	uint8_t magic[4];

	if (!m->kernel)
		return kv_fail(error, KV_ERROR_USAGE, "there is nothing to boot: give a kernel");
	if (m->memory <= BOOT_KERNEL_MIN)
		return kv_fail(error, KV_ERROR_USAGE, "%" G_GUINT64_FORMAT " bytes of memory are "
			       "too few to boot a kernel", m->memory);
	if (!open_file(&b->kernel, &m->kernel_file, "kernel", m->kernel, error) ||
	    (m->initrd && !open_file(&b->initrd, &m->initrd_file, "initrd", m->initrd, error)) ||
	    !boot_file_read(&b->kernel, 0, magic, sizeof(magic), error))
		return false;
	b->elf = !memcmp(magic, "\177ELF", 4);
	return b->elf ? boot_pvh_read(b, error) : boot_linux_read(b, error);
}

static bool enter(struct boot *b, GError **error)
{
	if (!acpi_build(b->m, &b->rsdp, error) || !put_reset_code(b, error))
		return false;
	memory_map(b);
	set_firmware_msrs(b->m);
	return b->elf ? boot_pvh_enter(b, error) : boot_linux_enter(b, error);
}

static struct boot *boot_new(struct machine *m)
{
	struct boot *b = g_new(struct boot, 1);

	*b = (struct boot){ .m = m, .kernel = { .fd = -1 }, .initrd = { .fd = -1 }, .command_line = m->append ? m->append : "" };
	return b;
}

static gpointer reader(gpointer boot)
{
	struct boot *b = boot;

	return GINT_TO_POINTER(read_files(b, &b->error));
}

/* A thread takes longer to be there than small files to be read. What cannot be asked about is told of by the reading. */
static bool worth_a_thread(const struct machine *m)
{
	GStatBuf st;

	return m->initrd || !m->kernel || g_stat(m->kernel, &st) < 0 || st.st_size >= THREAD_MIN;
}

struct boot *boot_begin(struct machine *m)
{
	struct boot *b = boot_new(m);

	if (worth_a_thread(m))
		b->thread = g_thread_try_new("kv-boot", reader, b, NULL);
	return b;
}

bool boot_end(struct boot *b, GError **error)
{
	bool read = b->thread ? g_thread_join(g_steal_pointer(&b->thread)) != NULL : read_files(b, &b->error);

	if (read) {
		g_clear_pointer(&b->m->ahead, boot_ahead_free);
		b->m->ahead = boot_ahead_new(b);
		return enter(b, error);
	}
	g_propagate_error(error, g_steal_pointer(&b->error));
	return false;
}

void boot_free(struct boot *b)
{
	if (!b)
		return;
	if (b->thread)
		g_thread_join(b->thread);
	g_clear_error(&b->error);
	g_free(b);
}

bool boot_load(struct machine *m, GError **error)
{
	struct boot *b = boot_new(m);
	bool ok = boot_end(b, error);

	boot_free(b);
	return ok;
}
