/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See events.h. An event is encoded once; who gets it has a copy with the number of his registration in it. */
#include "events.h"

#include <string.h>

#include "access.h"
#include "bytes.h"
#include "domain.h"
#include "hv.h"
#include "log.h"
#include "uuid.h"

struct registration {
	struct client *client;
	struct hv *hv;
	enum event_kind kind;
	unsigned id;
	gint32 callback;
	bool old;   /* without a number in its messages */
	char *key;  /* of the one object that is meant; NULL: all */
	char *name; /* of a monitor event; NULL: all */
	unsigned flags;
};

enum { MONITOR_REGEX = 1, MONITOR_NOCASE = 2 };

static GPtrArray *all;
static gint32 next_callback;

/* Messages of an event: with a callback's number, and in the old way (0: there is none). */
struct numbers {
	uint16_t now, old;
};
static const struct numbers domain_numbers[DOMAIN_EVENTS] = {
	[DOMAIN_EVENT_LIFECYCLE] = { RPC_DOMAIN_EVENT_CALLBACK_LIFECYCLE, RPC_DOMAIN_EVENT_LIFECYCLE },
	[DOMAIN_EVENT_REBOOT] = { RPC_DOMAIN_EVENT_CALLBACK_REBOOT, RPC_DOMAIN_EVENT_REBOOT },
	[DOMAIN_EVENT_RTC_CHANGE] = { RPC_DOMAIN_EVENT_CALLBACK_RTC_CHANGE, RPC_DOMAIN_EVENT_RTC_CHANGE },
	[DOMAIN_EVENT_WATCHDOG] = { RPC_DOMAIN_EVENT_CALLBACK_WATCHDOG, RPC_DOMAIN_EVENT_WATCHDOG },
	[DOMAIN_EVENT_IO_ERROR] = { RPC_DOMAIN_EVENT_CALLBACK_IO_ERROR, RPC_DOMAIN_EVENT_IO_ERROR },
	[DOMAIN_EVENT_GRAPHICS] = { RPC_DOMAIN_EVENT_CALLBACK_GRAPHICS, RPC_DOMAIN_EVENT_GRAPHICS },
	[DOMAIN_EVENT_IO_ERROR_REASON] = { RPC_DOMAIN_EVENT_CALLBACK_IO_ERROR_REASON, RPC_DOMAIN_EVENT_IO_ERROR_REASON },
	[DOMAIN_EVENT_CONTROL_ERROR] = { RPC_DOMAIN_EVENT_CALLBACK_CONTROL_ERROR, RPC_DOMAIN_EVENT_CONTROL_ERROR },
	[DOMAIN_EVENT_BLOCK_JOB] = { RPC_DOMAIN_EVENT_CALLBACK_BLOCK_JOB, RPC_DOMAIN_EVENT_BLOCK_JOB },
	[DOMAIN_EVENT_DISK_CHANGE] = { RPC_DOMAIN_EVENT_CALLBACK_DISK_CHANGE, RPC_DOMAIN_EVENT_DISK_CHANGE },
	[DOMAIN_EVENT_TRAY_CHANGE] = { RPC_DOMAIN_EVENT_CALLBACK_TRAY_CHANGE, RPC_DOMAIN_EVENT_TRAY_CHANGE },
	[DOMAIN_EVENT_PMWAKEUP] = { RPC_DOMAIN_EVENT_CALLBACK_PMWAKEUP, RPC_DOMAIN_EVENT_PMWAKEUP },
	[DOMAIN_EVENT_PMSUSPEND] = { RPC_DOMAIN_EVENT_CALLBACK_PMSUSPEND, RPC_DOMAIN_EVENT_PMSUSPEND },
	[DOMAIN_EVENT_BALLOON_CHANGE] = { RPC_DOMAIN_EVENT_CALLBACK_BALLOON_CHANGE, RPC_DOMAIN_EVENT_BALLOON_CHANGE },
	[DOMAIN_EVENT_PMSUSPEND_DISK] = { RPC_DOMAIN_EVENT_CALLBACK_PMSUSPEND_DISK, RPC_DOMAIN_EVENT_PMSUSPEND_DISK },
	[DOMAIN_EVENT_DEVICE_REMOVED] = { RPC_DOMAIN_EVENT_CALLBACK_DEVICE_REMOVED, RPC_DOMAIN_EVENT_DEVICE_REMOVED },
	[DOMAIN_EVENT_BLOCK_JOB_2] = { RPC_DOMAIN_EVENT_BLOCK_JOB_2, 0 },
	[DOMAIN_EVENT_TUNABLE] = { RPC_DOMAIN_EVENT_CALLBACK_TUNABLE, 0 },
	[DOMAIN_EVENT_AGENT_LIFECYCLE] = { RPC_DOMAIN_EVENT_CALLBACK_AGENT_LIFECYCLE, 0 },
	[DOMAIN_EVENT_DEVICE_ADDED] = { RPC_DOMAIN_EVENT_CALLBACK_DEVICE_ADDED, 0 },
	[DOMAIN_EVENT_MIGRATION_ITERATION] = { RPC_DOMAIN_EVENT_CALLBACK_MIGRATION_ITERATION, 0 },
	[DOMAIN_EVENT_JOB_COMPLETED] = { RPC_DOMAIN_EVENT_CALLBACK_JOB_COMPLETED, 0 },
	[DOMAIN_EVENT_DEVICE_REMOVAL_FAILED] = { RPC_DOMAIN_EVENT_CALLBACK_DEVICE_REMOVAL_FAILED, 0 },
	[DOMAIN_EVENT_METADATA_CHANGE] = { RPC_DOMAIN_EVENT_CALLBACK_METADATA_CHANGE, 0 },
	[DOMAIN_EVENT_BLOCK_THRESHOLD] = { RPC_DOMAIN_EVENT_BLOCK_THRESHOLD, 0 },
	[DOMAIN_EVENT_MEMORY_FAILURE] = { RPC_DOMAIN_EVENT_MEMORY_FAILURE, 0 },
	[DOMAIN_EVENT_MEMORY_DEVICE_SIZE_CHANGE] = { RPC_DOMAIN_EVENT_MEMORY_DEVICE_SIZE_CHANGE, 0 },
};
static const struct numbers network_numbers[] = { { RPC_NETWORK_EVENT_LIFECYCLE },
						  { RPC_NETWORK_EVENT_CALLBACK_METADATA_CHANGE } };
static const struct numbers pool_numbers[] = { { RPC_STORAGE_POOL_EVENT_LIFECYCLE }, { RPC_STORAGE_POOL_EVENT_REFRESH } };
static const struct numbers node_numbers[] = { { RPC_NODE_DEVICE_EVENT_LIFECYCLE }, { RPC_NODE_DEVICE_EVENT_UPDATE } };
static const struct numbers secret_numbers[] = { { RPC_SECRET_EVENT_LIFECYCLE }, { RPC_SECRET_EVENT_VALUE_CHANGED } };
static const struct numbers monitor_numbers[] = { { RPC_QEMU_DOMAIN_MONITOR_EVENT } };

static const struct {
	const char *what, *object; /* in messages; in access control */
	const struct numbers *numbers;
	unsigned n;
	uint32_t program;
} kinds[] = {
	[EVENT_DOMAIN] = { "domain", "domain", domain_numbers, DOMAIN_EVENTS, RPC_REMOTE },
	[EVENT_NETWORK] = { "network", "network", network_numbers, G_N_ELEMENTS(network_numbers), RPC_REMOTE },
	[EVENT_POOL] = { "storage pool", "storage-pool", pool_numbers, G_N_ELEMENTS(pool_numbers), RPC_REMOTE },
	[EVENT_NODE_DEVICE] = { "node device", "node-device", node_numbers, G_N_ELEMENTS(node_numbers), RPC_REMOTE },
	[EVENT_SECRET] = { "secret", "secret", secret_numbers, G_N_ELEMENTS(secret_numbers), RPC_REMOTE },
	[EVENT_MONITOR] = { "monitor", "domain", monitor_numbers, G_N_ELEMENTS(monitor_numbers), RPC_QEMU },
};

/* ---- delivery ---- */

static bool fits_name(const struct registration *r, const char *name)
{
	if (!r->name)
		return true;
	if (r->flags & MONITOR_REGEX)
		return g_regex_match_simple(r->name, name, r->flags & MONITOR_NOCASE ? G_REGEX_CASELESS : 0, 0);
	return r->flags & MONITOR_NOCASE ? g_ascii_strcasecmp(r->name, name) == 0 : strcmp(r->name, name) == 0;
}

/* The fields in the order and nesting of the message; rest's first is outside of it where proc's type says so. */
static GVariant *arrange(const char *type, bool old, GVariant *handle, GVariant *rest)
{
	g_autoptr(GPtrArray) inner = g_ptr_array_new_with_free_func((GDestroyNotify)g_variant_unref);
	g_autoptr(GPtrArray) outer = g_ptr_array_new_with_free_func((GDestroyNotify)g_variant_unref);
	bool reason = type[2] == 'i' && type[3] == '(';

	if (!old)
		g_ptr_array_add(outer, g_variant_ref_sink(g_variant_new_int32(0)));
	g_ptr_array_add(inner, g_variant_ref(handle));
	for (gsize i = 0; rest && i < g_variant_n_children(rest); i++) {
		GVariant *child = g_variant_get_child_value(rest, i);

		g_ptr_array_add(reason ? outer : inner, child);
	}
	if (old)
		return g_variant_new_tuple((GVariant **)inner->pdata, inner->len);
	if (type[2] == '(' || reason)
		g_ptr_array_add(outer, g_variant_ref_sink(g_variant_new_tuple((GVariant **)inner->pdata, inner->len)));
	else
		g_ptr_array_extend(outer, inner, (GCopyFunc)(void *)g_variant_ref, NULL);
	return g_variant_new_tuple((GVariant **)outer->pdata, outer->len);
}

static GByteArray *encode(enum event_kind kind, const struct numbers *numbers, bool old, GVariant *handle, GVariant *rest)
{
	const struct rpc_proc *proc = rpc_proc_find(kinds[kind].program, old ? numbers->old : numbers->now);
	const struct rpc_header h = { proc->program, 1, proc->number, RPC_MESSAGE, 0, RPC_OK };
	const char *type = rpc_proc_find(kinds[kind].program, numbers->now)->args;
	g_autoptr(GError) error = NULL;
	GByteArray *message = rpc_message_new(&h, proc->args, arrange(type, old, handle, rest), 0, &error);

	if (!message)
		kv_log_warn("%s: %s", proc->name, error->message);
	return message;
}

static void deliver(struct hv *hv, enum event_kind kind, unsigned id, const char *key, const char *name, GVariant *handle,
		    GVariant *rest)
{
	const struct numbers *numbers = &kinds[kind].numbers[id];
	g_autoptr(GVariant) h = g_variant_ref_sink(handle), r = rest ? g_variant_ref_sink(rest) : NULL;
	g_autoptr(GByteArray) now = NULL, old = NULL;

	for (unsigned i = 0; all && i < all->len; i++) {
		const struct registration *reg = all->pdata[i];
		GByteArray *copy, **of = reg->old ? &old : &now;

		if (reg->hv != hv || reg->kind != kind || reg->id != id || (reg->key && strcmp(reg->key, key) != 0) ||
		    (name && !fits_name(reg, name)))
			continue;
		if (!*of)
			*of = encode(kind, numbers, reg->old, h, r);
		if (!*of)
			return;
		copy = g_byte_array_sized_new((*of)->len);
		g_byte_array_append(copy, (*of)->data, (*of)->len);
		if (!reg->old)
			put_be32(copy->data + RPC_LENGTH + RPC_HEADER, reg->callback);
		access_event(reg->client, hv, kinds[kind].object, h, copy);
	}
}

void events_domain(struct domain *d, enum domain_event_id id, GVariant *rest)
{
	deliver(d->hv, EVENT_DOMAIN, id, d->uuid_text, NULL, domain_handle(d), rest);
}

void events_object(struct hv *hv, enum event_kind kind, unsigned id, const char *key, GVariant *handle, GVariant *rest)
{
	deliver(hv, kind, id, key, NULL, handle, rest);
}

void events_monitor(struct domain *d, const char *event, gint64 seconds, unsigned micros, const char *details)
{
	deliver(d->hv, EVENT_MONITOR, 0, d->uuid_text, event, domain_handle(d),
		g_variant_new("(sxums)", event, seconds, micros, details));
}

/* ---- registrations ---- */

static void registration_free(struct registration *r)
{
	g_free(r->key);
	g_free(r->name);
	g_free(r);
}

enum { MAX_A_CLIENT = 1024 };

static bool add(struct call *call, struct registration r, gint32 *ret, GError **error)
{
	unsigned n = 0;

	if (!all)
		all = g_ptr_array_new_with_free_func((GDestroyNotify)registration_free);
	for (unsigned i = 0; i < all->len; i++) {
		const struct registration *o = all->pdata[i];

		n += o->client == call->client;
		if (r.old && o->old && o->client == call->client && o->kind == r.kind && o->id == r.id)
			return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "%s event %u already registered", kinds[r.kind].what,
					r.id);
	}
	if (n >= MAX_A_CLIENT)
		return rpc_fail(error, VIR_ERR_OPERATION_FAILED, "a client registers for events more than %d times",
				MAX_A_CLIENT);
	r.client = call->client;
	r.hv = call->hv;
	r.callback = next_callback;
	next_callback = next_callback == G_MAXINT32 ? 0 : next_callback + 1;
	*ret = r.callback;
	g_ptr_array_add(all, g_memdup2(&r, sizeof(r)));
	return true;
}

void events_leave(struct client *c)
{
	for (unsigned i = all ? all->len : 0; i-- > 0;)
		if (((struct registration *)all->pdata[i])->client == c)
			g_ptr_array_remove_index(all, i);
}

static bool check_id(enum event_kind kind, gint32 id, bool old, GError **error)
{
	if (id >= 0 && id < (gint32)kinds[kind].n && (!old || kinds[kind].numbers[id].old))
		return true;
	return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "unsupported %s%sevent ID %d",
			kind == EVENT_DOMAIN ? "" : kinds[kind].what, kind == EVENT_DOMAIN ? "" : " ", id);
}

/* Handles have their UUID as second field, of secrets as first; node devices are names. */
static char *key_of(GVariant *handle)
{
	g_autoptr(GVariant) child = NULL;

	if (g_variant_is_of_type(handle, G_VARIANT_TYPE_STRING))
		return g_variant_dup_string(handle, NULL);
	child = g_variant_get_child_value(handle, 0);
	if (!g_variant_is_of_type(child, G_VARIANT_TYPE_BYTESTRING)) {
		g_variant_unref(child);
		child = g_variant_get_child_value(handle, 1);
	}
	return uuid_format(child);
}

static enum event_kind kind_of(uint32_t number)
{
	switch (number) {
	case RPC_CONNECT_NETWORK_EVENT_REGISTER_ANY:
	case RPC_CONNECT_NETWORK_EVENT_DEREGISTER_ANY:
		return EVENT_NETWORK;
	case RPC_CONNECT_STORAGE_POOL_EVENT_REGISTER_ANY:
	case RPC_CONNECT_STORAGE_POOL_EVENT_DEREGISTER_ANY:
		return EVENT_POOL;
	case RPC_CONNECT_NODE_DEVICE_EVENT_REGISTER_ANY:
	case RPC_CONNECT_NODE_DEVICE_EVENT_DEREGISTER_ANY:
		return EVENT_NODE_DEVICE;
	case RPC_CONNECT_SECRET_EVENT_REGISTER_ANY:
	case RPC_CONNECT_SECRET_EVENT_DEREGISTER_ANY:
		return EVENT_SECRET;
	default:
		return EVENT_DOMAIN;
	}
}

/* connect_…_event_register_any: an event's number, and the object that is meant. */
static bool register_any(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct registration r = { .kind = kind_of(call->proc->number) };
	g_autoptr(GVariant) maybe = g_variant_get_child_value(args, 1), handle = g_variant_get_maybe(maybe);
	gint32 id, callback;

	g_variant_get_child(args, 0, "i", &id);
	if (!check_id(r.kind, id, false, error))
		return false;
	r.id = id;
	r.key = handle ? key_of(handle) : NULL;
	if (!add(call, r, &callback, error)) {
		g_free(r.key);
		return false;
	}
	*ret = g_variant_new("(i)", callback);
	return true;
}

static bool remove_where(struct client *c, enum event_kind kind, bool old, gint32 wanted)
{
	for (unsigned i = 0; all && i < all->len; i++) {
		const struct registration *r = all->pdata[i];

		if (r->client == c && r->kind == kind && r->old == old && (old ? (gint32)r->id : r->callback) == wanted) {
			g_ptr_array_remove_index(all, i);
			return true;
		}
	}
	return false;
}

static bool deregister_kind(struct call *call, GVariant *args, enum event_kind kind, GError **error)
{
	gint32 callback;

	g_variant_get(args, "(i)", &callback);
	return remove_where(call->client, kind, false, callback) ||
	       rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "%s event callback %d not registered", kinds[kind].what, callback);
}

static bool deregister_any(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return deregister_kind(call, args, kind_of(call->proc->number), error);
}

static bool register_old(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	gint32 id = DOMAIN_EVENT_LIFECYCLE, callback;

	if (g_variant_n_children(args))
		g_variant_get(args, "(i)", &id);
	if (!check_id(EVENT_DOMAIN, id, true, error) ||
	    !add(call, (struct registration){ .kind = EVENT_DOMAIN, .id = id, .old = true }, &callback, error))
		return false;
	if (call->proc->number == RPC_CONNECT_DOMAIN_EVENT_REGISTER)
		*ret = g_variant_new("(i)", 1);
	return true;
}

static bool deregister_old(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	gint32 id = DOMAIN_EVENT_LIFECYCLE;

	if (g_variant_n_children(args))
		g_variant_get(args, "(i)", &id);
	if (!remove_where(call->client, EVENT_DOMAIN, true, id))
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "domain event %d not registered", id);
	if (call->proc->number == RPC_CONNECT_DOMAIN_EVENT_DEREGISTER)
		*ret = g_variant_new("(i)", 0);
	return true;
}

static bool monitor_register(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GVariant) maybe = g_variant_get_child_value(args, 0), handle = g_variant_get_maybe(maybe);
	struct registration r = { .kind = EVENT_MONITOR };
	gint32 callback;

	g_variant_get_child(args, 1, "ms", &r.name);
	g_variant_get_child(args, 2, "u", &r.flags);
	r.key = handle ? key_of(handle) : NULL;
	if (r.flags & ~(MONITOR_REGEX | MONITOR_NOCASE))
		rpc_fail(error, VIR_ERR_INVALID_ARG,
			 "unsupported flags (0x%x) in function virConnectDomainQemuMonitorEventRegister",
			 r.flags & ~(MONITOR_REGEX | MONITOR_NOCASE));
	else if (add(call, r, &callback, error)) {
		*ret = g_variant_new("(i)", callback);
		return true;
	}
	g_free(r.name);
	g_free(r.key);
	return false;
}

static bool monitor_deregister(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return deregister_kind(call, args, EVENT_MONITOR, error);
}

enum { LOOK = HANDLER_FAST | HANDLER_READ_ONLY };

const struct handler event_handlers[] = {
	{ RPC_CONNECT_DOMAIN_EVENT_REGISTER, register_old, LOOK },
	{ RPC_CONNECT_DOMAIN_EVENT_DEREGISTER, deregister_old, LOOK },
	{ RPC_CONNECT_DOMAIN_EVENT_REGISTER_ANY, register_old, LOOK },
	{ RPC_CONNECT_DOMAIN_EVENT_DEREGISTER_ANY, deregister_old, LOOK },
	{ RPC_CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY, register_any, LOOK },
	{ RPC_CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY, deregister_any, LOOK },
	{ RPC_CONNECT_NETWORK_EVENT_REGISTER_ANY, register_any, LOOK },
	{ RPC_CONNECT_NETWORK_EVENT_DEREGISTER_ANY, deregister_any, LOOK },
	{ RPC_CONNECT_STORAGE_POOL_EVENT_REGISTER_ANY, register_any, LOOK },
	{ RPC_CONNECT_STORAGE_POOL_EVENT_DEREGISTER_ANY, deregister_any, LOOK },
	{ RPC_CONNECT_NODE_DEVICE_EVENT_REGISTER_ANY, register_any, LOOK },
	{ RPC_CONNECT_NODE_DEVICE_EVENT_DEREGISTER_ANY, deregister_any, LOOK },
	{ RPC_CONNECT_SECRET_EVENT_REGISTER_ANY, register_any, LOOK },
	{ RPC_CONNECT_SECRET_EVENT_DEREGISTER_ANY, deregister_any, LOOK },
	{ 0 },
};
const struct handler monitor_event_handlers[] = {
	{ RPC_QEMU_CONNECT_DOMAIN_MONITOR_EVENT_REGISTER, monitor_register, HANDLER_FAST },
	{ RPC_QEMU_CONNECT_DOMAIN_MONITOR_EVENT_DEREGISTER, monitor_deregister, HANDLER_FAST },
	{ 0 },
};
