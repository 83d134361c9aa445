/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which domains there are: lookups and lists, in libvirt's new way and in the one before. */
#include <string.h>

#include "bytes.h"
#include "domain.h"
#include "snapshots.h"
#include "uuid.h"
#include "xdr.h"

enum { LIKELY_SIZE = 64 }; /* of a handle in a message, bytes */

/* VIR_CONNECT_LIST_DOMAINS_…, in pairs: one that has something, one that has not. */
enum {
	LIST_ACTIVE = 1 << 0,
	LIST_INACTIVE = 1 << 1,
	LIST_PERSISTENT = 1 << 2,
	LIST_TRANSIENT = 1 << 3,
	LIST_RUNNING = 1 << 4,
	LIST_PAUSED = 1 << 5,
	LIST_SHUTOFF = 1 << 6,
	LIST_OTHER = 1 << 7,
	LIST_MANAGED_SAVE = 1 << 8,
	LIST_NO_MANAGED_SAVE = 1 << 9,
	LIST_AUTOSTART = 1 << 10,
	LIST_NO_AUTOSTART = 1 << 11,
	LIST_SNAPSHOT = 1 << 12,
	LIST_NO_SNAPSHOT = 1 << 13,
	LIST_CHECKPOINT = 1 << 14,
	LIST_NO_CHECKPOINT = 1 << 15,
	LIST_ALL = (1 << 16) - 1,
};

static unsigned traits(const struct domain *d)
{
	unsigned t = 0;

	t |= domain_is_active(d) ? LIST_ACTIVE : LIST_INACTIVE;
	t |= d->persistent ? LIST_PERSISTENT : LIST_TRANSIENT;
	t |= d->state == DOMAIN_RUNNING	  ? LIST_RUNNING
	     : d->state == DOMAIN_PAUSED  ? LIST_PAUSED
	     : d->state == DOMAIN_SHUTOFF ? LIST_SHUTOFF
					  : LIST_OTHER;
	t |= d->has_managed_save ? LIST_MANAGED_SAVE : LIST_NO_MANAGED_SAVE;
	t |= d->autostart ? LIST_AUTOSTART : LIST_NO_AUTOSTART;
	t |= snapshots_count(d->snapshots) ? LIST_SNAPSHOT : LIST_NO_SNAPSHOT;
	return t | LIST_NO_CHECKPOINT;
}

bool domain_fits(const struct domain *d, unsigned flags)
{
	static const unsigned groups[] = { LIST_ACTIVE | LIST_INACTIVE,
					   LIST_PERSISTENT | LIST_TRANSIENT,
					   LIST_RUNNING | LIST_PAUSED | LIST_SHUTOFF | LIST_OTHER,
					   LIST_MANAGED_SAVE | LIST_NO_MANAGED_SAVE,
					   LIST_AUTOSTART | LIST_NO_AUTOSTART,
					   LIST_SNAPSHOT | LIST_NO_SNAPSHOT,
					   LIST_CHECKPOINT | LIST_NO_CHECKPOINT };
	unsigned t = traits(d);

	for (unsigned i = 0; i < G_N_ELEMENTS(groups); i++)
		if (flags & groups[i] && !(flags & groups[i] & t))
			return false;
	return true;
}

/* Type D. */
static bool put_handle(GByteArray *out, const struct domain *d, GError **error)
{
	guint8 rest[UUID_BYTES + 4];

	memcpy(rest, d->uuid, UUID_BYTES);
	put_be32(rest + UUID_BYTES, (uint32_t)d->id);
	if (!xdr_put_string(out, d->name, error))
		return false;
	xdr_put_padded(out, rest, sizeof(rest));
	return true;
}

/* Long, and asked for again and again: written at once as it goes out. */
static bool list_all(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	GByteArray *list = call->encoded = g_byte_array_sized_new(LIKELY_SIZE * (g_hash_table_size(call->hv->domains) + 1));
	GHashTableIter iter;
	gpointer value;
	gint32 wants;
	guint32 flags, n = 0;

	g_variant_get(args, "(iu)", &wants, &flags);
	if (!call_check_flags(call, flags, LIST_ALL, error))
		return false;
	xdr_put_word(list, 0);
	g_hash_table_iter_init(&iter, call->hv->domains);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		if (flags && !domain_fits(value, flags))
			continue;
		n++;
		if (wants && !put_handle(list, value, error))
			return false;
	}
	put_be32(list->data, wants ? n : 0);
	xdr_put_word(list, n);
	return true;
}

static unsigned count(struct hv *hv, unsigned flags)
{
	GHashTableIter iter;
	gpointer value;
	unsigned n = 0;

	g_hash_table_iter_init(&iter, hv->domains);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		n += domain_fits(value, flags);
	return n;
}

static bool num_active(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	*ret = g_variant_new("(i)", count(call->hv, LIST_ACTIVE));
	return true;
}

static bool num_defined(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	*ret = g_variant_new("(i)", count(call->hv, LIST_INACTIVE));
	return true;
}

static bool list_ids(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	GVariantBuilder list = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("ai"));
	GHashTableIter iter;
	gpointer value;
	gint32 left;

	g_variant_get(args, "(i)", &left);
	g_hash_table_iter_init(&iter, call->hv->domains);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (domain_is_active(value) && left-- > 0)
			g_variant_builder_add(&list, "i", ((struct domain *)value)->id);
	*ret = g_variant_new("(ai)", &list);
	return true;
}

static bool list_defined(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	GVariantBuilder list = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("as"));
	GHashTableIter iter;
	gpointer value;
	gint32 left;

	g_variant_get(args, "(i)", &left);
	g_hash_table_iter_init(&iter, call->hv->domains);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (!domain_is_active(value) && left-- > 0)
			g_variant_builder_add(&list, "s", ((struct domain *)value)->name);
	*ret = g_variant_new("(as)", &list);
	return true;
}

static bool found(const struct domain *d, GVariant **ret)
{
	*ret = g_variant_new("(@(sayi))", domain_handle(d));
	return true;
}

static bool by_id(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	GHashTableIter iter;
	gpointer value;
	gint32 id;

	g_variant_get(args, "(i)", &id);
	g_hash_table_iter_init(&iter, call->hv->domains);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (domain_is_active(value) && ((struct domain *)value)->id == id)
			return found(value, ret);
	return rpc_fail(error, VIR_ERR_NO_DOMAIN, "no domain with matching id %d", id);
}

static bool by_name(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const struct domain *d;
	const char *name;

	g_variant_get(args, "(&s)", &name);
	d = g_hash_table_lookup(call->hv->names, name);
	return d ? found(d, ret) : rpc_fail(error, VIR_ERR_NO_DOMAIN, "no domain with matching name '%s'", name);
}

static bool by_uuid(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GVariant) uuid = g_variant_get_child_value(args, 0);
	g_autofree char *text = uuid_format(uuid);
	const struct domain *d = g_hash_table_lookup(call->hv->domains, text);

	return d ? found(d, ret) : rpc_fail(error, VIR_ERR_NO_DOMAIN, "no domain with matching uuid '%s'", text);
}

enum { LOOK = HANDLER_FAST | HANDLER_READ_ONLY };

const struct handler domain_list_handlers[] = {
	{ RPC_CONNECT_LIST_ALL_DOMAINS, list_all, LOOK },
	{ RPC_CONNECT_NUM_OF_DOMAINS, num_active, LOOK },
	{ RPC_CONNECT_NUM_OF_DEFINED_DOMAINS, num_defined, LOOK },
	{ RPC_CONNECT_LIST_DOMAINS, list_ids, LOOK },
	{ RPC_CONNECT_LIST_DEFINED_DOMAINS, list_defined, LOOK },
	{ RPC_DOMAIN_LOOKUP_BY_ID, by_id, LOOK },
	{ RPC_DOMAIN_LOOKUP_BY_NAME, by_name, LOOK },
	{ RPC_DOMAIN_LOOKUP_BY_UUID, by_uuid, LOOK },
	{ 0 },
};
