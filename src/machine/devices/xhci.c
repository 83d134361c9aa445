/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A USB controller (xHCI 1.0, xhci.h) as a PCI function with MSI-X: registers (chapter 5), root ports (4.19), interrupts (4.17),
 * and its place in the machine. The identity is QEMU's qemu-xhci, which drivers know. Created by --device, and by the boards when
 * something is to be plugged in.
 */
#include <string.h>

#include "bytes.h"
#include "classes.h"
#include "error.h"
#include "log.h"
#include "xhci.h"

enum {
	BAR_SIZE = 0x4000,
	OPERATIONAL = 0x40,
	PORTS = 0x440,
	PORT_SIZE = 0x10,
	RUNTIME = 0x1000,
	INTERRUPTERS = 0x1020,
	INTERRUPTER_SIZE = 0x20,
	DOORBELLS = 0x2000,
	MSIX = 0x3000,
	FRAME_US = 125,
};
enum { CMD_RUN = 1, CMD_RESET = 2, CMD_INTERRUPTS = 4, CMD_SAVE = 1 << 8, CMD_RESTORE = 1 << 9, CMD_KEPT = 0xc0d };
enum { STS_HALTED = 1, STS_EVENT = 8, STS_PORT = 0x10, STS_RESTORE_FAILED = 1 << 10, STS_ERROR = 1 << 12 };
enum { CRCR_CYCLE = 1, CRCR_STOP = 2, CRCR_ABORT = 4, CRCR_RUNNING = 8 };
enum { IMAN_PENDING = 1, IMAN_ENABLED = 2, ERDP_BUSY = 8 };
enum {
	PORT_CONNECTED = 1 << 0,
	PORT_ENABLED = 1 << 1,
	PORT_RESET = 1 << 4,
	PORT_LINK_SHIFT = 5,
	PORT_POWER = 1 << 9,
	PORT_SPEED_SHIFT = 10,
	PORT_LINK_WRITE = 1 << 16,
	PORT_CONNECT_CHANGE = 1 << 17,
	PORT_WARM_CHANGE = 1 << 19,
	PORT_RESET_CHANGE = 1 << 21,
	PORT_LINK_CHANGE = 1 << 22,
	PORT_CHANGES = 0xfe << 16,
	PORT_WAKE = 7 << 25,
};
#define PORT_WARM_RESET (1u << 31)
enum { LINK_U0 = 0, LINK_U3 = 3, LINK_DETECT = 5, LINK_POLLING = 7 };

/* Capability registers, and the supported protocols behind them (5.3, 7.2). */
static const uint32_t capabilities[OPERATIONAL / 4] = {
	0x01000000 | OPERATIONAL,
	XHCI_PORTS << 24 | XHCI_INTERRUPTERS << 8 | XHCI_SLOTS,
	0x0000000f, /* a whole millisecond's scheduling threshold; one segment of events */
	0,
	0x00080001, /* 64-bit addresses; what follows is at 0x20 */
	DOORBELLS,
	RUNTIME,
	0,
	0x02000402, 0x20425355 /* "USB " */, XHCI_PORTS / 2 << 8 | 1, 0,
	0x03000002, 0x20425355, XHCI_PORTS / 2 << 8 | (XHCI_PORTS / 2 + 1), 0,
};

static struct xhci *of_bus(struct usb_bus *bus)
{
	return (struct xhci *)((char *)bus - offsetof(struct xhci, bus));
}

bool xhci_running(const struct xhci *x)
{
	return (x->usbcmd & CMD_RUN) && !(x->usbsts & STS_ERROR);
}

void xhci_fail(struct xhci *x, const char *why)
{
	if (!(x->usbsts & STS_ERROR))
		kv_log_debug("%s: %s; the controller stands still", x->pci.dev.id, why);
	x->usbsts |= STS_ERROR | STS_HALTED;
	x->usbcmd &= ~(uint32_t)CMD_RUN;
}

void xhci_kick(struct xhci *x)
{
	g_source_set_ready_time(x->worker, 0);
}

struct usb_device *xhci_slot_device(struct xhci *x, unsigned slot)
{
	unsigned port = x->slot[slot].port;

	return port ? x->port[port - 1].usb : NULL;
}

/* ---- interrupts ---- */

/* Pending, and nothing holds it back. */
static bool interrupts(const struct xhci *x, unsigned n)
{
	return (x->intr[n].iman & IMAN_PENDING) && (x->intr[n].iman & IMAN_ENABLED) && (x->usbcmd & CMD_INTERRUPTS);
}

static void update_line(struct xhci *x)
{
	pci_set_intx(&x->pci, interrupts(x, 0) && !pci_msix_enabled(&x->pci));
}

/* Now (4.17), or when the driver has switched interrupts on again, and this comes once more. */
static void deliver(struct xhci *x, unsigned n)
{
	if (interrupts(x, n) && pci_msix_enabled(&x->pci)) {
		x->intr[n].iman &= ~(uint32_t)IMAN_PENDING;
		pci_msix_notify(&x->pci, (uint16_t)n);
	}
	if (!n)
		update_line(x);
}

/* While the driver is busy it looks itself, and says when it is not any more (write_erdp()). */
void xhci_raise(struct xhci *x, unsigned interrupter)
{
	struct xhci_interrupter *i = &x->intr[interrupter];

	x->usbsts |= STS_EVENT;
	if (i->erdp & ERDP_BUSY)
		return;
	i->erdp |= ERDP_BUSY;
	i->iman |= IMAN_PENDING;
	deliver(x, interrupter);
}

/* ---- ports ---- */

static void port_changed(struct xhci *x, unsigned n, uint32_t change)
{
	struct xhci_port *p = &x->port[n];

	if ((p->portsc & change) == change)
		return;
	p->portsc |= change;
	p->event = true;
	xhci_kick(x);
}

/* What hangs at it now. */
static void update_port(struct xhci *x, unsigned n)
{
	struct xhci_port *p = &x->port[n];
	unsigned link = LINK_DETECT;

	p->portsc = (p->portsc & (uint32_t)(PORT_CHANGES | PORT_WAKE)) | PORT_POWER;
	if (p->usb) {
		bool super = p->usb->speed == USB_SUPER;

		/* A USB 3 link trains by itself, USB 2 waits for a reset. */
		link = super ? LINK_U0 : LINK_POLLING;
		p->portsc |= PORT_CONNECTED | (uint32_t)p->usb->speed << PORT_SPEED_SHIFT | (super ? PORT_ENABLED : 0);
	}
	p->portsc |= link << PORT_LINK_SHIFT;
}

static void reset_port(struct xhci *x, unsigned n, bool warm)
{
	struct xhci_port *p = &x->port[n];

	if (!p->usb)
		return;
	usb_reset(p->usb);
	p->portsc = (p->portsc & ~(uint32_t)(15 << PORT_LINK_SHIFT | PORT_RESET)) | PORT_ENABLED | LINK_U0 << PORT_LINK_SHIFT;
	port_changed(x, n, PORT_RESET_CHANGE | (warm && n >= XHCI_PORTS / 2 ? PORT_WARM_CHANGE : 0));
}

static void write_link(struct xhci *x, unsigned n, unsigned link)
{
	struct xhci_port *p = &x->port[n];
	unsigned old = p->portsc >> PORT_LINK_SHIFT & 15;

	if ((link != LINK_U0 || old == LINK_U0) && (link != LINK_U3 || old >= LINK_U3))
		return;
	p->portsc = (p->portsc & ~(uint32_t)(15 << PORT_LINK_SHIFT)) | link << PORT_LINK_SHIFT;
	if (link == LINK_U0)
		port_changed(x, n, PORT_LINK_CHANGE);
}

static void write_portsc(struct xhci *x, unsigned n, uint32_t v)
{
	struct xhci_port *p = &x->port[n];

	if (v & (PORT_WARM_RESET | PORT_RESET)) {
		reset_port(x, n, v & PORT_WARM_RESET);
		return;
	}
	p->portsc &= ~(v & (uint32_t)PORT_CHANGES);
	if (v & PORT_ENABLED)
		p->portsc &= ~(uint32_t)PORT_ENABLED; /* that disables it */
	p->portsc = (p->portsc & ~(uint32_t)(PORT_POWER | PORT_WAKE)) | (v & (uint32_t)(PORT_POWER | PORT_WAKE));
	if ((v & PORT_LINK_WRITE) && (p->portsc & PORT_CONNECTED))
		write_link(x, n, v >> PORT_LINK_SHIFT & 15);
}

static void tell_ports(struct xhci *x)
{
	for (unsigned n = 0; n < XHCI_PORTS; n++) {
		if (!x->port[n].event || !xhci_events_room(x, 0, 1))
			continue;
		x->port[n].event = false;
		x->usbsts |= STS_PORT;
		xhci_event(x, 0, (uint64_t)(n + 1) << 24, (uint32_t)XHCI_SUCCESS << 24, XHCI_PORT_EVENT << 10);
	}
}

/* ---- the bus ---- */

static bool attach(struct usb_bus *bus, struct usb_device *d, GError **error)
{
	struct xhci *x = of_bus(bus);
	g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&bus->lock);

	for (unsigned i = 0; i < XHCI_PORTS; i++) {
		/* The fast ones first, for who can be fast. */
		unsigned n = (i + XHCI_PORTS / 2) % XHCI_PORTS;
		enum usb_speed speed = n >= XHCI_PORTS / 2 ? USB_SUPER : USB_HIGH;

		if (x->port[n].usb || !d->function->config[speed].data)
			continue;
		d->speed = speed;
		d->port = n;
		x->port[n].usb = d;
		update_port(x, n);
		port_changed(x, n, PORT_CONNECT_CHANGE);
		return true;
	}
	return kv_fail(error, KV_ERROR_USAGE, "%s: no USB port of %s is free", d->dev.id, x->pci.dev.id);
}

static void ring_all(struct xhci *x, unsigned port)
{
	for (unsigned i = 1; i <= XHCI_SLOTS; i++)
		if (x->slot[i].enabled && x->slot[i].port == port)
			x->slot[i].doorbells = ~1u;
	xhci_kick(x);
}

/* Transfers that wait fail. */
static void detach(struct usb_bus *bus, struct usb_device *d)
{
	struct xhci *x = of_bus(bus);

	g_mutex_lock(&bus->lock);
	x->port[d->port].usb = NULL;
	update_port(x, d->port);
	port_changed(x, d->port, PORT_CONNECT_CHANGE);
	ring_all(x, d->port + 1);
	g_mutex_unlock(&bus->lock);
}

static void ready(struct usb_bus *bus, struct usb_device *d, unsigned endpoint, bool in)
{
	struct xhci *x = of_bus(bus);

	for (unsigned i = 1; i <= XHCI_SLOTS; i++)
		if (x->slot[i].enabled && x->slot[i].port == d->port + 1)
			x->slot[i].doorbells |= 1u << (2 * endpoint + in);
	xhci_kick(x);
}

/* ---- work ---- */

static void work(struct xhci *x)
{
	tell_ports(x);
	if (x->command_doorbell)
		xhci_commands(x);
	for (unsigned i = 1; i <= XHCI_SLOTS; i++)
		for (unsigned dci = 1; dci < XHCI_ENDPOINTS && x->slot[i].doorbells; dci++)
			if (x->slot[i].doorbells & 1u << dci)
				xhci_endpoint_work(x, i, dci);
}

static gboolean on_work(gpointer opaque)
{
	struct xhci *x = opaque;

	g_source_set_ready_time(x->worker, -1);
	g_mutex_lock(&x->bus.lock);
	if (!x->paused && xhci_running(x))
		work(x);
	g_mutex_unlock(&x->bus.lock);
	return G_SOURCE_CONTINUE;
}

static gboolean worker_dispatch(GSource *source, GSourceFunc callback, gpointer opaque)
{
	return callback(opaque);
}

static GSourceFuncs worker_funcs = {.dispatch = worker_dispatch};

/* ---- registers ---- */

/* As after power-on; devices keep their ports. */
static void reset(struct xhci *x)
{
	x->usbcmd = x->dnctrl = x->config = x->crcr_low = 0;
	x->usbsts = STS_HALTED;
	x->dcbaap = 0;
	x->commands = (struct xhci_ring){0};
	x->commands_run = x->command_doorbell = false;
	xhci_slots_reset(x);
	memset(x->intr, 0, sizeof(x->intr));
	for (unsigned n = 0; n < XHCI_PORTS; n++) {
		struct xhci_port *p = &x->port[n];

		p->portsc = 0;
		p->event = false;
		if (p->usb)
			usb_reset(p->usb);
		update_port(x, n);
		if (p->usb)
			port_changed(x, n, PORT_CONNECT_CHANGE);
	}
	update_line(x);
}

static void write_command(struct xhci *x, uint32_t v)
{
	bool was = x->usbcmd & CMD_RUN;

	if (v & CMD_RESET) {
		reset(x);
		return;
	}
	if (v & CMD_SAVE)
		x->usbsts &= ~(uint32_t)STS_RESTORE_FAILED;
	if (v & CMD_RESTORE)
		x->usbsts |= STS_RESTORE_FAILED; /* nothing was saved: the driver begins anew */
	x->usbcmd = v & CMD_KEPT;
	if (x->usbsts & STS_ERROR)
		x->usbcmd &= ~(uint32_t)CMD_RUN;
	if (x->usbcmd & CMD_RUN)
		x->usbsts &= ~(uint32_t)STS_HALTED;
	else
		x->usbsts |= STS_HALTED;
	if (!was && (x->usbcmd & CMD_RUN))
		x->started = g_get_monotonic_time();
	if (!(x->usbcmd & CMD_RUN))
		x->commands_run = false;
	for (unsigned n = 0; n < XHCI_INTERRUPTERS; n++)
		deliver(x, n);
	xhci_kick(x);
}

static void write_crcr(struct xhci *x, uint32_t high)
{
	if (x->commands_run) {
		/* Commands end at once: none is under way. */
		if (x->crcr_low & (CRCR_STOP | CRCR_ABORT)) {
			x->commands_run = x->command_doorbell = false;
			xhci_event(x, 0, x->commands.dequeue, (uint32_t)XHCI_COMMAND_RING_STOPPED << 24,
				   XHCI_COMMAND_EVENT << 10);
		}
		return;
	}
	x->commands.dequeue = (x->crcr_low & ~63u) | (uint64_t)high << 32;
	x->commands.cycle = x->crcr_low & CRCR_CYCLE;
}

static void put_half(uint64_t *v, bool high, uint32_t half)
{
	*v = high ? (*v & UINT32_MAX) | (uint64_t)half << 32 : (*v & ~(uint64_t)UINT32_MAX) | half;
}

static uint32_t half_of(uint64_t v, bool high)
{
	return (uint32_t)(high ? v >> 32 : v);
}

static uint32_t read_operational(const struct xhci *x, uint32_t at)
{
	switch (at) {
	case 0:
		return x->usbcmd;
	case 4:
		return x->usbsts;
	case 8:
		return 1; /* pages of 4 KiB */
	case 0x14:
		return x->dnctrl;
	case 0x18:
		return x->commands_run ? CRCR_RUNNING : 0;
	case 0x30:
	case 0x34:
		return half_of(x->dcbaap, at & 4);
	case 0x38:
		return x->config;
	}
	return 0;
}

static void write_operational(struct xhci *x, uint32_t at, uint32_t v)
{
	switch (at) {
	case 0:
		write_command(x, v);
		break;
	case 4:
		x->usbsts &= ~(v & (STS_EVENT | STS_PORT | STS_RESTORE_FAILED));
		break;
	case 0x14:
		x->dnctrl = v & 0xffff;
		break;
	case 0x18:
		x->crcr_low = v;
		break;
	case 0x1c:
		write_crcr(x, v);
		break;
	case 0x30:
	case 0x34:
		put_half(&x->dcbaap, at & 4, v);
		break;
	case 0x38:
		x->config = v & 0xff;
		break;
	}
}

static uint32_t read_port(const struct xhci *x, uint32_t at)
{
	unsigned n = at / PORT_SIZE;

	return n < XHCI_PORTS && !(at % PORT_SIZE) ? x->port[n].portsc : 0;
}

static uint32_t read_runtime(const struct xhci *x, uint32_t at)
{
	const struct xhci_interrupter *i;

	if (at == RUNTIME)
		return (uint32_t)((g_get_monotonic_time() - x->started) / FRAME_US) & 0x3fff;
	if (at < INTERRUPTERS || (at - INTERRUPTERS) / INTERRUPTER_SIZE >= XHCI_INTERRUPTERS)
		return 0;
	i = &x->intr[(at - INTERRUPTERS) / INTERRUPTER_SIZE];
	switch (at % INTERRUPTER_SIZE) {
	case 0:
		return i->iman;
	case 4:
		return i->imod;
	case 8:
		return i->erstsz;
	case 0x10:
	case 0x14:
		return half_of(i->erstba, at & 4);
	case 0x18:
	case 0x1c:
		return half_of(i->erdp, at & 4);
	}
	return 0;
}

static void write_erdp(struct xhci *x, unsigned n, bool high, uint32_t v)
{
	struct xhci_interrupter *i = &x->intr[n];
	bool busy = i->erdp & ERDP_BUSY;

	/* Its busy bit is cleared by a 1. */
	if (!high)
		v = (v & ~(uint32_t)ERDP_BUSY) | (busy && !(v & ERDP_BUSY) ? ERDP_BUSY : 0);
	put_half(&i->erdp, high, v);
	if (!high && busy && !(i->erdp & ERDP_BUSY) && xhci_events_waiting(x, n))
		xhci_raise(x, n);
	xhci_kick(x); /* there may be room for events now */
}

static void write_runtime(struct xhci *x, uint32_t at, uint32_t v)
{
	unsigned n = (at - INTERRUPTERS) / INTERRUPTER_SIZE;
	struct xhci_interrupter *i;

	if (at < INTERRUPTERS || n >= XHCI_INTERRUPTERS)
		return;
	i = &x->intr[n];
	switch (at % INTERRUPTER_SIZE) {
	case 0:
		i->iman = (v & IMAN_ENABLED) | (i->iman & IMAN_PENDING & ~v);
		deliver(x, n);
		break;
	case 4:
		i->imod = v;
		break;
	case 8:
		i->erstsz = v & 0xffff;
		break;
	case 0x10:
		put_half(&i->erstba, false, v & ~63u);
		break;
	case 0x14:
		put_half(&i->erstba, true, v);
		xhci_events_start(x, n);
		break;
	case 0x18:
	case 0x1c:
		write_erdp(x, n, at & 4, v);
		break;
	}
}

static void write_doorbell(struct xhci *x, unsigned slot, uint32_t v)
{
	unsigned target = v & 0xff;

	if (!xhci_running(x))
		return;
	if (!slot && !target) {
		x->command_doorbell = true;
	} else if (slot && slot <= XHCI_SLOTS && x->slot[slot].enabled && target && target < XHCI_ENDPOINTS) {
		if (x->slot[slot].ep[target].state == XHCI_EP_STOPPED)
			xhci_endpoint_state(x, slot, target, XHCI_EP_RUNNING);
		x->slot[slot].doorbells |= 1u << target;
	}
	xhci_kick(x);
}

static uint32_t read_word(struct xhci *x, uint32_t at)
{
	if (at < OPERATIONAL)
		return capabilities[at / 4];
	if (at < PORTS)
		return read_operational(x, at - OPERATIONAL);
	if (at < RUNTIME)
		return read_port(x, at - PORTS);
	return at < DOORBELLS ? read_runtime(x, at) : 0;
}

static void write_word(struct xhci *x, uint32_t at, uint32_t v)
{
	if (at >= OPERATIONAL && at < PORTS)
		write_operational(x, at - OPERATIONAL, v);
	else if (at >= PORTS && at < PORTS + XHCI_PORTS * PORT_SIZE && !(at % PORT_SIZE))
		write_portsc(x, (at - PORTS) / PORT_SIZE, v);
	else if (at >= RUNTIME && at < DOORBELLS)
		write_runtime(x, at, v);
	else if (at >= DOORBELLS && at < MSIX)
		write_doorbell(x, (at - DOORBELLS) / 4, v);
}

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size)
{
	struct xhci *x = opaque;
	uint64_t v;

	if (offset >= MSIX)
		return pci_msix_read(&x->pci, offset - MSIX, size);
	if ((offset & 3) + size > 4 && offset & 3)
		return 0;
	g_mutex_lock(&x->bus.lock);
	v = read_word(x, (uint32_t)offset & ~3u) >> (8 * (offset & 3));
	if (size == 8)
		v |= (uint64_t)read_word(x, (uint32_t)offset + 4) << 32;
	g_mutex_unlock(&x->bus.lock);
	return size < 8 ? v & ((1ull << (8 * size)) - 1) : v;
}

/* Registers are written in words, and a 64-bit one at once or in two halves. */
static void bar_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct xhci *x = opaque;

	if (offset >= MSIX) {
		pci_msix_write(&x->pci, offset - MSIX, size, data);
		return;
	}
	if ((offset & 3) || size < 4)
		return;
	g_mutex_lock(&x->bus.lock);
	write_word(x, (uint32_t)offset, (uint32_t)data);
	if (size == 8)
		write_word(x, (uint32_t)offset + 4, (uint32_t)(data >> 32));
	g_mutex_unlock(&x->bus.lock);
}

static const struct bus_ops bar_ops = {bar_read, bar_write};

/* ---- the device ---- */

static void xhci_reset(struct device *dev)
{
	struct xhci *x = (struct xhci *)dev;

	pci_reset(&x->pci);
	g_mutex_lock(&x->bus.lock);
	reset(x);
	g_mutex_unlock(&x->bus.lock);
}

static void xhci_pause(struct device *dev)
{
	struct xhci *x = (struct xhci *)dev;

	g_mutex_lock(&x->bus.lock);
	x->paused = true;
	g_mutex_unlock(&x->bus.lock);
}

static void xhci_resume(struct device *dev)
{
	struct xhci *x = (struct xhci *)dev;

	g_mutex_lock(&x->bus.lock);
	x->paused = false;
	xhci_kick(x);
	g_mutex_unlock(&x->bus.lock);
}

static bool xhci_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	static const struct pci_ids ids = {0x1b36, 0x000d, 0x1af4, 0x1100, 0x0c033001};
	struct xhci *x = (struct xhci *)dev;

	pci_init(&x->pci, &ids);
	x->pci.config[0x60] = 0x30; /* the release of USB, frame length (5.2.3); capabilities begin behind them */
	x->pci.config[0x61] = 0x20;
	x->pci.caps_end = 0x70;
	pci_set_bar(&x->pci, 0, BAR_SIZE, false, true, &bar_ops, x);
	if (!pci_add_msix(&x->pci, 0, MSIX, XHCI_INTERRUPTERS, error))
		return false;
	g_mutex_init(&x->bus.lock);
	x->bus.controller = dev;
	x->bus.attach = attach;
	x->bus.detach = detach;
	x->bus.ready = ready;
	x->worker = g_source_new(&worker_funcs, sizeof(GSource));
	g_source_set_callback(x->worker, on_work, x, NULL);
	g_source_attach(x->worker, dev->core->context);
	if (!pci_add(&x->pci, error)) {
		g_source_destroy(x->worker);
		g_source_unref(x->worker);
		return false;
	}
	g_mutex_lock(&x->bus.lock);
	reset(x);
	g_mutex_unlock(&x->bus.lock);
	if (!dev->core->usb)
		dev->core->usb = &x->bus;
	return true;
}

static void xhci_destroy(struct device *dev)
{
	struct xhci *x = (struct xhci *)dev;

	for (unsigned n = 0; n < XHCI_PORTS; n++)
		if (x->port[n].usb)
			x->port[n].usb->bus = NULL;
	if (dev->core->usb == &x->bus)
		dev->core->usb = NULL;
	pci_remove(&x->pci);
	g_source_destroy(x->worker);
	g_source_unref(x->worker);
	g_mutex_clear(&x->bus.lock);
}

/* What is at its ports are devices of their own, which would be left without it. */
static bool xhci_can_unplug(struct device *dev, GError **error)
{
	const struct xhci *x = (const struct xhci *)dev;

	for (unsigned n = 0; n < XHCI_PORTS; n++)
		if (x->port[n].usb)
			return kv_fail(error, KV_ERROR_INVALID, "'%s' has the USB device '%s'; take that out first", dev->id,
				       x->port[n].usb->dev.id);
	return true;
}

static struct usb_bus *xhci_usb(struct device *dev)
{
	return &((struct xhci *)dev)->bus;
}

static bool is_endpoint(const struct xhci_endpoint *ep)
{
	return ep->type <= 7 && ep->state <= XHCI_EP_ERROR;
}

/* Rings are checked as they are read. */
static bool xhci_loaded(void *opaque, GError **error)
{
	struct xhci *x = opaque;
	bool ok = true;

	for (unsigned i = 1; i <= XHCI_SLOTS; i++) {
		ok = ok && x->slot[i].state <= XHCI_SLOT_CONFIGURED && x->slot[i].port <= XHCI_PORTS;
		for (unsigned k = 0; k < XHCI_ENDPOINTS; k++)
			ok = ok && is_endpoint(&x->slot[i].ep[k]);
	}
	for (unsigned i = 0; i < XHCI_INTERRUPTERS; i++)
		ok = ok && x->intr[i].size <= 4096 && (x->intr[i].index < x->intr[i].size || !x->intr[i].size);
	if (!ok)
		return kv_fail(error, KV_ERROR_INVALID, "%s: the saved USB controller makes no sense", x->pci.dev.id);
	pci_loaded(&x->pci);
	/* Something else may hang at a port than did then. */
	for (unsigned n = 0; n < XHCI_PORTS; n++)
		if (!(x->port[n].portsc & PORT_CONNECTED) != !x->port[n].usb) {
			update_port(x, n);
			port_changed(x, n, PORT_CONNECT_CHANGE);
		}
	return true;
}

static const struct state_field ring_fields[] = {STATE_INT(struct xhci_ring, dequeue, STATE_U64),
						 STATE_INT(struct xhci_ring, cycle, STATE_BOOL), STATE_END};
static const struct state_field endpoint_fields[] = {STATE_INT(struct xhci_endpoint, type, STATE_U8),
						     STATE_INT(struct xhci_endpoint, state, STATE_U8),
						     STATE_ONE(struct xhci_endpoint, ring, ring_fields), STATE_END};
static const struct state_field slot_fields[] = {STATE_INT(struct xhci_slot, enabled, STATE_BOOL),
						 STATE_INT(struct xhci_slot, state, STATE_U8),
						 STATE_INT(struct xhci_slot, port, STATE_U8),
						 STATE_INT(struct xhci_slot, context, STATE_U64),
						 STATE_INT(struct xhci_slot, doorbells, STATE_U32),
						 STATE_MANY(struct xhci_slot, ep, endpoint_fields), STATE_END};
static const struct state_field interrupter_fields[] = {
	STATE_INT(struct xhci_interrupter, iman, STATE_U32),   STATE_INT(struct xhci_interrupter, imod, STATE_U32),
	STATE_INT(struct xhci_interrupter, erstsz, STATE_U32), STATE_INT(struct xhci_interrupter, erstba, STATE_U64),
	STATE_INT(struct xhci_interrupter, erdp, STATE_U64),   STATE_INT(struct xhci_interrupter, start, STATE_U64),
	STATE_INT(struct xhci_interrupter, size, STATE_U32),   STATE_INT(struct xhci_interrupter, index, STATE_U32),
	STATE_INT(struct xhci_interrupter, cycle, STATE_BOOL), STATE_END};
static const struct state_field port_fields[] = {STATE_INT(struct xhci_port, portsc, STATE_U32),
						 STATE_INT(struct xhci_port, event, STATE_BOOL), STATE_END};

static const struct state_field xhci_fields[] = {STATE_ONE(struct xhci, pci, pci_state_fields),
						 STATE_INT(struct xhci, usbcmd, STATE_U32),
						 STATE_INT(struct xhci, usbsts, STATE_U32),
						 STATE_INT(struct xhci, dnctrl, STATE_U32),
						 STATE_INT(struct xhci, config, STATE_U32),
						 STATE_INT(struct xhci, crcr_low, STATE_U32),
						 STATE_INT(struct xhci, dcbaap, STATE_U64),
						 STATE_ONE(struct xhci, commands, ring_fields),
						 STATE_INT(struct xhci, commands_run, STATE_BOOL),
						 STATE_INT(struct xhci, command_doorbell, STATE_BOOL),
						 STATE_MANY(struct xhci, port, port_fields),
						 STATE_MANY(struct xhci, slot, slot_fields),
						 STATE_MANY(struct xhci, intr, interrupter_fields),
						 STATE_END};
static const struct state_desc xhci_state = {"xhci", 1, 1, xhci_fields, NULL, xhci_loaded};

const struct device_class device_xhci = {
	.name = "xhci",
	.alias = "qemu-xhci",
	.description = "USB 3 controller: four ports of USB 2, four of USB 3",
	.size = sizeof(struct xhci),
	.create = xhci_create,
	.reset = xhci_reset,
	.destroy = xhci_destroy,
	.pause = xhci_pause,
	.resume = xhci_resume,
	.can_unplug = xhci_can_unplug,
	.usb = xhci_usb,
	.state = &xhci_state,
	.keys = device_no_keys,
};
