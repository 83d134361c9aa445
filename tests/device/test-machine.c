/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whole machines with guests of a few bytes: how a machine starts, ends, is reset, paused and
 * freed, what a kernel finds in memory, and what is said about kernels that are none.
 * usage: test-machine soft|kvm
 */
#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <asm/bootparam.h>
#include <cmocka.h>
#include <glib/gstdio.h>

#include "bytes.h"
#include "char.h"
#include "core.h"
#include "error.h"
#include "internal.h"
#include "machine.h"

enum { LOAD_AT = 0x100000, LIMIT_S = 20, MIB = 1 << 20 };

#define OUT(port, value) 0x66, 0xba, (port) & 0xff, (port) >> 8, 0xb0, (value), 0xee
#define OUT64(port, value) OUT(port, value) /* the same bytes in 64-bit mode */
#define POWEROFF OUT(0x600, 0x34)
#define RESET OUT(0x602, 1)
#define STOP 0xf4, 0xeb, 0xfd
#define FOREVER 0xeb, 0xfe
/* lidt [zero limit]; ud2 */
#define TRIPLE_FAULT 0x0f, 0x01, 0x1d, 0x00, 0x00, 0x30, 0x00, 0x0f, 0x0b
/* A jump over the 7 bytes that reset, taken when equal: what follows an expectation. */
#define ELSE_FAULT 0x74, 9, TRIPLE_FAULT

static int kvm_fd;
static char *dir;

struct elf {
	Elf64_Ehdr e;
	Elf64_Phdr p[2];
	Elf64_Nhdr n;
	char name[4];
	uint32_t entry, pad;
	uint8_t code[256];
};

static struct elf elf_file(const uint8_t *code, size_t len)
{
	struct elf f = {
		.e = { .e_ident = ELFMAG, .e_type = ET_EXEC, .e_machine = EM_X86_64,
		       .e_version = 1, .e_phoff = offsetof(struct elf, p),
		       .e_ehsize = sizeof(Elf64_Ehdr), .e_phentsize = sizeof(Elf64_Phdr),
		       .e_phnum = 2 },
		.p = { { .p_type = PT_LOAD, .p_offset = offsetof(struct elf, code),
			 .p_paddr = LOAD_AT, .p_filesz = sizeof(f.code), .p_memsz = 0x1000 },
		       { .p_type = PT_NOTE, .p_offset = offsetof(struct elf, n),
			 .p_filesz = sizeof(f.n) + 4 + 4 } },
		.n = { .n_namesz = 4, .n_descsz = 4, .n_type = 18 },
		.name = "Xen",
		.entry = LOAD_AT,
	};

	f.e.e_ident[EI_CLASS] = ELFCLASS64;
	f.e.e_ident[EI_DATA] = ELFDATA2LSB;
	f.e.e_ident[EI_VERSION] = EV_CURRENT;
	memcpy(f.code, code, len);
	return f;
}

static const char *put_file(const char *name, const void *data, size_t len)
{
	static char *path[8];
	static unsigned next;
	char **p = &path[next++ % G_N_ELEMENTS(path)];

	g_free(*p);
	*p = g_build_filename(dir, name, NULL);
	assert_true(g_file_set_contents(*p, data, len, NULL));
	return *p;
}

static struct machine_config config_for(const char *kernel)
{
	return (struct machine_config){ .name = "test", .kvm_fd = kvm_fd, .cpus = 1,
					.memory = 8 * MIB, .kernel = kernel };
}

struct run {
	struct machine *m;
	GMainLoop *loop;
	enum machine_end end;
	char *text;
	unsigned resets_left, ends;
};

static void ended(void *opaque, enum machine_end end, const char *text)
{
	struct run *r = opaque;

	r->ends++;
	r->end = end;
	g_free(r->text);
	r->text = g_strdup(text);
	if (end == MACHINE_RESET && r->resets_left) {
		r->resets_left--;
		assert_true(machine_reset(r->m, NULL));
		assert_true(machine_run(r->m, ended, r, NULL));
		return;
	}
	g_main_loop_quit(r->loop);
}

static gboolean too_long(gpointer opaque)
{
	fail_msg("the guest did not end in %d seconds", LIMIT_S);
	return G_SOURCE_REMOVE;
}

static void run_machine(struct run *r, const struct machine_config *config)
{
	g_autoptr(GError) error = NULL;
	unsigned limit = g_timeout_add_seconds(LIMIT_S, too_long, NULL);

	r->m = machine_new(config, &error);
	if (!r->m)
		fail_msg("%s", error->message);
	r->loop = g_main_loop_new(NULL, FALSE);
	assert_true(machine_run(r->m, ended, r, &error));
	g_main_loop_run(r->loop);
	g_source_remove(limit);
}

static void run_end(struct run *r)
{
	machine_free(r->m);
	g_main_loop_unref(r->loop);
	g_free(r->text);
}

static void run_code(struct run *r, const uint8_t *code, size_t len)
{
	struct elf f = elf_file(code, len);
	struct machine_config config = config_for(put_file("kernel", &f, sizeof(f)));

	run_machine(r, &config);
}

static void powers_off(void **state)
{
	static const uint8_t code[] = { POWEROFF, STOP };
	struct run r = { 0 };

	run_code(&r, code, sizeof(code));
	assert_int_equal(r.end, MACHINE_POWEROFF);
	assert_int_equal(r.ends, 1);
	run_end(&r);
}

static void triple_fault(void **state)
{
	static const uint8_t code[] = { TRIPLE_FAULT };
	struct run r = { 0 };

	run_code(&r, code, sizeof(code));
	assert_int_equal(r.end, MACHINE_TRIPLE_FAULT);
	assert_non_null(strstr(r.text, "triple fault"));
	run_end(&r);
}

static void resets(void **state)
{
	/* inc dword [0x200000]; cmp dword [0x200000], 1; else fault; reset: memory is new each time */
	static const uint8_t code[] = {
		0xff, 0x05, 0, 0, 0x20, 0, 0x83, 0x3d, 0, 0, 0x20, 0, 1, ELSE_FAULT, RESET, STOP,
	};
	struct run r = { .resets_left = 3 };

	run_code(&r, code, sizeof(code));
	assert_int_equal(r.end, MACHINE_RESET);
	assert_int_equal(r.ends, 4);
	run_end(&r);
}

/* As Linux does it on this machine: real mode, F000:FFF0. Here: the bytes are there. */
static void resets_by_the_keyboard_controller(void **state)
{
	static const uint8_t code[] = { OUT(0x64, 0xfe), STOP };
	struct run r = { 0 };

	run_code(&r, code, sizeof(code));
	assert_int_equal(r.end, MACHINE_RESET);
	run_end(&r);
}

static void finds_start_info(void **state)
{
	/*
	 * cmp dword [ebx], magic; cmp dword [ebx+12], 1 (a module); mov eax, [ebx+24] (command line);
	 * cmp dword [eax], "abcd"; mov eax, [ebx+16] (modules); mov eax, [eax]; cmp dword [eax], "init";
	 * mov eax, [ebx+32] (RSDP); cmp dword [eax], "RSD "; poweroff
	 */
	static const uint8_t code[] = {
		0x81, 0x3b, 0x78, 0xc5, 0x6e, 0x33, ELSE_FAULT,
		0x83, 0x7b, 12, 1, ELSE_FAULT,
		0x8b, 0x43, 24, 0x81, 0x38, 'a', 'b', 'c', 'd', ELSE_FAULT,
		0x8b, 0x43, 16, 0x8b, 0x00, 0x81, 0x38, 'i', 'n', 'i', 't', ELSE_FAULT,
		0x8b, 0x43, 32, 0x81, 0x38, 'R', 'S', 'D', ' ', ELSE_FAULT,
		POWEROFF, STOP,
	};
	struct elf f = elf_file(code, sizeof(code));
	struct machine_config config = config_for(put_file("kernel", &f, sizeof(f)));
	struct run r = { 0 };

	config.initrd = put_file("initrd", "initrd bytes", 12);
	config.append = "abcd efgh";
	run_machine(&r, &config);
	assert_int_equal(r.end, MACHINE_POWEROFF);
	run_end(&r);
}

static void prints(void **state)
{
	static const uint8_t code[] = { OUT(0x3f8, 'h'), OUT(0x3f8, 'i'), POWEROFF, STOP };
	struct elf f = elf_file(code, sizeof(code));
	struct machine_config config = config_for(put_file("kernel", &f, sizeof(f)));
	g_autofree char *path = g_build_filename(dir, "console", NULL);
	g_autofree char *spec = g_strconcat("file:", path, NULL), *text = NULL;
	struct run r = { 0 };

	config.console = char_open(spec, NULL);
	assert_non_null(config.console);
	run_machine(&r, &config);
	run_end(&r);
	char_close(config.console);
	assert_true(g_file_get_contents(path, &text, NULL, NULL));
	assert_string_equal(text, "hi");
}

static gboolean press(gpointer machine)
{
	machine_power_button(machine);
	return G_SOURCE_REMOVE;
}

static void power_button(void **state)
{
	/* mov dx, 0x603; again: in al, dx; test al, 1; jz again; poweroff */
	static const uint8_t code[] = { 0x66, 0xba, 0x03, 0x06, 0xec, 0xa8, 1, 0x74, 0xfb, POWEROFF,
					STOP };
	struct elf f = elf_file(code, sizeof(code));
	struct machine_config config = config_for(put_file("kernel", &f, sizeof(f)));
	struct run r = { .loop = g_main_loop_new(NULL, FALSE) };
	unsigned limit = g_timeout_add_seconds(LIMIT_S, too_long, NULL);

	r.m = machine_new(&config, NULL);
	assert_non_null(r.m);
	assert_true(machine_run(r.m, ended, &r, NULL));
	g_timeout_add(20, press, r.m);
	g_main_loop_run(r.loop);
	g_source_remove(limit);
	assert_int_equal(r.end, MACHINE_POWEROFF);
	run_end(&r);
}

/* Guests that never leave their loop, on two processors: pause, run, and free must not wait for them. */
static void pauses(void **state)
{
	static const uint8_t code[] = { FOREVER };
	struct elf f = elf_file(code, sizeof(code));
	struct machine_config config = config_for(put_file("kernel", &f, sizeof(f)));
	g_autoptr(GByteArray) out = g_byte_array_new();
	g_autoptr(GError) error = NULL;
	struct run r = { 0 };

	config.cpus = 2;
	r.m = machine_new(&config, NULL);
	assert_non_null(r.m);
	for (unsigned i = 0; i < 20; i++) {
		assert_true(machine_run(r.m, ended, &r, NULL));
		if (i % 2)
			g_usleep(1000);
		assert_false(machine_save(r.m, out, &error));
		g_clear_error(&error);
		machine_pause(r.m);
	}
	assert_true(machine_save(r.m, out, NULL));
	assert_true(machine_run(r.m, ended, &r, NULL));
	machine_free(r.m);
	assert_int_equal(r.ends, 0);
}

static uint64_t guest_clock(const struct machine *m)
{
	struct kvm_clock_data clock = { 0 };

	assert_int_equal(kvcore_ioctl(m->core.vm_fd, KVM_GET_CLOCK, &clock), 0);
	return clock.clock;
}

/* The guest's clock has not gone on during a pause, whatever time running took. */
static void pauses_the_clock(void **state)
{
	enum { PAUSE_US = 200000 };
	static const uint8_t code[] = { FOREVER };
	struct elf f = elf_file(code, sizeof(code));
	struct machine_config config = config_for(put_file("kernel", &f, sizeof(f)));
	struct run r = { 0 };
	gint64 start, all_us;
	uint64_t before;

	r.m = machine_new(&config, NULL);
	assert_non_null(r.m);
	assert_int_equal(machine_vcpu_thread(r.m, 0), 0);
	assert_true(machine_run(r.m, ended, &r, NULL));
	assert_int_not_equal(machine_vcpu_thread(r.m, 0), 0);
	start = g_get_monotonic_time();
	before = guest_clock(r.m);
	machine_pause(r.m);
	assert_false(machine_busy(r.m));
	g_usleep(PAUSE_US);
	assert_true(machine_run(r.m, ended, &r, NULL));
	all_us = (gint64)(guest_clock(r.m) - before) / 1000;
	assert_in_range(all_us, 0, g_get_monotonic_time() - start - PAUSE_US / 2);
	machine_free(r.m);
}

static void saves_and_loads(void **state)
{
	static const uint8_t code[] = { FOREVER };
	struct elf f = elf_file(code, sizeof(code));
	struct machine_config config = config_for(put_file("kernel", &f, sizeof(f)));
	struct machine *m = machine_new(&config, NULL);
	g_autoptr(GBytes) bytes = NULL, part = NULL;
	g_autoptr(GError) error = NULL;
	GByteArray *out = g_byte_array_new();

	assert_true(machine_save(m, out, NULL));
	bytes = g_byte_array_free_to_bytes(out);
	assert_true(machine_load(m, bytes, &error));
	part = g_bytes_new_from_bytes(bytes, 0, g_bytes_get_size(bytes) - 1);
	assert_false(machine_load(m, part, &error));
	machine_free(m);
}

static uint8_t *find_text(uint8_t *from, const uint8_t *end, const char *text)
{
	uint8_t *found = memmem(from, (size_t)(end - from), text, strlen(text));

	assert_non_null(found);
	return found + strlen(text);
}

/* The first byte that a serial port will read of its FIFO, in a saved state; its section begins with 12 bytes. */
static uint8_t *find_head(GByteArray *state, uint8_t **ret_section)
{
	uint8_t *end = state->data + state->len, *port = find_text(state->data, end, "\007ns16550");

	*ret_section = port - strlen("\007ns16550");
	return find_text(port, end, "\004head") + 5;
}

static void refuses_state(void **state)
{
	static const uint8_t code[] = { FOREVER };
	struct elf f = elf_file(code, sizeof(code));
	struct machine_config config = config_for(put_file("kernel", &f, sizeof(f)));
	struct machine *m = machine_new(&config, NULL);
	g_autoptr(GByteArray) out = g_byte_array_new(), after = g_byte_array_new();
	g_autoptr(GBytes) bytes = NULL;
	g_autoptr(GError) error = NULL;
	uint32_t sum = 2166136261u; /* FNV-1a, as state.c has it */
	uint8_t *section;

	assert_true(machine_save(m, out, NULL));
	*find_head(out, &section) = 200;
	for (uint32_t i = 0; i < get_le32(section - 8); i++)
		sum = (sum ^ section[i]) * 16777619u;
	put_le32(section - 4, sum);
	bytes = g_bytes_new(out->data, out->len);
	assert_false(machine_load(m, bytes, &error));
	assert_non_null(strstr(error->message, "FIFO"));
	/* Nothing of it is left, where input may come before the process ends. */
	assert_true(machine_save(m, after, NULL));
	assert_int_equal(*find_head(after, &section), 0);
	machine_free(m);
}

static void note_unplugged(void *opaque, const char *id, int cpu)
{
	assert_string_equal(id, "t");
	++*(unsigned *)opaque;
}

/* It is on its way out from the first time on, and goes once. */
static void unplugged_once(void **state)
{
	static const uint8_t code[] = { FOREVER };
	struct elf f = elf_file(code, sizeof(code));
	g_autoptr(GVariant) words = g_variant_ref_sink(g_variant_new("a{ss}", NULL));
	const struct machine_device tablet = { .cls = "usb-tablet", .id = "t", .options = words };
	struct machine_config config = config_for(put_file("kernel", &f, sizeof(f)));
	g_autoptr(GError) error = NULL;
	struct machine *m;
	unsigned gone = 0, limit;

	config.devices = &tablet;
	config.n_devices = 1;
	m = machine_new(&config, &error);
	if (!m)
		fail_msg("%s", error->message);
	machine_on_unplugged(m, note_unplugged, &gone);
	assert_true(machine_unplug(m, "t", &error));
	assert_false(machine_unplug(m, "t", &error));
	assert_string_equal(error->message, "Device t is already in the process of unplug");
	limit = g_timeout_add_seconds(LIMIT_S, too_long, NULL);
	while (!gone)
		g_main_context_iteration(NULL, TRUE);
	g_source_remove(limit);
	assert_false(machine_has_device(m, "t"));
	machine_free(m);
	assert_int_equal(gone, 1);
}

static void list_unplugged(void *opaque, const char *id, int cpu)
{
	g_string_append_printf(opaque, "%s ", id);
}

static bool plug_in(struct machine *m, const char *cls, const char *id, const char *bus, GError **error)
{
	g_autoptr(GVariant) words = g_variant_ref_sink(g_variant_new_parsed(bus ? "{'bus': %s}" : "@a{ss} {}", bus));
	const struct machine_device d = { .cls = cls, .id = id, .options = words };

	return machine_plug(m, &d, error);
}

static void wait_gone(struct machine *m, const char *id)
{
	unsigned limit = g_timeout_add_seconds(LIMIT_S, too_long, NULL);

	while (machine_has_device(m, id))
		g_main_context_iteration(NULL, TRUE);
	g_source_remove(limit);
}

/* What comes while the guest thinks about letting go of its controller leaves with it: nothing of it is left to be used. */
static void holder_and_held(void **state)
{
	static const uint8_t code[] = { FOREVER };
	struct elf f = elf_file(code, sizeof(code));
	g_autoptr(GVariant) words = g_variant_ref_sink(g_variant_new("a{ss}", NULL));
	const struct machine_device devices[] = { { .cls = "xhci", .id = "first", .options = words },
						  { .cls = "xhci", .id = "second", .options = words } };
	struct machine_config config = config_for(put_file("kernel", &f, sizeof(f)));
	g_autoptr(GString) gone = g_string_new(NULL);
	g_autoptr(GError) error = NULL;
	struct machine *m;

	config.devices = devices;
	config.n_devices = G_N_ELEMENTS(devices);
	m = machine_new(&config, &error);
	if (!m)
		fail_msg("%s", error->message);
	machine_on_unplugged(m, list_unplugged, gone);
	assert_true(plug_in(m, "usb-tablet", "a", NULL, &error));
	assert_true(plug_in(m, "usb-kbd", "b", "second.0", &error));
	assert_true(plug_in(m, "usb-kbd", "c", "first.0", &error));
	assert_false(plug_in(m, "usb-kbd", "d", "third.0", &error));
	assert_string_equal(error->message, "Bus 'third.0' not found");
	plug_left(m, plug_find(m, "first"));
	wait_gone(m, "first");
	assert_string_equal(gone->str, "c a first ");
	/* The other controller is there for whom comes now. */
	g_clear_error(&error);
	assert_true(plug_in(m, "usb-tablet", "a", NULL, &error));
	assert_true(machine_reset(m, &error));
	plug_left(m, plug_find(m, "second"));
	wait_gone(m, "second");
	assert_string_equal(gone->str, "c a first a b second ");
	machine_free(m);
}

static void linux_entry(void **state)
{
	/* rsi has boot_params: cmp dword [rsi+0x202], "HdrS"; the command line; initrd; poweroff. 64-bit code. */
	static const uint8_t code[] = {
		0x81, 0xbe, 0x02, 0x02, 0, 0, 'H', 'd', 'r', 'S', 0x74, 2, 0x0f, 0x0b,
		0x8b, 0x86, 0x28, 0x02, 0, 0, 0x81, 0x38, 'a', 'b', 'c', 'd', 0x74, 2, 0x0f, 0x0b,
		0x8b, 0x86, 0x18, 0x02, 0, 0, 0x81, 0x38, 'i', 'n', 'i', 't', 0x74, 2, 0x0f, 0x0b,
		POWEROFF, STOP,
	};
	uint8_t image[0x400 + 0x400] = { 0 };
	struct setup_header h = {
		.setup_sects = 1, .boot_flag = 0xaa55, .header = 0x53726448, .version = 0x20f,
		.loadflags = LOADED_HIGH, .initrd_addr_max = 0x7fffffff, .xloadflags = XLF_KERNEL_64,
		.cmdline_size = 2047, .pref_address = 0x100000, .init_size = 0x10000,
	};
	struct machine_config config;
	struct run r = { 0 };

	memcpy(image + 0x1f1, &h, sizeof(h));
	memcpy(image + 0x400 + 0x200, code, sizeof(code));
	config = config_for(put_file("kernel", image, sizeof(image)));
	config.initrd = put_file("initrd", "initrd bytes", 12);
	config.append = "abcd";
	run_machine(&r, &config);
	assert_int_equal(r.end, MACHINE_POWEROFF);
	run_end(&r);
}

static void expect_error(const struct machine_config *config, const char *part)
{
	g_autoptr(GError) error = NULL;

	assert_null(machine_new(config, &error));
	assert_non_null(error);
	if (!strstr(error->message, part))
		fail_msg("'%s' does not say '%s'", error->message, part);
	assert_null(strchr(error->message, '\n'));
}

static void bad_configurations(void **state)
{
	static const uint8_t code[] = { FOREVER };
	struct elf f = elf_file(code, sizeof(code));
	const char *kernel = put_file("kernel", &f, sizeof(f));
	struct machine_config config = config_for(kernel);
	g_autofree char *text = g_strnfill(3000, 'x');

	config.kernel = "/nowhere/vmlinux";
	expect_error(&config, "/nowhere/vmlinux");
	config.kernel = dir;
	expect_error(&config, dir);
	config.kernel = NULL;
	expect_error(&config, "kernel");
	config = config_for(kernel);
	config.initrd = "/nowhere/initrd";
	expect_error(&config, "/nowhere/initrd");
	config.initrd = NULL;
	config.append = text;
	expect_error(&config, "command line");
	config = config_for(kernel);
	config.memory = 64 << 10;
	expect_error(&config, "memory");
	config.memory = 1 * MIB;
	expect_error(&config, "memory");
	config = config_for(kernel);
	config.cpus = 0;
	expect_error(&config, "vCPUs");
	config.cpus = 10000;
	expect_error(&config, "vCPUs");
	config = config_for(kernel);
	g_free(text);
	text = g_malloc0(8 * MIB);
	config.initrd = put_file("initrd", text, 8 * MIB);
	expect_error(&config, "initrd");
	config = config_for(put_file("text", "this is no kernel at all", 24));
	expect_error(&config, "text");
}

/* Each field of the headers with values that lie; only words or a machine may come of it. */
static void lying_elf_files(void **state)
{
	static const uint64_t lies[] = { 0, 1, 0x7f, 0xffff, 0x100000, 0x7fffffff, UINT32_MAX,
					 1ull << 40, INT64_MAX, UINT64_MAX - 0xfff, UINT64_MAX };
	static const uint8_t code[] = { FOREVER };
	struct elf good = elf_file(code, sizeof(code)), f;

	for (size_t at = 16; at < offsetof(struct elf, code); at += 4) {
		for (size_t i = 0; i < G_N_ELEMENTS(lies); i++) {
			struct machine_config config;
			g_autoptr(GError) error = NULL;
			struct machine *m;

			f = good;
			memcpy((char *)&f + at, &lies[i], at % 8 ? 4 : 8);
			config = config_for(put_file("lie", &f, sizeof(f)));
			m = machine_new(&config, &error);
			assert_true(!m == !!error);
			machine_free(m);
		}
	}
	for (size_t len = 0; len < sizeof(f); len += 13) {
		struct machine_config config = config_for(put_file("lie", &good, len));

		expect_error(&config, "lie");
	}
}

static void lying_bzimages(void **state)
{
	static const uint64_t lies[] = { 0, 0xff, 0xffff, UINT32_MAX, UINT64_MAX, 0x800000 };
	uint8_t image[0x800] = { 0 };
	struct setup_header h = {
		.setup_sects = 1, .boot_flag = 0xaa55, .header = 0x53726448, .version = 0x20f,
		.loadflags = LOADED_HIGH, .initrd_addr_max = 0x7fffffff, .xloadflags = XLF_KERNEL_64,
		.cmdline_size = 2047, .pref_address = 0x100000, .init_size = 0x10000,
	};

	for (size_t at = 0; at + 8 <= sizeof(h); at++) {
		for (size_t i = 0; i < G_N_ELEMENTS(lies); i++) {
			struct machine_config config;
			g_autoptr(GError) error = NULL;
			struct machine *m;

			memcpy(image + 0x1f1, &h, sizeof(h));
			memcpy(image + 0x1f1 + at, &lies[i], 8);
			config = config_for(put_file("lie", image, sizeof(image)));
			m = machine_new(&config, &error);
			assert_true(!m == !!error);
			machine_free(m);
		}
	}
}

static void remove_files(void)
{
	static const char *const names[] = { "kernel", "initrd", "console", "lie", "text" };

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *path = g_build_filename(dir, names[i], NULL);

		g_unlink(path);
	}
	g_rmdir(dir);
	g_free(dir);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(powers_off), cmocka_unit_test(triple_fault), cmocka_unit_test(resets),
		cmocka_unit_test(resets_by_the_keyboard_controller), cmocka_unit_test(finds_start_info),
		cmocka_unit_test(prints), cmocka_unit_test(power_button), cmocka_unit_test(pauses),
		cmocka_unit_test(pauses_the_clock),
		cmocka_unit_test(saves_and_loads), cmocka_unit_test(refuses_state),
		cmocka_unit_test(unplugged_once), cmocka_unit_test(holder_and_held),
		cmocka_unit_test(linux_entry),
		cmocka_unit_test(bad_configurations), cmocka_unit_test(lying_elf_files),
		cmocka_unit_test(lying_bzimages),
	};
	bool kvm = argc > 1 && !strcmp(argv[1], "kvm");
	size_t n_tests = G_N_ELEMENTS(tests);
	int failed;

	if (kvm) /* thousands of VMs, for code that does not differ */
		n_tests -= 2;
	kvm_fd = kvcore_open(kvm ? KVCORE_KVM : KVCORE_SOFT, NULL);
	if (kvm_fd < 0 && kvm) {
		fprintf(stderr, "skipped: no usable /dev/kvm\n");
		return 77;
	}
	dir = g_dir_make_tmp("kv-machine-XXXXXX", NULL);
	if (kvm_fd < 0 || !dir)
		return 1;
	failed = _cmocka_run_group_tests("machine", tests, n_tests, NULL, NULL);
	remove_files();
	kvcore_close(kvm_fd);
	return failed;
}
