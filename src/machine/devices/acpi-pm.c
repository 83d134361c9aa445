/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What hardware-reduced ACPI leaves of power management (ACPI 6.4, 4.8.3.7 and 4.8.3.6): sleep control and status, the reset
 * register, and the power button as a bit that the generic event device of the DSDT reads. Created by the board; acpi.c
 * names the ports.
 */
#include "../internal.h"
#include "acpi-pm.h"
#include "classes.h"

struct acpi_pm {
	struct device dev;
	uint8_t events; /* atomic */
};

static uint64_t pm_read(void *opaque, uint64_t offset, unsigned size)
{
	struct acpi_pm *p = opaque;

	if (offset == PM_EVENTS)
		return __atomic_exchange_n(&p->events, 0, __ATOMIC_SEQ_CST);
	return 0;
}

static void pm_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct acpi_pm *p = opaque;

	if (offset == PM_SLEEP_CONTROL && (data & PM_SLP_EN) && (data >> 2 & 7) == PM_SLP_TYP_S5)
		p->dev.core->request(p->dev.core->machine, REQUEST_POWEROFF);
	else if (offset == PM_RESET && data == PM_RESET_VALUE)
		p->dev.core->request(p->dev.core->machine, REQUEST_RESET);
}

static const struct bus_ops pm_ops = {pm_read, pm_write};

void acpi_pm_power_button(struct device *dev)
{
	struct acpi_pm *p = (struct acpi_pm *)dev;

	__atomic_fetch_or(&p->events, PM_EVENT_BUTTON, __ATOMIC_SEQ_CST);
	machine_irq(dev->core, PM_GSI, true);
	machine_irq(dev->core, PM_GSI, false);
}

static void pm_reset(struct device *dev)
{
	((struct acpi_pm *)dev)->events = 0;
}

static bool pm_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	return bus_register(dev->core->ports, PM_BASE, PM_PORTS, "acpi-pm", &pm_ops, dev, error);
}

static void pm_destroy(struct device *dev)
{
	bus_unregister(dev->core->ports, PM_BASE);
}

static const struct state_field pm_fields[] = {STATE_INT(struct acpi_pm, events, STATE_U8), STATE_END};
static const struct state_desc pm_state = {"acpi-pm", 1, 1, pm_fields, NULL, NULL};

const struct device_class device_acpi_pm = {
	.name = "acpi-pm",
	.description = "ACPI power-off, reset and power button",
	.size = sizeof(struct acpi_pm),
	.create = pm_create,
	.reset = pm_reset,
	.destroy = pm_destroy,
	.state = &pm_state,
};
