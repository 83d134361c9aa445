/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who is asked before a procedure, as a table made of schema/rpc.procs; libvirt's docs/acl. Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct rpc_acl {
	uint32_t program, number;
	const char *object, *permission; /* "domain", "block-write": the action org.libvirt.api.domain.block-write */
	bool filter;			 /* of each element of the answer, and of each event */
	/* Asked when the argument of that number, a word, is value in these bits; -1: always. */
	int8_t arg;
	uint32_t bits, value;
};
/* By program and number: those of one procedure are neighbours. */
extern const struct rpc_acl rpc_acls[];
extern const unsigned rpc_n_acls;

/* Does the permission of a rule change nothing: is it for those, too, who only look? */
bool rpc_acl_is_look(const struct rpc_acl *rule);
/* The rows of one procedure; NULL and 0: nobody is asked. */
const struct rpc_acl *rpc_acl_find(uint32_t program, uint32_t number, unsigned *ret_n);
