/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Definitions of domains (domain-def.h): a tree with nothing beside it, since a daemon may hold a thousand of them. */
#include <string.h>

#include "complete.h"
#include "domain-def.h"
#include "domain-fields.h"
#include "message.h"
#include "model-schema.h"
#include "model-xml.h"

struct domain_def {
	xmlDoc *doc;
	bool test; /* DEF_TEST */
};

static struct completion completion_of(xmlDoc *doc, unsigned flags)
{
	xmlNode *root = xmlDocGetRootElement(doc);

	return (struct completion){ .root = root,
				    .devices = xml_child(root, "devices"),
				    .flags = flags,
				    .test = flags & DEF_TEST,
				    .micro = xml_is(root, "os/type/@machine", "micro") };
}

static bool check_os(const xmlNode *root, GError **error)
{
	const char *type = xml_text(root, "os/type");

	if (!xml_text(root, "@type"))
		return rpc_fail(error, VIR_ERR_XML_ERROR, "Missing required attribute 'type' in element 'domain'");
	if (!type || !*type)
		return rpc_fail(error, VIR_ERR_XML_ERROR, "an os <type> must be specified");
	return true;
}

static bool complete_all(struct completion *c, GError **error)
{
	return complete_devices(c, error) && complete_controllers(c, error) && complete_addresses(c, error) &&
	       complete_pci(c, error);
}

static bool complete(xmlDoc *doc, unsigned flags, GError **error)
{
	struct completion c = completion_of(doc, flags);

	if (!c.devices)
		c.devices = xml_add(c.root, "devices");
	if (xmlChildElementCount(c.devices) > DEVICES_MAX)
		return rpc_fail(error, VIR_ERR_XML_ERROR, "more than %d devices", DEVICES_MAX);
	if (!complete_domain(&c, error) || !complete_all(&c, error))
		return false;
	fields_sort(c.root, domain_fields);
	return true;
}

/* Programs that fill in forms leave them empty; libvirt takes that for nothing. */
static void drop_empty(xmlNode *root)
{
	static const char *const paths[] = { "uuid", "title", "description", "os/kernel", "os/initrd", "os/cmdline", "os/nvram" };

	for (unsigned i = 0; i < G_N_ELEMENTS(paths); i++) {
		const xmlNode *n = xml_child(root, paths[i]);

		if (n && !n->children && !n->properties)
			xml_set(root, paths[i], NULL);
	}
}

/*
 * What virt-install and virt-manager write for a system that they do not know: USB 2 with its companions. Our machine has an xHCI
 * in its place, which systems of the last ten years drive, as it has a VGA for a cirrus.
 */
static void replace_usb2(xmlNode *root)
{
	xmlNode *devices = xml_child(root, "devices"), *next;

	for (xmlNode *c = devices ? xml_nth(devices, "controller", 0) : NULL; c; c = next) {
		next = xml_next(c);
		if (!xml_is(c, "@type", "usb"))
			continue;
		if (xml_child(c, "master")) {
			xmlUnlinkNode(c);
			xmlFreeNode(c);
		} else if (xml_is(c, "@model", "ich9-ehci1")) {
			xml_set(c, "@model", "qemu-xhci");
			xml_default(c, "@ports", "15");
			xml_set(c, "address", NULL);
		}
	}
}

static bool uses(const xmlNode *node, const xmlNs *ns)
{
	if (node->type == XML_ELEMENT_NODE) {
		if (node->ns == ns)
			return true;
		for (const xmlAttr *a = node->properties; a; a = a->next)
			if (a->ns == ns)
				return true;
	}
	for (const xmlNode *c = node->type == XML_ELEMENT_NODE ? node->children : NULL; c; c = c->next)
		if (uses(c, ns))
			return true;
	return false;
}

static void drop_namespaces(xmlNode *root)
{
	for (xmlNs **at = &root->nsDef; *at;) {
		xmlNs *ns = *at;

		if (uses(root, ns)) {
			at = &ns->next;
			continue;
		}
		*at = ns->next;
		xmlFreeNs(ns);
	}
}

struct domain_def *domain_def_parse(const char *xml, gssize len, unsigned flags, GError **error)
{
	g_autoptr(xmlDoc) doc = model_xml_parse(xml, len, "domain", error);
	struct domain_def *def;
	xmlNode *root;

	if (!doc)
		return NULL;
	root = xmlDocGetRootElement(doc);
	if (flags & DEF_VALIDATE && !model_schema_validate(doc, "domain", error))
		return NULL;
	drop_empty(root);
	drop_namespaces(root);
	if (!(flags & DEF_TEST))
		replace_usb2(root);
	if (!check_os(root, error) || !fields_check(root, domain_fields, flags, error) || !complete(doc, flags, error))
		return NULL;
	def = g_new0(struct domain_def, 1);
	def->doc = g_steal_pointer(&doc);
	def->test = flags & DEF_TEST;
	return def;
}

struct domain_def *domain_def_copy(const struct domain_def *def)
{
	struct domain_def *copy = g_memdup2(def, sizeof(*def));

	copy->doc = xmlCopyDoc(def->doc, 1);
	return copy;
}

void domain_def_free(struct domain_def *def)
{
	if (!def)
		return;
	xmlFreeDoc(def->doc);
	g_free(def);
}

xmlNode *domain_def_root(const struct domain_def *def)
{
	return xmlDocGetRootElement(def->doc);
}

/* ---- out ---- */

/* Names that only what runs has: aliases that nobody chose, the terminal behind a console. */
static void strip_live(xmlNode *device)
{
	const char *alias = xml_text(device, "alias/@name"), *tap = xml_text(device, "target/@dev");

	if (alias && strncmp(alias, "ua-", 3))
		xml_set(device, "alias", NULL);
	if (xml_is(device, "@type", "pty"))
		xml_set(device, "source", NULL);
	if (xmlStrEqual(device->name, BAD_CAST "interface") && tap && g_str_has_prefix(tap, "vnet"))
		xml_set(device, "target", NULL);
	if (xmlStrEqual(device->name, BAD_CAST "graphics") && xml_is(device, "@autoport", "yes"))
		xml_set(device, "@port", "-1");
}

/* The tree loses what flags do not show. */
static char *format(xmlNode *root, unsigned flags)
{
	xmlNode *devices, *end = NULL;
	char *text;

	if (!xml_text(root, "@id"))
		flags |= FORMAT_INACTIVE;
	fields_strip(root, domain_fields, flags);
	devices = xml_child(root, "devices");
	if (flags & (FORMAT_INACTIVE | FORMAT_MIGRATABLE))
		for (xmlNode *d = devices->children; d; d = d->next)
			strip_live(d);
	/* Whoever runs it sets values where it likes. */
	fields_sort(root, domain_fields);
	/* libvirt writes its end even when there is nothing in it. */
	if (!devices->children)
		end = xmlAddChild(devices, xmlNewDocText(devices->doc, BAD_CAST "\n  "));
	text = model_xml_format(root);
	if (end) {
		xmlUnlinkNode(end);
		xmlFreeNode(end);
	}
	return text;
}

char *domain_def_format(const struct domain_def *def, unsigned flags)
{
	g_autoptr(xmlDoc) copy = xmlCopyDoc(def->doc, 1);

	return format(xmlDocGetRootElement(copy), flags);
}

char *domain_def_format_stored(struct domain_def *def)
{
	return format(domain_def_root(def), FORMAT_SECURE | FORMAT_INACTIVE);
}

/* ---- what is asked often ---- */

const char *domain_def_name(const struct domain_def *def)
{
	return xml_text(domain_def_root(def), "name");
}

const char *domain_def_uuid(const struct domain_def *def)
{
	return xml_text(domain_def_root(def), "uuid");
}

guint64 domain_def_memory(const struct domain_def *def)
{
	return number_or(domain_def_root(def), "memory", 0);
}

guint64 domain_def_current(const struct domain_def *def)
{
	return number_or(domain_def_root(def), "currentMemory", 0);
}

unsigned domain_def_vcpus(const struct domain_def *def, unsigned *ret_max)
{
	unsigned most = (unsigned)number_or(domain_def_root(def), "vcpu", 1);

	if (ret_max)
		*ret_max = most;
	return (unsigned)number_or(domain_def_root(def), "vcpu/@current", most);
}

void domain_def_set_text(struct domain_def *def, const char *path, const char *text)
{
	xml_set(domain_def_root(def), path, text);
	fields_sort(domain_def_root(def), domain_fields);
}

char **domain_def_hints(const struct domain_def *def)
{
	GPtrArray *hints = g_ptr_array_new();

	fields_hints(domain_def_root(def), domain_fields, hints);
	for (guint i = 0; i < hints->len; i++)
		for (guint k = hints->len; k-- > i + 1;)
			if (!strcmp(hints->pdata[i], hints->pdata[k]))
				g_free(g_ptr_array_remove_index(hints, k));
	g_ptr_array_add(hints, NULL);
	return (char **)g_ptr_array_free(hints, FALSE);
}

/* ---- devices ---- */

xmlNode *domain_def_device(const struct domain_def *def, const char *kind, unsigned n)
{
	return xml_nth(xml_child(domain_def_root(def), "devices"), kind, n);
}

static const struct field *device_rows(const xmlNode *device, unsigned flags, GError **error)
{
	g_autofree char *path = g_strdup_printf("devices/%s", (const char *)device->name);
	const struct field *row = fields_row(domain_fields, path);

	if (row && (!(row->flags & FIELD_NO) || flags & DEF_TEST))
		return row;
	rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, row ? "device <%s> is not supported" : "unknown device <%s>",
		 (const char *)device->name);
	return NULL;
}

/* Those of SCSI may come later: a driver brings one with the first disk that needs it. */
static unsigned count_controllers(const struct completion *c)
{
	unsigned n = 0;

	for (xmlNode *d = xml_nth(c->devices, "controller", 0); d; d = xml_next(d))
		n += !xml_is(d, "@type", "scsi");
	return n;
}

/* It is completed in a copy of the whole, since names, ports and addresses depend on what else is there. */
static xmlNode *complete_in_copy(const struct domain_def *def, const xmlNode *device, unsigned flags, GError **error)
{
	g_autoptr(xmlDoc) copy = xmlCopyDoc(def->doc, 1);
	struct completion c = completion_of(copy, flags);
	xmlNode *node = xmlDocCopyNode((xmlNode *)device, copy, 1);
	unsigned controllers = count_controllers(&c);

	c.fixed = flags & DEF_LIVE;
	xmlAddChild(c.devices, node);
	if (!complete_all(&c, error))
		return NULL;
	if (flags & DEF_LIVE && count_controllers(&c) > controllers &&
	    !xmlStrEqual(device->name, BAD_CAST "controller")) {
		rpc_fail(error, VIR_ERR_OPERATION_FAILED, "device <%s> needs a controller that the running domain has not",
			 (const char *)device->name);
		return NULL;
	}
	return xmlDocCopyNode(node, def->doc, 1);
}

xmlNode *domain_def_parse_device(struct domain_def *def, const char *xml, unsigned flags, GError **error)
{
	g_autoptr(xmlDoc) doc = model_xml_parse(xml, -1, NULL, error);
	const struct field *row;
	xmlNode *device;

	if (!doc)
		return NULL;
	device = xmlDocGetRootElement(doc);
	if (def->test)
		flags |= DEF_TEST;
	row = device_rows(device, flags, error);
	if (!row || (row->sub && !fields_check(device, row->sub, flags, error)))
		return NULL;
	device = flags & DEF_LOOSE ? xmlDocCopyNode(device, def->doc, 1) : complete_in_copy(def, device, flags, error);
	if (device && row->sub)
		fields_sort(device, row->sub);
	return device;
}

void domain_def_insert_device(struct domain_def *def, xmlNode *node)
{
	g_autoptr(GError) error = NULL;
	unsigned flags = (def->test ? DEF_TEST : 0) | (xml_text(domain_def_root(def), "@id") ? DEF_LIVE : 0);
	struct completion c = completion_of(def->doc, flags);

	xmlAddChild(c.devices, node);
	if (!complete_all(&c, &error))
		g_warning("a device that fitted does no longer: %s", error->message);
	fields_sort(domain_def_root(def), domain_fields);
}

/* By what a kind is known; each that like has must be the same. */
static const struct {
	const char *kind;
	const char *paths[3];
} identities[] = {
	{ "disk", { "target/@dev" } },
	{ "interface", { "mac/@address" } },
	{ "controller", { "@type", "@index" } },
	{ "input", { "@type", "@bus" } },
	{ "graphics", { "@type" } },
	{ "serial", { "target/@port" } },
	{ "console", { "target/@type", "target/@port" } },
	{ "channel", { "target/@name" } },
	{ "rng", { "@model", "backend/@model", "backend" } },
	{ "watchdog", { "@model" } },
	{ "memballoon", { "@model" } },
	{ "panic", { "@model" } },
};

static bool same(const xmlNode *d, const xmlNode *like, const char *path)
{
	const char *wanted = xml_text(like, path);

	return !wanted || xml_is(d, path, wanted);
}

static bool same_address(const xmlNode *d, const xmlNode *like)
{
	static const char *const paths[] = { "address/@type", "address/@bus",  "address/@slot",	 "address/@function",
					     "address/@controller", "address/@unit", "address/@port" };

	for (unsigned i = 0; i < G_N_ELEMENTS(paths); i++)
		if (!same(d, like, paths[i]))
			return false;
	return true;
}

static bool is_like(const xmlNode *d, const xmlNode *like)
{
	if (!same(d, like, "alias/@name") || !same_address(d, like))
		return false;
	for (unsigned i = 0; i < G_N_ELEMENTS(identities); i++) {
		if (strcmp(identities[i].kind, (const char *)like->name))
			continue;
		for (unsigned j = 0; j < G_N_ELEMENTS(identities[i].paths) && identities[i].paths[j]; j++)
			if (!same(d, like, identities[i].paths[j]))
				return false;
	}
	return true;
}

/* libvirt's words where scripts may look for them. */
static void missing(const xmlNode *like, GError **error)
{
	const char *target = xml_text(like, "target/@dev"), *mac = xml_text(like, "mac/@address");
	const char *kind = (const char *)like->name;

	if (target && !strcmp(kind, "disk"))
		rpc_fail(error, VIR_ERR_DEVICE_MISSING, "no target device %s", target);
	else if (mac)
		rpc_fail(error, VIR_ERR_DEVICE_MISSING, "no device found matching MAC address '%s'", mac);
	else
		rpc_fail(error, VIR_ERR_DEVICE_MISSING, "no matching %s device was found", kind);
}

xmlNode *domain_def_find_device(const struct domain_def *def, const xmlNode *like, GError **error)
{
	xmlNode *found = NULL;

	for (xmlNode *d = domain_def_device(def, (const char *)like->name, 0); d; d = xml_next(d)) {
		if (!is_like(d, like))
			continue;
		if (found) {
			rpc_fail(error, VIR_ERR_OPERATION_FAILED, "multiple devices <%s> match", (const char *)like->name);
			return NULL;
		}
		found = d;
	}
	if (!found)
		missing(like, error);
	return found;
}

static void take_over(const xmlNode *before, xmlNode *after, const char *path)
{
	const xmlNode *child;

	if (strchr(path, '@')) {
		if (!xml_text(after, path) && xml_text(before, path))
			xml_set(after, path, xml_text(before, path));
		return;
	}
	child = xml_child(before, path);
	if (child && !xml_child(after, path))
		xmlAddChild(after, xmlDocCopyNode((xmlNode *)child, after->doc, 1));
}

bool domain_def_complete_update(struct domain_def *def, const xmlNode *before, xmlNode *after, GError **error)
{
	static const char *const paths[] = { "alias",	     "address", "mac",	  "target", "model", "@type",
					     "target/@dev", "target/@bus", "@device", "driver" };
	unsigned flags = (def->test ? DEF_TEST : 0) | (xml_text(domain_def_root(def), "@id") ? DEF_LIVE : 0);
	struct completion c = completion_of(def->doc, flags);
	const struct field *row = device_rows(before, flags, error);

	for (unsigned i = 0; i < G_N_ELEMENTS(paths); i++)
		take_over(before, after, paths[i]);
	if (!row || (row->sub && !fields_check(after, row->sub, flags, error)) || !complete_device(&c, after, error))
		return false;
	if (row->sub)
		fields_sort(after, row->sub);
	return true;
}

void domain_def_remove_device(struct domain_def *def, xmlNode *node)
{
	bool serial = xmlStrEqual(node->name, BAD_CAST "serial"), first = node == domain_def_device(def, "serial", 0);
	xmlNode *console = domain_def_device(def, "console", 0);

	if (serial && first && xml_is(console, "target/@type", "serial") && !xml_next(node)) {
		xmlUnlinkNode(console);
		xmlFreeNode(console);
	}
	xmlUnlinkNode(node);
	xmlFreeNode(node);
}
