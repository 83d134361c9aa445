/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What saving and loading a machine does (saver.c, saver-cow.c, loader.c, vmm/migrate.c): a stream or a file, its name when it is
 * whole, memory that is write-protected or mapped from the file. A QMP client asks for it. saver_thread_calls: of that, what the
 * threads do that move memory: bytes of descriptors that are open, KVM's log of writes, protection of pages.
 */
#pragma once

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include "thread-calls.h"

static const struct role_call saver_calls[] = {
	CALL(pread64),
	CALL(pwrite64),
	CALL(lseek),
	CALL(rename),
	CALL(renameat),
	CALL(renameat2),
	CALL(fsync),
	CALL(fdatasync),
	CALL(ftruncate),
	CALL(fallocate),
	CALL(flock),
	CALL(fstat),
	CALL(newfstatat),
	CALL(sendmsg),
	CALL(recvmsg),
	CALL(pipe2),
	CALL_IS(ioctl, 1, UFFDIO_REGISTER),
	CALL_IS(ioctl, 1, UFFDIO_UNREGISTER),
	CALL_IS(ioctl, 1, UFFDIO_WRITEPROTECT),
	CALL_IS(ioctl, 1, UFFDIO_WAKE),
	CALLS_END,
};

static const struct role_call saver_thread_calls[] = {
	USE(thread_calls),
	CALL(poll),
	CALL(lseek),
	CALL(pread64),
	CALL(pwrite64),
	CALL(fallocate),
	CALL(fdatasync),
	CALL_IF(ioctl, 1, 0xff00, 0xae00),
	CALL_IS(ioctl, 1, UFFDIO_UNREGISTER),
	CALL_IS(ioctl, 1, UFFDIO_WRITEPROTECT),
	CALLS_END,
};
