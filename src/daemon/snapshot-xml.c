/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * <domainsnapshot>: what a client gives becomes a whole one, with all disks, the state and the definition in libvirt's order;
 * or is taken as it is, when a client puts back what it had (redefine).
 */
#include <string.h>

#include "domain.h"
#include "model-xml.h"
#include "snapshots.h"

/* Beside SNAPSHOT_…: disks that nobody speaks of get files of their own. */
enum { EXTERNAL_DISKS = 1 << 30 };

static void append(GString *out, const char *element, const char *text)
{
	g_autofree char *escaped = text ? g_markup_escape_text(text, -1) : NULL;

	if (text)
		g_string_append_printf(out, "<%s>%s</%s>", element, escaped, element);
}

static const char *state_name(const struct domain *d, unsigned flags)
{
	if (!domain_is_active(d))
		return "shutoff";
	return flags & SNAPSHOT_DISK_ONLY ? "disk-snapshot" : d->state == DOMAIN_PAUSED ? "paused" : "running";
}

/* What the client says of the disk, by target or source. */
static xmlNode *disk_asked(xmlNode *disks, const char *target, const char *source)
{
	xmlNode *disk;

	for (unsigned i = 0; disks && (disk = xml_nth(disks, "disk", i)); i++)
		if (xml_is(disk, "@name", target) || (source && xml_is(disk, "@name", source)))
			return disk;
	return NULL;
}

/* An external one without a file: beside the old one, named after the snapshot. */
static char *default_file(const char *source, const char *name)
{
	const char *base = strrchr(source, '/'), *dot = base ? strrchr(base, '.') : NULL;

	return g_strdup_printf("%.*s.%s", dot ? (int)(dot - source) : (int)strlen(source), source, name);
}

static bool append_external(GString *out, const char *target, xmlNode *asked, const char *source, const char *name,
			    GError **error)
{
	const char *file = asked ? xml_text(asked, "source/@file") : NULL,
		   *format = asked ? xml_text(asked, "driver/@type") : NULL;
	g_autofree char *made = file || !source ? NULL : default_file(source, name);
	g_autofree char *escaped = NULL;

	if (!file && !made)
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED,
				"cannot generate external snapshot name for disk '%s' without source", target);
	if (made && g_strcmp0(made, source) == 0)
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED,
				"cannot generate external snapshot name for disk '%s': collision "
				"with its own",
				target);
	escaped = g_markup_escape_text(file ? file : made, -1);
	g_string_append_printf(
		out, "<disk name='%s' snapshot='external' type='file'><driver type='%s'/><source file='%s'/></disk>",
		target, format ? format : "qcow2", escaped);
	return true;
}

static bool append_disk(GString *out, xmlNode *disk, xmlNode *disks, const char *name, unsigned flags, GError **error)
{
	const char *target = xml_text(disk, "target/@dev"), *source = xml_text(disk, "source/@file"), *kind;
	xmlNode *asked;

	if (!source)
		source = xml_text(disk, "source/@dev");
	asked = disk_asked(disks, target, source);
	kind = asked ? xml_text(asked, "@snapshot") : NULL;
	if (!kind && asked && xml_child(asked, "source"))
		kind = "external";
	if (!kind)
		kind = xml_text(disk, "@snapshot");
	if (!kind)
		kind = !source || xml_child(disk, "readonly") || xml_is(disk, "@device", "cdrom") ? "no"
		       : flags & EXTERNAL_DISKS ? "external"
						: "internal";
	if (asked && xml_text(asked, "@snapshot") && !xml_is(asked, "@snapshot", "internal") && !(flags & EXTERNAL_DISKS))
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "disk '%s' must use snapshot mode 'internal'", target);
	if (strcmp(kind, "external") == 0)
		return append_external(out, target, asked, source, name, error);
	if (strcmp(kind, "internal") != 0 && strcmp(kind, "no") != 0)
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "unknown disk snapshot setting '%s'", kind);
	g_string_append_printf(out, "<disk name='%s' snapshot='%s'/>", target, kind);
	return true;
}

static bool append_disks(GString *out, const struct domain_def *def, xmlNode *asked, const char *name, unsigned flags,
			 GError **error)
{
	xmlNode *disk;

	for (unsigned i = 0; asked && (disk = xml_nth(asked, "disk", i)); i++) {
		const char *want = xml_text(disk, "@name");
		bool there = false;
		xmlNode *own;

		if (!want)
			return rpc_fail(error, VIR_ERR_XML_ERROR, "missing name from disk snapshot element");
		for (unsigned j = 0; (own = domain_def_device(def, "disk", j)); j++)
			there |= xml_is(own, "target/@dev", want) || xml_is(own, "source/@file", want);
		if (!there)
			return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "no disk named '%s'", want);
	}
	g_string_append(out, "<disks>");
	for (unsigned i = 0; (disk = domain_def_device(def, "disk", i)); i++)
		if (!append_disk(out, disk, asked, name, flags, error))
			return false;
	g_string_append(out, "</disks>");
	return true;
}

static bool append_memory(GString *out, const struct domain *d, xmlNode *asked, unsigned flags, GError **error)
{
	const char *kind = asked ? xml_text(asked, "@snapshot") : NULL, *file = asked ? xml_text(asked, "@file") : NULL;
	g_autofree char *escaped = file ? g_markup_escape_text(file, -1) : NULL;
	bool off = !domain_is_active(d) || flags & SNAPSHOT_DISK_ONLY;

	if (off && (file || (kind && strcmp(kind, "no"))))
		return rpc_fail(error, VIR_ERR_XML_ERROR,
				"memory state cannot be saved with offline or disk-only snapshot");
	if (off)
		g_string_append(out, "<memory snapshot='no'/>");
	else if (file)
		g_string_append_printf(out, "<memory snapshot='external' file='%s'/>", escaped);
	else
		g_string_append_printf(out, "<memory snapshot='%s'/>", kind && strcmp(kind, "no") == 0 ? "no" : "internal");
	return true;
}

/* What is stored of a running domain is another definition than what runs. */
static bool append_inactive(struct domain *d, xmlDoc *doc, GError **error)
{
	struct domain_def *def = domain_stored_def(d, error);
	g_autofree char *xml = def ? domain_def_format(def, FORMAT_SECURE | FORMAT_INACTIVE) : NULL;
	g_autoptr(xmlDoc) inner = xml ? model_xml_parse(xml, -1, "domain", error) : NULL;
	xmlNode *node = inner ? xmlDocCopyNode(xmlDocGetRootElement(inner), doc, 1) : NULL;

	if (!node)
		return false;
	xmlNodeSetName(node, BAD_CAST "inactiveDomain");
	xmlAddChild(xmlDocGetRootElement(doc), node);
	return true;
}

bool snapshot_check_name(const char *name, unsigned flags, GError **error)
{
	if (strchr(name, '/'))
		return rpc_fail(error, VIR_ERR_XML_DETAIL, "invalid snapshot name '%s': name can't contain '/'", name);
	return *name != '.' || flags & SNAPSHOT_NO_METADATA ||
	       rpc_fail(error, VIR_ERR_XML_DETAIL, "invalid snapshot name '%s': name can't start with '.'", name);
}

xmlDoc *snapshot_complete(struct domain *d, xmlDoc *asked, unsigned flags, GError **error)
{
	xmlNode *root = xmlDocGetRootElement(asked);
	struct domain_def *def = domain_current_def(d, error);
	g_autofree char *now = g_strdup_printf("%" G_GINT64_FORMAT, g_get_real_time() / G_USEC_PER_SEC), *xml = NULL;
	const char *name = xml_text(root, "name");
	struct snapshot *parent = snapshots_current(d->snapshots);
	g_autoptr(GString) out = g_string_new("<domainsnapshot>");
	g_autoptr(xmlDoc) doc = NULL;

	if (flags & SNAPSHOT_DISK_ONLY || xml_text(root, "memory/@file"))
		flags |= EXTERNAL_DISKS;
	if (!def)
		return NULL;
	if (!name || !*name)
		name = now;
	if (!snapshot_check_name(name, flags, error))
		return NULL;
	append(out, "name", name);
	append(out, "description", xml_text(root, "description"));
	append(out, "state", state_name(d, flags));
	if (parent) {
		g_string_append(out, "<parent>");
		append(out, "name", parent->name);
		g_string_append(out, "</parent>");
	}
	append(out, "creationTime", now);
	if (!append_memory(out, d, xml_child(root, "memory"), flags, error) ||
	    !append_disks(out, def, xml_child(root, "disks"), name, flags, error))
		return NULL;
	xml = domain_def_format(def, FORMAT_SECURE | FORMAT_INACTIVE);
	g_string_append(out, xml);
	g_string_append(out, "</domainsnapshot>");
	doc = model_xml_parse(out->str, out->len, "domainsnapshot", error);
	if (!doc || (d->hv->driver->stored && d->persistent && domain_is_active(d) && !append_inactive(d, doc, error)))
		return NULL;
	return g_steal_pointer(&doc);
}

bool snapshot_is_external(const xmlDoc *doc)
{
	xmlNode *root = xmlDocGetRootElement((xmlDoc *)doc), *disks = xml_child(root, "disks"), *disk;

	if (xml_is(root, "memory/@snapshot", "external"))
		return true;
	for (unsigned i = 0; disks && (disk = xml_nth(disks, "disk", i)); i++)
		if (xml_is(disk, "@snapshot", "external"))
			return true;
	return false;
}

struct domain_def *snapshot_def(const struct hv *hv, const xmlDoc *doc, GError **error)
{
	xmlNode *domain = xml_child(xmlDocGetRootElement((xmlDoc *)doc), "domain");
	g_autofree char *xml = domain ? model_xml_format(domain) : NULL;

	if (xml)
		return domain_def_parse(xml, -1, hv->driver->def_flags, error);
	rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "the snapshot has no definition of the domain");
	return NULL;
}

/* Without passwords. */
static bool cover(const struct hv *hv, xmlNode *domain, GError **error)
{
	g_autofree char *name = g_strdup((const char *)domain->name), *xml = NULL, *covered = NULL;
	g_autoptr(DomainDef) def = NULL;
	g_autoptr(xmlDoc) inner = NULL;
	xmlNode *other;

	xmlNodeSetName(domain, BAD_CAST "domain");
	xml = model_xml_format(domain);
	def = domain_def_parse(xml, -1, hv->driver->def_flags, error);
	covered = def ? domain_def_format(def, FORMAT_INACTIVE) : NULL;
	inner = covered ? model_xml_parse(covered, -1, "domain", error) : NULL;
	if (!inner)
		return false;
	other = xmlDocCopyNode(xmlDocGetRootElement(inner), domain->doc, 1);
	xmlNodeSetName(other, BAD_CAST name);
	xmlReplaceNode(domain, other);
	xmlFreeNode(domain);
	return true;
}

char *snapshot_text(const struct hv *hv, const struct snapshot *snapshot, bool secure, GError **error)
{
	static const char *const names[] = { "domain", "inactiveDomain" };
	g_autoptr(xmlDoc) copy = xmlCopyDoc(snapshot->doc, 1);
	xmlNode *root = xmlDocGetRootElement(copy);

	for (unsigned i = 0; !secure && i < G_N_ELEMENTS(names); i++)
		if (xml_child(root, names[i]) && !cover(hv, xml_child(root, names[i]), error))
			return NULL;
	return model_xml_format(root);
}
