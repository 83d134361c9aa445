/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every procedure of the table over a read-only socket, with arguments made up from several seeds about objects that exist.
 * One that only looks may answer; every other one is refused with libvirt's words for it, or is not there at all. That is said
 * by two that do not know of each other: kvd's tables of handlers, and the permissions of schema/rpc.procs. Started by
 * kvd-looks.py with a URI and the number of procedures that must have been refused as read-only.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kv-connection.h"
#include "message.h"
#include "procs-acl.h"
#include "../unit/rpc-rig.h"

enum { SEEDS = 4 };

static GVariant *domain, *network, *pool, *volume;

static GVariant *object(void *opaque, char letter)
{
	const struct rpc_rig *rig = opaque;

	switch (letter) {
	case 'D':
		return domain;
	case 'N':
		return network;
	case 'P':
		return pool;
	case 'V':
		return volume;
	case 'u':
		return rig->seed & 1 ? g_variant_new_uint32(0) : NULL;
	case 'i':
		return rig->seed & 1 ? g_variant_new_int32(1) : NULL;
	default:
		return NULL;
	}
}

/* Do all permissions that it needs let a client look, and no more? */
static bool is_look(const struct rpc_proc *proc, GVariant *args)
{
	unsigned n;
	const struct rpc_acl *rules = rpc_acl_find(proc->program, proc->number, &n);

	for (unsigned i = 0; i < n; i++) {
		g_autoptr(GVariant) v = rules[i].arg < 0 ? NULL : g_variant_get_child_value(args, rules[i].arg);
		guint32 word = 0;

		if (v)
			g_variant_get(v, g_variant_get_type_string(v), &word);
		if ((!v || (word & rules[i].bits) == rules[i].value) && !rpc_acl_is_look(&rules[i]))
			return false;
	}
	return true;
}

/* 1: refused as read-only; 0: it answered, or has other reasons; -1: it should have been refused. */
static int try(KvConnection *conn, const struct rpc_proc *proc, unsigned seed)
{
	struct rpc_rig rig = { proc->number * SEEDS + seed, object, &rig, 2 };
	g_autofree char *name = g_strconcat(proc->program == RPC_QEMU ? "qemu:" : "", proc->name, NULL);
	g_autoptr(GError) error = NULL;
	g_autoptr(GVariant) args = g_variant_ref_sink(rpc_rig_value(&rig, proc->args));
	g_autoptr(GVariant) answer = kv_connection_call_sync(conn, name, args, NULL, &error);
	bool refused =
		error && error->code == VIR_ERR_OPERATION_DENIED && strstr(error->message, "read only access prevents vir");

	if (refused || (error && error->code == VIR_ERR_NO_SUPPORT))
		return refused;
	if (error && !kv_connection_is_alive(conn)) {
		printf("%s: the connection has ended: %s\n", name, error->message);
		return -1;
	}
	if (is_look(proc, args))
		return 0;
	printf("%s %s\n", name, error ? error->message : "has answered");
	return -1;
}

static GVariant *get(KvConnection *conn, const char *procedure, GVariant *args)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GVariant) answer = kv_connection_call_sync(conn, procedure, args, NULL, &error);

	if (answer)
		return g_variant_get_child_value(answer, 0);
	printf("%s: %s\n", procedure, error->message);
	exit(1);
}

int main(int argc, char **argv)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(KvConnection) conn = kv_connection_open_sync(argv[1], KV_CONNECTION_NONE, NULL, &error);
	unsigned asked = 0, denied = 0, bad = 0;

	if (!conn) {
		printf("%s: %s\n", argv[1], error->message);
		return 1;
	}
	domain = get(conn, "domain_lookup_by_name", g_variant_new("(s)", "test"));
	network = get(conn, "network_lookup_by_name", g_variant_new("(s)", "default"));
	pool = get(conn, "storage_pool_lookup_by_name", g_variant_new("(s)", "default-pool"));
	volume = g_variant_ref_sink(g_variant_new("(sss)", "default-pool", "v", "/default-pool/v"));
	for (unsigned i = 0; i < rpc_n_procs; i++) {
		const struct rpc_proc *proc = &rpc_procs[i];
		bool was_denied = false;

		if (proc->event || strcmp(proc->name, "connect_close") == 0)
			continue;
		asked++;
		for (unsigned seed = 0; seed < SEEDS; seed++) {
			int got = try(conn, proc, seed);

			was_denied |= got == 1;
			bad += got < 0;
			if (got < 0)
				break;
		}
		denied += was_denied;
	}
	printf("%u procedures, %u refused as read-only, %u that should have been\n", asked, denied, bad);
	return bad || denied < g_ascii_strtoull(argv[2], NULL, 10);
}
