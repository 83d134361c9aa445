/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registers by which a guest learns of processors that come and go (acpi-cpu-hotplug.md). Processors are indices, those of
 * the machine's vCPUs. Main thread, but for what core.h's cpu_eject and notices are called from: a vCPU's thread.
 */
#pragma once
#include "device.h"

#define CPU_HOTPLUG_PORTS 12
#define CPU_HOTPLUG_GPE	  2
#define CPU_HOTPLUG_MAX	  64

struct cpu_ost {
	uint32_t event, status; /* what the guest last said of it (ACPI 6.4, 6.3.5) */
};

/* tell: the guest is told that it came; without, as it was when the guest started. */
void cpu_hotplug_set(struct device *dev, unsigned index, bool present, bool tell);
void cpu_hotplug_ask(struct device *dev, unsigned index); /* the guest is to let go of it */
struct cpu_ost cpu_hotplug_ost(struct device *dev, unsigned index);
