/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that come, go and change: in the stored definition, in the running machine, or both. */
#include <string.h>

#include "domain.h"
#include "events.h"
#include "model-xml.h"

enum { DEVICE_FORCE = 4, MODIFY_LIVE = 1, MODIFY_CONFIG = 2 };

typedef bool change_func(struct domain *d, struct domain_def *def, const char *xml, bool live, GError **error);

static bool attach_to(struct domain *d, struct domain_def *def, const char *xml, bool live, GError **error)
{
	xmlNode *node = domain_def_parse_device(def, xml, d->hv->driver->def_flags | (live ? DEF_LIVE : 0), error);

	if (!node)
		return false;
	if (live && !d->hv->driver->attach(d, node, error)) {
		xmlFreeNode(node);
		return false;
	}
	domain_def_insert_device(def, node);
	if (live && xml_text(node, "alias/@name"))
		events_domain(d, DOMAIN_EVENT_DEVICE_ADDED, g_variant_new("(s)", xml_text(node, "alias/@name")));
	return true;
}

void domain_device_left(struct domain *d, const char *alias)
{
	xmlNode *devices = d->live ? xml_child(domain_def_root(d->live), "devices") : NULL;

	for (xmlNode *n = devices ? devices->children : NULL; n; n = n->next)
		if (n->type == XML_ELEMENT_NODE && xml_is(n, "alias/@name", alias)) {
			domain_def_remove_device(d->live, n);
			break;
		}
	if (d->hv->driver->store_status)
		d->hv->driver->store_status(d);
	events_domain(d, DOMAIN_EVENT_DEVICE_REMOVED, g_variant_new("(s)", alias));
}

static bool take_out(struct domain *d, struct domain_def *def, xmlNode *node, bool live, GError **error)
{
	g_autofree char *alias = g_strdup(xml_text(node, "alias/@name"));
	bool later = false;

	if (!live) {
		domain_def_remove_device(def, node);
		return true;
	}
	if (!d->hv->driver->detach(d, node, &later, error))
		return false;
	if (!later && alias)
		domain_device_left(d, alias);
	else if (!later)
		domain_def_remove_device(def, node);
	return true;
}

static xmlNode *find(struct domain *d, struct domain_def *def, const char *xml, xmlNode **ret_like, GError **error)
{
	xmlNode *found;

	*ret_like = domain_def_parse_device(def, xml, d->hv->driver->def_flags | DEF_LOOSE, error);
	if (!*ret_like)
		return NULL;
	found = domain_def_find_device(def, *ret_like, error);
	if (!found) {
		xmlFreeNode(*ret_like);
		*ret_like = NULL;
	}
	return found;
}

static bool detach_from(struct domain *d, struct domain_def *def, const char *xml, bool live, GError **error)
{
	xmlNode *like, *node = find(d, def, xml, &like, error);

	if (!node)
		return false;
	xmlFreeNode(like);
	return take_out(d, def, node, live, error);
}

/* The machine may have ended while it was asked, or its guest have let go of the device. */
static bool still_there(const struct domain *d, const xmlNode *device, GError **error)
{
	xmlNode *devices = d->live ? xml_child(domain_def_root(d->live), "devices") : NULL;

	for (const xmlNode *n = devices ? devices->children : NULL; n; n = n->next)
		if (n == device)
			return true;
	return domain_require_active(d, error) &&
	       rpc_fail(error, VIR_ERR_OPERATION_FAILED, "the device left the machine while it was changed");
}

static bool update_in(struct domain *d, struct domain_def *def, const char *xml, bool live, GError **error)
{
	xmlNode *after, *before = find(d, def, xml, &after, error);

	if (!before)
		return false;
	if (!domain_def_complete_update(def, before, after, error) ||
	    (live && (!d->hv->driver->update(d, before, after, error) || !still_there(d, before, error)))) {
		xmlFreeNode(after);
		return false;
	}
	xmlReplaceNode(before, after);
	xmlFreeNode(before);
	return true;
}

static bool detach_alias(struct domain *d, struct domain_def *def, const char *alias, bool live, GError **error)
{
	xmlNode *devices = xml_child(domain_def_root(def), "devices");

	for (xmlNode *n = devices ? devices->children : NULL; n; n = n->next)
		if (n->type == XML_ELEMENT_NODE && xml_is(n, "alias/@name", alias))
			return take_out(d, def, n, live, error);
	return rpc_fail(error, VIR_ERR_DEVICE_MISSING, "no device found with alias %s", alias);
}

/* What is made up for a card is made up once: NULL, or its XML with the address that config's has got. */
static char *with_address(const struct domain_def *config, const char *xml)
{
	g_autoptr(xmlDoc) doc = model_xml_parse(xml, -1, NULL, NULL);
	xmlNode *device = doc ? xmlDocGetRootElement(doc) : NULL, *card, *last = NULL;

	if (!device || strcmp((const char *)device->name, "interface") || xml_child(device, "mac"))
		return NULL;
	for (unsigned i = 0; (card = domain_def_device(config, "interface", i)); i++)
		last = card;
	if (!last)
		return NULL;
	xml_set(device, "mac/@address", xml_text(last, "mac/@address"));
	return model_xml_format(device);
}

/* The stored one is changed in a copy first, so that both are changed or none. */
static bool change(struct call *call, struct domain *d, const char *xml, guint32 flags, change_func *func, GError **error)
{
	g_autoptr(DomainDef) copy = NULL;
	g_autofree char *same = NULL;
	struct domain_def *stored;

	if (!call_check_flags(call, flags, MODIFY_LIVE | MODIFY_CONFIG | DEVICE_FORCE, error) ||
	    !domain_affects(d, &flags, error))
		return false;
	if (flags & MODIFY_LIVE && (!d->hv->driver->attach || !d->hv->driver->detach || !d->hv->driver->update))
		return handler_unsupported(call, NULL, NULL, error);
	if (flags & MODIFY_CONFIG) {
		stored = domain_stored_def(d, error);
		copy = stored ? domain_def_copy(stored) : NULL;
		if (!copy || !func(d, copy, xml, false, error) ||
		    (d->hv->driver->check && !d->hv->driver->check(d->hv, copy, error)))
			return false;
	}
	if (copy && func == attach_to)
		same = with_address(copy, xml);
	if (flags & MODIFY_LIVE) {
		if (!func(d, d->live, same ? same : xml, true, error))
			return false;
		if (d->hv->driver->store_status)
			d->hv->driver->store_status(d);
	}
	return !copy || domain_store_as(d, &copy, error);
}

static bool device_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	static const struct {
		unsigned number;
		change_func *func;
		guint32 flags;
	} rows[] = {
		{ RPC_DOMAIN_ATTACH_DEVICE, attach_to, MODIFY_LIVE },	{ RPC_DOMAIN_ATTACH_DEVICE_FLAGS, attach_to, 0 },
		{ RPC_DOMAIN_DETACH_DEVICE, detach_from, MODIFY_LIVE }, { RPC_DOMAIN_DETACH_DEVICE_FLAGS, detach_from, 0 },
		{ RPC_DOMAIN_UPDATE_DEVICE_FLAGS, update_in, 0 },	{ RPC_DOMAIN_DETACH_DEVICE_ALIAS, detach_alias, 0 },
	};
	g_autofree char *xml = NULL;

	g_variant_get_child(args, 1, "s", &xml);
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		guint32 flags = rows[i].flags;

		if (rows[i].number != call->proc->number)
			continue;
		if (g_variant_n_children(args) > 2)
			g_variant_get_child(args, 2, "u", &flags);
		return change(call, d, xml, flags, rows[i].func, error);
	}
	return handler_unsupported(call, args, ret, error);
}

static bool device(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_MODIFY, false, device_func);
}

const struct handler domain_device_handlers[] = {
	{ RPC_DOMAIN_ATTACH_DEVICE, device, 0 },
	{ RPC_DOMAIN_ATTACH_DEVICE_FLAGS, device, 0 },
	{ RPC_DOMAIN_DETACH_DEVICE, device, 0 },
	{ RPC_DOMAIN_DETACH_DEVICE_FLAGS, device, 0 },
	{ RPC_DOMAIN_DETACH_DEVICE_ALIAS, device, 0 },
	{ RPC_DOMAIN_UPDATE_DEVICE_FLAGS, device, 0 },
	{ 0 },
};
