/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a vCPU's thread (vcpu.c) does: KVM's ioctls (all have the type 0xae, and answer on KVM's descriptors alone), what the
 * software KVM does for KVM_RUN, and what devices do in their registers' handlers: wake the main loop, write a console, wait for
 * a queue that is reset.
 */
#pragma once

#include "engine-calls.h"

static const struct role_call vcpu_calls[] = {
	USE(engine_calls),
	CALL_IF(ioctl, 1, 0xff00, 0xae00),
	CALL_IF(sendto, 4, UINT64_MAX, 0), /* to the peer of a console, and no other address */
	CALL_IF(arch_prctl, 0, UINT64_MAX, 0x1001), /* ARCH_SET_GS, ARCH_GET_GS: the software KVM without FSGSBASE */
	CALL_IF(arch_prctl, 0, UINT64_MAX, 0x1004),
	CALL(poll),
	CALL(ppoll),
	CALL(io_uring_enter),
	CALL(pwrite64), /* what is programmed into flash is in its file */
	CALLS_END,
};
