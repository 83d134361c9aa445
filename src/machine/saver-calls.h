/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the threads do that send and receive a machine (src/vmm/migrate.c, incoming.c; saver.c, saver-cow.c, loader.c): bytes of
 * descriptors that are open, KVM's log of writes, and protection of pages by userfaultfd (its ioctls have the type 0xaa).
 */
#pragma once

#include "thread-calls.h"

static const struct role_call saver_calls[] = {
	USE(thread_calls),
	CALL(poll),
	CALL(pread64),
	CALL(pwrite64),
	CALL(fallocate),
	CALL(fdatasync),
	CALL_IF(ioctl, 1, 0xff00, 0xaa00),
	CALL_IF(ioctl, 1, 0xff00, 0xae00),
	CALLS_END,
};
