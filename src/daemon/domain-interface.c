/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which addresses a domain's cards have, by whom the client asks. */
#include "domain.h"
#include "hv.h"

static bool addresses_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	GVariantBuilder list = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(smsa(isu))"));
	g_autoptr(GVariant) all = NULL;
	guint32 source, flags;
	bool ok;

	g_variant_get_child(args, 1, "u", &source);
	g_variant_get_child(args, 2, "u", &flags);
	ok = call_check_flags(call, flags, 0, error) && d->hv->driver->interface_addresses(d, source, &list, error);
	all = g_variant_ref_sink(g_variant_builder_end(&list));
	if (ok)
		*ret = g_variant_new("(@a(smsa(isu)))", all);
	return ok;
}

bool domain_interface_addresses(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	if (!call->hv->driver->interface_addresses)
		return handler_unsupported(call, args, ret, error);
	return domain_with_job(call, args, ret, error, JOB_QUERY, true, addresses_func);
}

const struct handler domain_interface_handlers[] = {
	{RPC_DOMAIN_INTERFACE_ADDRESSES, domain_interface_addresses, HANDLER_READ_ONLY},
	{0},
};
