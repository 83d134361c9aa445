/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about a domain's limits and shares: lists of typed parameters that are shown, or some of which are set. */
#include <errno.h>
#include <string.h>

#include "args.h"
#include "domain.h"
#include "objects.h"
#include "rpc/message.h"

enum param_kind { PARAM_WEIGHT, PARAM_U64, PARAM_BYTES, PARAM_TEXT };

/* An option that sets a parameter. */
struct tunable {
	const char *option, *param;
	enum param_kind kind;
};

/* What a limit means when there is none: LLONG_MAX / 1024, which all servers send. */
static const guint64 unlimited = G_GINT64_CONSTANT(9007199254740991);

static void say_param(struct shell *sh, const char *name, GVariant *value, bool limits)
{
	g_autofree char *text = param_text(value);
	bool none = limits && g_variant_is_of_type(value, G_VARIANT_TYPE_UINT64) && g_variant_get_uint64(value) == unlimited;

	if (sh->json)
		say_field(sh, 0, name, "%s", none ? "unlimited" : text);
	else
		say(sh, "%-15s: %s\n", name, none ? "unlimited" : text);
}

static void say_limits(struct shell *sh, GVariant *params, bool limits)
{
	for (gsize i = 0; i < g_variant_n_children(params); i++) {
		g_autoptr(GVariant) value = NULL;
		const char *name;

		g_variant_get_child(params, i, "(&sv)", &name, &value);
		say_param(sh, name, value, limits);
	}
}

/* The value of an option; NULL: it was said what is wrong. */
static GVariant *take_value(struct shell *sh, const struct args *a, const struct tunable *t)
{
	const char *text = arg_text(a, t->option);
	guint64 wide = 0;

	switch (t->kind) {
	case PARAM_TEXT:
		return g_variant_new_string(text);
	case PARAM_WEIGHT:
		if (g_ascii_string_to_unsigned(text, 10, 1, G_MAXINT, &wide, NULL))
			return g_variant_new_uint32(wide);
		/* What is a number at all is said to be a bad one. */
		if (arg_int(sh, a, t->option, &(int){ 0 }) > 0)
			shell_error(sh, "Invalid value of %s for I/O weight", text);
		return NULL;
	default:
		if ((t->kind == PARAM_BYTES ? arg_size(sh, a, t->option, 1, &wide) : arg_u64(sh, a, t->option, &wide)) > 0)
			return g_variant_new_uint64(wide);
		shell_error(sh, "Unable to parse integer parameter");
		return NULL;
	}
}

/* The options that were given, as a(sv). *n: how many; false: one is malformed, which was said. */
static bool take(struct shell *sh, const struct args *a, const struct tunable *t, unsigned n_tunables, GVariantBuilder *out,
		 unsigned *n)
{
	*n = 0;
	for (unsigned i = 0; i < n_tunables; i++) {
		GVariant *value = arg_on(a, t[i].option) ? take_value(sh, a, &t[i]) : NULL;

		if (value)
			g_variant_builder_add(out, "(sv)", t[i].param, value);
		else if (arg_on(a, t[i].option))
			return false;
		*n += value != NULL;
	}
	return true;
}

/* The flag of a call that may answer with texts, which servers send to those who say that they know them. */
static unsigned texts_flag(struct shell *sh)
{
	enum { FEATURE_TEXTS = 9, TEXTS_OKAY = 4 };
	int yes = 0;

	if (!ask_int(sh, &yes, "connect_supports_feature", "(i)", FEATURE_TEXTS))
		forget_error(sh);
	return yes ? TEXTS_OKAY : 0;
}

/* ---- memory ---- */

/* A size in KiB, or a negative number for none. */
static bool take_limit(struct shell *sh, const struct args *a, const char *option, GVariantBuilder *out, unsigned *n)
{
	g_autofree char *param = g_strdup(option);
	const char *text = arg_text(a, option);
	guint64 v;

	if (!text)
		return true;
	g_strdelimit(param, "-", '_');
	if (*text == '-' && g_ascii_isdigit(text[1]))
		v = unlimited;
	else if (!size_parse(text, 1024, &v, &sh->error))
		return shell_error(sh, "Unable to parse integer parameter %s", option);
	else
		v = (v + 1023) / 1024;
	g_variant_builder_add(out, "(sv)", param, g_variant_new_uint64(v));
	++*n;
	return true;
}

bool cmd_memtune(struct shell *sh, const struct args *a)
{
	static const char *const options[] = { "hard-limit", "soft-limit", "swap-hard-limit", "min-guarantee" };
	g_autoptr(GVariant) dom = NULL, params = NULL, list = NULL;
	int flags = affect_of(sh, a);
	GVariantBuilder out;
	unsigned n = 0;
	bool ok = true;

	if (flags < 0 || !(dom = find_domain(sh, a, "domain")))
		return false;
	g_variant_builder_init(&out, G_VARIANT_TYPE("a(sv)"));
	for (unsigned i = 0; i < G_N_ELEMENTS(options) && ok; i++)
		ok = take_limit(sh, a, options[i], &out, &n);
	list = g_variant_ref_sink(g_variant_builder_end(&out));
	if (!ok)
		return false;
	if (n)
		return tell(sh, "domain_set_memory_parameters", "(@" DOMAIN "@a(sv)u)", dom, list, flags) ||
		       shell_error(sh, "Unable to change memory parameters");
	params = ask_params(sh, "domain_get_memory_parameters", "(@" DOMAIN "iu)", dom, 0, flags);
	if (!params)
		return shell_error(sh, "Unable to get number of memory parameters");
	say_limits(sh, params, true);
	return true;
}

/* ---- the others have one shape ---- */

struct shape {
	const char *get, *set, *no_count, *no_get, *no_set;
	const struct tunable *tunables;
	unsigned n;
	const char *device; /* the option that names what of the domain; NULL: all of it */
};

static bool get_or_set(struct shell *sh, const struct args *a, const struct shape *s)
{
	const char *device = s->device ? arg_text(a, s->device) : NULL;
	g_autoptr(GVariant) dom = NULL, params = NULL, list = NULL;
	int flags = affect_of(sh, a);
	GVariantBuilder out;
	unsigned n;
	bool ok;

	if (flags < 0 || !(dom = find_domain(sh, a, "domain")))
		return false;
	g_variant_builder_init(&out, G_VARIANT_TYPE("a(sv)"));
	ok = take(sh, a, s->tunables, s->n, &out, &n);
	list = g_variant_ref_sink(g_variant_builder_end(&out));
	if (!ok)
		return false;
	if (n) {
		ok = device ? tell(sh, s->set, "(@" DOMAIN "s@a(sv)u)", dom, device, list, flags)
			    : tell(sh, s->set, "(@" DOMAIN "@a(sv)u)", dom, list, flags);
		return ok || shell_error(sh, "%s", s->no_set);
	}
	flags |= texts_flag(sh);
	params = device ? ask_params(sh, s->get, "(@" DOMAIN "msiu)", dom, device, 0, flags)
			: ask_params(sh, s->get, "(@" DOMAIN "iu)", dom, 0, flags);
	if (!params)
		return shell_error(sh, "%s", error_code(sh) == VIR_ERR_NO_SUPPORT ? s->no_count : s->no_get);
	say_limits(sh, params, false);
	return true;
}

bool cmd_blkiotune(struct shell *sh, const struct args *a)
{
	static const struct tunable tunables[] = {
		{ "weight", "weight", PARAM_WEIGHT },
		{ "device-weights", "device_weight", PARAM_TEXT },
		{ "device-read-iops-sec", "device_read_iops_sec", PARAM_TEXT },
		{ "device-write-iops-sec", "device_write_iops_sec", PARAM_TEXT },
		{ "device-read-bytes-sec", "device_read_bytes_sec", PARAM_TEXT },
		{ "device-write-bytes-sec", "device_write_bytes_sec", PARAM_TEXT },
	};
	static const struct shape shape = { "domain_get_blkio_parameters",
					    "domain_set_blkio_parameters",
					    "Unable to get number of blkio parameters",
					    "Unable to get blkio parameters",
					    "Unable to change blkio parameters",
					    tunables,
					    G_N_ELEMENTS(tunables),
					    NULL };

	for (unsigned i = 0; i < G_N_ELEMENTS(tunables); i++)
		if (tunables[i].kind == PARAM_TEXT && g_strcmp0(arg_text(a, tunables[i].option), "") == 0)
			return shell_error(sh, "Unable to parse string parameter");
	return get_or_set(sh, a, &shape);
}

bool cmd_blkdeviotune(struct shell *sh, const struct args *a)
{
	static const struct tunable tunables[] = {
		{ "total-bytes-sec", "total_bytes_sec", PARAM_BYTES },
		{ "read-bytes-sec", "read_bytes_sec", PARAM_BYTES },
		{ "write-bytes-sec", "write_bytes_sec", PARAM_BYTES },
		{ "total-bytes-sec-max", "total_bytes_sec_max", PARAM_BYTES },
		{ "read-bytes-sec-max", "read_bytes_sec_max", PARAM_BYTES },
		{ "write-bytes-sec-max", "write_bytes_sec_max", PARAM_BYTES },
		{ "total-iops-sec", "total_iops_sec", PARAM_U64 },
		{ "read-iops-sec", "read_iops_sec", PARAM_U64 },
		{ "write-iops-sec", "write_iops_sec", PARAM_U64 },
		{ "total-iops-sec-max", "total_iops_sec_max", PARAM_U64 },
		{ "read-iops-sec-max", "read_iops_sec_max", PARAM_U64 },
		{ "write-iops-sec-max", "write_iops_sec_max", PARAM_U64 },
		{ "size-iops-sec", "size_iops_sec", PARAM_U64 },
		{ "group-name", "group_name", PARAM_TEXT },
		{ "total-bytes-sec-max-length", "total_bytes_sec_max_length", PARAM_U64 },
		{ "read-bytes-sec-max-length", "read_bytes_sec_max_length", PARAM_U64 },
		{ "write-bytes-sec-max-length", "write_bytes_sec_max_length", PARAM_U64 },
		{ "total-iops-sec-max-length", "total_iops_sec_max_length", PARAM_U64 },
		{ "read-iops-sec-max-length", "read_iops_sec_max_length", PARAM_U64 },
		{ "write-iops-sec-max-length", "write_iops_sec_max_length", PARAM_U64 },
	};
	static const struct shape shape = { "domain_get_block_io_tune",
					    "domain_set_block_io_tune",
					    "Unable to get number of block I/O throttle parameters",
					    "Unable to get block I/O throttle parameters",
					    "Unable to change block I/O throttle",
					    tunables,
					    G_N_ELEMENTS(tunables),
					    "device" };

	return get_or_set(sh, a, &shape);
}

/* ---- schedinfo ---- */

/* The newer calls are for who says which configuration is meant, even if it is the current one. */
static bool is_new(const struct args *a, int flags)
{
	return flags || arg_on(a, "current");
}

static bool get_scheduler(struct shell *sh, const struct args *a, GVariant *dom, unsigned flags, GVariant **ret)
{
	g_autoptr(GVariant) answer = ask(sh, "domain_get_scheduler_type", "(@" DOMAIN ")", dom), params = NULL;
	const char *type;
	gint32 n;

	if (!answer)
		return false;
	g_variant_get(answer, "(&si)", &type, &n);
	say_field(sh, 17, "Scheduler      ", "%s", type);
	params = is_new(a, flags) ? ask(sh, "domain_get_scheduler_parameters_flags", "(@" DOMAIN "iu)", dom, n, flags)
				  : ask(sh, "domain_get_scheduler_parameters", "(@" DOMAIN "i)", dom, n);
	*ret = first_of(params);
	return *ret;
}

/* The new value in the type of the old one; NULL: with the error. */
static GVariant *value_like(struct shell *sh, GVariant *old, const char *name, const char *text)
{
	guint64 v = 0;
	gint64 w = 0;
	bool is_i32 = g_variant_is_of_type(old, G_VARIANT_TYPE_INT32), is_u32 = g_variant_is_of_type(old, G_VARIANT_TYPE_UINT32);
	bool is_signed = is_i32 || g_variant_is_of_type(old, G_VARIANT_TYPE_INT64);
	gint64 least = is_i32 ? G_MININT : G_MININT64, most = is_i32 ? G_MAXINT : G_MAXINT64;
	bool ok = is_signed ? g_ascii_string_to_signed(text, 10, least, most, &w, NULL)
			    : g_ascii_string_to_unsigned(text, 10, 0, is_u32 ? G_MAXUINT : G_MAXUINT64, &v, NULL);

	if (!ok) {
		rpc_fail(&sh->error, VIR_ERR_INVALID_ARG, "Invalid value for field '%s': expected %s", name,
			 g_variant_is_of_type(old, G_VARIANT_TYPE_INT32)    ? "int"
			 : g_variant_is_of_type(old, G_VARIANT_TYPE_UINT32) ? "unsigned int"
			 : g_variant_is_of_type(old, G_VARIANT_TYPE_INT64)  ? "long long"
									    : "unsigned long long");
		return NULL;
	}
	switch (g_variant_classify(old)) {
	case G_VARIANT_CLASS_INT32:
		return g_variant_new_int32(w);
	case G_VARIANT_CLASS_INT64:
		return g_variant_new_int64(w);
	case G_VARIANT_CLASS_UINT32:
		return g_variant_new_uint32(v);
	default:
		return g_variant_new_uint64(v);
	}
}

/* The parameters that are to be set, "name=value" each. NULL: said. */
static GPtrArray *wanted_of(struct shell *sh, const struct args *a)
{
	static const char *const options[] = { "weight", "cap" };
	g_autoptr(GPtrArray) wanted = g_ptr_array_new_with_free_func(g_free);

	for (unsigned i = 0; i < G_N_ELEMENTS(options); i++)
		if (arg_on(a, options[i]))
			g_ptr_array_add(wanted, g_strdup_printf("%s=%s", options[i], arg_text(a, options[i])));
	for (char *const *s = arg_list(a, "set"); s && *s; s++) {
		if (!strchr(*s, '=')) {
			shell_error(sh, "Invalid syntax for --set, expecting name=value");
			return NULL;
		}
		g_ptr_array_add(wanted, g_strdup(*s));
	}
	return g_steal_pointer(&wanted);
}

/* What is to be set of what there is: a(sv) with *n in it. false: said. */
static bool take_scheduler(struct shell *sh, const struct args *a, GVariant *params, GVariantBuilder *out, unsigned *n)
{
	g_autoptr(GPtrArray) wanted = wanted_of(sh, a);
	g_autoptr(GHashTable) known = g_hash_table_new(g_str_hash, g_str_equal);

	for (gsize i = 0; wanted && i < g_variant_n_children(params); i++) {
		g_autoptr(GVariant) old = NULL;
		const char *name;

		g_variant_get_child(params, i, "(&sv)", &name, &old);
		for (unsigned k = 0; k < wanted->len; k++) {
			const char *each = g_ptr_array_index(wanted, k);
			GVariant *value;

			if (!g_str_has_prefix(each, name) || each[strlen(name)] != '=')
				continue;
			if (!g_hash_table_add(known, (char *)name))
				return rpc_fail(&sh->error, VIR_ERR_INVALID_ARG, "parameter '%s' occurs multiple times", name);
			value = value_like(sh, old, name, each + strlen(name) + 1);
			if (!value)
				return false;
			g_variant_builder_add(out, "(sv)", name, value);
			++*n;
		}
	}
	for (unsigned k = 0; wanted && k < wanted->len; k++) {
		const char *each = g_ptr_array_index(wanted, k);
		g_autofree char *name = g_strndup(each, strcspn(each, "="));

		if (!g_hash_table_contains(known, name))
			return shell_error(sh, "invalid scheduler option: %s", name);
	}
	return wanted;
}

bool cmd_schedinfo(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = NULL, params = NULL, list = NULL, after = NULL;
	int flags = affect_of(sh, a);
	GVariantBuilder out;
	unsigned n = 0;
	bool ok;

	if (flags < 0 || !(dom = find_domain(sh, a, "domain")) || !get_scheduler(sh, a, dom, flags, &params))
		return false;
	g_variant_builder_init(&out, G_VARIANT_TYPE("a(sv)"));
	ok = take_scheduler(sh, a, params, &out, &n);
	list = g_variant_ref_sink(g_variant_builder_end(&out));
	if (!ok)
		return false;
	if (n) {
		g_autoptr(GVariant) answer = NULL;

		ok = is_new(a, flags) ? tell(sh, "domain_set_scheduler_parameters_flags", "(@" DOMAIN "@a(sv)u)", dom, list,
					     flags)
				      : tell(sh, "domain_set_scheduler_parameters", "(@" DOMAIN "@a(sv))", dom, list);
		if (!ok)
			return false;
		answer = is_new(a, flags) ? ask(sh, "domain_get_scheduler_parameters_flags", "(@" DOMAIN "iu)", dom,
						(int)g_variant_n_children(params), flags)
					  : ask(sh, "domain_get_scheduler_parameters", "(@" DOMAIN "i)", dom,
						(int)g_variant_n_children(params));
		after = first_of(answer);
		if (!after)
			return false;
	}
	say_limits(sh, after ? after : params, false);
	return true;
}

/* ---- NUMA ---- */

static const char *const numa_modes[] = { "strict", "preferred", "interleave", "restrictive", NULL };

static void say_numa(struct shell *sh, GVariant *params)
{
	for (gsize i = 0; i < g_variant_n_children(params); i++) {
		g_autoptr(GVariant) value = NULL;
		const char *name;
		int mode;

		g_variant_get_child(params, i, "(&sv)", &name, &value);
		if (strcmp(name, "numa_mode") == 0 && g_variant_is_of_type(value, G_VARIANT_TYPE_INT32)) {
			g_autoptr(GVariant) shown = NULL;

			mode = g_variant_get_int32(value);
			shown = g_variant_ref_sink(g_variant_new_string(
				mode >= 0 && mode < (int)G_N_ELEMENTS(numa_modes) - 1 ? numa_modes[mode] : "unknown"));
			say_param(sh, name, shown, false);
		} else {
			say_param(sh, name, value, false);
		}
	}
}

bool cmd_numatune(struct shell *sh, const struct args *a)
{
	const char *mode = arg_text(a, "mode"), *nodes = arg_text(a, "nodeset");
	g_autoptr(GVariant) dom = NULL, params = NULL, list = NULL;
	int flags = affect_of(sh, a), which = -1;
	gint64 number;
	GVariantBuilder out;

	if (flags < 0 || !(dom = find_domain(sh, a, "domain")))
		return false;
	if (mode) {
		which = word_of(mode, numa_modes);
		/* A number is for the server to judge. */
		if (which < 0 && g_ascii_string_to_signed(mode, 10, G_MININT, G_MAXINT, &number, NULL))
			which = number;
		else if (which < 0)
			return shell_error(sh, "Invalid mode: %s", mode);
	}
	g_variant_builder_init(&out, G_VARIANT_TYPE("a(sv)"));
	if (nodes)
		g_variant_builder_add(&out, "(sv)", "numa_nodeset", g_variant_new_string(nodes));
	if (mode)
		g_variant_builder_add(&out, "(sv)", "numa_mode", g_variant_new_int32(which));
	list = g_variant_ref_sink(g_variant_builder_end(&out));
	if (g_variant_n_children(list))
		return tell(sh, "domain_set_numa_parameters", "(@" DOMAIN "@a(sv)u)", dom, list, flags) ||
		       shell_error(sh, "Unable to change numa parameters");
	params = ask_params(sh, "domain_get_numa_parameters", "(@" DOMAIN "iu)", dom, 0, flags | texts_flag(sh));
	if (!params)
		return shell_error(sh, error_code(sh) == VIR_ERR_NO_SUPPORT ? "Unable to get number of memory parameters"
									    : "Unable to get numa parameters");
	say_numa(sh, params);
	return true;
}

/* ---- a network interface ---- */

const char *const rate_names[N_RATES] = { "average", "peak", "burst", "floor" };

bool take_rates(struct shell *sh, const char *text, guint64 rates[N_RATES])
{
	g_auto(GStrv) parts = g_strsplit(text, ",", -1);

	if (g_strv_length(parts) > N_RATES)
		return shell_error(sh, "Rate string '%s' has too many fields", text);
	for (unsigned i = 0; parts[i]; i++) {
		char *end;

		errno = 0;
		rates[i] = g_ascii_strtoull(parts[i], &end, 10);
		if (*parts[i] && (errno || end == parts[i] || *end || strchr(parts[i], '-')))
			return shell_error(sh, "field '%s' is malformed", rate_names[i]);
	}
	return true;
}

bool check_rates(struct shell *sh, const char *direction, const guint64 rates[N_RATES], bool needs_average)
{
	bool inbound = strcmp(direction, "inbound") == 0;

	if (!rates[RATE_AVERAGE] && (needs_average || rates[RATE_BURST] || rates[RATE_PEAK]) && !(inbound && rates[RATE_FLOOR]))
		return shell_error(sh,
				   inbound ? "either inbound average or floor is mandatory" : "outbound average is mandatory");
	return inbound || !rates[RATE_FLOOR] || shell_error(sh, "outbound floor is unsupported yet");
}

/* What of a direction is to be set; false: said. */
static bool add_rates(struct shell *sh, const struct args *a, const char *direction, GVariantBuilder *out)
{
	guint64 rates[N_RATES] = {};

	if (!arg_on(a, direction))
		return true;
	if (!take_rates(sh, arg_text(a, direction), rates))
		return false;
	for (unsigned i = 0; i < N_RATES; i++)
		if (rates[i] > G_MAXUINT)
			return shell_error(sh, "%s rate larger than maximum %u", direction, G_MAXUINT);
	if (!check_rates(sh, direction, rates, false))
		return false;
	for (unsigned i = 0; i < N_RATES; i++) {
		g_autofree char *name = g_strdup_printf("%s.%s", direction, rate_names[i]);

		if (i == RATE_AVERAGE || rates[i])
			g_variant_builder_add(out, "(sv)", name, g_variant_new_uint32(rates[i]));
	}
	return true;
}

bool cmd_domiftune(struct shell *sh, const struct args *a)
{
	const char *device = arg_text(a, "interface");
	g_autoptr(GVariant) dom = NULL, params = NULL, list = NULL;
	int flags = affect_of(sh, a);
	GVariantBuilder out;
	bool ok;

	if (flags < 0 || !(dom = find_domain(sh, a, "domain")))
		return false;
	g_variant_builder_init(&out, G_VARIANT_TYPE("a(sv)"));
	ok = add_rates(sh, a, "inbound", &out) && add_rates(sh, a, "outbound", &out);
	list = g_variant_ref_sink(g_variant_builder_end(&out));
	if (!ok)
		return false;
	if (g_variant_n_children(list))
		return tell(sh, "domain_set_interface_parameters", "(@" DOMAIN "s@a(sv)u)", dom, device, list, flags) ||
		       shell_error(sh, "Unable to set interface parameters");
	params = ask_params(sh, "domain_get_interface_parameters", "(@" DOMAIN "siu)", dom, device, 0, flags | texts_flag(sh));
	if (!params)
		return shell_error(sh, error_code(sh) == VIR_ERR_NO_SUPPORT ? "Unable to get number of interface parameters"
									    : "Unable to get interface parameters");
	say_limits(sh, params, false);
	return true;
}

/* ---- performance events ---- */

static void say_event(struct shell *sh, const char *name, bool on)
{
	if (sh->json)
		say_field(sh, 0, name, "%s", on ? "enabled" : "disabled");
	else
		say(sh, "%-15s: %s\n", name, on ? "enabled" : "disabled");
}

static void add_events(const struct args *a, const char *option, bool on, GVariantBuilder *out)
{
	g_auto(GStrv) names = g_strsplit(arg_on(a, option) ? arg_text(a, option) : "", ",", -1);

	for (char **n = names; *n; n++)
		g_variant_builder_add(out, "(sv)", *n, g_variant_new_boolean(on));
}

bool cmd_perf(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = NULL, answer = NULL, params = NULL, list = NULL;
	int flags = affect_of(sh, a);
	GVariantBuilder out;

	if (flags < 0 || !(dom = find_domain(sh, a, "domain")))
		return false;
	g_variant_builder_init(&out, G_VARIANT_TYPE("a(sv)"));
	add_events(a, "enable", true, &out);
	add_events(a, "disable", false, &out);
	list = g_variant_ref_sink(g_variant_builder_end(&out));
	if (g_variant_n_children(list)) {
		if (!tell(sh, "domain_set_perf_events", "(@" DOMAIN "@a(sv)u)", dom, list, flags))
			return shell_error(sh, "Unable to enable/disable perf events");
	} else {
		answer = ask(sh, "domain_get_perf_events", "(@" DOMAIN "u)", dom, flags);
		if (!answer)
			return shell_error(sh, "Unable to get perf events");
	}
	params = answer ? first_of(answer) : g_variant_ref(list);
	for (gsize i = 0; i < g_variant_n_children(params); i++) {
		g_autoptr(GVariant) value = NULL;
		const char *name;

		g_variant_get_child(params, i, "(&sv)", &name, &value);
		if (g_variant_is_of_type(value, G_VARIANT_TYPE_BOOLEAN))
			say_event(sh, name, g_variant_get_boolean(value));
	}
	return true;
}
