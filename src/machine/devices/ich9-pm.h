/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The power management block of ICH9 (its data sheet, 13.8; ACPI 6.4, 4.8.3): PM1 events with the SCI, the 3.58 MHz timer, sleep,
 * GPE0. A part of ich9-lpc.c, which knows where its ports are. Register accesses come in vCPU threads; it has a lock of its own,
 * under which sci() is called.
 */
#pragma once
#include "device.h"
#include "timer.h"

#define ICH9_PM_PORTS 0x80
#define ICH9_GPES     64

struct ich9_pm {
	GMutex lock;
	struct machine_core *core;
	struct chip_timer *timer; /* the counter's next turn, while that interrupts */
	void (*sci)(void *opaque, bool level);
	void *opaque;
	uint16_t status, enable, control;
	uint64_t gpe_status, gpe_enable;
	uint32_t smi_enable;
	struct chip_counter count; /* stopped until the machine runs */
	uint64_t turn;		   /* count, of 64 bits, at which bit 23 changes next */
	bool asleep;		   /* S3, from the write that asks for it to the reset that ends it */
	uint16_t wake_status;	   /* what that reset finds in status; 0: nothing has asked for it */
};

bool ich9_pm_init(struct ich9_pm *p, struct machine_core *core, void (*sci)(void *opaque, bool level), void *opaque,
		  GError **error);
void ich9_pm_clear(struct ich9_pm *p);
void ich9_pm_reset(struct ich9_pm *p);
uint64_t ich9_pm_read(struct ich9_pm *p, uint64_t offset, unsigned size);
void ich9_pm_write(struct ich9_pm *p, uint64_t offset, unsigned size, uint64_t data);
void ich9_pm_command(struct ich9_pm *p, uint8_t command); /* port 0xb2 */
void ich9_pm_power_button(struct ich9_pm *p);
void ich9_pm_gpe(struct ich9_pm *p, unsigned bit); /* it has happened */
void ich9_pm_wake(struct ich9_pm *p, enum machine_wake why);
bool ich9_pm_asleep(struct ich9_pm *p, bool *ret_woken);
/* As in struct device_class: the counter runs on while the machine is paused, as the time stamp counter does. */
void ich9_pm_pause(struct ich9_pm *p);
void ich9_pm_resume(struct ich9_pm *p);
void ich9_pm_loaded(struct ich9_pm *p);
extern const struct state_field ich9_pm_fields[];
