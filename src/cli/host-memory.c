/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about the host's memory pages, and how it merges equal ones. */
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "host.h"
#include "objects.h"
#include "rpc/message.h"

enum { KIB = 1024 };

/* The host's description; NULL: said. */
static struct node *host_caps(struct shell *sh)
{
	g_autofree char *xml = ask_text(sh, "connect_get_capabilities", NULL);
	struct node *caps = xml ? node_parse(xml, &sh->error) : NULL;

	if (!caps)
		shell_error(sh, xml ? "unable to parse node capabilities" : "unable to get node capabilities");
	return caps;
}

static int compare_sizes(const void *a, const void *b)
{
	const guint32 *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Sizes of pages in KiB, each once, in order; NULL: said. */
static GArray *page_sizes(struct shell *sh, const struct node *caps)
{
	g_autoptr(GPtrArray) all = node_all(caps, "host/cpu/pages");
	g_autoptr(GArray) sizes = g_array_new(false, false, sizeof(guint32));

	if (!all->len) {
		g_ptr_array_unref(all);
		all = node_all(caps, "host/topology/cells/cell/pages");
	}
	for (unsigned i = 0; i < all->len; i++) {
		const char *text = node_attr(g_ptr_array_index(all, i), "size");
		guint64 number;
		guint32 size;

		if (!text || !g_ascii_string_to_unsigned(text, 10, 1, G_MAXUINT32, &number, NULL)) {
			shell_error(sh, "unable to parse page size: %s", text ? text : "");
			return NULL;
		}
		size = number;
		g_array_append_val(sizes, size);
	}
	if (!sizes->len) {
		shell_error(sh, "could not get information about supported page sizes");
		return NULL;
	}
	g_array_sort(sizes, compare_sizes);
	for (unsigned i = sizes->len - 1; i > 0; i--)
		if (g_array_index(sizes, guint32, i) == g_array_index(sizes, guint32, i - 1))
			g_array_remove_index(sizes, i);
	return g_steal_pointer(&sizes);
}

/* Numbers of the cells; NULL: said. */
static GArray *cells_of(struct shell *sh, const struct node *caps)
{
	g_autoptr(GPtrArray) all = node_all(caps, "host/topology/cells/cell");
	g_autoptr(GArray) cells = g_array_new(false, false, sizeof(int));

	for (unsigned i = 0; i < all->len; i++) {
		const char *text = node_attr(g_ptr_array_index(all, i), "id");
		guint64 number;
		int cell;

		if (!text || !g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT, &number, NULL)) {
			shell_error(sh, "unable to parse numa node id: %s", text ? text : "");
			return NULL;
		}
		cell = number;
		g_array_append_val(cells, cell);
	}
	if (!cells->len) {
		shell_error(sh, "could not get information about NUMA topology");
		return NULL;
	}
	return g_steal_pointer(&cells);
}

/* How many pages of each size a cell has free; false with the error. */
static bool say_free(struct shell *sh, GArray *sizes, int cell, bool with_title, struct table *t)
{
	g_autoptr(GVariant) list =
		g_variant_ref_sink(g_variant_new_fixed_array(G_VARIANT_TYPE_UINT32, sizes->data, sizes->len, sizeof(guint32))),
			    answer = ask(sh, "node_get_free_pages", "(@auiuu)", list, cell, 1, 0), counts = first_of(answer);

	if (!counts)
		return false;
	if (with_title)
		say(sh, "Node %d:\n", cell);
	for (unsigned i = 0; i < sizes->len && i < g_variant_n_children(counts); i++) {
		g_autofree char *where = g_strdup_printf("%d", cell), *size = NULL, *count = NULL;
		guint64 n;

		g_variant_get_child(counts, i, "t", &n);
		size = g_strdup_printf("%uKiB", g_array_index(sizes, guint32, i));
		count = g_strdup_printf("%" G_GUINT64_FORMAT, n);
		if (t)
			table_add(t, where, size, count, NULL);
		else
			say(sh, "%s: %s\n", size, count);
	}
	return true;
}

/* only: of these sizes; NULL: of all. */
static bool free_of_all(struct shell *sh, GArray *only)
{
	g_autoptr(node) caps = host_caps(sh);
	g_autoptr(GArray) sizes = !caps	 ? NULL
				  : only ? g_array_ref(only)
					 : page_sizes(sh, caps),
			  cells = sizes ? cells_of(sh, caps) : NULL;
	struct table *t = sh->json ? table_new("Node", "Size", "Free", NULL) : NULL;
	bool ok = cells;

	for (unsigned i = 0; ok && i < cells->len; i++) {
		ok = say_free(sh, sizes, g_array_index(cells, int, i), true, t);
		if (ok)
			say(sh, "\n");
	}
	if (t)
		table_say(sh, t);
	return ok;
}

bool cmd_freepages(struct shell *sh, const struct args *a)
{
	g_autoptr(GArray) sizes = NULL;
	guint64 bytes = 0;
	guint32 size;
	int cell = 0, with_cell, with_size;

	if (args_exclude(sh, a, "all", "cellno") || (with_cell = arg_int(sh, a, "cellno", &cell)) < 0 ||
	    (with_size = arg_size(sh, a, "pagesize", KIB, &bytes)) < 0)
		return false;
	if (with_size) {
		sizes = g_array_new(false, false, sizeof(guint32));
		size = bytes / KIB;
		g_array_append_val(sizes, size);
	}
	if (arg_on(a, "all"))
		return free_of_all(sh, sizes);
	if (!with_cell)
		return shell_error(sh, "missing cellno argument");
	if (cell < -1)
		return shell_error(sh, "cell number must be non-negative integer or -1");
	if (!with_size)
		return shell_error(sh, "missing pagesize argument");
	return say_free(sh, sizes, cell, false, NULL);
}

bool cmd_allocpages(struct shell *sh, const struct args *a)
{
	enum { SET = 1 };
	unsigned flags = arg_on(a, "add") ? 0 : SET;
	guint64 bytes, count;
	g_autoptr(node) caps = NULL;
	g_autoptr(GArray) cells = NULL;
	int start = -1, n = 1, ignored;

	if (args_exclude(sh, a, "all", "cellno") || arg_int(sh, a, "cellno", &start) < 0 ||
	    arg_size(sh, a, "pagesize", KIB, &bytes) < 0 || arg_u64(sh, a, "pagecount", &count) < 0)
		return false;
	if (arg_on(a, "all")) {
		caps = host_caps(sh);
		cells = caps ? cells_of(sh, caps) : NULL;
		if (!cells)
			return false;
		start = 0;
		n = cells->len;
	}
	return ask_int(sh, &ignored, "node_alloc_pages", "(@au@atiuu)", g_variant_new_parsed("[%u]", (guint32)(bytes / KIB)),
		       g_variant_new_parsed("[%t]", count), start, n, flags);
}

bool cmd_node_memory_tune(struct shell *sh, const struct args *a)
{
	static const struct {
		const char *option, *param;
	} options[] = { { "shm-pages-to-scan", "shm_pages_to_scan" },
			{ "shm-sleep-millisecs", "shm_sleep_millisecs" },
			{ "shm-merge-across-nodes", "shm_merge_across_nodes" } };
	g_autoptr(GVariant) list = NULL, params = NULL;
	GVariantBuilder out;
	bool ok = true;

	g_variant_builder_init(&out, G_VARIANT_TYPE("a(sv)"));
	for (unsigned i = 0; i < G_N_ELEMENTS(options) && ok; i++) {
		unsigned v = 0;
		int given = arg_uint(sh, a, options[i].option, &v);

		ok = given >= 0;
		if (given > 0)
			g_variant_builder_add(&out, "(sv)", options[i].param, g_variant_new_uint32(v));
	}
	list = g_variant_ref_sink(g_variant_builder_end(&out));
	if (!ok)
		return false;
	if (g_variant_n_children(list))
		return tell(sh, "node_set_memory_parameters", "(@a(sv)u)", list, 0) ||
		       shell_error(sh, "Unable to change memory parameters");
	params = ask_params(sh, "node_get_memory_parameters", "(iu)", 0, 0);
	if (!params)
		return shell_error(sh, error_code(sh) == VIR_ERR_NO_SUPPORT ? "Unable to get number of memory parameters"
									    : "Unable to get memory parameters");
	if (sh->json) {
		say_params(sh, params, 0);
		return true;
	}
	if (g_variant_n_children(params))
		say(sh, "Shared memory:\n");
	for (gsize i = 0; i < g_variant_n_children(params); i++) {
		g_autoptr(GVariant) value = NULL;
		g_autofree char *text = NULL;
		const char *name;

		g_variant_get_child(params, i, "(&sv)", &name, &value);
		text = param_text(value);
		say(sh, "\t%-15s %s\n", name, text);
	}
	return true;
}
