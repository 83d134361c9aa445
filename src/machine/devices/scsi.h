/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SCSI logical units: disks (SBC-3) and CD-ROM drives (MMC-5, what Linux and Windows use), devices of their own that are
 * attached to a controller, which moves commands and answers, and has them at targets: virtio-scsi.c several at each, the others
 * one. SPC-4 is common to both.
 *
 * Files: scsi-lun.c the devices, and the order in which a command is looked at; scsi-inquiry.c what a unit is; scsi-mode.c
 * mode pages; scsi-block.c reads, writes and all that is about blocks; scsi-cd.c what a CD-ROM drive has in addition.
 *
 * Threads: a command is started and ends in its queue's context, the rest is the main thread's.
 */
#pragma once
#include <sys/uio.h>

#include "device.h"
#include "disk.h"

enum {
	SCSI_TARGETS = 256,
	SCSI_LUNS = 16384, /* of a target, which flat addresses have */
	SCSI_UNITS = 256,  /* of a controller */
	SCSI_QUEUES = 16,
	SCSI_CDB = 16,
	SCSI_SENSE = 18, /* fixed format */
	SCSI_SERIAL = 36,
	SCSI_INTERFACE_SCSI = 1,
	SCSI_INTERFACE_SATA = 7,
};

enum scsi_status { SCSI_GOOD = 0, SCSI_CHECK_CONDITION = 2 };

/* Sense key, additional sense code and its qualifier (SPC-4, 4.5). */
struct scsi_sense {
	uint8_t key, asc, ascq;
};
extern const struct scsi_sense scsi_no_sense, scsi_no_medium, scsi_tray_open, scsi_invalid_opcode, scsi_invalid_field,
	scsi_invalid_parameter, scsi_parameter_length, scsi_no_lun, scsi_out_of_range, scsi_write_protected, scsi_no_saving,
	scsi_removal_prevented, scsi_read_error, scsi_write_error, scsi_no_space, scsi_reset_happened, scsi_medium_changed,
	scsi_capacity_changed, scsi_luns_changed;

struct scsi_lun;

/* A command. The controller fills the first part, and embeds it. */
struct scsi_req {
	struct disk_req disk; /* first */
	struct scsi_lun *lun;
	unsigned queue;
	bool other_lun;	 /* not this unit, but a LUN of its target where there is nothing */
	bool well_known; /* with other_lun: that of REPORT LUNS (SPC-4, 8.2) */
	uint8_t cdb[SCSI_CDB];
	struct iovec *out, *in; /* data; the request's own arrays, which it cuts */
	unsigned n_out, n_in;
	uint32_t out_len, in_len;
	/* The answer. */
	enum scsi_status status;
	uint8_t sense[SCSI_SENSE]; /* with CHECK CONDITION */
	uint32_t transferred;	   /* bytes of out or in */
	/* A command in several steps (scsi-block.c): */
	uint8_t *buf; /* g_malloc */
	struct iovec buf_iov;
	uint64_t at, left; /* bytes */
	unsigned step, steps;
	bool (*next)(struct scsi_req *r); /* as scsi_start() */
};

/* The controller; in its class (device.h). */
struct scsi_host {
	uint8_t interface; /* physical interface standard of MMC's core feature (MMC-5, table 94) */
	/*
	 * What the controller calls the unit, and how many queues it has; false when there is no room. Where it is, scsi_id and
	 * number, is the controller's to say: it comes with what was asked for, SCSI_ANY where nothing was.
	 */
	bool (*attach)(struct device *controller, struct scsi_lun *lun, unsigned *ret_unit, unsigned *ret_queues,
		       GError **error);
	/* A command that was not over at once is; in the queue's context. */
	void (*done)(struct scsi_req *r);
	/* disk.h's, for the command. */
	void (*kept)(struct scsi_req *r, bool kept);
	/* The unit has something to tell: asc and ascq of a unit attention. */
	void (*changed)(struct device *controller, unsigned unit, uint8_t asc, uint8_t ascq);
	/* The unit begins to go, no command finds it any more; true: none is left of those it had. NULL: always. */
	bool (*leave)(struct device *controller, unsigned unit);
	void (*detach)(struct device *controller, unsigned unit); /* the unit goes away: none of its commands is left */
	/* The first unit of a target, the others are behind it (next). NULL: a target has its LUN 0 and no more. */
	const struct scsi_lun *(*first)(const struct device *controller, unsigned scsi_id);
};

enum { SCSI_ANY = -1 };

struct scsi_lun {
	struct device dev; /* first */
	struct disk *disk;
	struct disk_queue *io[SCSI_QUEUES];
	unsigned n_io;
	struct device *controller;
	const struct scsi_host *host;
	unsigned unit;	/* the controller's name for it */
	int scsi_id, number; /* target and LUN */
	struct scsi_lun *next; /* of the target, by number; the controller's */
	bool plugged;	/* while the machine ran */
	bool cdrom;
	unsigned block_bits; /* of a logical block's size */
	char serial[SCSI_SERIAL + 1];
	uint64_t wwn; /* 0: none */
	uint64_t requests[2];
	/* Saved. */
	bool writeback; /* the mode page's WCE; atomic */
	bool tray_open, locked;
	uint8_t media_event; /* GET EVENT STATUS NOTIFICATION; 0: none */
	/* Unit attentions, one bit each (scsi-lun.c); atomic. */
	uint32_t attention;
	uint32_t saved_id, saved_number; /* scsi_id and number in a stream */
};

/* Begins a command; true when it is over, else done() tells. */
bool scsi_start(struct scsi_req *r);
/* What the request holds is let go; the controller's when it is over or dropped. */
void scsi_end(struct scsi_req *r);
/* A reset of the bus: kept commands are dropped before. */
void scsi_lun_reset(struct scsi_lun *lun);
/* Another unit has come to the target, or gone. */
void scsi_lun_other_changed(struct scsi_lun *lun);

/* ---- for the files of commands; all answer as scsi_start() does ---- */

enum {
	SCSI_MEDIUM = 1, /* there has to be a medium */
	SCSI_ALWAYS = 2, /* is done though a unit attention waits */
	SCSI_WRITES = 4,
	SCSI_ANY_LUN = 8,
};

struct scsi_command {
	uint8_t opcode;
	uint8_t flags;
	bool (*run)(struct scsi_req *r); /* NULL ends a table */
};

extern const struct scsi_command scsi_common_commands[], scsi_mode_commands[], scsi_read_commands[], scsi_write_commands[],
	scsi_cd_commands[];

bool scsi_good(struct scsi_req *r);
bool scsi_check(struct scsi_req *r, const struct scsi_sense *sense);
/* Parameter data for the initiator: at most what it has room for (allocation length, buffers). */
bool scsi_reply(struct scsi_req *r, const void *data, size_t len, size_t allocation);
/* Fixed-format sense data in 18 bytes. */
void scsi_put_sense(uint8_t *dst, const struct scsi_sense *sense);
/* The unit attention that waits, which is not there any more then; NULL: none. */
const struct scsi_sense *scsi_take_attention(struct scsi_lun *lun);
/* Is there a medium that can be read? Blocks of it in *ret_blocks. */
bool scsi_medium(const struct scsi_lun *lun, uint64_t *ret_blocks);
bool scsi_inquiry(struct scsi_req *r);
