/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sockets that clients come in by. All called by sockets.c and main.c, before the loop runs and after. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

#include "client.h"

enum server_welcome {
	SERVER_OWNER, /* this user and root */
	SERVER_GROUP, /* and members of a group */
	SERVER_ALL,
};

struct server_socket {
	struct client_kind kind;
	/* Of a Unix socket: its file's group (-1: as it is) and mode, and who is welcome, by the kernel's word. */
	enum server_welcome welcome;
	gid_t group;
	mode_t mode;
};

/* fd: one that listens already (socket activation), or -1; then path is made, and removed by server_stop(). */
bool server_listen(int fd, const char *path, const struct server_socket *s, GError **error);
/* address NULL: all of this host's. */
bool server_listen_tcp(const char *address, const char *port, const struct server_socket *s, GError **error);
void server_stop(void);
