/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that define domains, start and end them. */
#include <string.h>

#include "args.h"
#include "domain.h"
#include "objects.h"

bool cmd_define(struct shell *sh, const struct args *a)
{
	enum { VALIDATE = 1 };
	const char *path = arg_text(a, "file");
	g_autofree char *xml = read_file(sh, path);
	g_autoptr(GVariant) answer = NULL, dom = NULL;

	if (!xml)
		return false;
	answer = arg_on(a, "validate") ? ask(sh, "domain_define_xml_flags", "(su)", xml, VALIDATE)
				       : ask(sh, "domain_define_xml", "(s)", xml);
	if (!answer)
		return shell_error(sh, "Failed to define domain from %s", path);
	dom = first_of(answer);
	say_extra(sh, "Domain '%s' defined from %s\n", domain_name(dom), path);
	return true;
}

bool take_fds(struct shell *sh, const struct args *a, GUnixFDList **ret)
{
	g_auto(GStrv) words = g_strsplit(arg_text(a, "pass-fds") ? arg_text(a, "pass-fds") : "", ",", -1);
	g_autoptr(GUnixFDList) list = NULL;

	*ret = NULL;
	for (char **w = words; *w; w++) {
		guint64 fd;

		if (!g_ascii_string_to_unsigned(*w, 10, 0, G_MAXINT, &fd, NULL))
			return shell_error(sh, "Unable to parse FD number '%s'", *w);
		list = list ? list : g_unix_fd_list_new();
		if (g_unix_fd_list_append(list, fd, &sh->error) < 0)
			return false;
	}
	*ret = g_steal_pointer(&list);
	return true;
}

/* In both: VIR_DOMAIN_START_… */
static const struct flag start_flags[] = {
	{ "paused", 1 }, { "autodestroy", 2 }, { "bypass-cache", 4 }, { "force-boot", 8 }, { "reset-nvram", 32 }, {},
};
static const struct flag create_flags[] = {
	{ "paused", 1 }, { "autodestroy", 2 }, { "validate", 16 }, { "reset-nvram", 32 }, {},
};

bool cmd_create(struct shell *sh, const struct args *a)
{
	const char *path = arg_text(a, "file");
	g_autofree char *xml = read_file(sh, path);
	unsigned flags = flags_of(a, create_flags);
	g_autoptr(GVariant) answer = NULL, dom = NULL;
	g_autoptr(GUnixFDList) fds = NULL;

	if (!xml || !take_fds(sh, a, &fds))
		return false;
	if (fds)
		answer = kv_connection_call_with_fds_sync(sh->conn, "domain_create_xml_with_files",
							  g_variant_new("(su)", xml, flags), fds, NULL, NULL, &sh->error);
	else
		answer = ask(sh, "domain_create_xml", "(su)", xml, flags);
	if (!answer)
		return shell_error(sh, "Failed to create domain from %s", path);
	dom = first_of(answer);
	say_extra(sh, "Domain '%s' created from %s\n", domain_name(dom), path);
	return !arg_on(a, "console") || run_console(sh, dom, NULL, 0);
}

bool cmd_start(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), answer = NULL;
	unsigned flags = flags_of(a, start_flags);
	g_autoptr(GUnixFDList) fds = NULL;

	if (!dom)
		return false;
	if (domain_id(dom) != -1)
		return shell_error(sh, "Domain is already active");
	if (!take_fds(sh, a, &fds))
		return false;
	if (fds)
		answer = kv_connection_call_with_fds_sync(sh->conn, "domain_create_with_files",
							  g_variant_new("(@" DOMAIN "u)", dom, flags), fds, NULL, NULL,
							  &sh->error);
	else if (flags)
		answer = ask(sh, "domain_create_with_flags", "(@" DOMAIN "u)", dom, flags);
	else
		answer = ask(sh, "domain_create", "(@" DOMAIN ")", dom);
	if (!finish(sh, answer, "Domain '%s' started", "Failed to start domain '%s'", domain_name(dom)))
		return false;
	return !arg_on(a, "console") || run_console(sh, dom, NULL, 0);
}

bool cmd_destroy(struct shell *sh, const struct args *a)
{
	static const struct flag flags_table[] = { { "graceful", 1 }, { "remove-logs", 2 }, {} };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	unsigned flags = flags_of(a, flags_table);
	bool ok;

	if (!dom)
		return false;
	ok = flags ? tell(sh, "domain_destroy_flags", "(@" DOMAIN "u)", dom, flags)
		   : tell(sh, "domain_destroy", "(@" DOMAIN ")", dom);
	return finish(sh, ok, "Domain '%s' destroyed", "Failed to destroy domain '%s'", domain_name(dom));
}

bool cmd_suspend(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");

	return dom && finish(sh, tell(sh, "domain_suspend", "(@" DOMAIN ")", dom), "Domain '%s' suspended",
			     "Failed to suspend domain '%s'", domain_name(dom));
}

bool cmd_resume(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");

	return dom && finish(sh, tell(sh, "domain_resume", "(@" DOMAIN ")", dom), "Domain '%s' resumed",
			     "Failed to resume domain '%s'", domain_name(dom));
}

bool cmd_reset(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");

	return dom && finish(sh, tell(sh, "domain_reset", "(@" DOMAIN "u)", dom, 0), "Domain '%s' was reset",
			     "Failed to reset domain '%s'", domain_name(dom));
}

/* Ways to ask a guest, "acpi,agent". */
static bool take_mode(struct shell *sh, const struct args *a, const char *last_or, unsigned *ret)
{
	static const char *const names[] = { "acpi", "agent", "initctl", "signal", "paravirt" };
	g_auto(GStrv) words = g_strsplit(arg_text(a, "mode") ? arg_text(a, "mode") : "", ",", -1);

	*ret = 0;
	for (char **w = words; *w; w++) {
		unsigned i = 0;

		while (i < G_N_ELEMENTS(names) && strcmp(names[i], *w) != 0)
			i++;
		if (i == G_N_ELEMENTS(names))
			return shell_error(
				sh, "Unknown mode %s value, expecting 'acpi', 'agent', 'initctl', 'signal'%s or 'paravirt'", *w,
				last_or);
		*ret |= 1 << i;
	}
	return true;
}

bool cmd_shutdown(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = NULL;
	unsigned flags;
	bool ok;

	if (!take_mode(sh, a, ",", &flags))
		return false;
	dom = find_domain(sh, a, "domain");
	if (!dom)
		return false;
	ok = flags ? tell(sh, "domain_shutdown_flags", "(@" DOMAIN "u)", dom, flags)
		   : tell(sh, "domain_shutdown", "(@" DOMAIN ")", dom);
	return finish(sh, ok, "Domain '%s' is being shutdown", "Failed to shutdown domain '%s'", domain_name(dom));
}

bool cmd_reboot(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = NULL;
	unsigned flags;

	if (!take_mode(sh, a, "", &flags))
		return false;
	dom = find_domain(sh, a, "domain");
	return dom && finish(sh, tell(sh, "domain_reboot", "(@" DOMAIN "u)", dom, flags), "Domain '%s' is being rebooted",
			     "Failed to reboot domain '%s'", domain_name(dom));
}

bool cmd_autostart(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	bool off = arg_on(a, "disable");

	return dom && finish(sh, tell(sh, "domain_set_autostart", "(@" DOMAIN "i)", dom, !off),
			     off ? "Domain '%s' unmarked as autostarted" : "Domain '%s' marked as autostarted",
			     off ? "Failed to unmark domain '%s' as autostarted" : "Failed to mark domain '%s' as autostarted",
			     domain_name(dom));
}

bool cmd_domrename(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");

	return dom && finish(sh, tell(sh, "domain_rename", "(@" DOMAIN "msu)", dom, arg_text(a, "new-name"), 0),
			     "Domain successfully renamed", NULL, domain_name(dom));
}

/* ---- undefine ---- */

struct volume {
	char *target, *source;
	GVariant *vol;
};

static void volume_free(void *opaque)
{
	struct volume *v = opaque;

	g_free(v->target);
	g_free(v->source);
	g_clear_pointer(&v->vol, g_variant_unref);
	g_free(v);
}

/* The volumes of a domain's disks that are to go with it. NULL: the error was said. */
static GPtrArray *volumes_of(struct shell *sh, const struct args *a, GVariant *dom)
{
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(volume_free);
	g_autoptr(node) xml = domain_xml(sh, dom, 0);
	g_autoptr(GPtrArray) disks = node_all(xml, "devices/disk");
	g_auto(GStrv) wanted = g_strsplit(arg_text(a, "storage") ? arg_text(a, "storage") : "", ",", -1);
	g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

	if (!xml)
		return NULL;
	for (unsigned i = 0; i < disks->len; i++) {
		struct node *disk = g_ptr_array_index(disks, i);
		const char *target = node_get_attr(disk, "target", "dev"), *source = node_get_attr(disk, "source", "file");
		g_autoptr(GVariant) answer = NULL;
		bool named;

		source = source ? source : node_get_attr(disk, "source", "dev");
		named = target && source &&
			(g_strv_contains((const char *const *)wanted, target) ||
			 g_strv_contains((const char *const *)wanted, source));
		if (!target || !source || !(named || arg_on(a, "remove-all-storage")))
			continue;
		g_hash_table_add(seen, (char *)target);
		g_hash_table_add(seen, (char *)source);
		answer = ask(sh, "storage_vol_lookup_by_path", "(s)", source);
		if (!answer) {
			shell_error(sh, "Storage volume '%s'(%s) is not managed by libvirt. Remove it manually.\n", target,
				    source);
			forget_error(sh);
			continue;
		}
		g_ptr_array_add(list, g_new0(struct volume, 1));
		*(struct volume *)g_ptr_array_index(list, list->len - 1) =
			(struct volume){ g_strdup(target), g_strdup(source), first_of(answer) };
	}
	for (char **w = wanted; *w; w++)
		if (!g_hash_table_contains(seen, *w))
			shell_error(sh, "Volume '%s' was not found in domain's definition.\n", *w);
	return g_steal_pointer(&list);
}

static bool remove_volumes(struct shell *sh, const struct args *a, GPtrArray *list)
{
	enum { WITH_SNAPSHOTS = 2 };
	bool ok = true;

	for (unsigned i = 0; list && i < list->len; i++) {
		struct volume *v = g_ptr_array_index(list, i);
		unsigned flags = arg_on(a, "delete-storage-volume-snapshots") ? WITH_SNAPSHOTS : 0;

		if (arg_on(a, "wipe-storage")) {
			say(sh, "Wiping volume '%s'(%s) ... ", v->target, v->source);
			if (!tell(sh, "storage_vol_wipe", "(@" VOLUME "u)", v->vol, 0)) {
				ok = shell_error(sh, "Failed! Volume not removed.");
				continue;
			}
			say(sh, "Done.\n");
		}
		if (tell(sh, "storage_vol_delete", "(@" VOLUME "u)", v->vol, flags))
			say(sh, "Volume '%s'(%s) removed.\n", v->target, v->source);
		else
			ok = shell_error(sh, "Failed to remove storage volume '%s'(%s)", v->target, v->source);
	}
	return ok;
}

bool cmd_undefine(struct shell *sh, const struct args *a)
{
	static const struct flag flags_table[] = { { "managed-save", 1 },
						   { "snapshots-metadata", 2 },
						   { "nvram", 4 },
						   { "keep-nvram", 8 },
						   { "checkpoints-metadata", 16 },
						   { "tpm", 32 },
						   { "keep-tpm", 64 },
						   {} };
	g_autoptr(GVariant) dom = NULL;
	bool storage = arg_on(a, "storage") || arg_on(a, "remove-all-storage");
	g_autoptr(GPtrArray) volumes = NULL;
	int active;

	if (!args_require(sh, a, "delete-storage-volume-snapshots", "remove-all-storage") ||
	    !(dom = find_domain(sh, a, "domain")))
		return false;
	if (args_exclude(sh, a, "nvram", "keep-nvram") || args_exclude(sh, a, "tpm", "keep-tpm"))
		return false;
	if (arg_on(a, "wipe-storage") && !storage)
		return shell_error(sh, "'--wipe-storage' requires '--storage <string>' or '--remove-all-storage'");
	active = domain_is_active(sh, dom);
	if (active < 0)
		return false;
	if (storage && active)
		return shell_error(sh, "Storage volume deletion is supported only on stopped domains");
	if (storage && arg_on(a, "storage") && arg_on(a, "remove-all-storage"))
		return shell_error(sh, "Specified both --storage and --remove-all-storage");
	if (storage && !(volumes = volumes_of(sh, a, dom)))
		return shell_error(sh, "Could not retrieve domain XML description");
	if (!finish(sh, tell(sh, "domain_undefine_flags", "(@" DOMAIN "u)", dom, flags_of(a, flags_table)),
		    "Domain '%s' has been undefined", "Failed to undefine domain '%s'", domain_name(dom)))
		return false;
	return remove_volumes(sh, a, volumes);
}

bool cmd_dom_fd_associate(struct shell *sh, const struct args *a)
{
	static const struct flag flags_table[] = { { "seclabel-restore", 1 }, { "seclabel-writable", 2 }, {} };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), answer = NULL;
	g_autoptr(GUnixFDList) fds = NULL;

	if (!dom || !take_fds(sh, a, &fds))
		return false;
	answer = kv_connection_call_with_fds_sync(
		sh->conn, "domain_fd_associate",
		g_variant_new("(@" DOMAIN "su)", dom, arg_text(a, "name"), flags_of(a, flags_table)), fds, NULL, NULL,
		&sh->error);
	return answer;
}

bool cmd_qemu_attach(struct shell *sh, const struct args *a)
{
	unsigned pid;
	g_autoptr(GVariant) answer = NULL, dom = NULL;

	if (arg_uint(sh, a, "pid", &pid) < 0)
		return false;
	answer = ask(sh, "qemu:domain_attach", "(uu)", pid, 0);
	if (!answer)
		return shell_error(sh, "Failed to attach to pid %u", pid);
	dom = first_of(answer);
	say_extra(sh, "Domain '%s' attached to pid %u\n", domain_name(dom), pid);
	return true;
}
