/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: a message of libvirt's protocol, as either side reads it. The first byte says as what; what can be read is written
 * again, and must be the same bytes but for those that nothing depends on, so it is read once more and must be the same value.
 */
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "message.h"
#include "xdr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const char *type, GVariant *value)
{
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	g_autoptr(GVariant) back = NULL;
	g_autoptr(GByteArray) twice = g_byte_array_new();

	if (!xdr_encode(bytes, type, value, NULL))
		abort();
	back = xdr_decode(bytes->data, bytes->len, type, NULL);
	if (!back || !xdr_encode(twice, type, back, NULL))
		abort();
	/* By bytes: a double may be no number. */
	if (bytes->len != twice->len || memcmp(bytes->data, twice->data, bytes->len) != 0)
		abort();
}

static const char *type_of(const struct rpc_header *h, bool as_client)
{
	const struct rpc_proc *proc = rpc_proc_find(h->program, h->number);

	if (h->status == RPC_ERROR)
		return RPC_ERROR_TYPE;
	return !proc ? NULL : as_client && !proc->event ? proc->ret : proc->args;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(GError) error = NULL;
	g_autofree uint8_t *message = NULL;
	g_autoptr(GVariant) body = NULL;
	struct rpc_header h;
	const char *type;
	unsigned fds;
	size_t left;

	if (size < 1 + RPC_LENGTH + RPC_HEADER || size > RPC_MESSAGE_MAX)
		return 0;
	/* The length is what came; a wrong one ends a connection before anybody looks further. */
	message = g_memdup2(data + 1, size - 1);
	rpc_message_length(message, &error);
	g_clear_error(&error);
	put_be32(message, size - 1);
	if (!rpc_message_length(message, NULL))
		abort();
	rpc_message_data(message, size - 1, &left);
	if (left != size - 1 - RPC_LENGTH - RPC_HEADER)
		abort();
	if (!rpc_message_header(message, &h, &error))
		return 0;
	type = type_of(&h, data[0] & 1);
	if (!type)
		return 0;
	body = rpc_message_body(message, size - 1, type, data[0] & 2 ? &fds : NULL, &error);
	if (!body != !!error || (body && (data[0] & 2) && fds > RPC_FDS_MAX))
		abort();
	if (!body)
		return 0;
	again(type, body);
	if (h.status == RPC_ERROR)
		g_error_free(rpc_error_from_body(body));
	return 0;
}
