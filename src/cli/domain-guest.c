/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that talk to the guest, its screen, its agent, or its monitor. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "args.h"
#include "domain.h"
#include "objects.h"
#include "rpc/message.h"

/* ---- keys ---- */

bool cmd_send_key(struct shell *sh, const struct args *a)
{
	static const char *const codesets[] = { "linux", "xt",	   "atset1", "atset2", "atset3",
						"os_x",	 "xt_kbd", "usb",    "win32",  "qnum" };
	enum { KEYS_MAX = 16 }; /* VIR_DOMAIN_SEND_KEY_MAX_KEYS */
	const char *codeset = arg_on(a, "codeset") ? arg_text(a, "codeset") : "linux";
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	GVariantBuilder codes;
	unsigned set = 0, hold = 0, n = 0;

	if (!dom || arg_uint(sh, a, "holdtime", &hold) < 0)
		return false;
	/* rfb is the older name of qnum. */
	if (strcmp(codeset, "rfb") == 0)
		codeset = "qnum";
	while (set < G_N_ELEMENTS(codesets) && strcmp(codesets[set], codeset) != 0)
		set++;
	if (set == G_N_ELEMENTS(codesets))
		return shell_error(sh, "unknown codeset: '%s'", codeset);
	g_variant_builder_init(&codes, G_VARIANT_TYPE("au"));
	for (char *const *word = arg_list(a, "keycode"); *word; word++) {
		char *end;
		unsigned long code = strtoul(*word, &end, 0);
		int named = set == 0 ? key_named(*word) : -1;

		if (n == KEYS_MAX || (named < 0 && (end == *word || *end || code > 0xffff))) {
			g_variant_builder_clear(&codes);
			return n == KEYS_MAX ? shell_error(sh, "too many keycodes")
					     : shell_error(sh, "invalid keycode: '%s'", *word);
		}
		n++;
		g_variant_builder_add(&codes, "u", named < 0 ? (unsigned)code : (unsigned)named);
	}
	return tell(sh, "domain_send_key", "(@" DOMAIN "uuauu)", dom, set, hold, &codes, 0);
}

bool cmd_inject_nmi(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");

	return dom && tell(sh, "domain_inject_nmi", "(@" DOMAIN "u)", dom, 0);
}

/* ---- the screen ---- */

static bool receive(struct shell *sh, KvStream *stream, int fd)
{
	char data[65536];
	gssize n;

	while ((n = kv_stream_recv_sync(stream, data, sizeof(data), NULL, &sh->error)) > 0)
		for (gssize at = 0, done; at < n; at += done) {
			done = write(fd, data + at, n - at);
			if (done < 0)
				return false;
		}
	return n == 0;
}

static char *picture_name(GVariant *dom, const char *mime)
{
	g_autoptr(GDateTime) now = g_date_time_new_now_utc();
	g_autofree char *time = g_date_time_format(now, "%Y-%m-%d-%H:%M:%S");
	const char *suffix = !mime					     ? ""
			     : strstr(mime, "png")			     ? ".png"
			     : strstr(mime, "pixmap") || strstr(mime, "ppm") ? ".ppm"
									     : ".img";

	return g_strdup_printf("%s-%s%s", domain_name(dom), time, suffix);
}

bool cmd_screenshot(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), answer = NULL;
	g_autoptr(KvStream) stream = NULL;
	g_autofree char *path = NULL;
	unsigned screen = 0;
	const char *mime;
	bool ok;
	int fd;

	if (!dom || arg_uint(sh, a, "screen", &screen) < 0)
		return false;
	stream = kv_stream_open_sync(sh->conn, "domain_screenshot", g_variant_new("(@" DOMAIN "uu)", dom, screen, 0), &answer,
				     NULL, &sh->error);
	if (!stream)
		return shell_error(sh, "could not take a screenshot of %s", domain_name(dom));
	g_variant_get_child(answer, 0, "m&s", &mime);
	path = arg_on(a, "file") ? g_strdup(arg_text(a, "file")) : picture_name(dom, mime);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return shell_error(sh, "cannot create file %s", path);
	ok = receive(sh, stream, fd);
	if (!ok)
		shell_error(sh, "could not receive data from domain '%s'", domain_name(dom));
	else if (!(ok = kv_stream_finish_sync(stream, NULL, &sh->error)))
		shell_error(sh, "cannot close stream on domain '%s'", domain_name(dom));
	if (close(fd) != 0 && ok)
		ok = shell_error(sh, "cannot close file %s", path);
	if (ok)
		say(sh, "Screenshot saved to %s, with type of %s", path, mime ? mime : "");
	else
		unlink(path);
	return ok;
}

/* A port's number; 0: none that is one. */
static int port_of(const char *text)
{
	guint64 v;

	return text && g_ascii_string_to_unsigned(text, 10, 1, 65535, &v, NULL) ? (int)v : 0;
}

/* Where a viewer finds a display: its own word, or this host for "anywhere". */
static const char *listener(const struct node *graphics)
{
	const char *address = node_attr(graphics, "listen");

	if (!address)
		address = node_get_attr(graphics, "listen", "address");
	if (!address || strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0)
		return NULL;
	return address;
}

static char *display_uri(const struct node *graphics, bool with_password)
{
	const char *type = node_attr(graphics, "type"), *port = node_attr(graphics, "port"),
		   *tls = node_attr(graphics, "tlsPort");
	const char *socket = node_attr(graphics, "socket"), *password = with_password ? node_attr(graphics, "passwd") : NULL;
	const char *host = listener(graphics);
	bool is_vnc = strcmp(type, "vnc") == 0;
	g_autoptr(GString) out = g_string_new(NULL);
	int number = port_of(port), tls_number = port_of(tls);

	socket = socket ? socket : node_get_attr(graphics, "listen", "socket");
	if (socket)
		return g_strdup_printf("%s+unix://%s", type, socket);
	if (!number && !tls_number)
		return NULL;
	g_string_append_printf(out, "%s://", type);
	if (is_vnc && password)
		g_string_append_printf(out, ":%s@", password);
	host = host ? host : "localhost";
	g_string_append_printf(out, strchr(host, ':') ? "[%s]" : "%s", host);
	if (number > 0)
		g_string_append_printf(out, ":%d", is_vnc ? number - 5900 : number);
	if (!is_vnc && (tls_number || password)) {
		g_string_append_c(out, '?');
		if (tls_number)
			g_string_append_printf(out, "tls-port=%d%s", tls_number, password ? "&" : "");
		if (password)
			g_string_append_printf(out, "password=%s", password);
	}
	return g_string_free(g_steal_pointer(&out), FALSE);
}

bool cmd_domdisplay(struct shell *sh, const struct args *a)
{
	static const char *const order[] = { "vnc", "spice", "rdp" };
	enum { XML_SECURE = 1 };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	const char *only = arg_text(a, "type");
	bool with_password = arg_on(a, "include-password"), any = false;
	g_autoptr(node) xml = NULL;
	g_autoptr(GPtrArray) list = NULL;

	if (!dom)
		return false;
	if (domain_is_active(sh, dom) != 1)
		return shell_error(sh, "Domain is not running");
	xml = domain_xml(sh, dom, with_password ? XML_SECURE : 0);
	list = node_all(xml, "devices/graphics");
	for (unsigned i = 0; xml && i < G_N_ELEMENTS(order) && (!any || arg_on(a, "all")); i++)
		for (unsigned k = 0; k < list->len && (!any || arg_on(a, "all")); k++) {
			struct node *graphics = g_ptr_array_index(list, k);
			g_autofree char *uri = NULL;

			if (g_strcmp0(node_attr(graphics, "type"), order[i]) != 0 ||
			    (only && strcmp(only, "all") != 0 && strcmp(only, order[i]) != 0))
				continue;
			uri = display_uri(graphics, with_password);
			if (uri)
				say(sh, "%s\n", uri);
			any |= uri != NULL;
		}
	if (any || !xml)
		return any;
	return only ? shell_error(sh, "No graphical display with type '%s' found", only)
		    : shell_error(sh, "No graphical display found");
}

bool cmd_vncdisplay(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	g_autoptr(node) xml = NULL;
	g_autoptr(GPtrArray) list = NULL;
	struct node *vnc = NULL;
	const char *port, *host;

	if (!dom)
		return false;
	if (domain_is_active(sh, dom) != 1)
		return shell_error(sh, "Domain is not running");
	xml = domain_xml(sh, dom, 0);
	list = node_all(xml, "devices/graphics");
	for (unsigned i = 0; i < list->len && !vnc; i++)
		if (g_strcmp0(node_attr(g_ptr_array_index(list, i), "type"), "vnc") == 0)
			vnc = g_ptr_array_index(list, i);
	port = node_attr(vnc, "port");
	if (!xml || !port_of(port))
		return xml ? shell_error(sh, "Failed to get VNC port. Is this domain using VNC?") : false;
	host = listener(vnc);
	say(sh, "%s:%d\n", host ? host : "", port_of(port) - 5900);
	return true;
}

bool cmd_ttyconsole(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	g_autoptr(node) xml = dom ? domain_xml(sh, dom, 0) : NULL;
	const char *tty = node_get_attr(xml, "devices/console", "tty");

	if (tty)
		say(sh, "%s\n", tty);
	return tty;
}

/* ---- monitor and agent ---- */

/* end: what is behind it, which is not the same for every command of virsh's. */
static void say_json(struct shell *sh, const char *text, bool pretty, const char *end)
{
	json_t *value = pretty || sh->json ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
	g_autofree char *shown = NULL;

	if (value && sh->json)
		return say_value(sh, value);

	if (value) {
		shown = json_pretty(value);
		json_decref(value);
	}
	say(sh, "%s%s", shown ? shown : text, end);
}

/* A command's name and members of its arguments as QMP wants them; what is JSON stays. NULL: said. */
static char *qmp_command(struct shell *sh, char *const *words)
{
	g_autofree char *joined = g_strjoinv(" ", (char **)words), *rest = words[1] ? g_strjoinv(",", (char **)words + 1) : NULL;
	json_t *value = json_loads(joined, JSON_DECODE_ANY, NULL), *arguments = NULL;
	char *text, *copy;

	if (json_is_object(value)) {
		json_decref(value);
		return g_steal_pointer(&joined);
	}
	json_decref(value);
	if (rest) {
		g_autofree char *object = *rest == '{' ? g_strdup(rest) : g_strdup_printf("{%s}", rest),
				*shown = g_strjoinv(" ", (char **)words + 1);
		json_error_t error;

		arguments = json_loads(object, 0, &error);
		if (!arguments) {
			rpc_fail(&sh->error, VIR_ERR_INTERNAL_ERROR, "cannot parse json %s: %s", object, error.text);
			shell_error(sh, "failed to wrap arguments '%s' into a QMP command wrapper", shown);
			return NULL;
		}
	}
	value = json_pack("{s:s,s:o*}", "execute", words[0], "arguments", arguments);
	text = value ? json_dumps(value, JSON_COMPACT) : NULL;
	copy = g_strdup(text ? text : "");
	free(text);
	json_decref(value);
	return copy;
}

/* What QMP returned, without what is around it. */
static bool say_return(struct shell *sh, const char *answer, bool pretty)
{
	json_t *value = json_loads(answer, 0, NULL), *inner = json_object_get(value, "return");
	char *text = !inner ? NULL : pretty ? json_pretty(inner) : json_dumps(inner, JSON_COMPACT | JSON_ENCODE_ANY);

	if (text && sh->json)
		say_value(sh, json_incref(inner));
	else if (text)
		say(sh, "%s", text);
	else
		shell_error(sh, value ? "'return' member missing" : "failed to parse JSON returned by qemu");
	free(text);
	json_decref(value);
	return text;
}

bool cmd_qemu_monitor_command(struct shell *sh, const struct args *a)
{
	enum { HMP = 1 };
	bool hmp = arg_on(a, "hmp");
	g_autoptr(GVariant) dom = NULL, answer = NULL;
	g_autofree char *command = NULL;
	g_autoptr(GUnixFDList) fds = NULL;
	const char *result;

	if (args_exclude(sh, a, "hmp", "pretty") || args_exclude(sh, a, "hmp", "return-value") ||
	    !(dom = find_domain(sh, a, "domain")))
		return false;
	command = hmp ? g_strjoinv(" ", (char **)arg_list(a, "cmd")) : qmp_command(sh, arg_list(a, "cmd"));
	if (!command || !take_fds(sh, a, &fds))
		return false;
	if (fds)
		answer = kv_connection_call_with_fds_sync(sh->conn, "qemu:domain_monitor_command_with_files",
							  g_variant_new("(@" DOMAIN "su)", dom, command, hmp ? HMP : 0), fds,
							  NULL, NULL, &sh->error);
	else
		answer = ask(sh, "qemu:domain_monitor_command", "(@" DOMAIN "su)", dom, command, hmp ? HMP : 0);
	if (!answer)
		return false;
	g_variant_get_child(answer, 0, "&s", &result);
	if (arg_on(a, "return-value"))
		return say_return(sh, result, arg_on(a, "pretty"));
	say_json(sh, result, arg_on(a, "pretty"), arg_on(a, "pretty") ? "" : "\n");
	return true;
}

bool cmd_qemu_agent_command(struct shell *sh, const struct args *a)
{
	enum { BLOCK = -2, DEFAULT = -1, NO_WAIT = 0 };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), answer = NULL;
	g_autofree char *command = g_strjoinv(" ", (char **)arg_list(a, "cmd"));
	int timeout = DEFAULT, given = arg_int(sh, a, "timeout", &timeout);
	const char *result;

	if (!dom || given < 0)
		return false;
	if (given && timeout < 1)
		return shell_error(sh, "timeout must be positive");
	if (arg_on(a, "async") + arg_on(a, "block") + given > 1)
		return shell_error(sh, "timeout, async and block options are exclusive");
	timeout = arg_on(a, "async") ? NO_WAIT : arg_on(a, "block") ? BLOCK : timeout;
	answer = ask(sh, "qemu:domain_agent_command", "(@" DOMAIN "siu)", dom, command, timeout, 0);
	if (!answer)
		return false;
	g_variant_get_child(answer, 0, "m&s", &result);
	if (result)
		say_json(sh, result, arg_on(a, "pretty"), arg_on(a, "pretty") ? "\n\n" : "\n");
	return true;
}

/* Without an end of the line, as virsh. */
static bool say_done(struct shell *sh, bool ok, const char *done, const char *name)
{
	if (!ok)
		return shell_error(sh, "Domain '%s' could not be %s", name, done);
	say(sh, "Domain '%s' successfully %s", name, done);
	return true;
}

static bool freeze(struct shell *sh, const struct args *a, const char *procedure, const char *done, const char *failed)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	static char *none[] = { NULL };
	char *const *points = arg_list(a, "mountpoint");
	int n;

	if (!dom)
		return false;
	if (!ask_int(sh, &n, procedure, "(@" DOMAIN "^asu)", dom, points ? points : none, 0))
		return shell_error(sh, "%s", failed);
	say_extra(sh, "%s %d filesystem(s)\n", done, n);
	return true;
}

bool cmd_domfsfreeze(struct shell *sh, const struct args *a)
{
	return freeze(sh, a, "domain_fsfreeze", "Froze", "Unable to freeze filesystems");
}

bool cmd_domfsthaw(struct shell *sh, const struct args *a)
{
	return freeze(sh, a, "domain_fsthaw", "Thawed", "Unable to thaw filesystems");
}

bool cmd_domfstrim(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	guint64 least = 0;

	if (!dom || arg_u64(sh, a, "minimum", &least) < 0)
		return false;
	return tell(sh, "domain_fstrim", "(@" DOMAIN "mstu)", dom, arg_text(a, "mountpoint"), least, 0) ||
	       shell_error(sh, "Unable to invoke fstrim");
}

bool cmd_domfsinfo(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain"), answer = NULL, list = NULL;
	struct table *t;

	answer = dom ? ask(sh, "domain_get_fsinfo", "(@" DOMAIN "u)", dom, 0) : NULL;
	if (!answer)
		return dom ? shell_error(sh, "Unable to get filesystem information") : false;
	list = first_of(answer);
	if (!g_variant_n_children(list)) {
		say_extra(sh, "No filesystems are mounted in the domain");
		return true;
	}
	t = table_new("Mountpoint", "Name", "Type", "Target", NULL);
	for (gsize i = 0; i < g_variant_n_children(list); i++) {
		const char *mountpoint, *name, *type;
		g_autofree const char **disks = NULL;
		g_autofree char *targets = NULL;

		g_variant_get_child(list, i, "(&s&s&s^a&s)", &mountpoint, &name, &type, &disks);
		targets = g_strjoinv(",", (char **)disks);
		table_add(t, mountpoint, name, type, targets, NULL);
	}
	table_say(sh, t);
	return true;
}

bool cmd_domhostname(struct shell *sh, const struct args *a)
{
	enum { LEASE = 1, AGENT = 2 };
	const char *source = arg_text(a, "source");
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	g_autofree char *name = NULL;
	unsigned flags = 0;

	if (!dom)
		return false;
	if (source && strcmp(source, "lease") == 0)
		flags = LEASE;
	else if (source && strcmp(source, "agent") == 0)
		flags = AGENT;
	else if (source)
		return shell_error(sh, "Unknown data source '%s'", source);
	name = ask_text(sh, "domain_get_hostname", "(@" DOMAIN "u)", dom, flags);
	if (!name)
		return shell_error(sh, "failed to get hostname");
	say(sh, "%s\n", name);
	return true;
}

bool cmd_set_user_password(struct shell *sh, const struct args *a)
{
	enum { ENCRYPTED = 1 };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	const char *user = arg_text(a, "user");

	if (!dom || !tell(sh, "domain_set_user_password", "(@" DOMAIN "msmsu)", dom, user, arg_text(a, "password"),
			  arg_on(a, "encrypted") ? ENCRYPTED : 0))
		return false;
	say_extra(sh, "Password set successfully for %s in %s", user, domain_name(dom));
	return true;
}

bool cmd_dompmsuspend(struct shell *sh, const struct args *a)
{
	static const char *const targets[] = { "mem", "disk", "hybrid" };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	const char *target = arg_text(a, "target");
	guint64 duration = 0;
	unsigned i = 0;

	if (!dom || arg_u64(sh, a, "duration", &duration) < 0)
		return false;
	while (i < G_N_ELEMENTS(targets) && strcmp(targets[i], target) != 0)
		i++;
	if (i == G_N_ELEMENTS(targets))
		return shell_error(sh, "Invalid target");
	return say_done(sh, tell(sh, "domain_pm_suspend_for_duration", "(@" DOMAIN "utu)", dom, i, duration, 0), "suspended",
			domain_name(dom));
}

bool cmd_dompmwakeup(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");

	return dom && say_done(sh, tell(sh, "domain_pm_wakeup", "(@" DOMAIN "u)", dom, 0), "woken up", domain_name(dom));
}

bool cmd_domjobabort(struct shell *sh, const struct args *a)
{
	enum { POSTCOPY = 1 };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");

	if (!dom)
		return false;
	return arg_on(a, "postcopy") ? tell(sh, "domain_abort_job_flags", "(@" DOMAIN "u)", dom, POSTCOPY)
				     : tell(sh, "domain_abort_job", "(@" DOMAIN ")", dom);
}

bool cmd_blockresize(struct shell *sh, const struct args *a)
{
	enum { BYTES = 1 };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	const char *path = arg_text(a, "path");
	guint64 size;
	bool odd;

	if (!dom || arg_size(sh, a, "size", 1024, &size) < 0)
		return false;
	odd = size % 1024;
	if (!tell(sh, "domain_block_resize", "(@" DOMAIN "stu)", dom, path, odd ? size : size / 1024, odd ? BYTES : 0))
		return shell_error(sh, "Failed to resize block device '%s'", path);
	say_extra(sh, "Block device '%s' is resized", path);
	return true;
}
