/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the main loop's thread does, and with it what any other may do, since threads have the filter of who makes them beside
 * their own. files_calls: with --qmp, whose client names files, makes sockets and has modules loaded.
 */
#pragma once

#include <asm/ioctls.h>
#include <sys/socket.h>

#include "boot-calls.h"
#include "conn-calls.h"
#include "iothread-calls.h"
#include "job-calls.h"
#include "saver-calls.h"
#include "vcpu-calls.h"
#include "viewer-calls.h"

static const struct role_call main_calls[] = {
	USE(vcpu_calls),
	USE(boot_calls),
	USE(pool_calls),
	USE(iothread_calls),
	USE(new_thread_calls),
	USE(viewer_calls),
	CALL(eventfd2),
	CALL(signalfd4),
	CALL(timerfd_create),
	CALL(uname),
	CALL(sysinfo),
	CALL(getuid),
	CALL(geteuid),
	CALL(getgid),
	CALL(getegid),
	CALL_IF(prlimit64, 2, UINT64_MAX, 0), /* asks, sets nothing */
	/* Consoles: terminals, a client on the socket that listens, the socket's file that goes at the end. */
	CALL_IS(ioctl, 1, TCGETS),
	CALL_IS(ioctl, 1, TCSETS),
	CALL_IS(ioctl, 1, TCSETSW),
	CALL_IS(ioctl, 1, TCSETSF),
	CALL_IS(ioctl, 1, TIOCGWINSZ),
	CALL(accept4),
	CALL_IS(socketpair, 0, AF_UNIX), /* a VNC viewer's TLS */
	CALL(unlinkat),
	REFUSE(unlink, EACCES),
	CALLS_END,
};

static const struct role_call files_calls[] = {
	USE(nbd_calls),
	USE(job_calls),
	USE(saver_calls),
	CALL(memfd_create),
	CALL(mbind), /* this one and the next: memory backends */
	CALL_IS(fcntl, 1, F_ADD_SEALS),
	CALL_IS(ioctl, 1, FIONREAD),
	CALL_IS(ioctl, 1, FIONBIO),
	/* Modules: code out of files, which is never writable. */
	CALL_IF(mmap, 2, PROT_EXEC | PROT_WRITE, PROT_EXEC),
	CALL_IF(mprotect, 2, PROT_EXEC | PROT_WRITE, PROT_EXEC),
	/* Sockets; netlink is getaddrinfo()'s. */
	CALL_IS(socket, 0, AF_UNIX),
	CALL_IS(socket, 0, AF_INET),
	CALL_IS(socket, 0, AF_INET6),
	CALL_IS(socket, 0, AF_NETLINK),
	CALL(socketpair),
	CALL(bind),
	CALL(listen),
	CALL(accept),
	CALL(connect),
	CALL(sendmmsg),
	CALL(recvmmsg),
	CALLS_END,
};
