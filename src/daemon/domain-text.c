/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Title, description, and the metadata that programs keep with a domain: elements of their own namespaces. */
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <libxml/xmlsave.h>
#include <string.h>

#include "domain.h"
#include "events.h"
#include "model-xml.h"

enum text_kind { TEXT_DESCRIPTION, TEXT_TITLE, TEXT_ELEMENT };

/* In <metadata>: the element of that namespace. */
static xmlNode *find_element(const struct domain_def *def, const char *uri)
{
	xmlNode *metadata = xml_child(domain_def_root(def), "metadata");

	for (xmlNode *n = metadata ? metadata->children : NULL; n; n = n->next)
		if (n->type == XML_ELEMENT_NODE && n->ns && n->ns->href && strcmp((const char *)n->ns->href, uri) == 0)
			return n;
	return NULL;
}

static void set_namespace(xmlNode *node, xmlNs *from, xmlNs *to)
{
	for (; node; node = node->next) {
		if (node->type != XML_ELEMENT_NODE)
			continue;
		if (node->ns == from || (from && node->ns && xmlStrEqual(node->ns->href, from->href)))
			xmlSetNs(node, to);
		set_namespace(node->children, from, to);
	}
}

/* As its program gave it: without the namespace. */
static char *element_text(xmlNode *element)
{
	xmlDoc *doc = xmlNewDoc((const xmlChar *)"1.0");
	xmlNode *copy = xmlDocCopyNode(element, doc, 1);
	char *text;

	xmlDocSetRootElement(doc, copy);
	set_namespace(copy, copy->ns, NULL);
	for (xmlNs **ns = &copy->nsDef; *ns;) {
		xmlNs *dead = *ns;

		if (!xmlStrEqual(dead->href, element->ns->href)) {
			ns = &dead->next;
			continue;
		}
		*ns = dead->next;
		dead->next = NULL;
		xmlFreeNs(dead);
	}
	text = model_xml_format(copy);
	xmlFreeDoc(doc);
	return g_strchomp(text);
}

static char *get_text(const struct domain_def *def, enum text_kind kind, const char *uri)
{
	xmlNode *element;

	if (kind != TEXT_ELEMENT)
		return g_strdup(xml_text(domain_def_root(def), kind == TEXT_TITLE ? "title" : "description"));
	element = uri ? find_element(def, uri) : NULL;
	return element ? element_text(element) : NULL;
}

static struct domain_def *def_for(struct domain *d, guint32 flags, GError **error)
{
	return flags & AFFECT_CONFIG ? domain_stored_def(d, error) : domain_current_def(d, error);
}

static bool get_metadata(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	g_autofree char *text = NULL, *uri = NULL;
	struct domain_def *def;
	guint32 flags;
	gint32 kind;

	g_variant_get_child(args, 1, "i", &kind);
	g_variant_get_child(args, 2, "ms", &uri);
	g_variant_get_child(args, 3, "u", &flags);
	if (!d || !call_check_flags(call, flags, AFFECT_LIVE | AFFECT_CONFIG, error) || !domain_affects(d, &flags, error))
		return false;
	if (kind < TEXT_DESCRIPTION || kind > TEXT_ELEMENT)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "unknown metadata type");
	def = def_for(d, flags, error);
	if (!def)
		return false;
	text = get_text(def, kind, uri);
	if (!text)
		return rpc_fail(error, VIR_ERR_NO_DOMAIN_METADATA, "Requested metadata element is not present");
	*ret = g_variant_new("(s)", text);
	return true;
}

static bool put_element(struct domain_def *def, const char *xml, const char *key, const char *uri, GError **error)
{
	g_autoptr(xmlDoc) doc = xml ? model_xml_parse(xml, -1, NULL, error) : NULL;
	xmlNode *root = domain_def_root(def), *old = find_element(def, uri), *node, *metadata;
	xmlNs *ns;

	if (xml && !doc)
		return false;
	if (xml && xmlValidateNCName((const xmlChar *)key, 1) != 0)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "failed to validate prefix for a new XML namespace");
	if (old) {
		xmlUnlinkNode(old);
		xmlFreeNode(old);
	}
	metadata = xml_child(root, "metadata");
	if (!xml) {
		if (metadata && !xmlFirstElementChild(metadata))
			xml_set(root, "metadata", NULL);
		return true;
	}
	if (!metadata) {
		domain_def_set_text(def, "metadata", "");
		metadata = xml_child(root, "metadata");
	}
	node = xmlDocCopyNode(xmlDocGetRootElement(doc), root->doc, 1);
	ns = xmlNewNs(node, (const xmlChar *)uri, (const xmlChar *)key);
	if (!ns) {
		xmlFreeNode(node);
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "failed to create a new XML namespace");
	}
	/* All that has none of its own. */
	xmlAddChild(metadata, node);
	node->ns = node->ns ? node->ns : ns;
	set_namespace(node->children, NULL, ns);
	return true;
}

static bool put_text(struct domain_def *def, enum text_kind kind, const char *text, const char *key, const char *uri,
		     GError **error)
{
	if (kind == TEXT_ELEMENT)
		return put_element(def, text, key, uri, error);
	domain_def_set_text(def, kind == TEXT_TITLE ? "title" : "description", text && *text ? text : NULL);
	return true;
}

static bool check_set(gint32 kind, const char *text, const char *key, const char *uri, GError **error)
{
	if (kind < TEXT_DESCRIPTION || kind > TEXT_ELEMENT)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "unknown metadata type");
	if (kind == TEXT_TITLE && text && strchr(text, '\n'))
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "metadata title can't contain newlines");
	if (kind == TEXT_ELEMENT && (!uri || (text && !key)))
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "an element of metadata needs a key and a namespace");
	for (const char *c = uri; kind == TEXT_ELEMENT && *c; c++)
		if (g_ascii_iscntrl(*c))
			return rpc_fail(error, VIR_ERR_INVALID_ARG, "a namespace of metadata cannot contain control characters");
	return true;
}

static bool set_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autofree char *text = NULL, *key = NULL, *uri = NULL;
	g_autoptr(DomainDef) stored = NULL;
	guint32 flags;
	gint32 kind;

	g_variant_get_child(args, 1, "i", &kind);
	g_variant_get_child(args, 2, "ms", &text);
	g_variant_get_child(args, 3, "ms", &key);
	g_variant_get_child(args, 4, "ms", &uri);
	g_variant_get_child(args, 5, "u", &flags);
	if (!call_check_flags(call, flags, AFFECT_LIVE | AFFECT_CONFIG, error) || !check_set(kind, text, key, uri, error) ||
	    !domain_affects(d, &flags, error))
		return false;
	if (flags & AFFECT_LIVE) {
		if (!put_text(domain_current_def(d, NULL), kind, text, key, uri, error))
			return false;
		if (d->hv->driver->store_status)
			d->hv->driver->store_status(d);
	}
	if (flags & AFFECT_CONFIG) {
		stored = domain_stored_def(d, error) ? domain_def_copy(d->def) : NULL;
		if (!stored || !put_text(stored, kind, text, key, uri, error) || !domain_store_as(d, &stored, error))
			return false;
	}
	events_domain(d, DOMAIN_EVENT_METADATA_CHANGE, g_variant_new("(ims)", kind, uri));
	return true;
}

static bool set_metadata(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_MODIFY, false, set_func);
}

const struct handler domain_text_handlers[] = {
	{ RPC_DOMAIN_GET_METADATA, get_metadata, HANDLER_FAST | HANDLER_READ_ONLY },
	{ RPC_DOMAIN_SET_METADATA, set_metadata, 0 },
	{ 0 },
};
