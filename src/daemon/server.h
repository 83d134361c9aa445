/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sockets that clients come in by. All called by main.c, before the loop runs and after. */
#pragma once
#include <glib.h>
#include <stdbool.h>

enum server_access {
	SERVER_OWNER,	 /* this user and root, reading and writing */
	SERVER_LOOK,	 /* the same, read-only */
	SERVER_LOOK_ALL, /* everybody, read-only */
};

/* fd: one that listens already (socket activation), or -1; then path is made, and removed by server_stop(). */
bool server_listen(int fd, const char *path, enum server_access access, GError **error);
void server_stop(void);
