/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Are the facts of schema/rpc.procs those of a stock libvirtd? Calls every procedure that a client can, each on a connection of
 * its own, with made-up arguments about objects that exist: the server says so when it cannot read them, and we when we cannot
 * read its answer. Started by kvsh.py (name rpc) with a URI of the test driver. One argument more: how many procedures must have
 * answered.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kv-connection.h"
#include "message.h"
#include "../unit/rpc-rig.h"

struct objects {
	GVariant *domain, *network, *pool;
};

static GVariant *object(void *opaque, char letter)
{
	struct objects *o = opaque;

	switch (letter) {
	case 'D':
		return o->domain;
	case 'N':
		return o->network;
	case 'P':
		return o->pool;
	case 'u': /* flags, mostly: none are always allowed */
		return g_variant_new_uint32(0);
	case 'i': /* counts, so that lists come */
		return g_variant_new_int32(1);
	default:
		return NULL;
	}
}

static GVariant *lookup(KvConnection *conn, const char *procedure, const char *name)
{
	g_autoptr(GVariant) answer = kv_connection_call_sync(conn, procedure, g_variant_new("(s)", name), NULL, NULL);

	if (answer)
		return g_variant_get_child_value(answer, 0);
	printf("%s does not know %s\n", procedure, name);
	exit(1);
}

/* Not asked: what would end the connection or go on for ever, or is a part of opening it. */
static bool is_left_out(const char *name)
{
	static const char *const names[] = { "connect_open", "connect_close", "auth_", "node_suspend", "domain_migrate" };

	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		if (g_str_has_prefix(name, names[i]))
			return true;
	return false;
}

struct call {
	GCancellable *cancellable;
	GVariant *answer;
	GError *error;
	bool done;
};

static void have_answer(GObject *conn, GAsyncResult *result, gpointer data)
{
	struct call *call = data;

	call->answer = kv_connection_call_finish(KV_CONNECTION(conn), result, &call->error);
	call->done = true;
}

static gboolean give_up(gpointer data)
{
	struct call *call = data;

	g_cancellable_cancel(call->cancellable);
	return G_SOURCE_CONTINUE;
}

/* With a limit: the server's test driver hangs now and then, at a managed save for one. */
static GVariant *call_for_10_seconds(KvConnection *conn, const char *name, GVariant *args, GError **error)
{
	g_autoptr(GCancellable) cancellable = g_cancellable_new();
	struct call call = { cancellable };
	guint timer = g_timeout_add_seconds(10, give_up, &call);

	kv_connection_call(conn, name, args, cancellable, have_answer, &call);
	while (!call.done)
		g_main_context_iteration(NULL, TRUE);
	g_source_remove(timer);
	if (call.error)
		g_propagate_error(error, call.error);
	return call.answer;
}

/* 1: it answered; 0: it refused, or is silent; -1: one did not understand the other. */
static int try(KvConnection *conn, struct objects *o, const struct rpc_proc *proc, unsigned seed)
{
	struct rpc_rig rig = { seed, object, o, 2 };
	g_autofree char *name = g_strconcat(proc->program == RPC_QEMU ? "qemu:" : "", proc->name, NULL);
	g_autoptr(GError) error = NULL;
	g_autoptr(GVariant) answer = call_for_10_seconds(conn, name, rpc_rig_value(&rig, proc->args), &error);

	if (answer)
		return 1;
	if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
		printf("%u %s: no answer in 10 seconds\n", proc->number, name);
		return 0;
	}
	if (error->domain == KV_VIRT_ERROR && error->code != VIR_ERR_RPC && kv_connection_is_alive(conn))
		return 0;
	printf("%u %s %s -> %s: %s\n", proc->number, name, proc->args, proc->ret, error->message);
	return -1;
}

int main(int argc, char **argv)
{
	unsigned asked = 0, answered = 0, bad = 0;
	g_autoptr(GError) error = NULL;

	for (unsigned i = 0; i < rpc_n_procs; i++) {
		const struct rpc_proc *proc = &rpc_procs[i];
		g_autoptr(KvConnection) conn = NULL;
		struct objects o;
		int got;

		/* Of servers that are newer than this one. */
		if (proc->event || is_left_out(proc->name) || (proc->program == RPC_REMOTE && proc->number > 443))
			continue;
		conn = kv_connection_open_sync(argv[1], KV_CONNECTION_NONE, NULL, &error);
		if (!conn) {
			printf("%s: %s\n", argv[1], error->message);
			return 1;
		}
		o = (struct objects){ lookup(conn, "domain_lookup_by_name", "test"),
				      lookup(conn, "network_lookup_by_name", "default"),
				      lookup(conn, "storage_pool_lookup_by_name", "default-pool") };
		got = try(conn, &o, proc, i);
		asked++;
		answered += got == 1;
		bad += got < 0;
		g_variant_unref(o.domain);
		g_variant_unref(o.network);
		g_variant_unref(o.pool);
	}
	printf("%u procedures asked, %u answered, %u misunderstood\n", asked, answered, bad);
	return bad || answered < g_ascii_strtoull(argv[2], NULL, 10);
}
