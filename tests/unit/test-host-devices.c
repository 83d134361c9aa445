/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A host that is made of files: kinds of devices that the host of the tests may not have (USB, SCSI, bridges, VLANs). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "host-devices.h"
#include "model-xml.h"

static char *root;

static void put(const char *file, const char *text)
{
	g_autofree char *path = g_strconcat(root, file, NULL), *folder = g_path_get_dirname(path);

	assert_int_equal(g_mkdir_with_parents(folder, 0755), 0);
	assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void point(const char *link, const char *to)
{
	g_autofree char *path = g_strconcat(root, link, NULL), *target = g_strconcat(root, to, NULL);
	g_autofree char *folder = g_path_get_dirname(path);

	assert_int_equal(g_mkdir_with_parents(folder, 0755), 0);
	assert_int_equal(symlink(target, path), 0);
}

static char *find(GPtrArray *all, enum object_kind kind, const char *path, const char *name)
{
	for (unsigned i = 0; i < all->len; i++) {
		const struct host_object *o = all->pdata[i];

		if (xml_is(xmlDocGetRootElement(o->doc), path, name))
			return object_format(kind, o->doc, 0);
	}
	fail_msg("no %s", name);
	return NULL;
}

static void check(GPtrArray *all, const char *name, const char *const *words)
{
	g_autofree char *xml = find(all, OBJECT_NODE_DEVICE, "name", name);

	for (; *words; words++)
		if (!strstr(xml, *words))
			fail_msg("no %s in\n%s", *words, xml);
}

#define PCI "/sys/devices/pci0000:00/0000:00:1f.2"

static void test_devices(void **state)
{
	g_autoptr(GPtrArray) all = NULL;

	put(PCI "/vendor", "0x8086\n");
	put(PCI "/device", "0x2922\n");
	put(PCI "/class", "0x010601\n");
	point("/sys/bus/pci/devices/0000:00:1f.2", PCI);
	put(PCI "/host0/scsi_host/host0/unique_id", "1\n");
	put(PCI "/host0/target0:0:0/0:0:0:0/type", "0\n");
	put(PCI "/host0/target0:0:0/0:0:0:0/block/sda/size", "2048\n");
	put(PCI "/host0/target0:0:0/0:0:0:0/block/sda/dev", "8:0\n");
	put(PCI "/host0/target0:0:0/0:0:0:0/block/sda/device/model", "DISK\1 OF  \n");
	point("/sys/bus/scsi/devices/host0", PCI "/host0");
	point("/sys/bus/scsi/devices/target0:0:0", PCI "/host0/target0:0:0");
	point("/sys/bus/scsi/devices/0:0:0:0", PCI "/host0/target0:0:0/0:0:0:0");
	point("/sys/block/sda", PCI "/host0/target0:0:0/0:0:0:0/block/sda");
	put("/sys/devices/virtual/block/loop0/dev", "7:0\n");
	point("/sys/block/loop0", "/sys/devices/virtual/block/loop0");
	put("/run/udev/data/b8:0", "N:sda\nE:ID_TYPE=disk\nE:ID_SERIAL=A B/1\nE:ID_BUS=ata\n");
	put("/sys/devices/usb1/1-2/idVendor", "046d\n");
	put("/sys/devices/usb1/1-2/idProduct", "c52b\n");
	put("/sys/devices/usb1/1-2/busnum", "1\n");
	put("/sys/devices/usb1/1-2/devnum", "5\n");
	put("/sys/devices/usb1/1-2/product", "Receiver\n");
	put("/sys/devices/usb1/1-2/1-2:1.0/bInterfaceClass", "ff\n");
	put("/sys/devices/usb1/1-2/1-2:1.0/bInterfaceNumber", "00\n");
	point("/sys/bus/usb/devices/1-2", "/sys/devices/usb1/1-2");
	point("/sys/bus/usb/devices/1-2:1.0", "/sys/devices/usb1/1-2/1-2:1.0");
	all = host_devices_below(root);
	assert_int_equal(all->len, 8);
	check(all, "block_sda_A_B_1",
	      (const char *const[]){ "<parent>scsi_0_0_0_0</parent>", "<bus>ata</bus>", "<drive_type>disk</drive_type>",
				     "<size>1048576</size>", "<num_blocks>2048</num_blocks>", "<serial>A B/1</serial>",
				     "<model>DISK  OF</model>", NULL });
	check(all, "scsi_0_0_0_0",
	      (const char *const[]){ "<parent>scsi_target0_0_0</parent>", "<lun>0</lun>", "<type>disk</type>", NULL });
	check(all, "scsi_host0",
	      (const char *const[]){ "<parent>pci_0000_00_1f_2</parent>", "<unique_id>1</unique_id>", NULL });
	check(all, "usb_1_2",
	      (const char *const[]){ "<parent>computer</parent>", "<product id='0xc52b'>Receiver</product>",
				     "<vendor id='0x046d'/>", "<device>5</device>", NULL });
	check(all, "usb_1_2_1_0", (const char *const[]){ "<parent>usb_1_2</parent>", "<class>255</class>", NULL });
}

static void test_interfaces(void **state)
{
	g_autofree char *bridge = NULL, *vlan = NULL;
	g_autoptr(GPtrArray) all = NULL;

	put("/sys/devices/virtual/net/br7/bridge/stp_state", "0\n");
	put("/sys/devices/virtual/net/br7/bridge/forward_delay", "200\n");
	put("/sys/devices/virtual/net/br7/operstate", "up\n");
	put("/sys/devices/virtual/net/br7/mtu", "1500\n");
	put("/sys/devices/virtual/net/br7/brif/port7/state", "3\n");
	put("/sys/devices/virtual/net/port7/address", "02:00:00:00:00:07\n");
	put("/sys/devices/virtual/net/port7.9/address", "02:00:00:00:00:09\n");
	put("/proc/net/vlan/port7.9", "port7.9  VID: 9\t REORDER_HDR: 1\nDevice: port7\n");
	point("/sys/class/net/br7", "/sys/devices/virtual/net/br7");
	point("/sys/class/net/port7", "/sys/devices/virtual/net/port7");
	point("/sys/class/net/port7.9", "/sys/devices/virtual/net/port7.9");
	all = host_interfaces_below(root);
	assert_int_equal(all->len, 3);
	bridge = find(all, OBJECT_INTERFACE, "@name", "br7");
	assert_non_null(strstr(bridge, "<bridge stp='off' delay='2'>\n    <interface type='ethernet' name='port7'>"));
	vlan = find(all, OBJECT_INTERFACE, "@name", "port7.9");
	assert_non_null(strstr(vlan, "<vlan tag='9'>\n    <interface name='port7'/>"));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_devices), cmocka_unit_test(test_interfaces) };
	const char *words[] = { "rm", "-rf", NULL, NULL };
	int failed;

	root = g_dir_make_tmp("kv-host-XXXXXX", NULL);
	assert_non_null(root);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	words[2] = root;
	g_spawn_sync(NULL, (char **)words, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL);
	return failed;
}
