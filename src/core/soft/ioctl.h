/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ioctl tables of the three kinds of descriptors: ioctl.c has the system's and the dispatch, the others one a file. */
#pragma once
#include "fd.h"

/* Handlers get the ioctl's argument as it is (a pointer or a number) and return a result or negative errno. */
struct vm_ioctl {
	unsigned long nr;
	long (*fn)(struct vm *vm, unsigned long arg);
};
struct vcpu_ioctl {
	unsigned long nr;
	long (*fn)(struct vcpu *v, unsigned long arg);
};

long vm_ioctl(struct handle *h, unsigned long nr, unsigned long arg);
long vcpu_ioctl(struct vcpu *v, unsigned long nr, unsigned long arg);
extern const struct vcpu_ioctl vcpu_state_ioctls[]; /* ioctl-state.c; ends with nr 0 */
/* KVM_CHECK_EXTENSION */
long extension_value(unsigned long cap);
#define MCG_CAP_SUPPORTED (1ull << 8 | 1ull << 24) /* MCG_CTL_P, MCG_SER_P */
