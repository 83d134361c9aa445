/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's side of virtio sockets: Unix sockets by the convention that Firecracker and Cloud Hypervisor share. One takes
 * clients for the guest's ports, the guest's own connections go to one a port. See virtio-vsock.h.
 */
#include "virtio-vsock.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "error.h"
#include "listen.h"

#define SUFFIX_MAX 11 /* _4294967295 */

int vsock_host_listen(const char *path, GError **error)
{
	if (strlen(path) + SUFFIX_MAX >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
		kv_fail(error, KV_ERROR_USAGE, "vsock socket '%s': the path is too long", path);
		return -1;
	}
	return kv_listen_unix("vsock socket", path, error);
}

void vsock_host_close(int fd, const char *path)
{
	close(fd);
	unlink(path);
}

int vsock_host_connect(const char *path, uint32_t port)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	g_snprintf(sa.sun_path, sizeof(sa.sun_path), "%s_%u", path, port);
	if (!connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		return fd;
	close(fd);
	return -1;
}
