/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Documents in, trees out, and the other way (model-xml.h). A tree that was parsed here is tidy: no comments, no processing
 * instructions, text in leaves only and in one node, so that who reads it looks at one node a value; <metadata> alone is
 * as it came.
 */
#include <libxml/parser.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"
#include "model-xml.h"

enum { LINE_MAX_SHOWN = 512 };

/* ---- memory ---- */

static void *allocate(size_t size)
{
	return g_malloc(MAX(size, 1));
}

static void *reallocate(void *p, size_t size)
{
	return g_realloc(p, MAX(size, 1));
}

void model_xml_end_without_memory(void)
{
	xmlMemSetup(g_free, allocate, reallocate, g_strdup);
}

/* ---- in ---- */

static bool is_text(const xmlNode *node, bool blank)
{
	return node->type == XML_TEXT_NODE && !!xmlIsBlankNode(node) == blank;
}

/* What is somebody else's stays as it is, but for the space between elements, which is ours to make. */
static void tidy_foreign(xmlNode *node)
{
	bool mixed = false, has_elements = false;
	xmlNode *next;

	for (xmlNode *c = node->children; c; c = c->next) {
		mixed |= is_text(c, false);
		has_elements |= c->type == XML_ELEMENT_NODE;
	}
	for (xmlNode *c = node->children; c; c = next) {
		next = c->next;
		if (c->type == XML_ELEMENT_NODE) {
			tidy_foreign(c);
		} else if (has_elements && !mixed && is_text(c, true)) {
			xmlUnlinkNode(c);
			xmlFreeNode(c);
		}
	}
}

static void tidy(xmlNode *node)
{
	g_autoptr(GString) text = g_string_new(NULL);
	bool has_elements = false;
	xmlNode *next;

	for (xmlNode *c = node->children; c; c = next) {
		next = c->next;
		if (c->type == XML_ELEMENT_NODE) {
			has_elements = true;
			(xmlStrEqual(c->name, BAD_CAST "metadata") ? tidy_foreign : tidy)(c);
			continue;
		}
		if (c->type == XML_TEXT_NODE || c->type == XML_CDATA_SECTION_NODE)
			g_string_append(text, (const char *)c->content);
		xmlUnlinkNode(c);
		xmlFreeNode(c);
	}
	if (!has_elements && text->len)
		xmlAddChild(node, xmlNewDocText(node->doc, BAD_CAST text->str));
}

/* A DTD may define entities, and whoever defines them can make a small document large. */
static void refuse_dtd(void *context, const xmlChar *name, const xmlChar *external, const xmlChar *system)
{
	xmlStopParser(context);
}

/* How libvirt calls the documents in its messages. */
static const struct {
	const char *root, *name;
} names[] = {
	{ "domain", "domain_definition" },
	{ "network", "network_definition" },
	{ "pool", "storage_pool_definition" },
	{ "volume", "storage_volume_definition" },
	{ "secret", "definition_of_secret" },
	{ "domainsnapshot", "domain_snapshot" },
	{ "domaincheckpoint", "domain_checkpoint" },
};

/* The first thing that is wrong, and the line where, as libvirt shows it. */
struct trouble {
	const char *name;
	char *text;
};

static void note_trouble(void *context, xmlError *e)
{
	xmlParserCtxt *ctxt = context;
	struct trouble *t = ctxt->_private;
	const xmlChar *at, *from, *to;
	g_autofree char *message = NULL, *line = NULL, *dashes = NULL;

	if (t->text || e->level < XML_ERR_ERROR || !ctxt->input || !ctxt->input->cur)
		return;
	message = g_strchomp(g_strdup(e->message ? e->message : ""));
	at = from = ctxt->input->cur;
	while (from > ctxt->input->base && (*from == '\n' || *from == '\r'))
		from--;
	while (from > ctxt->input->base && *from != '\n' && *from != '\r' && at - from < LINE_MAX_SHOWN)
		from--;
	from += *from == '\n' || *from == '\r';
	for (to = from; to < ctxt->input->end && *to && *to != '\n' && *to != '\r' && to - from < 2 * LINE_MAX_SHOWN;)
		to++;
	line = g_strndup((const char *)from, (gsize)(to - from));
	dashes = g_strnfill((gsize)MAX(at - from, 0), '-');
	t->text = g_strdup_printf("(%s):%d: %s\n%s\n%s^", t->name, e->line, message, line, dashes);
}

static bool parse_failed(struct trouble *t, GError **error)
{
	g_autofree char *text = g_utf8_make_valid(t->text ? t->text : "a document type is not allowed here", -1);

	return rpc_fail(error, VIR_ERR_XML_DETAIL, "%s", text);
}

xmlDoc *model_xml_parse(const char *xml, gssize len, const char *root, GError **error)
{
	size_t size = len < 0 ? strlen(xml) : (size_t)len;
	struct trouble trouble = { "device_definition", NULL };
	xmlParserCtxt *ctxt;
	g_autoptr(xmlDoc) doc = NULL;
	xmlNode *top;
	bool ok;

	if (size > MODEL_XML_MAX) {
		rpc_fail(error, VIR_ERR_XML_ERROR, "a document of %zu bytes; the most is %d", size, MODEL_XML_MAX);
		return NULL;
	}
	ctxt = xmlNewParserCtxt();
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		if (!g_strcmp0(root, names[i].root))
			trouble.name = names[i].name;
	ctxt->_private = &trouble;
	ctxt->sax->serror = note_trouble;
	ctxt->sax->internalSubset = refuse_dtd;
	/* No entities are left but XML's own five, and those are replaced. */
	doc = xmlCtxtReadMemory(ctxt, xml, (int)size, NULL, NULL,
				XML_PARSE_NONET | XML_PARSE_NOENT | XML_PARSE_NOCDATA | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	ok = doc && ctxt->wellFormed && !ctxt->disableSAX;
	if (!ok)
		parse_failed(&trouble, error);
	g_free(trouble.text);
	xmlFreeParserCtxt(ctxt);
	if (!ok)
		return NULL;
	top = xmlDocGetRootElement(doc);
	if (!top || (root && !xmlStrEqual(top->name, BAD_CAST root))) {
		rpc_fail(error, VIR_ERR_XML_ERROR, "expecting root element of '%s', not '%s'", root ? root : "",
			 top ? (const char *)top->name : "");
		return NULL;
	}
	tidy(top);
	return g_steal_pointer(&doc);
}

/* ---- out ---- */

/* Control characters that XML does not have are left out, as libvirt does: else nobody could read the document again. */
static void escape(GString *out, const char *text)
{
	static const char special[] = "<>&\"'\x01\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x14\x15\x16"
				      "\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f";
	static const struct {
		char c;
		const char *as;
	} escapes[] = { { '<', "&lt;" }, { '>', "&gt;" }, { '&', "&amp;" }, { '"', "&quot;" }, { '\'', "&apos;" } };

	for (;; text++) {
		size_t len = strcspn(text, special);

		g_string_append_len(out, text, (gssize)len);
		text += len;
		if (!*text)
			break;
		for (unsigned i = 0; i < G_N_ELEMENTS(escapes); i++)
			if (escapes[i].c == *text)
				g_string_append(out, escapes[i].as);
	}
}

static void put_name(GString *out, const xmlNs *ns, const xmlChar *name)
{
	if (ns && ns->prefix) {
		g_string_append(out, (const char *)ns->prefix);
		g_string_append_c(out, ':');
	}
	g_string_append(out, (const char *)name);
}

static void put_attributes(GString *out, xmlNode *node)
{
	for (xmlAttr *a = node->properties; a; a = a->next) {
		g_string_append_c(out, ' ');
		put_name(out, a->ns, a->name);
		g_string_append(out, "='");
		if (a->children && a->children->content)
			escape(out, (const char *)a->children->content);
		g_string_append_c(out, '\'');
	}
	for (xmlNs *ns = node->nsDef; ns; ns = ns->next) {
		g_string_append(out, ns->prefix ? " xmlns:" : " xmlns");
		if (ns->prefix)
			g_string_append(out, (const char *)ns->prefix);
		g_string_append(out, "='");
		escape(out, ns->href ? (const char *)ns->href : "");
		g_string_append_c(out, '\'');
	}
}

/* As libxml2 writes it, which is what libvirt does for metadata. */
static void put_verbatim(GString *out, xmlNode *node, unsigned depth)
{
	xmlBuffer *buffer = xmlBufferCreate();

	if (xmlNodeDump(buffer, node->doc, node, (int)depth, 1) >= 0)
		g_string_append(out, (const char *)xmlBufferContent(buffer));
	xmlBufferFree(buffer);
	g_string_append_c(out, '\n');
}

static void indent(GString *out, unsigned depth)
{
	while (depth--)
		g_string_append(out, "  ");
}

static void put_node(GString *out, xmlNode *node, unsigned depth)
{
	indent(out, depth);
	if (xmlStrEqual(node->name, BAD_CAST "metadata")) {
		put_verbatim(out, node, depth);
		return;
	}
	g_string_append_c(out, '<');
	put_name(out, node->ns, node->name);
	put_attributes(out, node);
	if (!node->children) {
		g_string_append(out, "/>\n");
		return;
	}
	g_string_append_c(out, '>');
	if (node->children->type != XML_ELEMENT_NODE) {
		escape(out, node->children->content ? (const char *)node->children->content : "");
	} else {
		g_string_append_c(out, '\n');
		for (xmlNode *c = node->children; c; c = c->next)
			if (c->type == XML_ELEMENT_NODE)
				put_node(out, c, depth + 1);
		indent(out, depth);
	}
	g_string_append(out, "</");
	put_name(out, node->ns, node->name);
	g_string_append(out, ">\n");
}

char *model_xml_format(xmlNode *node)
{
	GString *out = g_string_new(NULL);

	put_node(out, node, 0);
	return g_string_free(out, FALSE);
}

/* ---- paths ---- */

/* Elements of other namespaces are found as "prefix:name" only. */
static bool named(const xmlNode *node, const char *name, size_t len)
{
	const char *prefix = node->type == XML_ELEMENT_NODE && node->ns ? (const char *)node->ns->prefix : NULL;

	if (node->type != XML_ELEMENT_NODE)
		return false;
	if (prefix) {
		size_t skip = strlen(prefix);

		if (len <= skip || strncmp(prefix, name, skip) || name[skip] != ':')
			return false;
		name += skip + 1;
		len -= skip + 1;
	}
	return *(const char *)node->name == *name && !strncmp((const char *)node->name, name, len) && !node->name[len];
}

/* The element at the path's part before the last "@…"; the attribute's name or NULL in ret_attribute. */
static xmlNode *walk(const xmlNode *node, const char *path, const char **ret_attribute)
{
	*ret_attribute = NULL;
	while (node && *path) {
		size_t len = strcspn(path, "/");
		const xmlNode *c;

		if (*path == '@') {
			*ret_attribute = path + 1;
			break;
		}
		for (c = node->children; c && !named(c, path, len);)
			c = c->next;
		node = c;
		path += len;
		path += *path == '/';
	}
	return (xmlNode *)node;
}

xmlNode *xml_child(const xmlNode *node, const char *path)
{
	const char *attribute;

	return walk(node, path, &attribute);
}

xmlNode *xml_nth(const xmlNode *node, const char *name, unsigned n)
{
	if (!node)
		return NULL;
	for (xmlNode *c = node->children; c; c = c->next)
		if (named(c, name, strlen(name)) && !n--)
			return c;
	return NULL;
}

xmlNode *xml_next(const xmlNode *node)
{
	for (xmlNode *c = node->next; c; c = c->next)
		if (c->type == XML_ELEMENT_NODE && xmlStrEqual(c->name, node->name) && c->ns == node->ns)
			return c;
	return NULL;
}

xmlNode *xml_add(xmlNode *parent, const char *name)
{
	return xmlAddChild(parent, xmlNewDocNode(parent->doc, NULL, BAD_CAST name, NULL));
}

const char *xml_text(const xmlNode *node, const char *path)
{
	const char *attribute;
	const xmlNode *at = walk(node, path, &attribute);
	const xmlNode *value;

	if (!at)
		return NULL;
	if (!attribute) {
		value = at->children;
		return value && value->content && value->type != XML_ELEMENT_NODE ? (const char *)value->content : "";
	}
	for (const xmlAttr *a = at->properties; a; a = a->next)
		if (!a->ns && !strcmp((const char *)a->name, attribute))
			return a->children && a->children->content ? (const char *)a->children->content : "";
	return NULL;
}

bool xml_is(const xmlNode *node, const char *path, const char *text)
{
	return g_strcmp0(xml_text(node, path), text) == 0;
}

bool xml_number(const xmlNode *node, const char *path, guint64 *ret)
{
	const char *text = xml_text(node, path);

	bool hex = text && !strncmp(text, "0x", 2);

	return text && g_ascii_string_to_unsigned(text + (hex ? 2 : 0), hex ? 16 : 10, 0, G_MAXUINT64, ret, NULL);
}

static void remove_at(xmlNode *node, const char *path)
{
	const char *attribute;
	xmlNode *at = walk(node, path, &attribute);

	if (at && attribute) {
		xmlUnsetProp(at, BAD_CAST attribute);
	} else if (at && at != node) {
		xmlUnlinkNode(at);
		xmlFreeNode(at);
	}
}

void xml_set(xmlNode *node, const char *path, const char *text)
{
	if (text && strchr(path, '@') && xml_is(node, path, text))
		return;
	if (!text) {
		remove_at(node, path);
		return;
	}
	while (*path && *path != '@') {
		size_t len = strcspn(path, "/");
		g_autofree char *name = g_strndup(path, len);
		xmlNode *c = xml_nth(node, name, 0);

		node = c ? c : xml_add(node, name);
		path += len;
		path += *path == '/';
	}
	if (*path) {
		xmlSetProp(node, BAD_CAST(path + 1), BAD_CAST text);
		return;
	}
	xmlFreeNodeList(node->children);
	node->children = node->last = NULL;
	if (*text)
		xmlAddChild(node, xmlNewDocText(node->doc, BAD_CAST text));
}

void xml_default(xmlNode *node, const char *path, const char *text)
{
	if (!xml_text(node, path))
		xml_set(node, path, text);
}
