/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kv-vmm's QMP server: what the rest of kv-vmm says to it, and its commands, which are rows of the table in qmp.c and
 * functions of one qmp-GROUP.c each. Shapes and texts are those of QEMU's qapi/. Main thread only.
 */
#pragma once
#include <stdbool.h>

#include "session.h"

struct vmm;
struct vmm_vnc;
struct vnc_config;

/* An event to the client that may be there; data (may be NULL) is taken over. Others than commands call vmm_event(). */
void qmp_event(struct vmm *vmm, const char *name, JsonObject *data);

/* qmp-jobs.c: block jobs and their events; qmp-nbd.c: exports; qmp-display.c. For the module's table. */
void qmp_open_jobs(struct vmm *vmm);
void qmp_close_jobs(struct vmm *vmm);
void qmp_nbd_close(struct vmm *vmm);
bool qmp_nbd_has_exports(const struct vmm *vmm);
void qmp_watch_vnc(struct vmm_vnc *v, struct vnc_config *config);

/* A name that a client gives something (QEMU's id_wellformed): a letter, then letters, digits, - . _ */
bool qmp_check_id(const char *id, GError **error);

/* What that text, which may be of any bytes, stands for. */
GBytes *qmp_base64(GBytes *text, GError **error);

/* The vCPU's name in QEMU's object tree; g_free. */

/* qmp.c */
JsonNode *qmp_version(void);

/* Commands; opaque is the struct vmm. qmp-machine.c */
typedef JsonNode *qmp_run(void *opaque, JsonObject *args, GError **error);
qmp_run qmp_query_cpu_definitions, qmp_query_cpu_model_expansion;
extern const struct qmp_member qmp_query_cpu_model_expansion_args[];
qmp_run qmp_query_version, qmp_query_name, qmp_query_status, qmp_query_kvm, qmp_query_cpus_fast;
extern const struct qmp_member qmp_watchdog_set_action_args[], qmp_set_action_args[];
qmp_run qmp_inject_nmi, qmp_watchdog_set_action, qmp_set_action, qmp_rtc_reset_reinjection;
extern const struct qmp_member qmp_memsave_args[], qmp_pmemsave_args[]; /* qmp-memory.c */
extern const struct qmp_member qmp_dump_args[];
qmp_run qmp_memsave, qmp_pmemsave, qmp_dump_guest_memory, qmp_query_dump_capability;
qmp_run qmp_stop, qmp_cont, qmp_system_powerdown, qmp_system_reset, qmp_quit;
qmp_run qmp_query_current_machine, qmp_system_wakeup; /* qmp-power.c */

/* qmp-device.c */
extern const struct qmp_member qmp_device_del_args[];
qmp_run qmp_device_add, qmp_device_del;
/* What QEMU calls the owner of a device's property: its virtio devices are two, of which the inner one has it; g_free. */
char *qmp_property_owner(const char *driver);

/* qmp-net.c */
extern const struct qmp_member qmp_set_link_args[], qmp_netdev_add_args[], qmp_netdev_del_args[], qmp_query_rx_filter_args[];
extern const struct qmp_member qmp_human_monitor_command_args[];
qmp_run qmp_human_monitor_command, qmp_set_link, qmp_netdev_add, qmp_netdev_del, qmp_query_rx_filter;

/* qmp-char.c */
extern const struct qmp_type qmp_socket_address; /* SocketAddressLegacy: inet with host and port, unix with path */
extern const struct qmp_member qmp_chardev_add_args[], qmp_chardev_remove_args[];
extern const struct qmp_member qmp_ringbuf_read_args[], qmp_ringbuf_write_args[];
qmp_run qmp_query_chardev, qmp_query_chardev_backends, qmp_chardev_add, qmp_chardev_change, qmp_chardev_remove, qmp_ringbuf_read;
qmp_run qmp_ringbuf_write;

/* qmp-object.c */
extern const struct qmp_member qmp_object_add_args[], qmp_object_del_args[];
qmp_run qmp_object_add, qmp_object_del, qmp_query_iothreads, qmp_query_memdev;

/* qmp-query.c, qmp-pci.c */
extern const struct qmp_member qmp_query_command_line_options_args[];
qmp_run qmp_query_machines, qmp_query_target, qmp_query_uuid, qmp_query_memory_size_summary, qmp_query_hotpluggable_cpus;
qmp_run qmp_query_acpi_ospm_status;
qmp_run qmp_query_vm_generation_id, qmp_query_command_line_options, qmp_query_pci;
qmp_run qmp_query_nothing; /* [], of what there never is any */

/* qmp-balloon.c */
extern const struct qmp_member qmp_balloon_args[];
qmp_run qmp_balloon, qmp_query_balloon;

/* qmp-qom.c */
extern const struct qmp_member qmp_qom_list_args[], qmp_qom_get_args[], qmp_qom_set_args[], qmp_qom_list_types_args[];
extern const struct qmp_member qmp_typename_args[];
qmp_run qmp_qom_list, qmp_qom_get, qmp_qom_set, qmp_qom_list_types, qmp_qom_list_properties, qmp_device_list_properties;

/* qmp-display.c */
extern const struct qmp_member qmp_screendump_args[], qmp_set_password_args[], qmp_expire_password_args[],
	qmp_change_vnc_password_args[], qmp_display_reload_args[];
qmp_run qmp_screendump, qmp_query_display_options, qmp_query_vnc, qmp_set_password, qmp_expire_password, qmp_query_vnc_servers,
	qmp_change_vnc_password, qmp_display_reload;

/* qmp-stats.c */
extern const struct qmp_member qmp_stats_args[], qmp_stats_schemas_args[];
qmp_run qmp_query_stats, qmp_query_stats_schemas;

/* qmp-migrate.c */
extern const struct qmp_member qmp_migrate_args[], qmp_migrate_incoming_args[], qmp_migrate_set_parameters_args[];
extern const struct qmp_member qmp_migrate_set_capabilities_args[], qmp_getfd_args[];
qmp_run qmp_migrate, qmp_migrate_cancel, qmp_migrate_incoming, qmp_migrate_set_parameters, qmp_migrate_set_capabilities;
qmp_run qmp_query_migrate, qmp_query_migrate_parameters, qmp_query_migrate_capabilities, qmp_getfd, qmp_closefd;
