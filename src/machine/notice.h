/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What devices have to tell whoever runs the machine: QMP's events are made of it. Devices send it (device.h), machine.h hands
 * on.
 */
#pragma once
#include <stdint.h>

enum machine_notice {
	NOTICE_PORT,	     /* the guest opened (1) or closed (0) port `name` of its serial bus */
	NOTICE_PANICKED,     /* the guest's kernel says so */
	NOTICE_CRASH_LOADED, /* ... and that it takes a dump */
	NOTICE_WATCHDOG,     /* nobody has fed it */
	NOTICE_BALLOON,	     /* what its balloon has in it is another (query.h) */
	NOTICE_RX_FILTER,    /* a card wants other frames (query.h) */
	NOTICE_CLOCK,	     /* the guest set its clock chip: seconds (two's complement) to what --rtc says */
	NOTICE_CPU_OST,	     /* the guest said how it went with processor `value` that came or is to go (machine_cpu_ost()) */
	NOTICE_EXIT,	     /* the process is to end with this status */
};
