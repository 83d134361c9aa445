/* SPDX-License-Identifier: GPL-2.0-or-later */
/* src/virt/model: documents by paths, what is refused and how, devices, aliases, secrets, and the tables themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "domain-def.h"
#include "domain-fields.h"
#include "field-values.h"
#include "message.h"
#include "model-xml.h"
#include "object-fields.h"
#include "objects.h"

#define UUID "<uuid>11111111222233334444555555555555</uuid>"
#define HEAD "<domain type='kvm'><name>a</name>" UUID "<memory unit='MiB'>64</memory>"
#define PC(devices) HEAD "<os><type machine='q35'>hvm</type></os><devices>" devices "</devices></domain>"

static struct domain_def *parse(const char *xml, unsigned flags)
{
	g_autoptr(GError) error = NULL;
	struct domain_def *def = domain_def_parse(xml, -1, flags, &error);

	if (!def)
		fail_msg("%s: %.300s", error->message, xml);
	return def;
}

/* ---- documents ---- */

static void test_paths(void **state)
{
	g_autoptr(xmlDoc) doc = model_xml_parse("<a><!-- x --><b c='1'> t<![CDATA[<]]></b><p:b xmlns:p='u' c='2'/><b c='3'/>"
						"<metadata><m><n/> text <!-- kept --></m></metadata></a>", -1, "a", NULL);
	xmlNode *a = xmlDocGetRootElement(doc);
	g_autofree char *out = NULL;
	guint64 n;

	assert_string_equal(xml_text(a, "b"), " t<");
	assert_string_equal(xml_text(a, "b/@c"), "1");
	assert_string_equal(xml_text(xml_next(xml_child(a, "b")), "@c"), "3");
	assert_string_equal(xml_text(a, "p:b/@c"), "2");
	assert_ptr_equal(xml_nth(a, "b", 1), xml_next(xml_child(a, "b")));
	assert_null(xml_nth(a, "b", 2));
	assert_null(xml_text(a, "b/@d"));
	assert_true(xml_number(a, "b/@c", &n));
	assert_int_equal(n, 1);
	assert_false(xml_number(a, "b", &n));
	xml_set(a, "x/y/@z", "it's <\">");
	xml_set(a, "b", NULL);
	xml_set(a, "b", "&");
	out = model_xml_format(a);
	assert_string_equal(out, "<a>\n  <p:b c='2' xmlns:p='u'/>\n  <b c='3'>&amp;</b>\n"
				 "  <metadata>\n    <m><n/> text <!-- kept --></m>\n  </metadata>\n"
				 "  <x>\n    <y z='it&apos;s &lt;&quot;&gt;'/>\n  </x>\n</a>\n");
}

static void test_documents_refused(void **state)
{
	g_autofree char *deep = g_strnfill(3000 * 3, ' ');
	static const char *const bad[] = {
		"",
		"<a",
		"<a></b>",
		"<b/>",
		"<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>",
		"<!DOCTYPE a><a/>",
		"<a>&e;</a>",
		"<a>\xff</a>",
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;

		assert_null(model_xml_parse(bad[i], -1, "a", &error));
		assert_true(error && error->domain == RPC_ERRORS);
		assert_true(error->code == VIR_ERR_XML_DETAIL || error->code == VIR_ERR_XML_ERROR);
		assert_true(g_utf8_validate(error->message, -1, NULL) && *error->message);
	}
	{
		g_autoptr(GError) error = NULL;

		assert_null(model_xml_parse("\n<domain>\n <name>a</nam>\n</domain>", -1, "domain", &error));
		assert_string_equal(error->message,
				    "(domain_definition):3: Opening and ending tag mismatch: name line 3 and nam\n"
				    " <name>a</nam>\n--------------^");
	}
	for (unsigned i = 0; i < 3000; i++)
		memcpy(deep + 3 * i, "<a>", 3);
	assert_null(model_xml_parse(deep, -1, "a", NULL));
	g_free(deep);
	deep = g_strnfill(MODEL_XML_MAX + 1, ' ');
	memcpy(deep, "<a/>", 4);
	assert_null(model_xml_parse(deep, -1, "a", NULL));
}

/* ---- what is refused ---- */

#define RNG(alias) "<rng model='virtio'><backend model='random'/><alias name='" alias "'/></rng>"
#define PORT(name)                                                                                                             \
	"<channel type='unix'><target type='virtio' name='" name "'/>"                                                         \
	"<address type='virtio-serial' controller='0' bus='0' port='3'/></channel>"
#define DRIVE(target, unit)                                                                                                    \
	"<disk type='file'><source file='/a'/><target dev='" target "' bus='sata'/>"                                           \
	"<address type='drive' controller='0' bus='0' target='0' unit='" unit "'/></disk>"

static void test_refused(void **state)
{
	static const struct {
		const char *xml;
		enum rpc_code code;
		const char *text;
	} cases[] = {
		{ "<domain><name>a</name></domain>",
		  VIR_ERR_XML_ERROR, "Missing required attribute 'type' in element 'domain'" },
		{ HEAD "</domain>", VIR_ERR_XML_ERROR, "an os <type> must be specified" },
		{ PC("<disk type='foo'/>"), VIR_ERR_XML_ERROR, "Invalid value for attribute 'type' in element 'disk': 'foo'." },
		{ PC("<disk type='volume'><target dev='vda'/></disk>"), VIR_ERR_CONFIG_UNSUPPORTED,
		  "type 'volume' of element <disk> is not supported" },
		{ PC("<disk type='file' device='floppy'><target dev='fda'/></disk>"), VIR_ERR_CONFIG_UNSUPPORTED, "'floppy'" },
		{ PC("<disk type='file'><target dev='vda'/></disk>"),
		  VIR_ERR_XML_ERROR, "missing source information for device vda" },
		{ PC("<disk type='file'><source file='/a'/><target dev='vda1'/></disk>"), VIR_ERR_CONFIG_UNSUPPORTED, "vda1" },
		{ PC("<disk type='file'><source file='/a'/><target dev='hda'/></disk>"),
		  VIR_ERR_CONFIG_UNSUPPORTED, "bus 'ide'" },
		{ PC("<disk><source file='/a'/><target dev='vda'/></disk><disk><source file='/b'/><target dev='vda'/></disk>"),
		  VIR_ERR_XML_ERROR, "target 'vda' duplicated" },
		{ PC("<graphics type='spice'/>"), VIR_ERR_CONFIG_UNSUPPORTED, "type 'spice' of element <graphics>" },
		{ PC("<sound model='ich9'/>"), VIR_ERR_CONFIG_UNSUPPORTED, "element <sound> in <devices> is not supported" },
		{ PC("<thing/>"), VIR_ERR_CONFIG_UNSUPPORTED, "element <thing> in <devices> is not known" },
		{ PC("<memballoon model='virtio' odd='1'/>"),
		  VIR_ERR_CONFIG_UNSUPPORTED, "attribute 'odd' in element <memballoon>" },
		{ PC("<memballoon model='none'/><memballoon model='none'/>"), VIR_ERR_XML_ERROR, "twice" },
		{ PC("<interface type='bridge'/>"), VIR_ERR_CONFIG_UNSUPPORTED, "type 'bridge' of element <interface>" },
		{ PC("<interface type='user'><mac address='01:00:00:00:00:01'/></interface>"), VIR_ERR_XML_ERROR, "multicast" },
		{ PC("<controller type='scsi' model='lsilogic'/>"),
		  VIR_ERR_CONFIG_UNSUPPORTED, "scsi controller model 'lsilogic'" },
		{ PC("<controller type='pci' index='300'/>"), VIR_ERR_XML_ERROR, "'300'" },
		{ PC("<rng model='virtio'><backend model='random'/><address type='pci' bus='256' slot='0'/></rng>"),
		  VIR_ERR_XML_ERROR, "index='256'" },
		{ PC("<rng model='virtio'><backend model='random'/><address type='pci' bus='0' slot='31' function='0'/></rng>"
		     "<rng model='virtio'><backend model='random'/><address type='pci' bus='0' slot='31' function='0'/></rng>"),
		  VIR_ERR_XML_ERROR, "double use of PCI Address 0000:00:1f.0" },
		{ HEAD "<name xmlns='urn:u'>b</name><os><type>hvm</type></os></domain>", VIR_ERR_CONFIG_UNSUPPORTED,
		  "element <name> in <domain> is not known" },
		{ "<domain type='kvm' xmlns='urn:u'><name xmlns=''>b</name><name>a</name><memory>1</memory>"
		  "<os><type>hvm</type></os></domain>",
		  VIR_ERR_CONFIG_UNSUPPORTED, "element <name> in <domain> is not known" },
		{ PC(RNG("ua-a") RNG("ua-a")), VIR_ERR_CONFIG_UNSUPPORTED, "non unique alias detected: ua-a" },
		{ PC(PORT("a") PORT("b")), VIR_ERR_XML_ERROR, "virtio serial port 3 on controller 0 is already occupied" },
		{ PC(DRIVE("sda", "0") DRIVE("sdb", "00")), VIR_ERR_XML_ERROR, "Found duplicate drive address for disk" },
		{ HEAD "<os><type machine='pc'>hvm</type></os></domain>", VIR_ERR_CONFIG_UNSUPPORTED, "machine type 'pc'" },
		{ HEAD "<os><type machine='micro'>hvm</type></os></domain>", VIR_ERR_CONFIG_UNSUPPORTED, "needs <kernel>" },
		{ HEAD "<os><type arch='aarch64'>hvm</type></os></domain>", VIR_ERR_CONFIG_UNSUPPORTED, "arch 'aarch64'" },
		{ HEAD "<os><type>hvm</type></os><vcpu current='3'>2</vcpu></domain>", VIR_ERR_XML_ERROR, "(2 < 3)" },
		{ HEAD "<os><type>hvm</type></os><vcpu cpuset='x'>2</vcpu></domain>", VIR_ERR_INVALID_ARG, "bitmap 'x'" },
		{ HEAD "<os><type>hvm</type></os><maxMemory slots='2'>1</maxMemory></domain>", VIR_ERR_CONFIG_UNSUPPORTED,
		  "<maxMemory>" },
		{ "<domain type='kvm'><name>a/b</name><memory>1</memory><os><type>hvm</type></os></domain>", VIR_ERR_XML_ERROR,
		  "cannot contain '/'" },
		{ "<domain type='kvm'><name>a</name><memory unit='furlong'>1</memory><os><type>hvm</type></os></domain>",
		  VIR_ERR_INVALID_ARG, "unknown suffix 'furlong'" },
		{ "<domain type='kvm'><name>a</name><memory unit='EiB'>9</memory><os><type>hvm</type></os></domain>",
		  VIR_ERR_XML_ERROR, "too large" },
		{ "<domain type='kvm'><name>a</name><uuid>1</uuid><memory>1</memory><os><type>hvm</type></os></domain>",
		  VIR_ERR_INTERNAL_ERROR, "malformed uuid element" },
		{ "<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>a</name><memory>1</memory>"
		  "<os><type>hvm</type></os><qemu:commandline><qemu:arg value='-x'/></qemu:commandline></domain>",
		  VIR_ERR_CONFIG_UNSUPPORTED, "<qemu:commandline>" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;

		if (domain_def_parse(cases[i].xml, -1, 0, &error))
			fail_msg("taken: %s", cases[i].xml);
		if (!g_error_matches(error, RPC_ERRORS, (int)cases[i].code) || !strstr(error->message, cases[i].text))
			fail_msg("%s: %s (%d)", cases[i].xml, error->message, error->code);
	}
}

/* The driver that runs nothing takes what ours does not do, and forgets nothing. */
static void test_everything_for_test(void **state)
{
	g_autoptr(DomainDef) def = parse("<domain type='test'><name>a</name>" UUID "<memory>1</memory><os><type>hvm</type></os>"
					 "<devices><sound model='ich6'/><thing x='1'/></devices></domain>", DEF_TEST);
	g_autofree char *out = domain_def_format(def, 0);

	assert_non_null(strstr(out, "<thing x='1'/>"));
	assert_non_null(strstr(out, "<sound model='ich6'/>"));
	assert_null(strstr(out, "memballoon"));
}

/* ---- values ---- */

static void test_values(void **state)
{
	g_autoptr(DomainDef) def = parse("<domain type='kvm'><name>a</name><memory unit='GB'>1</memory><vcpu current='2' "
					 "cpuset='3,0-1,5-7,^6'>4</vcpu><os><type>hvm</type></os></domain>", 0);
	unsigned most;

	assert_string_equal(domain_def_name(def), "a");
	assert_int_equal(strlen(domain_def_uuid(def)), 36);
	assert_int_equal(domain_def_memory(def), 976563);
	assert_int_equal(domain_def_current(def), 976563);
	assert_int_equal(domain_def_vcpus(def, &most), 2);
	assert_int_equal(most, 4);
	assert_string_equal(xml_text(domain_def_root(def), "vcpu/@cpuset"), "0-1,3,5,7");
	domain_def_set_text(def, "title", "t");
	domain_def_set_text(def, "vcpu/@current", NULL);
	assert_int_equal(domain_def_vcpus(def, NULL), 4);
	assert_string_equal((const char *)xml_child(domain_def_root(def), "title")->prev->name, "uuid");
	assert_int_equal(field_unit("MiB", 1), 1 << 20);
	assert_int_equal(field_unit("m", 1), 1 << 20);
	assert_int_equal(field_unit("KB", 1), 1000);
	assert_int_equal(field_unit("Kx", 1), 0);
	assert_null(field_cpus("0-99999"));
	assert_null(field_cpus("1,"));
}

static void test_hints(void **state)
{
	g_autoptr(DomainDef) def = parse(HEAD "<os><type>hvm</type></os><features><acpi/><hyperv><relaxed state='on'/></hyperv>"
					 "</features><clock><timer name='rtc' tickpolicy='catchup'/></clock></domain>", 0);
	g_auto(GStrv) hints = domain_def_hints(def);

	assert_int_equal(g_strv_length(hints), 2);
	assert_string_equal(hints[0], "features/hyperv");
	assert_string_equal(hints[1], "clock/timer/@tickpolicy");
}

static void test_secrets(void **state)
{
	g_autoptr(DomainDef) def = parse(PC("<graphics type='vnc' port='5901' passwd='s3cret'/>"), 0);
	g_autofree char *out = domain_def_format(def, 0), *all = domain_def_format(def, FORMAT_SECURE);

	assert_null(strstr(out, "s3cret"));
	assert_non_null(strstr(all, "passwd='s3cret'"));
}

/* ---- devices ---- */

#define TWO_DISKS "<disk><source file='/a'/><target dev='vda'/></disk><disk><source file='/b'/><target dev='vdb'/></disk>"
#define NIC "<interface type='user'><mac address='52:54:00:00:00:01'/></interface>"

static xmlNode *device(struct domain_def *def, const char *xml, unsigned flags)
{
	g_autoptr(GError) error = NULL;
	xmlNode *node = domain_def_parse_device(def, xml, flags, &error);

	if (!node)
		fail_msg("%s: %s", xml, error->message);
	return node;
}

static void test_attach(void **state)
{
	g_autoptr(DomainDef) def = parse(PC(TWO_DISKS), 0);
	xmlNode *node = device(def, "<disk><source file='/c'/><target dev='vdc'/></disk>", 0);
	g_autoptr(GError) error = NULL;

	assert_string_equal(xml_text(node, "address/@type"), "pci");
	assert_string_equal(xml_text(node, "driver/@name"), "qemu");
	domain_def_insert_device(def, node);
	assert_ptr_equal(domain_def_device(def, "disk", 2), node);
	assert_null(domain_def_device(def, "disk", 3));
	assert_string_equal((const char *)node->next->name, "controller");
	/* its controller comes along */
	node = device(def, "<channel type='unix'><target type='virtio' name='x'/></channel>", 0);
	domain_def_insert_device(def, node);
	assert_string_equal(xml_text(node, "address/@port"), "1");
	assert_null(domain_def_parse_device(def, "<disk><source file='/c'/><target dev='vda'/></disk>", 0, &error));
	assert_non_null(strstr(error->message, "target 'vda' duplicated"));
	g_clear_error(&error);
	assert_null(domain_def_parse_device(def, "<hostdev/>", 0, &error));
	assert_true(g_error_matches(error, RPC_ERRORS, VIR_ERR_CONFIG_UNSUPPORTED));
}

/* What runs has the ports that it has: one is spare, as libvirt leaves one. */
static void test_attach_live(void **state)
{
	g_autoptr(DomainDef) def = parse(PC(TWO_DISKS), 0);
	g_autoptr(GError) error = NULL;

	domain_def_set_live(def, 7);
	domain_def_insert_device(def, device(def, "<disk><source file='/c'/><target dev='vdc'/></disk>", DEF_LIVE));
	assert_null(domain_def_parse_device(def, "<disk><source file='/d'/><target dev='vdd'/></disk>", DEF_LIVE, &error));
	assert_non_null(strstr(error->message, "No more available PCI slots"));
	g_clear_error(&error);
	assert_null(domain_def_parse_device(def, "<channel type='unix'><target type='virtio' name='x'/></channel>", DEF_LIVE,
					    &error));
	assert_non_null(error);
}

static void find(struct domain_def *def, const char *xml, const char *path, const char *expected)
{
	g_autoptr(GError) error = NULL;
	xmlNode *like = device(def, xml, DEF_LOOSE), *found = domain_def_find_device(def, like, &error);

	if (expected)
		assert_string_equal(xml_text(found, path), expected);
	else
		assert_true(g_error_matches(error, RPC_ERRORS, VIR_ERR_DEVICE_MISSING));
	xmlFreeNode(like);
}

static void test_find(void **state)
{
	g_autoptr(DomainDef) def = parse(PC(TWO_DISKS NIC "<input type='tablet'/>"), 0);

	domain_def_set_live(def, 1);
	find(def, "<disk><target dev='vdb'/></disk>", "source/@file", "/b");
	find(def, "<disk><target dev='vdx'/></disk>", "", NULL);
	find(def, "<disk><alias name='virtio-disk0'/></disk>", "source/@file", "/a");
	find(def, "<interface type='user'><mac address='52:54:00:00:00:01'/></interface>", "alias/@name", "net0");
	find(def, "<interface type='user'><mac address='52:54:00:00:00:02'/></interface>", "", NULL);
	find(def, "<interface type='user'/>", "mac/@address", "52:54:00:00:00:01");
	find(def, "<input type='tablet' bus='usb'/>", "alias/@name", "input0");
	find(def, "<input type='keyboard' bus='usb'/>", "", NULL);
	find(def, "<controller type='usb' index='0'/>", "@model", "qemu-xhci");
	find(def, "<controller type='usb' index='00'/>", "@model", "qemu-xhci");
}

/* Of what does not say which is meant there may be one alone; an alias that nobody may choose is none. */
static void test_find_one(void **state)
{
	g_autoptr(DomainDef) def = parse(PC(NIC "<interface type='user'/>" RNG("ua-a,b")), 0);
	xmlNode *like = device(def, "<interface type='user'/>", DEF_LOOSE);
	g_autoptr(GError) error = NULL;

	assert_null(domain_def_find_device(def, like, &error));
	assert_true(g_error_matches(error, RPC_ERRORS, VIR_ERR_OPERATION_FAILED));
	assert_non_null(strstr(error->message, "multiple devices"));
	assert_null(xml_text(domain_def_device(def, "rng", 0), "alias/@name"));
	xmlFreeNode(like);
}

static void test_update(void **state)
{
	g_autoptr(DomainDef) def = parse(PC(TWO_DISKS NIC), 0);
	xmlNode *after = device(def, "<interface type='user'><link state='down'/></interface>", DEF_LOOSE);
	xmlNode *before = domain_def_device(def, "interface", 0);

	assert_true(domain_def_complete_update(def, before, after, NULL));
	assert_string_equal(xml_text(after, "mac/@address"), "52:54:00:00:00:01");
	assert_string_equal(xml_text(after, "address/@bus"), xml_text(before, "address/@bus"));
	assert_string_equal(xml_text(after, "model/@type"), "virtio");
	assert_string_equal(xml_text(after, "link/@state"), "down");
	xmlFreeNode(after);
}

static void test_remove(void **state)
{
	g_autoptr(DomainDef) def = parse(PC("<serial type='pty'/>" TWO_DISKS), 0);

	assert_non_null(domain_def_device(def, "console", 0));
	domain_def_remove_device(def, domain_def_device(def, "serial", 0));
	assert_null(domain_def_device(def, "console", 0));
	domain_def_remove_device(def, domain_def_device(def, "disk", 0));
	assert_string_equal(xml_text(domain_def_device(def, "disk", 0), "source/@file"), "/b");
}

static void test_live(void **state)
{
	g_autoptr(DomainDef) def = parse(PC(TWO_DISKS NIC "<disk><source file='/c'/><target dev='sdb' bus='sata'/></disk>"
					    "<disk><source file='/d'/><target dev='sda'/><alias name='ua-mine'/></disk>"
					    "<graphics type='vnc'/><serial type='pty'/>"), 0);
	g_autoptr(DomainDef) copy = NULL, again = NULL;
	g_autofree char *before = domain_def_format(def, 0), *live = NULL, *inactive = NULL, *kept = NULL;

	domain_def_set_live(def, 3);
	assert_string_equal(xml_text(domain_def_device(def, "disk", 1), "alias/@name"), "virtio-disk1");
	assert_string_equal(xml_text(domain_def_device(def, "disk", 2), "alias/@name"), "sata0-0-1");
	assert_string_equal(xml_text(domain_def_device(def, "disk", 3), "alias/@name"), "ua-mine");
	assert_string_equal(xml_text(domain_def_device(def, "controller", 0), "alias/@name"), "usb");
	assert_string_equal(xml_text(domain_def_device(def, "console", 0), "alias/@name"), "serial0");
	assert_string_equal(xml_text(domain_def_device(def, "memballoon", 0), "alias/@name"), "balloon0");
	xml_set(domain_def_device(def, "graphics", 0), "@port", "5907");
	xml_set(domain_def_device(def, "serial", 0), "source/@path", "/dev/pts/3");
	live = domain_def_format(def, 0);
	assert_non_null(strstr(live, "<domain type='kvm' id='3'>"));
	assert_non_null(strstr(live, "port='5907'"));
	assert_non_null(strstr(live, "/dev/pts/3"));
	inactive = domain_def_format(def, FORMAT_INACTIVE);
	assert_string_equal(inactive, before);
	/* a status file gives it back; as a stored definition it is what was stored */
	again = parse(live, DEF_LIVE);
	kept = domain_def_format(again, 0);
	assert_string_equal(kept, live);
	copy = domain_def_copy(def);
	domain_def_set_live(copy, -1);
	assert_null(xml_text(domain_def_root(copy), "@id"));
}

/* ---- the smaller documents ---- */

static void test_objects(void **state)
{
	static const struct {
		enum object_kind kind;
		const char *xml, *text;
	} bad[] = {
		{ OBJECT_NETWORK, "<network/>", "missing name" },
		{ OBJECT_NETWORK, "<network><name>a</name><forward mode='bridge'/></network>", "mode 'bridge'" },
		{ OBJECT_NETWORK, "<network><name>a</name><ip address='fe80::1'/></network>", "Invalid address 'fe80::1'" },
		{ OBJECT_POOL, "<pool type='rbd'><name>a</name></pool>", "type 'rbd'" },
		{ OBJECT_POOL, "<pool type='dir'><name>a</name></pool>", "missing storage pool target path" },
		{ OBJECT_POOL, "<pool type='dir'><name>..</name><target><path>/a</path></target></pool>", "name .." },
		{ OBJECT_VOLUME, "<volume><capacity>1</capacity></volume>", "missing name" },
		{ OBJECT_VOLUME, "<volume><name>a</name></volume>", "missing capacity" },
		{ OBJECT_SECRET, "<secret><usage type='volume'/></secret>", "<volume> is missing" },
		{ OBJECT_SNAPSHOT, "<domainsnapshot><memory snapshot='external'/></domainsnapshot>", "require a filename" },
	};
	g_autoptr(xmlDoc) doc = NULL;
	g_autofree char *out = NULL;
	xmlNode *host;

	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;

		assert_null(object_parse(bad[i].kind, bad[i].xml, -1, 0, &error));
		if (!strstr(error->message, bad[i].text))
			fail_msg("%s: %s", bad[i].xml, error->message);
	}
	doc = object_parse(OBJECT_SNAPSHOT, "<domainsnapshot><state>running</state><name>s</name></domainsnapshot>", -1, 0, NULL);
	assert_null(xml_text(xmlDocGetRootElement(doc), "state"));
	object_set_text(OBJECT_SNAPSHOT, doc, "creationTime", "5");
	object_set_text(OBJECT_SNAPSHOT, doc, "description", "d");
	out = object_format(OBJECT_SNAPSHOT, doc, 0);
	assert_string_equal(out, "<domainsnapshot>\n  <name>s</name>\n  <description>d</description>\n"
				 "  <creationTime>5</creationTime>\n</domainsnapshot>\n");
	host = object_parse_part(OBJECT_NETWORK, doc, "ip/dhcp/host", "<host mac='52:54:00:0:0:2' ip='10.0.0.2'/>", NULL);
	assert_string_equal(xml_text(host, "@mac"), "52:54:00:00:00:02");
	xmlFreeNode(host);
	assert_null(object_parse_part(OBJECT_NETWORK, doc, "ip/dhcp/host", "<host odd='1'/>", NULL));
}

/* ---- the tables ---- */

static void check_words(const struct field *r)
{
	if (r->type != FIELD_WORD)
		return;
	assert_non_null(r->values);
	assert_false(g_str_has_prefix(r->values, " ") || g_str_has_suffix(r->values, " ") || strstr(r->values, "  "));
}

/* Rows with the same beginning are together, so that order has a meaning, and each can be found. */
static void check_table(const struct field *rows, unsigned depth)
{
	for (const struct field *r = rows; r->path; r++) {
		const char *slash = strrchr(r->path, '/');

		check_words(r);
		assert_ptr_equal(fields_row(rows, r->path), r);
		if (r->sub && r->sub != rows && depth < 6)
			check_table(r->sub, depth + 1);
		if (!slash || r == rows)
			continue;
		for (const struct field *before = rows; before < r - 1; before++) {
			size_t len = strcspn(r->path, "/");
			bool same = !strncmp(before->path, r->path, len) && (before->path[len] == '/' || !before->path[len]);

			if (same &&
			    (strncmp(before[1].path, r->path, len) || (before[1].path[len] && before[1].path[len] != '/')))
				fail_msg("%s is apart from %s", r->path, before->path);
		}
	}
}

static void test_tables(void **state)
{
	static const struct field *const tables[] = { domain_fields, network_fields,  pool_fields,	volume_fields,
						      secret_fields, snapshot_fields, checkpoint_fields };

	for (unsigned i = 0; i < G_N_ELEMENTS(tables); i++)
		check_table(tables[i], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_documents_refused),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_everything_for_test),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_hints),
		cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_attach),
		cmocka_unit_test(test_attach_live),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_find_one),
		cmocka_unit_test(test_update),
		cmocka_unit_test(test_remove),
		cmocka_unit_test(test_live),
		cmocka_unit_test(test_objects),
		cmocka_unit_test(test_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
