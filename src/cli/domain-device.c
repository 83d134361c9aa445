/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that put devices into domains, take them out, or change them. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "args.h"
#include "domain.h"
#include "objects.h"
#include "rpc/message.h"

enum { XML_INACTIVE = 2, FORCE = 4 };

static bool flags_agree(struct shell *sh, const struct args *a)
{
	return affect_of(sh, a) >= 0 && !args_exclude(sh, a, "persistent", "current");
}

/* --persistent is --config, and --live as well if the domain runs. -1: said. */
static int device_flags(struct shell *sh, const struct args *a, GVariant *dom)
{
	int flags = affect_of(sh, a);

	if (flags < 0)
		return -1;
	if (arg_on(a, "persistent")) {
		flags |= AFFECT_CONFIG;
		if (domain_is_active(sh, dom) == 1)
			flags |= AFFECT_LIVE;
	}
	return flags;
}

/* --current is the newer call, as with virsh, although it is no flag. */
static bool attach(struct shell *sh, const struct args *a, GVariant *dom, const char *xml, unsigned flags)
{
	return flags || arg_on(a, "current") ? tell(sh, "domain_attach_device_flags", "(@" DOMAIN "su)", dom, xml, flags)
		     : tell(sh, "domain_attach_device", "(@" DOMAIN "s)", dom, xml);
}

static bool detach(struct shell *sh, const struct args *a, GVariant *dom, const char *xml, unsigned flags)
{
	return flags || arg_on(a, "current") ? tell(sh, "domain_detach_device_flags", "(@" DOMAIN "su)", dom, xml, flags)
		     : tell(sh, "domain_detach_device", "(@" DOMAIN "s)", dom, xml);
}

bool cmd_attach_device(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = flags_agree(sh, a) ? find_domain(sh, a, "domain") : NULL;
	int flags = dom ? device_flags(sh, a, dom) : -1;
	g_autofree char *xml = flags >= 0 ? read_file(sh, arg_text(a, "file")) : NULL;

	return xml && finish(sh, attach(sh, a, dom, xml, flags), "Device attached successfully",
			     "Failed to attach device from %s", arg_text(a, "file"));
}

bool cmd_detach_device(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = flags_agree(sh, a) ? find_domain(sh, a, "domain") : NULL;
	int flags = dom ? device_flags(sh, a, dom) : -1;
	g_autofree char *xml = flags >= 0 ? read_file(sh, arg_text(a, "file")) : NULL;

	return xml && finish(sh, detach(sh, a, dom, xml, flags), "Device detached successfully",
			     "Failed to detach device from %s", arg_text(a, "file"));
}

bool cmd_update_device(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = flags_agree(sh, a) ? find_domain(sh, a, "domain") : NULL;
	int flags = dom ? device_flags(sh, a, dom) : -1;
	g_autofree char *xml = flags >= 0 ? read_file(sh, arg_text(a, "file")) : NULL;

	return xml && finish(sh,
			     tell(sh, "domain_update_device_flags", "(@" DOMAIN "su)", dom, xml,
				  flags | (arg_on(a, "force") ? FORCE : 0)),
			     "Device updated successfully", "Failed to update device from %s", arg_text(a, "file"));
}

bool cmd_detach_device_alias(struct shell *sh, const struct args *a)
{
	int flags = affect_of(sh, a);
	g_autoptr(GVariant) dom = flags >= 0 ? find_domain(sh, a, "domain") : NULL;
	const char *alias = arg_text(a, "alias");

	return dom &&
	       finish(sh, tell(sh, "domain_detach_device_alias", "(@" DOMAIN "su)", dom, alias, flags),
		      "Device detach request sent successfully", "Failed to detach device with alias %s", alias);
}

/* ---- attach-disk ---- */

/* As an element; NULL: it is none. */
static char *address_xml(const char *text, bool multifunction)
{
	const char *more = multifunction ? " multifunction='on'" : "";
	unsigned v[4];
	char rest;

	if (sscanf(text, "pci:%x.%x.%x.%x%c", &v[0], &v[1], &v[2], &v[3], &rest) == 4)
		return g_strdup_printf("  <address type='pci' domain='0x%04x' bus='0x%02x' slot='0x%02x' function='0x%01x'%s/>\n",
				       v[0], v[1], v[2], v[3], more);
	if (sscanf(text, "ccw:%x.%x.%x%c", &v[0], &v[1], &v[2], &rest) == 3)
		return g_strdup_printf("  <address type='ccw' cssid='0x%02x' ssid='0x%01x' devno='0x%04x'/>\n", v[0], v[1], v[2]);
	if (sscanf(text, "usb:%u.%u%c", &v[0], &v[1], &rest) == 2)
		return g_strdup_printf("  <address type='usb' bus='%u' port='%u'/>\n", v[0], v[1]);
	if (sscanf(text, "scsi:%u.%u.%u%c", &v[0], &v[1], &v[2], &rest) == 3 ||
	    sscanf(text, "ide:%u.%u.%u%c", &v[0], &v[1], &v[2], &rest) == 3 ||
	    sscanf(text, "sata:%u.%u.%u%c", &v[0], &v[1], &v[2], &rest) == 3)
		return g_strdup_printf("  <address type='drive' controller='%u' bus='%u' unit='%u'/>\n", v[0], v[1], v[2]);
	return NULL;
}

static bool is_of(const char *address, const char *const *kinds)
{
	g_autofree char *kind = g_strndup(address, strcspn(address, ":"));

	return word_of(kind, kinds) >= 0;
}

static bool add_address(struct shell *sh, GString *out, const char *text, const char *target, bool multifunction)
{
	static const char *const of_vd[] = { "pci", "ccw", NULL }, *const of_sd[] = { "scsi", "usb", "sata", NULL },
			  *const of_hd[] = { "ide", NULL };
	g_autofree char *xml = address_xml(text, multifunction);

	if (!xml)
		return shell_error(sh, "Invalid address.");
	/* What the target's name says of its bus. */
	if (g_str_has_prefix(target, "vd") && !is_of(text, of_vd))
		return shell_error(sh, "expecting a pci:0000.00.00.00 or ccw:00.0.0000 address.");
	if (g_str_has_prefix(target, "sd") && !is_of(text, of_sd))
		return shell_error(sh, "expecting a scsi:00.00.00 or usb:00.00 or sata:00.00.00 address.");
	if (g_str_has_prefix(target, "hd") && !is_of(text, of_hd))
		return shell_error(sh, "expecting an ide:00.00.00 address.");
	g_string_append(out, xml);
	return true;
}

static void add_network_source(GString *out, const struct args *a)
{
	const char *host = arg_text(a, "source-host-name"), *colon = host ? strchr(host, ':') : NULL;
	g_autofree char *name = colon ? g_strndup(host, colon - host) : g_strdup(host);
	bool has_host = host || arg_on(a, "source-host-transport") || arg_on(a, "source-host-socket");

	g_string_append(out, "  <source");
	xml_add(out, " protocol='%s'", arg_text(a, "source-protocol"));
	xml_add(out, " name='%s'", arg_text(a, "source"));
	g_string_append(out, has_host ? ">\n    <host" : "/>\n");
	if (!has_host)
		return;
	xml_add(out, " transport='%s'", arg_text(a, "source-host-transport"));
	xml_add(out, " socket='%s'", arg_text(a, "source-host-socket"));
	xml_add(out, " name='%s'", name);
	xml_add(out, " port='%s'", colon ? colon + 1 : NULL);
	g_string_append(out, "/>\n  </source>\n");
}

static char *disk_xml(struct shell *sh, const struct args *a)
{
	g_autoptr(GString) out = g_string_new(NULL);
	const char *type = arg_text(a, "sourcetype"), *mode = arg_text(a, "mode"), *target = arg_text(a, "target");
	bool is_network = type ? strcmp(type, "network") == 0 : arg_on(a, "source-protocol");
	struct stat st;
	bool is_block = type ? strcmp(type, "block") == 0 : stat(arg_text(a, "source"), &st) == 0 && S_ISBLK(st.st_mode);
	static const char *const drivers[] = { "driver", "subdriver", "iothread", "cache", "io" };
	static const char *const names[] = { "name", "type", "iothread", "cache", "io" };
	bool any = false;

	xml_add(out, "<disk type='%s'", type ? type : is_network ? "network" : is_block ? "block" : "file");
	xml_add(out, " device='%s'", arg_text(a, "type"));
	g_string_append(out, arg_on(a, "rawio") ? " rawio='yes'>\n" : ">\n");
	for (unsigned i = 0; i < G_N_ELEMENTS(drivers); i++) {
		g_autofree char *format = g_strdup_printf("%s %s='%%s'", any ? "" : "  <driver", names[i]);

		xml_add(out, format, arg_text(a, drivers[i]));
		any |= arg_on(a, drivers[i]);
	}
	if (any)
		g_string_append(out, "/>\n");
	if (is_network)
		add_network_source(out, a);
	else
		xml_add(out, is_block ? "  <source dev='%s'/>\n" : "  <source file='%s'/>\n", arg_text(a, "source"));
	xml_add(out, "  <target dev='%s'", target);
	xml_add(out, " bus='%s'", arg_text(a, "targetbus"));
	g_string_append(out, "/>\n");
	if (mode)
		g_string_append_printf(out, "  <%s/>\n", strcmp(mode, "readonly") == 0 ? "readonly" : "shareable");
	xml_add(out, "  <serial>%s</serial>\n", arg_text(a, "serial"));
	xml_add(out, "  <alias name='%s'/>\n", arg_text(a, "alias"));
	xml_add(out, "  <wwn>%s</wwn>\n", arg_text(a, "wwn"));
	if (arg_on(a, "address") && !add_address(sh, out, arg_text(a, "address"), target, arg_on(a, "multifunction")))
		return NULL;
	g_string_append(out, "</disk>\n");
	return g_string_free(g_steal_pointer(&out), FALSE);
}

/* 16 hexadecimal digits. */
static bool is_wwn(const char *text)
{
	return strlen(text) == 16 && strspn(text, "0123456789abcdefABCDEF") == 16;
}

static bool check_disk(struct shell *sh, const struct args *a)
{
	static const char *const types[] = { "file", "block", "network", NULL };
	const char *type = arg_text(a, "sourcetype"), *mode = arg_text(a, "mode"), *wwn = arg_text(a, "wwn");

	if (!flags_agree(sh, a) || !args_require(sh, a, "source-host-name", "source-protocol") ||
	    !args_require(sh, a, "source-host-transport", "source-protocol") ||
	    !args_require(sh, a, "source-host-socket", "source-protocol"))
		return false;
	if (type && word_of(type, types) < 0)
		return shell_error(sh, "Unknown source type: '%s'", type);
	if (type && arg_on(a, "source-protocol") != (strcmp(type, "network") == 0))
		return shell_error(sh, "--source-protocol option requires --sourcetype network");
	if (mode && strcmp(mode, "readonly") != 0 && strcmp(mode, "shareable") != 0)
		return shell_error(sh, "No support for %s in command 'attach-disk'", mode);
	if (wwn && !is_wwn(wwn))
		return rpc_fail(&sh->error, VIR_ERR_INTERNAL_ERROR, "Malformed wwn: %s", wwn);
	return true;
}

bool cmd_attach_disk(struct shell *sh, const struct args *a)
{
	g_autofree char *xml = check_disk(sh, a) ? disk_xml(sh, a) : NULL;
	g_autoptr(GVariant) dom = NULL;
	int flags;

	if (!xml)
		return false;
	if (arg_on(a, "print-xml")) {
		say(sh, "%s", xml);
		return true;
	}
	dom = find_domain(sh, a, "domain");
	flags = dom ? device_flags(sh, a, dom) : -1;
	return flags >= 0 &&
	       finish(sh, attach(sh, a, dom, xml, flags), "Disk attached successfully", "Failed to attach disk", "");
}

/* ---- attach-interface ---- */

static bool add_rate(struct shell *sh, GString *out, const char *direction, const char *text)
{
	guint64 rates[N_RATES] = {};

	if (!text)
		return true;
	if (!take_rates(sh, text, rates) || !check_rates(sh, direction, rates, true))
		return false;
	g_string_append_printf(out, "    <%s", direction);
	for (unsigned i = 0; i < N_RATES; i++)
		if (rates[i])
			g_string_append_printf(out, " %s='%" G_GUINT64_FORMAT "'", rate_names[i], rates[i]);
	g_string_append(out, "/>\n");
	return true;
}

/* Said before anything else of it, so that whoever tries options finds out one after the other. */
static bool check_interface(struct shell *sh, const struct args *a)
{
	static const char *const types[] = { "network", "bridge", "direct", "hostdev", "vhostuser", NULL };
	const char *type = arg_text(a, "type"), *mode = arg_text(a, "source-mode");

	if (!flags_agree(sh, a))
		return false;
	if (word_of(type, types) < 0)
		return shell_error(sh, "No support for %s in command 'attach-interface'", type);
	return !mode || strcmp(mode, "client") == 0 || strcmp(mode, "server") == 0 ||
	       shell_error(sh, "Invalid source mode: %s", mode);
}

static bool add_interface_source(struct shell *sh, GString *out, const struct args *a)
{
	const char *type = arg_text(a, "type"), *source = arg_text(a, "source"), *mode = arg_text(a, "source-mode");
	unsigned v[4];
	char rest;

	if (strcmp(type, "network") == 0 || strcmp(type, "bridge") == 0) {
		g_string_append_printf(out, "  <source %s='", type);
		xml_add(out, "%s'/>\n", source);
	} else if (strcmp(type, "direct") == 0) {
		xml_add(out, "  <source dev='%s'/>\n", source);
	} else if (strcmp(type, "hostdev") == 0) {
		if (sscanf(source, "%x:%x:%x.%x%c", &v[0], &v[1], &v[2], &v[3], &rest) != 4)
			return shell_error(sh, "cannot parse pci address '%s' for network interface", source);
		g_string_append_printf(out,
				       "  <source>\n    <address type='pci' domain='0x%04x' bus='0x%02x' slot='0x%02x' "
				       "function='0x%01x'/>\n  </source>\n",
				       v[0], v[1], v[2], v[3]);
	} else {
		if (!mode)
			return shell_error(sh, "source-mode is mandatory");
		xml_add(out, "  <source type='unix' path='%s'", source);
		xml_add(out, " mode='%s'/>\n", mode);
	}
	return true;
}

static char *interface_xml(struct shell *sh, const struct args *a)
{
	g_autoptr(GString) out = g_string_new(NULL), rates = g_string_new(NULL);

	if (!add_rate(sh, rates, "inbound", arg_text(a, "inbound")) || !add_rate(sh, rates, "outbound", arg_text(a, "outbound")))
		return NULL;
	xml_add(out, "<interface type='%s'", arg_text(a, "type"));
	g_string_append(out, arg_on(a, "managed") ? " managed='yes'>\n" : ">\n");
	if (!add_interface_source(sh, out, a))
		return NULL;
	xml_add(out, "  <target dev='%s'/>\n", arg_text(a, "target"));
	xml_add(out, "  <mac address='%s'/>\n", arg_text(a, "mac"));
	xml_add(out, "  <script path='%s'/>\n", arg_text(a, "script"));
	xml_add(out, "  <model type='%s'/>\n", arg_text(a, "model"));
	xml_add(out, "  <alias name='%s'/>\n", arg_text(a, "alias"));
	if (rates->len)
		g_string_append_printf(out, "  <bandwidth>\n%s  </bandwidth>\n", rates->str);
	g_string_append(out, "</interface>\n");
	return g_string_free(g_steal_pointer(&out), FALSE);
}

bool cmd_attach_interface(struct shell *sh, const struct args *a)
{
	g_autofree char *xml = check_interface(sh, a) ? interface_xml(sh, a) : NULL;
	g_autoptr(GVariant) dom = NULL;
	int flags;

	if (!xml)
		return false;
	if (arg_on(a, "print-xml")) {
		say(sh, "%s", xml);
		return true;
	}
	dom = find_domain(sh, a, "domain");
	flags = dom ? device_flags(sh, a, dom) : -1;
	return flags >= 0 &&
	       finish(sh, attach(sh, a, dom, xml, flags), "Interface attached successfully", "Failed to attach interface", "");
}

/* ---- detach ---- */

static bool has_media(const struct node *disk)
{
	const char *device = node_attr(disk, "device");

	return device && (strcmp(device, "cdrom") == 0 || strcmp(device, "floppy") == 0);
}

static struct node *find_disk(struct shell *sh, const struct node *xml, const char *which, bool with_media)
{
	g_autoptr(GPtrArray) disks = node_all(xml, "devices/disk");
	static const char *const sources[] = { "file", "dev", "dir", "name" };

	for (unsigned i = 0; i < disks->len; i++) {
		struct node *disk = g_ptr_array_index(disks, i);
		bool is = g_strcmp0(node_get_attr(disk, "target", "dev"), which) == 0;

		if (with_media && !has_media(disk))
			continue;
		for (unsigned k = 0; k < G_N_ELEMENTS(sources); k++)
			is |= g_strcmp0(node_get_attr(disk, "source", sources[k]), which) == 0;
		if (is)
			return disk;
	}
	shell_error(sh, "No disk found whose source path or target is %s", which);
	return NULL;
}

/* Where the domain's description is to be taken from for a change with these flags. */
static struct node *xml_for(struct shell *sh, GVariant *dom, int flags)
{
	return domain_xml(sh, dom, flags & AFFECT_CONFIG && !(flags & AFFECT_LIVE) ? XML_INACTIVE : 0);
}

bool cmd_detach_disk(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = flags_agree(sh, a) ? find_domain(sh, a, "domain") : NULL;
	int flags = dom ? device_flags(sh, a, dom) : -1;
	g_autoptr(node) xml = flags >= 0 ? xml_for(sh, dom, flags) : NULL;
	struct node *disk = xml ? find_disk(sh, xml, arg_text(a, "target"), false) : NULL;
	g_autofree char *text = disk ? node_write(disk) : NULL;

	if (!text)
		return false;
	if (arg_on(a, "print-xml")) {
		say(sh, "%s", text);
		return true;
	}
	return finish(sh, detach(sh, a, dom, text, flags), "Disk detached successfully", "Failed to detach disk", "");
}

/* The one interface of a type, or the one of a MAC address. NULL: said. */
static struct node *find_interface(struct shell *sh, const struct node *xml, const char *type, const char *mac)
{
	g_autoptr(GPtrArray) list = node_all(xml, "devices/interface");
	unsigned n_type = 0, n_mac = 0;
	struct node *found = NULL;

	for (unsigned i = 0; i < list->len; i++) {
		struct node *n = g_ptr_array_index(list, i);
		const char *address = node_get_attr(n, "mac", "address");

		if (g_strcmp0(node_attr(n, "type"), type) != 0)
			continue;
		n_type++;
		if (mac && (!address || g_ascii_strcasecmp(address, mac) != 0))
			continue;
		n_mac++;
		found = n;
	}
	if (!n_type)
		shell_error(sh, "No interface found whose type is %s", type);
	else if (!mac && n_type > 1)
		shell_error(sh, "Domain has %u interfaces. Please specify which one to detach using --mac", n_type);
	else if (mac && !n_mac)
		shell_error(sh, "No interface with MAC address %s was found", mac);
	else if (mac && n_mac > 1)
		shell_error(sh,
			    "Domain has multiple interfaces matching MAC address %s. You must use detach-device and specify the "
			    "device pci "
			    "address to remove it.",
			    mac);
	else
		return found;
	return NULL;
}

bool cmd_detach_interface(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = flags_agree(sh, a) ? find_domain(sh, a, "domain") : NULL;
	int flags = dom ? device_flags(sh, a, dom) : -1;
	g_autoptr(node) xml = flags >= 0 ? xml_for(sh, dom, flags) : NULL;
	struct node *n = xml ? find_interface(sh, xml, arg_text(a, "type"), arg_text(a, "mac")) : NULL;
	g_autofree char *text = n ? node_write(n) : NULL;

	if (!text)
		return xml ? shell_error(sh, "Failed to detach interface") : false;
	if (arg_on(a, "print-xml")) {
		say(sh, "%s", text);
		return true;
	}
	return finish(sh, detach(sh, a, dom, text, flags), "Interface detached successfully", "Failed to detach interface", "");
}

/* ---- changes ---- */

bool cmd_domif_setlink(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	const char *which = arg_text(a, "interface"), *state = arg_text(a, "state");
	g_autoptr(node) xml = NULL;
	g_autoptr(GPtrArray) list = NULL;
	g_autofree char *text = NULL;
	struct node *found = NULL, *link;
	int active = 0, flags;

	if (!dom)
		return false;
	if (strcmp(state, "up") != 0 && strcmp(state, "down") != 0)
		return shell_error(sh, "invalid link state '%s'", state);
	active = domain_is_active(sh, dom);
	flags = arg_on(a, "config") || !active ? AFFECT_CONFIG : AFFECT_LIVE;
	xml = domain_xml(sh, dom, flags == AFFECT_CONFIG ? XML_INACTIVE : 0);
	list = node_all(xml, "devices/interface");
	for (unsigned i = 0; xml && i < list->len && !found; i++) {
		struct node *n = g_ptr_array_index(list, i);
		const char *mac = node_get_attr(n, "mac", "address");

		if (g_strcmp0(node_get_attr(n, "target", "dev"), which) == 0 || (mac && g_ascii_strcasecmp(mac, which) == 0))
			found = n;
	}
	if (!found)
		return xml ? shell_error(sh, "interface '%s' not found", which) : false;
	link = node_get(found, "link");
	node_set_attr(link ? link : node_add(found, "link"), "state", state);
	text = node_write(found);
	if (arg_on(a, "print-xml")) {
		say(sh, "%s", text);
		return true;
	}
	return finish(sh, tell(sh, "domain_update_device_flags", "(@" DOMAIN "su)", dom, text, flags),
		      "Device updated successfully", "Failed to update interface link state", "");
}

/* What is done with a drive's medium. */
enum media { MEDIA_EJECT, MEDIA_INSERT, MEDIA_UPDATE };

/* Changes the disk's source; false: said. */
static bool set_media(struct shell *sh, struct node *disk, enum media what, const char *source, bool force, bool is_block,
		      const char *path)
{
	struct node *old = node_get(disk, "source");

	if (what == MEDIA_EJECT && !old)
		return shell_error(sh, "The disk device '%s' doesn't have media", path);
	if (what == MEDIA_INSERT && !source)
		return shell_error(sh, "New disk media source was not specified");
	if (what == MEDIA_INSERT && old && !force)
		return shell_error(sh, "The disk device '%s' already has media", path);
	if (old)
		node_remove(disk, old);
	if (what == MEDIA_EJECT || !source)
		return true;
	is_block |= g_str_has_prefix(source, "/dev/");
	node_set_attr(disk, "type", is_block ? "block" : "file");
	node_set_attr(node_add_before(disk, "source", node_get(disk, "target")), is_block ? "dev" : "file", source);
	return true;
}

bool cmd_change_media(struct shell *sh, const struct args *a)
{
	static const char *const done[] = { "Successfully ejected media.", "Successfully inserted media.",
					    "Successfully updated media." };
	static const char *const words[] = { "eject", "insert", "update" };
	g_autoptr(GVariant) dom = NULL;
	const char *path = arg_text(a, "path"), *source = arg_text(a, "source");
	enum media what = arg_on(a, "eject") ? MEDIA_EJECT : arg_on(a, "insert") ? MEDIA_INSERT : MEDIA_UPDATE;
	g_autoptr(node) xml = NULL;
	g_autofree char *text = NULL;
	struct node *disk;
	int flags;

	if (args_exclude(sh, a, "eject", "insert") || args_exclude(sh, a, "eject", "update") ||
	    args_exclude(sh, a, "insert", "update") || args_exclude(sh, a, "eject", "block") || (flags = affect_of(sh, a)) < 0)
		return false;
	if (!(dom = find_domain(sh, a, "domain")) || !(xml = xml_for(sh, dom, flags)))
		return false;
	disk = find_disk(sh, xml, path, true);
	if (!disk || !set_media(sh, disk, what, source, arg_on(a, "force"), arg_on(a, "block"), path))
		return false;
	text = node_write(disk);
	if (arg_on(a, "print-xml")) {
		say(sh, "%s", text);
		return true;
	}
	if (!tell(sh, "domain_update_device_flags", "(@" DOMAIN "su)", dom, text, flags | (arg_on(a, "force") ? FORCE : 0)))
		return shell_error(sh, "Failed to complete action %s on media", words[what]);
	say(sh, "%s\n", done[what]);
	return true;
}
