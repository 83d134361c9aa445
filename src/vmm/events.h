/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens to a machine, told to whoever controls it: QMP's events with QEMU's names and shapes (qapi/). And the module that
 * is QMP, with json-glib and gio behind it, whose start takes longer than a whole kv-vmm: loaded for --qmp. Main thread only.
 */
#pragma once
#include <stdbool.h>

#include <glib.h>

struct disk;
struct disk_error;
struct vmm;
struct vmm_vnc;
struct vnc_config;

/* A module of qmp.c's, "kv-qmp". Its functions use the program's. */
struct qmp_module {
	void (*prepare)(struct vmm *vmm); /* when there is a graph: jobs may come */
	bool (*open)(struct vmm *vmm, GVariant *keys, GError **error); /* keys: of --qmp. It answers when the main loop runs. */
	void (*close)(struct vmm *vmm);	   /* the server */
	void (*clean_up)(struct vmm *vmm); /* exports and jobs: before the graph goes */
	void (*event)(struct vmm *vmm, const char *name, GVariant *data);
	bool (*has_exports)(const struct vmm *vmm);
	void (*watch_vnc)(struct vmm_vnc *v, struct vnc_config *config); /* sets its event() and opaque */
};
#define QMP_MODULE "kv-qmp"
#define QMP_SYMBOL "kv_qmp" /* a struct qmp_module */

/* data: a{sv}, floating is fine; NULL: none. Nobody listens: no-op. */
void vmm_event(struct vmm *vmm, const char *name, GVariant *data);
/* One of those with {guest, reason}: SHUTDOWN, RESET. */
void vmm_event_cause(struct vmm *vmm, const char *name, bool guest, const char *reason);
/* BLOCK_IO_ERROR */
void vmm_event_io_error(struct vmm *vmm, struct disk *d, const struct disk_error *e);
/* DEVICE_TRAY_MOVED */
void vmm_event_tray(struct vmm *vmm, struct disk *d, bool open);
/* DEVICE_DELETED, of one that was plugged in; for machine_on_unplugged(): of processor `cpu` without an id. */
void vmm_event_unplugged(struct vmm *vmm, const char *id, int cpu);
/* What the guest said of a processor, floating; NULL: it cannot. And ACPI_DEVICE_OST of it. */
GVariant *vmm_cpu_ost(const struct vmm *vmm, unsigned cpu);
void vmm_event_cpu_ost(struct vmm *vmm, unsigned cpu);
char *vmm_vcpu_path(const struct vmm *vmm, unsigned index); /* in QEMU's object tree */
