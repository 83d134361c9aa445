/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See message.h. Called by kvd's connections and by libkv's. */
#include <string.h>

#include "bytes.h"
#include "error.h"
#include "message.h"
#include "xdr.h"

uint32_t rpc_message_length(const uint8_t bytes[RPC_LENGTH], GError **error)
{
	uint32_t len = get_be32(bytes);

	if (len >= RPC_LENGTH + RPC_HEADER && len <= RPC_MESSAGE_MAX)
		return len;
	kv_fail(error, KV_ERROR_INVALID, "a message of %u bytes: none has fewer than %d or more than %d", len,
		RPC_LENGTH + RPC_HEADER, RPC_MESSAGE_MAX);
	return 0;
}

bool rpc_message_header(const uint8_t *message, struct rpc_header *ret, GError **error)
{
	const uint8_t *p = message + RPC_LENGTH;

	*ret = (struct rpc_header){ get_be32(p),	get_be32(p + 4),  get_be32(p + 8),
				    get_be32(p + 12), get_be32(p + 16), get_be32(p + 20) };
	if (ret->type < RPC_CALL || ret->type > RPC_STREAM_HOLE)
		return kv_fail(error, KV_ERROR_INVALID, "a message of type %d, which there is not", ret->type);
	if (ret->status < RPC_OK || ret->status > RPC_CONTINUE)
		return kv_fail(error, KV_ERROR_INVALID, "a message with status %d, which there is not", ret->status);
	return true;
}

static bool carries_fds(int32_t type)
{
	return type == RPC_CALL_FDS || type == RPC_REPLY_FDS;
}

static GByteArray *begin(const struct rpc_header *h)
{
	const uint32_t words[] = { 0, h->program, h->version, h->number, h->type, h->serial, h->status };
	GByteArray *out = g_byte_array_sized_new(256);

	g_byte_array_set_size(out, sizeof(words));
	for (unsigned i = 0; i < G_N_ELEMENTS(words); i++)
		put_be32(out->data + 4 * i, words[i]);
	return out;
}

static bool end(GByteArray *out, GError **error)
{
	if (out->len > RPC_MESSAGE_MAX)
		return kv_fail(error, KV_ERROR_USAGE, "a message of %u bytes is longer than any can be, %d", out->len,
			       RPC_MESSAGE_MAX);
	put_be32(out->data, out->len);
	return true;
}

GByteArray *rpc_message_encoded(const struct rpc_header *h, const GByteArray *body, GError **error)
{
	g_autoptr(GByteArray) out = begin(h);

	g_byte_array_append(out, body->data, body->len);
	return end(out, error) ? g_steal_pointer(&out) : NULL;
}

GByteArray *rpc_message_new(const struct rpc_header *h, const char *type, GVariant *body, unsigned n_fds, GError **error)
{
	g_autoptr(GVariant) sunk = body ? g_variant_ref_sink(body) : NULL;
	g_autoptr(GByteArray) out = begin(h);
	uint8_t count[4];

	put_be32(count, n_fds);
	if (carries_fds(h->type))
		g_byte_array_append(out, count, sizeof(count));
	if (sunk && !xdr_encode(out, type, sunk, error))
		return NULL;
	return end(out, error) ? g_steal_pointer(&out) : NULL;
}

GByteArray *rpc_message_stream(const struct rpc_header *h, const void *data, size_t len)
{
	GByteArray *out = begin(h);

	if (len)
		g_byte_array_append(out, data, len);
	put_be32(out->data, out->len);
	return out;
}

const uint8_t *rpc_message_data(const uint8_t *message, size_t len, size_t *ret_len)
{
	*ret_len = len - RPC_LENGTH - RPC_HEADER;
	return message + RPC_LENGTH + RPC_HEADER;
}

GVariant *rpc_message_body(const uint8_t *message, size_t len, const char *type, unsigned *ret_fds, GError **error)
{
	size_t left;
	const uint8_t *data = rpc_message_data(message, len, &left);
	struct rpc_header h;

	if (!rpc_message_header(message, &h, error))
		return NULL;
	if (ret_fds)
		*ret_fds = 0;
	if (carries_fds(h.type)) {
		if (left < 4 || get_be32(data) > RPC_FDS_MAX || !ret_fds) {
			kv_fail(error, KV_ERROR_INVALID, "a message with file descriptors where none are taken, or more than %d",
				RPC_FDS_MAX);
			return NULL;
		}
		*ret_fds = get_be32(data);
		data += 4;
		left -= 4;
	}
	return xdr_decode(data, left, type, error);
}
