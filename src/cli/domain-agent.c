/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that ask the guest's agent: what it knows of the guest, SSH keys; its timeout; signals to what runs in there. */
#include <string.h>

#include "args.h"
#include "domain.h"
#include "objects.h"

bool cmd_guestinfo(struct shell *sh, const struct args *a)
{
	/* VIR_DOMAIN_GUEST_INFO_… */
	static const struct flag flags_table[] = { { "user", 1 },	 { "os", 2 },	 { "timezone", 4 },   { "hostname", 8 },
						   { "filesystem", 16 }, { "disk", 32 }, { "interface", 64 }, {} };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), answer = NULL, params = NULL;

	answer = dom ? ask(sh, "domain_get_guest_info", "(@" DOMAIN "uu)", dom, flags_of(a, flags_table), 0) : NULL;
	params = first_of(answer);
	if (params)
		say_params(sh, params, 20);
	return params;
}

bool cmd_guest_agent_timeout(struct shell *sh, const struct args *a)
{
	enum { BLOCK = -2 };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	int timeout = BLOCK;

	return dom && arg_int(sh, a, "timeout", &timeout) >= 0 &&
	       tell(sh, "domain_agent_set_response_timeout", "(@" DOMAIN "iu)", dom, timeout, 0);
}

bool cmd_get_user_sshkeys(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), answer = NULL, keys = NULL;

	answer = dom ? ask(sh, "domain_authorized_ssh_keys_get", "(@" DOMAIN "su)", dom, arg_text(a, "user"), 0) : NULL;
	keys = first_of(answer);
	for (gsize i = 0; keys && i < g_variant_n_children(keys); i++) {
		const char *key;

		g_variant_get_child(keys, i, "&s", &key);
		say(sh, "%s\n", key);
	}
	return keys;
}

/* The lines of a file that have anything on them; NULL: said. */
static char **keys_of(struct shell *sh, const char *path)
{
	g_autofree char *text = read_file(sh, path);
	g_auto(GStrv) lines = text ? g_strsplit(text, "\n", -1) : NULL;
	GPtrArray *keys;

	if (!text)
		return NULL;
	keys = g_ptr_array_new();
	for (char **l = lines; *l; l++)
		if (**l)
			g_ptr_array_add(keys, g_strdup(*l));
	g_ptr_array_add(keys, NULL);
	if (keys->len == 1)
		shell_error(sh, "File %s contains no keys", path);
	return (char **)g_ptr_array_free(keys, keys->len == 1);
}

bool cmd_set_user_sshkeys(struct shell *sh, const struct args *a)
{
	enum { APPEND = 1, REMOVE = 2 };
	static char *none[] = { NULL };
	const char *path = arg_text(a, "file");
	unsigned flags = arg_on(a, "remove") ? REMOVE : arg_on(a, "reset") ? 0 : APPEND;
	g_autoptr(GVariant) dom = NULL;
	g_auto(GStrv) keys = NULL;

	if (!args_require(sh, a, "remove", "file") || args_exclude(sh, a, "reset", "remove") ||
	    !(dom = find_domain(sh, a, "domain")))
		return false;
	if (!path && flags)
		return shell_error(sh, "Option --file is required");
	if (path && !(keys = keys_of(sh, path)))
		return false;
	return tell(sh, "domain_authorized_ssh_keys_set", "(@" DOMAIN "s^asu)", dom, arg_text(a, "user"), keys ? keys : none,
		    flags);
}

/* A signal by number, or by name with or without SIG; -1: none. */
static int signal_named(const char *text)
{
	static const char *const names[] = { "nop",  "hup",   "int",  "quit", "ill",  "trap", "abrt", "bus",	"fpe",
					     "kill", "usr1",  "segv", "usr2", "pipe", "alrm", "term", "stkflt", "chld",
					     "cont", "stop",  "tstp", "ttin", "ttou", "urg",  "xcpu", "xfsz",	"vtalrm",
					     "prof", "winch", "poll", "pwr",  "sys",  NULL };
	enum { FIRST_RT = 32, N_SIGNALS = 65 };
	g_autofree char *lower = g_ascii_strdown(text, -1);
	const char *name = lower;
	guint64 number;
	int found;

	if (g_ascii_string_to_unsigned(text, 10, 0, N_SIGNALS - 1, &number, NULL))
		return number;
	if (g_str_has_prefix(name, "sig_"))
		name += 4;
	else if (g_str_has_prefix(name, "sig"))
		name += 3;
	found = word_of(name, names);
	if (found >= 0)
		return found;
	if (g_str_has_prefix(name, "rt") && g_ascii_string_to_unsigned(name + 2, 10, 0, N_SIGNALS - 1 - FIRST_RT, &number, NULL))
		return FIRST_RT + number;
	return -1;
}

bool cmd_send_process_signal(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	const char *name = arg_text(a, "signame");
	int signum = signal_named(name), pid = 0;

	if (!dom || arg_int(sh, a, "pid", &pid) < 0)
		return false;
	if (signum < 0)
		return shell_error(sh, "malformed signal name: %s", name);
	return tell(sh, "domain_send_process_signal", "(@" DOMAIN "xuu)", dom, (gint64)pid, signum, 0);
}

bool cmd_set_lifecycle_action(struct shell *sh, const struct args *a)
{
	static const char *const types[] = { "poweroff", "reboot", "crash", NULL };
	static const char *const actions[] = { "destroy",	   "restart", "rename-restart", "preserve", "coredump-destroy",
					       "coredump-restart", NULL };
	const char *type = arg_text(a, "type"), *action = arg_text(a, "action");
	int flags = affect_of(sh, a), type_number = word_of(type, types), action_number = word_of(action, actions);
	g_autoptr(GVariant) dom = NULL;

	if (flags < 0)
		return false;
	if (type_number < 0)
		return shell_error(sh, "Invalid lifecycle type '%s'.", type);
	if (action_number < 0)
		return shell_error(sh, "Invalid lifecycle action '%s'.", action);
	if (!(dom = find_domain(sh, a, "domain")))
		return false;
	return tell(sh, "domain_set_lifecycle_action", "(@" DOMAIN "uuu)", dom, type_number, action_number, flags) ||
	       shell_error(sh, "Unable to change lifecycle action.");
}

/* ---- confidential guests ---- */

bool cmd_domlaunchsecinfo(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), answer = NULL, params = NULL;
	enum { TEXTS_OKAY = 4 };

	if (!dom)
		return false;
	answer = ask(sh, "domain_get_launch_security_info", "(@" DOMAIN "u)", dom, TEXTS_OKAY);
	params = first_of(answer);
	if (!params)
		return shell_error(sh, "Unable to get launch security parameters");
	say_params(sh, params, 15);
	return true;
}

bool cmd_domsetlaunchsecstate(struct shell *sh, const struct args *a)
{
	const char *header_path = arg_text(a, "secrethdr"), *secret_path = arg_text(a, "secret");
	g_autofree char *header = NULL, *secret = NULL;
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	GVariantBuilder out;
	guint64 address;
	int given;

	if (!dom)
		return false;
	if (!header_path || !secret_path)
		return shell_error(sh, "Both secret and the secret header are required");
	if (!(header = read_file(sh, header_path)) || !(secret = read_file(sh, secret_path)) ||
	    (given = arg_u64(sh, a, "set-address", &address)) < 0)
		return false;
	g_variant_builder_init(&out, G_VARIANT_TYPE("a(sv)"));
	g_variant_builder_add(&out, "(sv)", "sev-secret-header", g_variant_new_string(header));
	g_variant_builder_add(&out, "(sv)", "sev-secret", g_variant_new_string(secret));
	if (given)
		g_variant_builder_add(&out, "(sv)", "sev-secret-set-address", g_variant_new_uint64(address));
	return tell(sh, "domain_set_launch_security_state", "(@" DOMAIN "a(sv)u)", dom, &out, 0) ||
	       shell_error(sh, "Unable to set launch security state");
}

bool cmd_domdirtyrate_calc(struct shell *sh, const struct args *a)
{
	static const char *const modes[] = { "page-sampling", "dirty-bitmap", "dirty-ring", NULL };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	const char *mode = arg_text(a, "mode");
	int seconds = 1, which = mode ? word_of(mode, modes) : 0;

	if (!dom || arg_int(sh, a, "seconds", &seconds) < 0)
		return false;
	if (which < 0)
		return shell_error(sh, "Unknown calculation mode '%s'", mode);
	if (!tell(sh, "domain_start_dirty_rate_calc", "(@" DOMAIN "iu)", dom, seconds, mode ? 1u << which : 0))
		return false;
	say_extra(sh, "Start to calculate domain's memory dirty rate successfully.\n");
	return true;
}
