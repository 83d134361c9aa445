/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the test driver finds when it is asked for storage of its host. */
#include <string.h>

#include "hv.h"
#include "model-xml.h"
#include "test.h"

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
	{ RPC_CONNECT_FIND_STORAGE_POOL_SOURCES, find_sources, HANDLER_FAST },
	{ 0 },
};
