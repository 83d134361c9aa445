/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sockets that we listen on: consoles, monitors, NBD. The file of a Unix one is its owner's (0600); who listens unlinks it. */
#pragma once
#include <glib.h>

/*
 * A listening descriptor, non-blocking and close-on-exec, or -1 with the error set. what: "console socket", for messages. A
 * leftover socket file that nobody listens on is replaced, anything else that is there already is refused.
 */
int kv_listen_unix(const char *what, const char *path, GError **error);

/* Likewise on a port of TCP; address NULL: all; of one with several the first that can be had. */
int kv_listen_tcp(const char *address, const char *port, GError **error);

/*
 * The next connection, close-on-exec and with more flags of accept4(2); -1: none. For who is told by a poll: when the process has
 * no descriptors left this rests for some milliseconds, as the connection still waits and the poll would come back at once.
 */
int kv_listen_accept(int fd, int flags);

/* The folder of a socket's file, so that the file can be removed when the process has no names of files any more; -1: unknown. */
int kv_listen_folder(const char *path);
/* Removes the socket's file, when the process may, and closes the folder. */
void kv_listen_remove(int folder, const char *path);
