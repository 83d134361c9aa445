/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SATA devices: disks (ATA8-ACS, sata-disk.c) and CD-ROM drives (the PACKET commands of ATA8-ACS around scsi.h's), at the ports
 * of a controller (ahci.h), which moves commands and answers.
 *
 * Files: sata-disk.c the device; ata.c its commands; ata-identify.c what it is; ata-log.c SMART and logs; atapi.c CD-ROM drives.
 *
 * Threads: commands start and end in the main context.
 */
#pragma once
#include "dma.h"
#include "scsi.h"

enum {
	ATA_SECTOR_BITS = 9,
	ATA_SECTOR = 1 << ATA_SECTOR_BITS,
	ATA_SERIAL = 20,
	ATA_MODEL = 40,
	ATA_TRIM_SECTORS = 8, /* of ranges in a command */
	ATA_QUEUE_DEPTH = 32,
	ATA_DISK_SIGNATURE = 0x00000101,
	ATAPI_SIGNATURE = (int)0xeb140101,
};

enum { ATA_ERR = 0x01, ATA_DRQ = 0x08, ATA_SEEK = 0x10, ATA_DRDY = 0x40, ATA_BSY = 0x80 };	     /* status */
enum { ATA_ABRT = 0x04, ATA_IDNF = 0x10, ATA_UNC = 0x40 };					     /* error */
enum { ATA_READY = ATA_DRDY | ATA_SEEK, ATA_FAILED = ATA_READY | ATA_ERR };			     /* as they end */
enum { ATAPI_COMMAND = 1, ATAPI_TO_HOST = 2, ATAPI_OVER = ATAPI_COMMAND | ATAPI_TO_HOST };	     /* interrupt reason */

struct ahci_port;

/* The registers of a command, and of its answer. */
struct ata_taskfile {
	uint8_t command, device;
	uint16_t features, count;
	uint64_t lba; /* 48 bits */
};

/* The controller fills the first part. */
struct ata_cmd {
	struct scsi_req scsi; /* first: of PACKET; its disk_req is every command's */
	struct ahci_port *port;
	unsigned slot;
	struct ata_taskfile tf;
	bool write;	   /* data goes to the device, says the controller's table */
	uint64_t table;	   /* guest address of the pieces of data, and how many: ata_map() */
	unsigned n_pieces;
	struct dma_list data;
	bool queued; /* an NCQ command */
	/* The answer. */
	uint8_t status, error;
	bool pio_in;		/* its end is that of the data */
	bool overflow, no_data; /* its data has less room than it says; is not in memory */
	uint64_t transferred;
	struct sata_disk *to; /* while its drive works at it */
	/* TRIM */
	uint8_t *ranges; /* g_malloc */
	unsigned n_ranges, next_range;
	/* The controller's: */
	bool dead; /* whoever gave it does not wait for its answer any more */
};

/* What READ LOG EXT, page 10h, says of the queued command that failed. */
struct ata_ncq_error {
	bool valid;
	uint8_t slot, status, error, device;
	uint16_t count;
	uint64_t lba;
};

struct sata_disk {
	struct device dev; /* first */
	struct disk *disk;
	struct disk_queue *io;
	struct device *controller;
	unsigned port;
	char serial[ATA_SERIAL + 1];
	uint64_t wwn;
	uint64_t requests[2];
	/* Saved. */
	bool write_cache, look_ahead, smart;
	uint8_t multiple; /* sectors of SET MULTIPLE MODE */
	uint8_t udma;	  /* mode that was set; it means nothing */
	struct ata_ncq_error ncq_error;
};

/* What a CD-ROM drive has beside its unit; the controller's, one a port. Saved. */
struct atapi {
	uint8_t sense[SCSI_SENSE]; /* of the last command; [0] 0: none */
};

/*
 * Begins a command; true when it is over, else the controller's ahci_done() comes. One of them is the command's device; a
 * command for neither is not started.
 */
bool ata_disk_start(struct sata_disk *d, struct ata_cmd *c);
bool atapi_start(struct atapi *a, struct scsi_lun *lun, struct ata_cmd *c);
/* The unit has ended a PACKET command. */
void atapi_done(struct atapi *a, struct ata_cmd *c);
void atapi_reset(struct atapi *a, struct scsi_lun *lun);
void ata_end(struct ata_cmd *c); /* what it holds is let go */

/* The controller: a port, whose number it gets (false: there is none), and gone from it. */
bool ahci_attach_disk(struct device *controller, struct sata_disk *d, GError **error);
void ahci_detach(struct device *controller, unsigned port);
/* A command that was not over at once is. */
void ahci_done(struct ata_cmd *c);
void ahci_kept(struct ata_cmd *c, bool kept); /* disk.h's */

/* A reset of the link or the bus: settings as at power-on. */
void sata_disk_reset(struct sata_disk *d);

/* ---- for the files of commands; all answer true ---- */
bool ata_good(struct ata_cmd *c);
bool ata_fail(struct ata_cmd *c, uint8_t error);
/* len bytes of data for the host, PIO or DMA. */
bool ata_reply(struct ata_cmd *c, const void *data, uint32_t len, bool pio);
/*
 * The command's data, len bytes; false: the answer says why not. partial: less will do, up to what is not memory, since drivers
 * give a table that they do not mean with commands that have no data.
 */
bool ata_map(struct ata_cmd *c, uint64_t len, bool partial);

bool ata_identify(struct sata_disk *d, struct ata_cmd *c);
bool atapi_identify(struct scsi_lun *lun, struct ata_cmd *c);
bool ata_smart(struct sata_disk *d, struct ata_cmd *c);
bool ata_read_log(struct sata_disk *d, struct ata_cmd *c);
