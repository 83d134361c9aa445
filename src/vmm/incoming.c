/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Receives the machine (--incoming, migrate-incoming). A thread reads memory, so that QMP answers meanwhile; the main thread
 * opens the disks for writing when all has come, loads the state, and lets the machine run if it did where it was. A file is
 * mapped, for which no thread is worth its while. What fails ends the process, as QEMU's does. See migrate.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib-unix.h>

#include "error.h"
#include "listen.h"
#include "log.h"
#include "machine.h"
#include "migrate.h"
#include "role.h"
#include "vmm.h"

struct incoming {
	struct vmm *vmm;
	int fd;
	GSource *listen, *call;
	char *socket; /* to be removed; NULL: none */
	struct loader *loader;
	GThread *thread;
	GError *result;
};

static void free_incoming(struct vmm *vmm)
{
	struct incoming *in = vmm->incoming;

	for (unsigned i = 0; i < 2; i++) {
		GSource **s = i ? &in->listen : &in->call;

		if (*s)
			g_source_destroy(*s);
		g_clear_pointer(s, g_source_unref);
	}
	if (in->socket)
		unlink(in->socket);
	g_free(in->socket);
	loader_free(in->loader);
	g_clear_error(&in->result);
	if (in->fd >= 0)
		close(in->fd);
	g_free(in);
	vmm->incoming = NULL;
}

void incoming_close(struct vmm *vmm)
{
	struct incoming *in = vmm->incoming;

	if (!in)
		return;
	if (in->thread) {
		loader_cancel(in->loader);
		g_thread_join(in->thread);
	}
	free_incoming(vmm);
}

static bool load(struct vmm *vmm, GError **error)
{
	struct incoming *in = vmm->incoming;
	bool running = false, mapped;

	if (!vmm_take_disks(vmm, error) || !loader_finish(in->loader, &running, error))
		return false;
	mapped = loader_mapped(in->loader);
	if (mapped) {
		vmm->saved_fd = in->fd;
		in->fd = -1;
	}
	free_incoming(vmm);
	vmm->stop_reason = NULL;
	migrate_set_status(vmm, MIGRATE_COMPLETED);
	return !running || !vmm->autostart || vmm_go(vmm, error);
}

static void finish(struct vmm *vmm, bool ok, GError *failure)
{
	g_autoptr(GError) error = failure;

	if (ok && load(vmm, &error))
		return;
	migrate_set_status(vmm, MIGRATE_FAILED);
	kv_log_error("--incoming: %s", error->message);
	vmm_fail(vmm);
}

static gboolean all_read(gpointer opaque)
{
	struct incoming *in = opaque;
	GError *error = g_steal_pointer(&in->result);

	g_thread_join(g_steal_pointer(&in->thread));
	finish(in->vmm, !error, error);
	return G_SOURCE_REMOVE;
}

static gpointer read_thread(gpointer opaque)
{
	struct incoming *in = opaque;

	kv_role_enter("saver");
	loader_read(in->loader, &in->result);
	g_source_attach(in->call, NULL);
	return NULL;
}

static void begin(struct incoming *in)
{
	in->loader = loader_new(in->vmm->machine, in->fd);
	in->call = g_idle_source_new();
	g_source_set_priority(in->call, G_PRIORITY_HIGH);
	g_source_set_callback(in->call, all_read, in, NULL);
	migrate_set_status(in->vmm, MIGRATE_ACTIVE);
	in->thread = g_thread_new("incoming", read_thread, in);
}

static gboolean on_connection(gint fd, GIOCondition condition, gpointer opaque)
{
	struct incoming *in = opaque;
	int peer = kv_listen_accept(fd, SOCK_NONBLOCK);

	if (peer < 0)
		return G_SOURCE_CONTINUE;
	close(in->fd);
	in->fd = peer;
	if (in->socket)
		unlink(in->socket);
	g_clear_pointer(&in->socket, g_free);
	g_clear_pointer(&in->listen, g_source_unref);
	begin(in);
	return G_SOURCE_REMOVE;
}

static void wait_for_peer(struct incoming *in, const char *uri)
{
	if (g_str_has_prefix(uri, "unix:"))
		in->socket = g_strdup(uri + strlen("unix:"));
	in->listen = g_unix_fd_source_new(in->fd, G_IO_IN);
	g_source_set_callback(in->listen, G_SOURCE_FUNC(on_connection), in, NULL);
	g_source_attach(in->listen, NULL);
}

static bool is_file(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static bool load_file(struct vmm *vmm, GError **error)
{
	struct incoming *in = vmm->incoming;

	in->loader = loader_new(vmm->machine, in->fd);
	migrate_set_status(vmm, MIGRATE_ACTIVE);
	return loader_read(in->loader, error) && load(vmm, error);
}

/* A pipe or socket is not to hold the thread where it cannot be told to stop. */
static void never_wait(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

bool incoming_start(struct vmm *vmm, const char *uri, GError **error)
{
	bool listens;
	int fd = migrate_open_source(vmm, uri, &listens, error);

	if (fd < 0)
		return false;
	vmm->incoming_deferred = false;
	vmm->incoming = g_new0(struct incoming, 1);
	*vmm->incoming = (struct incoming){ .vmm = vmm, .fd = fd };
	migrate_set_status(vmm, MIGRATE_SETUP);
	if (listens) {
		wait_for_peer(vmm->incoming, uri);
	} else if (is_file(fd)) {
		if (load_file(vmm, error))
			return true;
		migrate_set_status(vmm, MIGRATE_FAILED);
		return false;
	} else {
		never_wait(fd);
		begin(vmm->incoming);
	}
	return true;
}
