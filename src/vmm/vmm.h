/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kv-vmm: one process, one machine. What config.c opens, loop.c runs, stats.c reports and qmp.c lets be controlled.
 * Everything is opened before the guest runs its first instruction. Main thread only.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "core.h"
#include "events.h"
#include "graph.h"
#include "machine.h"
#include "migrate.h"
#include "objects.h"
#include "options.h"

struct chardev;
struct disk;
struct display;
struct job_group;
struct job_owner;
struct image;
struct input;
struct qmp_keys;
struct machine_firmware;
struct netdev;
struct qmp_server;
struct vmm_nbd;
struct vnc;
struct vnc_module;

/* A guest's disk as a user of the graph. */
struct vmm_drive {
	struct block_user user; /* its img: what is in the drive */
	struct disk *disk;
};

/* A network: of netdev_add (id), before a card (the device's id), or both. What has neither is not kept. */
struct vmm_netdev {
	char *id, *card;
	struct netdev *net;
};

/* A VNC server. */
struct vmm_vnc {
	struct vmm *vmm;
	struct vnc *server; /* NULL: it starts */
	char *id, *device;  /* device: of the screen, if one was asked for */
};

/* A character device of chardev-add, and the id of the device that has it, NULL: none. */
struct vmm_chardev {
	char *label, *user;
	struct chardev *chr;
};

struct vmm {
	GVariant *options; /* of options_parse() */
	struct kvcore_choice accel;
	int kvm_fd;
	struct chardev *console;
	struct chardev *console2, *virtio_console; /* NULL: none */
	struct machine_channel *channels; /* n_channels of them */
	unsigned n_channels;
	struct machine_disk *disks;
	unsigned n_disks, n_listed; /* n_listed were the command line's; others were plugged in, and any may have gone */
	GVariant **given; /* for each of them --disk's keys; NULL: it is no such disk's */
	GVariant **again; /* for each of them what its image is opened with before the guest runs; NULL: it is open */
	struct block_graph *graph;
	struct vmm_drive *drives; /* n_disks of them */
	struct job_owner *job_owner;
	struct job_group *job_group; /* of the transaction that is being done, when its jobs belong together */
	struct vmm_nbd *nbd;	     /* NULL: no NBD server */
	struct machine_card *cards;
	unsigned n_cards;
	GPtrArray *objects;  /* struct vmm_object */
	bool threads_run;    /* the sandbox is taken: threads may be made */
	GPtrArray *chardevs; /* of struct vmm_chardev: those of chardev-add */
	GPtrArray *netdevs; /* of struct vmm_netdev: those of cards[] first */
	struct machine_firmware *firmware; /* of a pc, else NULL */
	struct display *display; /* what graphics devices show */
	struct input *input;
	struct qmp_keys *keys; /* that QMP types; NULL: none yet */
	int pointer_x, pointer_y; /* where QMP last had it */
	const struct vnc_module *vnc_module;
	GPtrArray *vnc; /* struct vmm_vnc; NULL: no VNC server */
	struct machine *machine;
	const struct qmp_module *qmp_module; /* NULL: no --qmp */
	struct qmp_server *qmp; /* NULL: none */
	gint64 started; /* g_get_monotonic_time() */
	gint64 running; /* likewise: when the guest began */
	/* loop.c */
	GMainLoop *loop;
	GSource *signals;
	int signal_fd;
	bool power_pressed;
	GSource *balloon_pause; /* notices.c: no second event before it is over; NULL: none */
	bool balloon_moved;	/* ... during it */
	bool stopped; /* the guest waits for vmm_cont() */
	bool prelaunch; /* ... and has not run yet (--paused) */
	/* Of those in query-status, when it is none of the user's: inmigrate, postmigrate, shutdown and so on. */
	const char *stop_reason;
	bool io_error;	       /* ... because a drive's request failed */
	GSource *io_error_stop; /* on its way to stop it for that, or NULL */
	enum watchdog_action watchdog_action;
	enum reboot_action reboot_action;
	enum shutdown_action shutdown_action;
	enum panic_action panic_action;
	int status; /* of the process */
	struct {
		int32_t offset;
		bool changed; /* and not told yet */
		guint quiet;  /* source: until it ends no event is sent; 0: none */
	} rtc; /* rtc.c */
	/* migrate.c, incoming.c */
	struct migrate *migrate; /* the last one, or NULL */
	enum migrate_status migrate_status;
	struct migrate_settings migrate_settings;
	struct incoming *incoming; /* a machine is on its way here */
	bool incoming_deferred; /* ... or will be */
	bool autostart; /* it runs when it has come */
	int exec_fd;  /* of --incoming exec:, until that is read; -1: none */
	int saved_fd; /* the file that memory is mapped from; -1: none */
	GHashTable *fds; /* getfd: descriptors by name */
};

/*
 * Open the CPU engine, the backends and the machine that @options (kept) asks for. False with
 * @error set; vmm_close() is due either way.
 */
bool vmm_open(struct vmm *vmm, GVariant *options, GError **error);
void vmm_close(struct vmm *vmm);

/* disks.c: the drives of --disk. Closing is due after a failure, too. */
bool vmm_open_disks(struct vmm *vmm, GError **error);
void vmm_close_disks(struct vmm *vmm);
/* cards.c: the cards of --net, likewise. */
bool vmm_open_cards(struct vmm *vmm, GError **error);
void vmm_close_cards(struct vmm *vmm);
/*
 * netdevs.c: the networks before cards. Opened before the cards, closed after the machine. A removed one that a card has is cut
 * off, and its id is free.
 */
void vmm_open_netdevs(struct vmm *vmm);
void vmm_close_netdevs(struct vmm *vmm);
struct vmm_netdev *vmm_find_netdev(const struct vmm *vmm, const char *id);
struct vmm_netdev *vmm_netdev_of_card(const struct vmm *vmm, const char *card);
struct vmm_netdev *vmm_add_netdev(struct vmm *vmm, const char *kind, const char *id, GVariant *options, GError **error);
void vmm_remove_netdev(struct vmm *vmm, struct vmm_netdev *n);
void vmm_card_gone(struct vmm *vmm, const char *card);
/* places.c: of struct machine_place, whose texts are the options'. */
GArray *vmm_places(const struct vmm *vmm);
/* channels.c: the ports of --channel, likewise. */
bool vmm_open_channels(struct vmm *vmm, GError **error);
void vmm_close_channels(struct vmm *vmm);
/*
 * chardevs.c: those of chardev-add. By name also those of the command line, which are always in use: --console and its like,
 * and the ids of --channel.
 */
void vmm_open_chardevs(struct vmm *vmm);
void vmm_close_chardevs(struct vmm *vmm);
struct chardev *vmm_find_chardev(const struct vmm *vmm, const char *label, bool *ret_in_use);
/* A device (its id) takes one of chardev-add that nobody has; and gives back what it had. NULL with QEMU's words. */
struct chardev *vmm_take_chardev(struct vmm *vmm, const char *label, const char *user, const char *property, GError **error);
void vmm_give_back_chardev(struct vmm *vmm, const char *user);
void vmm_each_chardev(const struct vmm *vmm, void (*f)(void *opaque, const char *label, struct chardev *chr), void *opaque);
bool vmm_add_chardev(struct vmm *vmm, const char *label, struct chardev *chr, GError **error); /* taken over if true */
void vmm_remove_chardev(struct vmm *vmm, const char *label);
/* firmware.c: what a pc's firmware is and is told. Likewise. */
bool vmm_open_firmware(struct vmm *vmm, GError **error);
void vmm_close_firmware(struct vmm *vmm);
/* 1 + bootindex of a disk's or card's keys; 0: it has none. */
unsigned vmm_boot_index(GVariant *keys);
/* Another process may write to the images, or may again not; a disk whose image cannot be opened anew stays as it is. */
bool vmm_release_disks(struct vmm *vmm, GError **error);
bool vmm_take_disks(struct vmm *vmm, GError **error);
/* drives.c: those drives as users of a graph of images. Likewise. */
bool vmm_open_graph(struct vmm *vmm, GError **error);
/* A drive of a device that comes while the machine runs: taken over if true; and when any went. False: there is no such drive. */
enum { VMM_PLUGGED_MAX = 64 };
bool vmm_plug_drive(struct vmm *vmm, struct disk *disk, GError **error);
bool vmm_unplug_drive(struct vmm *vmm, const char *id);
void vmm_watch_disk(struct vmm *vmm, struct disk *disk, bool on); /* loop.c */
/* Another medium for a drive, an open image (a reference is taken), or none. */
bool vmm_set_medium(struct vmm *vmm, unsigned index, struct image *img, GError **error);
void vmm_close_graph(struct vmm *vmm);

/* The options ask for a machine that comes from elsewhere. */
bool vmm_waits_for_machine(const struct vmm *vmm);

/*
 * vnc.c: class of the board's graphics device, NULL: none, and its options, a{sv}; the servers of --vnc. Closing is due after
 * a failure, too.
 */
const char *vmm_vga(const struct vmm *vmm);
bool vmm_vga_options(const struct vmm *vmm, GVariant **ret, GError **error);
bool vmm_open_vnc(struct vmm *vmm, GError **error);
void vmm_close_vnc(struct vmm *vmm);

/* rtc.c: --rtc; the guest set its clock chip, which is now that many seconds ahead of what --rtc says. */
bool vmm_read_rtc(const struct vmm *vmm, struct machine_config *config, GError **error);
void vmm_rtc_changed(struct vmm *vmm, int32_t offset);
void vmm_close_rtc(struct vmm *vmm);

/* Run until the guest or the user ends it; answers the exit status of the process. */
int vmm_run(struct vmm *vmm);

/* What a user can ask of a machine that runs; QMP events are sent as it happens. To be called from the main loop. */
void vmm_stop(struct vmm *vmm);
bool vmm_cont(struct vmm *vmm, GError **error);
bool vmm_go(struct vmm *vmm, GError **error); /* the same without asking whether it may */
void vmm_reset(struct vmm *vmm);
void vmm_powerdown(struct vmm *vmm);
void vmm_quit(struct vmm *vmm);
bool vmm_sleeps(const struct vmm *vmm); /* the guest does (S3), and nobody has stopped it */
/* The guest does: what its devices asked for. */
void vmm_guest_reset(struct vmm *vmm);
/* It stands still for that reason (query-status), until the user goes on. */
void vmm_guest_stops(struct vmm *vmm, const char *reason);
/* Calls f while nothing of the machine moves, and goes on. */
void vmm_at_rest(struct vmm *vmm, void (*f)(void *opaque), void *opaque);
void vmm_guest_quit(struct vmm *vmm, int status, const char *cause);

/* notices.c: what devices have to tell becomes events, and what is to be done. For machine_config.noticed. */
void vmm_noticed(void *vmm, enum machine_notice what, const char *name, uint32_t value);
/* One of option_watchdog_actions[]; and words of the others' lists, NULL: as it was. */
void vmm_set_watchdog(struct vmm *vmm, const char *action);
void vmm_set_actions(struct vmm *vmm, const char *reboot, const char *shutdown, const char *panic);
/* At the end: what it has on its way. */
void vmm_close_notices(struct vmm *vmm);
void vmm_fail(struct vmm *vmm); /* ends the process with status 1; the reason was told */

/* Hold back the signals that loop.c takes care of, in this thread and those it makes. */
void vmm_block_signals(void);

/* The text of --stats; g_free. */
char *vmm_stats(struct vmm *vmm);

/* --machine pc: firmware, PCI buses, a screen. */
bool vmm_is_pc(const struct vmm *vmm);

/* True when a FLAG option was given. */
bool vmm_flag(const struct vmm *vmm, const char *name);
