/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A domain's life: defined, created, started, paused, reset, shut down, destroyed, undefined, renamed; autostart. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "autostart.h"
#include "client.h"
#include "domain.h"
#include "error.h"
#include "log.h"
#include "snapshots.h"
#include "workers.h"

enum { DEFINE_VALIDATE = 1 };
enum {
	UNDEFINE_MANAGED_SAVE = 1 << 0,
	UNDEFINE_SNAPSHOTS = 1 << 1,
	UNDEFINE_NVRAM = 1 << 2,
	UNDEFINE_KEEP_NVRAM = 1 << 3,
	UNDEFINE_CHECKPOINTS = 1 << 4,
	UNDEFINE_TPM = 1 << 5,
	UNDEFINE_KEEP_TPM = 1 << 6,
};
enum { DESTROY_GRACEFUL = 1, DESTROY_REMOVE_LOGS = 2 };
enum { MODE_ACPI = 1, MODE_AGENT = 2, MODE_INITCTL = 4, MODE_SIGNAL = 8, MODE_PARAVIRT = 16, MODES = 31 };
enum {
	ALL_START = START_PAUSED | START_AUTODESTROY | START_BYPASS_CACHE | START_FORCE_BOOT | START_VALIDATE |
		    START_RESET_NVRAM
};

static bool answer_domain(const struct domain *d, GVariant **ret)
{
	*ret = g_variant_new("(@(sayi))", domain_handle(d));
	return true;
}

/* ---- definitions ---- */

static struct domain_def *parse(struct hv *hv, const char *xml, bool validate, GError **error)
{
	g_autoptr(DomainDef) def = domain_def_parse(xml, -1, hv->driver->def_flags | (validate ? DEF_VALIDATE : 0), error);

	if (!def || (hv->driver->check && !hv->driver->check(hv, def, error)))
		return NULL;
	return g_steal_pointer(&def);
}

/* old NULL: it was not parsed, and is read again when it is asked for. */
static void take_back(struct domain *d, struct domain_def *old, bool was_persistent)
{
	domain_def_free(d->def);
	d->def = old;
	d->persistent = was_persistent;
}

static bool define(struct call *call, const char *xml, guint32 flags, GVariant **ret, GError **error)
{
	g_autoptr(DomainDef) def = NULL, old = NULL;
	g_autoptr(Domain) d = NULL;
	struct domain *before;
	bool was_persistent = false, ok;

	if (!call_check_flags(call, flags, DEFINE_VALIDATE, error))
		return false;
	def = parse(call->hv, xml, flags & DEFINE_VALIDATE, error);
	if (!def)
		return false;
	before = g_hash_table_lookup(call->hv->domains, domain_def_uuid(def));
	if (before) {
		if (!domain_job_begin(before, JOB_MODIFY, error))
			return false;
		old = g_steal_pointer(&before->def);
		was_persistent = before->persistent;
	}
	d = domain_define(call->hv, def, false, error);
	ok = d != NULL;
	if (ok) {
		def = NULL;
		ok = (before || domain_job_begin(d, JOB_MODIFY, error)) && domain_store(d, error);
	}
	if (ok)
		domain_event_lifecycle(d, LIFE_DEFINED, was_persistent ? DEFINED_UPDATED : DEFINED_ADDED);
	else if (before)
		take_back(before, g_steal_pointer(&old), was_persistent);
	else if (d)
		domain_forget(d);
	if (before || d)
		domain_job_end(before ? before : d, JOB_MODIFY);
	return ok && answer_domain(d, ret);
}

static bool define_xml(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const char *xml;

	g_variant_get(args, "(&s)", &xml);
	return define(call, xml, 0, ret, error);
}

static bool define_xml_flags(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const char *xml;
	guint32 flags;

	g_variant_get(args, "(&su)", &xml, &flags);
	return define(call, xml, flags, ret, error);
}

static bool remove_managed_save(struct domain *d, GError **error)
{
	g_autofree char *path = domain_managed_path(d);

	if (path && unlink(path) < 0 && errno != ENOENT)
		return kv_fail_errno(error, errno, "cannot remove managed save file '%s'", path);
	d->has_managed_save = false;
	return true;
}

static bool may_undefine(const struct domain *d, guint32 flags, GError **error)
{
	unsigned n = snapshots_count(d->snapshots);

	if (!d->persistent)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "cannot undefine transient domain");
	if (n && !domain_is_active(d) && !(flags & UNDEFINE_SNAPSHOTS))
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "cannot delete inactive domain with %u snapshots", n);
	if (d->has_managed_save && !(flags & UNDEFINE_MANAGED_SAVE))
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID,
				"Refusing to undefine while domain managed save image exists");
	return true;
}

static bool undefine_now(struct call *call, struct domain *d, guint32 flags, GError **error)
{
	if (!may_undefine(d, flags, error) || (d->has_managed_save && !remove_managed_save(d, error)) ||
	    (d->hv->driver->undefine && !d->hv->driver->undefine(d, flags, error)) ||
	    (d->hv->driver->unstore && !d->hv->driver->unstore(d, error)))
		return false;
	if (snapshots_count(d->snapshots) && !domain_is_active(d)) {
		snapshots_clear(d->snapshots);
		if (d->hv->driver->store_snapshots && !d->hv->driver->store_snapshots(d, error))
			return false;
	}
	d->persistent = d->autostart = false;
	domain_event_lifecycle(d, LIFE_UNDEFINED, UNDEFINED_REMOVED);
	if (!domain_is_active(d))
		domain_forget(d);
	return true;
}

static bool undefine_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	guint32 flags = 0;

	if (g_variant_n_children(args) > 1)
		g_variant_get_child(args, 1, "u", &flags);
	if (!call_check_flags(call, flags,
			      UNDEFINE_MANAGED_SAVE | UNDEFINE_SNAPSHOTS | UNDEFINE_NVRAM | UNDEFINE_KEEP_NVRAM |
				      UNDEFINE_CHECKPOINTS | UNDEFINE_TPM | UNDEFINE_KEEP_TPM,
			      error))
		return false;
	return undefine_now(call, d, flags, error);
}

static bool undefine(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_MODIFY, false, undefine_func);
}

/* ---- start ---- */

bool domain_start(struct domain *d, unsigned flags, GError **error)
{
	const struct hv_driver *driver = d->hv->driver;
	bool had_save = d->has_managed_save && !(flags & START_BESIDE);
	g_autofree char *saved = had_save && !(flags & START_FORCE_BOOT) ? domain_managed_path(d) : NULL;

	if (domain_is_active(d))
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "domain is already running");
	if (!driver->start)
		return rpc_fail(error, VIR_ERR_NO_SUPPORT, "virDomainCreate");
	if (!domain_stored_def(d, error))
		return false;
	if (!driver->start(d, flags, saved, error)) {
		g_clear_pointer(&d->live, domain_def_free);
		return false;
	}
	if (had_save)
		remove_managed_save(d, NULL);
	return true;
}

static bool start_for(struct call *call, struct domain *d, guint32 flags, guint32 ours, GError **error)
{
	if (!call_check_flags(call, flags, ALL_START, error))
		return false;
	if (flags & START_AUTODESTROY && call->read_only)
		return rpc_fail(error, VIR_ERR_OPERATION_DENIED, "read only access prevents autodestroy");
	if (!domain_start(d, flags | ours, error))
		return false;
	if (flags & START_AUTODESTROY)
		d->autodestroy = call->client->number;
	return true;
}

static bool create_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	guint32 flags = 0;

	if (g_variant_n_children(args) > 1)
		g_variant_get_child(args, 1, "u", &flags);
	if (!start_for(call, d, flags, 0, error))
		return false;
	return call->proc->number == RPC_DOMAIN_CREATE || answer_domain(d, ret);
}

static bool create(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_MODIFY, false, create_func);
}

struct domain *domain_define_for_once(struct hv *hv, struct domain_def **def, enum domain_job job, GError **error)
{
	struct domain *before = g_hash_table_lookup(hv->domains, domain_def_uuid(*def)), *d;

	if (before && !domain_job_begin(before, job, error))
		return NULL;
	d = domain_define(hv, *def, true, error);
	if (d)
		*def = NULL;
	if (d && !before && !domain_job_begin(d, job, error))
		g_clear_pointer(&d, domain_unref);
	if (!d && before)
		domain_job_end(before, job);
	return d;
}

static bool create_xml(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(DomainDef) def = NULL;
	g_autoptr(Domain) d = NULL;
	const char *xml;
	guint32 flags;
	bool ok;

	g_variant_get(args, "(&su)", &xml, &flags);
	if (!call_check_flags(call, flags, ALL_START, error))
		return false;
	def = parse(call->hv, xml, flags & START_VALIDATE, error);
	if (!def)
		return false;
	d = domain_define_for_once(call->hv, &def, JOB_MODIFY, error);
	if (!d)
		return false;
	ok = start_for(call, d, flags, START_BESIDE, error);
	if (!ok && !d->persistent && !domain_is_active(d))
		domain_forget(d);
	domain_job_end(d, JOB_MODIFY);
	return ok && answer_domain(d, ret);
}

/* ---- what a running one does ---- */

/* Callbacks that have the domain alone. */
static bool simple(struct call *call, struct domain *d, bool (*func)(struct domain *d, GError **error), GError **error)
{
	return func ? func(d, error) : handler_unsupported(call, NULL, NULL, error);
}

static bool suspend_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	if (d->state == DOMAIN_PMSUSPENDED)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "domain is pmsuspended");
	return d->state == DOMAIN_PAUSED || simple(call, d, d->hv->driver->suspend, error);
}

bool domain_suspend(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_SUSPEND, true, suspend_func);
}

static bool resume_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	if (d->state == DOMAIN_PMSUSPENDED)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "domain is pmsuspended");
	if (d->state == DOMAIN_RUNNING)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "domain is already running");
	return simple(call, d, d->hv->driver->resume, error);
}

bool domain_resume(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_MODIFY, true, resume_func);
}

static bool reset_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	return call_check_flags(call, flags, 0, error) && simple(call, d, d->hv->driver->reset, error);
}

static bool reset(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_MODIFY, true, reset_func);
}

static bool shutdown_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	guint32 flags = 0;

	if (g_variant_n_children(args) > 1)
		g_variant_get_child(args, 1, "u", &flags);
	if (!call_check_flags(call, flags, MODES, error))
		return false;
	return d->hv->driver->shutdown ? d->hv->driver->shutdown(d, flags, error)
				       : handler_unsupported(call, NULL, NULL, error);
}

bool domain_shutdown(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_MODIFY, true, shutdown_func);
}

static bool reboot_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	if (!call_check_flags(call, flags, MODES, error))
		return false;
	return d->hv->driver->reboot ? d->hv->driver->reboot(d, flags, error)
				     : handler_unsupported(call, NULL, NULL, error);
}

bool domain_reboot(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_MODIFY, true, reboot_func);
}

static bool destroy_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	guint32 flags = 0;

	if (g_variant_n_children(args) > 1)
		g_variant_get_child(args, 1, "u", &flags);
	if (!call_check_flags(call, flags, DESTROY_GRACEFUL | DESTROY_REMOVE_LOGS, error))
		return false;
	if (!d->hv->driver->destroy)
		return handler_unsupported(call, NULL, NULL, error);
	return d->hv->driver->destroy(d, flags & DESTROY_GRACEFUL, error);
}

/* Whoever hangs in a call about the domain is no reason not to destroy it. */
static bool destroy(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	bool killed, ok;
	guint32 flags = 0;

	if (g_variant_n_children(args) > 1)
		g_variant_get_child(args, 1, "u", &flags);
	if (!d)
		return false;
	killed = !(flags & DESTROY_GRACEFUL) && domain_unblock(d);
	if (killed && d->gone)
		return true;
	if (!domain_job_begin(d, JOB_DESTROY, error))
		return false;
	ok = (killed && !domain_is_active(d)) || (domain_require_active(d, error) && destroy_func(call, d, args, ret, error));
	domain_job_end(d, JOB_DESTROY);
	return ok;
}

/* ---- names, autostart ---- */

static bool may_rename(const struct domain *d, const char *name, GError **error)
{
	if (!name || !*name || strchr(name, '/'))
		return rpc_fail(error, VIR_ERR_XML_ERROR, "name %s cannot contain '/'", name && *name ? name : "''");
	for (const char *c = name; *c; c++)
		if (g_ascii_iscntrl(*c))
			return rpc_fail(error, VIR_ERR_XML_DETAIL, "invalid char in name: %c", *c);
	if (!domain_def_check_name(name, error))
		return false;
	if (domain_is_active(d))
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "cannot rename active domain");
	if (!d->persistent)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "cannot rename a transient domain");
	if (strcmp(name, d->name) == 0)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "Can't rename domain to itself");
	if (g_hash_table_contains(d->hv->names, name))
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "domain with name '%s' already exists", name);
	if (d->has_managed_save)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "cannot rename domain with managed save image");
	if (snapshots_count(d->snapshots))
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "cannot rename domain with snapshots");
	return true;
}

static void set_name(struct domain *d, const char *name)
{
	g_hash_table_remove(d->hv->names, d->name);
	g_free(d->name);
	d->name = g_strdup(name);
	domain_def_set_text(d->def, "name", name);
	g_hash_table_insert(d->hv->names, d->name, d);
}

static bool move_files(struct domain *d, const char *from, const char *to, GError **error)
{
	return !d->hv->driver->move || d->hv->driver->move(d, from, to, error);
}

static bool rename_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autofree char *name = NULL, *old = NULL;
	guint32 flags;

	g_variant_get_child(args, 1, "ms", &name);
	g_variant_get_child(args, 2, "u", &flags);
	if (!call_check_flags(call, flags, 0, error) || !may_rename(d, name, error) || !domain_stored_def(d, error))
		return false;
	old = g_strdup(d->name);
	if (!move_files(d, old, name, error))
		return false;
	if (d->hv->driver->unstore && !d->hv->driver->unstore(d, error)) {
		move_files(d, name, old, NULL);
		return false;
	}
	domain_event_lifecycle(d, LIFE_UNDEFINED, UNDEFINED_RENAMED);
	set_name(d, name);
	if (!domain_store(d, error)) {
		set_name(d, old);
		domain_store(d, NULL);
		move_files(d, name, old, NULL);
		return false;
	}
	domain_event_lifecycle(d, LIFE_DEFINED, DEFINED_RENAMED);
	*ret = g_variant_new("(i)", 0);
	return true;
}

static bool rename_domain(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_MODIFY, false, rename_func);
}

static bool get_autostart(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);

	if (!d)
		return false;
	*ret = g_variant_new("(i)", d->autostart);
	return true;
}

static bool set_autostart_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	gint32 on;
	bool before = d->autostart;

	g_variant_get_child(args, 1, "i", &on);
	if (!d->persistent)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "cannot set autostart for transient domain");
	d->autostart = on != 0;
	if (d->autostart == before || domain_store(d, error))
		return true;
	d->autostart = before;
	return false;
}

static bool set_autostart(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_MODIFY, false, set_autostart_func);
}

static void start_later(void *data)
{
	struct domain *d = data;
	struct hv *hv = d->hv;
	g_autoptr(GError) error = NULL;

	if (domain_job_begin(d, JOB_MODIFY, &error)) {
		if (!domain_is_active(d))
			domain_start(d, 0, &error);
		domain_job_end(d, JOB_MODIFY);
	}
	if (error)
		kv_log_warn("domain '%s' does not start with the daemon: %s", d->name, error->message);
	domain_unref(d);
	hv_unref(hv);
}

void autostart_domains(struct hv *hv)
{
	GHashTableIter iter;
	gpointer value;

	/* One that was shut down since stays so when the daemon comes back. */
	if (hv->driver->stored && !hv_first_since_boot(hv, "domains-started"))
		return;
	g_hash_table_iter_init(&iter, hv->domains);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		struct domain *d = value;

		if (!d->autostart || domain_is_active(d))
			continue;
		hv_ref(hv);
		workers_run(start_later, domain_ref(d));
	}
}

const struct handler domain_life_handlers[] = {
	{ RPC_DOMAIN_DEFINE_XML, define_xml, 0 },
	{ RPC_DOMAIN_DEFINE_XML_FLAGS, define_xml_flags, 0 },
	{ RPC_DOMAIN_UNDEFINE, undefine, 0 },
	{ RPC_DOMAIN_UNDEFINE_FLAGS, undefine, 0 },
	{ RPC_DOMAIN_CREATE, create, 0 },
	{ RPC_DOMAIN_CREATE_WITH_FLAGS, create, 0 },
	{ RPC_DOMAIN_CREATE_XML, create_xml, 0 },
	{ RPC_DOMAIN_SUSPEND, domain_suspend, 0 },
	{ RPC_DOMAIN_RESUME, domain_resume, 0 },
	{ RPC_DOMAIN_RESET, reset, 0 },
	{ RPC_DOMAIN_SHUTDOWN, domain_shutdown, 0 },
	{ RPC_DOMAIN_SHUTDOWN_FLAGS, domain_shutdown, 0 },
	{ RPC_DOMAIN_REBOOT, domain_reboot, 0 },
	{ RPC_DOMAIN_DESTROY, destroy, 0 },
	{ RPC_DOMAIN_DESTROY_FLAGS, destroy, 0 },
	{ RPC_DOMAIN_RENAME, rename_domain, 0 },
	{ RPC_DOMAIN_GET_AUTOSTART, get_autostart, HANDLER_FAST | HANDLER_READ_ONLY },
	{ RPC_DOMAIN_SET_AUTOSTART, set_autostart, 0 },
	{ 0 },
};
