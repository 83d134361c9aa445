/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See access.h. Called by dispatch.c around each handler, and by events.c. */
#include "access.h"

#include <string.h>

#include "access-subject.h"
#include "config.h"
#include "dispatch.h"
#include "domain.h"
#include "polkit.h"
#include "procs-acl.h"
#include "workers.h"
#include "xdr.h"

enum { LIST_ALL = 16384 }; /* more than a list has: libvirt's own limit for names */

static bool is_lookup(const struct rpc_proc *proc)
{
	return strstr(proc->name, "_lookup_by_") != NULL;
}

bool access_asks(const struct client *c, const struct rpc_proc *proc)
{
	unsigned n = 0;

	return config_has_access_control() && c->peer.uid != 0 && rpc_acl_find(proc->program, proc->number, &n);
}

static bool applies(const struct rpc_acl *rule, GVariant *args)
{
	g_autoptr(GVariant) v = rule->arg < 0 ? NULL : g_variant_get_child_value(args, rule->arg);
	guint32 word;

	if (!v)
		return true;
	word = g_variant_is_of_type(v, G_VARIANT_TYPE_INT32) ? (guint32)g_variant_get_int32(v) : g_variant_get_uint32(v);
	return (word & rule->bits) == rule->value;
}

bool access_looks(const struct rpc_proc *proc, GVariant *args)
{
	unsigned n;
	const struct rpc_acl *rules = rpc_acl_find(proc->program, proc->number, &n);

	for (unsigned i = 0; i < n; i++)
		if (rules[i].arg >= 0 && applies(&rules[i], args) && !rpc_acl_is_look(&rules[i]))
			return false;
	return true;
}

/* ---- types ---- */

static const char *skip(const char *type)
{
	if (*type == '?' || *type == 'a')
		return skip(type + 1);
	if (*type != '(')
		return type + 1;
	for (type++; *type != ')';)
		type = skip(type);
	return type + 1;
}

/* The first field of a tuple that begins so; NULL: none. */
static GVariant *field(const char *type, GVariant *tuple, const char *prefix)
{
	unsigned i = 0;

	for (const char *t = type + 1; *t != ')'; t = skip(t), i++)
		if (g_str_has_prefix(t, prefix))
			return g_variant_get_child_value(tuple, i);
	return NULL;
}

/* ---- one question ---- */

static bool ask(const struct client *c, struct hv *hv, const char *object, const char *permission, GVariantBuilder *details,
		GError **error)
{
	g_autofree char *action = g_strdup_printf("org.libvirt.api.%s.%s", object, permission);
	const char *driver = subject_driver(hv, object);
	g_autoptr(GError) cause = NULL;

	g_variant_builder_add(details, "{ss}", "connect_driver", driver);
	if (polkit_allows(c, action, g_variant_builder_end(details), false, &cause))
		return true;
	return rpc_fail(error, VIR_ERR_ACCESS_DENIED, "'%s' denied access", driver);
}

static bool ask_about(struct call *call, const struct rpc_acl *rule, GVariant *ref, GVariant *pool, GError **error)
{
	GVariantBuilder details = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a{ss}"));

	if (subject_describe(call, rule->object, ref, pool, &details, error))
		return ask(call->client, call->hv, rule->object, rule->permission, &details, error);
	g_variant_builder_clear(&details);
	return false;
}

/* ---- before ---- */

/* The object among a procedure's arguments. */
static GVariant *subject(const struct rpc_proc *proc, const char *object, GVariant *args)
{
	static const struct {
		const char *object, *type;
		bool within; /* the first of a structure, or the last of a handle of something in it */
	} places[] = {
		{ "domain", "D", false },
		{ "domain", "Z", true },
		{ "domain", "C", true },
		{ "network", "N", false },
		{ "network-port", "(N", true },
		{ "storage-pool", "P", false },
		{ "storage-vol", "V", false },
		{ "node-device", "X", false },
		{ "node-device", "s", false },
		{ "nwfilter", "F", false },
		{ "interface", "I", false },
		{ "secret", "E", false },
		{ "nwfilter-binding", "(s", false },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
		g_autoptr(GVariant) found =
			strcmp(places[i].object, object) == 0 ? field(proc->args, args, places[i].type) : NULL;

		if (found && !places[i].within)
			return g_steal_pointer(&found);
		if (found)
			return g_variant_get_child_value(found, *places[i].type == '(' ? 0 : 1);
	}
	return NULL;
}

static bool is_definition(const char *text)
{
	return text[strspn(text, " \t\r\n")] == '<';
}

static GVariant *text_param(GVariant *args, const char *name)
{
	g_autoptr(GVariant) params = g_variant_get_child_value(args, 0);
	const char *key;
	GVariant *value;

	for (gsize i = 0; i < g_variant_n_children(params); i++) {
		g_variant_get_child(params, i, "(&sv)", &key, &value);
		if (strcmp(key, name) == 0 && g_variant_is_of_type(value, G_VARIANT_TYPE_STRING))
			return value;
		g_variant_unref(value);
	}
	return NULL;
}

/* What a call would make: an XML text of its own, or the one in a saved state. NULL and no *error: it has none. */
static char *definition(struct call *call, GVariant *args, GError **error)
{
	bool is_params = strcmp(call->proc->name, "domain_restore_params") == 0;
	g_autoptr(GVariant) first = is_params ? text_param(args, "file") : field(call->proc->args, args, "s"), answer = NULL;
	char *xml;

	for (gsize i = 0; !is_params && i < g_variant_n_children(args); i++) {
		g_autoptr(GVariant) v = g_variant_get_child_value(args, i);

		if (g_variant_is_of_type(v, G_VARIANT_TYPE_STRING) && is_definition(g_variant_get_string(v, NULL)) &&
		    !strstr(call->proc->name, "save_image"))
			return g_variant_dup_string(v, NULL);
	}
	if (!first || (!strstr(call->proc->name, "restore") && !strstr(call->proc->name, "save_image")))
		return NULL;
	answer = dispatch_inside(call, RPC_DOMAIN_SAVE_IMAGE_GET_XML_DESC, g_variant_new("(@su)", first, 0), error);
	if (!answer)
		return NULL;
	g_variant_get(answer, "(s)", &xml);
	return xml;
}

static bool ask_about_new(struct call *call, const struct rpc_acl *rule, GVariant *args, GError **error)
{
	GVariantBuilder details = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a{ss}"));
	g_autoptr(GVariant) pool = strcmp(rule->object, "storage-vol") == 0 ? field(call->proc->args, args, "P") : NULL;
	g_autoptr(GError) cause = NULL;
	g_autofree char *xml = definition(call, args, &cause);

	if (cause || (pool && !subject_describe(call, "storage-pool", pool, NULL, &details, &cause))) {
		g_variant_builder_clear(&details);
		g_propagate_error(error, g_steal_pointer(&cause));
		return false;
	}
	if (xml)
		subject_describe_xml(rule->object, xml, &details);
	return ask(call->client, call->hv, rule->object, rule->permission, &details, error);
}

/* A list is asked for as a whole, and shortened behind: what is left out is not to take others' place. */
static void ask_for_all(const char *type, GVariant **args)
{
	g_autoptr(GPtrArray) fields = g_ptr_array_new_with_free_func((GDestroyNotify)g_variant_unref);
	bool done = false;
	unsigned i = 0;

	for (const char *t = type + 1; *t != ')'; t = skip(t), i++) {
		bool is_count = !done && *t == 'i';

		g_ptr_array_add(fields, is_count ? g_variant_ref_sink(g_variant_new_int32(LIST_ALL))
						 : g_variant_get_child_value(*args, i));
		done |= is_count;
	}
	g_variant_unref(*args);
	*args = g_variant_ref_sink(g_variant_new_tuple((GVariant **)fields->pdata, fields->len));
}

bool access_before(struct call *call, GVariant **args, GError **error)
{
	unsigned n;
	const struct rpc_acl *rules = rpc_acl_find(call->proc->program, call->proc->number, &n);
	bool filters = false;

	if (!call->hv) /* connect_open is asked about behind, when it is known what it opens */
		return true;
	for (unsigned i = 0; i < n; i++) {
		g_autoptr(GVariant) ref = NULL;
		bool ok;

		filters |= rules[i].filter;
		if (rules[i].filter || is_lookup(call->proc) || !applies(&rules[i], *args))
			continue;
		ref = subject(call->proc, rules[i].object, *args);
		ok = ref ? ask_about(call, &rules[i], ref, NULL, error) : ask_about_new(call, &rules[i], *args, error);
		if (!ok)
			return false;
	}
	if (filters && g_str_has_prefix(call->proc->ret, "(a"))
		ask_for_all(call->proc->args, args);
	return true;
}

/* ---- behind ---- */

/* An element of a list, or the object in it. */
static bool is_shown(struct call *call, const struct rpc_acl *rule, const char *type, GVariant *element, GVariant *pool)
{
	g_autoptr(GVariant) inner = type[1] == '(' && strchr("DN", type[2]) ? g_variant_get_child_value(element, 0) : NULL;
	g_autoptr(GError) error = NULL;

	return ask_about(call, rule, inner ? inner : element, pool, &error);
}

/* (ax) or (axu): a list, and how many there are; limit: as many as were asked for. */
static GVariant *filtered(struct call *call, const struct rpc_acl *rule, GVariant *args, GVariant *ret)
{
	const char *type = call->proc->ret + 1;
	g_autoptr(GVariant) list = g_variant_get_child_value(ret, 0), pool = field(call->proc->args, args, "P"),
			    asked = field(call->proc->args, args, "i");
	bool counted = g_variant_n_children(ret) == 2;
	gint32 limit = asked ? g_variant_get_int32(asked) : G_MAXINT32;
	GVariantBuilder out;
	guint32 n = 0;
	GVariant *fields[2];

	if (counted && limit)
		limit = G_MAXINT32;
	g_variant_builder_init(&out, g_variant_get_type(list));
	for (gsize i = 0; i < g_variant_n_children(list); i++) {
		g_autoptr(GVariant) element = g_variant_get_child_value(list, i);

		if (!is_shown(call, rule, type, element, pool))
			continue;
		if ((gint64)n < limit)
			g_variant_builder_add_value(&out, element);
		n++;
	}
	fields[0] = g_variant_builder_end(&out);
	fields[1] = counted ? g_variant_new_uint32(n) : NULL;
	return g_variant_ref_sink(g_variant_new_tuple(fields, counted ? 2 : 1));
}

/* connect_num_of_networks: of connect_list_networks what is left. */
static GVariant *counted(struct call *call, const struct rpc_acl *rule, GVariant *args, GError **error)
{
	const char *of = strstr(call->proc->name, "num_of_");
	g_autofree char *name =
		g_strdup_printf("%.*slist_%s", (int)(of - call->proc->name), call->proc->name, of + strlen("num_of_"));
	struct call list = *call;
	g_autoptr(GPtrArray) fields = g_ptr_array_new_with_free_func((GDestroyNotify)g_variant_unref);
	g_autoptr(GVariant) all = NULL, ours = NULL, left = NULL, arguments = NULL;
	const char *type;
	unsigned i = 0;

	list.proc = rpc_proc_named(RPC_REMOTE, name);
	for (type = list.proc->args + 1; *type != ')'; type = skip(type))
		g_ptr_array_add(fields, *type == 'i' ? g_variant_ref_sink(g_variant_new_int32(LIST_ALL))
						     : g_variant_get_child_value(args, i++));
	arguments = g_variant_ref_sink(g_variant_new_tuple((GVariant **)fields->pdata, fields->len));
	all = dispatch_inside(call, list.proc->number, arguments, error);
	if (!all)
		return NULL;
	ours = filtered(&list, rule, arguments, all);
	left = g_variant_get_child_value(ours, 0);
	return g_variant_ref_sink(g_variant_new("(i)", (gint32)g_variant_n_children(left)));
}

static bool show(struct call *call, const struct rpc_acl *rule, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GVariant) whole = NULL;

	if (call->encoded) {
		whole = xdr_decode(call->encoded->data, call->encoded->len, call->proc->ret, error);
		g_clear_pointer(&call->encoded, g_byte_array_unref);
		if (!whole)
			return false;
	} else if (*ret) {
		whole = g_variant_ref_sink(*ret);
	}
	if (whole && g_str_has_prefix(call->proc->ret, "(a"))
		*ret = filtered(call, rule, args, whole);
	else if (strstr(call->proc->name, "num_of_"))
		*ret = counted(call, rule, args, error);
	else
		*ret = g_steal_pointer(&whole); /* a registration: its events are asked about */
	return !*error;
}

static bool ask_about_found(struct call *call, const struct rpc_acl *rule, GVariant **ret, GError **error)
{
	g_autoptr(GVariant) answer = g_variant_ref_sink(*ret), found = g_variant_get_child_value(answer, 0);

	*ret = NULL;
	if (!ask_about(call, rule, found, NULL, error))
		return false;
	*ret = g_steal_pointer(&answer);
	return true;
}

static bool ask_about_open(struct call *call, const struct rpc_acl *rule, GError **error)
{
	GVariantBuilder details = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a{ss}"));

	if (ask(call->client, call->client->hv, rule->object, rule->permission, &details, error))
		return true;
	client_leave(call->client);
	return false;
}

bool access_behind(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	unsigned n;
	const struct rpc_acl *rules = rpc_acl_find(call->proc->program, call->proc->number, &n);

	if (call->proc->program == RPC_REMOTE && call->proc->number == RPC_CONNECT_OPEN)
		return ask_about_open(call, &rules[0], error);
	for (unsigned i = 0; call->hv && i < n; i++) {
		if (rules[i].filter && !show(call, &rules[i], args, ret, error))
			return false;
		if (!rules[i].filter && is_lookup(call->proc) && !ask_about_found(call, &rules[i], ret, error))
			return false;
	}
	return true;
}

/* ---- events ---- */

enum { HELD_MAX = 10000 };

struct held {
	struct hv *hv;
	const char *object;
	GVariant *handle;
	GByteArray *message;
};

static void held_free(struct held *h)
{
	hv_unref(h->hv);
	g_variant_unref(h->handle);
	if (h->message)
		g_byte_array_unref(h->message);
	g_free(h);
}

void access_drop_events(struct client *c)
{
	g_queue_clear_full(&c->held, (GDestroyNotify)held_free);
}

/* One after the other: they arrive in their order. */
static void ask_about_events(void *data)
{
	struct client *c = data;
	struct held *h;

	while ((h = g_queue_pop_head(&c->held))) {
		GVariantBuilder details = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a{ss}"));
		g_autoptr(GError) error = NULL;

		subject_describe_handle(h->object, h->handle, &details);
		if (c->failed)
			g_variant_builder_clear(&details);
		else if (ask(c, h->hv, h->object, "getattr", &details, &error))
			client_send(c, g_steal_pointer(&h->message), NULL, SEND_EVENT);
		held_free(h);
	}
	c->asking = false;
	client_unref(c);
}

void access_event(struct client *c, struct hv *hv, const char *object, GVariant *handle, GByteArray *message)
{
	struct held h = { hv, object, handle, message };

	if (!config_has_access_control() || c->peer.uid == 0) {
		client_send(c, message, NULL, SEND_EVENT);
		return;
	}
	if (c->held.length >= HELD_MAX)
		client_fail(c, "there are too many events of which polkit has not said yet whether it may have them");
	hv_ref(hv);
	g_variant_ref(handle);
	g_queue_push_tail(&c->held, g_memdup2(&h, sizeof(h)));
	if (c->asking)
		return;
	c->asking = true;
	workers_run(ask_about_events, client_ref(c));
}
