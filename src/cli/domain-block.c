/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A domain's disks: list, sizes, statistics, errors. */
#include <string.h>

#include "args.h"
#include "monitor.h"
#include "objects.h"
#include "rpc/message.h"

enum { XML_INACTIVE = 2 };

/* What a disk's source is called, whatever kind it is. */
static const char *source_of(const struct node *disk)
{
	static const char *const attributes[] = { "file", "dev", "dir", "name", "volume" };
	const struct node *source = node_get(disk, "source");

	for (unsigned i = 0; i < G_N_ELEMENTS(attributes); i++)
		if (node_attr(source, attributes[i]))
			return node_attr(source, attributes[i]);
	return NULL;
}

bool cmd_domblklist(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	g_autoptr(node) xml = dom ? domain_xml(sh, dom, arg_on(a, "inactive") ? XML_INACTIVE : 0) : NULL;
	g_autoptr(GPtrArray) disks = node_all(xml, "devices/disk");
	bool details = arg_on(a, "details");
	struct table *t;

	if (!xml)
		return false;
	t = details ? table_new("Type", "Device", "Target", "Source", NULL) : table_new("Target", "Source", NULL);
	for (unsigned i = 0; i < disks->len; i++) {
		struct node *disk = g_ptr_array_index(disks, i);
		const char *target = node_get_attr(disk, "target", "dev"), *source = source_of(disk);
		const char *type = node_attr(disk, "type"), *device = node_attr(disk, "device");

		if (!target) {
			table_say(sh, t);
			return shell_error(sh, "unable to query block list");
		}
		source = source ? source : "-";
		if (details)
			table_add(t, type ? type : "-", device ? device : "-", target, source, NULL);
		else
			table_add(t, target, source, NULL);
	}
	table_say(sh, t);
	return true;
}

static bool block_info(struct shell *sh, GVariant *dom, const char *device, guint64 values[3])
{
	g_autoptr(GVariant) answer = ask(sh, "domain_get_block_info", "(@" DOMAIN "su)", dom, device, 0);

	if (answer)
		g_variant_get(answer, "(ttt)", &values[0], &values[1], &values[2]);
	return answer;
}

static char *size_text(guint64 bytes, bool human)
{
	const char *unit;
	double v = scaled(bytes, &unit);

	return human ? g_strdup_printf("%.3f %s", v, unit) : g_strdup_printf("%" G_GUINT64_FORMAT, bytes);
}

static bool all_infos(struct shell *sh, const struct args *a, GVariant *dom)
{
	g_autoptr(node) xml = domain_xml(sh, dom, 0);
	g_autoptr(GPtrArray) disks = node_all(xml, "devices/disk");
	bool human = arg_on(a, "human");
	struct table *t;

	if (!xml)
		return false;
	t = table_new("Target", "Capacity", "Allocation", "Physical", NULL);
	for (unsigned i = 0; i < disks->len; i++) {
		struct node *disk = g_ptr_array_index(disks, i);
		const char *target = node_get_attr(disk, "target", "dev");
		guint64 v[3];

		if (target && source_of(disk) && block_info(sh, dom, target, v)) {
			g_autofree char *capacity = size_text(v[1], human), *allocation = size_text(v[0], human);
			g_autofree char *physical = size_text(v[2], human);

			table_add(t, target, capacity, allocation, physical, NULL);
		} else if (target) {
			table_add(t, target, "-", "-", "-", NULL);
		}
	}
	forget_error(sh);
	table_say(sh, t);
	return true;
}

bool cmd_domblkinfo(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = args_exclude(sh, a, "all", "device") ? NULL : find_domain(sh, a, "domain");
	const char *device = arg_text(a, "device");
	g_autofree char *capacity = NULL, *allocation = NULL, *physical = NULL;
	bool human = arg_on(a, "human");
	guint64 v[3];

	if (!dom)
		return false;
	if (arg_on(a, "all"))
		return all_infos(sh, a, dom);
	if (!device)
		return shell_error(sh, "command 'domblkinfo' requires <device> option");
	if (!block_info(sh, dom, device, v))
		return false;
	capacity = size_text(v[1], human);
	allocation = size_text(v[0], human);
	physical = size_text(v[2], human);
	say_field(sh, 16, "Capacity", "%s", capacity);
	say_field(sh, 16, "Allocation", "%s", allocation);
	say_field(sh, 16, "Physical", "%s", physical);
	return true;
}

/* ---- statistics ---- */

/* The order of virsh's lines, by what the parameter is called. */
static const struct {
	const char *param, *shown, *human;
} block_stats[] = {
	{ "rd_operations", "rd_req", "number of read operations:      " },
	{ "rd_bytes", "rd_bytes", "number of bytes read:           " },
	{ "wr_operations", "wr_req", "number of write operations:     " },
	{ "wr_bytes", "wr_bytes", "number of bytes written:        " },
	{ "errs", "errs", "error count:                    " },
	{ "flush_operations", "flush_operations", "number of flush operations:     " },
	{ "rd_total_times", "rd_total_times", "total duration of reads (ns):   " },
	{ "wr_total_times", "wr_total_times", "total duration of writes (ns):  " },
	{ "flush_total_times", "flush_total_times", "total duration of flushes (ns): " },
};

static void say_stat(struct shell *sh, const char *device, bool human, unsigned which, const char *value)
{
	if (sh->json)
		say_field(sh, 0, block_stats[which].shown, "%s", value);
	else if (human)
		say(sh, " %s%s\n", block_stats[which].human, value);
	else
		say(sh, "%s %s %s\n", device, block_stats[which].shown, value);
}

static bool old_stats(struct shell *sh, GVariant *dom, const char *device, bool human)
{
	g_autoptr(GVariant) answer = ask(sh, "domain_block_stats", "(@" DOMAIN "s)", dom, device);
	static const unsigned char order[] = { 0, 1, 2, 3, 4 };

	if (!answer)
		return shell_error(sh, "Failed to get block stats %s %s", domain_name(dom), device);
	if (human)
		say(sh, "Device: %s\n", device);
	for (unsigned i = 0; i < sizeof(order); i++) {
		g_autofree char *text = NULL;
		gint64 v;

		g_variant_get_child(answer, i, "x", &v);
		text = g_strdup_printf("%" G_GINT64_FORMAT, v);
		if (v >= 0)
			say_stat(sh, device, human, order[i], text);
	}
	return true;
}

bool cmd_domblkstat(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), params = NULL;
	const char *device = arg_text(a, "device") ? arg_text(a, "device") : "";
	bool human = arg_on(a, "human");

	if (!dom)
		return false;
	params = ask_params(sh, "domain_block_stats_flags", "(@" DOMAIN "siu)", dom, device, 0, 0);
	if (!params && error_code(sh) == VIR_ERR_NO_SUPPORT)
		return old_stats(sh, dom, device, human);
	if (!params)
		return false;
	if (human)
		say(sh, "Device: %s\n", device);
	for (unsigned i = 0; i < G_N_ELEMENTS(block_stats); i++)
		for (gsize k = 0; k < g_variant_n_children(params); k++) {
			g_autoptr(GVariant) value = NULL;
			const char *name;

			g_variant_get_child(params, k, "(&sv)", &name, &value);
			if (strcmp(name, block_stats[i].param) == 0) {
				g_autofree char *text = param_text(value);

				say_stat(sh, device, human, i, text);
			}
		}
	return true;
}

bool cmd_domblkerror(struct shell *sh, const struct args *a)
{
	static const char *const names[] = { "no error", "unspecified error", "no space" };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), count = NULL, answer = NULL, list = NULL;
	gint32 n = 0;

	if (!dom)
		return false;
	count = ask(sh, "domain_get_disk_errors", "(@" DOMAIN "uu)", dom, 0, 0);
	if (!count)
		return false;
	g_variant_get_child(count, 1, "i", &n);
	answer = n > 0 ? ask(sh, "domain_get_disk_errors", "(@" DOMAIN "uu)", dom, n, 0) : g_variant_ref(count);
	if (!answer)
		return false;
	list = first_of(answer);
	if (!g_variant_n_children(list))
		say(sh, "No errors found\n");
	for (gsize i = 0; i < g_variant_n_children(list); i++) {
		const char *disk;
		gint32 code;

		g_variant_get_child(list, i, "(&si)", &disk, &code);
		say(sh, "%s: %s\n", disk, names[code >= 0 && code < (int)G_N_ELEMENTS(names) ? code : 1]);
	}
	return true;
}
