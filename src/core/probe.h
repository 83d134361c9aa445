/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Is the kernel's KVM worth using? */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Times a short 64-bit kernel-mode guest on /dev/kvm. True: it runs at native speed. `text` says why (not), in one line. */
bool probe_kvm(char *text, size_t size);
