/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one register of pvpanic, wherever it is: at a port (pvpanic.c) or in a PCI function's memory (pvpanic-pci.c). */
#pragma once
#include "device.h"

extern const struct bus_ops pvpanic_ops; /* opaque: struct machine_core */
