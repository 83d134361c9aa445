/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See objects.h. Called by the commands. */
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "module.h"
#include "objects.h"
#include "rpc/message.h"
#include "terminal.h"

enum { UUID_LEN = 16, UUID_TEXT = 36 };

unsigned flags_of(const struct args *a, const struct flag *flags)
{
	unsigned all = 0;

	for (; flags->option; flags++)
		if (arg_on(a, flags->option))
			all |= flags->value;
	return all;
}

int affect_of(struct shell *sh, const struct args *a)
{
	if (args_exclude(sh, a, "current", "live") || args_exclude(sh, a, "current", "config"))
		return -1;
	return (arg_on(a, "config") ? AFFECT_CONFIG : 0) | (arg_on(a, "live") ? AFFECT_LIVE : 0);
}

const char *domain_state_name(int state)
{
	static const char *const names[] = { "no state",    "running",	"idle",	   "paused",
					     "in shutdown", "shut off", "crashed", "pmsuspended" };

	return state >= 0 && state < (int)G_N_ELEMENTS(names) ? names[state] : "no state";
}

GVariant *first_of(GVariant *answer)
{
	return answer ? g_variant_get_child_value(answer, 0) : NULL;
}

static GVariant *take_first(GVariant *answer)
{
	g_autoptr(GVariant) all = answer;

	return first_of(all);
}

GVariant *uuid_value(const char *text)
{
	guint8 uuid[UUID_LEN];
	unsigned n = 0;

	for (; *text && n < 2 * UUID_LEN; text++) {
		int digit = g_ascii_xdigit_value(*text);

		if (*text == '-')
			continue;
		if (digit < 0)
			return NULL;
		uuid[n / 2] = n % 2 ? uuid[n / 2] << 4 | digit : digit;
		n++;
	}
	return n == 2 * UUID_LEN && !*text ? g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, uuid, UUID_LEN, 1) : NULL;
}

const char *object_name(GVariant *object)
{
	const char *name;

	/* A volume begins with its pool's. */
	g_variant_get_child(object, g_variant_is_of_type(object, G_VARIANT_TYPE(VOLUME)) ? 1 : 0, "&s", &name);
	return name;
}

char *object_uuid(GVariant *object)
{
	g_autoptr(GVariant) value = g_variant_get_child_value(object, 1);
	gsize len;
	const guint8 *b = g_variant_get_fixed_array(value, &len, 1);

	return g_strdup_printf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
			       b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

const char *domain_name(GVariant *dom)
{
	return object_name(dom);
}

int domain_id(GVariant *dom)
{
	gint32 id;

	g_variant_get_child(dom, 2, "i", &id);
	return id;
}

static GVariant *domain_by(struct shell *sh, const char *text, bool by_name)
{
	GVariant *dom = NULL, *uuid;
	char *end;
	long id = strtol(text, &end, 10);

	if (end != text && !*end && id >= 0 && id <= G_MAXINT)
		dom = take_first(ask(sh, "domain_lookup_by_id", "(i)", (int)id));
	if (!dom && strlen(text) == UUID_TEXT && (uuid = uuid_value(text)))
		dom = take_first(ask(sh, "domain_lookup_by_uuid", "(@ay)", uuid));
	if (!dom && by_name)
		dom = take_first(ask(sh, "domain_lookup_by_name", "(s)", text));
	if (!dom) {
		forget_error(sh);
		shell_error(sh, "failed to get domain '%s'", text);
		if (by_name)
			hint_objects(sh, text, "connect_list_all_domains", 3);
	}
	return dom;
}

GVariant *find_domain_text(struct shell *sh, const char *text)
{
	return domain_by(sh, text, true);
}

GVariant *find_unnamed_domain(struct shell *sh, const struct args *a, const char *option)
{
	return domain_by(sh, arg_text(a, option), false);
}

GVariant *find_domain(struct shell *sh, const struct args *a, const char *option)
{
	return find_domain_text(sh, arg_text(a, option));
}

bool domain_state(struct shell *sh, GVariant *dom, int *ret_state, int *ret_reason)
{
	g_autoptr(GVariant) answer = ask(sh, "domain_get_state", "(@" DOMAIN "u)", dom, 0);

	if (answer) {
		g_variant_get(answer, "(ii)", ret_state, ret_reason);
		return true;
	}
	*ret_reason = -1;
	return error_code(sh) == VIR_ERR_NO_SUPPORT && ask_int(sh, ret_state, "domain_get_info", "(@" DOMAIN ")", dom);
}

int domain_is_active(struct shell *sh, GVariant *dom)
{
	int active;

	return ask_int(sh, &active, "domain_is_active", "(@" DOMAIN ")", dom) ? active : -1;
}

struct node *domain_xml(struct shell *sh, GVariant *dom, unsigned flags)
{
	g_autofree char *xml = ask_text(sh, "domain_get_xml_desc", "(@" DOMAIN "u)", dom, flags);

	return xml ? node_parse(xml, &sh->error) : NULL;
}

static GVariant *find_named(struct shell *sh, const char *text, const char *by_uuid, const char *by_name, const char *what)
{
	GVariant *object = NULL, *uuid = strlen(text) == UUID_TEXT ? uuid_value(text) : NULL;

	if (uuid)
		object = take_first(ask(sh, by_uuid, "(@ay)", uuid));
	if (!object && !uuid)
		object = take_first(ask(sh, by_name, "(s)", text));
	if (object)
		return object;
	shell_error(sh, "failed to get %s '%s'", what, text);
	hint_objects(sh, text, strcmp(what, "pool") == 0 ? "connect_list_all_storage_pools" : "connect_list_all_networks", 3);
	return NULL;
}

bool is_uuid(const char *text)
{
	return strlen(text) == UUID_TEXT;
}

GVariant *find_network(struct shell *sh, const struct args *a, const char *option)
{
	return find_named(sh, arg_text(a, option), "network_lookup_by_uuid", "network_lookup_by_name", "network");
}

GVariant *find_pool(struct shell *sh, const struct args *a, const char *option)
{
	return find_named(sh, arg_text(a, option), "storage_pool_lookup_by_uuid", "storage_pool_lookup_by_name", "pool");
}

GVariant *find_volume(struct shell *sh, const struct args *a, const char *option, const char *pool_option)
{
	const char *text = arg_text(a, option);
	g_autoptr(GVariant) pool = NULL;
	GVariant *vol = NULL;
	int active = 1;

	if (pool_option && arg_on(a, pool_option)) {
		pool = find_pool(sh, a, pool_option);
		if (!pool || !ask_int(sh, &active, "storage_pool_is_active", "(@" POOL ")", pool))
			return NULL;
		if (!active) {
			shell_error(sh, "pool '%s' is not active", arg_text(a, pool_option));
			return NULL;
		}
		vol = take_first(ask(sh, "storage_vol_lookup_by_name", "(@" POOL "s)", pool, text));
	}
	if (!vol)
		vol = take_first(ask(sh, "storage_vol_lookup_by_key", "(s)", text));
	if (!vol)
		vol = take_first(ask(sh, "storage_vol_lookup_by_path", "(s)", text));
	if (!vol && (pool || !pool_option))
		shell_error(sh, "failed to get vol '%s'", text);
	else if (!vol)
		shell_error(sh, "failed to get vol '%s', specifying --%s might help", text, pool_option);
	return vol;
}

static int compare_names(const void *a, const void *b)
{
	return g_ascii_strcasecmp(((struct sort_key *)a)->name, ((struct sort_key *)b)->name);
}

GPtrArray *sorted_by(GVariant *answer, int (*compare)(const void *a, const void *b))
{
	g_autoptr(GVariant) list = first_of(answer);
	gsize n = g_variant_n_children(list);
	g_autofree struct sort_key *keys = g_new(struct sort_key, n);
	GPtrArray *all = g_ptr_array_new_full(n, (GDestroyNotify)g_variant_unref);
	bool has_id = g_variant_is_of_type(list, G_VARIANT_TYPE("a" DOMAIN));

	for (gsize i = 0; i < n; i++) {
		GVariant *object = g_variant_get_child_value(list, i);

		keys[i] = (struct sort_key){ object, object_name(object), has_id ? domain_id(object) : -1 };
	}
	if (n)
		qsort(keys, n, sizeof(*keys), compare);
	for (gsize i = 0; i < n; i++)
		g_ptr_array_add(all, keys[i].object);
	return all;
}

GPtrArray *sorted_objects(GVariant *answer)
{
	return sorted_by(answer, compare_names);
}

const char *yes_no(struct shell *sh, const char *procedure, GVariant *object, const char *unknown)
{
	int v;

	if (!ask_int(sh, &v, procedure, "(@(say))", object)) {
		forget_error(sh);
		return unknown;
	}
	return v ? "yes" : "no";
}

char *stored_xml(struct shell *sh, const char *procedure, GVariant *object)
{
	enum { INACTIVE = 1 };
	char *xml = ask_text(sh, procedure, "(@(say)u)", object, INACTIVE);

	return xml || error_code(sh) != VIR_ERR_INVALID_ARG ? xml : ask_text(sh, procedure, "(@(say)u)", object, 0);
}

char *param_text(GVariant *value)
{
	switch (g_variant_classify(value)) {
	case G_VARIANT_CLASS_INT32:
		return g_strdup_printf("%d", g_variant_get_int32(value));
	case G_VARIANT_CLASS_UINT32:
		return g_strdup_printf("%u", g_variant_get_uint32(value));
	case G_VARIANT_CLASS_INT64:
		return g_strdup_printf("%" G_GINT64_FORMAT, g_variant_get_int64(value));
	case G_VARIANT_CLASS_UINT64:
		return g_strdup_printf("%" G_GUINT64_FORMAT, g_variant_get_uint64(value));
	case G_VARIANT_CLASS_DOUBLE:
		return g_strdup_printf("%f", g_variant_get_double(value));
	case G_VARIANT_CLASS_BOOLEAN:
		return g_strdup(g_variant_get_boolean(value) ? "yes" : "no");
	default:
		return g_variant_dup_string(value, NULL);
	}
}

void say_params(struct shell *sh, GVariant *params, int width)
{
	for (gsize i = 0; i < g_variant_n_children(params); i++) {
		g_autoptr(GVariant) value = NULL;
		g_autofree char *text = NULL;
		const char *name;

		g_variant_get_child(params, i, "(&sv)", &name, &value);
		text = param_text(value);
		if (sh->json)
			say_field(sh, 0, name, "%s", text);
		else
			say(sh, "%-*s: %s\n", width, name, text);
	}
}

/* args with another number at the last place but one, which is where these calls have it. */
static GVariant *with_count(GVariant *args, gint32 n)
{
	gsize children = g_variant_n_children(args);
	g_autofree GVariant **parts = g_new(GVariant *, children);
	GVariant *again;

	for (gsize i = 0; i < children; i++)
		parts[i] = i == children - 2 ? g_variant_ref_sink(g_variant_new_int32(n)) : g_variant_get_child_value(args, i);
	again = g_variant_ref_sink(g_variant_new_tuple(parts, children));
	for (gsize i = 0; i < children; i++)
		g_variant_unref(parts[i]);
	return again;
}

GVariant *ask_params(struct shell *sh, const char *procedure, const char *types, ...)
{
	g_autoptr(GVariant) args = NULL, count = NULL, again = NULL, answer = NULL;
	gint32 n = 0;
	va_list list;

	va_start(list, types);
	args = g_variant_ref_sink(g_variant_new_va(types, NULL, &list));
	va_end(list);
	forget_error(sh);
	count = kv_connection_call_sync(sh->conn, procedure, args, NULL, &sh->error);
	if (!count)
		return NULL;
	g_variant_get_child(count, 1, "i", &n);
	if (n <= 0)
		return first_of(count);
	again = with_count(args, n);
	answer = kv_connection_call_sync(sh->conn, procedure, again, NULL, &sh->error);
	return first_of(answer);
}

bool say_xml(struct shell *sh, const struct args *a, const char *xml)
{
	char *(*find)(const char *text, const char *path, bool in_nodes, GError **error);
	const char *xpath = arg_text(a, "xpath");
	g_autofree char *found = NULL;

	if (!xml)
		return false;
	if (!xpath) {
		say(sh, "%s", xml);
		return true;
	}
	find = kv_module_symbol("kvsh-xpath", "kvsh_xpath", &sh->error);
	if (find)
		found = find(xml, xpath, arg_on(a, "wrap"), &sh->error);
	if (found)
		say(sh, "%s", found);
	return found;
}

bool say_description(struct shell *sh, const struct args *a, const char *procedure, GVariant *object, unsigned flags)
{
	g_autofree char *types = object ? g_strdup_printf("(@%su)", g_variant_get_type_string(object)) : NULL;
	g_autofree char *xml = object ? ask_text(sh, procedure, types, object, flags) : NULL;

	return say_xml(sh, a, xml);
}

bool say_object_name(struct shell *sh, GVariant *object)
{
	if (object)
		say(sh, "%s\n", object_name(object));
	return object;
}

bool say_object_uuid(struct shell *sh, GVariant *object)
{
	g_autofree char *uuid = object ? object_uuid(object) : NULL;

	if (object)
		say(sh, "%s\n", uuid);
	return object;
}

double scaled(guint64 bytes, const char **ret_unit)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double v = bytes;
	unsigned i = 0;

	for (; v >= 1024 && i + 1 < G_N_ELEMENTS(units); i++)
		v /= 1024;
	*ret_unit = units[i];
	return v;
}

static void say_name(struct shell *sh, const char *format, const char *name, bool is_error)
{
	const char *hole = strstr(format, "%s");
	g_autofree char *text =
		hole ? g_strdup_printf("%.*s%s%s", (int)(hole - format), format, name, hole + 2) : g_strdup(format);

	if (is_error)
		shell_error(sh, "%s", text);
	else
		say_extra(sh, "%s\n", text);
}

bool finish(struct shell *sh, bool ok, const char *done, const char *failed, const char *name)
{
	if (ok || failed)
		say_name(sh, ok ? done : failed, name, !ok);
	return ok;
}
