/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls about snapshots: the tree and its rules; what machine and disks do is the driver's. */
#include <string.h>

#include "domain.h"
#include "model-xml.h"
#include "objects.h"
#include "snapshots.h"

enum {
	LIST_ROOTS = 1 << 0, /* of a snapshot's children: all below it */
	LIST_METADATA = 1 << 1,
	LIST_LEAVES = 1 << 2,
	LIST_NO_LEAVES = 1 << 3,
	LIST_NO_METADATA = 1 << 4,
	LIST_INACTIVE = 1 << 5,
	LIST_ACTIVE = 1 << 6,
	LIST_DISK_ONLY = 1 << 7,
	LIST_INTERNAL = 1 << 8,
	LIST_EXTERNAL = 1 << 9,
	LIST_TOPOLOGICAL = 1 << 10,
	LIST_ALL = (1 << 11) - 1,
};
enum { REVERT_RUNNING = 1, REVERT_PAUSED = 2, REVERT_FORCE = 4, REVERT_RESET_NVRAM = 8 };
enum { XML_SECURE = 1 };

static GVariant *handle(struct domain *d, const struct snapshot *s)
{
	return g_variant_new("(s@(sayi))", s->name, domain_handle(d));
}

/* ---- lists ---- */

static bool fits(const struct snapshot *s, unsigned flags)
{
	static const unsigned groups[] = { LIST_METADATA | LIST_NO_METADATA, LIST_LEAVES | LIST_NO_LEAVES,
					   LIST_INACTIVE | LIST_ACTIVE | LIST_DISK_ONLY, LIST_INTERNAL | LIST_EXTERNAL };
	const char *state = xml_text(xmlDocGetRootElement(s->doc), "state");
	unsigned t = LIST_METADATA;

	t |= s->n_children ? LIST_NO_LEAVES : LIST_LEAVES;
	t |= g_strcmp0(state, "disk-snapshot") == 0 ? LIST_DISK_ONLY :
	     g_strcmp0(state, "shutoff") == 0	    ? LIST_INACTIVE :
						      LIST_ACTIVE;
	t |= snapshot_is_external(s->doc) ? LIST_EXTERNAL : LIST_INTERNAL;
	for (unsigned i = 0; i < G_N_ELEMENTS(groups); i++)
		if (flags & groups[i] && !(flags & groups[i] & t))
			return false;
	return true;
}

/* from: NULL, of the domain. By age, which is parents before children but for what was redefined. */
static GPtrArray *collect(struct domain *d, const struct snapshot *from, unsigned flags)
{
	GPtrArray *list = g_ptr_array_new();
	struct snapshot *s;

	for (unsigned i = 0; (s = snapshots_nth(d->snapshots, i)); i++) {
		bool in = from ? (flags & LIST_ROOTS ? snapshot_is_below(s, from) : s->parent == from) :
				 !(flags & LIST_ROOTS) || !s->parent;

		if (in && fits(s, flags))
			g_ptr_array_add(list, s);
	}
	return list;
}

/* The domain of a snapshot's handle, and the snapshot. */
static struct domain *find(struct call *call, GVariant *args, struct snapshot **ret, GError **error)
{
	g_autoptr(GVariant) snap = g_variant_get_child_value(args, 0), dom = g_variant_get_child_value(snap, 1);
	struct domain *d = domain_of_handle(call->hv, dom, error);
	const char *name;

	if (!d)
		return NULL;
	g_variant_get_child(snap, 0, "&s", &name);
	*ret = snapshots_find(d->snapshots, name);
	if (*ret)
		return d;
	rpc_fail(error, VIR_ERR_NO_DOMAIN_SNAPSHOT, "no domain snapshot with matching name '%s'", name);
	domain_unref(d);
	return NULL;
}

/* The calls that list: of a domain or below a snapshot; a number, names or handles. */
static bool list(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	unsigned number = call->proc->number, last = g_variant_n_children(args) - 1;
	bool below = number == RPC_DOMAIN_SNAPSHOT_NUM_CHILDREN || number == RPC_DOMAIN_SNAPSHOT_LIST_CHILDREN_NAMES ||
		     number == RPC_DOMAIN_SNAPSHOT_LIST_ALL_CHILDREN;
	bool all = number == RPC_DOMAIN_LIST_ALL_SNAPSHOTS || number == RPC_DOMAIN_SNAPSHOT_LIST_ALL_CHILDREN;
	struct snapshot *from = NULL;
	g_autoptr(Domain) d = below ? find(call, args, &from, error) : domain_of_args(call, args, error);
	g_autoptr(GPtrArray) found = NULL;
	GVariantBuilder out;
	gint32 room = G_MAXINT32;
	guint32 flags;

	g_variant_get_child(args, last, "u", &flags);
	if (last == 2)
		g_variant_get_child(args, 1, "i", &room);
	if (!d || !call_check_flags(call, flags, LIST_ALL, error))
		return false;
	found = collect(d, from, flags);
	if (last == 1) {
		*ret = g_variant_new("(i)", found->len);
		return true;
	}
	g_variant_builder_init(&out, all ? G_VARIANT_TYPE("a(s(sayi))") : G_VARIANT_TYPE("as"));
	for (unsigned i = 0; i < found->len && (all ? room != 0 : (gint32)i < room); i++) {
		const struct snapshot *s = found->pdata[i];

		g_variant_builder_add_value(&out, all ? handle(d, s) : g_variant_new_string(s->name));
	}
	*ret = all ? g_variant_new("(a(s(sayi))i)", &out, found->len) : g_variant_new("(as)", &out);
	return true;
}

/* ---- one ---- */

static bool by_name(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	const struct snapshot *s;
	const char *name;

	if (!d)
		return false;
	g_variant_get_child(args, 1, "&s", &name);
	s = snapshots_find(d->snapshots, name);
	if (!s)
		return rpc_fail(error, VIR_ERR_NO_DOMAIN_SNAPSHOT, "no domain snapshot with matching name '%s'", name);
	*ret = g_variant_new("(@(s(sayi)))", handle(d, s));
	return true;
}

static bool has_current(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);

	if (!d)
		return false;
	*ret = g_variant_new("(i)", snapshots_current(d->snapshots) != NULL);
	return true;
}

static bool current(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);

	if (!d)
		return false;
	if (!snapshots_current(d->snapshots))
		return rpc_fail(error, VIR_ERR_NO_DOMAIN_SNAPSHOT, "the domain does not have a current snapshot");
	*ret = g_variant_new("(@(s(sayi)))", handle(d, snapshots_current(d->snapshots)));
	return true;
}

static bool get_parent(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct snapshot *s;
	g_autoptr(Domain) d = find(call, args, &s, error);

	if (!d)
		return false;
	if (!s->parent)
		return rpc_fail(error, VIR_ERR_NO_DOMAIN_SNAPSHOT, "snapshot '%s' does not have a parent", s->name);
	*ret = g_variant_new("(@(s(sayi)))", handle(d, s->parent));
	return true;
}

static bool is_current(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct snapshot *s;
	g_autoptr(Domain) d = find(call, args, &s, error);

	if (!d)
		return false;
	*ret = g_variant_new("(i)", snapshots_current(d->snapshots) == s);
	return true;
}

static bool has_metadata(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct snapshot *s;
	g_autoptr(Domain) d = find(call, args, &s, error);

	if (!d)
		return false;
	*ret = g_variant_new("(i)", 1);
	return true;
}

static bool get_xml(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct snapshot *s;
	g_autoptr(Domain) d = find(call, args, &s, error);
	g_autofree char *xml = NULL;
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	if (!d || !call_check_flags(call, flags, XML_SECURE, error))
		return false;
	if (call->read_only && flags & XML_SECURE)
		return rpc_fail(error, VIR_ERR_OPERATION_DENIED, "virDomainSnapshotGetXMLDesc with secure flag");
	xml = snapshot_text(d->hv, s, flags & XML_SECURE, error);
	if (!xml)
		return false;
	*ret = g_variant_new("(s)", xml);
	return true;
}

/* ---- changes ---- */

static bool store(struct domain *d, GError **error)
{
	return !d->hv->driver->store_snapshots || d->hv->driver->store_snapshots(d, error);
}

static bool is_disk_only(const xmlNode *root)
{
	return xml_is(root, "state", "disk-snapshot");
}

/* A disk-only one is neither. */
static bool is_online(const xmlNode *root)
{
	return xml_is(root, "state", "running") || xml_is(root, "state", "paused");
}

static bool check_redefined(const struct domain *d, const xmlNode *root, const struct snapshot *old, unsigned flags,
			    GError **error)
{
	const char *name = xml_text(root, "name"), *uuid = xml_text(root, "domain/uuid");
	const xmlNode *before = old ? xmlDocGetRootElement(old->doc) : NULL;

	if (flags & SNAPSHOT_DISK_ONLY && !is_disk_only(root))
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "disk-only flag for snapshot %s requires disk-snapshot state", name);
	if (uuid && strcmp(uuid, d->uuid_text))
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "definition for snapshot %s must use uuid %s", name, d->uuid_text);
	if (before && is_disk_only(before) != is_disk_only(root))
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "cannot change between disk only and full system in snapshot %s",
				name);
	if (before && is_online(before) != is_online(root))
		return rpc_fail(error, VIR_ERR_INVALID_ARG,
				"cannot change between online and offline snapshot state in snapshot %s", name);
	return true;
}

/* What a redefinition leaves out of the definitions is what they were. */
static void keep_definitions(xmlNode *root, const struct snapshot *old)
{
	static const char *const names[] = { "domain", "inactiveDomain" };

	for (unsigned i = 0; old && i < G_N_ELEMENTS(names); i++) {
		xmlNode *before = xml_child(xmlDocGetRootElement(old->doc), names[i]);

		if (before && !xml_child(root, names[i]))
			xmlAddChild(root, xmlDocCopyNode(before, root->doc, 1));
	}
}

static struct snapshot *fail_redefine(GError **error, int code, const char *format, ...) G_GNUC_PRINTF(3, 4);
static struct snapshot *fail_redefine(GError **error, int code, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list ap;

	va_start(ap, format);
	text = g_strdup_vprintf(format, ap);
	va_end(ap);
	rpc_fail(error, code, "%s", text);
	return NULL;
}

/* The tree is the new one when it is stored. Takes doc. */
static struct snapshot *put(struct domain *d, const char *name, xmlDoc *doc, struct snapshot *parent, unsigned flags,
			    GError **error)
{
	struct snapshot *s = snapshots_find(d->snapshots, name), *above = s ? s->parent : NULL;
	struct snapshot *current = snapshots_current(d->snapshots);
	g_autoptr(xmlDoc) old = s ? xmlCopyDoc(s->doc, 1) : NULL;

	if (s)
		snapshots_replace(s, doc, parent);
	else
		s = snapshots_add(d->snapshots, name, doc, parent);
	if (flags & SNAPSHOT_CURRENT)
		snapshots_set_current(d->snapshots, s);
	if (store(d, error))
		return s;
	if (old)
		snapshots_replace(s, g_steal_pointer(&old), above);
	else
		snapshots_remove(s);
	snapshots_set_current(d->snapshots, current);
	return NULL;
}

/* What a client had from us comes back: nothing happens to the machine. */
static struct snapshot *redefine(struct domain *d, xmlDoc **doc, unsigned flags, GError **error)
{
	xmlNode *root = xmlDocGetRootElement(*doc);
	const char *name = xml_text(root, "name"), *above = xml_text(root, "parent/name");
	struct snapshot *parent = above ? snapshots_find(d->snapshots, above) : NULL, *s;

	if (!name)
		return fail_redefine(error, VIR_ERR_XML_ERROR, "a redefined snapshot must have a name");
	if (!snapshot_check_name(name, flags, error))
		return NULL;
	if (!xml_text(root, "creationTime"))
		return fail_redefine(error, VIR_ERR_INTERNAL_ERROR, "missing creationTime from existing snapshot");
	if (!xml_text(root, "state"))
		return fail_redefine(error, VIR_ERR_XML_ERROR, "missing state from existing snapshot");
	if (above && strcmp(above, name) == 0)
		return fail_redefine(error, VIR_ERR_INVALID_ARG, "cannot set moment %s as its own parent", name);
	if (above && !parent)
		return fail_redefine(error, VIR_ERR_INVALID_ARG, "parent %s for moment %s not found", above, name);
	s = snapshots_find(d->snapshots, name);
	if (s && parent && (parent == s || snapshot_is_below(parent, s)))
		return fail_redefine(error, VIR_ERR_INVALID_ARG, "parent %s would create cycle to %s", above, name);
	if (!check_redefined(d, root, s, flags, error))
		return NULL;
	keep_definitions(root, s);
	if (!xml_child(root, "domain"))
		return fail_redefine(error, VIR_ERR_INTERNAL_ERROR, "missing domain in snapshot");
	return put(d, name, g_steal_pointer(doc), parent, flags, error);
}

static struct snapshot *create(struct call *call, struct domain *d, xmlDoc *asked, unsigned flags, GError **error)
{
	g_autoptr(xmlDoc) doc = NULL;
	struct snapshot *s;
	const char *name;

	if (!d->hv->driver->snapshot_create) {
		handler_unsupported(call, NULL, NULL, error);
		return NULL;
	}
	doc = snapshot_complete(d, asked, flags, error);
	if (!doc)
		return NULL;
	name = xml_text(xmlDocGetRootElement(doc), "name");
	if (snapshots_find(d->snapshots, name)) {
		rpc_fail(error, VIR_ERR_OPERATION_FAILED, "domain moment %s already exists", name);
		return NULL;
	}
	if (!d->hv->driver->snapshot_create(d, doc, flags, error))
		return NULL;
	s = snapshots_add(d->snapshots, name, g_steal_pointer(&doc), snapshots_current(d->snapshots));
	if (!(flags & SNAPSHOT_NO_METADATA))
		snapshots_set_current(d->snapshots, s);
	return s;
}

/* libvirt's, of flags that go together. */
static bool check_create_flags(const struct domain *d, guint32 flags, GError **error)
{
	static const struct {
		unsigned one, other;
		bool needs; /* the other; else they exclude each other */
		const char *names[2];
	} rows[] = {
		{ SNAPSHOT_CURRENT, SNAPSHOT_REDEFINE, true, { "CURRENT", "REDEFINE" } },
		{ SNAPSHOT_QUIESCE, SNAPSHOT_DISK_ONLY, true, { "QUIESCE", "DISK_ONLY" } },
		{ SNAPSHOT_LIVE, SNAPSHOT_REDEFINE, false, { "LIVE", "REDEFINE" } },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		if (!(flags & rows[i].one) || !!(flags & rows[i].other) == rows[i].needs)
			continue;
		if (rows[i].needs)
			g_set_error(error, RPC_ERRORS, VIR_ERR_INVALID_ARG,
				    "Flag 'VIR_DOMAIN_SNAPSHOT_CREATE_%s' is required by flag 'VIR_DOMAIN_SNAPSHOT_CREATE_%s'",
				    rows[i].names[1], rows[i].names[0]);
		else
			g_set_error(error, RPC_ERRORS, VIR_ERR_INVALID_ARG,
				    "Flags 'VIR_DOMAIN_SNAPSHOT_CREATE_%s' and 'VIR_DOMAIN_SNAPSHOT_CREATE_%s' are mutually "
				    "exclusive",
				    rows[i].names[0], rows[i].names[1]);
		return false;
	}
	return d->persistent || !(flags & SNAPSHOT_HALT) ||
	       rpc_fail(error, VIR_ERR_OPERATION_INVALID, "cannot halt after transient domain snapshot");
}

static bool create_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(xmlDoc) asked = NULL;
	struct snapshot *s;
	const char *xml;
	guint32 flags;

	g_variant_get_child(args, 1, "&s", &xml);
	g_variant_get_child(args, 2, "u", &flags);
	if (!call_check_flags(call, flags, d->hv->driver->snapshot_flags, error))
		return false;
	if (!check_create_flags(d, flags, error))
		return false;
	asked = object_parse(OBJECT_SNAPSHOT, xml, -1,
			     d->hv->driver->def_flags | (flags & SNAPSHOT_REDEFINE ? DEF_LIVE : 0) |
				     (flags & SNAPSHOT_VALIDATE ? DEF_VALIDATE : 0),
			     error);
	if (!asked)
		return false;
	s = flags & SNAPSHOT_REDEFINE ? redefine(d, &asked, flags, error) : create(call, d, asked, flags, error);
	if (!s)
		return false;
	*ret = g_variant_new("(@(s(sayi)))", handle(d, s));
	if (flags & SNAPSHOT_NO_METADATA)
		snapshots_remove(s);
	return store(d, error);
}

static bool create_xml(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_LONG, false, create_func);
}

/* With the domain's job; the snapshot is looked for when its turn has come. */
static bool with_snapshot(struct call *call, GVariant *args, GError **error, enum domain_job job,
			  bool (*func)(struct call *call, struct domain *d, struct snapshot *s, guint32 flags, GError **error))
{
	struct snapshot *s;
	g_autoptr(Domain) d = find(call, args, &s, error);
	struct domain *again;
	guint32 flags;
	bool ok;

	g_variant_get_child(args, 1, "u", &flags);
	if (!d || !domain_job_begin(d, job, error))
		return false;
	again = find(call, args, &s, error);
	ok = again && func(call, again, s, flags, error);
	if (again)
		domain_unref(again);
	ok = ok && store(d, error);
	domain_job_end(d, job);
	return ok;
}

static bool revert_func(struct call *call, struct domain *d, struct snapshot *s, guint32 flags, GError **error)
{
	if (!call_check_flags(call, flags, REVERT_RUNNING | REVERT_PAUSED | REVERT_FORCE | REVERT_RESET_NVRAM, error))
		return false;
	if (flags & REVERT_RUNNING && flags & REVERT_PAUSED)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "running and paused flags are mutually exclusive");
	if (!d->hv->driver->snapshot_revert)
		return handler_unsupported(call, NULL, NULL, error);
	if (!d->hv->driver->snapshot_revert(d, s->doc, flags, error))
		return false;
	snapshots_set_current(d->snapshots, s);
	return true;
}

static bool revert(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return with_snapshot(call, args, error, JOB_LONG, revert_func);
}

static bool delete_one(struct domain *d, struct snapshot *s, guint32 flags, GError **error)
{
	struct snapshot *parent = s->parent;
	bool was_current = snapshots_current(d->snapshots) == s;

	if (!(flags & SNAPSHOT_DELETE_METADATA_ONLY) && d->hv->driver->snapshot_delete &&
	    !d->hv->driver->snapshot_delete(d, s->doc, flags, error))
		return false;
	snapshots_remove(s);
	if (was_current)
		snapshots_set_current(d->snapshots, parent);
	return store(d, error);
}

/* A child goes before its parent; of several the youngest. */
static struct snapshot *last_below(struct domain *d, const struct snapshot *s)
{
	g_autoptr(GPtrArray) below = collect(d, s, LIST_ROOTS);

	for (unsigned i = below->len; i-- > 0;) {
		struct snapshot *child = below->pdata[i];

		if (!child->n_children)
			return child;
	}
	return NULL;
}

static bool delete_func(struct call *call, struct domain *d, struct snapshot *s, guint32 flags, GError **error)
{
	if (!call_check_flags(call, flags,
			      SNAPSHOT_DELETE_CHILDREN | SNAPSHOT_DELETE_METADATA_ONLY | SNAPSHOT_DELETE_CHILDREN_ONLY, error))
		return false;
	if (flags & (SNAPSHOT_DELETE_CHILDREN | SNAPSHOT_DELETE_CHILDREN_ONLY))
		for (struct snapshot *child; (child = last_below(d, s));)
			if (!delete_one(d, child, flags, error))
				return false;
	return flags & SNAPSHOT_DELETE_CHILDREN_ONLY || delete_one(d, s, flags, error);
}

static bool delete_snapshot(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return with_snapshot(call, args, error, JOB_LONG, delete_func);
}

enum { LOOK = HANDLER_FAST | HANDLER_READ_ONLY };

const struct handler domain_snapshot_handlers[] = {
	{ RPC_DOMAIN_SNAPSHOT_CREATE_XML, create_xml, 0 },
	{ RPC_DOMAIN_SNAPSHOT_GET_XML_DESC, get_xml, LOOK },
	{ RPC_DOMAIN_SNAPSHOT_NUM, list, LOOK },
	{ RPC_DOMAIN_SNAPSHOT_LIST_NAMES, list, LOOK },
	{ RPC_DOMAIN_LIST_ALL_SNAPSHOTS, list, LOOK },
	{ RPC_DOMAIN_SNAPSHOT_NUM_CHILDREN, list, LOOK },
	{ RPC_DOMAIN_SNAPSHOT_LIST_CHILDREN_NAMES, list, LOOK },
	{ RPC_DOMAIN_SNAPSHOT_LIST_ALL_CHILDREN, list, LOOK },
	{ RPC_DOMAIN_SNAPSHOT_LOOKUP_BY_NAME, by_name, LOOK },
	{ RPC_DOMAIN_HAS_CURRENT_SNAPSHOT, has_current, LOOK },
	{ RPC_DOMAIN_SNAPSHOT_CURRENT, current, LOOK },
	{ RPC_DOMAIN_SNAPSHOT_GET_PARENT, get_parent, LOOK },
	{ RPC_DOMAIN_SNAPSHOT_IS_CURRENT, is_current, LOOK },
	{ RPC_DOMAIN_SNAPSHOT_HAS_METADATA, has_metadata, LOOK },
	{ RPC_DOMAIN_REVERT_TO_SNAPSHOT, revert, 0 },
	{ RPC_DOMAIN_SNAPSHOT_DELETE, delete_snapshot, 0 },
	{ 0 },
};
