/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vCPUs that come to a running machine and go. Which there may be, and where each is, query-hotpluggable-cpus says, the last one
 * first; one that came has libvirt's name for it, vcpuN. Its thread gets what the definition says of it. See kv.h.
 */
#include <stdio.h>
#include <string.h>

#include "kv.h"

enum { UNPLUG_SECONDS = 5 };

static char *name_of(unsigned index)
{
	return g_strdup_printf("vcpu%u", index);
}

/* Its place and type as device_add has them. */
static JsonObject *ask_place(struct kv_machine *m, unsigned index, GError **error)
{
	g_autoptr(JsonNode) answer = kv_ask(m, "query-hotpluggable-cpus", NULL, error);
	JsonArray *list = kv_array(answer);
	guint n = list ? json_array_get_length(list) : 0;
	JsonObject *slot = index < n ? kv_object(json_array_get_element(list, n - 1 - index)) : NULL, *props, *args;
	g_autofree char *name = name_of(index);

	if (!answer)
		return NULL;
	if (!slot || !json_object_has_member(slot, "props") || !kv_text_in(slot, "type")) {
		rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "vcpu '%u' is missing hotplug data", index);
		return NULL;
	}
	props = kv_object(json_object_get_member(slot, "props"));
	args = kv_args("driver", kv_text_in(slot, "type"), "id", name, NULL);
	for (unsigned i = 0; props && i < 3; i++) {
		static const char *const ids[] = {"socket-id", "core-id", "thread-id"};

		json_object_set_int_member(args, ids[i], kv_number_in(props, ids[i]));
	}
	return args;
}

static bool plug(struct kv_machine *m, unsigned index, GError **error)
{
	JsonObject *args = ask_place(m, index, error);

	return args && kv_do(m, "device_add", args, error) && (m->gone || kv_tune_vcpu(m, index, error));
}

static bool unplug(struct kv_machine *m, unsigned index, GError **error)
{
	gint64 until = g_get_monotonic_time() + UNPLUG_SECONDS * G_USEC_PER_SEC;
	g_autofree char *name = name_of(index);
	bool ok, late;

	g_free(m->leaving);
	m->leaving = g_strdup(name);
	ok = kv_do(m, "device_del", kv_args("id", name, NULL), error);
	while (ok && m->leaving && !m->gone && qmp_client_is_open(m->qmp))
		if (!state_wait(&m->changed, until))
			break;
	late = m->leaving;
	g_clear_pointer(&m->leaving, g_free);
	if (ok && late && !m->gone)
		return rpc_fail(error, VIR_ERR_OPERATION_TIMEOUT,
				"vcpu unplug request timed out. Unplug result must be manually inspected in the domain");
	return ok;
}

bool kv_set_vcpu(struct domain *d, unsigned index, bool on, GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);
	bool ok;

	if (!m)
		return false;
	kv_machine_ref(m);
	ok = (on ? plug : unplug)(m, index, error);
	kv_machine_unref(m);
	return ok;
}

/* One that came has a name, one that the machine started with a place in QEMU's tree. */
bool kv_vcpu_left(struct kv_machine *m, JsonObject *data)
{
	const char *alias = kv_text_in(data, "device"), *path = kv_text_in(data, "path");
	unsigned index, max = 0;
	int len = 0;

	if (alias ? sscanf(alias, "vcpu%u%n", &index, &len) != 1 || alias[len]
		  : !path || sscanf(path, "/machine/unattached/device[%u]%n", &index, &len) != 1 || path[len])
		return false;
	if (m->d->live)
		domain_def_vcpus(m->d->live, &max);
	if (index >= max)
		return false;
	domain_def_set_vcpu(m->d->live, index, false);
	kv_tune_vcpu_left(m, index);
	kv_store_status(m->d);
	return true;
}
