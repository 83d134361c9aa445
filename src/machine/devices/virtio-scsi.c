/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtio SCSI controller (virtio 1.2, section 5.6): commands from any number of queues to units (scsi.h), which are LUNs of
 * 256 targets; task management; events about another size or medium, and units that come and go. A request keeps a copy of its
 * chain, and vectors of what of it is data, which the units move bytes to and from directly.
 */
#include <string.h>

#include <linux/virtio_scsi.h>

#include "bytes.h"
#include "classes.h"
#include "error.h"
#include "scsi.h"
#include "virtio-pci.h"

enum {
	QUEUE_SIZE = 256,
	CONTROL = 0,
	EVENT = 1,
	REQUEST = 2, /* and those behind it */
	SEG_MAX = QUEUE_SIZE - 2,
	MAX_SECTORS = 0xffff,
	COMMANDS = 128, /* of a unit at a time */
	SENSE_MIN = SCSI_SENSE,
	CDB_MIN = SCSI_CDB,
	FIELD_MAX = 4096, /* of sense_size and cdb_size */
	HEAD = 19,	  /* of a command, before its CDB */
	ANSWER = 12,	  /* of the answer, before the sense data */
};

struct tmf {
	struct virtq_chain *chain; /* behind the struct */
	struct scsi_lun *lun; /* NULL: all units of the target */
	int scsi_id;
	struct tmf *next;
};

struct virtio_scsi {
	struct virtio_pci_device dev; /* first */
	struct scsi_lun *lun[SCSI_UNITS]; /* by unit, as below */
	struct scsi_lun *target[SCSI_TARGETS]; /* the first of each, in the order of LUNs (next); those that leave are in none */
	unsigned busy[SCSI_UNITS]; /* commands under way; atomic */
	unsigned kept[SCSI_UNITS]; /* those of them that failed and wait; atomic */
	unsigned n_units, n_queues; /* units from n_units on are free */
	struct scsi_lun *kick[SCSI_QUEUES]; /* by queue: submitted to and not kicked yet */
	struct tmf *tmf;		    /* that wait for a unit to be idle; the control queue's lock */
	bool event_missed;		    /* the event queue's lock */
};

struct hba_req {
	struct scsi_req scsi; /* first */
	struct virtio_scsi *s;
	struct virtqueue *vq;
	struct virtq_chain *chain; /* behind the struct, as are the vectors of data */
	uint32_t answer;	   /* bytes in front of the data */
};

/* Fields that the driver may change, and a saved state may have anything in. */
static struct virtio_scsi_config *config_of(struct virtio_scsi *s)
{
	return (struct virtio_scsi_config *)s->dev.v.config;
}

static uint32_t field(const void *p)
{
	return GUINT32_FROM_LE(__atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED));
}

static uint32_t size_field(const void *p)
{
	uint32_t v = field(p);

	return MIN(v, FIELD_MAX);
}

/* ---- addresses: 1, the target, the LUN in flat or peripheral form (section 5.6.6.1) ---- */

enum { METHOD = 0xc000, FLAT = 0x4000, PERIPHERAL_LUNS = 256, WELL_KNOWN = 0xc101 };

/* NULL: there is no such target. *ret_other: it has no such LUN, and what is returned is one that it has. */
static struct scsi_lun *find_lun(struct virtio_scsi *s, const uint8_t *address, bool *ret_other)
{
	struct scsi_lun *first = address[0] == 1 ? s->target[address[1]] : NULL, *l = first;
	unsigned number = get_be16(address + 2);

	if ((number & METHOD) <= FLAT)
		number &= FLAT - 1;
	while (l && (unsigned)l->number != number)
		l = l->next;
	*ret_other = !l;
	return l ? l : first;
}

/* As REPORT LUNS has it, which drivers compare it with. */
static void put_address(uint8_t *address, const struct scsi_lun *lun)
{
	memset(address, 0, 8);
	address[0] = 1;
	address[1] = (uint8_t)lun->scsi_id;
	put_be16(address + 2, lun->number < PERIPHERAL_LUNS ? lun->number : FLAT | lun->number);
}

/* ---- commands ---- */

/* The answer in front of the data, and the chain back to the driver. Holds vq->lock; the caller flushes the queue. */
static void finish(struct hba_req *r, uint8_t response)
{
	struct virtio_scsi *s = r->s;
	struct scsi_req *c = &r->scsi;
	uint32_t in = 0;
	uint8_t answer[ANSWER + SCSI_SENSE] = {0};

	if (!response) {
		bool check = c->status == SCSI_CHECK_CONDITION;

		in = c->in_len ? MIN(c->transferred, c->in_len) : 0;
		put_le32(answer, check ? SCSI_SENSE : 0);
		put_le32(answer + 4, c->in_len + c->out_len - MIN(c->transferred, c->in_len + c->out_len));
		answer[10] = c->status;
		if (check)
			memcpy(answer + ANSWER, c->sense, SCSI_SENSE);
	}
	answer[11] = response;
	virtq_iov_write(r->chain->in, r->chain->n_in, 0, answer, MIN(sizeof(answer), r->answer));
	virtq_push(r->vq, r->chain, r->answer + in);
	scsi_end(c);
	virtio_request_end(&s->dev.v);
	g_free(r);
}

static void answer_tmfs(struct virtio_scsi *s);

static void not_busy(struct virtio_scsi *s, unsigned unit)
{
	if (!__atomic_sub_fetch(&s->busy[unit], 1, __ATOMIC_ACQ_REL) && __atomic_load_n(&s->tmf, __ATOMIC_ACQUIRE))
		answer_tmfs(s);
}

static void end_command(struct hba_req *r, uint8_t response)
{
	struct virtio_scsi *s = r->s;
	struct virtqueue *vq = r->vq;
	unsigned unit = r->scsi.lun->unit;

	g_mutex_lock(&vq->lock);
	finish(r, response);
	virtio_queue_flush(&s->dev.v, vq);
	g_mutex_unlock(&vq->lock);
	not_busy(s, unit);
}

static void on_done(struct scsi_req *c)
{
	end_command((struct hba_req *)c, VIRTIO_SCSI_S_OK);
}

/* A failed one waits for the VM to go on: neither pause nor reset wait for it. */
static void on_kept(struct scsi_req *c, bool kept)
{
	struct virtio_scsi *s = ((struct hba_req *)c)->s;

	__atomic_add_fetch(&s->kept[c->lun->unit], kept ? 1 : -1, __ATOMIC_ACQ_REL);
	if (kept)
		virtio_request_end(&s->dev.v);
	else
		virtio_request_begin(&s->dev.v);
}

static void drop(struct disk_req *req)
{
	struct hba_req *r = (struct hba_req *)req;
	unsigned unit = r->scsi.lun->unit;

	__atomic_sub_fetch(&r->s->kept[unit], 1, __ATOMIC_ACQ_REL);
	__atomic_sub_fetch(&r->s->busy[unit], 1, __ATOMIC_ACQ_REL);
	scsi_end(&r->scsi);
	g_free(r);
}

/* Its unit is gone. */
static void drop_answered(struct disk_req *req)
{
	struct hba_req *r = (struct hba_req *)req;

	on_kept(&r->scsi, false);
	end_command(r, VIRTIO_SCSI_S_BAD_TARGET);
}

/* What the chain has behind the command and in front of data. False: it has not even that. */
static bool split(struct hba_req *r, struct iovec *vectors)
{
	struct virtq_chain *c = r->chain;
	uint32_t head = HEAD + size_field(&config_of(r->s)->cdb_size);
	struct scsi_req *q = &r->scsi;
	int n_out, n_in;

	r->answer = ANSWER + size_field(&config_of(r->s)->sense_size);
	if (c->out_len < head || c->in_len < r->answer)
		return false;
	q->out_len = c->out_len - head;
	q->in_len = c->in_len - r->answer;
	q->out = vectors;
	n_out = virtq_iov_slice(c->out, c->n_out, head, q->out_len, q->out, c->n_out);
	q->in = vectors + c->n_out;
	n_in = virtq_iov_slice(c->in, c->n_in, r->answer, q->in_len, q->in, c->n_in);
	if (n_out < 0 || n_in < 0)
		return false;
	q->n_out = n_out;
	q->n_in = n_in;
	return true;
}

static struct hba_req *new_request(struct virtio_scsi *s, struct virtqueue *vq, struct virtq_chain *chain)
{
	size_t chain_at = (sizeof(struct hba_req) + 7) & ~7ul;
	size_t vectors_at = (chain_at + virtq_chain_size(chain) + 7) & ~7ul;
	struct hba_req *r = g_malloc(vectors_at + (chain->n_out + chain->n_in) * sizeof(struct iovec));

	*r = (struct hba_req){.s = s, .vq = vq};
	r->chain = virtq_chain_copy(chain, (char *)r + chain_at);
	if (split(r, (struct iovec *)((char *)r + vectors_at)))
		return r;
	g_free(r);
	return NULL;
}

static void kick(struct virtio_scsi *s, unsigned queue)
{
	if (s->kick[queue])
		disk_kick(s->kick[queue]->io[queue]);
	s->kick[queue] = NULL;
}

/* The unit's queue is kicked when the next command is another unit's, or after the last one. */
static void kick_later(struct virtio_scsi *s, struct scsi_lun *lun, unsigned queue)
{
	if (s->kick[queue] != lun)
		kick(s, queue);
	s->kick[queue] = lun;
}

static void start_command(struct virtio_scsi *s, struct virtqueue *vq, struct virtq_chain *chain)
{
	struct hba_req *r = new_request(s, vq, chain);
	struct scsi_lun *lun;
	uint8_t head[HEAD + SCSI_CDB] = {0};

	if (!r) {
		virtq_break(vq, "SCSI command without its header or room for the answer");
		return;
	}
	virtio_request_begin(&s->dev.v);
	virtq_iov_read(r->chain->out, r->chain->n_out, 0, head, sizeof(head));
	memcpy(r->scsi.cdb, head + HEAD, SCSI_CDB);
	lun = r->scsi.lun = find_lun(s, head, &r->scsi.other_lun);
	r->scsi.well_known = get_be16(head + 2) == WELL_KNOWN;
	r->scsi.queue = vq->index - REQUEST;
	if (!r->scsi.lun) {
		finish(r, VIRTIO_SCSI_S_BAD_TARGET);
		return;
	}
	if (r->scsi.in_len && r->scsi.out_len) { /* bidirectional: not offered */
		finish(r, VIRTIO_SCSI_S_FAILURE);
		return;
	}
	__atomic_add_fetch(&s->busy[lun->unit], 1, __ATOMIC_ACQ_REL);
	if (scsi_start(&r->scsi)) {
		__atomic_sub_fetch(&s->busy[lun->unit], 1, __ATOMIC_ACQ_REL);
		finish(r, VIRTIO_SCSI_S_OK);
	} else {
		kick_later(s, lun, vq->index - REQUEST);
	}
}

/* ---- task management ---- */

static void answer_tmf(struct virtqueue *vq, const struct virtq_chain *chain, uint8_t response)
{
	virtq_iov_write(chain->in, chain->n_in, 0, &response, 1);
	virtq_push(vq, chain, 1);
}

/* The unit, or with NULL any of the target's; those that are leaving, too. */
static bool is_busy(struct virtio_scsi *s, const struct scsi_lun *lun, int scsi_id)
{
	for (unsigned i = 0; i < s->n_units; i++)
		if (s->lun[i] && (lun ? s->lun[i] == lun : s->lun[i]->scsi_id == scsi_id) &&
		    __atomic_load_n(&s->busy[i], __ATOMIC_ACQUIRE))
			return true;
	return false;
}

/* Those whose units are idle now. */
static void answer_tmfs(struct virtio_scsi *s)
{
	struct virtqueue *vq = &s->dev.v.queues[CONTROL];

	g_mutex_lock(&vq->lock);
	for (struct tmf **at = &s->tmf; *at;) {
		struct tmf *t = *at;

		if (is_busy(s, t->lun, t->scsi_id)) {
			at = &t->next;
			continue;
		}
		*at = t->next;
		answer_tmf(vq, t->chain, VIRTIO_SCSI_S_OK);
		g_free(t);
	}
	virtio_queue_flush(&s->dev.v, vq);
	g_mutex_unlock(&vq->lock);
}

/* A command under way cannot be called back: who aborts it is told that it is over when it is. */
static void wait_for_units(struct virtio_scsi *s, const struct virtq_chain *chain, struct scsi_lun *lun, int scsi_id)
{
	size_t chain_at = (sizeof(struct tmf) + 7) & ~7ul;
	struct tmf *t = g_malloc(chain_at + virtq_chain_size(chain));

	*t = (struct tmf){.lun = lun, .scsi_id = scsi_id, .next = s->tmf};
	t->chain = virtq_chain_copy((struct virtq_chain *)chain, (char *)t + chain_at);
	s->tmf = t;
	for (unsigned i = 0; i < s->n_units; i++)
		if (s->lun[i] && (lun ? s->lun[i] == lun : s->lun[i]->scsi_id == scsi_id))
			disk_hurry(s->lun[i]->disk);
}

static void start_tmf(struct virtio_scsi *s, struct virtqueue *vq, const struct virtq_chain *chain, const uint8_t *req)
{
	uint32_t what = get_le32(req + 4);
	bool other, target = what == VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET;
	struct scsi_lun *lun = find_lun(s, req + 8, &other);
	uint8_t response = VIRTIO_SCSI_S_OK;

	switch (what) {
	case VIRTIO_SCSI_T_TMF_ABORT_TASK:
	case VIRTIO_SCSI_T_TMF_ABORT_TASK_SET:
	case VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET:
	case VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET:
	case VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET:
		if (!lun)
			response = VIRTIO_SCSI_S_BAD_TARGET;
		else if (other && !target)
			response = VIRTIO_SCSI_S_INCORRECT_LUN;
		break;
	default: /* queries of single tasks */
		response = VIRTIO_SCSI_S_FUNCTION_REJECTED;
	}
	if (response == VIRTIO_SCSI_S_OK) {
		if (what == VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET)
			scsi_lun_reset(lun);
		for (struct scsi_lun *l = target ? s->target[lun->scsi_id] : NULL; l; l = l->next)
			scsi_lun_reset(l);
		if (is_busy(s, target ? NULL : lun, lun->scsi_id)) {
			wait_for_units(s, chain, target ? NULL : lun, lun->scsi_id);
			return;
		}
	}
	answer_tmf(vq, chain, response);
}

static void start_control(struct virtio_scsi *s, struct virtqueue *vq, struct virtq_chain *chain)
{
	uint8_t req[sizeof(struct virtio_scsi_ctrl_tmf_req)] = {0};
	const uint8_t nothing[5] = {0}; /* event_actual, response OK */
	size_t len = virtq_iov_read(chain->out, chain->n_out, 0, req, sizeof(req));

	if (len >= sizeof(req) && get_le32(req) == VIRTIO_SCSI_T_TMF && chain->in_len >= 1) {
		start_tmf(s, vq, chain, req);
	} else if (len >= sizeof(struct virtio_scsi_ctrl_an_req) && chain->in_len >= sizeof(nothing) &&
		   (get_le32(req) == VIRTIO_SCSI_T_AN_QUERY || get_le32(req) == VIRTIO_SCSI_T_AN_SUBSCRIBE)) {
		/* Asynchronous notifications: there are none. */
		virtq_iov_write(chain->in, chain->n_in, 0, nothing, sizeof(nothing));
		virtq_push(vq, chain, sizeof(nothing));
	} else {
		virtq_break(vq, "SCSI control request that is none");
	}
}

/* ---- events ---- */

/* Holds the event queue's lock. False: the driver has given no buffer. */
static bool put_event(struct virtio_scsi *s, struct virtqueue *vq, uint32_t event, const uint8_t *address, uint32_t reason)
{
	struct virtq_chain *chain = virtq_pop(vq);
	struct virtio_scsi_event e = {.event = GUINT32_TO_LE(event), .reason = GUINT32_TO_LE(reason)};

	if (!chain)
		return false;
	memcpy(e.lun, address, sizeof(e.lun));
	if (chain->in_len < sizeof(e)) {
		virtq_break(vq, "SCSI event buffer that is too small");
		return false;
	}
	virtq_iov_write(chain->in, chain->n_in, 0, &e, sizeof(e));
	virtq_push(vq, chain, sizeof(e));
	virtio_queue_flush(&s->dev.v, vq);
	return true;
}

static void tell(struct virtio_scsi *s, unsigned feature, const struct scsi_lun *lun, uint32_t event, uint32_t reason)
{
	struct virtqueue *vq = &s->dev.v.queues[EVENT];
	uint8_t address[8];

	if (!virtio_has(&s->dev.v, feature))
		return;
	put_address(address, lun);
	g_mutex_lock(&vq->lock);
	/* A paused device leaves guest memory alone; the driver learns that it has missed something. */
	if (!virtio_live(&s->dev.v) || !vq->started || !put_event(s, vq, event, address, reason))
		s->event_missed = true;
	g_mutex_unlock(&vq->lock);
}

static void on_changed(struct device *controller, unsigned unit, uint8_t asc, uint8_t ascq)
{
	struct virtio_scsi *s = (struct virtio_scsi *)controller;

	tell(s, VIRTIO_SCSI_F_CHANGE, s->lun[unit], VIRTIO_SCSI_T_PARAM_CHANGE, asc | ascq << 8);
}

static void event_buffers(struct virtio_scsi *s, struct virtqueue *vq)
{
	const uint8_t address[8] = {0};

	if (s->event_missed && put_event(s, vq, VIRTIO_SCSI_T_EVENTS_MISSED | VIRTIO_SCSI_T_NO_EVENT, address, 0))
		s->event_missed = false;
}

/* ---- queues ---- */

static void serve(struct virtio_device *v, struct virtqueue *vq,
		  void (*start)(struct virtio_scsi *s, struct virtqueue *vq, struct virtq_chain *chain))
{
	struct virtio_scsi *s = v->owner;
	struct virtq_chain *chain;
	unsigned budget = 2 * vq->size;

	do {
		virtq_disable_notify(vq);
		while (budget && (chain = virtq_pop(vq))) {
			budget--;
			start(s, vq, chain);
		}
	} while (budget && virtq_enable_notify(vq));
	if (!budget)
		virtio_queue_kick(v, vq->index);
}

static void scsi_notify(struct virtio_device *v, struct virtqueue *vq)
{
	struct virtio_scsi *s = v->owner;

	if (vq->index == EVENT) {
		event_buffers(s, vq);
		virtq_enable_notify(vq);
	} else if (vq->index == CONTROL) {
		serve(v, vq, start_control);
	} else {
		serve(v, vq, start_command);
		kick(s, vq->index - REQUEST);
	}
	virtio_queue_flush(v, vq);
}

/* The driver may say how long CDBs and sense data are. */
static void config_written(struct virtio_device *v, const uint8_t *before, unsigned offset, unsigned len)
{
	struct virtio_scsi *s = v->owner;
	uint32_t sense = field(&config_of(s)->sense_size), cdb = field(&config_of(s)->cdb_size);

	memcpy(v->config, before, v->config_size);
	if (sense >= SENSE_MIN && sense <= FIELD_MAX)
		__atomic_store_n(&config_of(s)->sense_size, GUINT32_TO_LE(sense), __ATOMIC_RELAXED);
	if (cdb >= CDB_MIN && cdb <= FIELD_MAX)
		__atomic_store_n(&config_of(s)->cdb_size, GUINT32_TO_LE(cdb), __ATOMIC_RELAXED);
}

static void fill_config(struct virtio_scsi *s)
{
	struct virtio_scsi_config c = {
		.num_queues = GUINT32_TO_LE(s->n_queues),
		.seg_max = GUINT32_TO_LE(SEG_MAX),
		.max_sectors = GUINT32_TO_LE(MAX_SECTORS),
		.cmd_per_lun = GUINT32_TO_LE(COMMANDS),
		.event_info_size = GUINT32_TO_LE(sizeof(struct virtio_scsi_event)),
		.sense_size = GUINT32_TO_LE(VIRTIO_SCSI_SENSE_DEFAULT_SIZE),
		.cdb_size = GUINT32_TO_LE(VIRTIO_SCSI_CDB_DEFAULT_SIZE),
		/* What there may be: others may come, and drivers look here once. */
		.max_target = GUINT16_TO_LE(SCSI_TARGETS - 1),
		.max_lun = GUINT32_TO_LE(SCSI_LUNS - 1),
	};

	memcpy(s->dev.v.config, &c, sizeof(c));
}

/* Failed commands, and who waits for them. */
static void drop_kept(struct virtio_scsi *s)
{
	for (unsigned i = 0; i < s->n_units; i++)
		for (unsigned q = 0; s->lun[i] && q < s->lun[i]->n_io; q++)
			disk_queue_drop(s->lun[i]->io[q], drop);
	while (s->tmf) {
		struct tmf *t = s->tmf;

		s->tmf = t->next;
		g_free(t);
	}
}

static void controller_reset(struct virtio_device *v)
{
	struct virtio_scsi *s = v->owner;

	drop_kept(s);
	for (unsigned i = 0; i < s->n_units; i++)
		if (s->lun[i])
			scsi_lun_reset(s->lun[i]);
	s->event_missed = false;
	fill_config(s);
}

static void scsi_hurry(struct virtio_device *v)
{
	struct virtio_scsi *s = v->owner;

	for (unsigned i = 0; i < s->n_units; i++)
		if (s->lun[i])
			disk_hurry(s->lun[i]->disk);
}

static const struct virtio_class scsi_class = {
	.name = "virtio-scsi",
	.id = VIRTIO_ID_SCSI,
	.pci_class = 0x010000,
	.notify = scsi_notify,
	.config_written = config_written,
	.reset = controller_reset,
	.hurry = scsi_hurry,
};

/* ---- units ---- */

static const struct scsi_lun *first_of(const struct device *controller, unsigned scsi_id)
{
	return ((const struct virtio_scsi *)controller)->target[scsi_id];
}

static struct scsi_lun *at_address(const struct virtio_scsi *s, int scsi_id, int number)
{
	struct scsi_lun *l = s->target[scsi_id];

	while (l && l->number != number)
		l = l->next;
	return l;
}

/* As QEMU has it: a LUN is 0 of the first target where that is free, and of one that was asked for the first free one. */
static bool choose_address(const struct virtio_scsi *s, struct scsi_lun *lun, GError **error)
{
	const struct scsi_lun *other;

	if (lun->scsi_id == SCSI_ANY) {
		lun->number = MAX(lun->number, 0);
		lun->scsi_id = 0;
		while (lun->scsi_id < SCSI_TARGETS && at_address(s, lun->scsi_id, lun->number))
			lun->scsi_id++;
		return lun->scsi_id < SCSI_TARGETS ||
		       kv_fail(error, KV_ERROR_USAGE, "%s: no free target: all of %s have a LUN %d", lun->dev.id,
			       s->dev.pci.dev.id, lun->number);
	}
	if (lun->number == SCSI_ANY) { /* there are fewer units than LUNs */
		lun->number = 0;
		while (at_address(s, lun->scsi_id, lun->number))
			lun->number++;
	}
	other = at_address(s, lun->scsi_id, lun->number);
	return !other || kv_fail(error, KV_ERROR_USAGE, "%s: scsi-id %d, lun %d: lun already used by '%s'", lun->dev.id,
				 lun->scsi_id, lun->number, other->dev.id);
}

static void link_unit(struct virtio_scsi *s, struct scsi_lun *lun)
{
	struct scsi_lun **at = &s->target[lun->scsi_id];

	while (*at && (*at)->number < lun->number)
		at = &(*at)->next;
	lun->next = *at;
	*at = lun;
}

/* False: it is not there any more. */
static bool unlink_unit(struct virtio_scsi *s, struct scsi_lun *lun)
{
	struct scsi_lun **at = &s->target[lun->scsi_id];

	while (*at && *at != lun)
		at = &(*at)->next;
	if (!*at)
		return false;
	*at = lun->next;
	return true;
}

static bool on_attach(struct device *controller, struct scsi_lun *lun, unsigned *ret_unit, unsigned *ret_queues, GError **error)
{
	struct virtio_scsi *s = (struct virtio_scsi *)controller;
	unsigned unit = 0;

	while (unit < s->n_units && s->lun[unit])
		unit++;
	if (unit == SCSI_UNITS)
		return kv_fail(error, KV_ERROR_USAGE, "%s: %s has %d disks, and no room for more", lun->dev.id, controller->id,
			       SCSI_UNITS);
	if (!choose_address(s, lun, error))
		return false;
	s->n_units = MAX(s->n_units, unit + 1);
	s->lun[unit] = lun;
	link_unit(s, lun);
	*ret_unit = unit;
	*ret_queues = s->n_queues;
	return true;
}

/* The driver and, at their next command, the other units of the target say that one has come, or gone. */
static void tell_luns(struct virtio_scsi *s, const struct scsi_lun *lun, uint32_t reason)
{
	for (struct scsi_lun *l = s->target[lun->scsi_id]; l; l = l->next)
		if (l != lun)
			scsi_lun_other_changed(l);
	tell(s, VIRTIO_SCSI_F_HOTPLUG, lun, VIRTIO_SCSI_T_TRANSPORT_RESET, reason);
}

static bool on_leave(struct device *controller, unsigned unit)
{
	struct virtio_scsi *s = (struct virtio_scsi *)controller;
	struct scsi_lun *lun = s->lun[unit];

	if (unlink_unit(s, lun))
		tell_luns(s, lun, VIRTIO_SCSI_EVT_RESET_REMOVED);
	disk_hurry(lun->disk);
	if (__atomic_load_n(&s->busy[unit], __ATOMIC_ACQUIRE) > __atomic_load_n(&s->kept[unit], __ATOMIC_ACQUIRE))
		return false;
	for (unsigned q = 0; q < lun->n_io; q++)
		disk_queue_drop(lun->io[q], drop_answered);
	if (__atomic_load_n(&s->tmf, __ATOMIC_ACQUIRE))
		answer_tmfs(s);
	return true;
}

static void on_detach(struct device *controller, unsigned unit)
{
	struct virtio_scsi *s = (struct virtio_scsi *)controller;

	while (!on_leave(controller, unit))
		g_main_context_iteration(s->dev.v.context, TRUE);
	s->lun[unit] = NULL;
}

static void on_plugged(struct device *controller, struct device *child, bool hot)
{
	struct scsi_lun *lun = (struct scsi_lun *)child;

	lun->plugged = hot;
	if (hot)
		tell_luns((struct virtio_scsi *)controller, lun, VIRTIO_SCSI_EVT_RESET_RESCAN);
}

/* Its units are devices of their own, which would be left without it. */
static bool can_unplug(struct device *dev, GError **error)
{
	const struct virtio_scsi *s = (const struct virtio_scsi *)dev;

	for (unsigned i = 0; i < s->n_units; i++)
		if (s->lun[i])
			return kv_fail(error, KV_ERROR_INVALID, "'%s' has the disk '%s'; take that out first", dev->id,
				       s->lun[i]->dev.id);
	return true;
}

static const struct scsi_host host = {.interface = SCSI_INTERFACE_SCSI,
				      .attach = on_attach,
				      .done = on_done,
				      .kept = on_kept,
				      .changed = on_changed,
				      .leave = on_leave,
				      .detach = on_detach,
				      .first = first_of};

/* ---- the device ---- */

static bool scsi_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct virtio_scsi *s = (struct virtio_scsi *)dev;
	uint64_t features = 1ull << VIRTIO_SCSI_F_HOTPLUG | 1ull << VIRTIO_SCSI_F_CHANGE;

	guint64 queues;

	s->n_queues = 1;
	if (options && !g_variant_lookup(options, "queues", "u", &s->n_queues) &&
	    g_variant_lookup(options, "num_queues", "t", &queues))
		s->n_queues = (unsigned)queues;
	if (s->n_queues < 1 || s->n_queues > SCSI_QUEUES)
		return kv_fail(error, KV_ERROR_USAGE, "%s: queues is %u; use 1 to %d", dev->id, s->n_queues, SCSI_QUEUES);
	if (!virtio_pci_create(dev, &scsi_class, features, sizeof(struct virtio_scsi_config), REQUEST + s->n_queues, QUEUE_SIZE,
			       error))
		return false;
	fill_config(s);
	return true;
}

static bool scsi_after_load(void *dev, GError **error)
{
	drop_kept(dev);
	return virtio_pci_after_load(dev, error);
}

static const struct device_key scsi_keys[] = {{"num_queues", DEVICE_KEY_COUNT, "request queues (1)", 1, SCSI_QUEUES}, {}};

static const struct state_field scsi_fields[] = {
	VIRTIO_PCI_STATE(struct virtio_scsi, dev),
	STATE_INT(struct virtio_scsi, event_missed, STATE_BOOL),
	STATE_END,
};

static const struct state_desc scsi_state = {
	.name = "virtio-scsi",
	.version = 1,
	.oldest = 1,
	.fields = scsi_fields,
	.after_load = scsi_after_load,
};

const struct device_class device_virtio_scsi = {
	.name = "virtio-scsi",
	.description = "virtio SCSI controller",
	.size = sizeof(struct virtio_scsi),
	.create = scsi_create,
	.reset = virtio_pci_reset,
	.destroy = virtio_pci_destroy,
	.pause = virtio_pci_pause,
	.resume = virtio_pci_resume,
	.state = &scsi_state,
	.keys = scsi_keys,
	.plugged = on_plugged,
	.can_unplug = can_unplug,
	.scsi = &host,
};
