/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Saved states: to a file of the user's or to the managed one, and back; dumps for debuggers. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "domain.h"
#include "error.h"

enum { SAVE_BYPASS_CACHE = 1, SAVE_RUNNING = 2, SAVE_PAUSED = 4, SAVE_RESET_NVRAM = 8 };
enum { DUMP_CRASH = 1, DUMP_LIVE = 2, DUMP_BYPASS_CACHE = 4, DUMP_RESET = 8, DUMP_MEMORY_ONLY = 16 };
enum { XML_SECURE = 1 };

static bool check_save_flags(const struct call *call, guint32 flags, unsigned more, GError **error)
{
	if (!call_check_flags(call, flags, SAVE_BYPASS_CACHE | SAVE_RUNNING | SAVE_PAUSED | more, error))
		return false;
	if (flags & SAVE_RUNNING && flags & SAVE_PAUSED)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "running and paused flags are mutually exclusive");
	return true;
}

/*
 * Another definition for a saved machine, which has to be of the same one: libvirt's rules as far as they are no device's, those
 * are kv-vmm's.
 */
static bool check_given(struct hv *hv, const struct domain_def *of, const char *xml, GError **error)
{
	g_autoptr(DomainDef) def = domain_def_parse(xml, -1, hv->driver->def_flags, error);
	unsigned max = 0, max_of = 0;

	if (!def || (hv->driver->check && !hv->driver->check(hv, def, error)))
		return false;
	domain_def_vcpus(of, &max_of);
	domain_def_vcpus(def, &max);
	if (strcmp(domain_def_uuid(def), domain_def_uuid(of)))
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "Target domain uuid %s does not match source %s",
				domain_def_uuid(def), domain_def_uuid(of));
	if (strcmp(domain_def_name(def), domain_def_name(of)))
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "Target domain name '%s' does not match source '%s'",
				domain_def_name(def), domain_def_name(of));
	if (domain_def_memory(def) != domain_def_memory(of))
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED,
				"Target domain max memory %" G_GUINT64_FORMAT " does not match source %" G_GUINT64_FORMAT,
				domain_def_memory(def), domain_def_memory(of));
	return max == max_of || rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "Target domain vCPU max %u does not match source %u",
					 max, max_of);
}

static bool check_given_for(struct hv *hv, const char *path, const char *xml, GError **error)
{
	g_autofree char *saved = hv->driver->saved_xml(hv, path, error);
	g_autoptr(DomainDef) of = saved ? domain_def_parse(saved, -1, hv->driver->def_flags, error) : NULL;

	return of && check_given(hv, of, xml, error);
}

static bool save_to(struct call *call, struct domain *d, const char *path, const char *xml, guint32 flags, GError **error)
{
	if (!check_save_flags(call, flags, 0, error))
		return false;
	if (!d->hv->driver->save)
		return handler_unsupported(call, NULL, NULL, error);
	if (xml && !check_given(d->hv, domain_current_def(d, NULL), xml, error))
		return false;
	return d->hv->driver->save(d, path, xml, flags, error);
}

static bool save_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autofree char *path = NULL, *xml = NULL;
	guint32 flags = 0;

	g_variant_get_child(args, 1, "s", &path);
	if (g_variant_n_children(args) > 2) {
		g_variant_get_child(args, 2, "ms", &xml);
		g_variant_get_child(args, 3, "u", &flags);
	}
	return save_to(call, d, path, xml, flags, error);
}

static bool save(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_LONG, true, save_func);
}

/* The parameters are those of save_flags by name. */
static bool take_params(GVariant *args, unsigned at, char **ret_file, char **ret_xml, guint32 *ret_flags, GError **error)
{
	g_autoptr(GVariant) params = g_variant_get_child_value(args, at);
	GVariantIter iter;
	const char *name;
	GVariant *value;

	g_variant_get_child(args, at + 1, "u", ret_flags);
	g_variant_iter_init(&iter, params);
	while (g_variant_iter_loop(&iter, "(&sv)", &name, &value)) {
		char **to = strcmp(name, "file") == 0 ? ret_file : strcmp(name, "dxml") == 0 ? ret_xml : NULL;

		if (to && g_variant_is_of_type(value, G_VARIANT_TYPE_STRING)) {
			g_free(*to);
			*to = g_variant_dup_string(value, NULL);
			continue;
		}
		rpc_fail(error, VIR_ERR_INVALID_ARG, "parameter '%s' not supported", name);
		g_variant_unref(value);
		return false;
	}
	return true;
}

static bool save_params_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autofree char *path = NULL, *xml = NULL;
	guint32 flags;

	if (!take_params(args, 1, &path, &xml, &flags, error))
		return false;
	if (!path)
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "saving without a file parameter");
	return save_to(call, d, path, xml, flags, error);
}

static bool save_params(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_LONG, true, save_params_func);
}

/* ---- back ---- */

static bool restore_from(struct call *call, const char *path, const char *xml, guint32 flags, GError **error)
{
	const struct hv_driver *driver = call->hv->driver;
	g_autofree char *saved = NULL;
	g_autoptr(DomainDef) def = NULL;
	g_autoptr(Domain) d = NULL;
	bool ok;

	if (!check_save_flags(call, flags, SAVE_RESET_NVRAM, error))
		return false;
	if (!driver->saved_xml || !driver->start)
		return handler_unsupported(call, NULL, NULL, error);
	saved = driver->saved_xml(call->hv, path, error);
	if (!saved || (xml && !check_given_for(call->hv, path, xml, error)))
		return false;
	def = domain_def_parse(xml ? xml : saved, -1, driver->def_flags, error);
	if (!def || (driver->check && !driver->check(call->hv, def, error)))
		return false;
	d = domain_define_for_once(call->hv, &def, JOB_MODIFY, error);
	if (!d)
		return false;
	/* Of what was saved the given definition is the one that runs, also of a domain that is there for this once. */
	if (xml && !d->live)
		d->live = domain_def_copy(d->def);
	ok = driver->start(d, (flags & SAVE_PAUSED ? START_PAUSED : 0) | (flags & SAVE_RUNNING ? START_RUNNING : 0), path,
			   error);
	if (!ok) {
		g_clear_pointer(&d->live, domain_def_free);
		if (!d->persistent)
			domain_forget(d);
	}
	domain_job_end(d, JOB_MODIFY);
	return ok;
}

static bool restore(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const char *path, *xml = NULL;
	guint32 flags = 0;

	g_variant_get_child(args, 0, "&s", &path);
	if (g_variant_n_children(args) > 1) {
		g_variant_get_child(args, 1, "m&s", &xml);
		g_variant_get_child(args, 2, "u", &flags);
	}
	return restore_from(call, path, xml, flags, error);
}

static bool restore_params(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autofree char *path = NULL, *xml = NULL;
	guint32 flags;

	if (!take_params(args, 0, &path, &xml, &flags, error))
		return false;
	if (!path)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "missing path to restore from");
	return restore_from(call, path, xml, flags, error);
}

static bool saved_xml(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autofree char *xml = NULL, *text = NULL;
	g_autoptr(DomainDef) def = NULL;
	const char *path;
	guint32 flags;

	g_variant_get(args, "(&su)", &path, &flags);
	if (!call_check_flags(call, flags, XML_SECURE, error))
		return false;
	if (!call->hv->driver->saved_xml)
		return handler_unsupported(call, NULL, NULL, error);
	xml = call->hv->driver->saved_xml(call->hv, path, error);
	def = xml ? domain_def_parse(xml, -1, call->hv->driver->def_flags, error) : NULL;
	if (!def)
		return false;
	text = domain_def_format(def, flags & XML_SECURE ? FORMAT_SECURE : 0);
	*ret = g_variant_new("(s)", text);
	return true;
}

static bool set_saved_xml(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const char *path, *xml;
	guint32 flags;

	g_variant_get(args, "(&s&su)", &path, &xml, &flags);
	if (!check_save_flags(call, flags & ~SAVE_BYPASS_CACHE, 0, error))
		return false;
	if (!call->hv->driver->set_saved_xml)
		return handler_unsupported(call, NULL, NULL, error);
	return check_given_for(call->hv, path, xml, error) && call->hv->driver->set_saved_xml(call->hv, path, xml, error);
}

/* ---- the managed one ---- */

static bool managed_save_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autofree char *path = domain_managed_path(d);
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	if (!d->persistent)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "cannot do managed save for transient domain");
	if (!save_to(call, d, path, NULL, flags, error))
		return false;
	d->has_managed_save = true;
	return true;
}

static bool managed_save(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_LONG, true, managed_save_func);
}

static bool has_managed_save(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);

	if (!d)
		return false;
	*ret = g_variant_new("(i)", d->has_managed_save);
	return true;
}

static bool remove_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autofree char *path = domain_managed_path(d);

	if (path && unlink(path) < 0 && errno != ENOENT)
		return kv_fail_errno(error, errno, "Failed to remove managed save file '%s'", path);
	d->has_managed_save = false;
	return true;
}

static bool managed_save_remove(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_MODIFY, false, remove_func);
}

static bool managed_path(struct call *call, struct domain *d, char **ret, GError **error)
{
	*ret = domain_managed_path(d);
	if (!d->has_managed_save)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "domain does not have managed save image");
	return (*ret && d->hv->driver->saved_xml && d->hv->driver->set_saved_xml) ||
	       handler_unsupported(call, NULL, NULL, error);
}

static bool managed_xml(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	g_autofree char *path = NULL, *xml = NULL;

	if (!d || !managed_path(call, d, &path, error))
		return false;
	xml = d->hv->driver->saved_xml(d->hv, path, error);
	if (!xml)
		return false;
	*ret = g_variant_new("(s)", xml);
	return true;
}

static bool managed_define_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autofree char *path = NULL, *xml = NULL;

	g_variant_get_child(args, 1, "ms", &xml);
	if (!xml)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "a definition is missing");
	if (!managed_path(call, d, &path, error))
		return false;
	return check_given_for(d->hv, path, xml, error) && d->hv->driver->set_saved_xml(d->hv, path, xml, error);
}

static bool managed_define(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_MODIFY, false, managed_define_func);
}

/* ---- dumps ---- */

static bool dump_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autofree char *path = NULL;
	guint32 format = 0, flags;
	bool with_format = g_variant_n_children(args) > 3;

	g_variant_get_child(args, 1, "s", &path);
	if (with_format)
		g_variant_get_child(args, 2, "u", &format);
	g_variant_get_child(args, with_format ? 3 : 2, "u", &flags);
	if (!call_check_flags(call, flags, DUMP_CRASH | DUMP_LIVE | DUMP_BYPASS_CACHE | DUMP_RESET | DUMP_MEMORY_ONLY, error))
		return false;
	if (!d->hv->driver->dump)
		return handler_unsupported(call, NULL, NULL, error);
	return d->hv->driver->dump(d, path, format, flags, error);
}

static bool dump(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_LONG, true, dump_func);
}

enum { LOOK = HANDLER_FAST | HANDLER_READ_ONLY };

const struct handler domain_save_handlers[] = {
	{ RPC_DOMAIN_SAVE, save, 0 },
	{ RPC_DOMAIN_SAVE_FLAGS, save, 0 },
	{ RPC_DOMAIN_SAVE_PARAMS, save_params, 0 },
	{ RPC_DOMAIN_RESTORE, restore, 0 },
	{ RPC_DOMAIN_RESTORE_FLAGS, restore, 0 },
	{ RPC_DOMAIN_RESTORE_PARAMS, restore_params, 0 },
	{ RPC_DOMAIN_SAVE_IMAGE_GET_XML_DESC, saved_xml, 0 },
	{ RPC_DOMAIN_SAVE_IMAGE_DEFINE_XML, set_saved_xml, 0 },
	{ RPC_DOMAIN_MANAGED_SAVE, managed_save, 0 },
	{ RPC_DOMAIN_HAS_MANAGED_SAVE_IMAGE, has_managed_save, LOOK },
	{ RPC_DOMAIN_MANAGED_SAVE_REMOVE, managed_save_remove, 0 },
	{ RPC_DOMAIN_MANAGED_SAVE_GET_XML_DESC, managed_xml, 0 },
	{ RPC_DOMAIN_MANAGED_SAVE_DEFINE_XML, managed_define, 0 },
	{ RPC_DOMAIN_CORE_DUMP, dump, 0 },
	{ RPC_DOMAIN_CORE_DUMP_WITH_FORMAT, dump, 0 },
	{ 0 },
};
