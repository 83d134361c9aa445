/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looking into the table of procedures (procs.h). Called by servers and clients for each message. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "procs.h"

static int compare(const void *a, const void *b)
{
	const struct rpc_proc *x = a, *y = b;

	if (x->program != y->program)
		return x->program < y->program ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

const struct rpc_proc *rpc_proc_find(uint32_t program, uint32_t number)
{
	struct rpc_proc key = { .program = program, .number = number };

	return bsearch(&key, rpc_procs, rpc_n_procs, sizeof(*rpc_procs), compare);
}

const struct rpc_proc *rpc_proc_named(uint32_t program, const char *name)
{
	for (unsigned i = 0; i < rpc_n_procs; i++)
		if (rpc_procs[i].program == program && strcmp(rpc_procs[i].name, name) == 0)
			return &rpc_procs[i];
	return NULL;
}
