/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The procedures of libvirt's protocol as a table, made of schema/rpc.procs. An argument or answer is a GVariant: a tuple of
 * the types that xdr.h gives for args and ret; RPC_… numbers are in procs-enum.h.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "procs-enum.h"

enum { RPC_REMOTE = 0x20008086, RPC_QEMU = 0x20008087, RPC_KEEPALIVE = 0x6b656570 };
enum { RPC_KEEPALIVE_PING = 1, RPC_KEEPALIVE_PONG = 2 };

struct rpc_proc {
	uint32_t program, number;
	const char *name; /* domain_define_xml */
	const char *args; /* xdr.h; of an event: of its message */
	const char *ret;
	bool event; /* from the server only */
};
/* By program and number. */
extern const struct rpc_proc rpc_procs[];
extern const unsigned rpc_n_procs;

const struct rpc_proc *rpc_proc_find(uint32_t program, uint32_t number); /* NULL: none */
const struct rpc_proc *rpc_proc_named(uint32_t program, const char *name);
