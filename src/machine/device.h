/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What every device is: a struct that starts with struct device, and one const struct device_class, a row of device_table[]
 * (table.c). The board (micro.c) creates devices in order with device_new(); everything a device needs it finds in the
 * struct machine_core it is given.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include "bus.h"
#include "mem.h"
#include "notice.h"
#include "state.h"

struct chardev;
struct disk;
struct display;
struct input;
struct iothread;
struct netdev;
struct pci_bus;
struct pci_place;
struct posted;
struct rx_filter;
struct scsi_host;
struct device;
struct usb_bus;

enum machine_request { REQUEST_POWEROFF, REQUEST_RESET, REQUEST_PANIC, REQUEST_SUSPEND, REQUEST_HIBERNATE, REQUEST_WAKE };

/* What a sleeping machine is woken by: the clock's alarm, the power management timer, its power button, a key or whoever asks. */
enum machine_wake { WAKE_ALARM, WAKE_TIMER, WAKE_BUTTON, WAKE_OTHER };

/* What the machine offers to its devices; lives as long as they do. */
struct machine_core {
	int vm_fd; /* KVM VM descriptor (core.h), -1 in tests without a CPU */
	struct guest_mem *mem;
	struct bus *ports, *mmio;
	struct posted *posted; /* posted.h */
	struct pci_bus *pci;   /* NULL before the host bridge is there */
	const struct pci_place *pci_place; /* of the device that is being made; NULL: bus 0, any slot */
	uint32_t pci_reserved; /* slots of bus 0 that are for those who have been given them */
	/* A line of the PCI bus, 0 to 3 as pci_intx_line() says, changed; NULL: GSI 16 + line. pci.c's lock is held. */
	void (*pci_intx)(void *opaque, unsigned line, bool level);
	void *pci_intx_opaque;
	bool hpet_legacy; /* the HPET has GSIs 0 and 8, the clock none; atomic */
	bool waking; /* the reset under way ends a sleep: memory is kept, and firmware is to find out */
	bool asleep; /* the guest is (S3); written while it runs, read while it stands still */
	/* Any thread, locks held: would end a sleep; does nothing to a machine that is awake. NULL: this one cannot sleep. */
	void (*wake)(void *opaque, enum machine_wake why);
	void *wake_opaque;
	/* Any thread, locks held: general purpose event `bit` of the chipset, which interrupts; NULL: there are none. */
	void (*gpe)(void *opaque, unsigned bit);
	void *gpe_opaque;
	struct display *display; /* what graphics devices show; NULL: nobody looks */
	struct usb_bus *usb;	 /* the USB controller's where a device is plugged in; NULL: there is none */
	struct input *input;	 /* keyboards and pointers plug in here; NULL: nobody would hear of them */
	GMainContext *context; /* the main one: timers, consoles, network */
	void *machine;	       /* struct machine */
	/* Any thread: what the guest asks of the machine as a whole. */
	void (*request)(void *machine, enum machine_request what);
	/* Any thread: the owner of the machine is told. May be NULL. */
	void (*notice)(void *machine, enum machine_notice what, const char *name, uint32_t value);
	/* Any thread, once for each unplug(): the guest let go of it. */
	void (*unplugged)(void *machine, struct device *dev);
	/* A vCPU's thread: the guest let go of that one. NULL: none goes. */
	void (*cpu_eject)(void *machine, unsigned index);
};

/* A port with a name of a virtio console. */
struct device_port {
	struct chardev *chardev;
	const char *name, *id; /* in the guest; in QMP's events */
};

/* The host side of a device, by kind; at most one is set, and for a disk maybe its controller. */
struct device_backend {
	struct chardev *chardev;
	struct disk *disk;
	struct iothread *iothread; /* that serves the disk; NULL: the main loop */
	struct device *controller; /* that a disk is attached to */
	struct netdev *netdev;
	const struct device_port *ports; /* n_ports of them, beside a console's chardev or without */
	unsigned n_ports;
};

/* An option of --device and device_add; create() gets BOOL b, COUNT t, TEXT s, and BACKEND, device_add's alone, another way. */
enum device_key_type { DEVICE_KEY_BOOL, DEVICE_KEY_COUNT, DEVICE_KEY_TEXT, DEVICE_KEY_BACKEND };
struct device_key {
	const char *name; /* NULL ends the list */
	enum device_key_type type;
	const char *help; /* one line */
	uint64_t min, max;
};

extern const struct device_key device_no_keys[]; /* a user may make it, and gives it nothing */

/* What of a running device can be looked at, and changed if `set` is there: as QEMU's objects have it. Main thread. */
struct device_property {
	const char *name; /* NULL ends the list */
	const char *type; /* QEMU's word; with `set` int alone, a value of x */
	const char *help;
	GVariant *(*get)(struct device *dev); /* floating */
	bool (*set)(struct device *dev, GVariant *value, GError **error);
};

struct device_class {
	const char *name;	 /* as in --device and messages: "virtio-blk" */
	const char *alias;	 /* as QEMU and who uses it call it, where that is another; NULL: so, too */
	const char *description; /* one line */
	size_t size;		 /* of the device's struct */
	/* Creates it in place (the struct is zeroed, `device` filled); options a{sv} or NULL. */
	bool (*create)(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error);
	void (*reset)(struct device *dev);   /* vCPUs and queues are stopped */
	void (*destroy)(struct device *dev); /* the backend is the machine's */
	/* Stop and restart work outside of register accesses (queues, timers); NULL when there is none. */
	void (*pause)(struct device *dev);
	void (*resume)(struct device *dev);
	const struct state_desc *state;
	/* False and why when the device, which is paused, has something that its state cannot have. NULL: it always can. */
	bool (*can_save)(struct device *dev, GError **error);
	char *(*stats)(struct device *dev); /* lines for --stats, g_free; may be NULL */
	/*
	 * Where firmware that boots from it finds it (boot-order.h; g_free), NULL when it does not boot; *ret_kind is the letter
	 * of --boot: c a disk, d a CD-ROM drive, n a card. NULL: nothing boots from such devices.
	 */
	char *(*boot_path)(struct device *dev, char *ret_kind);
	const struct device_key *keys; /* what a user may give; NULL: the board alone makes it */
	const struct device_property *properties; /* NULL: none */
	/* Of a network card: which frames it wants; a change is told once from then on. NULL: it does not tell. Main thread. */
	void (*rx_filter)(struct device *dev, struct rx_filter *ret);
	/*
	 * Of a slot (plug.c); all NULL: it is none. hot: the guest runs, or is paused, and is told. unplug: the guest is asked;
	 * false and why when it cannot be, as while it has not answered yet.
	 * Of a controller, plugged alone, which may be NULL.
	 */
	struct pci_bus *(*bus)(struct device *dev);
	void (*plugged)(struct device *dev, struct device *child, bool hot);
	bool (*unplug)(struct device *dev, struct device *child, GError **error);
	const char *parent;	      /* class of the device that it is plugged into, its controller; NULL: a PCI or USB bus */
	/* It begins to go: true when nothing that it does is under way, else it is asked again. NULL: there never is. */
	bool (*leave)(struct device *dev);
	/* False and why not when a user takes it out. NULL: it may go. */
	bool (*can_unplug)(struct device *dev, GError **error);
	struct usb_bus *(*usb)(struct device *dev); /* of a USB controller; NULL: it is none */
	const struct scsi_host *scsi;  /* a controller that SCSI units may be attached to (devices/scsi.h); NULL: none */
};

struct device {
	const struct device_class *cls;
	char *id; /* unique in the machine */
	struct machine_core *core;
	struct device *holder; /* that it is plugged into, and leaves with: a slot or controller; NULL: the board */
	unsigned boot; /* 1 + bootindex; 0: none */
	bool users;    /* not the board's own: saved-order.c */
};

extern const struct device_class *const device_table[]; /* NULL-terminated */

const struct device_class *device_class_find(const char *name);
struct device *device_new(struct machine_core *core, const char *cls, const char *id, GVariant *options,
			  const struct device_backend *backend, GError **error);
void device_free(struct device *dev);
/* Values, a{sv}, of words, a{ss}, by the class's keys; NULL with an error that names what is wrong. */
GVariant *device_options(const struct device_class *cls, GVariant *words, GError **error);

/* GSI level (KVM_IRQ_LINE) and edge; any thread. */
void machine_irq(struct machine_core *core, uint32_t gsi, bool level);
