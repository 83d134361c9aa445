/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an I/O thread (iothread.c) does: rings of disks, the queues to their images, which make threads of a pool, and KVM's
 * ioctls for interrupts.
 */
#pragma once

#include <linux/kvm.h>

#include "engine-calls.h"
#include "pool-calls.h"

static const struct role_call iothread_calls[] = {
	USE(pool_calls),
	USE(engine_calls),
	USE(new_thread_calls),
	CALL_IS(ioctl, 1, KVM_SIGNAL_MSI),
	CALL_IS(ioctl, 1, KVM_IRQ_LINE),
	CALLS_END,
};
