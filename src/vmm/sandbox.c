/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The order in which kv-vmm gives things up, and what a machine still needs by its command line. Namespaces first, since they
 * need privileges of their own; then files, users, capabilities; the filter of system calls last, since it forbids all the
 * others. See sandbox.h.
 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "core.h"
#include "error.h"
#include "log.h"
#include "role.h"
#include "vmm.h"

static GVariant *keys_of(GVariant *options)
{
	return options_lookup_value(options, "sandbox");
}

static bool is_on(GVariant *keys)
{
	const char *mode = "on";

	if (keys)
		g_variant_lookup(keys, "mode", "&s", &mode);
	return !strcmp(mode, "on");
}

static bool has(GVariant *keys, const char *name)
{
	gboolean on = FALSE;

	return keys && g_variant_lookup(keys, name, "b", &on) && on;
}

static void look_at_nets(struct sandbox *s, GVariant *options)
{
	g_autoptr(GStrvBuilder) folders = g_strv_builder_new();
	g_autoptr(GVariantIter) iter = NULL;
	GVariant *keys;

	options_lookup(options, "net", "aa{sv}", &iter);
	while (iter && (keys = g_variant_iter_next_value(iter))) {
		g_autofree char *folder = NULL;
		const char *text;

		s->network |= g_variant_lookup(keys, "kind", "&s", &text) && !strcmp(text, "user");
		if (g_variant_lookup(keys, "tftp", "&s", &text) && (folder = realpath(text, NULL)))
			g_strv_builder_add(folders, folder);
		g_variant_unref(keys);
	}
	s->folders = g_strv_builder_end(folders);
}

/* The guest names ports, and each is a socket of the host. The device has more than one name. */
static bool has_vsock(GVariant *options)
{
	g_autoptr(GVariantIter) iter = NULL;
	const char *name;
	bool found = false;

	if (!options_lookup(options, "device", "a(sa{ss})", &iter))
		return false;
	while (g_variant_iter_next(iter, "(&sa{ss})", &name, NULL))
		found |= machine_takes(name, "cid");
	return found;
}

static void add_socket(GPtrArray *files, GVariant *keys, const char *key)
{
	const char *place;

	if (g_variant_lookup(keys, key, "&s", &place) && g_str_has_prefix(place, "unix:"))
		g_ptr_array_add(files, (char *)place + strlen("unix:"));
}

/* The files of sockets that consoles and channels listen on, which are removed at the end. */
static const char **socket_files(GVariant *options)
{
	static const char *const consoles[] = { "console", "console2", "virtio-console" };
	g_autoptr(GPtrArray) files = g_ptr_array_new();
	g_autoptr(GVariantIter) iter = NULL, vnc = NULL;
	GVariant *keys;

	for (unsigned i = 0; i < G_N_ELEMENTS(consoles); i++)
		add_socket(files, options, consoles[i]);
	if (options_lookup(options, "channel", "aa{sv}", &iter))
		while ((keys = g_variant_iter_next_value(iter))) {
			add_socket(files, keys, "to");
			g_variant_unref(keys);
		}
	if (options_lookup(options, "vnc", "aa{sv}", &vnc))
		while ((keys = g_variant_iter_next_value(vnc))) {
			add_socket(files, keys, "listen");
			g_variant_unref(keys);
		}
	g_ptr_array_add(files, NULL);
	return (const char **)g_ptr_array_steal(files, NULL);
}

void sandbox_left_out(struct sandbox *s, const char *what, int err)
{
	g_string_append_printf(s->left_out, "%s%s", s->left_out->len ? "; " : "", what);
	if (err)
		g_string_append_printf(s->left_out, " (%s)", g_strerror(err));
}

/* As the software KVM's threads start: a function of its own, as libkvcore knows no roles. */
static void engine_thread(void)
{
	kv_role_enter("engine");
}

bool sandbox_is_wanted(GVariant *options)
{
	g_autoptr(GVariant) keys = keys_of(options);

	return is_on(keys);
}

bool sandbox_wants_processes(GVariant *options, bool *ret_strict)
{
	g_autoptr(GVariant) keys = keys_of(options);

	*ret_strict = has(keys, "strict");
	return is_on(keys) && has(keys, "pid");
}

/* By a QMP client, in a saved machine, or by a guest's port. */
static bool names_come_later(GVariant *options)
{
	g_autoptr(GVariant) qmp = options_lookup_value(options, "qmp"), incoming = options_lookup_value(options, "incoming");

	return qmp || incoming || has_vsock(options);
}

void sandbox_prepare(GVariant *options)
{
	static struct sandbox s; /* of a thread, until sandbox_enter() */

	if (!sandbox_is_wanted(options))
		return;
	kvcore_hold_threads(engine_thread);
	if (names_come_later(options))
		return;
	s.left_out = g_string_new(NULL);
	look_at_nets(&s, options);
	sandbox_make_spaces(&s);
}

static bool give_up(struct sandbox *s, GError **error)
{
	if (!sandbox_find_user(s, error))
		return false;
	s->proc = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	s->landlock = -1;
	sandbox_landlock_rules(s);
	sandbox_unshare(s);
#ifdef SANDBOX_SANITIZED
	sandbox_left_out(s, "empty file system, user, system calls (a build with sanitizers)", 0);
#else
	if (!s->names)
		sandbox_close_root(s);
	if (!sandbox_change_user(s, error))
		return false;
#endif
	sandbox_drop_capabilities(s);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		sandbox_left_out(s, "no_new_privs", errno);
	sandbox_landlock(s);
	if (s->proc >= 0)
		close(s->proc);
	sandbox_end_with_waiter();
#ifndef SANDBOX_SANITIZED
	sandbox_seccomp(s);
#endif
	return true;
}

static bool finish(struct sandbox *s, GError **error)
{
	if (!s->left_out->len)
		return true;
	if (s->strict)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "--sandbox strict=on: this kernel or container does not give: %s",
			       s->left_out->str);
	kv_log_debug("sandbox: left out: %s", s->left_out->str);
	return true;
}

static bool enter(const struct vmm *vmm, GVariant *keys, GError **error)
{
	g_autofree const char **sockets = socket_files(vmm->options);
	g_autofree const char **files = NULL;
	g_auto(GStrv) folders = NULL;
	g_autoptr(GString) left_out = g_string_new(NULL);
	struct sandbox s = {
		.names = names_come_later(vmm->options),
		.sockets = sockets,
		.left_out = left_out,
	};

	s.strict = has(keys, "strict");
	s.network = vmm->qmp; /* netdev_add */
	look_at_nets(&s, vmm->options);
	folders = s.folders;
	if (keys) {
		g_variant_lookup(keys, "user", "&s", &s.user);
		if (g_variant_lookup(keys, "files", "^a&s", &files))
			s.files = files;
	}
	/* What libraries look up in files once; nothing but what comes over QMP asks for it. */
	if (vmm->qmp) {
		tzset();
		g_random_int();
	}
	return give_up(&s, error) && finish(&s, error);
}

bool sandbox_enter(const struct vmm *vmm, GError **error)
{
	g_autoptr(GVariant) keys = keys_of(vmm->options);

	if (!is_on(keys))
		return true;
	return enter(vmm, keys, error);
}
