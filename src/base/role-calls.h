/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rows that say which system calls a thread of some role makes. What is in no row ends the process. The rows become a
 * seccomp filter when Kvasir is built (src/vmm/gen-filters.c); a name that the kernel does not know ends the build.
 */
#pragma once

#include <stdint.h>

enum role_call_kind {
	ROLE_CALL_END,
	ROLE_CALL_ALLOW,  /* with any arguments */
	ROLE_CALL_IF,	  /* when (args[arg] & mask) == value; several rows of a call: when one of them fits */
	ROLE_CALL_REFUSE, /* is not done, and answers err: for what libraries do by the way, and can do without */
	ROLE_CALL_USE,	  /* all rows of another table */
};

struct role_call {
	const char *name;
	enum role_call_kind kind;
	unsigned arg;
	int err;
	uint64_t mask, value;
	const struct role_call *use;
};

/* In the place of a value: the process's own id, which is put in when the filter is taken. */
#define ROLE_OWN_PID 0x5e1f91d0u

#define CALL(call) { .name = #call, .kind = ROLE_CALL_ALLOW }
#define CALL_IF(call, n, bits, wanted) { .name = #call, .kind = ROLE_CALL_IF, .arg = (n), .mask = (bits), .value = (wanted) }
#define CALL_IS(call, n, wanted) CALL_IF(call, n, UINT32_MAX, wanted)
#define REFUSE(call, error) { .name = #call, .kind = ROLE_CALL_REFUSE, .err = (error) }
#define USE(table) { .name = #table, .kind = ROLE_CALL_USE, .use = (table) }
#define CALLS_END { .kind = ROLE_CALL_END }
