/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See procs-acl.h. Called by servers before a call; a file of its own, so that clients have no table of it. */
#include <stddef.h>
#include <string.h>

#include "procs-acl.h"

static bool is_before(const struct rpc_acl *acl, uint32_t program, uint32_t number)
{
	return acl->program != program ? acl->program < program : acl->number < number;
}

bool rpc_acl_is_look(const struct rpc_acl *rule)
{
	return strcmp(rule->permission, "getattr") == 0 || strcmp(rule->permission, "read") == 0 ||
	       strcmp(rule->permission, "read-secure") == 0 || strncmp(rule->permission, "search-", strlen("search-")) == 0;
}

const struct rpc_acl *rpc_acl_find(uint32_t program, uint32_t number, unsigned *ret_n)
{
	unsigned low = 0, high = rpc_n_acls, n = 0;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (is_before(&rpc_acls[middle], program, number))
			low = middle + 1;
		else
			high = middle;
	}
	while (low + n < rpc_n_acls && rpc_acls[low + n].program == program && rpc_acls[low + n].number == number)
		n++;
	*ret_n = n;
	return n ? &rpc_acls[low] : NULL;
}
