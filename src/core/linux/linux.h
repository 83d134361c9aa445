/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel's KVM: one function, the rest are system calls. */
#pragma once
int linux_kvm_open(void); /* a descriptor of /dev/kvm with API version 12, or negative errno */
