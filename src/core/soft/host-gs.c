/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See host-gs.h. */
#include "host-gs.h"

#define AUX_HWCAP2 26 /* <sys/auxv.h> clashes with the page-fault bits of state.h */
#define HWCAP2_FSGSBASE_BIT (1u << 1)
unsigned long getauxval(unsigned long type);

bool host_gs_by_kernel;

void host_gs_init(void)
{
	host_gs_by_kernel = !(getauxval(AUX_HWCAP2) & HWCAP2_FSGSBASE_BIT);
}
