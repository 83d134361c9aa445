/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See polkit.h. A client is its process: number, when it was started, and whose it is. Called by connect.c and access.c. */
#include "polkit.h"

#include "call.h"

enum { ALLOW_USER_INTERACTION = 1, ANSWER_MS = 30000 };

static GVariant *question(const struct client *c, const char *action, GVariant *details, bool ask)
{
	GVariantBuilder subject = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE_VARDICT);

	g_variant_builder_add(&subject, "{sv}", "pid", g_variant_new_uint32(c->peer.pid));
	g_variant_builder_add(&subject, "{sv}", "start-time", g_variant_new_uint64(c->peer_started));
	g_variant_builder_add(&subject, "{sv}", "uid", g_variant_new_int32(c->peer.uid));
	return g_variant_new("((sa{sv})s@a{ss}us)", "unix-process", &subject, action,
			     details ? details : g_variant_new_array(G_VARIANT_TYPE("{ss}"), NULL, 0),
			     ask ? ALLOW_USER_INTERACTION : 0, "");
}

static GVariant *send_question(GVariant *message, bool ask, GError **error)
{
	g_autoptr(GVariant) owned = g_variant_ref_sink(message);
	g_autoptr(GDBusConnection) bus = g_bus_get_sync(G_BUS_TYPE_SYSTEM, NULL, error);

	if (!bus)
		return NULL;
	g_dbus_connection_set_exit_on_close(bus, FALSE);
	return g_dbus_connection_call_sync(bus, "org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority",
					   "org.freedesktop.PolicyKit1.Authority", "CheckAuthorization", owned,
					   G_VARIANT_TYPE("((bba{ss}))"), G_DBUS_CALL_FLAGS_NONE, ask ? G_MAXINT : ANSWER_MS,
					   NULL, error);
}

static bool understand(GVariant *answer, const char *action, GError **error)
{
	g_autoptr(GVariant) details = NULL;
	gboolean yes, challenge;
	const char *dismissed = NULL;

	g_variant_get(answer, "((bb@a{ss}))", &yes, &challenge, &details);
	if (yes)
		return true;
	if (g_variant_lookup(details, "polkit.dismissed", "&s", &dismissed) && g_str_equal(dismissed, "true"))
		return rpc_fail(error, VIR_ERR_AUTH_CANCELLED, "user cancelled authentication process");
	if (challenge)
		return rpc_fail(error, VIR_ERR_AUTH_UNAVAILABLE, "no polkit agent available to authenticate action '%s'", action);
	return rpc_fail(error, VIR_ERR_AUTH_FAILED, "access denied by policy");
}

bool polkit_allows(const struct client *c, const char *action, GVariant *details, bool ask, GError **error)
{
	g_autoptr(GVariant) message = g_variant_ref_sink(question(c, action, details, ask)), answer = NULL;
	g_autoptr(GError) cause = NULL;

	if (c->peer.pid <= 0 || !c->peer_started)
		return rpc_fail(error, VIR_ERR_AUTH_FAILED, "polkit knows processes of this host, and this client is none");
	state_release();
	answer = send_question(message, ask, &cause);
	state_acquire();
	if (answer)
		return understand(answer, action, error);
	g_dbus_error_strip_remote_error(cause);
	return rpc_fail(error, VIR_ERR_AUTH_FAILED, "polkit cannot be asked: %s", cause->message);
}
