/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine as kv-vmm sees it: made from a configuration, run until the guest or the user ends it. All functions are called
 * in the main thread; the main GMainContext must run for consoles, network and exits.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "notice.h"

struct chardev;
struct disk;
struct display;
struct input;
struct iothread;
struct mem_backing;
struct netdev;

enum machine_bus { MACHINE_BUS_VIRTIO, MACHINE_BUS_SCSI, MACHINE_BUS_SATA, MACHINE_BUS_NVME, MACHINE_BUS_USB };

/* A drive and the device that the guest has it by. */
struct machine_disk {
	struct disk *disk;
	enum machine_bus bus;
	bool cdrom;	   /* SCSI, SATA and USB */
	GVariant *options; /* of the device, a{sv}: serial (s), queues (u), wwn (t); NULL: none */
	unsigned boot;	   /* 1 + bootindex; 0: none was given */
	struct iothread *iothread; /* a virtio disk's, not the machine's; NULL: the main loop */
	unsigned controller;	   /* which SCSI one, from 0 */
};

/* A network card and what is behind it. */
struct machine_card {
	struct netdev *net;
	const char *id, *cls; /* cls: virtio-net, e1000e */
	GVariant *options; /* of the device, a{sv}: mac (s), rom (s), a file; NULL: none */
	unsigned boot;	   /* as machine_disk's */
};

/* --channel: a port with a name of the virtio console. */
struct machine_channel {
	struct chardev *chardev;
	const char *name, *id;
};

/*
 * --device, device_add. Its options are words, which its class's table makes values of, but for bus, a slot's id or pcie.0, and
 * addr, SLOT[.FUNCTION] in hexadecimal.
 */
struct machine_device {
	const char *cls, *id; /* id NULL: deviceN */
	GVariant *options;    /* a{ss} */
	struct disk *disk;    /* or NULL; as below not the machine's */
	struct netdev *netdev;
	struct chardev *chardev;
	struct iothread *iothread;
};

enum { MACHINE_SCSI_MAX = 16 }; /* SCSI controllers that disks of the configuration are at */

/* Where the PCI function of a device is: [BUS:]SLOT[.FUNCTION], BUS the id of a root port of --device. */
struct machine_place {
	const char *id, *address;
};

enum machine_kind { MACHINE_MICRO, MACHINE_PC };

/* A file that firmware finds in fw_cfg. */
struct machine_file {
	const char *name;
	GBytes *data;
};

/* --firmware, --nvram, --boot, --fw-cfg, --smbios of a pc; copied or referenced. */
struct machine_firmware {
	const char *code;	    /* file: the ROM that ends at 4 GiB */
	const char *variables;	    /* file: the flash below it, with nvram NULL its first content; NULL: none */
	const char *nvram;	    /* file that the flash is kept in, made of `variables`; NULL: forgotten at the end */
	const char *order, *once;   /* letters c, d, n; once: before the first reset; NULL: firmware's own order */
	bool menu;
	unsigned menu_wait;	    /* ms; 0: firmware's default */
	const struct machine_file *files; /* n_files of them */
	unsigned n_files;
	GVariant *smbios; /* aa{sv}: type (t), file (s), or the type's keys (s, or t for numbers); NULL: none */
};

struct machine_config {
	enum machine_kind kind;
	const char *name;
	int kvm_fd; /* system descriptor, kvcore_open() */
	unsigned cpus, sockets, cores, threads; /* 0 of the last three: what follows from the others */
	unsigned cpus_max; /* as many may be plugged in (pc); 0: cpus; sockets, cores and threads make these */
	const char *cpu;			/* as --cpu has it; NULL: host */
	uint64_t memory;		      /* bytes */
	const struct mem_backing *backing;    /* what it is made of, which outlives the machine; NULL: nothing in particular */
	const char *kernel, *initrd, *append; /* files; initrd and append may be NULL; pc: kernel, too */
	const struct machine_firmware *firmware; /* pc */
	const char *vga;		      /* pc: class of its graphics device; NULL: none */
	GVariant *vga_options;		      /* a{sv}, its own; NULL: none */
	struct display *display;	      /* what graphics devices show; NULL: nothing */
	bool tablet;			      /* pc: a USB tablet is plugged in */
	struct input *input;		      /* where keyboards and pointers are plugged in; NULL: nowhere */
	struct chardev *console;	      /* first serial port; NULL: none */
	struct chardev *console2;	      /* second; NULL: there is no such port */
	struct chardev *virtio_console;	      /* hvc0; NULL: none */
	const struct machine_channel *channels; /* n_channels of them */
	unsigned n_channels;
	/* What devices have to tell, in the main context; may be NULL. name: valid during the call. */
	void (*noticed)(void *opaque, enum machine_notice what, const char *name, uint32_t value);
	void *noticed_opaque;
	const struct machine_disk *disks;     /* n_disks of them; the machine does not own backends */
	unsigned n_disks;
	const struct machine_card *cards;     /* n_cards of them */
	unsigned n_cards;
	const struct machine_device *devices; /* n_devices of them */
	unsigned n_devices;
	const struct machine_place *places;   /* n_places of them; who has none takes any slot of bus 0 that is free */
	unsigned n_places;
	int64_t clock_offset; /* seconds that the clock chip is ahead of the host's UTC, or with clock_vm of 1970 at first */
	bool clock_vm;	      /* it stands still while the machine does */
	bool incoming; /* memory and state are loaded before it runs: nothing is put there */
};

/* HIBERNATED is a power-off. SUSPENDED: it sleeps (S3), and does not run before WOKEN came and machine_wake_reset(). */
enum machine_end {
	MACHINE_POWEROFF, MACHINE_RESET, MACHINE_TRIPLE_FAULT, MACHINE_ERROR, MACHINE_QUIT, MACHINE_SUSPENDED, MACHINE_WOKEN,
	MACHINE_HIBERNATED
};

struct machine;

struct machine *machine_new(const struct machine_config *config, GError **error);
void machine_free(struct machine *m); /* stops vCPUs; NULL is fine */
/*
 * Starts or resumes the vCPUs, but of one that sleeps; ended() comes once in the main context, text says why for ERROR and
 * TRIPLE_FAULT.
 */
bool machine_run(struct machine *m, void (*ended)(void *opaque, enum machine_end end, const char *text), void *opaque,
		 GError **error);
/*
 * vCPUs and queues stand still when it returns. The guest's kvmclock stands still from here to machine_run(), and its watchdogs
 * are told (KVM_KVMCLOCK_CTRL); the time stamp counter and the clock chip, which are the host's, run on.
 */
void machine_pause(struct machine *m);
/* The main loop is being run from inside of machine_pause() or machine_reset(): do not call those, nor machine_run(), now. */
bool machine_busy(const struct machine *m);
/* Power-on state, kernel loaded again; the machine must be paused or ended; then machine_run(). */
bool machine_reset(struct machine *m, GError **error);
/*
 * Sleep. A machine that was loaded may be asleep, too. machine_wake() asks: WOKEN comes. machine_wake_reset() is due when
 * machine_woken(); what was in memory stays there, and firmware goes to where the guest wants to go on.
 */
bool machine_can_sleep(const struct machine *m);
bool machine_asleep(const struct machine *m);
bool machine_woken(const struct machine *m);
void machine_wake(struct machine *m);
bool machine_wake_reset(struct machine *m, GError **error);
void machine_nmi(struct machine *m); /* to all vCPUs */
/*
 * A device comes, and goes when the guest lets go of it, which takes it some time, or for ever: unplugged() is called in the main
 * context when the device has gone and its backend is free. Errors are in QEMU's words. A processor is one, too, of the class
 * machine_cpu_type() with its place (socket-id, core-id, thread-id); a guest may let go of one that has no id, and of one that
 * nobody asked for: cpu is its index, or -1.
 */
bool machine_plug(struct machine *m, const struct machine_device *d, GError **error);
bool machine_unplug(struct machine *m, const char *id, GError **error);
bool machine_can_plug(const char *cls, GError **error); /* there is such a class, which a user may make */
bool machine_takes(const char *cls, const char *key); /* ... and it has this option: "drive", "netdev", "chardev" */
bool machine_has_device(struct machine *m, const char *id);
void machine_on_unplugged(struct machine *m, void (*unplugged)(void *opaque, const char *id, int cpu), void *opaque);
void machine_power_button(struct machine *m);
/* The models of --cpu; and what one means: features (b) by name and, but for host and max, who it says it is. */
GStrv machine_cpu_models(void);
GVariant *machine_cpu_expand(int kvm_fd, const char *cpu, GStrv *ret_missing, GError **error);
void machine_vcpu_place(const struct machine *m, unsigned index, unsigned *ret_socket, unsigned *ret_core, unsigned *ret_thread);
unsigned machine_vcpus(const struct machine *m); /* that are possible; functions about one take an index below it */
bool machine_vcpu_present(const struct machine *m, unsigned index);
const char *machine_vcpu_id(const struct machine *m, unsigned index); /* of device_add; NULL: none */
char *machine_cpu_type(const struct machine *m); /* g_free */
bool machine_has_cpu_slots(const struct machine *m); /* the board is one whose processors may come and go */
/* What the guest said last of one that came or is to go (_OST); false: it has nowhere to say it. */
bool machine_cpu_ost(const struct machine *m, unsigned index, uint32_t *ret_source, uint32_t *ret_status);
pid_t machine_vcpu_thread(struct machine *m, unsigned index); /* its thread's id; 0 before the first machine_run(), or absent */
/* `name value` lines: exits by reason, devices' counters, the CPU engine's; those of one vCPU start with `vcpuN.`; g_free. */
char *machine_stats(struct machine *m);
/* vCPUs, chips and devices as one stream; the machine is paused. Guest memory is not in it: saved.h. */
bool machine_save(struct machine *m, GByteArray *out, GError **error);
bool machine_load(struct machine *m, GBytes *in, GError **error);
