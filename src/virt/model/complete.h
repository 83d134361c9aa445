/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What libvirt adds to a definition, step by step, each in a file of its own; domain_def_parse() calls them in this order, and
 * a device that is added later goes through the same ones. Each leaves alone what is there already. false: what is there
 * cannot be.
 */
#pragma once
#include <glib.h>
#include <libxml/tree.h>
#include <stdbool.h>

enum {
	DEVICES_MAX = 2048, /* of one domain, all kinds together */
};

struct completion {
	xmlNode *root, *devices;
	unsigned flags; /* enum def_flags */
	bool test;	/* DEF_TEST: what all of libvirt's drivers do, and nothing of a PC's */
	bool fixed;	/* it runs: there will be no other PCI bus */
	bool micro;	/* machine micro: no firmware, no legacy; cards are on the root bus */
};

bool domain_vcpus_complete(xmlNode *root, GError **error); /* domain-vcpus.c: <vcpus>, and how many of them */
bool complete_domain(struct completion *c, GError **error);  /* uuid, memory, vcpu, os, cpu, clock, on_… */
bool complete_device(struct completion *c, xmlNode *device, GError **error); /* what its kind has as defaults */
bool complete_devices(struct completion *c, GError **error); /* all of them, those that are implied, twins, disks' order */
bool complete_controllers(struct completion *c, GError **error); /* models and numbers; those that devices need */
bool complete_addresses(struct completion *c, GError **error);	 /* drives, ports of virtio-serial, USB */
bool complete_pci(struct completion *c, GError **error);

/* Shared: a device's own children by their names come through model-xml.h. */
xmlNode *first_device(const struct completion *c, const char *kind);
void set_number(xmlNode *node, const char *path, guint64 n);
guint64 number_or(const xmlNode *node, const char *path, guint64 otherwise);
bool complete_disk(struct completion *c, xmlNode *disk, GError **error);
bool check_disk_targets(struct completion *c, GError **error);
void sort_disks(struct completion *c); /* by bus, as buses come, and then by name */
int disk_number(const char *target); /* of vda, sdb, hdaa: 0, 1, 26; -1: no such name */
/* A controller of a kind and number; NULL: none. */
xmlNode *find_controller(const struct completion *c, const char *type, guint64 index);
xmlNode *add_controller(struct completion *c, const char *type, guint64 index, const char *model);
