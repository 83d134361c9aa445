/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The smaller documents (objects.h): a row a kind, with its root, its fields and what is added to it. */
#include <gio/gio.h>
#include <string.h>

#include "domain-def.h"
#include "domain-fields.h"
#include "message.h"
#include "model-schema.h"
#include "object-fields.h"
#include "objects.h"

struct object {
	const char *root, *schema;
	const struct field *fields;
	bool (*complete)(xmlNode *root, unsigned flags, GError **error);
};

static void complete_uuid(xmlNode *root)
{
	g_autofree char *uuid = xml_text(root, "uuid") ? NULL : g_uuid_string_random();

	if (uuid)
		xml_set(root, "uuid", uuid);
}

static bool check_name(const xmlNode *root, GError **error)
{
	const char *name = xml_text(root, "name");

	if (!name || !*name)
		return rpc_fail(error, VIR_ERR_XML_ERROR, "missing name of <%s>", (const char *)root->name);
	if (strchr(name, '/'))
		return rpc_fail(error, VIR_ERR_XML_ERROR, "name %s cannot contain '/'", name);
	if (strchr(name, '\n') || strlen(name) > 200 || !strcmp(name, ".") || !strcmp(name, ".."))
		return rpc_fail(error, VIR_ERR_XML_ERROR,
				"name %s cannot contain a line break, or have more than 200 bytes", name);
	return true;
}

/* ---- each kind ---- */

static bool check_ip(const xmlNode *ip, GError **error)
{
	const char *family = xml_text(ip, "@family"), *address = xml_text(ip, "@address");
	g_autoptr(GInetAddress) parsed = address ? g_inet_address_new_from_string(address) : NULL;
	bool six = family && !strcmp(family, "ipv6");
	guint64 prefix;

	if (!address)
		return rpc_fail(error, VIR_ERR_XML_ERROR, "Missing address in network IP definition");
	if (!parsed || (g_inet_address_get_family(parsed) == G_SOCKET_FAMILY_IPV6) != six)
		return rpc_fail(error, VIR_ERR_XML_ERROR, "Invalid address '%s' in network IP definition", address);
	if (xml_number(ip, "@prefix", &prefix) && prefix > (six ? 128 : 32))
		return rpc_fail(error, VIR_ERR_XML_ERROR, "Invalid prefix '%s' in network IP definition",
				xml_text(ip, "@prefix"));
	return true;
}

static bool complete_network(xmlNode *root, unsigned flags, GError **error)
{
	const char *mode;

	if (!check_name(root, error))
		return false;
	complete_uuid(root);
	if (xml_child(root, "forward"))
		xml_default(root, "forward/@mode", "nat");
	mode = xml_text(root, "forward/@mode");
	if (!mode || !strcmp(mode, "nat") || !strcmp(mode, "route") || !strcmp(mode, "open")) {
		xml_default(root, "bridge/@stp", "on");
		xml_default(root, "bridge/@delay", "0");
	}
	for (const xmlNode *ip = xml_child(root, "ip"); ip; ip = xml_next(ip))
		if (!check_ip(ip, error))
			return false;
	return true;
}

/* "/a//b/" as "/a/b" */
static void clean_path(xmlNode *root, const char *path)
{
	const char *text = xml_text(root, path);
	g_autofree char *clean = NULL;

	if (!text || *text != '/')
		return;
	clean = g_canonicalize_filename(text, "/");
	xml_set(root, path, clean);
}

/* -1 is nobody in particular. */
static void drop_nobody(xmlNode *root)
{
	static const char *const paths[] = { "target/permissions/owner", "target/permissions/group" };

	for (unsigned i = 0; i < G_N_ELEMENTS(paths); i++)
		if (xml_is(root, paths[i], "-1"))
			xml_set(root, paths[i], NULL);
}

static bool complete_pool(xmlNode *root, unsigned flags, GError **error)
{
	static const char *const sizes[] = { "capacity", "allocation", "available" };

	if (!xml_text(root, "name") && xml_text(root, "source/name"))
		xml_set(root, "name", xml_text(root, "source/name"));
	if (!check_name(root, error))
		return false;
	complete_uuid(root);
	if (!xml_text(root, "target/path"))
		return rpc_fail(error, VIR_ERR_XML_ERROR, "missing storage pool target path");
	clean_path(root, "target/path");
	if (xml_is(root, "@type", "fs")) {
		if (!xml_text(root, "source/device/@path"))
			return rpc_fail(error, VIR_ERR_XML_ERROR, "missing storage pool source device name");
		xml_default(root, "source/format/@type", "auto");
	}
	drop_nobody(root);
	for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
		g_autofree char *unit = g_strdup_printf("%s/@unit", sizes[i]);

		xml_default(root, sizes[i], "0");
		xml_set(root, unit, "bytes");
	}
	if (!xml_child(root, "source"))
		xml_set(root, "source", "");
	return true;
}

/* What names make no file, their pool says. */
static bool complete_volume(xmlNode *root, unsigned flags, GError **error)
{
	const char *name = xml_text(root, "name");

	if (!name || !*name)
		return rpc_fail(error, VIR_ERR_XML_ERROR, "missing name of <%s>", (const char *)root->name);
	if (!xml_text(root, "capacity") && !xml_child(root, "backingStore"))
		return rpc_fail(error, VIR_ERR_XML_ERROR, "missing capacity element");
	if (!xml_text(root, "allocation") && xml_text(root, "capacity")) {
		xml_set(root, "allocation", xml_text(root, "capacity"));
		xml_set(root, "allocation/@unit", "bytes");
	}
	xml_default(root, "@type", "file");
	xml_default(root, "target/format/@type", "raw");
	drop_nobody(root);
	return true;
}

static bool complete_secret(xmlNode *root, unsigned flags, GError **error)
{
	static const struct {
		const char *type, *path;
	} usages[] = { { "volume", "usage/volume" },
		       { "ceph", "usage/name" },
		       { "iscsi", "usage/target" },
		       { "tls", "usage/name" },
		       { "vtpm", "usage/name" } };

	complete_uuid(root);
	xml_default(root, "@ephemeral", "no");
	xml_default(root, "@private", "no");
	for (unsigned i = 0; i < G_N_ELEMENTS(usages); i++)
		if (xml_is(root, "usage/@type", usages[i].type) && !xml_text(root, usages[i].path))
			return rpc_fail(error, VIR_ERR_XML_ERROR, "%s usage specified, but <%s> is missing", usages[i].type,
					strchr(usages[i].path, '/') + 1);
	return true;
}

static bool check_memory_file(const xmlNode *root, GError **error)
{
	const char *file = xml_text(root, "memory/@file");
	bool external = xml_is(root, "memory/@snapshot", "external");

	if (file && !external)
		return rpc_fail(error, VIR_ERR_XML_ERROR, "memory filename '%s' requires external snapshot", file);
	if (external && !file)
		return rpc_fail(error, VIR_ERR_XML_ERROR, "external memory snapshots require a filename");
	return !file || *file == '/' ||
	       rpc_fail(error, VIR_ERR_XML_ERROR, "memory snapshot file path (%s) must be absolute", file);
}

static bool complete_snapshot(xmlNode *root, unsigned flags, GError **error)
{
	const char *name = xml_text(root, "name");

	if (name && strchr(name, '/'))
		return rpc_fail(error, VIR_ERR_XML_DETAIL, "invalid snapshot name '%s': name can't contain '/'", name);
	if (name && *name && !check_name(root, error))
		return false;
	for (xmlNode *d = xml_child(root, "disks/disk"); d; d = xml_next(d)) {
		if (xml_child(d, "source")) {
			xml_default(d, "@snapshot", "external");
			xml_default(d, "@type", "file");
		}
		if (xml_is(d, "@snapshot", "internal") && xml_child(d, "source"))
			return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED,
					"file '%s' for disk '%s' requires use of external snapshot mode",
					xml_text(d, "source/@file") ? xml_text(d, "source/@file") : "", xml_text(d, "@name"));
	}
	if (xml_text(root, "memory/@file"))
		xml_default(root, "memory/@snapshot", "external");
	return check_memory_file(root, error);
}

static bool complete_checkpoint(xmlNode *root, unsigned flags, GError **error)
{
	return !xml_text(root, "name") || check_name(root, error);
}

static bool complete_interface(xmlNode *root, unsigned flags, GError **error)
{
	return xml_text(root, "@name") || rpc_fail(error, VIR_ERR_XML_ERROR, "interface has no name");
}

static bool complete_node_device(xmlNode *root, unsigned flags, GError **error)
{
	return check_name(root, error);
}

static const struct object objects[] = {
	[OBJECT_NETWORK] = { "network", "network", network_fields, complete_network },
	[OBJECT_POOL] = { "pool", "storagepool", pool_fields, complete_pool },
	[OBJECT_VOLUME] = { "volume", "storagevol", volume_fields, complete_volume },
	[OBJECT_SECRET] = { "secret", "secret", secret_fields, complete_secret },
	[OBJECT_SNAPSHOT] = { "domainsnapshot", "domainsnapshot", snapshot_fields, complete_snapshot },
	[OBJECT_CHECKPOINT] = { "domaincheckpoint", "domaincheckpoint", checkpoint_fields, complete_checkpoint },
	[OBJECT_INTERFACE] = { "interface", "interface", host_interface_fields, complete_interface },
	[OBJECT_NODE_DEVICE] = { "device", "nodedev", node_device_fields, complete_node_device },
};

/* ---- all of them ---- */

xmlDoc *object_parse(enum object_kind kind, const char *xml, gssize len, unsigned flags, GError **error)
{
	const struct object *o = &objects[kind];
	g_autoptr(xmlDoc) doc = model_xml_parse(xml, len, o->root, error);
	xmlNode *root;

	if (!doc)
		return NULL;
	root = xmlDocGetRootElement(doc);
	if (flags & DEF_VALIDATE && !model_schema_validate(doc, o->schema, error))
		return NULL;
	if (!fields_check(root, o->fields, flags, error) || !o->complete(root, flags, error))
		return NULL;
	fields_sort(root, o->fields);
	return g_steal_pointer(&doc);
}

/* What libvirt writes with an end of its own even when there is nothing in it. */
static void open_up(xmlNode *root)
{
	static const char *const names[] = { "ip", "source", "capability/firmware" };

	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		for (xmlNode *c = xml_child(root, names[i]); c; c = xml_next(c))
			if (!c->children)
				xmlAddChild(c, xmlNewDocText(c->doc, BAD_CAST(c->parent == root ? "\n  " : "\n    ")));
}

char *object_format(enum object_kind kind, const xmlDoc *doc, unsigned flags)
{
	g_autoptr(xmlDoc) copy = xmlCopyDoc((xmlDoc *)doc, 1);
	xmlNode *root = xmlDocGetRootElement(copy);

	fields_strip(root, objects[kind].fields, flags & FORMAT_SECURE);
	open_up(root);
	return model_xml_format(root);
}

void object_set_text(enum object_kind kind, xmlDoc *doc, const char *path, const char *text)
{
	xml_set(xmlDocGetRootElement(doc), path, text);
	fields_sort(xmlDocGetRootElement(doc), objects[kind].fields);
}

xmlNode *object_parse_part(enum object_kind kind, xmlDoc *doc, const char *path, const char *xml, GError **error)
{
	const char *name = strrchr(path, '/');
	g_autoptr(xmlDoc) part = model_xml_parse(xml, -1, name ? name + 1 : path, error);
	xmlNode *root;

	if (!part)
		return NULL;
	root = xmlDocGetRootElement(part);
	if (!fields_check_below(root, objects[kind].fields, path, 0, error))
		return NULL;
	return xmlDocCopyNode(root, doc, 1);
}
