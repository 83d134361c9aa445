/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A domain's definition: libvirt's <domain> XML as a checked and completed tree. The tree is libxml2's; what is known of it is a
 * table (domain-fields.c): element or attribute, its type, and whether our machine does it. What the schema knows and the table
 * does not is refused by name; <metadata> and foreign namespaces are kept as they are. No locks: one thread at a time.
 * Source: https://libvirt.org/formatdomain.html
 */
#pragma once
#include <glib.h>
#include <libxml/tree.h>
#include <stdbool.h>

struct domain_def;
typedef struct domain_def DomainDef; /* for g_autoptr alone */

enum def_flags {
	DEF_VALIDATE = 1 << 0, /* also against libvirt's own schema, where its package has put it */
	DEF_TEST = 1 << 1,     /* for the driver that runs nothing: everything that the schema knows is taken */
	DEF_LIVE = 1 << 2,     /* a status file's or a running one's: aliases, addresses and seclabels are kept */
};
enum format_flags { FORMAT_SECURE = 1 << 0, FORMAT_INACTIVE = 1 << 1, FORMAT_MIGRATABLE = 1 << 2 };

/*
 * Parses, checks and completes: UUID, memory in KiB, defaults, implied devices, addresses, as libvirt does for type kvm or qemu,
 * machine q35. An error is VIR_ERR_XML_ERROR, VIR_ERR_CONFIG_UNSUPPORTED and so on (message.h) and names the element.
 */
struct domain_def *domain_def_parse(const char *xml, gssize len, unsigned flags, GError **error);
struct domain_def *domain_def_copy(const struct domain_def *def);
void domain_def_free(struct domain_def *def);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DomainDef, domain_def_free)
/* In libvirt's order and spelling. */
char *domain_def_format(const struct domain_def *def, unsigned flags);
/* id and, for a running machine, aliases (disk: virtio-disk0, …) as libvirt names them. */
void domain_def_set_live(struct domain_def *def, int id);

const char *domain_def_name(const struct domain_def *def);
const char *domain_def_uuid(const struct domain_def *def); /* text */
guint64 domain_def_memory(const struct domain_def *def);   /* KiB, the maximum */
guint64 domain_def_current(const struct domain_def *def);  /* KiB */
unsigned domain_def_vcpus(const struct domain_def *def, unsigned *ret_max);
void domain_def_set_text(struct domain_def *def, const char *path, const char *text); /* NULL: removed */

/* The tree: read with model-xml.h's helpers. Devices: the n-th of a kind ("disk"), NULL past the last. */
xmlNode *domain_def_root(const struct domain_def *def);
xmlNode *domain_def_device(const struct domain_def *def, const char *kind, unsigned n);
/* One device, checked and completed as a part of def; a node of def's document that is not in it yet. */
xmlNode *domain_def_parse_device(struct domain_def *def, const char *xml, unsigned flags, GError **error);
/* In its place of the order; the n-th that has the same identity (target, MAC, address, alias) as node. */
void domain_def_insert_device(struct domain_def *def, xmlNode *node);
xmlNode *domain_def_find_device(const struct domain_def *def, const xmlNode *like, GError **error);
