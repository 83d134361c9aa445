/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a domain is and how it is: state, sizes, its XML. All at once, without waiting. */
#include <string.h>

#include "domain.h"
#include "model-xml.h"

enum { XML_SECURE = 1, XML_INACTIVE = 2, XML_UPDATE_CPU = 4, XML_MIGRATABLE = 8 };

static bool get_info(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	const struct domain_def *def = d ? domain_current_def(d, error) : NULL;
	guint64 time = 0;

	if (!def)
		return false;
	if (d->hv->driver->cpu_time)
		time = d->hv->driver->cpu_time(d);
	*ret = g_variant_new("(ittut)", d->state, domain_def_memory(def), domain_def_current(def), domain_def_vcpus(def, NULL),
			     time);
	return true;
}

static bool get_state(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	if (!d || !call_check_flags(call, flags, 0, error))
		return false;
	*ret = g_variant_new("(ii)", d->state, d->reason);
	return true;
}

static bool get_xml(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	const struct domain_def *def;
	g_autofree char *xml = NULL;
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	if (!d || !call_check_flags(call, flags, XML_SECURE | XML_INACTIVE | XML_UPDATE_CPU | XML_MIGRATABLE, error))
		return false;
	if (call->read_only && flags & (XML_SECURE | XML_MIGRATABLE))
		return rpc_fail(error, VIR_ERR_OPERATION_DENIED, "virDomainGetXMLDesc with secure flag");
	def = flags & XML_INACTIVE ? domain_stored_def(d, error) : domain_current_def(d, error);
	if (!def)
		return false;
	xml = domain_def_format(def, (flags & XML_SECURE ? FORMAT_SECURE : 0) | (def == d->live ? 0 : FORMAT_INACTIVE) |
					     (flags & XML_INACTIVE ? FORMAT_INACTIVE : 0) |
					     (flags & XML_MIGRATABLE ? FORMAT_MIGRATABLE : 0));
	*ret = g_variant_new("(s)", xml);
	return true;
}

static bool get_os_type(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	const struct domain_def *def = d ? domain_current_def(d, error) : NULL;
	const char *type;

	if (!def)
		return false;
	type = xml_text(domain_def_root(def), "os/type");
	*ret = g_variant_new("(s)", type ? type : "hvm");
	return true;
}

static bool answer_flag(struct domain *d, bool flag, GVariant **ret)
{
	*ret = g_variant_new("(i)", flag);
	domain_unref(d);
	return true;
}

static bool is_active(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct domain *d = domain_of_args(call, args, error);

	return d && answer_flag(d, domain_is_active(d), ret);
}

static bool is_persistent(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct domain *d = domain_of_args(call, args, error);

	return d && answer_flag(d, d->persistent, ret);
}

static bool is_updated(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct domain *d = domain_of_args(call, args, error);

	return d && answer_flag(d, d->updated, ret);
}

static bool control_info(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	enum { CONTROL_OK, CONTROL_JOB };
	g_autoptr(Domain) d = domain_of_args(call, args, error);

	if (!d || !domain_require_active(d, error))
		return false;
	*ret = g_variant_new("(uut)", d->long_job ? CONTROL_JOB : CONTROL_OK, 0,
			     d->long_job ? (guint64)(g_get_monotonic_time() - d->job_began) / 1000 : 0);
	return true;
}

/* What its definition has and its machine does nothing of. */
static void add_hints(const struct domain_def *def, GVariantBuilder *list)
{
	g_auto(GStrv) hints = def ? domain_def_hints(def) : NULL;

	for (char **hint = hints; hint && *hint; hint++) {
		g_autofree char *text = g_strdup_printf("<%s> is kept, without an effect", *hint);

		g_variant_builder_add(list, "s", text);
	}
}

/* Why it ended, when that was not what somebody asked for; and, to who asks for all, what has no effect. */
static bool get_messages(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	enum { DEPRECATION = 1, TAINTING = 2, IOERRORS = 4 };
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	GVariantBuilder list = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("as"));
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	if (!d || !call_check_flags(call, flags, DEPRECATION | TAINTING | IOERRORS, error))
		return false;
	if (d->last_error && (!flags || flags & IOERRORS))
		g_variant_builder_add(&list, "s", d->last_error);
	if (!flags && !(d->hv->driver->def_flags & DEF_TEST))
		add_hints(domain_current_def(d, NULL), &list);
	*ret = g_variant_new("(as)", &list);
	return true;
}

enum { LOOK = HANDLER_FAST | HANDLER_READ_ONLY };

const struct handler domain_info_handlers[] = {
	{ RPC_DOMAIN_GET_INFO, get_info, LOOK },
	{ RPC_DOMAIN_GET_STATE, get_state, LOOK },
	{ RPC_DOMAIN_GET_XML_DESC, get_xml, LOOK },
	{ RPC_DOMAIN_GET_OS_TYPE, get_os_type, LOOK },
	{ RPC_DOMAIN_IS_ACTIVE, is_active, LOOK },
	{ RPC_DOMAIN_IS_PERSISTENT, is_persistent, LOOK },
	{ RPC_DOMAIN_IS_UPDATED, is_updated, LOOK },
	{ RPC_DOMAIN_GET_CONTROL_INFO, control_info, LOOK },
	{ RPC_DOMAIN_GET_MESSAGES, get_messages, LOOK },
	{ 0 },
};
