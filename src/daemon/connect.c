/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A connection's own procedures: opening, what the server is and can. */
#include <string.h>
#include <unistd.h>

#include "call.h"
#include "client.h"
#include "hv.h"
#include "polkit.h"

/* CONNECT_AUTOSTART: a user's client says that it would have started us. */
enum { CONNECT_RO = 1, CONNECT_NO_ALIASES = 2, CONNECT_AUTOSTART = 4, CONNECT_ALL = 7 };
enum { AUTH_NONE = 0, AUTH_POLKIT = 2 };
enum {
	LIB_VERSION = 9000000, /* the libvirt whose protocol and rules these are: what clients look at for what they may ask */
};

/* VIR_DRV_FEATURE_…, those that are there. */
enum {
	FEATURE_REMOTE = 5,
	FEATURE_FD_PASSING = 8,
	FEATURE_TYPED_PARAM_STRING = 9,
	FEATURE_PROGRAM_KEEPALIVE = 10,
	FEATURE_REMOTE_EVENT_CALLBACK = 14,
	FEATURE_REMOTE_CLOSE_CALLBACK = 15,
	FEATURE_NETWORK_UPDATE_HAS_CORRECT_ORDER = 16,
};

static bool auth_list(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const gint32 type = call->client->authenticated ? AUTH_NONE : AUTH_POLKIT;

	*ret = g_variant_new("(@ai)", g_variant_new_fixed_array(G_VARIANT_TYPE_INT32, &type, 1, sizeof(type)));
	return true;
}

/* May take as long as somebody types a password: one at a time of a client. */
static bool auth_polkit(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct client *c = call->client;
	bool allowed;

	if (c->authenticated || c->authenticating)
		return rpc_fail(error, VIR_ERR_AUTH_FAILED, "this connection does not wait for polkit's word");
	c->authenticating = true;
	allowed = polkit_allows(c, call->read_only ? "org.libvirt.unix.monitor" : "org.libvirt.unix.manage", NULL, true, error);
	c->authenticating = false;
	c->authenticated |= allowed;
	*ret = g_variant_new("(i)", allowed);
	return allowed;
}

static bool auth_sasl(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return rpc_fail(error, VIR_ERR_AUTH_FAILED, "this server has no SASL");
}

static bool connect_open(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const char *name;
	guint32 flags;

	g_variant_get(args, "(m&su)", &name, &flags);
	if (flags & ~CONNECT_ALL)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "unsupported flags (0x%x) in function virConnectOpenInternal",
				flags & ~CONNECT_ALL);
	if (call->client->hv)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "connection already open");
	call->client->hv = hv_open(name, error);
	if (!call->client->hv)
		return false;
	call->client->read_only |= (flags & CONNECT_RO) != 0;
	return true;
}

static bool connect_close(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	client_leave(call->client);
	return true;
}

static bool supports_feature(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	static const gint32 features[] = { FEATURE_REMOTE,
					   FEATURE_FD_PASSING,
					   FEATURE_TYPED_PARAM_STRING,
					   FEATURE_PROGRAM_KEEPALIVE,
					   FEATURE_REMOTE_EVENT_CALLBACK,
					   FEATURE_REMOTE_CLOSE_CALLBACK,
					   FEATURE_NETWORK_UPDATE_HAS_CORRECT_ORDER };
	gint32 feature;
	bool there = false;

	g_variant_get(args, "(i)", &feature);
	for (unsigned i = 0; i < G_N_ELEMENTS(features); i++)
		there |= features[i] == feature;
	/* Who asks for it answers to pings. */
	if (feature == FEATURE_PROGRAM_KEEPALIVE)
		call->client->keepalive = true;
	*ret = g_variant_new("(i)", there);
	return true;
}

static bool get_type(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	*ret = g_variant_new("(s)", call->hv->driver->type);
	return true;
}

static bool get_uri(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	*ret = g_variant_new("(s)", call->hv->uri);
	return true;
}

static bool get_version(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	*ret = g_variant_new("(t)", (guint64)call->hv->driver->version(call->hv));
	return true;
}

static bool get_lib_version(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	*ret = g_variant_new("(t)", (guint64)LIB_VERSION);
	return true;
}

static bool get_hostname(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	*ret = g_variant_new("(s)", g_get_host_name());
	return true;
}

/* A socket of Unix never leaves the machine, and all others are TLS. */
static bool is_secure(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	*ret = g_variant_new("(i)", 1);
	return true;
}

static bool close_callback(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return true; /* a connection of ours ends with its socket, and with nothing behind it */
}

static bool set_identity(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return rpc_fail(error, VIR_ERR_OPERATION_DENIED, "virConnectSetIdentity is for daemons that forward others' calls");
}

enum { UNKNOWN = HANDLER_READ_ONLY | HANDLER_UNOPENED | HANDLER_UNKNOWN };
enum { ALWAYS = HANDLER_FAST | HANDLER_READ_ONLY | HANDLER_UNOPENED, LOOK = HANDLER_FAST | HANDLER_READ_ONLY };

const struct handler connect_handlers[] = {
	{ RPC_AUTH_LIST, auth_list, UNKNOWN | HANDLER_FAST },
	{ RPC_AUTH_POLKIT, auth_polkit, UNKNOWN },
	{ RPC_AUTH_SASL_INIT, auth_sasl, UNKNOWN | HANDLER_FAST },
	{ RPC_AUTH_SASL_START, auth_sasl, UNKNOWN | HANDLER_FAST },
	{ RPC_AUTH_SASL_STEP, auth_sasl, UNKNOWN | HANDLER_FAST },
	{ RPC_CONNECT_OPEN, connect_open, HANDLER_READ_ONLY | HANDLER_UNOPENED },
	{ RPC_CONNECT_CLOSE, connect_close, ALWAYS },
	{ RPC_CONNECT_SUPPORTS_FEATURE, supports_feature, ALWAYS },
	{ RPC_CONNECT_GET_TYPE, get_type, LOOK },
	{ RPC_CONNECT_GET_URI, get_uri, LOOK },
	{ RPC_CONNECT_GET_VERSION, get_version, LOOK },
	{ RPC_CONNECT_GET_LIB_VERSION, get_lib_version, LOOK },
	{ RPC_CONNECT_GET_HOSTNAME, get_hostname, LOOK },
	{ RPC_CONNECT_IS_SECURE, is_secure, LOOK },
	{ RPC_CONNECT_REGISTER_CLOSE_CALLBACK, close_callback, LOOK },
	{ RPC_CONNECT_UNREGISTER_CLOSE_CALLBACK, close_callback, LOOK },
	{ RPC_CONNECT_SET_IDENTITY, set_identity, HANDLER_FAST },
	{ 0 },
};
