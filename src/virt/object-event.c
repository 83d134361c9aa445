/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Events of objects, for kv-object.h: which procedure registers for a message and by what number (libvirt's enums
 * vir…EventID), and which object a message is about.
 */
#include <string.h>

#include "connection-inside.h"
#include "rpc/message.h"
#include "object-inside.h"

static const struct kind {
	const char *prefix, *register_any, *deregister_any;
	const char *handle; /* of the object that may be given */
	const char *const *events; /* their place is their number; ended by NULL */
} kinds[] = {
	{ "domain_event_", "connect_domain_event_callback_register_any", "connect_domain_event_callback_deregister_any", "(sayi)",
	  (const char *const[]){ "domain_event_callback_lifecycle",
				 "domain_event_callback_reboot",
				 "domain_event_callback_rtc_change",
				 "domain_event_callback_watchdog",
				 "domain_event_callback_io_error",
				 "domain_event_callback_graphics",
				 "domain_event_callback_io_error_reason",
				 "domain_event_callback_control_error",
				 "domain_event_callback_block_job",
				 "domain_event_callback_disk_change",
				 "domain_event_callback_tray_change",
				 "domain_event_callback_pmwakeup",
				 "domain_event_callback_pmsuspend",
				 "domain_event_callback_balloon_change",
				 "domain_event_callback_pmsuspend_disk",
				 "domain_event_callback_device_removed",
				 "domain_event_block_job_2",
				 "domain_event_callback_tunable",
				 "domain_event_callback_agent_lifecycle",
				 "domain_event_callback_device_added",
				 "domain_event_callback_migration_iteration",
				 "domain_event_callback_job_completed",
				 "domain_event_callback_device_removal_failed",
				 "domain_event_callback_metadata_change",
				 "domain_event_block_threshold",
				 "domain_event_memory_failure",
				 "domain_event_memory_device_size_change",
				 NULL } },
	{ "network_event_", "connect_network_event_register_any", "connect_network_event_deregister_any", "(say)",
	  (const char *const[]){ "network_event_lifecycle", NULL } },
	{ "storage_pool_event_", "connect_storage_pool_event_register_any", "connect_storage_pool_event_deregister_any", "(say)",
	  (const char *const[]){ "storage_pool_event_lifecycle", "storage_pool_event_refresh", NULL } },
	{ "node_device_event_", "connect_node_device_event_register_any", "connect_node_device_event_deregister_any", "s",
	  (const char *const[]){ "node_device_event_lifecycle", "node_device_event_update", NULL } },
	{ "secret_event_", "connect_secret_event_register_any", "connect_secret_event_deregister_any", "(ayis)",
	  (const char *const[]){ "secret_event_lifecycle", "secret_event_value_changed", NULL } },
};

static const struct kind *find(const char *event, int *ret_number, GError **error)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++)
		for (int n = 0; g_str_has_prefix(event, kinds[i].prefix) && kinds[i].events[n]; n++)
			if (!strcmp(event, kinds[i].events[n])) {
				*ret_number = n;
				return &kinds[i];
			}
	rpc_fail(error, VIR_ERR_INVALID_ARG, "there is no event '%s'", event);
	return NULL;
}

int kv_connection_watch_sync(KvConnection *self, const char *event, KvObject *object, GCancellable *cancellable, GError **error)
{
	GVariant *handle = object ? kv_object_get_handle(object) : NULL;
	g_autoptr(GVariant) answer = NULL, given = NULL;
	int number;
	const struct kind *kind = find(event, &number, error);

	if (!kind)
		return -1;
	if (handle && !g_variant_is_of_type(handle, G_VARIANT_TYPE(kind->handle))) {
		rpc_fail(error, VIR_ERR_INVALID_ARG, "'%s' is no event of a %s", event, G_OBJECT_TYPE_NAME(object));
		return -1;
	}
	given = g_variant_ref_sink(g_variant_new_maybe(G_VARIANT_TYPE(kind->handle), handle));
	answer = kv_connection_call_sync(self, kind->register_any, g_variant_new("(i@*)", number, given), cancellable, error);
	if (!answer)
		return -1;
	g_variant_get(answer, "(i)", &number);
	return number;
}

gboolean kv_connection_unwatch_sync(KvConnection *self, const char *event, int number, GCancellable *cancellable, GError **error)
{
	int unused;
	const struct kind *kind = find(event, &unused, error);
	g_autoptr(GVariant) answer = NULL;

	if (kind)
		answer = kv_connection_call_sync(self, kind->deregister_any, g_variant_new("(i)", number), cancellable, error);
	return answer != NULL;
}

static const struct kv_class *class_of(char letter)
{
	const struct kv_class *class = kv_classes;

	while (class->letter && class->letter != letter)
		class ++;
	return class->letter ? class : NULL;
}

static GVariant *rest_of(GVariant *body, gsize from)
{
	gsize n = g_variant_n_children(body) - from;
	g_autoptr(GPtrArray) rest = g_ptr_array_new_with_free_func((GDestroyNotify)g_variant_unref);

	for (gsize i = 0; i < n; i++)
		g_ptr_array_add(rest, g_variant_get_child_value(body, from + i));
	return g_variant_ref_sink(g_variant_new_tuple((GVariant **)rest->pdata, n));
}

/* (callback, object, …), (callback, (object, …)), (callback, reason, (object)) or, of old, (object, …). */
KvObject *kv_event_object(KvConnection *self, const char *args_type, GVariant *body, GVariant **ret_rest)
{
	gsize at = strspn(args_type + 1, "i");
	char letter = args_type[1 + at];
	const struct kv_class *class = class_of(letter == '(' ? args_type[2 + at] : letter);
	g_autoptr(GVariant) inner = NULL;
	KvObject *object;

	if (!class || g_variant_n_children(body) <= at)
		return NULL;
	inner = letter == '(' ? g_variant_get_child_value(body, at) : g_variant_ref(body);
	at = letter == '(' ? 0 : at;
	object = kv_unwire_object(self, class->type(), inner, at);
	if (object)
		*ret_rest = rest_of(inner, at + 1);
	return object;
}
