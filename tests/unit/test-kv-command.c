/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Definitions as kv-vmm's command line: tests/xml/argv/NAME.xml to NAME.argv, a word a line (REGEN=1 writes them anew), and what
 * is refused, by its name. That kv-vmm takes these lines is tests/interop/kvd-argv.py's.   usage: test-kv-command FOLDER
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "command.h"
#include "model-xml.h"

static const char *folder;

static const struct command_paths paths = {"kv-vmm", "/vm/run", "/vm/lib", 1790000000};

static char *line_of(const char *xml, GError **error)
{
	g_autoptr(xmlDoc) doc = model_xml_parse(xml, -1, "domain", error);
	g_auto(GStrv) argv = NULL;
	g_autofree char *joined = NULL;

	assert_non_null(doc);
	argv = command_new(xmlDocGetRootElement(doc), &paths, error);
	if (!argv)
		return NULL;
	joined = g_strjoinv("\n", argv);
	return g_strconcat(joined, "\n", NULL);
}

static void check_golden(const char *name)
{
	g_autofree char *path = g_strdup_printf("%s/%s.xml", folder, name), *xml = NULL, *argv = NULL, *golden = NULL,
			*wanted = NULL;
	g_autoptr(GError) error = NULL;

	assert_true(g_file_get_contents(path, &xml, NULL, NULL));
	argv = line_of(xml, &error);
	if (!argv)
		fail_msg("%s: %s", name, error->message);
	golden = g_strdup_printf("%s/%s.argv", folder, name);
	if (g_getenv("REGEN"))
		assert_true(g_file_set_contents(golden, argv, -1, NULL));
	assert_true(g_file_get_contents(golden, &wanted, NULL, NULL));
	assert_string_equal(argv, wanted);
}

static void goldens(void **state)
{
	GDir *dir = g_dir_open(folder, 0, NULL);
	unsigned n = 0;
	const char *file;

	assert_non_null(dir);
	while ((file = g_dir_read_name(dir))) {
		g_autofree char *name = g_strndup(file, strlen(file) - MIN(4, strlen(file)));

		if (!g_str_has_suffix(file, ".xml"))
			continue;
		check_golden(name);
		n++;
	}
	g_dir_close(dir);
	assert_true(n >= 4);
}

#define PC(os, devices)                                                                                                          \
	"<domain type='kvm'><name>n</name><memory>65536</memory><vcpu>1</vcpu><os><type machine='q35'>hvm</type>" os "</os>"     \
	"<devices>" devices "</devices></domain>"
#define DISK(inside) PC("", "<disk type='file' device='disk'>" inside "</disk>")

static void refused(void **state)
{
	static const char *const cases[][2] = {
		{PC("", "<interface type='bridge'/>"), "interface of type 'bridge' is not supported; user and network are"},
		{PC("", "<interface type='user'><model type='rtl8139'/></interface>"),
		 "interface model 'rtl8139' is not supported; virtio and e1000e are"},
		{PC("", "<interface type='user'><portForward><range start='1' end='65535'/></portForward></interface>"),
		 "portForward: more than 256 ports are not supported"},
		{PC("", "<interface type='user'><portForward address='::1'><range start='1'/></portForward></interface>"),
		 "portForward: the IPv6 address '::1' is not supported; IPv4's are"},
		{PC("", "<interface type='user'><portForward><range start='1' exclude='yes'/></portForward></interface>"),
		 "portForward without a <range>: all ports are not forwarded"},
		{PC("", "<controller type='sata'><address type='pci' bus='0' slot='5'/></controller>"),
		 "the sata controller is at 00:1f.2, not at 5.0"},
		{DISK("<target dev='vda' bus='virtio'/>"), "disk 'vda' has no source"},
		{PC("", "<disk type='volume'><target dev='vdb'/></disk>"), "disk 'vdb': type 'volume' is not supported"},
		{PC("", "<disk device='cdrom'><target dev='vdb' bus='virtio'/></disk>"),
		 "disk 'vdb': a CD-ROM drive is of bus sata, scsi or usb, not virtio"},
		{DISK("<source file='/a'/><target dev='sda' bus='scsi'/><address type='drive' bus='1'/>"),
		 "disk 'sda': a SCSI controller has bus 0 alone"},
		{PC("", "<controller type='scsi' model='lsilogic'/>"),
		 "scsi controllers of model 'lsilogic' are not supported; virtio-scsi is"},
		{PC("", "<video><model type='qxl'/></video>"), "video model 'qxl' is not supported; virtio and vga are"},
		{PC("", "<graphics type='spice'/>"), "graphics of type 'spice' is not supported; vnc is"},
		{PC("", "<watchdog model='itco'/>"), "watchdog model 'itco' is not supported; i6300esb is"},
		{PC("", "<serial type='tcp'/>"), "a serial of type 'tcp' without a path is not supported"},
		{PC("", "<serial type='pty'/><serial type='pty'/><serial type='pty'/>"),
		 "there are two serial ports, and no third"},
		{PC("", "<controller type='usb' model='ich9-ehci1'/>"),
		 "usb controllers of model 'ich9-ehci1' are not supported; qemu-xhci is"},
		{PC("", "<emulator>/usr/bin/qemu-system-x86_64</emulator>"),
		 "emulator '/usr/bin/qemu-system-x86_64' is not kv-vmm; leave <emulator> out"},
		{PC("<boot dev='fd'/>", ""), "boot dev 'fd' is not supported"},
		{PC("<initrd>/i</initrd>", ""), "<initrd> and <cmdline> are for a <kernel>"},
		{"<domain><name>n</name><memory>65536</memory><os><type machine='micro'>hvm</type></os></domain>",
		 "the machine 'micro' needs a <kernel>"},
		{"<domain><name>n</name><memory>65536</memory><vcpu current='1'>2</vcpu><os><type machine='micro'>hvm</type>"
		 "<kernel>/k</kernel></os></domain>",
		 "machine 'micro' plugs no processors: vcpu current='1' of 2"},
		{"<domain><name>n</name><memory>65536</memory><vcpu>3</vcpu><os><type machine='q35'>hvm</type></os><vcpus>"
		 "<vcpu id='0' enabled='yes'/><vcpu id='2' enabled='yes'/></vcpus></domain>",
		 "vcpu '2' is not hotpluggable, and comes after one that is, or is not enabled"},
		{"<domain><name>n</name><memory>65536</memory><resource><partition>/a</partition></resource></domain>",
		 "<resource> is not supported by kv-vmm"},
		{"<domain><name>n</name><memory>65536</memory><cpu><feature name='a,b=c'/></cpu></domain>",
		 "cpu feature 'a,b=c' has a name that no feature has"},
		{"<domain><name>n</name><memory>65536</memory><on_crash>preserve</on_crash></domain>",
		 "on_crash 'preserve' is not supported; restart and destroy are"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *argv = line_of(cases[i][0], &error);

		if (argv)
			fail_msg("%s is taken: %s", cases[i][0], argv);
		assert_string_equal(error->message, cases[i][1]);
	}
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {cmocka_unit_test(goldens), cmocka_unit_test(refused)};

	folder = argc > 1 ? argv[1] : ".";
	return cmocka_run_group_tests(tests, NULL, NULL);
}
