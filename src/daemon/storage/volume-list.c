/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which volumes there are: lists and lookups; what is known of one, for which its file is looked at again. */
#include <string.h>

#include "model-xml.h"
#include "pools.h"

GVariant *volume_handle(const struct pool *p, const struct volume *v)
{
	return g_variant_new("(sss)", p->name, v->name, v->path);
}

/* ---- XML ---- */

static void set_printf(xmlNode *node, const char *path, const char *format, ...) G_GNUC_PRINTF(3, 4);
static void set_printf(xmlNode *node, const char *path, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	xml_set(node, path, text);
}

static void set_bytes(xmlNode *root, const char *name, const char *unit, guint64 bytes)
{
	xmlNode *node = xml_add(root, name);

	set_printf(node, "", "%" G_GUINT64_FORMAT, bytes);
	xml_set(node, "@unit", unit);
}

static void set_stat(xmlNode *target, const struct volume_stat *s)
{
	const struct {
		const char *path;
		struct timespec t;
	} times[] = {{"timestamps/atime", s->atime}, {"timestamps/mtime", s->mtime}, {"timestamps/ctime", s->ctime}};

	if (!s->known)
		return;
	set_printf(target, "permissions/mode", "%04o", (unsigned)s->mode);
	set_printf(target, "permissions/owner", "%d", (int)s->uid);
	set_printf(target, "permissions/group", "%d", (int)s->gid);
	for (unsigned i = 0; i < G_N_ELEMENTS(times); i++) {
		if (times[i].t.tv_nsec)
			set_printf(target, times[i].path, "%lld.%09ld", (long long)times[i].t.tv_sec, times[i].t.tv_nsec);
		else
			set_printf(target, times[i].path, "%lld", (long long)times[i].t.tv_sec);
	}
	xml_set(target, "timestamps/btime", "0");
}

char *volume_xml(const struct volume *v)
{
	static const char *const types[] = {"file", "block", "dir"};
	const struct volume_facts *f = &v->facts;
	g_autoptr(xmlDoc) doc = xmlNewDoc(BAD_CAST "1.0");
	xmlNode *root = xmlNewDocNode(doc, NULL, BAD_CAST "volume", NULL), *target;

	xmlDocSetRootElement(doc, root);
	xml_set(root, "@type", types[f->type]);
	xml_set(root, "name", v->name);
	xml_set(root, "key", v->path);
	set_bytes(root, "capacity", "bytes", f->capacity);
	set_bytes(root, "allocation", "bytes", f->allocation);
	if (f->physical)
		set_bytes(root, "physical", "bytes", f->physical);
	target = xml_add(root, "target");
	xml_set(target, "path", v->path);
	xml_set(target, "format/@type", f->format);
	set_stat(target, &f->stat);
	xml_set(target, "compat", f->compat);
	if (f->cluster)
		set_bytes(target, "clusterSize", "B", f->cluster);
	if (f->compat)
		xml_add(target, "features");
	if (f->lazy_refcounts)
		xml_add(xml_child(target, "features"), "lazy_refcounts");
	if (f->backing) {
		xml_set(root, "backingStore/path", f->backing);
		xml_set(root, "backingStore/format/@type", f->backing_format);
		set_stat(xml_child(root, "backingStore"), &f->backing_stat);
	}
	return model_xml_format(root);
}

/* ---- lists ---- */

static struct pool *active_of_args(struct call *call, GVariant *args, GError **error)
{
	struct pool *p = pool_of_args(call, args, error);

	if (!p || !pool_begin(p, error)) {
		g_clear_pointer(&p, pool_unref);
		return NULL;
	}
	pool_unref(p); /* pool_begin() has its own */
	if (p->entry->active)
		return p;
	/* libvirt's test driver does not name it here. */
	if (pool_backend(p)->memory && call->proc->number == RPC_STORAGE_POOL_LIST_ALL_VOLUMES)
		rpc_fail(error, VIR_ERR_OPERATION_INVALID, "storage pool is not active");
	else
		pool_require_active(p, error);
	pool_end(p);
	return NULL;
}

static bool list_all(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	GVariantBuilder list = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(sss)"));
	struct pool *p;
	gint32 wants;
	guint32 flags;

	g_variant_get_child(args, 1, "i", &wants);
	g_variant_get_child(args, 2, "u", &flags);
	if (!call_check_flags(call, flags, 0, error))
		return false;
	p = active_of_args(call, args, error);
	if (!p)
		return false;
	for (unsigned i = 0; wants && i < p->volumes->len; i++)
		g_variant_builder_add_value(&list, volume_handle(p, p->volumes->pdata[i]));
	*ret = g_variant_new("(a(sss)u)", &list, p->volumes->len);
	pool_end(p);
	return true;
}

static bool num_of(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct pool *p = active_of_args(call, args, error);

	if (!p)
		return false;
	*ret = g_variant_new("(i)", p->volumes->len);
	pool_end(p);
	return true;
}

static bool list_names(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	GVariantBuilder list = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("as"));
	struct pool *p = active_of_args(call, args, error);
	gint32 most;

	if (!p)
		return false;
	g_variant_get_child(args, 1, "i", &most);
	for (unsigned i = 0; i < p->volumes->len && (gint32)i < most; i++)
		g_variant_builder_add(&list, "s", ((struct volume *)p->volumes->pdata[i])->name);
	*ret = g_variant_new("(as)", &list);
	pool_end(p);
	return true;
}

/* ---- lookups ---- */

static bool by_name(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct pool *p = active_of_args(call, args, error);
	const struct volume *v;
	const char *name;

	if (!p)
		return false;
	g_variant_get_child(args, 1, "&s", &name);
	v = pool_volume(p, name);
	if (v)
		*ret = g_variant_new("(@(sss))", volume_handle(p, v));
	else
		rpc_fail(error, VIR_ERR_NO_STORAGE_VOL, "no storage vol with matching name '%s'", name);
	pool_end(p);
	return v;
}

static bool find_path(struct hv *hv, const char *path, GVariant **ret)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, hv->pools->all);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct pool *p = pool_of(value);

		for (unsigned i = 0; p->entry->active && i < p->volumes->len; i++) {
			const struct volume *v = p->volumes->pdata[i];

			if (strcmp(v->path, path) == 0) {
				*ret = g_variant_new("(@(sss))", volume_handle(p, v));
				return true;
			}
		}
	}
	return false;
}

static bool by_key(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const char *key;

	g_variant_get(args, "(&s)", &key);
	return find_path(call->hv, key, ret) ||
	       rpc_fail(error, VIR_ERR_NO_STORAGE_VOL, "no storage vol with matching key %s", key);
}

/* "//" is "/"; links and ".." are left as they are. */
static char *clean_path(const char *path)
{
	GString *clean = g_string_new(NULL);

	for (; *path; path++)
		if (path[0] != '/' || path[1] != '/')
			g_string_append_c(clean, *path);
	return g_string_free(clean, FALSE);
}

static bool by_path(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autofree char *clean = NULL;
	const char *path;

	g_variant_get(args, "(&s)", &path);
	clean = clean_path(path);
	if (find_path(call->hv, clean, ret))
		return true;
	if (strcmp(clean, path) == 0)
		return rpc_fail(error, VIR_ERR_NO_STORAGE_VOL, "no storage vol with matching path '%s'", path);
	return rpc_fail(error, VIR_ERR_NO_STORAGE_VOL, "no storage vol with matching path '%s' (%s)", path, clean);
}

/* ---- one ---- */

struct pool *volume_of_args(struct call *call, GVariant *args, struct volume **ret, GError **error)
{
	g_autoptr(Pool) p = NULL;
	const char *pool, *name;
	struct volume *v;

	g_variant_get_child(args, 0, "(&s&s&s)", &pool, &name, NULL);
	p = pool_named(call->hv, pool, error);
	if (!p || !pool_begin(p, error))
		return NULL;
	v = pool_require_active(p, error) ? pool_volume(p, name) : NULL;
	if (v) {
		*ret = volume_ref(v);
		return p;
	}
	if (p->entry->active)
		rpc_fail(error, VIR_ERR_NO_STORAGE_VOL, "no storage vol with matching name '%s'", name);
	pool_end(p);
	return NULL;
}

bool volume_look(struct pool *p, struct volume *v, GError **error)
{
	const struct pool_backend *backend = pool_backend(p);
	struct volume_facts as = v->facts, facts = {0};
	bool ok;

	if (!backend->look || v->building || v->in_use)
		return true;
	as.format = g_strdup(as.format);
	as.compat = as.backing = as.backing_format = NULL;
	state_release();
	ok = backend->look(v->path, &as, &facts, error);
	state_acquire();
	volume_facts_clear(&as);
	if (!ok)
		return false;
	/* Who uses it now reads its facts without the lock. */
	if (v->building || v->in_use) {
		volume_facts_clear(&facts);
		return true;
	}
	volume_facts_clear(&v->facts);
	v->facts = facts;
	return true;
}

static bool info(struct call *call, GVariant *args, bool physical, GVariant **ret, GError **error)
{
	g_autoptr(Volume) v = NULL;
	struct pool *p = volume_of_args(call, args, &v, error);
	bool ok = p && volume_look(p, v, error);

	if (ok)
		*ret = g_variant_new("(itt)", v->facts.type, v->facts.capacity,
				     physical ? v->facts.physical : v->facts.allocation);
	if (p)
		pool_end(p);
	return ok;
}

static bool get_info(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return info(call, args, false, ret, error);
}

static bool get_info_flags(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	enum { GET_PHYSICAL = 1 };
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	return call_check_flags(call, flags, GET_PHYSICAL, error) && info(call, args, flags & GET_PHYSICAL, ret, error);
}

static bool get_xml(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Volume) v = NULL;
	g_autofree char *xml = NULL;
	struct pool *p;
	guint32 flags;
	bool ok;

	g_variant_get_child(args, 1, "u", &flags);
	if (!call_check_flags(call, flags, 0, error))
		return false;
	p = volume_of_args(call, args, &v, error);
	if (!p)
		return false;
	ok = volume_look(p, v, error);
	if (ok) {
		xml = volume_xml(v);
		*ret = g_variant_new("(s)", xml);
	}
	pool_end(p);
	return ok;
}

static bool get_path(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Volume) v = NULL;
	struct pool *p = volume_of_args(call, args, &v, error);

	if (!p)
		return false;
	*ret = g_variant_new("(s)", v->path);
	pool_end(p);
	return true;
}

enum { LOOK = HANDLER_READ_ONLY };

const struct handler volume_list_handlers[] = {
	{RPC_STORAGE_POOL_LIST_ALL_VOLUMES, list_all, LOOK},
	{RPC_STORAGE_POOL_NUM_OF_VOLUMES, num_of, LOOK},
	{RPC_STORAGE_POOL_LIST_VOLUMES, list_names, LOOK},
	{RPC_STORAGE_VOL_LOOKUP_BY_NAME, by_name, LOOK},
	{RPC_STORAGE_VOL_LOOKUP_BY_KEY, by_key, LOOK | HANDLER_FAST},
	{RPC_STORAGE_VOL_LOOKUP_BY_PATH, by_path, LOOK | HANDLER_FAST},
	{RPC_STORAGE_VOL_GET_INFO, get_info, LOOK},
	{RPC_STORAGE_VOL_GET_INFO_FLAGS, get_info_flags, LOOK},
	{RPC_STORAGE_VOL_GET_XML_DESC, get_xml, LOOK},
	{RPC_STORAGE_VOL_GET_PATH, get_path, LOOK},
	{0},
};
