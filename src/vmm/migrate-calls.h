/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the threads that save a machine (migrate.c) and read a saved one (incoming.c) do: a file or a socket that is open, KVM's
 * log of what the guest has written, userfaultfd(2) for a moment's picture.
 */
#pragma once

#include "pool-calls.h"
#include "vcpu-calls.h"

static const struct role_call migrate_calls[] = {
	USE(pool_calls),
	USE(vcpu_calls),
	CALL(userfaultfd),
	CALL_IF(ioctl, 1, 0xff00, 0xaa00), /* userfaultfd's own */
	CALLS_END,
};
