/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a thread of the image pool (file-queue.c) does: bytes of files that are open, room in them, locks on them, sockets of
 * NBD exports that are connected.
 */
#pragma once

#include <linux/fs.h>

#include "thread-calls.h"

static const struct role_call pool_calls[] = {
	USE(thread_calls),
	CALL(pread64),
	CALL(pwrite64),
	CALL(preadv),
	CALL(pwritev),
	CALL(preadv2),
	CALL(pwritev2),
	CALL(readv),
	CALL(fsync),
	CALL(fdatasync),
	CALL(fallocate),
	CALL(ftruncate),
	CALL(fstatfs),
	CALL(fadvise64),
	CALL(copy_file_range),
	CALL_IS(ioctl, 1, FICLONERANGE),
	CALL_IS(ioctl, 1, BLKDISCARD),
	CALL_IS(ioctl, 1, BLKZEROOUT),
	CALL_IS(ioctl, 1, BLKGETSIZE64),
	CALL_IS(ioctl, 1, BLKROGET),
	CALL_IS(ioctl, 1, BLKSSZGET),
	CALL_IS(fcntl, 1, F_OFD_GETLK),
	CALL_IS(fcntl, 1, F_OFD_SETLK),
	CALL(io_uring_enter),
	/* NBD */
	CALL(poll),
	CALL(ppoll),
	CALL(recvfrom),
	CALL(recvmsg),
	CALL(sendto),
	CALL(sendmsg),
	CALL(shutdown),
	CALL(getsockopt),
	CALLS_END,
};
