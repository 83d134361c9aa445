/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What this host has, as Linux's sysfs says it: devices and network interfaces as libvirt's XML. Pure but for reading /sys,
 * /run/udev/data (what udev knows of a disk) and pci.ids (names); may be called without the state lock. Read-only: nothing is
 * made, changed or taken away here. By drivers (hv.h), nodedev.c, interfaces.c; host-pci.c, host-block.c and host-net.c each know
 * one kind. Sources: https://libvirt.org/formatnode.html, sysfs(5), the kernel's Documentation/ABI.
 */
#pragma once
#include <glib.h>
#include <libxml/tree.h>
#include <stdbool.h>

#include "objects.h"

struct hv;

struct host_object {
	xmlDoc *doc; /* OBJECT_NODE_DEVICE or OBJECT_INTERFACE */
	bool active;
};
void host_object_free(struct host_object *o);

GPtrArray *host_node_devices(struct hv *hv); /* of host_object; hv is not used */
GPtrArray *host_interfaces(struct hv *hv);

/* ---- for those who know one kind ---- */

struct host {
	const char *root; /* before /sys and /run; "" but in tests */
	GPtrArray *out;
	GHashTable *names; /* a device's folder in /sys -> its name */
};

/* All of a host whose /sys is below root. */
GPtrArray *host_devices_below(const char *root);
GPtrArray *host_interfaces_below(const char *root);

void host_add_pci(struct host *h);
void host_add_block(struct host *h);
void host_add_net(struct host *h);

/* <device> with name, path and a capability of a type; the parent comes when all are known. Its capability's node. */
xmlNode *host_device_new(struct host *h, const char *type, const char *folder, const char *name);
/* The text of a file in a folder, stripped; NULL: it is not there or empty. */
char *host_text(const char *folder, const char *file);
gint64 host_number(const char *folder, const char *file, gint64 otherwise);	/* decimal, or with 0x */
char *host_link_name(const char *folder, const char *link);			/* "driver": the last part of where it points */
GPtrArray *host_folders(const struct host *h, const char *path); /* real paths of what is in /sys/…, sorted; may be empty */
char *host_udev(const struct host *h, const char *device, const char *property); /* device: "b8:0"; NULL: udev is not there */
/* A node with a text; NULL is left out. */
void host_set(xmlNode *node, const char *path, const char *text);
void host_set_number(xmlNode *node, const char *path, gint64 n);
