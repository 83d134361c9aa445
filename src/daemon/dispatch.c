/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See dispatch.h. Called by client.c for each message, by workers.c for each call. */
#include "dispatch.h"

#include <string.h>
#include <unistd.h>

#include "access.h"
#include "domain.h"
#include "error.h"
#include "hv.h"
#include "log.h"
#include "stream.h"
#include "workers.h"
#include "xdr.h"

enum { VERSION = 1, NUMBERS = 512, DRIVERS = 8 };

static const struct handler *const remote_tables[] = {
	connect_handlers, node_handlers, event_handlers, domain_list_handlers, domain_life_handlers, domain_save_handlers,
	domain_info_handlers, domain_text_handlers, domain_size_handlers, domain_device_handlers, domain_stats_handlers,
	domain_job_handlers, domain_people_handlers, domain_interface_handlers, domain_snapshot_handlers, network_handlers,
	pool_list_handlers, pool_handlers, volume_list_handlers, volume_handlers, storage_host_handlers, secret_handlers,
	nodedev_handlers, interface_handlers, nwfilter_handlers, domain_pin_handlers, domain_tune_handlers,
};
static const struct handler *const qemu_tables[] = { qemu_handlers, monitor_event_handlers };
/* By number, once for those who have opened nothing yet, then for each driver. */
static const struct handler *remote[1 + DRIVERS][NUMBERS], *qemu[NUMBERS];
/* A value of each type: GLib forgets one with its last value, and to learn it again is a third of a short call. */
static GPtrArray *kept;

static void put(const struct handler **index, const struct handler *table, bool instead)
{
	for (const struct handler *h = table; h->func; h++) {
		g_assert(h->number < NUMBERS && (instead || !index[h->number]));
		index[h->number] = h;
	}
}

static void keep_type(const char *type)
{
	g_autofree char *own = type ? xdr_variant_type(type) : NULL;

	if (own)
		g_ptr_array_add(kept, g_variant_new_from_data(G_VARIANT_TYPE(own), NULL, 0, FALSE, NULL, NULL));
}

void dispatch_start(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(remote_tables); i++)
		put(remote[0], remote_tables[i], false);
	for (unsigned i = 0; i < G_N_ELEMENTS(qemu_tables); i++)
		put(qemu, qemu_tables[i], false);
	for (unsigned i = 0; hv_drivers[i]; i++) {
		g_assert(i < DRIVERS);
		memcpy(remote[1 + i], remote[0], sizeof(remote[0]));
		for (const struct handler *const *t = hv_drivers[i]->handlers; t && *t; t++)
			put(remote[1 + i], *t, true);
	}
	kept = g_ptr_array_new();
	for (unsigned i = 0; i < rpc_n_procs; i++) {
		keep_type(rpc_procs[i].args);
		keep_type(rpc_procs[i].ret);
	}
}

static const struct handler *find(const struct client *c, const struct rpc_proc *proc)
{
	unsigned row = 0;

	if (proc->number >= NUMBERS)
		return NULL;
	if (proc->program == RPC_QEMU)
		return qemu[proc->number];
	while (c->hv && hv_drivers[row++] != c->hv->driver)
		;
	return remote[row][proc->number];
}

bool call_check_flags(const struct call *call, unsigned flags, unsigned supported, GError **error)
{
	char name[64];

	if (!(flags & ~supported))
		return true;
	dispatch_api_name(call->proc->name, name);
	g_set_error(error, RPC_ERRORS, VIR_ERR_INVALID_ARG, "unsupported flags (0x%x) in function %s%s", flags & ~supported,
		    call->hv->driver->prefix, name + strlen("vir"));
	return false;
}

bool handler_unsupported(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	char name[64];

	return rpc_fail(error, VIR_ERR_NO_SUPPORT, "%s", dispatch_api_name(call->proc->name, name));
}

const char *dispatch_api_name(const char *proc, char ret[64])
{
	/* Words that libvirt writes in its own way; all others begin with a capital. */
	static const char *const words[] = {
		"xml",	    "XML",	"uuid",	     "UUID",	  "id",	    "ID",	"uri",	    "URI",	 "cpu",
		"CPU",	    "cpus",	"CPUs",	     "nmi",	  "NMI",    "pm",	"PM",	    "fs",	 "FS",
		"fsfreeze", "FSFreeze", "fsthaw",    "FSThaw",	  "fstrim", "FSTrim",	"fsinfo",   "FSInfo",	 "fd",
		"FD",	    "iothread", "IOThread",  "numa",	  "Numa",   "nwfilter", "NWFilter", "nwfilters", "NWFilters",
		"dhcp",	    "DHCP",	"sev",	     "SEV",	  "os",	    "OS",	"io",	    "Io",	 "ssh",
		"SSH",	    "wwn",	"WWN",	     "scsi",	  "SCSI",   "mac",	"MAC",	    "dettach",	 "Dettach",
		"pmwakeup", "PMWakeup", "pmsuspend", "PMSuspend",
	};
	g_auto(GStrv) parts = g_strsplit(proc, "_", -1);
	g_autoptr(GString) out = g_string_new("vir");

	for (char **p = parts; *p; p++) {
		const char *word = NULL;

		for (unsigned i = 0; i < G_N_ELEMENTS(words) && !word; i += 2)
			if (strcmp(words[i], *p) == 0)
				word = words[i + 1];
		if (word)
			g_string_append(out, word);
		else
			g_string_append_printf(out, "%c%s", g_ascii_toupper(**p), **p ? *p + 1 : "");
	}
	g_strlcpy(ret, out->str, 64);
	return ret;
}

/* ---- answers ---- */

static struct rpc_header answer_header(const struct rpc_header *call)
{
	return (struct rpc_header){ call->program, call->version, call->number, RPC_REPLY, call->serial, RPC_OK };
}

static void close_fds(GArray *fds)
{
	for (unsigned i = 0; fds && i < fds->len; i++)
		if (g_array_index(fds, int, i) >= 0)
			close(g_array_index(fds, int, i));
	if (fds)
		g_array_unref(fds);
}

void dispatch_send_error(struct client *c, struct rpc_header h, const GError *e, unsigned kind)
{
	GByteArray *message;

	h.status = RPC_ERROR;
	message = rpc_message_new(&h, RPC_ERROR_TYPE, rpc_error_body(e), 0, NULL);
	if (message)
		client_send(c, message, NULL, kind);
}

static void answer(struct call *call, GVariant *ret, GError *error)
{
	struct rpc_header h = { call->proc->program, VERSION, call->proc->number, RPC_REPLY, call->serial, RPC_OK };
	g_autoptr(GError) other = NULL;
	GByteArray *message = NULL;

	if (!error && call->reply_fds && call->client->tls)
		rpc_fail(&other, VIR_ERR_OPERATION_UNSUPPORTED, "descriptors do not go over TLS");
	if (other)
		error = other;
	if (!error) {
		if (call->reply_fds)
			h.type = RPC_REPLY_FDS;
		if (call->encoded)
			message = rpc_message_encoded(&h, call->encoded, &other);
		else
			message = rpc_message_new(&h, call->proc->ret, ret, call->reply_fds ? call->reply_fds->len : 0, &other);
		if (!message) {
			kv_log_warn("%s: %s", call->proc->name, other->message);
			error = other;
			h.type = RPC_REPLY;
		}
	}
	if (message) {
		client_send(call->client, message, g_steal_pointer(&call->reply_fds), SEND_ANSWER);
		if (call->stream)
			stream_begin(call->stream);
	} else {
		dispatch_send_error(call->client, h, error, SEND_ANSWER);
	}
}

static void call_free(struct call *call)
{
	close_fds(call->fds);
	close_fds(call->reply_fds);
	if (call->stream)
		stream_unref(call->stream);
	if (call->encoded)
		g_byte_array_unref(call->encoded);
	if (call->hv)
		hv_unref(call->hv);
	client_unref(call->client);
	g_free(call);
}

static bool run_handler(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GError) cause = NULL;

	if (call->handler->func(call, args, ret, &cause) == (cause != NULL)) {
		g_clear_error(&cause);
		rpc_fail(&cause, VIR_ERR_INTERNAL_ERROR, "%s failed without a cause", call->proc->name);
	}
	if (!cause)
		return true;
	g_propagate_error(error, g_steal_pointer(&cause));
	return false;
}

/* With the access driver's agreement before, and behind it about what has come of it. */
static bool run_asked(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GVariant) all = g_variant_ref(args);

	return access_before(call, &all, error) && run_handler(call, all, ret, error) && access_behind(call, args, ret, error);
}

GVariant *dispatch_inside(struct call *call, unsigned number, GVariant *args, GError **error)
{
	struct call inner = { .client = call->client, .hv = call->hv, .read_only = call->read_only, .serial = call->serial };
	g_autoptr(GVariant) owned = g_variant_ref_sink(args);
	GVariant *ret = NULL;

	inner.proc = rpc_proc_find(RPC_REMOTE, number);
	inner.handler = find(call->client, inner.proc);
	if (!inner.handler) {
		rpc_fail(error, VIR_ERR_NO_SUPPORT, "%s", inner.proc->name);
		return NULL;
	}
	if (!run_handler(&inner, owned, &ret, error))
		return NULL;
	if (!inner.encoded)
		return g_variant_ref_sink(ret);
	ret = xdr_decode(inner.encoded->data, inner.encoded->len, inner.proc->ret, error);
	g_byte_array_unref(inner.encoded);
	return ret;
}

void dispatch_run(struct call *call, GVariant *args)
{
	g_autoptr(GError) error = NULL;
	GVariant *ret = NULL;

	if (!call->client->failed) {
		g_autoptr(GVariant) owned = NULL;

		if (access_asks(call->client, call->proc))
			run_asked(call, args, &ret, &error);
		else
			run_handler(call, args, &ret, &error);
		owned = ret && !g_variant_is_floating(ret) ? ret : NULL;
		answer(call, ret, error);
	}
	if (call->hv)
		domains_trim(call->hv);
	g_variant_unref(args);
	call_free(call);
}

/* ---- calls ---- */

static bool may(const struct client *c, const struct rpc_proc *proc, const struct handler *h, GError **error)
{
	char name[64];

	if (!c->authenticated && (!h || !(h->flags & HANDLER_UNKNOWN)))
		return rpc_fail(error, VIR_ERR_RPC, "authentication required");
	if (!h)
		return rpc_fail(error, VIR_ERR_NO_SUPPORT, "%s", dispatch_api_name(proc->name, name));
	if (!c->hv && !(h->flags & HANDLER_UNOPENED))
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "connection not open");
	if (c->read_only && !(h->flags & HANDLER_READ_ONLY))
		return rpc_fail(error, VIR_ERR_OPERATION_DENIED, "read only access prevents %s",
				dispatch_api_name(proc->name, name));
	return true;
}

static const struct rpc_proc *proc_of(const struct rpc_header *h, GError **error)
{
	const struct rpc_proc *proc;

	if ((h->program != RPC_REMOTE && h->program != RPC_QEMU) || h->version != VERSION) {
		g_set_error(error, RPC_ERRORS, VIR_ERR_RPC, "Cannot find program %u version %u", h->program, h->version);
		return NULL;
	}
	proc = rpc_proc_find(h->program, h->number);
	if (proc && !proc->event)
		return proc;
	g_set_error(error, RPC_ERRORS, VIR_ERR_RPC, "unknown procedure: %u", h->number);
	return NULL;
}

struct apart {
	struct call *call;
	GVariant *args;
};

static gpointer apart(gpointer data)
{
	g_autofree struct apart *a = data;

	state_acquire();
	dispatch_run(a->call, a->args);
	state_release();
	return NULL;
}

/* Nobody who is not known yet takes a worker away from the others. */
static void run_apart(struct call *call, GVariant *args)
{
	struct apart a = { call, args };

	g_thread_unref(g_thread_new("kvd-auth", apart, g_memdup2(&a, sizeof(a))));
}

static void dispatch_call(struct client *c, const struct rpc_header *h, const guint8 *message, size_t len, GArray *fds)
{
	g_autoptr(GError) error = NULL;
	const struct rpc_proc *proc = proc_of(h, &error);
	const struct handler *handler = proc ? find(c, proc) : NULL;
	struct call *call;
	GVariant *args = NULL;
	char name[64];
	unsigned n_fds;

	c->n_calls++;
	if (proc && may(c, proc, handler, &error))
		args = rpc_message_body(message, len, proc->args, &n_fds, &error);
	if (args && c->read_only && !access_looks(proc, args)) {
		rpc_fail(&error, VIR_ERR_OPERATION_DENIED, "read only access prevents %s", dispatch_api_name(proc->name, name));
		g_clear_pointer(&args, g_variant_unref);
	}
	if (!args) {
		close_fds(fds);
		dispatch_send_error(c, answer_header(h), error, SEND_ANSWER);
		return;
	}
	call = g_new0(struct call, 1);
	call->client = client_ref(c);
	call->hv = c->hv ? hv_ref(c->hv) : NULL;
	call->proc = proc;
	call->handler = handler;
	call->serial = h->serial;
	call->read_only = c->read_only;
	call->fds = fds;
	if (handler->flags & HANDLER_FAST && !access_asks(c, proc))
		dispatch_run(call, args);
	else if (handler->flags & HANDLER_UNKNOWN)
		run_apart(call, args);
	else
		workers_push(call, args, handler->flags & HANDLER_READ_ONLY);
}

static void dispatch_keepalive(struct client *c, const struct rpc_header *h)
{
	struct rpc_header pong = *h;

	pong.number = RPC_KEEPALIVE_PONG;
	if (h->number == RPC_KEEPALIVE_PING)
		client_send(c, rpc_message_stream(&pong, NULL, 0), NULL, SEND_EVENT);
}

bool dispatch_message(struct client *c, const guint8 *message, size_t len, GArray *fds, GError **error)
{
	struct rpc_header h;

	if (!rpc_message_header(message, &h, error)) {
		close_fds(fds);
		return false;
	}
	if (h.type == RPC_CALL || h.type == RPC_CALL_FDS) {
		dispatch_call(c, &h, message, len, fds);
		return true;
	}
	close_fds(fds);
	if (h.program == RPC_KEEPALIVE && h.type == RPC_MESSAGE) {
		dispatch_keepalive(c, &h);
		return true;
	}
	if (h.type == RPC_STREAM || h.type == RPC_STREAM_HOLE) {
		stream_message(c, &h, message, len);
		return true;
	}
	return kv_fail(error, KV_ERROR_INVALID, "a message of type %d, which clients do not send", h.type);
}
