/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Queues of the NVMe controller (NVM Express 1.4, 4.1 and 4.6): doorbells, commands taken, completions put, events. A command is
 * taken when there is room for its completion, so that none has to wait for the driver, and a driver cannot have more under way
 * than its queues have entries. Called by nvme.c and by the files of commands.
 */
#include <string.h>

#include "bytes.h"
#include "nvme.h"

enum {
	BURST = 256, /* commands of a queue, before others have their turn */
	OPCODE_EVENT = 0x0c,
	CID = 2,
};

static const struct {
	uint8_t bit, type, info, log;
} events[] = {
	{NVME_BAD_DOORBELL, 0, 0, 1},
	{NVME_BAD_VALUE, 0, 1, 1},
	{NVME_CHANGED, 2, 0, 4},
};

static unsigned used(const struct nvme_cq *cq)
{
	return (cq->tail + cq->size - cq->head) % cq->size;
}

static bool has_room(const struct nvme_cq *cq)
{
	return cq->there && used(cq) + cq->promised < cq->size - 1;
}

/* ---- completions ---- */

/* The phase bit tells the driver that the rest is there: it is in the last dword, which is written last. */
static void put_completion(struct nvme *n, unsigned sq, uint16_t cid, uint32_t result, uint16_t status)
{
	struct nvme_cq *cq = &n->cq[n->sq[sq].cq];
	uint64_t at = cq->base + (uint64_t)cq->tail * NVME_COMPLETION;
	uint8_t *entry = gpa_ptr(n->pci.dev.core->mem, at, NVME_COMPLETION);

	if (!entry) /* it was there when the queue was made */
		return;
	put_le32(entry, result);
	put_le32(entry + 4, 0);
	put_le32(entry + 8, n->sq[sq].head | sq << 16);
	__atomic_store_n((uint32_t *)(void *)(entry + 12),
			 GUINT32_TO_LE((uint32_t)cid | (cq->phase ? 1u << 16 : 0) | (uint32_t)status << 17), __ATOMIC_RELEASE);
	mem_written(n->pci.dev.core->mem, at, NVME_COMPLETION);
	if (++cq->tail == cq->size) {
		cq->tail = 0;
		cq->phase = !cq->phase;
	}
	cq->news = true;
}

static void note_error(struct nvme_req *r, uint16_t status)
{
	struct nvme *n = r->n;
	struct nvme_error *e = &n->error[n->n_errors % NVME_ERRORS];

	*e = (struct nvme_error){
		.count = ++n->n_errors,
		.lba = r->sq ? get_le64(r->cmd + 40) : 0,
		.sq = r->sq,
		.cid = get_le16(r->cmd + CID),
		.status = status,
		.nsid = get_le32(r->cmd + 4),
	};
}

static void free_request(struct nvme_req *r)
{
	dma_clear(&r->data);
	g_free(r->ranges);
	g_free(r);
}

/* The last command of a queue that is to be deleted has ended. */
static void end_deletion(struct nvme_sq *sq)
{
	struct nvme_req *waiter = sq->deleting;

	if (!waiter || sq->busy)
		return;
	*sq = (struct nvme_sq){0};
	work_begin(&waiter->n->work);
	nvme_finish(waiter, NVME_OK);
}

void nvme_finish(struct nvme_req *r, uint16_t status)
{
	struct nvme *n = r->n;
	struct nvme_sq *sq = &n->sq[r->sq];

	dma_written(&r->data, n->pci.dev.core->mem, r->read);
	if (status)
		note_error(r, status);
	n->cq[r->cq].promised--;
	sq->busy--;
	n->n_busy--;
	if (!n->resetting)
		put_completion(n, r->sq, get_le16(r->cmd + CID), r->result, status);
	free_request(r);
	work_end(&n->work);
	end_deletion(sq);
	if (n->resetting || sq->head != sq->tail)
		work_kick(&n->work);
}

void nvme_done(struct nvme_req *r, uint16_t status)
{
	struct nvme *n = r->n;

	g_mutex_lock(&n->lock);
	nvme_finish(r, status);
	g_mutex_unlock(&n->lock);
}

static void leave(struct nvme_req *r)
{
	r->n->cq[r->cq].promised--;
	r->n->sq[r->sq].busy--;
	r->n->n_busy--;
	free_request(r);
}

static void drop(struct disk_req *req)
{
	struct nvme_req *r = (struct nvme_req *)req;
	struct nvme *n = r->n;

	g_mutex_lock(&n->lock);
	n->n_kept--;
	if (r->sq < NVME_QUEUES) {
		leave(r);
	} else {
		n->flushing = false;
		n->n_busy--;
		free_request(r);
	}
	g_mutex_unlock(&n->lock);
}

void nvme_forget_kept(struct nvme *n)
{
	g_mutex_lock(&n->lock);
	for (unsigned i = 0; i < NVME_QUEUES; i++) {
		if (n->sq[i].deleting)
			leave(n->sq[i].deleting);
		n->sq[i].deleting = NULL;
	}
	g_mutex_unlock(&n->lock);
	disk_queue_drop(n->io, drop);
}

/* ---- events ---- */

static uint8_t types_told(const struct nvme *n, unsigned i)
{
	return n->told & 1u << events[i].type;
}

void nvme_tell_events(struct nvme *n)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(events); i++) {
		if (!(n->pending & events[i].bit) || types_told(n, i))
			continue;
		if (!n->n_events || !has_room(&n->cq[0]))
			return;
		n->pending &= ~events[i].bit;
		n->told |= 1u << events[i].type;
		put_completion(n, 0, n->event_cid[--n->n_events], events[i].type | events[i].info << 8 | events[i].log << 16,
			       NVME_OK);
	}
}

void nvme_event(struct nvme *n, unsigned bit)
{
	n->pending |= bit;
	work_kick(&n->work);
}

/* ---- commands ---- */

static bool start(struct nvme_req *r, uint16_t *ret_status)
{
	/* No fused commands, no scatter-gather lists (4.2). */
	if (r->cmd[1] & 0xc3) {
		*ret_status = NVME_INVALID_FIELD;
		return true;
	}
	return r->sq ? nvme_io(r, ret_status) : nvme_admin(r, ret_status);
}

/* One that waits for an event is not under way: neither pause nor reset wait for it. */
static bool keep_event(struct nvme *n, const uint8_t *cmd)
{
	if (cmd[0] != OPCODE_EVENT || n->n_events == NVME_EVENTS || (cmd[1] & 0xc3))
		return false;
	n->event_cid[n->n_events++] = get_le16(cmd + CID);
	return true;
}

static bool take(struct nvme *n, unsigned index)
{
	struct nvme_sq *sq = &n->sq[index];
	uint8_t cmd[NVME_COMMAND];
	struct nvme_req *r;
	uint16_t status;

	if (!sq->there || sq->deleting || sq->head == sq->tail || !has_room(&n->cq[sq->cq]))
		return false;
	if (!gpa_read(n->pci.dev.core->mem, sq->base + (uint64_t)sq->head * NVME_COMMAND, cmd, sizeof(cmd)))
		return false;
	sq->head = (sq->head + 1) % sq->size;
	if (!index && keep_event(n, cmd))
		return true;
	r = g_new0(struct nvme_req, 1);
	r->n = n;
	r->sq = index;
	r->cq = sq->cq;
	memcpy(r->cmd, cmd, sizeof(cmd));
	sq->busy++;
	n->cq[sq->cq].promised++;
	n->n_busy++;
	work_begin(&n->work);
	if (start(r, &status))
		nvme_finish(r, status);
	return true;
}

void nvme_serve(struct nvme *n)
{
	bool more = false;

	for (unsigned i = 0; i <= n->n_queues; i++) {
		unsigned left = BURST;

		while (left && take(n, i))
			left--;
		more |= !left;
	}
	nvme_tell_events(n);
	nvme_interrupts(n);
	if (more)
		work_kick(&n->work);
}

void nvme_stop(struct nvme *n)
{
	memset(n->sq, 0, sizeof(n->sq));
	memset(n->cq, 0, sizeof(n->cq));
	n->n_events = n->pending = n->told = 0;
	n->namespace_changed = false;
	nvme_reset_features(n);
}

/* ---- doorbells ---- */

static void ring_sq(struct nvme *n, unsigned index, uint32_t value)
{
	struct nvme_sq *sq = &n->sq[index];

	if (!sq->there) {
		nvme_event(n, NVME_BAD_DOORBELL);
	} else if (value >= sq->size) {
		nvme_event(n, NVME_BAD_VALUE);
	} else {
		sq->tail = value;
		work_kick(&n->work);
	}
}

/* What was full has room. */
static void ring_cq(struct nvme *n, unsigned index, uint32_t value)
{
	struct nvme_cq *cq = &n->cq[index];

	if (!cq->there) {
		nvme_event(n, NVME_BAD_DOORBELL);
	} else if (value >= cq->size || (value + cq->size - cq->head) % cq->size > used(cq)) {
		nvme_event(n, NVME_BAD_VALUE);
	} else {
		cq->head = value;
		nvme_interrupts(n);
		work_kick(&n->work);
	}
}

void nvme_doorbell(struct nvme *n, unsigned offset, uint32_t value)
{
	unsigned index = offset / 8;

	if (!(n->csts & 1) || n->resetting || (offset & 3))
		return;
	value &= 0xffff;
	if (index > n->n_queues)
		nvme_event(n, NVME_BAD_DOORBELL);
	else if (offset & 4)
		ring_cq(n, index, value);
	else
		ring_sq(n, index, value);
}

/* ---- saved states ---- */

static bool is_area(const struct nvme *n, uint64_t base, uint64_t entries, unsigned size)
{
	return entries >= 2 && entries <= NVME_ADMIN_ENTRIES_MAX && !(base & 3) &&
	       gpa_ptr(n->pci.dev.core->mem, base, entries * size);
}

const char *nvme_check_queues(const struct nvme *n)
{
	for (unsigned i = 0; i < NVME_QUEUES; i++) {
		const struct nvme_sq *sq = &n->sq[i];
		const struct nvme_cq *cq = &n->cq[i];

		if ((sq->there || cq->there) && i > n->n_queues)
			return "has more queues than this device";
		if (cq->there && (!is_area(n, cq->base, cq->size, NVME_COMPLETION) || cq->head >= cq->size ||
				  cq->tail >= cq->size || cq->vector > n->n_queues))
			return "has an impossible completion queue";
		if (sq->there && (!is_area(n, sq->base, sq->size, NVME_COMMAND) || sq->head >= sq->size || sq->tail >= sq->size ||
				  sq->cq > n->n_queues || !n->cq[sq->cq].there))
			return "has an impossible submission queue";
		if (sq->cq && (!sq->there || !i))
			return "has an impossible submission queue";
	}
	if (n->n_events > NVME_EVENTS || ((n->csts & 1) && (!n->sq[0].there || !n->cq[0].there)))
		return "has an impossible admin queue";
	return NULL;
}
