/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * USB between a controller (xhci.c) and what is plugged into its ports (usb-*.c): devices of one configuration, as chapters 8 and
 * 9 of the USB 2.0 and 3.2 specifications have them. A transfer is one call, which moves bytes, refuses, or has nothing to say
 * yet and is called again after usb_ready(). What all devices answer alike is in usb-device.c.
 *
 * Threads: all of a device is under its controller's lock, which usb_lock() takes; its callbacks are called with it held, in the
 * main thread but for reset().
 */
#pragma once
#include <sys/uio.h>

#include "device.h"

enum usb_speed { USB_FULL = 1, USB_LOW, USB_HIGH, USB_SUPER }; /* xHCI's numbers */
enum { USB_NAK = -1, USB_STALL = -2, USB_BABBLE = -3 };	       /* instead of a number of bytes */
enum { USB_CONTROL_MAX = 4096 };			       /* bytes of a control transfer's data */

struct usb_device;

struct usb_setup {
	uint8_t type, request;
	uint16_t value, index, length;
};

struct usb_bytes {
	const uint8_t *data;
	unsigned len;
};

/* What a device is: constant. */
struct usb_function {
	const char *product;
	uint16_t vendor_id, product_id;
	struct usb_bytes config[USB_SUPER + 1]; /* configuration and all below it, by speed; no data: not at this speed */
	/* What chapter 9 has no answer to. data: USB_CONTROL_MAX bytes, the first setup->length of which came from the host. */
	int (*control)(struct usb_device *d, const struct usb_setup *s, uint8_t *data);
	int (*in)(struct usb_device *d, unsigned endpoint, const struct iovec *iov, unsigned n, uint32_t len);
	int (*out)(struct usb_device *d, unsigned endpoint, const struct iovec *iov, unsigned n, uint32_t len);
	void (*reset)(struct usb_device *d);		     /* of the bus, or another configuration; any thread */
	void (*configured)(struct usb_device *d, bool used); /* by its driver, or not any more; any thread; may be NULL */
};

struct usb_device {
	struct device dev; /* first */
	const struct usb_function *function;
	struct usb_bus *bus; /* NULL: not plugged in */
	unsigned port;	     /* from 0 on */
	enum usb_speed speed;
	/* Saved. */
	uint8_t configuration;
	bool remote_wakeup;
	uint32_t halted; /* endpoints: bit n, those in: bit 16 + n */
};

/* A controller. */
struct usb_bus {
	struct device *controller;
	GMutex lock;
	/* A free port for one of the speeds that the device has, which is set. */
	bool (*attach)(struct usb_bus *bus, struct usb_device *d, GError **error);
	void (*detach)(struct usb_bus *bus, struct usb_device *d);
	void (*ready)(struct usb_bus *bus, struct usb_device *d, unsigned endpoint, bool in);
};

/* ---- for devices ---- */

/* At the end of create(); the device's struct is complete. */
bool usb_plug(struct usb_device *d, const struct usb_function *f, GError **error);
void usb_unplug(struct usb_device *d); /* in destroy() */
void usb_lock(struct usb_device *d);
void usb_unlock(struct usb_device *d);
void usb_ready(struct usb_device *d, unsigned endpoint, bool in); /* lock held; may move bytes now */
extern const struct state_field usb_device_fields[];
#define USB_DEVICE_STATE(s, member) STATE_ONE(s, member, usb_device_fields)
/* Its driver uses it, and no more than it can: after a load. */
void usb_loaded(struct usb_device *d);

/* ---- for controllers, lock held ---- */

void usb_reset(struct usb_device *d);
int usb_control(struct usb_device *d, const struct usb_setup *s, uint8_t *data);
int usb_transfer(struct usb_device *d, unsigned endpoint, bool in, const struct iovec *iov, unsigned n, uint32_t len);
