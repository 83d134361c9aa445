/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host that libvirt's test driver says it has. */
#include "domain.h"
#include "test.h"

enum { CELLS = 2, CPUS = 16, CPUS_OF_CELL = CPUS / CELLS };

static const struct cell {
	guint64 kib;
	unsigned page; /* KiB */
} cells[CELLS] = { { 2048 * 1024, 4 }, { 4096 * 1024, 8 } };

static void append_cell(GString *out, unsigned n)
{
	g_string_append_printf(out,
			       "        <cell id='%u'>\n"
			       "          <memory unit='KiB'>%" G_GUINT64_FORMAT "</memory>\n"
			       "          <pages unit='KiB' size='%u'>%" G_GUINT64_FORMAT "</pages>\n"
			       "          <pages unit='KiB' size='2048'>0</pages>\n"
			       "          <pages unit='KiB' size='1048576'>0</pages>\n"
			       "          <cpus num='%d'>\n",
			       n, cells[n].kib, cells[n].page, cells[n].kib / cells[n].page, CPUS_OF_CELL);
	for (unsigned i = 0; i < CPUS_OF_CELL; i++)
		g_string_append_printf(out, "            <cpu id='%u' socket_id='%u' die_id='0' core_id='%u' siblings='%u'/>\n",
				       n * CPUS_OF_CELL + i, n, i, n * CPUS_OF_CELL + i);
	g_string_append(out, "          </cpus>\n        </cell>\n");
}

static void append_guest(GString *out, const char *os)
{
	g_string_append_printf(out,
			       "  <guest>\n"
			       "    <os_type>%s</os_type>\n"
			       "    <arch name='i686'>\n"
			       "      <wordsize>32</wordsize>\n"
			       "      <emulator>/usr/bin/test-hv</emulator>\n"
			       "      <domain type='test'/>\n"
			       "    </arch>\n"
			       "    <features>\n"
			       "      <pae/>\n"
			       "      <nonpae/>\n"
			       "    </features>\n"
			       "  </guest>\n\n",
			       os);
}

char *test_capabilities(struct hv *hv)
{
	GString *out = g_string_new("<capabilities>\n\n"
				    "  <host>\n"
				    "    <cpu>\n"
				    "      <arch>i686</arch>\n"
				    "      <features>\n"
				    "        <pae/>\n"
				    "        <nonpae/>\n"
				    "      </features>\n"
				    "      <pages unit='KiB' size='4'/>\n"
				    "      <pages unit='KiB' size='8'/>\n"
				    "      <pages unit='KiB' size='2048'/>\n"
				    "      <pages unit='KiB' size='1048576'/>\n"
				    "    </cpu>\n"
				    "    <power_management/>\n"
				    "    <iommu support='no'/>\n"
				    "    <topology>\n"
				    "      <cells num='2'>\n");

	for (unsigned i = 0; i < CELLS; i++)
		append_cell(out, i);
	g_string_append(out, "      </cells>\n"
			     "    </topology>\n"
			     "    <secmodel>\n"
			     "      <model>testSecurity</model>\n"
			     "      <doi></doi>\n"
			     "    </secmodel>\n"
			     "  </host>\n\n");
	append_guest(out, "hvm");
	append_guest(out, "xen");
	g_string_append(out, "</capabilities>\n");
	return g_string_free(out, FALSE);
}

static bool node_info(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	*ret = g_variant_new("(stiiiiii)", "i686", (guint64)3072 * 1024, 16, 1400, 2, 2, 2, 2);
	return true;
}

static bool free_memory(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	guint64 kib = 0;

	for (unsigned i = 0; i < CELLS; i++)
		kib += cells[i].kib / 2;
	*ret = g_variant_new("(t)", kib);
	return true;
}

static bool cells_free(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	guint64 list[CELLS];
	gint32 start, max, n;

	g_variant_get(args, "(ii)", &start, &max);
	if (start < 0 || start >= CELLS)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "Range exceeds available cells");
	for (n = 0; n < max && start + n < CELLS; n++)
		list[n] = cells[start + n].kib;
	*ret = g_variant_new("(@at)", g_variant_new_fixed_array(G_VARIANT_TYPE_UINT64, list, n, sizeof(*list)));
	return true;
}

static bool free_pages(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	GVariantBuilder list = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("at"));
	g_autoptr(GVariant) sizes = g_variant_get_child_value(args, 0);
	gint32 start;
	guint32 n;

	g_variant_get_child(args, 1, "i", &start);
	g_variant_get_child(args, 2, "u", &n);
	if (start < 0 || start >= CELLS || n > CELLS - (guint32)start) {
		g_variant_builder_clear(&list);
		return rpc_fail(error, VIR_ERR_OPERATION_FAILED, "start cell %d out of range (0-%d)", start, CELLS - 1);
	}
	for (guint32 i = 0; i < n; i++) {
		guint64 pages = 6;

		for (gsize j = 0; j < g_variant_n_children(sizes); j++) {
			pages = pages * 2 + 7;
			g_variant_builder_add(&list, "t", pages);
		}
	}
	*ret = g_variant_new("(at)", &list);
	return true;
}

static bool cpu_map(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const guint8 map = 0x15;
	gint32 wants_map, wants_online;
	guint32 flags;

	g_variant_get(args, "(iiu)", &wants_map, &wants_online, &flags);
	*ret = g_variant_new("(@ayui)", g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, &map, wants_map ? 1 : 0, 1),
			     wants_online ? 3 : 0, 8);
	return true;
}

static bool cpu_stats(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	static const struct {
		const char *name;
		guint64 ns;
	} rows[] = { { "user", 9797400000 }, { "kernel", 34678723400000 }, { "idle", 87264900000 }, { "iowait", 763600000 } };
	GVariantBuilder list = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(st)"));
	gint32 cpu, room;
	guint32 flags;

	g_variant_get(args, "(iiu)", &cpu, &room, &flags);
	for (unsigned i = 0; i < G_N_ELEMENTS(rows) && (gint32)i < room; i++)
		g_variant_builder_add(&list, "(st)", rows[i].name, rows[i].ns);
	*ret = g_variant_new("(a(st)i)", &list, room ? MIN(room, (gint32)G_N_ELEMENTS(rows)) : (gint32)G_N_ELEMENTS(rows));
	return true;
}

static bool sysinfo(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	*ret = g_variant_new("(s)", "<sysinfo type='smbios'>\n"
				    "  <bios>\n"
				    "    <entry name='vendor'>LENOVO</entry>\n"
				    "    <entry name='version'>G4ETA1WW (2.61 )</entry>\n"
				    "    <entry name='date'>05/07/2014</entry>\n"
				    "    <entry name='release'>2.61</entry>\n"
				    "  </bios>\n"
				    "</sysinfo>\n");
	return true;
}

static bool security_model(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	*ret = g_variant_new("(@ai@ai)", chars_variant("testSecurity"), chars_variant(""));
	return true;
}

static bool security_label(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);

	if (!d)
		return false;
	*ret = g_variant_new("(@aii)", chars_variant(domain_is_active(d) ? "libvirt-test" : ""), domain_is_active(d));
	return true;
}

enum { LOOK = HANDLER_FAST | HANDLER_READ_ONLY };

const struct handler test_node_handlers[] = {
	{ RPC_NODE_GET_INFO, node_info, LOOK },
	{ RPC_NODE_GET_FREE_MEMORY, free_memory, LOOK },
	{ RPC_NODE_GET_CELLS_FREE_MEMORY, cells_free, LOOK },
	{ RPC_NODE_GET_FREE_PAGES, free_pages, LOOK },
	{ RPC_NODE_GET_CPU_MAP, cpu_map, LOOK },
	{ RPC_NODE_GET_CPU_STATS, cpu_stats, LOOK },
	{ RPC_NODE_GET_MEMORY_STATS, handler_unsupported, LOOK },
	{ RPC_NODE_GET_SECURITY_MODEL, security_model, LOOK },
	{ RPC_DOMAIN_GET_SECURITY_LABEL, security_label, LOOK },
	{ RPC_CONNECT_GET_SYSINFO, sysinfo, LOOK },
	{ 0 },
};
