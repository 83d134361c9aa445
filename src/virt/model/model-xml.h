/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading libxml2 trees by short paths: "os/loader/@type" below a node. Documents come from strangers: no network, no entities
 * that expand, no DTD, limited in size and depth. Pure; any thread, one at a time a document.
 */
#pragma once
#include <glib.h>
#include <libxml/tree.h>
#include <stdbool.h>

enum { MODEL_XML_MAX = 4 << 20 }; /* bytes of a document */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)

/*
 * From now on the process ends when libxml2 gets no memory, as it does with GLib: a copied tree would lack texts otherwise.
 * Before anything else of libxml2; for a process that keeps definitions.
 */
void model_xml_end_without_memory(void);

/*
 * root: the name that the document's element must have; NULL: any, a device. What is not well formed is VIR_ERR_XML_DETAIL, in
 * libvirt's three lines: document, line and cause; the line; where in it.
 */
xmlDoc *model_xml_parse(const char *xml, gssize len, const char *root, GError **error);
char *model_xml_format(xmlNode *node); /* indented by two, without a declaration, as libvirt writes it */

/* NULL where there is none. Texts belong to the tree as long as it is not changed. */
xmlNode *xml_child(const xmlNode *node, const char *path);
xmlNode *xml_nth(const xmlNode *node, const char *name, unsigned n);
xmlNode *xml_next(const xmlNode *node); /* the next one of the same name */
xmlNode *xml_add(xmlNode *parent, const char *name); /* another one, the last */
const char *xml_text(const xmlNode *node, const char *path); /* "@dev", "source/@dev", "name"; "": the node's own */
bool xml_is(const xmlNode *node, const char *path, const char *text);
bool xml_number(const xmlNode *node, const char *path, guint64 *ret); /* false: not there or no number */
void xml_set(xmlNode *node, const char *path, const char *text);      /* makes what is missing; NULL: removes */
void xml_default(xmlNode *node, const char *path, const char *text);    /* xml_set() unless it is there */
