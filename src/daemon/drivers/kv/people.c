/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A running machine's consoles and screens, and typing at it. See kv.h. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "kv.h"

enum { CONSOLE_FORCE = 1, MONITOR_HMP = 1, HOLD_MAX_MS = 10000, CONNECT_MS = 5000 };

/* ---- consoles ---- */

int kv_connect_unix(const char *path, GError **error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (g_strlcpy(address.sun_path, path, sizeof(address.sun_path)) >= sizeof(address.sun_path)) {
		rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "the path '%s' is too long for a socket", path);
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	rpc_fail(error, VIR_ERR_SYSTEM_ERROR, "cannot connect to '%s': %s", path, g_strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* The lock goes with the descriptor, that is, with the session. */
static int open_terminal(const char *path, unsigned flags, GError **error)
{
	int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0) {
		rpc_fail(error, VIR_ERR_SYSTEM_ERROR, "cannot open '%s': %s", path, g_strerror(errno));
	} else if (!isatty(fd)) {
		rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "'%s' is no terminal", path);
		close(fd);
		fd = -1;
	} else if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK && !(flags & CONSOLE_FORCE)) {
		rpc_fail(error, VIR_ERR_OPERATION_FAILED, "Active console session exists for this domain");
		close(fd);
		fd = -1;
	}
	return fd;
}

static int open_device(const xmlNode *device, const char *name, unsigned flags, GError **error)
{
	const char *path = xml_text(device, "source/@path");

	if (xml_is(device, "@type", "pty") && path)
		return open_terminal(path, flags, error);
	if (!xml_is(device, "@type", "unix")) {
		rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "character device %s is not using a PTY", name);
		return -1;
	}
	if (path)
		return kv_connect_unix(path, error);
	rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "character device %s has no path", name);
	return -1;
}

int kv_open_console(struct domain *d, const char *alias, unsigned flags, GError **error)
{
	static const char *const kinds[] = {"console", "serial", "channel"};
	const xmlNode *device = NULL;

	if (!kv_machine_of(d, error))
		return -1;
	for (unsigned i = 0; !device && i < G_N_ELEMENTS(kinds); i++)
		device = alias	 ? kv_device_by_alias(d->live, kinds[i], alias)
			 : i < 2 ? domain_def_device(d->live, kinds[i], 0)
				 : NULL;
	if (!device) {
		rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "cannot find character device %s", alias ? alias : "(null)");
		return -1;
	}
	return open_device(device, alias ? alias : "console0", flags, error);
}

int kv_open_channel(struct domain *d, const char *name, unsigned flags, GError **error)
{
	xmlNode *channel = NULL;

	if (!kv_machine_of(d, error))
		return -1;
	for (unsigned n = 0; (channel = domain_def_device(d->live, "channel", n)); n++)
		if (!name || xml_is(channel, "target/@name", name) || xml_is(channel, "alias/@name", name))
			return open_device(channel, name ? name : "channel", flags, error);
	rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "cannot find channel %s", name ? name : "(null)");
	return -1;
}

/* ---- screens ---- */

/* (waits) A machine that accepts nobody has its connections wait in its queue, and those behind them outside of it. */
static bool connect_in_time(int fd, const struct addrinfo *to)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	socklen_t len = sizeof(int);
	int why = 0;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	if (connect(fd, to->ai_addr, to->ai_addrlen) < 0) {
		if (errno != EINPROGRESS)
			return false;
		state_release();
		poll(&p, 1, CONNECT_MS);
		state_acquire();
		if (!(p.revents & POLLOUT) || getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len) < 0 || why)
			return false;
	}
	fcntl(fd, F_SETFL, 0);
	return true;
}

static int connect_tcp(const char *address, const char *at, GError **error)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_NUMERICHOST};
	g_autofree char *host = g_strdup(address), *port = g_strdup(at);
	struct addrinfo *list = NULL;
	int fd = -1;

	if (getaddrinfo(host, port, &hints, &list) == 0) {
		fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd >= 0 && !connect_in_time(fd, list)) {
			close(fd);
			fd = -1;
		}
		freeaddrinfo(list);
	}
	if (fd < 0)
		rpc_fail(error, VIR_ERR_OPERATION_FAILED, "cannot connect to the screen at %s:%s", host, port);
	return fd;
}

/* Everywhere is also here. */
static const char *here(const char *address)
{
	return !address || !strcmp(address, "0.0.0.0") ? "127.0.0.1" : !strcmp(address, "::") ? "::1" : address;
}

int kv_open_graphics(struct domain *d, unsigned index, bool skip_auth, GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);
	const xmlNode *graphics = m ? domain_def_device(d->live, "graphics", index) : NULL;
	const char *socket;
	g_autofree char *own = NULL;

	if (!m)
		return -1;
	if (!graphics) {
		rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "No graphics backend with index %u", index);
		return -1;
	}
	if (!xml_is(graphics, "listen/@type", "socket") && !xml_text(graphics, "@socket"))
		return connect_tcp(here(xml_text(graphics, "listen/@address")), xml_text(graphics, "@port") ?: "5900", error);
	socket = xml_text(graphics, "listen/@socket") ?: xml_text(graphics, "@socket");
	own = g_build_filename(m->run, "vnc", NULL);
	return kv_connect_unix(socket ? socket : own, error);
}

int kv_screenshot(struct domain *d, unsigned screen, char **ret_mime, GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);
	g_autofree char *path = NULL;
	JsonObject *args;
	int fd = -1;

	if (!m)
		return -1;
	path = g_build_filename(m->run, "screenshot.png", NULL);
	args = kv_args("filename", path, "format", "png", NULL);
	if (screen) {
		json_object_set_string_member(args, "device", "vga");
		json_object_set_int_member(args, "head", screen);
	}
	if (kv_do(m, "screendump", args, error) && (fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)) < 0)
		rpc_fail(error, VIR_ERR_OPERATION_FAILED, "unable to open %s: %s", path, g_strerror(errno));
	unlink(path);
	if (fd >= 0)
		*ret_mime = g_strdup("image/png");
	return fd;
}

/* ---- keys ---- */

enum codeset { CODESET_LINUX = 0, CODESET_XT = 1, CODESET_QNUM = 9 };

/* Linux's codes (input-event-codes.h) beyond those that an XT's are, as the numbers of QMP's send-key. */
static const guint8 linux_keys[][2] = {
	{86, 0x56},  {87, 0x57},  {88, 0x58},  {96, 0x9c},  {97, 0x9d},	 {98, 0xb5},  {99, 0x54},  {100, 0xb8},
	{102, 0xc7}, {103, 0xc8}, {104, 0xc9}, {105, 0xcb}, {106, 0xcd}, {107, 0xcf}, {108, 0xd0}, {109, 0xd1},
	{110, 0xd2}, {111, 0xd3}, {119, 0xc6}, {125, 0xdb}, {126, 0xdc}, {127, 0xdd},
};

static guint32 key_number(unsigned codeset, guint32 key)
{
	if (codeset != CODESET_LINUX || (key >= 1 && key <= 83))
		return key <= 0xff ? key : 0;
	for (unsigned i = 0; i < G_N_ELEMENTS(linux_keys); i++)
		if (linux_keys[i][0] == key)
			return linux_keys[i][1];
	return 0;
}

bool kv_send_key(struct domain *d, unsigned codeset, unsigned hold_ms, const guint32 *keys, unsigned n, GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);
	g_autoptr(JsonArray) list = json_array_new();
	JsonObject *args;

	if (!m)
		return false;
	if (codeset != CODESET_LINUX && codeset != CODESET_XT && codeset != CODESET_QNUM)
		return rpc_fail(error, VIR_ERR_ARGUMENT_UNSUPPORTED,
				"key codes of set %u are not supported; linux, xt and qnum are", codeset);
	for (unsigned i = 0; i < n; i++) {
		guint32 number = key_number(codeset, keys[i]);
		JsonObject *key = json_object_new();

		json_object_set_string_member(key, "type", "number");
		json_object_set_int_member(key, "data", number);
		json_array_add_object_element(list, key);
		if (!number)
			return rpc_fail(error, VIR_ERR_INVALID_ARG, "cannot translate keycode %u", keys[i]);
	}
	args = json_object_new();
	json_object_set_array_member(args, "keys", json_array_ref(list));
	if (hold_ms)
		json_object_set_int_member(args, "hold-time", MIN(hold_ms, HOLD_MAX_MS));
	return kv_do(m, "send-key", args, error);
}

bool kv_inject_nmi(struct domain *d, GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);

	return m && kv_do(m, "inject-nmi", NULL, error);
}

/* ---- the monitor itself ---- */

/* What the machine has of it (kv-vmm's port forwards). */
static char *human(struct kv_machine *m, const char *line, GError **error)
{
	g_autoptr(JsonNode) answer = kv_ask(m, "human-monitor-command", kv_args("command-line", line, NULL), error);

	return !answer ? NULL : g_strdup(JSON_NODE_HOLDS_VALUE(answer) ? json_node_get_string(answer) ?: "" : "");
}

char *kv_monitor(struct domain *d, const char *command, unsigned flags, GError **error)
{
	enum { ANSWER_SECONDS = 60 };
	gint64 until = g_get_monotonic_time() + ANSWER_SECONDS * G_USEC_PER_SEC;
	struct kv_machine *m = kv_machine_of(d, error);
	g_autoptr(JsonNode) node = NULL, answer = NULL;
	g_autoptr(GError) why = NULL;

	if (!m)
		return NULL;
	if (flags & MONITOR_HMP)
		return human(m, command, error);
	node = json_from_string(command, &why);
	if (!node || !JSON_NODE_HOLDS_OBJECT(node)) {
		rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "cannot parse json %s: %s", command, why ? why->message : "no object");
		return NULL;
	}
	kv_machine_ref(m);
	answer = qmp_client_pass(m->qmp, json_node_get_object(node), -1, until, &why);
	kv_machine_unref(m);
	if (!answer)
		rpc_fail(error, VIR_ERR_OPERATION_FAILED, "%s", why->message);
	return answer ? json_to_string(answer, FALSE) : NULL;
}
