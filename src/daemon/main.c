/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvd: libvirt's protocol for machines of ours. Options, the loop. systemd's word for when we are ready is a datagram, so no
 * library is needed for it.
 */
#include <errno.h>
#include <glib-unix.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "client.h"
#include "config.h"
#include "dispatch.h"
#include "error.h"
#include "folders.h"
#include "hv.h"
#include "kv-driver.h"
#include "log.h"
#include "model-xml.h"
#include "server.h"
#include "sockets.h"
#include "workers.h"

static struct {
	gboolean system, session, libvirt_sockets, verbose, version;
	char *socket, *vmm, *config, *tls;
	int max_clients; /* 0: as kvd.conf says */
	int timeout;	 /* seconds; 0: for ever */
} options;

static const GOptionEntry entries[] = {
	{ "system", 0, 0, G_OPTION_ARG_NONE, &options.system, "Machines of this host (root's)", NULL },
	{ "session", 0, 0, G_OPTION_ARG_NONE, &options.session, "Machines of this user; what it does unless it is root", NULL },
	{ "socket", 0, 0, G_OPTION_ARG_FILENAME, &options.socket,
	  "Where it listens; PATH-ro is the socket for those who only look", "PATH" },
	{ "libvirt-sockets", 0, 0, G_OPTION_ARG_NONE, &options.libvirt_sockets, "Also where libvirt's clients look by themselves",
	  NULL },
	{ "tls", 0, 0, G_OPTION_ARG_STRING, &options.tls, "Listen on TLS as well", "[ADDRESS:]PORT" },
	{ "config", 'f', 0, G_OPTION_ARG_FILENAME, &options.config,
	  "Settings (/etc/kvasir/kvd.conf, or kvasir/kvd.conf in a user's configuration)", "FILE" },
	{ "max-clients", 0, 0, G_OPTION_ARG_INT, &options.max_clients, "Connections at once (5000)", "N" },
	{ "timeout", 't', 0, G_OPTION_ARG_INT, &options.timeout, "Leave when for so long nobody is connected and no machine runs",
	  "SECONDS" },
	{ "vmm", 0, 0, G_OPTION_ARG_FILENAME, &options.vmm, "What runs machines (kv-vmm beside kvd, or in PATH)", "PATH" },
	{ "verbose", 'v', 0, G_OPTION_ARG_NONE, &options.verbose, "Say more on standard error", NULL },
	{ "version", 0, 0, G_OPTION_ARG_NONE, &options.version, "Print the version and leave", NULL },
	{ NULL },
};

static bool parse(int *argc, char ***argv, GError **error)
{
	g_autoptr(GOptionContext) context = g_option_context_new(NULL);

	g_option_context_set_summary(context,
				     "Manages virtual machines for libvirt's clients (virsh, virt-manager, ...) and kvsh.");
	g_option_context_add_main_entries(context, entries, NULL);
	if (!g_option_context_parse(context, argc, argv, error))
		return false;
	if (*argc > 1)
		return kv_fail(error, KV_ERROR_USAGE, "'%s' is no option; see --help", (*argv)[1]);
	if (options.system && options.session)
		return kv_fail(error, KV_ERROR_USAGE, "--system and --session at once; give one");
	if (options.max_clients < 0)
		return kv_fail(error, KV_ERROR_USAGE, "--max-clients %d: give at least 1", options.max_clients);
	if (options.timeout < 0)
		return kv_fail(error, KV_ERROR_USAGE, "--timeout %d: give seconds, or 0 for none", options.timeout);
	if (!options.system && !options.session)
		options.system = geteuid() == 0;
	options.session = !options.system;
	return true;
}

/* ---- systemd ---- */

/* sd_notify(3) */
static void notify(const char *state)
{
	const char *path = g_getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd;

	if (!path || (*path != '/' && *path != '@') || strlen(path) >= sizeof(sa.sun_path))
		return;
	memcpy(sa.sun_path, path, strlen(path));
	if (*path == '@')
		sa.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&sa,
		   G_STRUCT_OFFSET(struct sockaddr_un, sun_path) + strlen(path)) < 0)
		kv_log_warn("systemd cannot be told '%s': %s", state, g_strerror(errno));
	close(fd);
}

/* Each second, with --timeout. */
static gboolean look_idle(gpointer loop)
{
	static int seconds;
	bool idle;

	state_acquire();
	idle = !clients_are_there() && workers_are_idle() && !hv_has_active();
	state_release();
	seconds = idle ? seconds + 1 : 0;
	if (seconds >= options.timeout)
		g_main_loop_quit(loop);
	return G_SOURCE_CONTINUE;
}

static gboolean stop(gpointer loop)
{
	g_main_loop_quit(loop);
	return G_SOURCE_CONTINUE;
}

static bool run(GError **error)
{
	g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
	const struct sockets sockets = { options.session, options.libvirt_sockets, options.socket, options.tls };
	bool ok;

	if (!config_read(options.config, options.session, error) || !folder_lock(options.session, error))
		return false;
	if (options.max_clients)
		config.max_clients = options.max_clients;
	hv_set_default(!options.system, options.system ? "qemu:///system" : "qemu:///session");
	if (options.vmm)
		kv_set_vmm(options.vmm);
	dispatch_start();
	state_acquire();
	ok = poller_start(error) && hv_keep_default(error) && sockets_open(&sockets, error);
	state_release();
	if (ok) {
		g_unix_signal_add(SIGTERM, stop, loop);
		g_unix_signal_add(SIGINT, stop, loop);
		if (options.timeout)
			g_timeout_add_seconds(1, look_idle, loop);
		notify("READY=1");
		g_main_loop_run(loop);
		notify("STOPPING=1");
	}
	folder_leave();
	state_acquire();
	server_stop();
	clients_close_all();
	hv_drop_default();
	state_release();
	return ok;
}

/* A client is a descriptor; what select(2) cannot count does not matter here. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int main(int argc, char **argv)
{
	g_autoptr(GError) error = NULL;

	kv_log_set_program("kvd");
	signal(SIGPIPE, SIG_IGN);
	umask(0077);
	raise_limit();
	/* Nearly all is done under one lock; an arena of a thread grows page by page, with a call for each. */
	mallopt(M_ARENA_MAX, 1);
	model_xml_end_without_memory();
	if (parse(&argc, &argv, &error) && options.version) {
		g_print("kvd %s\n", KV_VERSION);
		return 0;
	}
	kv_log_set_quiet(!options.verbose);
	if (!error && run(&error))
		return 0;
	kv_log_error("%s", error->message);
	return 1;
}
