/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connecting to sockets: of Unix, and of TCP, where a name may have several addresses, which are tried one after the other. For
 * those that go on meanwhile, step by step; for those that wait, kv_dial_wait(). A thread at a time.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct kv_dial;

/* Asks for the addresses, which may take its time; host NULL: this machine. NULL with the error set. */
struct kv_dial *kv_dial_tcp(const char *host, const char *port, GError **error);
struct kv_dial *kv_dial_unix(const char *path, GError **error);
void kv_dial_free(struct kv_dial *d); /* NULL is fine */

/*
 * A socket, non-blocking and close-on-exec, to the next address: it is connected, or with *ret_under_way on its way there, which
 * ends with POLLOUT, and how with kv_dial_result(). -1: there is no address left; errno is that of the last one.
 */
int kv_dial_next(struct kv_dial *d, bool *ret_under_way);
/* 0: the socket is connected; else an errno. The next address may have somebody. */
int kv_dial_result(struct kv_dial *d, int fd);

/* Waits for the first address that has somebody; asks now and then whether to give up (ECANCELED). -1: errno is set. */
int kv_dial_wait(struct kv_dial *d, bool (*give_up)(void *opaque), void *opaque);
