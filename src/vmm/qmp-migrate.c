/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP commands of migration, with the members of QEMU's qapi/migration.json (7.2) that mean something here. See migrate.h. */
#include <unistd.h>

#include "error.h"
#include "qmp.h"
#include "server.h"
#include "vmm.h"

static const char *const capability_names[] = { "events", "background-snapshot", NULL };
static const struct qmp_type capability_name = { .kind = QMP_ENUM, .values = capability_names };
static const struct qmp_member capability_members[] = { { "capability", &capability_name }, { "state", &qmp_boolean }, {} };
static const struct qmp_type capability = { .kind = QMP_OBJECT, .members = capability_members };
static const struct qmp_type capabilities = { .kind = QMP_LIST, .item = &capability };

const struct qmp_member qmp_migrate_args[] = {
	{ "uri", &qmp_string },
	{ "detach", &qmp_boolean, .optional = true },
	{},
};
const struct qmp_member qmp_migrate_incoming_args[] = { { "uri", &qmp_string }, {} };
const struct qmp_member qmp_migrate_set_parameters_args[] = {
	{ "max-bandwidth", &qmp_uint64, .optional = true },
	{ "downtime-limit", &qmp_uint64, .optional = true },
	{},
};
const struct qmp_member qmp_migrate_set_capabilities_args[] = { { "capabilities", &capabilities }, {} };
const struct qmp_member qmp_getfd_args[] = { { "fdname", &qmp_string }, {} };

enum { DOWNTIME_MAX = 2000000 /* ms, as QEMU's */, PAGE = 4096 };

JsonNode *qmp_migrate(void *opaque, JsonObject *args, GError **error)
{
	return migrate_start(opaque, json_object_get_string_member(args, "uri"), error) ? qmp_nothing() : NULL;
}

JsonNode *qmp_migrate_cancel(void *opaque, JsonObject *args, GError **error)
{
	migrate_cancel(opaque);
	return qmp_nothing();
}

JsonNode *qmp_migrate_incoming(void *opaque, JsonObject *args, GError **error)
{
	struct vmm *vmm = opaque;
	GError *failure = NULL;

	if (!vmm_waits_for_machine(vmm))
		return qmp_fail(error, QMP_ERROR_GENERIC, "'-incoming' was not specified on the command line");
	if (!vmm->incoming_deferred)
		return qmp_fail(error, QMP_ERROR_GENERIC, "The incoming migration has already been started");
	if (incoming_start(vmm, json_object_get_string_member(args, "uri"), &failure))
		return qmp_nothing();
	/* Memory may be half of another machine's. */
	if (!vmm->incoming_deferred)
		vmm_fail(vmm);
	g_propagate_error(error, failure);
	return NULL;
}

JsonNode *qmp_migrate_set_parameters(void *opaque, JsonObject *args, GError **error)
{
	struct vmm *vmm = opaque;
	struct migrate_settings *set = &vmm->migrate_settings;
	uint64_t downtime = set->downtime_limit;

	if (json_object_has_member(args, "downtime-limit"))
		downtime = (uint64_t)json_object_get_int_member(args, "downtime-limit");
	if (downtime > DOWNTIME_MAX)
		return qmp_fail(error, QMP_ERROR_GENERIC,
				"Parameter 'downtime_limit' expects an integer in the range of 0 to %d ms", DOWNTIME_MAX);
	__atomic_store_n(&set->downtime_limit, downtime, __ATOMIC_RELAXED);
	if (json_object_has_member(args, "max-bandwidth")) {
		set->max_bandwidth = (uint64_t)json_object_get_int_member(args, "max-bandwidth");
		set->bandwidth_set = true;
	}
	migrate_apply_settings(vmm);
	return qmp_nothing();
}

JsonNode *qmp_query_migrate_parameters(void *opaque, JsonObject *args, GError **error)
{
	const struct vmm *vmm = opaque;
	JsonObject *o = json_object_new();

	json_object_set_int_member(o, "max-bandwidth", (gint64)vmm->migrate_settings.max_bandwidth);
	json_object_set_int_member(o, "downtime-limit", (gint64)vmm->migrate_settings.downtime_limit);
	return qmp_object(o);
}

static bool *setting(struct vmm *vmm, const char *name)
{
	return g_strcmp0(name, "events") == 0 ? &vmm->migrate_settings.events : &vmm->migrate_settings.background;
}

JsonNode *qmp_migrate_set_capabilities(void *opaque, JsonObject *args, GError **error)
{
	JsonArray *list = json_object_get_array_member(args, "capabilities");

	if (migrate_is_active(opaque))
		return qmp_fail(error, QMP_ERROR_GENERIC, "There's a migration process in progress");
	for (guint i = 0; i < json_array_get_length(list); i++) {
		JsonObject *o = json_array_get_object_element(list, i);

		*setting(opaque, json_object_get_string_member(o, "capability")) = json_object_get_boolean_member(o, "state");
	}
	return qmp_nothing();
}

JsonNode *qmp_query_migrate_capabilities(void *opaque, JsonObject *args, GError **error)
{
	JsonArray *list = json_array_new();

	for (const char *const *name = capability_names; *name; name++) {
		JsonObject *o = json_object_new();

		json_object_set_boolean_member(o, "state", *setting(opaque, *name));
		json_object_set_string_member(o, "capability", *name);
		json_array_add_object_element(list, o);
	}
	return qmp_array(list);
}

/* ---- query-migrate ---- */

static JsonObject *ram(const struct migrate_info *info)
{
	const struct saved_counts *c = &info->counts;
	JsonObject *o = json_object_new();
	double seconds = (double)info->total / 1000;

	json_object_set_int_member(o, "total", (gint64)c->total);
	json_object_set_int_member(o, "transferred", (gint64)c->sent);
	json_object_set_int_member(o, "remaining", (gint64)c->remaining);
	json_object_set_int_member(o, "duplicate", (gint64)c->zero);
	json_object_set_int_member(o, "skipped", 0);
	json_object_set_int_member(o, "normal", (gint64)c->normal);
	json_object_set_int_member(o, "normal-bytes", (gint64)(c->normal * PAGE));
	json_object_set_int_member(o, "dirty-pages-rate", (gint64)c->dirty_rate);
	json_object_set_double_member(o, "mbps", seconds > 0 ? (double)c->sent * 8 / 1e6 / seconds : 0);
	json_object_set_int_member(o, "dirty-sync-count", (gint64)c->rounds);
	json_object_set_int_member(o, "postcopy-requests", 0);
	json_object_set_int_member(o, "page-size", PAGE);
	json_object_set_int_member(o, "multifd-bytes", 0);
	json_object_set_int_member(o, "pages-per-second",
				   seconds > 0 ? (gint64)((double)(c->normal + c->zero) / seconds) : 0);
	json_object_set_int_member(o, "precopy-bytes", (gint64)c->sent);
	json_object_set_int_member(o, "downtime-bytes", 0);
	json_object_set_int_member(o, "postcopy-bytes", 0);
	json_object_set_int_member(o, "dirty-sync-missed-zero-copy", 0);
	return o;
}

static void put_times(JsonObject *o, const struct migrate_info *info)
{
	json_object_set_int_member(o, "total-time", info->total);
	json_object_set_int_member(o, "setup-time", info->setup);
	/* Of a background snapshot it is known when the machine may run again: QEMU does not say so. */
	if (info->status == MIGRATE_COMPLETED || info->downtime >= 0)
		json_object_set_int_member(o, "downtime", MAX(info->downtime, 0));
	else if (info->expected >= 0)
		json_object_set_int_member(o, "expected-downtime", info->expected);
	json_object_set_object_member(o, "ram", ram(info));
}

JsonNode *qmp_query_migrate(void *opaque, JsonObject *args, GError **error)
{
	JsonObject *o = json_object_new();
	struct migrate_info info;

	migrate_info(opaque, &info);
	if (info.status == MIGRATE_NONE)
		return qmp_object(o);
	json_object_set_string_member(o, "status", migrate_status_name(info.status));
	if (info.error && info.status == MIGRATE_FAILED)
		qmp_put_text(o, "error-desc", info.error);
	if (info.has_counts && (info.status == MIGRATE_ACTIVE || info.status == MIGRATE_CANCELLING ||
				info.status == MIGRATE_COMPLETED))
		put_times(o, &info);
	return qmp_object(o);
}

/* ---- descriptors ---- */

JsonNode *qmp_getfd(void *opaque, JsonObject *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *name = json_object_get_string_member(args, "fdname");
	int fd = qmp_server_take_fd(vmm->qmp);

	if (fd < 0)
		return qmp_fail(error, QMP_ERROR_GENERIC, "No file descriptor supplied via SCM_RIGHTS");
	if (g_ascii_isdigit(*name)) {
		close(fd);
		return qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'fdname' expects a name not starting with a digit");
	}
	migrate_add_fd(vmm, name, fd);
	return qmp_nothing();
}

JsonNode *qmp_closefd(void *opaque, JsonObject *args, GError **error)
{
	const char *name = json_object_get_string_member(args, "fdname");

	return migrate_close_fd(opaque, name) ? qmp_nothing() :
						qmp_fail(error, QMP_ERROR_GENERIC, "File descriptor named '%s' not found", name);
}
