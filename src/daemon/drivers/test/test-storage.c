/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pools of the test driver: 100 GiB each, whatever they are called; volumes are names and sizes. */
#include <string.h>

#include "hv.h"
#include "storage.h"
#include "test.h"

static const guint64 pool_size = 100ULL << 30;

static bool refresh(struct pool *p, GError **error)
{
	p->capacity = pool_size;
	p->available = p->capacity - p->allocation;
	return true;
}

static bool stop(struct pool *p, GError **error)
{
	p->allocation = 0;
	return true;
}

static bool build(struct pool *p, unsigned flags, GError **error)
{
	return true;
}

static bool create(struct pool *p, struct volume *v, const struct volume *from, unsigned flags, GError **error)
{
	if (v->allocation > p->available)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "Not enough free space in pool for volume '%s'", v->name);
	p->allocation += v->allocation;
	p->available = p->capacity - p->allocation;
	return true;
}

static bool remove_volume(struct pool *p, struct volume *v, unsigned flags, GError **error)
{
	p->allocation -= v->allocation;
	p->available = p->capacity - p->allocation;
	return true;
}

const struct storage test_storage = {
	.start = refresh,
	.stop = stop,
	.refresh = refresh,
	.build = build,
	.erase = build,
	.create = create,
	.remove = remove_volume,
};

static bool find_sources(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	static const char logical[] = "<sources>\n"
				      "  <source>\n"
				      "    <device path='/dev/sda20'/>\n"
				      "    <name>testvg1</name>\n"
				      "    <format type='lvm2'/>\n"
				      "  </source>\n"
				      "  <source>\n"
				      "    <device path='/dev/sda21'/>\n"
				      "    <name>testvg2</name>\n"
				      "    <format type='lvm2'/>\n"
				      "  </source>\n"
				      "</sources>\n";
	g_autoptr(xmlDoc) spec = NULL;
	g_autofree char *text = NULL, *host = NULL;
	const char *type, *xml, *name;

	g_variant_get(args, "(&sm&su)", &type, &xml, NULL);
	if (strcmp(type, "logical") == 0) {
		*ret = g_variant_new("(s)", logical);
		return true;
	}
	if (strcmp(type, "netfs") != 0)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "unknown storage pool type %s", type);
	spec = xml ? model_xml_parse(xml, -1, "source", error) : NULL;
	if (xml && !spec)
		return false;
	name = spec ? xml_text(xmlDocGetRootElement(spec), "host/@name") : NULL;
	if (!name)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "hostname must be specified for netfs sources");
	host = g_markup_escape_text(name, -1);
	text = g_strdup_printf("<sources>\n"
			       "  <source>\n"
			       "    <host name='%s'/>\n"
			       "    <dir path='/testshare'/>\n"
			       "    <format type='nfs'/>\n"
			       "  </source>\n"
			       "</sources>\n",
			       host);
	*ret = g_variant_new("(s)", text);
	return true;
}

const struct handler test_storage_handlers[] = {
	{ RPC_CONNECT_FIND_STORAGE_POOL_SOURCES, find_sources, HANDLER_FAST, "connect:detect-storage-pools" },
	{ 0 },
};
