/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See domain.h: the objects, their job, their states. What calls do with them is in the domain-*.c, a file a topic. */
#include "domain.h"

#include <string.h>

#include "client.h"
#include "events.h"
#include "log.h"
#include "snapshots.h"
#include "uuid.h"
#include "workers.h"

enum { JOB_SECONDS = 30, PARSED_MAX = 32 };

struct domain *domain_ref(struct domain *d)
{
	d->refs++;
	return d;
}

static void not_parsed(struct domain *d)
{
	if (d->parsed.data)
		g_queue_unlink(&d->hv->parsed, &d->parsed);
	d->parsed.data = NULL;
}

static void used(struct domain *d)
{
	not_parsed(d);
	if (!d->def || !d->hv->driver->load)
		return;
	d->parsed.data = d;
	g_queue_push_tail_link(&d->hv->parsed, &d->parsed);
}

void domains_trim(struct hv *hv)
{
	while (hv->parsed.length > PARSED_MAX) {
		struct domain *d = hv->parsed.head->data;

		not_parsed(d);
		if (d->persistent && !domain_is_active(d) && d->job == JOB_NONE && !d->long_job)
			g_clear_pointer(&d->def, domain_def_free);
	}
}

void domain_unref(struct domain *d)
{
	if (--d->refs)
		return;
	not_parsed(d);
	domain_def_free(d->def);
	domain_def_free(d->live);
	g_clear_pointer(&d->snapshots, snapshots_free);
	g_clear_pointer(&d->job_stats, g_variant_unref);
	g_cond_clear(&d->job_ended);
	g_free(d->last_error);
	g_free(d->name);
	g_free(d);
}

GVariant *domain_handle(const struct domain *d)
{
	return g_variant_new("(s@ayi)", d->name, uuid_variant(d->uuid), d->id);
}

struct domain_def *domain_stored_def(struct domain *d, GError **error)
{
	if (!d->def && d->hv->driver->load && !d->hv->driver->load(d, error))
		return NULL;
	used(d);
	if (!d->def && d->live)
		return d->live;
	if (!d->def)
		rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "domain '%s' has no definition", d->name);
	return d->def;
}

struct domain_def *domain_current_def(struct domain *d, GError **error)
{
	return d->live ? d->live : domain_stored_def(d, error);
}

struct domain *domain_of_handle(struct hv *hv, GVariant *handle, GError **error)
{
	g_autoptr(GVariant) uuid = g_variant_get_child_value(handle, 1);
	g_autofree char *text = uuid_format(uuid);
	struct domain *d = g_hash_table_lookup(hv->domains, text);
	const char *name;

	if (d)
		return domain_ref(d);
	g_variant_get_child(handle, 0, "&s", &name);
	rpc_fail(error, VIR_ERR_NO_DOMAIN, "no domain with matching uuid '%s' (%s)", text, name);
	return NULL;
}

struct domain *domain_of_args(struct call *call, GVariant *args, GError **error)
{
	g_autoptr(GVariant) handle = g_variant_get_child_value(args, 0);

	return domain_of_handle(call->hv, handle, error);
}

bool domain_require_active(const struct domain *d, GError **error)
{
	return domain_is_active(d) || rpc_fail(error, VIR_ERR_OPERATION_INVALID, "domain is not running");
}

bool domain_affects(const struct domain *d, unsigned *flags, GError **error)
{
	bool active = domain_is_active(d);

	if (!(*flags & (AFFECT_LIVE | AFFECT_CONFIG)))
		*flags |= active ? AFFECT_LIVE : AFFECT_CONFIG;
	if (*flags & AFFECT_LIVE && !active)
		return domain_require_active(d, error);
	if (*flags & AFFECT_CONFIG && !d->persistent)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "transient domains do not have any persistent config");
	return true;
}

/* ---- jobs ---- */

/* What may run beside a job that takes long. */
static bool beside_long(enum domain_job job)
{
	return job == JOB_QUERY || job == JOB_DESTROY || job == JOB_ABORT || job == JOB_SUSPEND;
}

bool domain_job_begin(struct domain *d, enum domain_job job, GError **error)
{
	gint64 until = g_get_monotonic_time() + JOB_SECONDS * G_USEC_PER_SEC;

	domain_ref(d);
	while (!d->gone && (d->job != JOB_NONE || (d->long_job && !beside_long(job)))) {
		if (state_wait(&d->job_ended, until))
			continue;
		domain_unref(d);
		return rpc_fail(error, VIR_ERR_OPERATION_TIMEOUT, "cannot acquire state change lock");
	}
	if (d->gone) {
		rpc_fail(error, VIR_ERR_NO_DOMAIN, "no domain with matching uuid '%s' (%s)", d->uuid_text, d->name);
		domain_unref(d);
		return false;
	}
	if (job == JOB_LONG) {
		d->long_job = true;
		d->job_began = g_get_monotonic_time();
	} else {
		d->job = job;
	}
	return true;
}

void domain_job_end(struct domain *d, enum domain_job job)
{
	if (job == JOB_LONG)
		d->long_job = false;
	else
		d->job = JOB_NONE;
	g_cond_broadcast(&d->job_ended);
	domain_unref(d);
}

bool domain_with_job(struct call *call, GVariant *args, GVariant **ret, GError **error, enum domain_job job, bool active,
		     domain_func *func)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	bool ok;

	if (!d || !domain_job_begin(d, job, error))
		return false;
	ok = (!active || domain_require_active(d, error)) && func(call, d, args, ret, error);
	domain_job_end(d, job);
	return ok;
}

bool domain_unblock(struct domain *d)
{
	return d->job != JOB_NONE && domain_is_active(d) && d->hv->driver->unblock && d->hv->driver->unblock(d);
}

/* ---- states ---- */

void domain_event_lifecycle(struct domain *d, int event, int detail)
{
	events_domain(d, DOMAIN_EVENT_LIFECYCLE, g_variant_new("(ii)", event, detail));
}

void domain_set_state(struct domain *d, enum domain_state state, int reason, int event, int detail)
{
	d->state = state;
	d->reason = reason;
	if (d->hv->driver->store_status && domain_is_active(d))
		d->hv->driver->store_status(d);
	if (event >= 0)
		domain_event_lifecycle(d, event, detail);
}

void domain_stopped(struct domain *d, int reason, int detail)
{
	d->state = DOMAIN_SHUTOFF;
	d->reason = reason;
	domain_event_lifecycle(d, LIFE_STOPPED, detail);
	d->id = -1;
	d->autodestroy = 0;
	d->agent_timeout = AGENT_BLOCK;
	g_clear_pointer(&d->live, domain_def_free);
	g_clear_pointer(&d->job_stats, g_variant_unref);
	if (d->hv->driver->store_status)
		d->hv->driver->store_status(d);
	if (!d->persistent)
		domain_forget(d);
}

/* ---- lists ---- */

static struct domain *domain_new(struct hv *hv, const char *name, const char *uuid)
{
	struct domain *d = g_new0(struct domain, 1);

	d->refs = 1;
	d->hv = hv;
	d->id = -1;
	d->state = DOMAIN_SHUTOFF;
	d->agent_timeout = AGENT_BLOCK;
	d->name = g_strdup(name);
	uuid_parse(uuid, d->uuid);
	uuid_write(d->uuid, d->uuid_text);
	d->snapshots = snapshots_new();
	g_cond_init(&d->job_ended);
	g_hash_table_insert(hv->domains, d->uuid_text, d);
	g_hash_table_insert(hv->names, d->name, d);
	return d;
}

struct domain *domain_known(struct hv *hv, const char *name, const char *uuid)
{
	guint8 bytes[UUID_BYTES];
	char text[UUID_TEXT];
	struct domain *d;

	if (!uuid_parse(uuid, bytes))
		return NULL;
	uuid_write(bytes, text);
	if (g_hash_table_lookup(hv->domains, text) || g_hash_table_lookup(hv->names, name))
		return NULL;
	d = domain_new(hv, name, text);
	d->persistent = true;
	return d;
}

void domain_forget(struct domain *d)
{
	if (d->gone)
		return;
	d->gone = true;
	g_cond_broadcast(&d->job_ended);
	g_hash_table_remove(d->hv->names, d->name);
	g_hash_table_remove(d->hv->domains, d->uuid_text);
}

static bool check_names(struct hv *hv, const struct domain_def *def, bool transient, GError **error)
{
	const char *name = domain_def_name(def);
	struct domain *d = g_hash_table_lookup(hv->domains, domain_def_uuid(def));

	if (d && strcmp(d->name, name) != 0)
		return rpc_fail(error, VIR_ERR_OPERATION_FAILED, "domain '%s' is already defined with uuid %s", d->name,
				d->uuid_text);
	if (d && transient && domain_is_active(d))
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "domain is already active as '%s'", d->name);
	if (!d && (d = g_hash_table_lookup(hv->names, name)))
		return rpc_fail(error, VIR_ERR_OPERATION_FAILED, "domain '%s' already exists with uuid %s", name, d->uuid_text);
	return true;
}

struct domain *domain_define(struct hv *hv, struct domain_def *def, bool transient, GError **error)
{
	struct domain *d;

	if (!check_names(hv, def, transient, error))
		return NULL;
	d = g_hash_table_lookup(hv->domains, domain_def_uuid(def));
	if (!d)
		d = domain_new(hv, domain_def_name(def), domain_def_uuid(def));
	/* Of one that is started for once, the definition is what runs. */
	if (transient && d->persistent)
		domain_def_free(d->live), d->live = def;
	else
		domain_def_free(d->def), d->def = def;
	used(d);
	if (!transient) {
		d->persistent = true;
		d->updated |= domain_is_active(d);
	}
	return domain_ref(d);
}

char *domain_managed_path(const struct domain *d)
{
	g_autofree char *file = g_strconcat(d->name, ".save", NULL);

	return d->hv->lib_dir ? g_build_filename(d->hv->lib_dir, "save", file, NULL) : NULL;
}

bool domain_store(struct domain *d, GError **error)
{
	return !d->hv->driver->store || d->hv->driver->store(d, error);
}

bool domain_store_as(struct domain *d, struct domain_def **def, GError **error)
{
	g_autofree char *xml = domain_def_format(*def, FORMAT_SECURE | FORMAT_INACTIVE);
	g_autoptr(DomainDef) checked = domain_def_parse(xml, -1, d->hv->driver->def_flags, error);
	struct domain_def *before = d->def;

	if (!checked)
		return false;
	d->def = checked;
	if (!domain_store(d, error)) {
		d->def = before;
		return false;
	}
	checked = NULL;
	domain_def_free(before);
	g_clear_pointer(def, domain_def_free);
	return true;
}

/* ---- with a client ---- */

static void destroy_later(void *data)
{
	struct domain *d = data;
	struct hv *hv = d->hv;
	g_autoptr(GError) error = NULL;

	domain_unblock(d);
	if (domain_job_begin(d, JOB_DESTROY, &error)) {
		if (domain_is_active(d) && !d->hv->driver->destroy(d, false, &error))
			kv_log_warn("domain '%s' does not end with its client: %s", d->name, error->message);
		domain_job_end(d, JOB_DESTROY);
	}
	domain_unref(d);
	hv_unref(hv);
}

void hv_client_gone(struct hv *hv, const struct client *client)
{
	g_autoptr(GList) list = g_hash_table_get_values(hv->domains);

	for (GList *l = list; l; l = l->next) {
		struct domain *d = l->data;

		if (d->autodestroy != client->number)
			continue;
		hv_ref(hv); /* its last client may be this one */
		workers_run(destroy_later, domain_ref(d));
	}
}
