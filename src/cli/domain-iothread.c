/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about a domain's I/O threads. */
#include <string.h>

#include "args.h"
#include "domain.h"
#include "objects.h"

/* The number in option; false: said. */
static bool take_id(struct shell *sh, const struct args *a, const char *option, int *ret)
{
	if (arg_int(sh, a, option, ret) < 0)
		return false;
	return *ret > 0 || shell_error(sh, "Invalid IOThread id value: '%d'", *ret);
}

bool cmd_iothreadinfo(struct shell *sh, const struct args *a)
{
	int flags = affect_of(sh, a), cpus;
	g_autoptr(GVariant) dom = NULL, answer = NULL, list = NULL;
	struct table *t;

	if (flags < 0 || !(dom = find_domain(sh, a, "domain")))
		return false;
	answer = ask(sh, "domain_get_iothread_info", "(@" DOMAIN "u)", dom, flags);
	list = first_of(answer);
	if (!list)
		return shell_error(sh, "Unable to get domain IOThreads information");
	if (!g_variant_n_children(list)) {
		say_extra(sh, "No IOThreads found for the domain");
		return true;
	}
	cpus = host_cpus(sh);
	if (cpus < 0)
		return false;
	t = table_new("IOThread ID", "CPU Affinity", NULL);
	for (gsize i = 0; i < g_variant_n_children(list); i++) {
		g_autoptr(GVariant) map = NULL;
		g_autofree char *id = NULL, *shown = NULL;
		const guint8 *bytes;
		guint32 number;
		gsize len;

		g_variant_get_child(list, i, "(u@ay)", &number, &map);
		bytes = g_variant_get_fixed_array(map, &len, 1);
		id = g_strdup_printf("%u", number);
		shown = cpu_list(bytes, len, cpus);
		table_add(t, id, shown, NULL);
	}
	table_say(sh, t);
	return true;
}

static bool change(struct shell *sh, const struct args *a, const char *procedure)
{
	int flags = affect_of(sh, a), id;
	g_autoptr(GVariant) dom = NULL;

	return flags >= 0 && (dom = find_domain(sh, a, "domain")) && take_id(sh, a, "id", &id) &&
	       tell(sh, procedure, "(@" DOMAIN "uu)", dom, id, flags);
}

bool cmd_iothreadadd(struct shell *sh, const struct args *a)
{
	return change(sh, a, "domain_add_iothread");
}

bool cmd_iothreaddel(struct shell *sh, const struct args *a)
{
	return change(sh, a, "domain_del_iothread");
}

bool cmd_iothreadpin(struct shell *sh, const struct args *a)
{
	int flags = affect_of(sh, a), cpus, id;
	g_autoptr(GVariant) dom = NULL, map = NULL;

	if (flags < 0 || !(dom = find_domain(sh, a, "domain")) || !take_id(sh, a, "iothread", &id) || (cpus = host_cpus(sh)) < 0)
		return false;
	map = cpu_map(sh, arg_text(a, "cpulist"), cpus);
	return map && tell(sh, "domain_pin_iothread", "(@" DOMAIN "u@ayu)", dom, id, g_variant_ref_sink(map), flags);
}

bool cmd_iothreadset(struct shell *sh, const struct args *a)
{
	static const struct {
		const char *option, *param;
		char type; /* of the value, as GVariant has it */
	} params[] = { { "poll-max-ns", "poll_max_ns", 't' },
		       { "poll-grow", "poll_grow", 'u' },
		       { "poll-shrink", "poll_shrink", 'u' },
		       { "thread-pool-min", "thread_pool_min", 'i' },
		       { "thread-pool-max", "thread_pool_max", 'i' } };
	int flags = affect_of(sh, a), id;
	g_autoptr(GVariant) dom = NULL, list = NULL;
	GVariantBuilder out;
	bool ok = true;

	if (flags < 0 || !(dom = find_domain(sh, a, "domain")) || !take_id(sh, a, "id", &id))
		return false;
	g_variant_builder_init(&out, G_VARIANT_TYPE("a(sv)"));
	for (unsigned i = 0; i < G_N_ELEMENTS(params) && ok; i++) {
		guint64 wide = 0;
		unsigned natural = 0;
		int integer = 0, given = params[i].type == 't'	 ? arg_u64(sh, a, params[i].option, &wide)
					 : params[i].type == 'u' ? arg_uint(sh, a, params[i].option, &natural)
								 : arg_int(sh, a, params[i].option, &integer);

		ok = given >= 0;
		if (given > 0)
			g_variant_builder_add(&out, "(sv)", params[i].param,
					      params[i].type == 't'   ? g_variant_new_uint64(wide)
					      : params[i].type == 'u' ? g_variant_new_uint32(natural)
								      : g_variant_new_int32(integer));
	}
	list = g_variant_ref_sink(g_variant_builder_end(&out));
	if (!ok)
		return false;
	if (!g_variant_n_children(list))
		return shell_error(sh, "Not enough arguments passed, nothing to set");
	return tell(sh, "domain_set_iothread_params", "(@" DOMAIN "u@a(sv)u)", dom, id, list, flags);
}
