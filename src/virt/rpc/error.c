/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Errors on the wire (message.h): codes, the sentences that libvirt's clients print, and the structure that carries them. */
#include <string.h>

#include "error.h"
#include "message.h"

enum { LEVEL_ERROR = 2 };

G_DEFINE_QUARK(kv-rpc-error, rpc_errors)

/* The wording of libvirt 9.0, which scripts look for: without a detail, and with one. */
static const struct {
	enum rpc_code code;
	const char *alone, *with;
} texts[] = {
	{ VIR_ERR_INTERNAL_ERROR, "internal error", "internal error: %s" },
	{ VIR_ERR_NO_MEMORY, "out of memory", "out of memory: %s" },
	{ VIR_ERR_NO_SUPPORT, "this function is not supported by the connection driver",
	  "this function is not supported by the connection driver: %s" },
	{ VIR_ERR_NO_CONNECT, "no connection driver available", "no connection driver available for %s" },
	{ VIR_ERR_INVALID_CONN, "invalid connection pointer in", "invalid connection pointer in %s" },
	{ VIR_ERR_INVALID_DOMAIN, "invalid domain pointer in", "invalid domain pointer in %s" },
	{ VIR_ERR_INVALID_ARG, "invalid argument", "invalid argument: %s" },
	{ VIR_ERR_OPERATION_FAILED, "operation failed", "operation failed: %s" },
	{ VIR_ERR_OS_TYPE, "unknown OS type", "unknown OS type %s" },
	{ VIR_ERR_DOM_EXIST, "this domain exists already", "domain %s exists already" },
	{ VIR_ERR_OPERATION_DENIED, "operation forbidden", "operation forbidden: %s" },
	{ VIR_ERR_XML_ERROR, "XML description is invalid or not well formed", "XML error: %s" },
	{ VIR_ERR_XML_DETAIL, "XML description is invalid or not well formed", "%s" },
	{ VIR_ERR_SYSTEM_ERROR, "system call error", "%s" },
	{ VIR_ERR_RPC, "RPC error", "%s" },
	{ VIR_ERR_NO_DOMAIN, "Domain not found", "Domain not found: %s" },
	{ VIR_ERR_NO_NETWORK, "Network not found", "Network not found: %s" },
	{ VIR_ERR_AUTH_FAILED, "authentication failed", "authentication failed: %s" },
	{ VIR_ERR_NO_STORAGE_POOL, "Storage pool not found", "Storage pool not found: %s" },
	{ VIR_ERR_NO_STORAGE_VOL, "Storage volume not found", "Storage volume not found: %s" },
	{ VIR_ERR_NO_NODE_DEVICE, "Node device not found", "Node device not found: %s" },
	{ VIR_ERR_OPERATION_INVALID, "Requested operation is not valid", "Requested operation is not valid: %s" },
	{ VIR_ERR_NO_INTERFACE, "Interface not found", "Interface not found: %s" },
	{ VIR_ERR_MULTIPLE_INTERFACES, "multiple matching interfaces found", "multiple matching interfaces found: %s" },
	{ VIR_ERR_NO_NWFILTER, "Network filter not found", "Network filter not found: %s" },
	{ VIR_ERR_INVALID_SECRET, "Invalid secret", "Invalid secret: %s" },
	{ VIR_ERR_NO_SECRET, "Secret not found", "Secret not found: %s" },
	{ VIR_ERR_CONFIG_UNSUPPORTED, "unsupported configuration", "unsupported configuration: %s" },
	{ VIR_ERR_OPERATION_TIMEOUT, "Timed out during operation", "Timed out during operation: %s" },
	{ VIR_ERR_NO_DOMAIN_SNAPSHOT, "Domain snapshot not found", "Domain snapshot not found: %s" },
	{ VIR_ERR_INVALID_STREAM, "stream was not properly opened", "invalid stream pointer in %s" },
	{ VIR_ERR_ARGUMENT_UNSUPPORTED, "argument unsupported", "argument unsupported: %s" },
	{ VIR_ERR_SNAPSHOT_REVERT_RISKY, "revert requires force", "revert requires force: %s" },
	{ VIR_ERR_OPERATION_ABORTED, "operation aborted", "operation aborted: %s" },
	{ VIR_ERR_AUTH_CANCELLED, "authentication cancelled", "authentication cancelled: %s" },
	{ VIR_ERR_NO_DOMAIN_METADATA, "metadata not found", "metadata not found: %s" },
	{ VIR_ERR_OPERATION_UNSUPPORTED, "Operation not supported", "Operation not supported: %s" },
	{ VIR_ERR_BLOCK_COPY_ACTIVE, "block copy still active", "block copy still active: %s" },
	{ VIR_ERR_AGENT_UNRESPONSIVE, "Guest agent is not responding", "Guest agent is not responding: %s" },
	{ VIR_ERR_RESOURCE_BUSY, "resource busy", "resource busy: %s" },
	{ VIR_ERR_ACCESS_DENIED, "access denied", "access denied: %s" },
	{ VIR_ERR_STORAGE_VOL_EXIST, "this storage volume exists already", "storage volume %s exists already" },
	{ VIR_ERR_XML_INVALID_SCHEMA, "XML document failed to validate against schema",
	  "XML document failed to validate against schema: %s" },
	{ VIR_ERR_AUTH_UNAVAILABLE, "authentication unavailable", "authentication unavailable: %s" },
	{ VIR_ERR_DEVICE_MISSING, "device not found", "device not found: %s" },
	{ VIR_ERR_NO_DOMAIN_CHECKPOINT, "Domain checkpoint not found", "Domain checkpoint not found: %s" },
	{ VIR_ERR_NO_HOSTNAME, "no hostname found", "no hostname found: %s" },
	{ VIR_ERR_CHECKPOINT_INCONSISTENT, "checkpoint inconsistent", "checkpoint inconsistent: %s" },
	{ VIR_ERR_MULTIPLE_DOMAINS, "multiple matching domains found", "multiple matching domains found: %s" },
};

char *rpc_error_text(enum rpc_code code, const char *detail)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
		const char *hole;

		if (texts[i].code != code)
			continue;
		if (!detail)
			return g_strdup(texts[i].alone);
		hole = strstr(texts[i].with, "%s");
		return g_strdup_printf("%.*s%s%s", (int)(hole - texts[i].with), texts[i].with, detail, hole + 2);
	}
	return g_strdup(detail ? detail : "unknown error");
}

bool rpc_fail(GError **error, enum rpc_code code, const char *format, ...)
{
	g_autofree char *detail = NULL, *text = NULL;
	va_list args;

	va_start(args, format);
	detail = g_strdup_vprintf(format, args);
	va_end(args);
	text = rpc_error_text(code, detail);
	g_set_error_literal(error, RPC_ERRORS, code, text);
	return false;
}

static enum rpc_code code_of(const GError *error)
{
	static const enum rpc_code codes[] = {
		[KV_ERROR_USAGE] = VIR_ERR_INVALID_ARG,	  [KV_ERROR_SYSTEM] = VIR_ERR_SYSTEM_ERROR,
		[KV_ERROR_BUSY] = VIR_ERR_RESOURCE_BUSY,  [KV_ERROR_INVALID] = VIR_ERR_RPC,
		[KV_ERROR_UNSUPPORTED] = VIR_ERR_CONFIG_UNSUPPORTED,
	};

	if (error->domain == RPC_ERRORS)
		return error->code;
	if (error->domain == KV_ERROR && error->code < (int)G_N_ELEMENTS(codes))
		return codes[error->code];
	return error->domain == G_IO_ERROR ? VIR_ERR_SYSTEM_ERROR : VIR_ERR_INTERNAL_ERROR;
}

/* Clients take a code of filters from another subsystem for that of secrets in an old libvirt's numbering. */
static int subsystem_of(enum rpc_code code)
{
	switch (code) {
	case VIR_ERR_NO_NODE_DEVICE:
		return VIR_FROM_NODEDEV;
	case VIR_ERR_NO_INTERFACE:
	case VIR_ERR_MULTIPLE_INTERFACES:
		return VIR_FROM_INTERFACE;
	case VIR_ERR_INVALID_SECRET:
	case VIR_ERR_NO_SECRET:
		return VIR_FROM_SECRET;
	case VIR_ERR_NO_NWFILTER:
		return VIR_FROM_NWFILTER;
	default:
		return VIR_FROM_QEMU;
	}
}

static GVariant *none(const char *type)
{
	return g_variant_new_maybe(G_VARIANT_TYPE(type), NULL);
}

GVariant *rpc_error_body(const GError *error)
{
	enum rpc_code code = code_of(error);
	g_autofree char *text = error->domain == RPC_ERRORS ? g_strdup(error->message) : rpc_error_text(code, error->message);
	const char *valid = g_utf8_validate(text, -1, NULL) ? text : "an error whose text is not UTF-8";
	return g_variant_new("(iimsi@m(sayi)@msms@msii@m(say))", code, subsystem_of(code), valid, LEVEL_ERROR, none("(sayi)"),
			     none("s"), valid, none("s"), -1, -1, none("(say)"));
}

GError *rpc_error_from_body(GVariant *body)
{
	const char *text;
	gint32 code;

	g_variant_get(body, "(iim&si@m(sayi)@ms@ms@msii@m(say))", &code, NULL, &text, NULL, NULL, NULL, NULL,
		      NULL, NULL, NULL, NULL);
	return g_error_new(RPC_ERRORS, code, "%s", text ? text : "unknown error");
}
