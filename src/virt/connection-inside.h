/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What libkv's objects know of a connection beyond its public header. */
#pragma once
#include "client.h"
#include "kv-connection.h"

/* The procedure, and who calls it; NULL on error. */
struct rpc_client *kv_connection_client(KvConnection *self, const char *procedure, const struct rpc_proc **ret_proc,
					GError **error);
