/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SCSI units as devices (scsi.h): made, saved, told of another size or medium; and the way of a command: which table has it,
 * whether a unit attention or a missing medium comes first. Commands about the unit as a whole are here as well.
 */
#include <errno.h>
#include <string.h>

#include "boot-order.h"
#include "bytes.h"
#include "classes.h"
#include "error.h"
#include "pci.h"
#include "scsi.h"
#include "virtio.h"

enum {
	QUEUE_DEPTH = 256,
	DISK_BLOCK_BITS = 9,
	CD_BLOCK_BITS = 11,
	SENSE_FIXED = 0x70,
	SENSE_DESCRIPTOR = 0x72,
	DESCRIPTOR_SENSE = 8, /* bytes */
	TEST_UNIT_READY = 0x00,
	LIST = 8, /* of REPORT LUNS: its header, and an entry */
};

/* Addresses of LUNs (SAM-5, 4.7): up to 255 peripheral ones, then flat; the well-known one of REPORT LUNS. */
enum { PERIPHERAL_LUNS = 256, FLAT = 0x40, WELL_KNOWN = 0xc101 };

/* lun->media_event (MMC-5, 6.6.2.6). */
enum { MEDIA_EJECT = 1, MEDIA_NEW = 2, MEDIA_REMOVED = 3 };

const struct scsi_sense scsi_no_sense = {0, 0, 0}, scsi_no_medium = {2, 0x3a, 1}, scsi_tray_open = {2, 0x3a, 2},
			scsi_invalid_opcode = {5, 0x20, 0}, scsi_invalid_field = {5, 0x24, 0},
			scsi_invalid_parameter = {5, 0x26, 0}, scsi_parameter_length = {5, 0x1a, 0}, scsi_no_lun = {5, 0x25, 0},
			scsi_out_of_range = {5, 0x21, 0}, scsi_write_protected = {7, 0x27, 0}, scsi_no_saving = {5, 0x39, 0},
			scsi_removal_prevented = {5, 0x53, 2}, scsi_read_error = {3, 0x11, 0}, scsi_write_error = {3, 0x0c, 0},
			scsi_no_space = {7, 0x27, 7}, scsi_reset_happened = {6, 0x29, 0}, scsi_medium_changed = {6, 0x28, 0},
			scsi_capacity_changed = {6, 0x2a, 9}, scsi_luns_changed = {6, 0x3f, 0x0e};

/* Bits of lun->attention; the first one goes first. */
enum { ATTENTION_RESET, ATTENTION_MEDIUM, ATTENTION_CAPACITY, ATTENTION_LUNS };
static const struct scsi_sense *const attentions[] = {
	[ATTENTION_RESET] = &scsi_reset_happened,
	[ATTENTION_MEDIUM] = &scsi_medium_changed,
	[ATTENTION_CAPACITY] = &scsi_capacity_changed,
	[ATTENTION_LUNS] = &scsi_luns_changed,
};

/* ---- answers ---- */

bool scsi_good(struct scsi_req *r)
{
	r->status = SCSI_GOOD;
	return true;
}

void scsi_put_sense(uint8_t *dst, const struct scsi_sense *sense)
{
	memset(dst, 0, SCSI_SENSE);
	dst[0] = SENSE_FIXED;
	dst[2] = sense->key;
	dst[7] = SCSI_SENSE - 8;
	dst[12] = sense->asc;
	dst[13] = sense->ascq;
}

bool scsi_check(struct scsi_req *r, const struct scsi_sense *sense)
{
	r->status = SCSI_CHECK_CONDITION;
	scsi_put_sense(r->sense, sense);
	return true;
}

bool scsi_reply(struct scsi_req *r, const void *data, size_t len, size_t allocation)
{
	len = MIN(len, allocation);
	r->transferred = virtq_iov_write(r->in, r->n_in, 0, data, MIN(len, r->in_len));
	return scsi_good(r);
}

static void add_attention(struct scsi_lun *lun, unsigned bit)
{
	__atomic_or_fetch(&lun->attention, 1u << bit, __ATOMIC_RELEASE);
}

const struct scsi_sense *scsi_take_attention(struct scsi_lun *lun)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(attentions); i++)
		if (__atomic_fetch_and(&lun->attention, ~(1u << i), __ATOMIC_ACQ_REL) & 1u << i)
			return attentions[i];
	return NULL;
}

bool scsi_medium(const struct scsi_lun *lun, uint64_t *ret_blocks)
{
	uint64_t blocks = disk_size(lun->disk) >> lun->block_bits;

	if (!blocks || lun->tray_open)
		return false;
	*ret_blocks = blocks;
	return true;
}

/* ---- commands about the unit ---- */

static bool test_unit_ready(struct scsi_req *r)
{
	return scsi_good(r);
}

/* The sense of the last command went with its answer; what is left is a unit attention that waits. */
static bool request_sense(struct scsi_req *r)
{
	const struct scsi_sense *sense = r->well_known ? &scsi_no_sense :
					 r->other_lun  ? &scsi_no_lun :
							 scsi_take_attention(r->lun);
	uint8_t data[SCSI_SENSE] = {0};
	uint64_t blocks;

	if (!sense && r->lun->cdrom && !scsi_medium(r->lun, &blocks))
		sense = r->lun->tray_open ? &scsi_tray_open : &scsi_no_medium;
	if (!sense)
		sense = &scsi_no_sense;
	if (!(r->cdb[1] & 1)) {
		scsi_put_sense(data, sense);
		return scsi_reply(r, data, sizeof(data), r->cdb[4]);
	}
	data[0] = SENSE_DESCRIPTOR;
	data[1] = sense->key;
	data[2] = sense->asc;
	data[3] = sense->ascq;
	return scsi_reply(r, data, DESCRIPTOR_SENSE, r->cdb[4]);
}

static void put_lun(uint8_t *entry, unsigned number)
{
	put_be16(entry, number < PERIPHERAL_LUNS || number == WELL_KNOWN ? number : FLAT << 8 | number);
}

/* Those of the target, in order; SELECT REPORT says whether units, well-known ones, or both. */
static bool report_luns(struct scsi_req *r)
{
	uint8_t data[LIST + LIST * (SCSI_UNITS + 1)] = {0};
	uint32_t allocation = get_be32(r->cdb + 6), n = LIST;
	const struct scsi_host *host = r->lun->host;
	bool units = r->cdb[2] != 1, well_known = r->cdb[2] && host->first;
	const struct scsi_lun *l = host->first ? host->first(r->lun->controller, (unsigned)r->lun->scsi_id) : r->lun;

	if (r->cdb[2] > 2 || allocation < 2 * LIST)
		return scsi_check(r, &scsi_invalid_field);
	for (; units && l && n < LIST + LIST * SCSI_UNITS; l = l->next, n += LIST)
		put_lun(data + n, (unsigned)l->number);
	if (well_known) {
		put_lun(data + n, WELL_KNOWN);
		n += LIST;
	}
	put_be32(data, n - LIST);
	return scsi_reply(r, data, n, allocation);
}

/* A medium that can be read from now on. */
static void announce_medium(struct scsi_lun *lun)
{
	lun->media_event = MEDIA_NEW;
	add_attention(lun, ATTENTION_MEDIUM);
}

static void move_tray(struct scsi_lun *lun, bool open)
{
	if (lun->tray_open == open)
		return;
	lun->tray_open = open;
	if (!open && !disk_is_empty(lun->disk))
		announce_medium(lun);
	disk_tray_moved(lun->disk, open);
}

static bool start_stop(struct scsi_req *r)
{
	struct scsi_lun *lun = r->lun;
	bool load_eject = r->cdb[4] & 2, start = r->cdb[4] & 1;

	/* Power conditions have no meaning here. */
	if (!lun->cdrom || (r->cdb[4] >> 4) || !load_eject)
		return scsi_good(r);
	if (!start && !lun->tray_open && lun->locked)
		return scsi_check(r, &scsi_removal_prevented);
	move_tray(lun, !start);
	return scsi_good(r);
}

static bool prevent_allow(struct scsi_req *r)
{
	if (r->lun->cdrom)
		r->lun->locked = r->cdb[4] & 1;
	return scsi_good(r);
}

const struct scsi_command scsi_common_commands[] = {
	{TEST_UNIT_READY, SCSI_MEDIUM, test_unit_ready},
	{0x03, SCSI_ALWAYS | SCSI_ANY_LUN, request_sense},
	{0x12, SCSI_ALWAYS | SCSI_ANY_LUN, scsi_inquiry},
	{0x1b, 0, start_stop},
	{0x1e, 0, prevent_allow},
	{0xa0, SCSI_ALWAYS | SCSI_ANY_LUN, report_luns},
	{},
};

/* ---- the way of a command ---- */

static const struct scsi_command *const disk_tables[] = {scsi_read_commands, scsi_write_commands, scsi_common_commands,
							 scsi_mode_commands, NULL};
static const struct scsi_command *const cd_tables[] = {scsi_read_commands, scsi_common_commands, scsi_mode_commands,
						       scsi_cd_commands, NULL};

static const struct scsi_command *find_command(const struct scsi_lun *lun, uint8_t opcode)
{
	for (const struct scsi_command *const *t = lun->cdrom ? cd_tables : disk_tables; *t; t++)
		for (const struct scsi_command *c = *t; c->run; c++)
			if (c->opcode == opcode)
				return c;
	return NULL;
}

/* A command that has to do with a unit, where there is none. */
static bool no_unit(struct scsi_req *r)
{
	if (!r->well_known)
		return scsi_check(r, &scsi_no_lun);
	return r->cdb[0] == TEST_UNIT_READY ? scsi_good(r) : scsi_check(r, &scsi_invalid_opcode);
}

bool scsi_start(struct scsi_req *r)
{
	struct scsi_lun *lun = r->lun;
	const struct scsi_command *c = find_command(lun, r->cdb[0]);
	const struct scsi_sense *attention;
	uint64_t blocks;

	if (r->other_lun && !(c && (c->flags & SCSI_ANY_LUN)))
		return no_unit(r);
	if (!c || !(c->flags & SCSI_ALWAYS)) {
		attention = __atomic_load_n(&lun->attention, __ATOMIC_ACQUIRE) ? scsi_take_attention(lun) : NULL;
		if (attention)
			return scsi_check(r, attention);
	}
	if (!c)
		return scsi_check(r, &scsi_invalid_opcode);
	if ((c->flags & SCSI_MEDIUM) && !scsi_medium(lun, &blocks))
		return scsi_check(r, lun->tray_open ? &scsi_tray_open : &scsi_no_medium);
	if ((c->flags & SCSI_WRITES) && disk_is_readonly(lun->disk))
		return scsi_check(r, &scsi_write_protected);
	return c->run(r);
}

void scsi_end(struct scsi_req *r)
{
	g_free(r->buf);
}

void scsi_lun_reset(struct scsi_lun *lun)
{
	lun->locked = false;
	__atomic_store_n(&lun->writeback, disk_is_writeback(lun->disk), __ATOMIC_RELAXED);
	__atomic_store_n(&lun->attention, 1u << ATTENTION_RESET, __ATOMIC_RELEASE);
}

/* A drive's driver takes any attention for another medium, and fails what it reads: it goes by the controller's event. */
void scsi_lun_other_changed(struct scsi_lun *lun)
{
	if (!lun->cdrom)
		add_attention(lun, ATTENTION_LUNS);
}

/* ---- the drive ---- */

static void lun_kept(struct disk_req *req, bool kept)
{
	struct scsi_req *r = (struct scsi_req *)req;

	r->lun->host->kept(r, kept);
}

static void tell(struct scsi_lun *lun, const struct scsi_sense *sense)
{
	lun->host->changed(lun->controller, lun->unit, sense->asc, sense->ascq);
}

static void lun_resized(void *opaque)
{
	struct scsi_lun *lun = opaque;

	add_attention(lun, ATTENTION_CAPACITY);
	tell(lun, &scsi_capacity_changed);
}

/* Behind an open tray nobody sees it before that shuts. */
static void cd_medium_changed(void *opaque)
{
	struct scsi_lun *lun = opaque;

	if (lun->tray_open)
		return;
	if (disk_is_empty(lun->disk))
		lun->media_event = MEDIA_REMOVED;
	else
		announce_medium(lun);
	tell(lun, &scsi_medium_changed);
}

static void cd_tray(void *opaque, struct disk_tray *ret)
{
	const struct scsi_lun *lun = opaque;

	*ret = (struct disk_tray){.open = lun->tray_open, .locked = lun->locked};
}

static void cd_move_tray(void *opaque, bool open)
{
	struct scsi_lun *lun = opaque;

	move_tray(lun, open);
	tell(lun, &scsi_medium_changed);
}

static void cd_ask_eject(void *opaque, bool unlock)
{
	struct scsi_lun *lun = opaque;

	lun->media_event = MEDIA_EJECT;
	if (unlock)
		lun->locked = false;
	tell(lun, &scsi_medium_changed);
}

static const struct disk_client disk_client = {.kept = lun_kept, .resized = lun_resized};
static const struct disk_client cd_client = {.kept = lun_kept,
					     .resized = lun_resized,
					     .medium_changed = cd_medium_changed,
					     .tray = cd_tray,
					     .move_tray = cd_move_tray,
					     .ask_eject = cd_ask_eject};

/* ---- the device ---- */

static void close_queues(struct scsi_lun *lun)
{
	disk_set_client(lun->disk, NULL, NULL);
	while (lun->n_io)
		disk_queue_free(lun->io[--lun->n_io]);
}

static bool open_queues(struct scsi_lun *lun, unsigned n, GError **error)
{
	for (; lun->n_io < n; lun->n_io++) {
		lun->io[lun->n_io] = disk_queue_new(lun->disk, lun->dev.core->context, QUEUE_DEPTH, error);
		if (!lun->io[lun->n_io])
			return false;
	}
	return true;
}

/* What was asked for, before the controller knows better. */
static bool parse_address(struct scsi_lun *lun, GVariant *options, GError **error)
{
	guint64 channel = 0, scsi_id, number;

	lun->scsi_id = lun->number = SCSI_ANY;
	if (!options)
		return true;
	g_variant_lookup(options, "channel", "t", &channel);
	if (channel)
		return kv_fail(error, KV_ERROR_USAGE, "%s: bad scsi channel id: %" G_GUINT64_FORMAT "; there is 0 alone",
			       lun->dev.id, channel);
	if (g_variant_lookup(options, "scsi-id", "t", &scsi_id))
		lun->scsi_id = (int)MIN(scsi_id, SCSI_TARGETS);
	if (g_variant_lookup(options, "lun", "t", &number))
		lun->number = (int)MIN(number, SCSI_LUNS);
	if (lun->scsi_id == SCSI_TARGETS)
		return kv_fail(error, KV_ERROR_USAGE, "%s: bad scsi device id: %" G_GUINT64_FORMAT "; use 0 to %d",
			       lun->dev.id, scsi_id, SCSI_TARGETS - 1);
	return lun->number < SCSI_LUNS || kv_fail(error, KV_ERROR_USAGE,
						  "%s: bad scsi device lun: %" G_GUINT64_FORMAT "; use 0 to %d", lun->dev.id,
						  number, SCSI_LUNS - 1);
}

static bool parse(struct scsi_lun *lun, GVariant *options, GError **error)
{
	g_autofree char *otherwise = g_strndup(lun->dev.id, SCSI_SERIAL);
	const char *serial = otherwise;

	if (options) {
		g_variant_lookup(options, "serial", "&s", &serial);
		g_variant_lookup(options, "wwn", "t", &lun->wwn);
	}
	if (strlen(serial) > SCSI_SERIAL)
		return kv_fail(error, KV_ERROR_USAGE, "%s: serial '%s' is longer than %d characters", lun->dev.id, serial,
			       SCSI_SERIAL);
	g_strlcpy(lun->serial, serial, sizeof(lun->serial));
	return parse_address(lun, options, error);
}

/* A stream of version 1 does not say where the unit is: each was a target of its own, one after the other. */
static void expect_old(struct scsi_lun *lun)
{
	lun->saved_id = lun->host->first ? lun->unit : 0;
	lun->saved_number = 0;
}

static bool attach(struct scsi_lun *lun, unsigned *ret_queues, GError **error)
{
	if (!lun->host->attach(lun->controller, lun, &lun->unit, ret_queues, error))
		return false;
	if (!lun->host->first)
		lun->scsi_id = lun->number = 0;
	expect_old(lun);
	return true;
}

static bool create(struct device *dev, GVariant *options, const struct device_backend *backend, bool cdrom, GError **error)
{
	struct scsi_lun *lun = (struct scsi_lun *)dev;
	unsigned queues;

	lun->disk = backend->disk;
	lun->controller = dev->holder = backend->controller;
	lun->cdrom = cdrom;
	lun->block_bits = cdrom ? CD_BLOCK_BITS : DISK_BLOCK_BITS;
	if (!lun->disk || (!cdrom && disk_is_empty(lun->disk)))
		return kv_fail(error, KV_ERROR_USAGE, "%s: a disk needs an image", dev->id);
	if (!lun->controller || !lun->controller->cls->scsi)
		return kv_fail(error, KV_ERROR_USAGE, "%s: a SCSI disk needs a controller", dev->id);
	lun->host = lun->controller->cls->scsi;
	if (!parse(lun, options, error) || !attach(lun, &queues, error))
		return false;
	if (!open_queues(lun, queues, error)) {
		lun->host->detach(lun->controller, lun->unit);
		close_queues(lun);
		return false;
	}
	disk_set_client(lun->disk, cdrom ? &cd_client : &disk_client, lun);
	scsi_lun_reset(lun);
	return true;
}

static bool disk_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	return create(dev, options, backend, false, error);
}

static bool cd_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	return create(dev, options, backend, true, error);
}

static void lun_device_reset(struct device *dev)
{
	struct scsi_lun *lun = (struct scsi_lun *)dev;

	lun->tray_open = false;
	lun->media_event = 0;
	scsi_lun_reset(lun);
}

static void lun_destroy(struct device *dev)
{
	struct scsi_lun *lun = (struct scsi_lun *)dev;

	lun->host->detach(lun->controller, lun->unit);
	close_queues(lun);
}

static bool lun_leave(struct device *dev)
{
	struct scsi_lun *lun = (struct scsi_lun *)dev;

	return !lun->host->leave || lun->host->leave(lun->controller, lun->unit);
}

static void lun_resume(struct device *dev)
{
	disk_resume(((struct scsi_lun *)dev)->disk);
}

static bool lun_can_unplug(struct device *dev, GError **error)
{
	const struct scsi_lun *lun = (const struct scsi_lun *)dev;

	return lun->host->leave ||
	       kv_fail(error, KV_ERROR_UNSUPPORTED, "Bus '%s.0' does not support hotplugging", lun->controller->id);
}

static bool lun_can_save(struct device *dev, GError **error)
{
	/* Whoever gets the machine has those of the command line, in their order. */
	if (((struct scsi_lun *)dev)->plugged)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "disk '%s' was plugged in, and cannot be saved; take it out",
			       dev->id);
	if (!disk_has_kept(((struct scsi_lun *)dev)->disk))
		return true;
	return kv_fail(error, KV_ERROR_INVALID,
		       "%s: requests that failed wait to be done again, which a saved state cannot have; let the machine go on",
		       dev->id);
}

static char *lun_stats(struct device *dev)
{
	const struct scsi_lun *lun = (const struct scsi_lun *)dev;

	return g_strdup_printf("%s.reads %" G_GUINT64_FORMAT "\n%s.writes %" G_GUINT64_FORMAT "\n", dev->id, lun->requests[0],
			       dev->id, lun->requests[1]);
}

static void lun_before_save(void *opaque)
{
	struct scsi_lun *lun = opaque;

	lun->saved_id = (uint32_t)lun->scsi_id;
	lun->saved_number = (uint32_t)lun->number;
}

/* The guest knows it by its address. */
static bool lun_loaded(void *opaque, GError **error)
{
	struct scsi_lun *lun = opaque;
	uint32_t scsi_id = lun->saved_id, number = lun->saved_number;

	expect_old(lun);
	return (scsi_id == (uint32_t)lun->scsi_id && number == (uint32_t)lun->number) ||
	       kv_fail(error, KV_ERROR_INVALID,
		       "%s: the saved machine has it at scsi-id %u, lun %u, and this one at scsi-id %d, lun %d", lun->dev.id,
		       scsi_id, number, lun->scsi_id, lun->number);
}

static const struct state_field lun_fields[] = {
	STATE_INT(struct scsi_lun, writeback, STATE_BOOL),
	STATE_INT(struct scsi_lun, tray_open, STATE_BOOL),
	STATE_INT(struct scsi_lun, locked, STATE_BOOL),
	STATE_INT(struct scsi_lun, media_event, STATE_U8),
	STATE_INT(struct scsi_lun, attention, STATE_U32),
	{.name = "scsi_id", .offset = offsetof(struct scsi_lun, saved_id), .type = STATE_U32, .since = 2},
	{.name = "lun", .offset = offsetof(struct scsi_lun, saved_number), .type = STATE_U32, .since = 2},
	STATE_END,
};

static const struct state_desc lun_state = {
	.name = "scsi-lun",
	.version = 2,
	.oldest = 1,
	.fields = lun_fields,
	.before_save = lun_before_save,
	.after_load = lun_loaded,
};

/* At a PCI function; a USB disk's path is not known here. */
static char *lun_boot_path(struct device *dev, char *ret_kind)
{
	const struct scsi_lun *lun = (const struct scsi_lun *)dev;
	bool ahci = !strcmp(lun->controller->cls->name, "ahci");
	g_autofree char *rest = ahci ? g_strdup_printf("drive@%x/disk@0", lun->unit)
				     : g_strdup_printf("channel@0/disk@%x,%x", (unsigned)lun->scsi_id, (unsigned)lun->number);

	if (!ahci && strcmp(lun->controller->cls->name, "virtio-scsi"))
		return NULL;
	*ret_kind = lun->cdrom ? 'd' : 'c';
	return boot_path_pci((const struct pci_device *)lun->controller, rest);
}

static const struct device_key disk_keys[] = {
	{"drive", DEVICE_KEY_BACKEND, "a node of blockdev-add"},
	{"serial", DEVICE_KEY_TEXT, "serial number (its id)"},
	{"wwn", DEVICE_KEY_COUNT, "world wide name"},
	{"scsi-id", DEVICE_KEY_COUNT, "the target (the first where the LUN is free)", 0, SCSI_TARGETS - 1},
	{"lun", DEVICE_KEY_COUNT, "its number there (with scsi-id the first that is free, else 0)", 0, SCSI_LUNS - 1},
	{"channel", DEVICE_KEY_COUNT, "the bus of targets: 0"},
	{}};

const struct device_class device_scsi_disk = {
	.name = "scsi-disk",
	.alias = "scsi-hd",
	.description = "SCSI disk",
	.size = sizeof(struct scsi_lun),
	.create = disk_create,
	.reset = lun_device_reset,
	.destroy = lun_destroy,
	.resume = lun_resume,
	.can_save = lun_can_save,
	.leave = lun_leave,
	.can_unplug = lun_can_unplug,
	.keys = disk_keys,
	.parent = "virtio-scsi",
	.state = &lun_state,
	.stats = lun_stats,
	.boot_path = lun_boot_path,
};

const struct device_class device_scsi_cd = {
	.name = "scsi-cd",
	.description = "SCSI CD-ROM drive",
	.size = sizeof(struct scsi_lun),
	.create = cd_create,
	.reset = lun_device_reset,
	.destroy = lun_destroy,
	.resume = lun_resume,
	.can_save = lun_can_save,
	.leave = lun_leave,
	.can_unplug = lun_can_unplug,
	.keys = disk_keys,
	.parent = "virtio-scsi",
	.state = &lun_state,
	.stats = lun_stats,
	.boot_path = lun_boot_path,
};
