/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptors that the main thread waits for: one epoll set as one source of GLib's main loop, so that a turn costs what is
 * ready and not what is connected. ready() runs in the main thread with the state lock held. All with the state lock
 * held, in any thread.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct watch {
	int fd;
	uint32_t events; /* EPOLLIN, EPOLLOUT; hang-ups are told always */
	void (*ready)(struct watch *w, uint32_t events);
};

bool poller_start(GError **error); /* once, before all others */
/* false: not a descriptor that can be waited for (a regular file). */
bool poller_add(struct watch *w, GError **error);
void poller_set(struct watch *w, uint32_t events);
void poller_remove(struct watch *w);
/* func runs soon in the main thread, with the lock held; any thread, lock held. */
void poller_later(void (*func)(void *data), void *data);
