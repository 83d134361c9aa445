/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI devices of the host, with the names that pci.ids has. See host-devices.h. */
#include <stdio.h>
#include <string.h>

#include "host-devices.h"
#include "model-xml.h"

/* ---- names ---- */

static const char *const name_files[] = { "/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids" };

static GMappedFile *open_names(void)
{
	GMappedFile *file = NULL;

	for (unsigned i = 0; !file && i < G_N_ELEMENTS(name_files); i++)
		file = g_mapped_file_new(name_files[i], FALSE, NULL);
	return file;
}

/* The rest of the line that begins with "\n<what>  ", from `at` on and before `end`; *ret_at: behind it. */
static char *find_line(const char *at, const char *end, const char *what, const char **ret_at)
{
	g_autofree char *start = g_strdup_printf("\n%s  ", what);
	const char *found = at && end > at ? g_strstr_len(at, end - at, start) : NULL, *eol;

	if (!found)
		return NULL;
	found += strlen(start);
	eol = memchr(found, '\n', (size_t)(end - found));
	eol = eol ? eol : end;
	*ret_at = eol;
	return g_strndup(found, (gsize)(eol - found));
}

/* Devices are the lines below their vendor's that begin with a tabulator. */
static const char *end_of_vendor(const char *at, const char *end)
{
	while (at && at + 1 < end && (at[1] == '\t' || at[1] == '#')) {
		at = memchr(at + 1, '\n', (size_t)(end - at - 1));
		if (!at)
			return end;
	}
	return at ? at : end;
}

static void add_names(GMappedFile *file, const char *vendor, const char *device, xmlNode *capability)
{
	const char *at = file ? g_mapped_file_get_contents(file) : NULL, *end = at ? at + g_mapped_file_get_length(file) : NULL;
	g_autofree char *below = g_strconcat("\t", device + 2, NULL);
	g_autofree char *vendor_name = find_line(at, end, vendor + 2, &at);
	g_autofree char *device_name = vendor_name ? find_line(at, end_of_vendor(at, end), below, &at) : NULL;

	xml_set(capability, "product", device_name ? device_name : "");
	xml_set(capability, "product/@id", device);
	xml_set(capability, "vendor", vendor_name ? vendor_name : "");
	xml_set(capability, "vendor/@id", vendor);
}

/* ---- addresses ---- */

struct pci_address {
	unsigned domain, bus, slot, function;
};

static bool parse_address(const char *text, struct pci_address *ret)
{
	return sscanf(text, "%x:%x:%x.%x", &ret->domain, &ret->bus, &ret->slot, &ret->function) == 4;
}

static void add_address(xmlNode *parent, const char *text)
{
	static const char *const names[] = { "@domain", "@bus", "@slot", "@function" };
	static const char *const formats[] = { "0x%04x", "0x%02x", "0x%02x", "0x%x" };
	struct pci_address a;
	unsigned values[4];
	xmlNode *node;

	if (!parse_address(text, &a))
		return;
	node = xml_add(parent, "address");
	memcpy(values, (const unsigned[]){ a.domain, a.bus, a.slot, a.function }, sizeof(values));
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *value = g_strdup_printf(i == 0 ? formats[0] : i == 3 ? formats[3] : formats[1], values[i]);

		xml_set(node, names[i], value);
	}
}

/* ---- one ---- */

static void add_functions(xmlNode *capability, const char *folder)
{
	g_autofree char *physical = host_link_name(folder, "physfn");
	gint64 most = host_number(folder, "sriov_totalvfs", 0);
	xmlNode *more;

	if (physical) {
		more = xml_add(capability, "capability");
		xml_set(more, "@type", "phys_function");
		add_address(more, physical);
	}
	if (most <= 0)
		return;
	more = xml_add(capability, "capability");
	xml_set(more, "@type", "virt_functions");
	host_set_number(more, "@maxCount", most);
	for (unsigned i = 0; i < most; i++) {
		g_autofree char *link = g_strdup_printf("virtfn%u", i), *name = host_link_name(folder, link);

		if (!name)
			break;
		add_address(more, name);
	}
}

static void add_group(const struct host *h, xmlNode *capability, const char *folder)
{
	g_autofree char *number = host_link_name(folder, "iommu_group"), *path = NULL;
	g_autoptr(GPtrArray) members = NULL;

	if (!number)
		return;
	xml_set(capability, "iommuGroup/@number", number);
	path = g_strdup_printf("/sys/kernel/iommu_groups/%s/devices", number);
	members = host_folders(h, path);
	for (unsigned i = 0; i < members->len; i++) {
		g_autofree char *base = g_path_get_basename(members->pdata[i]);

		add_address(xml_child(capability, "iommuGroup"), base);
	}
}

static void add_device(struct host *h, const char *folder, GMappedFile *names)
{
	g_autofree char *base = g_path_get_basename(folder), *name = NULL, *class = host_text(folder, "class");
	g_autofree char *vendor = host_text(folder, "vendor"), *device = host_text(folder, "device");
	gint64 header, node = host_number(folder, "numa_node", -1);
	struct pci_address a;
	xmlNode *capability;

	if (!vendor || !device || strlen(vendor) < 3 || strlen(device) < 3 || !parse_address(base, &a))
		return;
	name = g_strdup_printf("pci_%04x_%02x_%02x_%x", a.domain, a.bus, a.slot, a.function);
	capability = host_device_new(h, "pci", folder, name);
	host_set(capability, "class", class);
	host_set_number(capability, "domain", a.domain);
	host_set_number(capability, "bus", a.bus);
	host_set_number(capability, "slot", a.slot);
	host_set_number(capability, "function", a.function);
	add_names(names, vendor, device, capability);
	add_functions(capability, folder);
	header = class ? g_ascii_strtoll(class, NULL, 16) : 0;
	if (header >> 8 == 0x0604)
		xml_set(xml_add(capability, "capability"), "@type", "pci-bridge");
	add_group(h, capability, folder);
	if (node >= 0)
		host_set_number(capability, "numa/@node", node);
}

void host_add_pci(struct host *h)
{
	g_autoptr(GPtrArray) folders = host_folders(h, "/sys/bus/pci/devices");
	g_autoptr(GMappedFile) names = folders->len ? open_names() : NULL;

	for (unsigned i = 0; i < folders->len; i++)
		add_device(h, folders->pdata[i], names);
}
