/* SPDX-License-Identifier: GPL-2.0-or-later */
/* domjobinfo: what a domain is doing, and how far it is. */
#include <string.h>

#include "args.h"
#include "domain.h"
#include "objects.h"
#include "rpc/message.h"

/* VIR_DOMAIN_JOB_… */
enum { JOB_NONE, JOB_BOUNDED, JOB_UNBOUNDED, JOB_COMPLETED, JOB_FAILED, JOB_CANCELLED };
enum { STATS_COMPLETED = 1, STATS_KEEP = 2 };

static const char *const types[] = { "None", "Bounded", "Unbounded", "Completed", "Failed", "Cancelled" };
static const char *const operations[] = {
	"Unknown",  "Start",	       "Save", "Restore", "Incoming migration", "Outgoing migration",
	"Snapshot", "Snapshot revert", "Dump", "Backup",  "Snapshot delete"
};

/* How a line is shown, and when. */
enum kind { MS, SIZE, RATE, PAGES, BYTES, COUNT, WIDE_COUNT, THROTTLE, TEXT };
enum when { ALWAYS, IF_SET, IF_DATA, IF_MEMORY, IF_FILE, IF_BOUNDED };

static const struct line {
	const char *param, *label;
	enum kind kind;
	enum when when; /* but for ALWAYS and of a group's own three, also only when there is one */
	bool is_group;
} lines[] = {
	{ "time_elapsed", "Time elapsed:", MS, ALWAYS },
	{ "time_elapsed_net", "Time elapsed w/o network:", MS, IF_SET },
	{ "time_remaining", "Time remaining:", MS, IF_BOUNDED },
	{ "data_processed", "Data processed:", SIZE, IF_DATA, true },
	{ "data_remaining", "Data remaining:", SIZE, IF_DATA, true },
	{ "data_total", "Data total:", SIZE, IF_DATA, true },
	{ "memory_processed", "Memory processed:", SIZE, IF_MEMORY, true },
	{ "memory_remaining", "Memory remaining:", SIZE, IF_MEMORY, true },
	{ "memory_total", "Memory total:", SIZE, IF_MEMORY, true },
	{ "memory_bps", "Memory bandwidth:", RATE, IF_MEMORY },
	{ "memory_dirty_rate", "Dirty rate:", PAGES, IF_MEMORY },
	{ "memory_page_size", "Page size:", BYTES, IF_MEMORY },
	{ "memory_iteration", "Iteration:", COUNT, IF_MEMORY },
	{ "memory_postcopy_requests", "Postcopy requests:", COUNT, IF_MEMORY },
	{ "disk_processed", "File processed:", SIZE, IF_FILE, true },
	{ "disk_remaining", "File remaining:", SIZE, IF_FILE, true },
	{ "disk_total", "File total:", SIZE, IF_FILE, true },
	{ "disk_bps", "File bandwidth:", RATE, IF_FILE },
	{ "memory_constant", "Constant pages:", COUNT, IF_SET },
	{ "memory_normal", "Normal pages:", COUNT, IF_SET },
	{ "memory_normal_bytes", "Normal data:", SIZE, IF_SET },
	{ "downtime", "Expected downtime:", MS, IF_SET },
	{ "downtime_net", "Downtime w/o network:", MS, IF_SET },
	{ "setup_time", "Setup time:", MS, IF_SET },
	{ "compression_cache", "Compression cache:", SIZE, IF_SET },
	{ "compression_bytes", "Compressed data:", SIZE, IF_SET },
	{ "compression_pages", "Compressed pages:", WIDE_COUNT, IF_SET },
	{ "compression_cache_misses", "Compression cache misses:", WIDE_COUNT, IF_SET },
	{ "compression_overflow", "Compression overflows:", WIDE_COUNT, IF_SET },
	{ "auto_converge_throttle", "Auto converge throttle:", THROTTLE, IF_SET },
	{ "disk_temp_used", "Temporary disk space use:", SIZE, IF_SET },
	{ "disk_temp_total", "Temporary disk space total:", SIZE, IF_SET },
	{ "errmsg", "Error message:", TEXT, IF_SET },
};

static GVariant *param(GVariant *params, const char *name)
{
	for (gsize i = 0; i < g_variant_n_children(params); i++) {
		const char *each;
		GVariant *value;

		g_variant_get_child(params, i, "(&sv)", &each, &value);
		if (strcmp(each, name) == 0)
			return value;
		g_variant_unref(value);
	}
	return NULL;
}

static guint64 number(GVariant *params, const char *name)
{
	g_autoptr(GVariant) value = param(params, name);

	return !value						    ? 0
	       : g_variant_is_of_type(value, G_VARIANT_TYPE_UINT64) ? g_variant_get_uint64(value)
	       : g_variant_is_of_type(value, G_VARIANT_TYPE_INT32)  ? (guint64)g_variant_get_int32(value)
								    : 0;
}

static bool any_of(GVariant *params, const char *prefix)
{
	static const char *const parts[] = { "total", "processed", "remaining" };

	for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
		g_autofree char *name = g_strconcat(prefix, parts[i], NULL);

		if (number(params, name))
			return true;
	}
	return false;
}

static void say_line(struct shell *sh, const struct line *l, const char *label, GVariant *params)
{
	g_autoptr(GVariant) value = param(params, l->param);
	guint64 v = number(params, l->param);
	g_autofree char *text = NULL;
	const char *unit;
	double size = scaled(v, &unit);

	switch (l->kind) {
	case MS:
		text = g_strdup_printf("%-12" G_GUINT64_FORMAT " ms", v);
		break;
	case SIZE:
		text = g_strdup_printf("%-.3f %s", size, unit);
		break;
	case RATE:
		text = g_strdup_printf("%-.3f %s/s", size, unit);
		break;
	case PAGES:
		text = g_strdup_printf("%-12" G_GUINT64_FORMAT " pages/s", v);
		break;
	case BYTES:
		text = g_strdup_printf("%-12" G_GUINT64_FORMAT " bytes", v);
		break;
	case COUNT:
		text = g_strdup_printf("%-12" G_GUINT64_FORMAT, v);
		break;
	case WIDE_COUNT:
		text = g_strdup_printf("%-13" G_GUINT64_FORMAT, v);
		break;
	case THROTTLE:
		text = g_strdup_printf("%-13d", (int)v);
		break;
	default:
		text = param_text(value);
	}
	if (sh->json) {
		g_autofree char *name = g_strndup(label, strlen(label) - 1);

		say_field(sh, 0, name, "%s", g_strchomp(text));
	} else {
		say(sh, "%-17s %s\n", label, text);
	}
}

static void say_lines(struct shell *sh, GVariant *params, int type)
{
	bool any[] = {
		[IF_DATA] = any_of(params, "data_"), [IF_MEMORY] = any_of(params, "memory_"), [IF_FILE] = any_of(params, "disk_")
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++) {
		const struct line *l = &lines[i];
		g_autoptr(GVariant) value = param(params, l->param);
		bool in_group = l->when == IF_DATA || l->when == IF_MEMORY || l->when == IF_FILE;
		bool shown = l->when == ALWAYS	     ? true
			     : l->when == IF_BOUNDED ? type == JOB_BOUNDED
			     : in_group		     ? any[l->when] && (l->is_group || value)
						     : value != NULL;

		if (shown)
			say_line(sh, l, strcmp(l->param, "downtime") == 0 && type == JOB_COMPLETED ? "Total downtime:" : l->label,
				 params);
	}
}

/* The older call's answer as the newer one has it. */
static GVariant *old_info(struct shell *sh, GVariant *dom, int *ret_type)
{
	static const char *const names[] = { "time_elapsed",   "time_remaining", "data_total",	     "data_processed",
					     "data_remaining", "memory_total",	 "memory_processed", "memory_remaining",
					     "disk_total",     "disk_processed", "disk_remaining" };
	g_autoptr(GVariant) answer = ask(sh, "domain_get_job_info", "(@" DOMAIN ")", dom);
	GVariantBuilder out;

	if (!answer)
		return NULL;
	g_variant_get_child(answer, 0, "i", ret_type);
	g_variant_builder_init(&out, G_VARIANT_TYPE("a(sv)"));
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		GVariant *value = g_variant_get_child_value(answer, i + 1);

		g_variant_builder_add(&out, "(sv)", names[i], value);
		g_variant_unref(value);
	}
	return g_variant_ref_sink(g_variant_builder_end(&out));
}

static GVariant *get_stats(struct shell *sh, const struct args *a, GVariant *dom, unsigned flags, int *ret_type)
{
	g_autoptr(GVariant) answer = ask(sh, "domain_get_job_stats", "(@" DOMAIN "u)", dom, flags);

	if (answer) {
		g_variant_get_child(answer, 0, "i", ret_type);
		return g_variant_get_child_value(answer, 1);
	}
	if (error_code(sh) != VIR_ERR_NO_SUPPORT)
		return NULL;
	if (flags || arg_on(a, "rawstats")) {
		shell_error(sh, "Optional flags or --rawstats are not supported by the daemon");
		return NULL;
	}
	return old_info(sh, dom, ret_type);
}

static void say_word(struct shell *sh, const char *name, const char *word)
{
	if (sh->json)
		say_field(sh, 0, name, "%s", word);
	else
		say(sh, "%s:%*s%-12s\n", name, (int)(17 - strlen(name)), "", word);
}

bool cmd_domjobinfo(struct shell *sh, const struct args *a)
{
	static const struct flag flags_table[] = { { "completed", STATS_COMPLETED }, { "keep-completed", STATS_KEEP }, {} };
	unsigned flags = flags_of(a, flags_table);
	g_autoptr(GVariant) dom = NULL, params = NULL;
	int type;

	if (!args_require(sh, a, "keep-completed", "completed") || !(dom = find_domain(sh, a, "domain")) ||
	    !(params = get_stats(sh, a, dom, flags, &type)))
		return false;
	if (arg_on(a, "rawstats")) {
		say(sh, "Job type: %d\n\n", type);
		for (gsize i = 0; i < g_variant_n_children(params); i++) {
			g_autoptr(GVariant) value = NULL;
			g_autofree char *text = NULL;
			const char *name;

			g_variant_get_child(params, i, "(&sv)", &name, &value);
			if (g_variant_is_of_type(value, G_VARIANT_TYPE_BOOLEAN))
				text = g_strdup(g_variant_get_boolean(value) ? "1" : "0");
			else
				text = param_text(value);
			say(sh, "%s: %s\n", name, text);
		}
		return true;
	}
	say_word(sh, "Job type", types[type >= 0 && type < (int)G_N_ELEMENTS(types) ? type : 0]);
	if (!arg_on(a, "anystats") && type != JOB_BOUNDED && type != JOB_UNBOUNDED &&
	    (!(flags & STATS_COMPLETED) || type != JOB_COMPLETED))
		return true;
	if (g_variant_n_children(params)) {
		guint64 operation = number(params, "operation");

		say_word(sh, "Operation", operations[operation < G_N_ELEMENTS(operations) ? operation : 0]);
		say_lines(sh, params, type);
	}
	return true;
}
