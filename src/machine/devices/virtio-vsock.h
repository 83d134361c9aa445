/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtio socket device's way to the host's sockets (virtio-vsock-host.c), and what a connection is. Main thread unless said.
 */
#pragma once
#include "virtio-pci.h"

/* A socket that takes clients at `path`; -1 with an error. Closing removes the path. */
int vsock_host_listen(const char *path, GError **error);
void vsock_host_close(int fd, const char *path);
/* To whoever listens at `path`_`port`; non-blocking. -1: nobody. */
int vsock_host_connect(const char *path, uint32_t port);
