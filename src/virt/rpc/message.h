/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages of libvirt's protocol: a length of 4 bytes that counts itself, six words of header, the body; all big-endian. Pure:
 * bytes in, values out, no sockets; any thread. Sources: libvirt's docs/internals/rpc, the wire.
 */
#pragma once
#include <gio/gio.h>
#include <stdbool.h>
#include <stdint.h>

#include "procs.h"

enum {
	RPC_LENGTH = 4,
	RPC_HEADER = 24,
	RPC_MESSAGE_MAX = 33554432, /* with length and header */
	RPC_FDS_MAX = 32,
	RPC_STREAM_CHUNK = 262120, /* what libvirt puts into one packet of a stream */
};

enum rpc_type { RPC_CALL, RPC_REPLY, RPC_MESSAGE, RPC_STREAM, RPC_CALL_FDS, RPC_REPLY_FDS, RPC_STREAM_HOLE };
enum rpc_status { RPC_OK, RPC_ERROR, RPC_CONTINUE };

struct rpc_header {
	uint32_t program, version, number;
	int32_t type;	/* enum rpc_type */
	uint32_t serial;
	int32_t status; /* enum rpc_status */
};

/* Of all, with itself, from its first four bytes; 0 and an error when no message is that long or short. */
uint32_t rpc_message_length(const uint8_t bytes[RPC_LENGTH], GError **error);
/* message: all of it. false: type or status are none. */
bool rpc_message_header(const uint8_t *message, struct rpc_header *ret, GError **error);

/*
 * A whole message, to be sent as it is. body: of type (xdr.h), sunk if floating; NULL: none. n_fds: for the two types that carry
 * them, how many descriptors follow. NULL on error: too long, or not of that type.
 */
GByteArray *rpc_message_new(const struct rpc_header *h, const char *type, GVariant *body, unsigned n_fds, GError **error);
/* body: as xdr_encode() would have it. */
GByteArray *rpc_message_encoded(const struct rpc_header *h, const GByteArray *body, GError **error);
/* A packet of a stream: data as it is, and none with RPC_CONTINUE for its end. */
GByteArray *rpc_message_stream(const struct rpc_header *h, const void *data, size_t len);
/* The body of a whole message, as type says. ret_fds may be NULL for types that carry none. */
GVariant *rpc_message_body(const uint8_t *message, size_t len, const char *type, unsigned *ret_fds, GError **error);
/* Where the body's bytes are (streams). */
const uint8_t *rpc_message_data(const uint8_t *message, size_t len, size_t *ret_len);

/* An error as libvirt's clients know it; GError in the domain RPC_ERRORS has a code of enum rpc_code. */
#define RPC_ERRORS rpc_errors_quark()
GQuark rpc_errors_quark(void);
/* Those that clients look at by number, and those that we say; libvirt's virterror.h has them all. */
enum rpc_code {
	VIR_ERR_OK = 0,
	VIR_ERR_INTERNAL_ERROR = 1,
	VIR_ERR_NO_MEMORY = 2,
	VIR_ERR_NO_SUPPORT = 3,
	VIR_ERR_UNKNOWN_HOST = 4,
	VIR_ERR_NO_CONNECT = 5,
	VIR_ERR_INVALID_CONN = 6,
	VIR_ERR_INVALID_DOMAIN = 7,
	VIR_ERR_INVALID_ARG = 8,
	VIR_ERR_OPERATION_FAILED = 9,
	VIR_ERR_OS_TYPE = 16,
	VIR_ERR_XML_ERROR = 27,
	VIR_ERR_DOM_EXIST = 28,
	VIR_ERR_OPERATION_DENIED = 29,
	VIR_ERR_XML_DETAIL = 35,
	VIR_ERR_SYSTEM_ERROR = 38,
	VIR_ERR_RPC = 39,
	VIR_ERR_NO_DOMAIN = 42,
	VIR_ERR_NO_NETWORK = 43,
	VIR_ERR_INVALID_MAC = 44,
	VIR_ERR_AUTH_FAILED = 45,
	VIR_ERR_INVALID_STORAGE_POOL = 46,
	VIR_ERR_INVALID_STORAGE_VOL = 47,
	VIR_ERR_NO_STORAGE_POOL = 49,
	VIR_ERR_NO_STORAGE_VOL = 50,
	VIR_ERR_NO_NODE_DEVICE = 53,
	VIR_ERR_OPERATION_INVALID = 55,
	VIR_ERR_NO_INTERFACE = 57,
	VIR_ERR_MULTIPLE_INTERFACES = 59,
	VIR_ERR_NO_NWFILTER = 62,
	VIR_ERR_INVALID_SECRET = 65,
	VIR_ERR_NO_SECRET = 66,
	VIR_ERR_CONFIG_UNSUPPORTED = 67,
	VIR_ERR_OPERATION_TIMEOUT = 68,
	VIR_ERR_NO_DOMAIN_SNAPSHOT = 72,
	VIR_ERR_INVALID_STREAM = 73,
	VIR_ERR_ARGUMENT_UNSUPPORTED = 74,
	VIR_ERR_SNAPSHOT_REVERT_RISKY = 77,
	VIR_ERR_OPERATION_ABORTED = 78,
	VIR_ERR_AUTH_CANCELLED = 79,
	VIR_ERR_NO_DOMAIN_METADATA = 80,
	VIR_ERR_BLOCK_COPY_ACTIVE = 83,
	VIR_ERR_OPERATION_UNSUPPORTED = 84,
	VIR_ERR_RESOURCE_BUSY = 87,
	VIR_ERR_ACCESS_DENIED = 88,
	VIR_ERR_STORAGE_VOL_EXIST = 90,
	VIR_ERR_AGENT_UNRESPONSIVE = 86,
	VIR_ERR_DEVICE_MISSING = 99,
	VIR_ERR_XML_INVALID_SCHEMA = 92,
	VIR_ERR_AUTH_UNAVAILABLE = 94,
	VIR_ERR_NO_DOMAIN_CHECKPOINT = 103,
	VIR_ERR_NO_HOSTNAME = 108,
	VIR_ERR_CHECKPOINT_INCONSISTENT = 109,
	VIR_ERR_MULTIPLE_DOMAINS = 110,
};
/* What a domain of an error is (enum virErrorDomain): shown by some clients as a prefix only. */
enum { VIR_FROM_NODEDEV = 22, VIR_FROM_INTERFACE = 26, VIR_FROM_SECRET = 30, VIR_FROM_NWFILTER = 33 };
enum { VIR_FROM_QEMU = 10, VIR_FROM_DOMAIN = 20, VIR_FROM_RPC = 7, VIR_FROM_REMOTE = 13, VIR_FROM_TEST = 12 };

/* libvirt's sentence for a code around its detail, "Domain not found: …"; what stock clients print. Static format's result. */
char *rpc_error_text(enum rpc_code code, const char *detail);
/* Sets an error that goes to a client as it is: `return rpc_fail(error, VIR_ERR_NO_DOMAIN, "...")`. Always false. */
bool rpc_fail(GError **error, enum rpc_code code, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* The body of an answer with RPC_ERROR, of type RPC_ERROR_TYPE. Errors of other domains become a code that fits. */
#define RPC_ERROR_TYPE "(ii?si?D?s?s?sii?N)"
GVariant *rpc_error_body(const GError *error);
GError *rpc_error_from_body(GVariant *body);
