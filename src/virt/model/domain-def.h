/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A domain's definition: libvirt's <domain> XML as a checked and completed tree. The tree is libxml2's; what is known of it are
 * tables (domain-fields.h): element or attribute, its type, and whether our machine does it. What our machine does not do, and
 * what nobody knows, is refused by name, VIR_ERR_CONFIG_UNSUPPORTED; <metadata> is kept as it is. No locks: one thread at a time.
 *
 * Machines (os/type/@machine): "q35", which becomes pc-q35-7.2, and "pc-q35-N.M", all the same board, are kv-vmm's --machine pc;
 * "micro" is its --machine micro: a kernel is required, there are no PS/2, USB, SATA or video by themselves, and cards are on the
 * root bus. A network card without a model is virtio, a video card vga, a SCSI controller virtio-scsi (libvirt: rtl8139, cirrus,
 * lsilogic, which kv-vmm has not); a cirrus becomes a vga, and a USB 2 controller with its companions an xHCI. Otherwise what is
 * added is what libvirt 9.0 adds for QEMU.
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
	DEF_LOOSE = 1 << 3,    /* a device as somebody describes it to have it found: nothing has to be there, nothing is added */
};
enum format_flags { FORMAT_SECURE = 1 << 0, FORMAT_INACTIVE = 1 << 1, FORMAT_MIGRATABLE = 1 << 2 };

/*
 * Parses, checks and completes: UUID, memory in KiB, defaults, implied devices, addresses, as libvirt does for type kvm or qemu,
 * machine q35. An error is VIR_ERR_XML_ERROR, VIR_ERR_CONFIG_UNSUPPORTED and so on (message.h) and names the element.
 */
struct domain_def *domain_def_parse(const char *xml, gssize len, unsigned flags, GError **error);
/*
 * The kv-vmm that machines are run by, once, before anything is parsed: <emulator> becomes it where there is none, and where it
 * names another kv-vmm; what runs keeps its own. Without: none becomes the installed one.
 */
void domain_def_set_emulator(const char *path);
struct domain_def *domain_def_copy(const struct domain_def *def);
void domain_def_free(struct domain_def *def);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DomainDef, domain_def_free)
/* In libvirt's order and spelling. */
char *domain_def_format(const struct domain_def *def, unsigned flags);
/* With FORMAT_SECURE | FORMAT_INACTIVE; def, a stored one, loses what only a running machine has: no copy is made. */
char *domain_def_format_stored(struct domain_def *def);
/* id and, for a running machine, aliases (disk: virtio-disk0, …) as libvirt names them. */
void domain_def_set_live(struct domain_def *def, int id);

const char *domain_def_name(const struct domain_def *def);
const char *domain_def_uuid(const struct domain_def *def); /* text */
guint64 domain_def_memory(const struct domain_def *def);   /* KiB, the maximum */
guint64 domain_def_current(const struct domain_def *def);  /* KiB */
unsigned domain_def_vcpus(const struct domain_def *def, unsigned *ret_max);
/*
 * vCPUs one by one, as <vcpus> or, without it, <vcpu current=''> says: domain-vcpus.c. One that is hotpluggable has come to a
 * running machine, or comes to one at its start, and may be taken out; the others, which it starts with, come first.
 */
struct domain_vcpu {
	bool enabled, hotpluggable;
};
struct domain_vcpu domain_vcpu_of(const xmlNode *root, unsigned index);
void domain_def_set_vcpu(struct domain_def *def, unsigned index, bool enabled);
/* As many are enabled, those with the least numbers; hotpluggable: those that come are. Of a definition. */
void domain_def_set_vcpus(struct domain_def *def, unsigned n, bool hotpluggable);
void domain_def_set_vcpus_max(struct domain_def *def, unsigned n);
void domain_def_set_text(struct domain_def *def, const char *path, const char *text); /* NULL: removed */
/* What a definition may not have as its name, and so neither as a new one. */
bool domain_def_check_name(const char *name, GError **error);

/* What is kept and has no effect on our machine, "features/hyperv/relaxed": g_strfreev(). For a user who asks. */
char **domain_def_hints(const struct domain_def *def);

/* The tree: read with model-xml.h's helpers. Devices: the n-th of a kind ("disk"), NULL past the last. */
xmlNode *domain_def_root(const struct domain_def *def);
xmlNode *domain_def_device(const struct domain_def *def, const char *kind, unsigned n);
/*
 * One device, checked and completed as a part of def, with an address; a node of def's document that is not in it yet. With
 * DEF_LIVE it is an error when it needs a controller that is not there.
 */
xmlNode *domain_def_parse_device(struct domain_def *def, const char *xml, unsigned flags, GError **error);
/* In its place of the order, with the controllers that it needs. */
void domain_def_insert_device(struct domain_def *def, xmlNode *node);
/* The one that has the same identity: alias, target, MAC or address, as far as like says; VIR_ERR_DEVICE_MISSING if none. */
xmlNode *domain_def_find_device(const struct domain_def *def, const xmlNode *like, GError **error);
/*
 * after, parsed with DEF_LOOSE, becomes what before, a device of def, is to be: what it leaves out of alias, address, MAC,
 * bus and so on is before's. The caller puts it in before's place.
 */
bool domain_def_complete_update(struct domain_def *def, const xmlNode *before, xmlNode *after, GError **error);
/* Away with it and freed; its twin (serial and console) too. */
void domain_def_remove_device(struct domain_def *def, xmlNode *node);
