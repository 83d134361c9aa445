/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The --xpath of dumpxml and others: a module, because libxml2 and what it links take longer to load than a command. */
#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <string.h>

#include "error.h"

char *kvsh_xpath(const char *text, const char *path, bool in_nodes, GError **error);

static void ignore(void *opaque, const char *format, ...)
{
}

static void write_node(GString *out, xmlDocPtr doc, xmlNodePtr n)
{
	xmlBufferPtr buffer = xmlBufferCreate();

	xmlNodeDump(buffer, doc, n, 0, 1);
	g_string_append(out, (const char *)xmlBufferContent(buffer));
	xmlBufferFree(buffer);
}

static char *write_nodes(xmlDocPtr doc, xmlNodeSetPtr set, bool in_nodes)
{
	xmlNodePtr all = in_nodes ? xmlNewNode(NULL, (const xmlChar *)"nodes") : NULL;
	GString *out = g_string_new(NULL);

	for (int i = 0; set && i < set->nodeNr; i++) {
		if (in_nodes)
			xmlAddChild(all, xmlCopyNode(set->nodeTab[i], 1));
		else
			write_node(out, doc, set->nodeTab[i]);
		if (!in_nodes)
			g_string_append_c(out, '\n');
	}
	if (in_nodes) {
		write_node(out, doc, all);
		g_string_append_c(out, '\n');
		xmlFreeNode(all);
	}
	return g_string_free(out, FALSE);
}

/* What path finds in text, a node a line; in_nodes: inside of <nodes>. */
char *kvsh_xpath(const char *text, const char *path, bool in_nodes, GError **error)
{
	xmlDocPtr doc = xmlReadMemory(text, strlen(text), NULL, NULL,
				      XML_PARSE_NONET | XML_PARSE_NOBLANKS | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	xmlXPathContextPtr context = doc ? xmlXPathNewContext(doc) : NULL;
	xmlXPathObjectPtr object = NULL;
	char *found = NULL;

	xmlSetGenericErrorFunc(NULL, ignore);
	if (context)
		object = xmlXPathEval((const xmlChar *)path, context);
	if (object && object->type == XPATH_NODESET)
		found = write_nodes(doc, object->nodesetval, in_nodes);
	else if (object)
		kv_fail(error, KV_ERROR_USAGE, "internal error: Incorrect xpath '%s'", path);
	else
		kv_fail(error, KV_ERROR_USAGE, "'%s' is no XPath that finds nodes", path);
	xmlXPathFreeObject(object);
	xmlXPathFreeContext(context);
	xmlFreeDoc(doc);
	return found;
}
