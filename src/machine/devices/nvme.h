/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inside of the NVMe controller (NVM Express 1.4), which has one namespace, its drive: nvme.c the PCI function, registers and
 * what starts and stops it; nvme-queue.c queues, and the way of a command; nvme-prp.c where its data is; nvme-admin.c,
 * nvme-features.c, nvme-identify.c and nvme-log.c the admin commands; nvme-io.c reads and writes.
 *
 * Threads: registers are accessed in vCPU threads, under the lock; commands start and end in the main context, under it, too.
 */
#pragma once
#include "disk.h"
#include "dma.h"
#include "pci.h"
#include "work.h"

enum {
	NVME_IO_QUEUES_MAX = 64,
	NVME_QUEUES = 1 + NVME_IO_QUEUES_MAX, /* the admin queue is queue 0 */
	NVME_ENTRIES_MAX = 2048,	      /* of an I/O queue */
	NVME_ADMIN_ENTRIES_MAX = 4096,
	NVME_COMMAND = 64,
	NVME_COMPLETION = 16,
	NVME_MDTS = 7, /* in pages of 4 KiB, as a power of two */
	NVME_EVENTS = 4, /* ASYNCHRONOUS EVENT REQUESTs that wait */
	NVME_ERRORS = 4, /* entries of the error log */
	NVME_FEATURES = 12,
	NVME_SERIAL = 20,
	NVME_BLOCK_BITS = 9,
	NVME_NAMESPACE = 1,
};
#define NVME_ALL_NAMESPACES 0xffffffffu
#define NVME_TRANSFER_MAX   (4096u << NVME_MDTS)
#define NVME_VERSION	    0x00010400u

/* Status codes with their types (4.6.1), and whether to try again is in vain. */
enum {
	NVME_OK = 0,
	NVME_DNR = 1 << 14,
	NVME_INVALID_OPCODE = 0x001 | NVME_DNR,
	NVME_INVALID_FIELD = 0x002 | NVME_DNR,
	NVME_DATA_ERROR = 0x004,
	NVME_INVALID_NAMESPACE = 0x00b | NVME_DNR,
	NVME_INVALID_PRP_OFFSET = 0x013 | NVME_DNR,
	NVME_LBA_RANGE = 0x080 | NVME_DNR,
	NVME_CAPACITY = 0x081,
	NVME_CQ_INVALID = 0x100 | NVME_DNR,
	NVME_INVALID_QUEUE = 0x101 | NVME_DNR,
	NVME_INVALID_QUEUE_SIZE = 0x102 | NVME_DNR,
	NVME_EVENT_LIMIT = 0x105 | NVME_DNR,
	NVME_INVALID_VECTOR = 0x108 | NVME_DNR,
	NVME_INVALID_LOG = 0x109 | NVME_DNR,
	NVME_INVALID_DELETION = 0x10c | NVME_DNR,
	NVME_NOT_SAVEABLE = 0x10d | NVME_DNR,
	NVME_NOT_CHANGEABLE = 0x10e | NVME_DNR,
	NVME_READ_ONLY = 0x182 | NVME_DNR,
	NVME_WRITE_FAULT = 0x280,
	NVME_READ_ERROR = 0x281,
};

/* feature[] by identifier (5.21.1). */
enum {
	NVME_FEATURE_TEMPERATURE = 0x04,
	NVME_FEATURE_CACHE = 0x06,
	NVME_FEATURE_QUEUES = 0x07,
	NVME_FEATURE_EVENTS = 0x0b,
};
enum { NVME_EVENT_NAMESPACE = 1 << 8 }; /* of NVME_FEATURE_EVENTS */

/* What may be told to who waits for an event; bits of nvme.pending. */
enum { NVME_BAD_DOORBELL = 1, NVME_BAD_VALUE = 2, NVME_CHANGED = 4 };

struct nvme;
struct nvme_req;

struct nvme_sq {
	/* Saved. */
	bool there;
	uint16_t cq;
	uint32_t size, head, tail;
	uint64_t base;
	/* Under way. */
	unsigned busy;
	struct nvme_req *deleting; /* the command that waits for the others to end, or NULL */
};

struct nvme_cq {
	/* Saved. */
	bool there, phase, interrupts;
	uint16_t vector;
	uint32_t size, head, tail;
	uint64_t base;
	/* Under way. */
	unsigned promised; /* entries of commands that have begun: there is room for each */
	bool news;	   /* entries that no interrupt was sent for */
};

struct nvme_req {
	struct disk_req disk; /* first */
	struct nvme *n;
	unsigned sq, cq;
	uint8_t cmd[NVME_COMMAND]; /* read once */
	struct dma_list data;
	uint64_t read; /* bytes of it that the device has written */
	uint32_t result;
	uint16_t status;
	/* DATASET MANAGEMENT */
	uint8_t *ranges; /* g_malloc */
	unsigned n_ranges, next_range;
};

struct nvme_error {
	uint64_t count, lba;
	uint16_t sq, cid, status;
	uint32_t nsid;
};

struct nvme {
	struct pci_device pci; /* first */
	GMutex lock;
	struct work work;
	struct disk *disk;
	struct disk_queue *io;
	unsigned n_queues; /* for I/O */
	char serial[NVME_SERIAL + 1];
	uint64_t requests[2];
	/* Saved. */
	uint32_t cc, csts, aqa, mask;
	uint64_t asq, acq;
	bool resetting; /* as soon as nothing is under way */
	struct nvme_sq sq[NVME_QUEUES];
	struct nvme_cq cq[NVME_QUEUES];
	uint32_t feature[NVME_FEATURES];
	uint16_t event_cid[NVME_EVENTS];
	uint8_t n_events;
	uint8_t pending, told; /* events; types that were told, and are not again before the log is read */
	bool namespace_changed; /* for the log */
	uint64_t n_errors;
	struct nvme_error error[NVME_ERRORS];
	/* Under way. */
	unsigned n_busy, n_kept;
	bool flushing; /* for a shutdown */
};

/* All below: the lock is held. */

/* nvme.c */
void nvme_interrupts(struct nvme *n); /* completions or masks have changed */

/* nvme-queue.c; main context but for the doorbells */
void nvme_doorbell(struct nvme *n, unsigned offset, uint32_t value);
void nvme_serve(struct nvme *n);
void nvme_stop(struct nvme *n); /* nothing is under way: no queue is there any more */
/* A command is over. */
void nvme_finish(struct nvme_req *r, uint16_t status);
/* A drive's request is a command's: with the lock, which it takes in nvme_done(). */
void nvme_done(struct nvme_req *r, uint16_t status);
/* Kept requests, and who waits for them, are forgotten; whatever the queues say. Takes the lock; main thread. */
void nvme_forget_kept(struct nvme *n);
/* Something to tell; main context or a vCPU's. */
void nvme_event(struct nvme *n, unsigned bit);
void nvme_tell_events(struct nvme *n);
/* After a saved state: what the queues say makes sense, or why not. */
const char *nvme_check_queues(const struct nvme *n);

/* nvme-prp.c: the command's data, len bytes; NVME_OK, or why not. */
uint16_t nvme_map(struct nvme_req *r, uint64_t len);
uint16_t nvme_reply(struct nvme_req *r, const void *data, uint32_t len);
unsigned nvme_page(const struct nvme *n); /* the driver's size of one */

/*
 * Commands: true and a status when it is over; else nvme_done() comes, or, in nvme-admin.c, another command's end ends it.
 */
bool nvme_admin(struct nvme_req *r, uint16_t *ret_status);
bool nvme_io(struct nvme_req *r, uint16_t *ret_status);
uint16_t nvme_identify(struct nvme_req *r);
uint16_t nvme_get_log(struct nvme_req *r);
uint16_t nvme_set_feature(struct nvme_req *r);
uint16_t nvme_get_feature(struct nvme_req *r);
void nvme_reset_features(struct nvme *n);
/* The flush of a shutdown. */
void nvme_shut_down(struct nvme *n);
