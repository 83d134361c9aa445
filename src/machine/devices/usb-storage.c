/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A USB mass storage device (Bulk-Only Transport 1.0) with one unit of scsi.h, which is attached to it: a stick, or a CD-ROM
 * drive. A command's data is in a buffer of ours, never in the guest's memory while the disk works on it: so a reset of the bus
 * need not wait for anything. Created by the board, one for each disk.
 */
#include <string.h>

#include "bytes.h"
#include "classes.h"
#include "error.h"
#include "scsi.h"
#include "usb.h"
#include "virtio.h"

enum { BULK_IN = 1, BULK_OUT = 2 };
enum { GET_MAX_LUN = 0xfe, BULK_RESET = 0xff };
enum { CBW_SIZE = 31, CSW_SIZE = 13, CBW_IN = 0x80 };
enum { REQUEST_SENSE = 0x03, INTERFACE_USB = 8 };
enum { PASSED, FAILED };

#define CBW_SIGNATURE 0x43425355u /* "USBC" */
#define CSW_SIGNATURE 0x53425355u
#define DATA_MAX      (16u << 20) /* of a command; drivers use 1 MiB at most */
#define IN_FLIGHT_MAX 4		  /* each with its data: all but one were left by resets, and the disk is slow */

/* What the driver does next: sends a command, moves data, takes the status. */
enum phase { COMMAND, DATA_OUT, DATA_IN, STATUS };

struct storage;

struct command {
	struct scsi_req scsi; /* first */
	struct storage *storage;
	bool dropped; /* its device was reset meanwhile */
	struct iovec iov;
	uint8_t *data;
	uint32_t len;
};

struct storage {
	struct usb_device usb; /* first */
	struct scsi_lun *lun;  /* NULL: no unit is attached */
	struct command *command;
	bool busy;	    /* the disk works on it */
	unsigned in_flight; /* commands with the disk, those dropped as well, those kept not; main thread */
	/* Saved, between two commands. */
	uint8_t phase; /* enum phase */
	uint32_t tag, length, at, ready; /* of the data: asked for, moved, what there is */
	uint8_t status;
	uint8_t sense[SCSI_SENSE]; /* of the last command that failed; byte 0 is 0: none */
};

/* ---- descriptors ---- */

#define INTERFACE 9, 4, 0, 0, 2, 8, 6, 0x50, 0 /* mass storage, SCSI, bulk only */
#define ENDPOINT(address, high) 7, 5, address, 2, 0, high, 0
#define COMPANION 6, 0x30, 15, 0, 0, 0 /* bursts of 16 packets */
static const uint8_t high_config[] = {9, 2, 32, 0, 1, 1, 0, 0xc0, 0, INTERFACE, ENDPOINT(0x80 | BULK_IN, 2),
				      ENDPOINT(BULK_OUT, 2)};
static const uint8_t super_config[] = {9,	 2, 44, 0, 1, 1, 0, 0xc0, 0, INTERFACE, ENDPOINT(0x80 | BULK_IN, 4), COMPANION,
				       ENDPOINT(BULK_OUT, 4), COMPANION};

/* ---- commands ---- */

static void free_command(struct command *c)
{
	scsi_end(&c->scsi);
	g_free(c->data);
	g_free(c);
}

/* The data that there is, and the status after it. Lock held. */
static void finish(struct storage *s)
{
	struct scsi_req *r = &s->command->scsi;

	s->busy = false;
	s->ready = MIN(r->transferred, s->length);
	s->status = r->status == SCSI_GOOD ? PASSED : FAILED;
	if (s->status == FAILED)
		memcpy(s->sense, r->sense, SCSI_SENSE);
	if (s->phase != DATA_IN) {
		s->at = s->ready;
		s->phase = STATUS;
	}
	usb_ready(&s->usb, BULK_IN, true);
}

static void on_done(struct scsi_req *r)
{
	struct command *c = (struct command *)r;
	struct storage *s = c->storage;

	usb_lock(&s->usb);
	s->in_flight--;
	if (c->dropped)
		free_command(c);
	else
		finish(s);
	usb_ready(&s->usb, BULK_OUT, false); /* a command may wait for this one's end */
	usb_unlock(&s->usb);
}

/* A failed one waits for the VM to go on: a pause does not wait for it. */
static void on_kept(struct scsi_req *r, bool kept)
{
	struct storage *s = ((struct command *)r)->storage;

	usb_lock(&s->usb);
	s->in_flight += kept ? -1u : 1u;
	usb_unlock(&s->usb);
}

static void drop(struct disk_req *req)
{
	free_command((struct command *)req);
}

/* Main thread, after forget(): a processor's reset may come while the disk is about to tell that it keeps one. */
static void drop_kept(struct storage *s)
{
	if (s->lun)
		disk_queue_drop(s->lun->io[0], drop);
}

/* What a reset leaves is nothing; the disk ends by itself what it works on, or keeps until the VM goes on. */
static void forget(struct storage *s)
{
	if (s->command && s->busy) {
		s->command->dropped = true;
		s->command = NULL;
	}
	g_clear_pointer(&s->command, free_command);
	s->busy = false;
	s->phase = COMMAND;
	s->tag = s->length = s->at = s->ready = 0;
	s->status = PASSED;
	memset(s->sense, 0, sizeof(s->sense));
}

/* A drive without sense data in its answers keeps them for who asks. */
static bool last_sense(struct storage *s, struct scsi_req *r)
{
	uint8_t sense[SCSI_SENSE];

	memcpy(sense, s->sense, sizeof(sense));
	memset(s->sense, 0, sizeof(s->sense));
	return scsi_reply(r, sense, sizeof(sense), r->cdb[4]);
}

static void start(struct storage *s)
{
	struct scsi_req *r = &s->command->scsi;
	bool over;

	if (!s->lun) {
		r->status = SCSI_CHECK_CONDITION;
		scsi_put_sense(r->sense, &scsi_no_lun);
		finish(s);
		return;
	}
	r->lun = s->lun;
	if (r->cdb[0] == REQUEST_SENSE && s->sense[0] && !(r->cdb[1] & 1) && !r->other_lun) {
		over = last_sense(s, r);
	} else {
		memset(s->sense, 0, sizeof(s->sense));
		s->busy = true;
		over = scsi_start(r);
	}
	if (over) {
		finish(s);
		return;
	}
	s->in_flight++;
	disk_kick(s->lun->io[0]);
}

/* Command block wrapper (section 5.1). False: it is not valid, or not meaningful. */
static bool take_command(struct storage *s, const uint8_t cbw[CBW_SIZE])
{
	uint32_t len = get_le32(cbw + 8);
	bool in = cbw[12] & CBW_IN;
	struct command *c;
	uint8_t *data;

	if (get_le32(cbw) != CBW_SIGNATURE || cbw[14] < 1 || cbw[14] > 16 || cbw[13] > 15 || len > DATA_MAX)
		return false;
	data = len ? g_try_malloc0(len) : NULL;
	if (len && !data)
		return false;
	s->tag = get_le32(cbw + 4);
	s->length = len;
	s->at = s->ready = 0;
	c = s->command = g_new0(struct command, 1);
	c->storage = s;
	c->scsi.other_lun = cbw[13];
	memcpy(c->scsi.cdb, cbw + 15, cbw[14]);
	c->len = len;
	c->data = data;
	c->iov = (struct iovec){c->data, c->len};
	s->phase = !c->len ? STATUS : in ? DATA_IN : DATA_OUT;
	if (s->phase == DATA_IN) {
		c->scsi.in = &c->iov;
		c->scsi.n_in = 1;
		c->scsi.in_len = c->len;
	} else if (s->phase == DATA_OUT) {
		c->scsi.out = &c->iov;
		c->scsi.n_out = 1;
		c->scsi.out_len = c->len;
	}
	if (s->phase != DATA_OUT)
		start(s);
	return true;
}

/* ---- transfers ---- */

static int storage_out(struct usb_device *d, unsigned endpoint, const struct iovec *iov, unsigned n, uint32_t len)
{
	struct storage *s = (struct storage *)d;
	uint8_t cbw[CBW_SIZE];
	uint32_t part;

	if (endpoint != BULK_OUT)
		return USB_STALL;
	if (s->phase == COMMAND && s->in_flight >= IN_FLIGHT_MAX)
		return USB_NAK;
	if (s->phase == COMMAND) {
		if (len != CBW_SIZE || virtq_iov_read(iov, n, 0, cbw, sizeof(cbw)) != sizeof(cbw) || !take_command(s, cbw)) {
			d->halted |= 1u << (16 + BULK_IN); /* both, until the reset (6.6.1) */
			return USB_STALL;
		}
		return CBW_SIZE;
	}
	if (s->phase != DATA_OUT || s->busy)
		return USB_NAK;
	part = MIN(len, s->length - s->at);
	virtq_iov_read(iov, n, 0, s->command->data + s->at, part);
	s->at += part;
	if (s->at == s->length)
		start(s);
	return (int)part;
}

static int data_in(struct storage *s, const struct iovec *iov, unsigned n, uint32_t len)
{
	uint32_t part;

	if (s->busy)
		return USB_NAK;
	part = MIN(len, s->ready - s->at);
	virtq_iov_write(iov, n, 0, s->command->data + s->at, part);
	s->at += part;
	/* A short packet ends it early; when there is none, the next one is empty. */
	if (part < len || s->at == s->length)
		s->phase = STATUS;
	return (int)part;
}

static int storage_in(struct usb_device *d, unsigned endpoint, const struct iovec *iov, unsigned n, uint32_t len)
{
	struct storage *s = (struct storage *)d;
	uint8_t csw[CSW_SIZE];

	if (endpoint != BULK_IN)
		return USB_STALL;
	if (s->phase == DATA_IN)
		return data_in(s, iov, n, len);
	if (s->phase != STATUS || s->busy)
		return USB_NAK;
	if (len < CSW_SIZE)
		return USB_BABBLE;
	put_le32(csw, CSW_SIGNATURE);
	put_le32(csw + 4, s->tag);
	put_le32(csw + 8, s->length - s->at);
	csw[12] = s->status;
	virtq_iov_write(iov, n, 0, csw, sizeof(csw));
	s->phase = COMMAND;
	g_clear_pointer(&s->command, free_command);
	usb_ready(d, BULK_OUT, false);
	return CSW_SIZE;
}

static int storage_control(struct usb_device *d, const struct usb_setup *s, uint8_t *data)
{
	if (s->type == 0xa1 && s->request == GET_MAX_LUN) {
		data[0] = 0;
		return 1;
	}
	if (s->type == 0x21 && s->request == BULK_RESET) {
		forget((struct storage *)d);
		return 0;
	}
	return USB_STALL;
}

static void storage_clear(struct usb_device *d)
{
	forget((struct storage *)d);
}

static const struct usb_function storage_function = {
	.product = "USB Storage",
	.vendor_id = 0x46f4,
	.product_id = 0x0001,
	.config = {[USB_HIGH] = {high_config, sizeof(high_config)}, [USB_SUPER] = {super_config, sizeof(super_config)}},
	.control = storage_control,
	.in = storage_in,
	.out = storage_out,
	.reset = storage_clear,
};

/* ---- the unit ---- */

static bool on_attach(struct device *controller, struct scsi_lun *lun, unsigned *ret_unit, unsigned *ret_queues, GError **error)
{
	struct storage *s = (struct storage *)controller;

	if (s->lun)
		return kv_fail(error, KV_ERROR_USAGE, "%s: %s has a disk already", lun->dev.id, controller->id);
	s->lun = lun;
	*ret_unit = 0;
	*ret_queues = 1;
	return true;
}

static void settle(struct storage *s)
{
	if (s->in_flight && s->lun)
		disk_hurry(s->lun->disk);
	while (s->in_flight)
		g_main_context_iteration(s->usb.dev.core->context, TRUE);
}

static void on_detach(struct device *controller, unsigned unit)
{
	struct storage *s = (struct storage *)controller;

	usb_lock(&s->usb);
	forget(s);
	drop_kept(s);
	usb_unlock(&s->usb);
	settle(s);
	s->lun = NULL;
}

/* It asks again and again, and learns of it by a unit attention. */
static void on_changed(struct device *controller, unsigned unit, uint8_t asc, uint8_t ascq)
{
}

static const struct scsi_host host = {.interface = INTERFACE_USB,
				      .attach = on_attach,
				      .done = on_done,
				      .kept = on_kept,
				      .changed = on_changed,
				      .detach = on_detach};

/* ---- the device ---- */

static bool storage_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	return usb_plug(&((struct storage *)dev)->usb, &storage_function, error);
}

static void storage_reset(struct device *dev)
{
	struct storage *s = (struct storage *)dev;

	usb_lock(&s->usb);
	usb_reset(&s->usb);
	drop_kept(s);
	usb_unlock(&s->usb);
}

static void storage_destroy(struct device *dev)
{
	struct storage *s = (struct storage *)dev;

	usb_unplug(&s->usb);
	forget(s);
}

/* The controller starts nothing any more: what is under way ends. */
static void storage_pause(struct device *dev)
{
	settle((struct storage *)dev);
}

/* The unit is a device of its own, which would be left without it. */
static bool storage_can_unplug(struct device *dev, GError **error)
{
	const struct storage *s = (const struct storage *)dev;

	return !s->lun || kv_fail(error, KV_ERROR_UNSUPPORTED, "'%s' is what the USB disk '%s' is at, and stays with it", dev->id,
				  s->lun->dev.id);
}

static bool storage_can_save(struct device *dev, GError **error)
{
	const struct storage *s = (const struct storage *)dev;

	if (!s->command)
		return true;
	return kv_fail(error, KV_ERROR_INVALID,
		       "%s: a command waits for its driver, which a saved state cannot have; let the machine go on for a moment",
		       dev->id);
}

static bool storage_loaded(void *opaque, GError **error)
{
	struct storage *s = opaque;

	if (s->phase != COMMAND)
		return kv_fail(error, KV_ERROR_INVALID, "%s: the saved state is in the middle of a command", s->usb.dev.id);
	usb_loaded(&s->usb);
	return true;
}

static const struct state_field storage_fields[] = {USB_DEVICE_STATE(struct storage, usb),
						    STATE_INT(struct storage, phase, STATE_U8),
						    STATE_INT(struct storage, tag, STATE_U32),
						    STATE_INT(struct storage, length, STATE_U32),
						    STATE_INT(struct storage, at, STATE_U32),
						    STATE_INT(struct storage, ready, STATE_U32),
						    STATE_INT(struct storage, status, STATE_U8),
						    STATE_RAW(struct storage, sense),
						    STATE_END};
static const struct state_desc storage_state = {"usb-storage", 1, 1, storage_fields, NULL, storage_loaded};

const struct device_class device_usb_storage = {
	.name = "usb-storage",
	.description = "USB mass storage: a disk or CD-ROM drive",
	.size = sizeof(struct storage),
	.create = storage_create,
	.reset = storage_reset,
	.destroy = storage_destroy,
	.pause = storage_pause,
	.can_save = storage_can_save,
	.can_unplug = storage_can_unplug,
	.state = &storage_state,
	.scsi = &host,
};
