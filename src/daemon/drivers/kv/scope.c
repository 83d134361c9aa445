/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Under systemd each machine is a unit of its own, machine-kv\x2dID\x2dNAME.scope: the daemon's service is started again whether
 * machines run or not, a machine's control group is ours to divide (Delegate=yes), and `systemctl status` and systemd-cgls have
 * it. Sources: org.freedesktop.systemd1(5), and systemd's documents "New Control Group Interfaces" and "Control Group APIs and
 * Delegation". Called by life.c in workers; see kv.h.
 */
#include <errno.h>
#include <gio/gio.h>
#include <string.h>
#include <unistd.h>

#include "cgroup.h"
#include "kv.h"
#include "log.h"

#define SYSTEMD "org.freedesktop.systemd1"
enum { ANSWER_MS = 10000, MOVE_MS = 5000, STEP_US = 500 };

/* systemd.exec(5): who is started as a service is told its own number. One that a service's child starts is not it. */
static bool is_service(void)
{
	const char *pid = g_getenv("SYSTEMD_EXEC_PID");

	return pid && g_ascii_strtoll(pid, NULL, 10) == getpid();
}

/* The manager at its bus, or where systemctl itself goes when there is none, as a user's often is not: then *name is NULL. */
static GDBusConnection *connect_manager(bool session, const char **ret_name, GError **error)
{
	GDBusConnection *bus = g_bus_get_sync(session ? G_BUS_TYPE_SESSION : G_BUS_TYPE_SYSTEM, NULL, error);
	g_autofree char *path = NULL, *address = NULL;

	*ret_name = bus ? SYSTEMD : NULL;
	if (bus) {
		g_dbus_connection_set_exit_on_close(bus, FALSE);
		return bus;
	}
	path = g_build_filename(session ? g_get_user_runtime_dir() : "/run", "systemd", "private", NULL);
	if (access(path, W_OK) < 0)
		return NULL;
	g_clear_error(error);
	address = g_strconcat("unix:path=", path, NULL);
	return g_dbus_connection_new_for_address_sync(address, G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT, NULL, NULL, error);
}

/* "machine-" and the name as systemd.unit(5) has it escaped. */
static char *unit_name(const char *name)
{
	GString *unit = g_string_new("machine-");

	for (const char *p = name; *p; p++)
		if (g_ascii_isalnum(*p) || strchr(":_.", *p))
			g_string_append_c(unit, *p);
		else
			g_string_append_printf(unit, "\\x%02x", (guchar)*p);
	return g_string_free(g_string_append(unit, ".scope"), FALSE);
}

/* At the host's end the machine's comes first: SIGTERM, its power button, while the daemon and what disks lie on are there. */
static GVariant *request(const char *unit, const char *domain, pid_t pid, bool session)
{
	static const char *const after[] = {"kvd.service",	   "dbus.service", "local-fs.target",
					   "remote-fs.target", "network.target"};
	g_autofree char *description = g_strconcat("Virtual machine ", domain, NULL);
	GVariantBuilder b = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(sv)"));
	guint32 pids[] = {(guint32)pid};

	g_variant_builder_add(&b, "(sv)", "Description", g_variant_new_string(description));
	g_variant_builder_add(&b, "(sv)", "Slice", g_variant_new_string("machine.slice"));
	g_variant_builder_add(&b, "(sv)", "Delegate", g_variant_new_boolean(TRUE));
	g_variant_builder_add(&b, "(sv)", "CollectMode", g_variant_new_string("inactive-or-failed"));
	g_variant_builder_add(&b, "(sv)", "After", g_variant_new_strv(after, session ? 1 : G_N_ELEMENTS(after)));
	g_variant_builder_add(&b, "(sv)", "PIDs", g_variant_new_fixed_array(G_VARIANT_TYPE_UINT32, pids, 1, sizeof(*pids)));
	return g_variant_new("(ssa(sv)a(sa(sv)))", unit, "fail", &b, NULL);
}

/* The answer comes before the process is there. */
static bool wait_moved(pid_t pid, const char *unit, GError **error)
{
	for (unsigned i = 0; i < MOVE_MS * 1000 / STEP_US; i++) {
		g_autofree char *group = cgroup_scope("", pid), *name = group ? g_path_get_basename(group) : NULL;

		if (name && !strcmp(name, unit))
			return true;
		g_usleep(STEP_US);
	}
	return kv_fail(error, KV_ERROR_SYSTEM, "systemd does not move process %d to %s", (int)pid, unit);
}

static bool ask(const char *unit, GVariant *message, pid_t pid, bool session, GError **error)
{
	g_autoptr(GVariant) owned = g_variant_ref_sink(message), answer = NULL;
	const char *at = NULL;
	g_autoptr(GDBusConnection) manager = connect_manager(session, &at, error);

	if (manager)
		answer = g_dbus_connection_call_sync(manager, at, "/org/freedesktop/systemd1", SYSTEMD ".Manager",
						     "StartTransientUnit", owned, G_VARIANT_TYPE("(o)"),
						     G_DBUS_CALL_FLAGS_NONE, ANSWER_MS, NULL, error);
	return answer && wait_moved(pid, unit, error);
}

void kv_scope_start(const struct kv_machine *m)
{
	bool session = m->d->hv->session, ok;
	g_autofree char *run = g_path_get_basename(m->run), *name = g_strconcat("kv-", run, NULL), *unit = unit_name(name);
	g_autofree char *domain = g_strdup(m->d->name);
	g_autoptr(GError) error = NULL;
	pid_t pid = m->pid;

	if (!is_service())
		return;
	state_release();
	ok = ask(unit, request(unit, domain, pid, session), pid, session, &error);
	state_acquire();
	if (!ok)
		kv_log_warn("domain '%s' stays in the daemon's own control group: %s", domain, error->message);
}
