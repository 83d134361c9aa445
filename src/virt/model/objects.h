/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The smaller documents of libvirt: networks, storage pools, volumes, secrets, snapshots, checkpoints, the host's interfaces and
 * devices, as trees that are
 * checked, completed and written by tables (fields.h) as domains are. No locks: a tree belongs to one thread.
 * Source: https://libvirt.org/format.html
 */
#pragma once
#include "model-xml.h"

enum object_kind {
	OBJECT_NETWORK,
	OBJECT_POOL,
	OBJECT_VOLUME,
	OBJECT_SECRET,
	OBJECT_SNAPSHOT,
	OBJECT_CHECKPOINT,
	OBJECT_INTERFACE,
	OBJECT_NODE_DEVICE,
};

/*
 * flags: enum def_flags (domain-def.h). With DEF_LIVE what a server adds is kept (a volume's key and path, a pool's sizes, a
 * snapshot's state, time, parent and domain); without, it is dropped, as libvirt does with what a client sends of it. A name
 * may be missing from snapshots and checkpoints alone. NULL and VIR_ERR_XML_ERROR or VIR_ERR_CONFIG_UNSUPPORTED.
 */
xmlDoc *object_parse(enum object_kind kind, const char *xml, gssize len, unsigned flags, GError **error);
/* In libvirt's order and spelling; flags: enum format_flags. A snapshot's <domain> without FORMAT_SECURE has no secrets. */
char *object_format(enum object_kind kind, const xmlDoc *doc, unsigned flags);
/* Like xml_set() below the root, and in order again. */
void object_set_text(enum object_kind kind, xmlDoc *doc, const char *path, const char *text);
/* A part of one, as virsh net-update sends it: path is its element in the table, "ip/dhcp/host". A node of doc's, not in it. */
xmlNode *object_parse_part(enum object_kind kind, xmlDoc *doc, const char *path, const char *xml, GError **error);
