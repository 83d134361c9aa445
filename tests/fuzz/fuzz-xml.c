/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: libvirt's XML. The first byte says how what follows is taken: as a document, or as edits of one. What is
 * accepted is written as a document that is accepted again and then stays as it is; what is not has an error with a text.
 */
#include <stdlib.h>
#include <string.h>

#include "domain-def.h"
#include "objects.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_error(bool ok, GError *error)
{
	if (ok == (error != NULL))
		abort();
	if (error && (!*error->message || !g_utf8_validate(error->message, -1, NULL)))
		abort();
	g_clear_error(&error);
}

static char *through_domain(const char *xml, gssize len, unsigned flags)
{
	GError *error = NULL;
	g_autoptr(DomainDef) def = domain_def_parse(xml, len, flags, &error);
	g_auto(GStrv) hints = NULL;

	check_error(def, error);
	if (!def)
		return NULL;
	hints = domain_def_hints(def);
	if (!domain_def_name(def) || !domain_def_uuid(def) || !domain_def_memory(def) || !domain_def_vcpus(def, NULL))
		abort();
	return domain_def_format(def, FORMAT_SECURE);
}

static void domain(const char *xml, gssize len, unsigned flags)
{
	g_autofree char *once = through_domain(xml, len, flags), *twice = NULL, *thrice = NULL;

	if (!once)
		return;
	twice = through_domain(once, -1, flags);
	thrice = twice ? through_domain(twice, -1, flags) : NULL;
	if (!thrice || strcmp(twice, thrice))
		abort();
}

static void device(const char *xml, unsigned flags)
{
	static const char pc[] = "<domain type='kvm'><name>a</name><memory>65536</memory><os><type>hvm</type></os>"
				 "<devices><disk type='file'><source file='/a'/><target dev='vda'/></disk></devices></domain>";
	g_autoptr(DomainDef) def = domain_def_parse(pc, -1, 0, NULL);
	GError *error = NULL;
	xmlNode *node = domain_def_parse_device(def, xml, flags, &error), *found;
	g_autofree char *out = NULL;

	check_error(node, error);
	if (!node)
		return;
	error = NULL;
	found = domain_def_find_device(def, node, &error);
	check_error(found, error);
	if (flags & DEF_LOOSE) {
		xmlFreeNode(node);
		return;
	}
	domain_def_insert_device(def, node);
	domain_def_set_live(def, 1);
	out = domain_def_format(def, 0);
}

static void object(unsigned kind, const char *xml, gssize len, unsigned flags)
{
	GError *error = NULL;
	g_autoptr(xmlDoc) doc = object_parse(kind, xml, len, flags, &error), again = NULL;
	g_autofree char *once = NULL;

	check_error(doc, error);
	if (!doc)
		return;
	once = object_format(kind, doc, FORMAT_SECURE);
	again = object_parse(kind, once, -1, flags, NULL);
	if (!again)
		abort();
}

/* ---- a good document, three bytes an edit: which element, what is done to it, with which value ---- */

/* clang-format off */
static const char *const values[] = {
	"", "0", "-1", "1", "31", "99999999999", "0x1f", "0xff", "virtio", "sata", "scsi", "usb", "pci",
	"drive", "pcie-root-port", "pcie-to-pci-bridge", "pcie-root", "none", "yes", "vda", "sdzz", "vdb1",
	"/a/b", "default", "ps2", "serial", "unix", "virtio-serial", "i6300esb", "cdrom", "network", "8",
	"pty",
};
/* clang-format on */

static const char everything[] =
	"<domain type='kvm'><name>a</name><memory unit='MiB'>64</memory><vcpu current='1' cpuset='0-3'>2</vcpu>"
	"<cputune><vcpupin vcpu='0' cpuset='1'/></cputune><os><type machine='q35'>hvm</type><kernel>/k</kernel></os>"
	"<features><acpi/><hyperv><relaxed state='on'/></hyperv></features><cpu mode='custom'><model>qemu64</model>"
	"<topology sockets='1' cores='2' threads='1'/><feature name='x'/></cpu><clock offset='variable' adjustment='5'/>"
	"<devices><disk type='file'><source file='/a'/><target dev='vda' "
	"bus='virtio'/><iotune><total_iops_sec>5</total_iops_sec>"
	"</iotune><boot order='1'/><alias name='ua-x'/></disk><disk type='file' device='cdrom'><target dev='sda' bus='sata'/>"
	"<address type='drive' unit='3'/></disk><disk type='network'><source protocol='nbd'><host name='h'/></source>"
	"<target dev='sdb' bus='usb'/><address type='usb' port='1'/></disk><controller type='pci' model='pcie-root'/>"
	"<controller type='pci' index='3' model='pcie-root-port'><address type='pci' bus='0' "
	"slot='3' function='1'/></controller>"
	"<controller type='scsi'/><controller type='usb' ports='15'/><interface type='user'><portForward proto='tcp'>"
	"<range start='1' end='2' to='3'/></portForward><model type='e1000e'/><address "
	"type='pci' bus='1' slot='0'/></interface>"
	"<serial type='pty'><target port='1'/></serial><console type='unix'><source mode='bind' "
	"path='/p'/><target type='virtio'/>"
	"</console><channel type='unix'><target type='virtio' name='n'/><address type='virtio-serial' controller='0' port='2'/>"
	"</channel><input type='tablet' bus='usb'/><input type='mouse' bus='virtio'/><graphics type='vnc' port='-1'>"
	"<listen type='address' address='::1'/></graphics><video><model type='virtio' heads='2'/></video>"
	"<watchdog model='i6300esb'/><memballoon model='virtio'><stats period='5'/></memballoon><rng model='virtio'>"
	"<backend model='random'/></rng><panic/><vsock><cid auto='yes'/></vsock></devices></domain>";

static xmlNode *nth_element(xmlNode *node, unsigned *n)
{
	xmlNode *found = NULL;

	if (!(*n)--)
		return node;
	for (xmlNode *c = node->children; c && !found; c = c->next)
		if (c->type == XML_ELEMENT_NODE)
			found = nth_element(c, n);
	return found;
}

static void edit(xmlNode *root, const uint8_t bytes[3])
{
	unsigned n = bytes[0];
	xmlNode *node = nth_element(root, &n);
	const char *value = values[bytes[2] % G_N_ELEMENTS(values)];
	unsigned skip = bytes[1] >> 3;

	if (!node || node == root)
		return;
	switch (bytes[1] & 7) {
	case 0:
		xmlUnlinkNode(node);
		xmlFreeNode(node);
		break;
	case 1:
		xmlAddNextSibling(node, xmlDocCopyNode(node, node->doc, 1));
		break;
	case 2:
		xml_set(node, "", value);
		break;
	case 3:
		xml_set(node, "address/@type", value);
		break;
	default:
		for (xmlAttr *a = node->properties; a; a = a->next) {
			if (skip--)
				continue;
			if (bytes[1] & 1)
				xmlRemoveProp(a);
			else
				xmlSetProp(node, a->name, BAD_CAST value);
			break;
		}
	}
}

static void edited(const uint8_t *data, size_t size, unsigned flags)
{
	g_autoptr(xmlDoc) doc = model_xml_parse(everything, -1, NULL, NULL);
	g_autofree char *text = NULL;

	for (size_t i = 0; i + 3 <= size && i < 60; i += 3)
		edit(xmlDocGetRootElement(doc), data + i);
	text = model_xml_format(xmlDocGetRootElement(doc));
	domain(text, -1, flags);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = size ? g_strndup((const char *)data + 1, size - 1) : NULL;
	unsigned how = size ? data[0] & 15 : 0, flags = 0;

	if (!text || size > 65536)
		return 0;
	if (size > 1 && data[0] & 16)
		flags |= DEF_TEST;
	if (how > 3 && how < 8)
		edited(data + 1, size - 1, flags);
	else if (how < 8)
		domain(text, -1, flags);
	else if (how < 10)
		device(text, how == 9 ? DEF_LOOSE : 0);
	else
		object(how - 10, text, -1, flags | DEF_LIVE);
	return 0;
}
