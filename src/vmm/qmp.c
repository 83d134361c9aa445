/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The QMP server of --qmp and the table of its commands: the module of events.h. See qmp.h. */
#include "qmp.h"

#include <string.h>

#include "error.h"
#include "events.h"
#include "log.h"
#include "machine.h"
#include "qmp-block.h"
#include "qmp-input.h"
#include "server.h"
#include "vmm.h"

#define BASE64 "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\n\r"

/* The QEMU whose QMP this is: clients take it for what commands look like. */
enum { QEMU_MAJOR = 7, QEMU_MINOR = 2, QEMU_MICRO = 0 };

static const struct qmp_command commands[] = {
	{ "balloon", qmp_balloon, qmp_balloon_args },
	{ "block-commit", qmp_block_commit, qmp_block_commit_args },
	{ "block-dirty-bitmap-add", qmp_bitmap_add, qmp_bitmap_add_args },
	{ "block-dirty-bitmap-clear", qmp_bitmap_clear, qmp_bitmap_args },
	{ "block-dirty-bitmap-disable", qmp_bitmap_disable, qmp_bitmap_args },
	{ "block-dirty-bitmap-enable", qmp_bitmap_enable, qmp_bitmap_args },
	{ "block-dirty-bitmap-merge", qmp_bitmap_merge, qmp_bitmap_merge_args },
	{ "block-dirty-bitmap-remove", qmp_bitmap_remove, qmp_bitmap_args },
	{ "block-export-add", qmp_block_export_add, qmp_block_export_add_args },
	{ "block-export-del", qmp_block_export_del, qmp_block_export_del_args },
	{ "block-job-cancel", qmp_job_cancel, qmp_block_job_cancel_args },
	{ "block-job-complete", qmp_job_complete, qmp_block_job_args },
	{ "block-job-dismiss", qmp_job_dismiss, qmp_job_id_args },
	{ "block-job-finalize", qmp_job_finalize, qmp_job_id_args },
	{ "block-job-pause", qmp_job_pause, qmp_block_job_args },
	{ "block-job-resume", qmp_job_resume, qmp_block_job_args },
	{ "block-job-set-speed", qmp_block_job_set_speed, qmp_block_job_set_speed_args },
	{ "block-stream", qmp_block_stream, qmp_block_stream_args },
	{ "block_resize", qmp_block_resize, qmp_block_resize_args },
	{ "block_set_io_throttle", qmp_block_set_io_throttle, qmp_block_set_io_throttle_args },
	{ "blockdev-add", qmp_blockdev_add, .checks_args = true },
	{ "blockdev-backup", qmp_blockdev_backup, qmp_blockdev_backup_args },
	{ "blockdev-change-medium", qmp_blockdev_change_medium, qmp_change_medium_args },
	{ "blockdev-close-tray", qmp_blockdev_close_tray, qmp_tray_args },
	{ "blockdev-create", qmp_blockdev_create, qmp_blockdev_create_args },
	{ "blockdev-del", qmp_blockdev_del, qmp_blockdev_del_args },
	{ "blockdev-insert-medium", qmp_blockdev_insert_medium, qmp_insert_medium_args },
	{ "blockdev-mirror", qmp_blockdev_mirror, qmp_blockdev_mirror_args },
	{ "blockdev-open-tray", qmp_blockdev_open_tray, qmp_open_tray_args },
	{ "blockdev-remove-medium", qmp_blockdev_remove_medium, qmp_remove_medium_args },
	{ "blockdev-reopen", qmp_blockdev_reopen, qmp_blockdev_reopen_args },
	{ "blockdev-snapshot", qmp_blockdev_snapshot, qmp_snapshot_args },
	{ "blockdev-snapshot-delete-internal-sync", qmp_blockdev_snapshot_delete_internal_sync,
	  qmp_snapshot_delete_internal_args },
	{ "blockdev-snapshot-internal-sync", qmp_blockdev_snapshot_internal_sync, qmp_snapshot_internal_args },
	{ "blockdev-snapshot-sync", qmp_blockdev_snapshot_sync, qmp_snapshot_sync_args },
	{ "change-vnc-password", qmp_change_vnc_password, qmp_change_vnc_password_args },
	{ "chardev-add", qmp_chardev_add, qmp_chardev_add_args },
	{ "chardev-change", qmp_chardev_change, qmp_chardev_add_args },
	{ "chardev-remove", qmp_chardev_remove, qmp_chardev_remove_args },
	{ "closefd", qmp_closefd, qmp_getfd_args },
	{ "cont", qmp_cont },
	{ "device-list-properties", qmp_device_list_properties, qmp_typename_args },
	{ "device_add", qmp_device_add, .checks_args = true },
	{ "device_del", qmp_device_del, qmp_device_del_args },
	{ "display-reload", qmp_display_reload, qmp_display_reload_args },
	{ "dump-guest-memory", qmp_dump_guest_memory, qmp_dump_args },
	{ "eject", qmp_eject, qmp_open_tray_args },
	{ "human-monitor-command", qmp_human_monitor_command, qmp_human_monitor_command_args },
	{ "inject-nmi", qmp_inject_nmi },
	{ "input-send-event", qmp_input_send_event, qmp_input_send_event_args },
	{ "expire_password", qmp_expire_password, qmp_expire_password_args },
	{ "getfd", qmp_getfd, qmp_getfd_args },
	{ "job-cancel", qmp_job_cancel, qmp_job_id_args },
	{ "job-complete", qmp_job_complete, qmp_job_id_args },
	{ "job-dismiss", qmp_job_dismiss, qmp_job_id_args },
	{ "job-finalize", qmp_job_finalize, qmp_job_id_args },
	{ "job-pause", qmp_job_pause, qmp_job_id_args },
	{ "job-resume", qmp_job_resume, qmp_job_id_args },
	{ "memsave", qmp_memsave, qmp_memsave_args },
	{ "migrate", qmp_migrate, qmp_migrate_args },
	{ "migrate-incoming", qmp_migrate_incoming, qmp_migrate_incoming_args },
	{ "migrate-set-capabilities", qmp_migrate_set_capabilities, qmp_migrate_set_capabilities_args },
	{ "migrate-set-parameters", qmp_migrate_set_parameters, qmp_migrate_set_parameters_args },
	{ "migrate_cancel", qmp_migrate_cancel },
	{ "nbd-server-add", qmp_nbd_server_add, qmp_nbd_server_add_args },
	{ "nbd-server-remove", qmp_nbd_server_remove, qmp_nbd_server_remove_args },
	{ "nbd-server-start", qmp_nbd_server_start, qmp_nbd_server_start_args },
	{ "nbd-server-stop", qmp_nbd_server_stop },
	{ "netdev_add", qmp_netdev_add, qmp_netdev_add_args },
	{ "netdev_del", qmp_netdev_del, qmp_netdev_del_args },
	{ "object-add", qmp_object_add, qmp_object_add_args },
	{ "object-del", qmp_object_del, qmp_object_del_args },
	{ "pmemsave", qmp_pmemsave, qmp_pmemsave_args },
	{ "qom-get", qmp_qom_get, qmp_qom_get_args },
	{ "qom-list", qmp_qom_list, qmp_qom_list_args },
	{ "qom-list-properties", qmp_qom_list_properties, qmp_typename_args },
	{ "qom-list-types", qmp_qom_list_types, qmp_qom_list_types_args },
	{ "qom-set", qmp_qom_set, qmp_qom_set_args },
	{ "query-balloon", qmp_query_balloon },
	{ "query-block", qmp_query_block },
	{ "query-block-exports", qmp_query_block_exports },
	{ "query-block-jobs", qmp_query_block_jobs },
	{ "query-blockstats", qmp_query_blockstats, qmp_query_blockstats_args },
	{ "query-chardev", qmp_query_chardev },
	{ "query-chardev-backends", qmp_query_chardev_backends },
	{ "query-command-line-options", qmp_query_command_line_options, qmp_query_command_line_options_args },
	{ "query-cpu-definitions", qmp_query_cpu_definitions },
	{ "query-cpu-model-expansion", qmp_query_cpu_model_expansion, qmp_query_cpu_model_expansion_args },
	{ "query-cpus-fast", qmp_query_cpus_fast },
	{ "query-current-machine", qmp_query_current_machine },
	{ "query-display-options", qmp_query_display_options },
	{ "query-dump-guest-memory-capability", qmp_query_dump_capability },
	{ "query-acpi-ospm-status", qmp_query_acpi_ospm_status },
	{ "query-hotpluggable-cpus", qmp_query_hotpluggable_cpus },
	{ "query-iothreads", qmp_query_iothreads },
	{ "query-jobs", qmp_query_jobs },
	{ "query-kvm", qmp_query_kvm },
	{ "query-machines", qmp_query_machines },
	{ "query-memdev", qmp_query_memdev },
	{ "query-memory-devices", qmp_query_nothing },
	{ "query-memory-size-summary", qmp_query_memory_size_summary },
	{ "query-mice", qmp_query_mice },
	{ "query-migrate", qmp_query_migrate },
	{ "query-migrate-capabilities", qmp_query_migrate_capabilities },
	{ "query-migrate-parameters", qmp_query_migrate_parameters },
	{ "query-name", qmp_query_name },
	{ "query-named-block-nodes", qmp_query_named_block_nodes, qmp_query_named_block_nodes_args },
	{ "query-pci", qmp_query_pci },
	{ "query-pr-managers", qmp_query_nothing },
	{ "query-rx-filter", qmp_query_rx_filter, qmp_query_rx_filter_args },
	{ "query-stats", qmp_query_stats, qmp_stats_args },
	{ "query-stats-schemas", qmp_query_stats_schemas, qmp_stats_schemas_args },
	{ "query-status", qmp_query_status },
	{ "query-target", qmp_query_target },
	{ "query-tpm", qmp_query_nothing },
	{ "query-tpm-models", qmp_query_nothing },
	{ "query-tpm-types", qmp_query_nothing },
	{ "query-uuid", qmp_query_uuid },
	{ "query-version", qmp_query_version },
	{ "query-vm-generation-id", qmp_query_vm_generation_id },
	{ "query-vnc", qmp_query_vnc },
	{ "query-vnc-servers", qmp_query_vnc_servers },
	{ "quit", qmp_quit },
	{ "ringbuf-read", qmp_ringbuf_read, qmp_ringbuf_read_args },
	{ "ringbuf-write", qmp_ringbuf_write, qmp_ringbuf_write_args },
	{ "rtc-reset-reinjection", qmp_rtc_reset_reinjection },
	{ "set-action", qmp_set_action, qmp_set_action_args },
	{ "set_link", qmp_set_link, qmp_set_link_args },
	{ "send-key", qmp_send_key, qmp_send_key_args },
	{ "screendump", qmp_screendump, qmp_screendump_args },
	{ "set_password", qmp_set_password, qmp_set_password_args },
	{ "stop", qmp_stop },
	{ "system_powerdown", qmp_system_powerdown },
	{ "system_reset", qmp_system_reset },
	{ "system_wakeup", qmp_system_wakeup },
	{ "transaction", qmp_transaction, qmp_transaction_args },
	{ "watchdog-set-action", qmp_watchdog_set_action, qmp_watchdog_set_action_args },
	{},
};

/* All that are ever sent. */
static const char *const events[] = {
	"ACPI_DEVICE_OST",
	"BALLOON_CHANGE",
	"BLOCK_EXPORT_DELETED",
	"BLOCK_IO_ERROR",
	"BLOCK_JOB_CANCELLED",
	"BLOCK_JOB_COMPLETED",
	"BLOCK_JOB_ERROR",
	"BLOCK_JOB_PENDING",
	"BLOCK_JOB_READY",
	"DEVICE_DELETED",
	"DEVICE_TRAY_MOVED",
	"GUEST_CRASHLOADED",
	"GUEST_PANICKED",
	"JOB_STATUS_CHANGE",
	"MIGRATION",
	"NIC_RX_FILTER_CHANGED",
	"POWERDOWN",
	"RESET",
	"RESUME",
	"RTC_CHANGE",
	"SHUTDOWN",
	"STOP",
	"SUSPEND",
	"SUSPEND_DISK",
	"VNC_CONNECTED",
	"VNC_DISCONNECTED",
	"VNC_INITIALIZED",
	"VSERPORT_CHANGE",
	"WAKEUP",
	"WATCHDOG",
	NULL,
};

JsonNode *qmp_version(void)
{
	JsonObject *o = json_object_new(), *qemu = json_object_new();

	json_object_set_int_member(qemu, "major", QEMU_MAJOR);
	json_object_set_int_member(qemu, "minor", QEMU_MINOR);
	json_object_set_int_member(qemu, "micro", QEMU_MICRO);
	json_object_set_object_member(o, "qemu", qemu);
	json_object_set_string_member(o, "package", "kv-vmm " KV_VERSION " (Kvasir)");
	return qmp_object(o);
}

static bool is_busy(void *opaque)
{
	return machine_busy(((struct vmm *)opaque)->machine);
}

static const struct qmp_server_ops server_ops = {
	.commands = commands, .events = events, .version = qmp_version, .busy = is_busy
};

static bool open_server(struct vmm *vmm, GVariant *keys, GError **error)
{
	const char *socket = "";

	g_variant_lookup(keys, "socket", "&s", &socket);
	if (strlen(socket) <= strlen("unix:"))
		return kv_fail(error, KV_ERROR_USAGE, "--qmp: socket: '%s' is not valid; give unix:PATH", socket);
	vmm->qmp = qmp_server_new(socket + strlen("unix:"), &server_ops, vmm, error);
	return vmm->qmp;
}

static void close_server(struct vmm *vmm)
{
	g_clear_pointer(&vmm->qmp, qmp_server_free);
}

static void prepare(struct vmm *vmm)
{
	qmp_open_jobs(vmm);
}

static void clean_up(struct vmm *vmm)
{
	qmp_keys_free(vmm->keys);
	qmp_nbd_close(vmm);
	qmp_close_jobs(vmm);
}

void qmp_event(struct vmm *vmm, const char *name, JsonObject *data)
{
	if (!g_strv_contains(events, name))
		kv_log_warn("QMP event %s: query-qmp-schema does not tell it", name);
	if (vmm->qmp)
		qmp_server_event(vmm->qmp, name, data);
	if (data)
		json_object_unref(data);
}

bool qmp_check_id(const char *id, GError **error)
{
	const char *p = id;

	if (g_ascii_isalpha(*p))
		while (g_ascii_isalnum(*p) || (*p && strchr("-._", *p)))
			p++;
	return (p != id && !*p) || qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'id' expects an identifier");
}

GBytes *qmp_base64(GBytes *text, GError **error)
{
	gsize len;
	const char *data = g_bytes_get_data(text, &len);
	g_autofree char *terminated = g_strndup(data, len);
	guchar *bytes;

	if (strspn(terminated, BASE64) != len) {
		qmp_fail(error, QMP_ERROR_GENERIC, "Base64 data contains invalid characters");
		return NULL;
	}
	bytes = g_base64_decode(terminated, &len);
	return g_bytes_new_take(bytes, len);
}

static void event_of_machine(struct vmm *vmm, const char *name, GVariant *data)
{
	g_autoptr(JsonNode) node = data ? json_gvariant_serialize(data) : NULL;

	qmp_event(vmm, name, node ? json_node_dup_object(node) : NULL);
}

extern const struct qmp_module kv_qmp;
const struct qmp_module kv_qmp = {
	.prepare = prepare,
	.open = open_server,
	.close = close_server,
	.clean_up = clean_up,
	.event = event_of_machine,
	.has_exports = qmp_nbd_has_exports,
	.watch_vnc = qmp_watch_vnc,
};
