/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a machine tells about its devices, and what may be changed in them while it runs: for QMP (vmm/qmp-qom.c, qmp-query.c).
 * Devices have the names of users and board; those are told that a user may make (--device, device_add). Main thread.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct machine;

/* Ids, in the order in which the devices were made. */
GStrv machine_devices(struct machine *m);
/* QEMU's name for its class; NULL: there is no such device. g_free. */
char *machine_device_type(struct machine *m, const char *id);
/* Properties of a device: a(sssb), name, type, description, whether it may be set; NULL: there is no such device. */
GVariant *machine_properties(struct machine *m, const char *id);
/* NULL: there is no such property. */
GVariant *machine_get(struct machine *m, const char *id, const char *property);
/* The value has the type that the property has. */
bool machine_set(struct machine *m, const char *id, const char *property, GVariant *value, GError **error);

/* Classes that a user may make, by QEMU's names; and what one takes, a(sss): name, type, description; NULL: there is none. */
GStrv machine_classes(void);
GVariant *machine_class_options(const char *name);

#define MACHINE_PCI_BARS 7 /* the last one is the option ROM's */

struct machine_pci_bar {
	uint64_t address, size; /* address UINT64_MAX: the guest has it nowhere; size 0: there is none */
	bool io, wide;		/* wide: a 64-bit address */
};

/* A PCI function. */
struct machine_pci {
	const char *id; /* the machine's */
	unsigned slot, function, index;
	int parent; /* index of the bridge that it is behind, which comes before it; -1: bus 0 */
	uint8_t config[64];
	struct machine_pci_bar bar[MACHINE_PCI_BARS];
};

/* Of struct machine_pci. */
GArray *machine_pci(struct machine *m);

/*
 * The frames that a network card wants, a{sv} as query-rx-filter has it (rx-filter.h); NULL: there is no such device, *ret_known
 * false, or it does not tell. NOTICE_RX_FILTER comes once from now on.
 */
GVariant *machine_rx_filter(struct machine *m, const char *id, bool *ret_known);

/*
 * Bytes of guest memory, at physical addresses, where there is none zeroes; and where a virtual one of that processor is, which
 * the machine, that is paused, knows now: false when it is nowhere.
 */
void machine_read(struct machine *m, uint64_t gpa, void *data, uint64_t len);
bool machine_translate(struct machine *m, unsigned cpu, uint64_t gva, uint64_t *ret_gpa);

/* Memory and processors of a machine that is paused as an ELF core file. */
bool machine_dump(struct machine *m, int fd, GError **error);

unsigned machine_cpus_max(void);
uint64_t machine_memory(const struct machine *m); /* bytes that it was made with */
/* Bytes that the guest has with what is in its balloon taken away; and has to do with. False: there is no balloon. */
bool machine_balloon(struct machine *m, uint64_t *ret_bytes);
bool machine_set_balloon(struct machine *m, uint64_t bytes);
