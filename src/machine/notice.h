/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What devices have to tell whoever runs the machine: QMP's events are made of it. Devices send it (device.h), machine.h hands on. */
#pragma once
#include <stdbool.h>

enum machine_notice {
	NOTICE_PORT, /* the guest opened (on) or closed port `name` of its serial bus */
};
