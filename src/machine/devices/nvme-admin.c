/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Admin commands of the NVMe controller (NVM Express 1.4, chapter 5); I/O queues are made and deleted. Called by nvme-queue.c. */
#include "bytes.h"
#include "nvme.h"

enum {
	CONTIGUOUS = 1,
	INTERRUPTS = 2,
	NOT_ABORTED = 1,
	IOSQES = 16, /* fields of CC */
	IOCQES = 20,
	COMMAND_LOG = 6, /* of the entries' sizes */
	COMPLETION_LOG = 4,
};

static uint32_t dword(const struct nvme_req *r, unsigned n)
{
	return get_le32(r->cmd + 4 * n);
}

static unsigned queue_of(const struct nvme_req *r)
{
	return dword(r, 10) & 0xffff;
}

static uint32_t size_of(const struct nvme_req *r)
{
	return (dword(r, 10) >> 16) + 1;
}

/* What both kinds of queues have to be. */
static uint16_t check_queue(const struct nvme_req *r, bool there, unsigned entry)
{
	const struct nvme *n = r->n;
	uint64_t base = get_le64(r->cmd + 24);

	if (!queue_of(r) || queue_of(r) > n->n_queues || there)
		return NVME_INVALID_QUEUE;
	if (size_of(r) < 2 || size_of(r) > NVME_ENTRIES_MAX)
		return NVME_INVALID_QUEUE_SIZE;
	if (!(dword(r, 11) & CONTIGUOUS) || (n->cc >> IOSQES & 15) != COMMAND_LOG || (n->cc >> IOCQES & 15) != COMPLETION_LOG)
		return NVME_INVALID_FIELD;
	if (base & (nvme_page(n) - 1))
		return NVME_INVALID_PRP_OFFSET;
	return gpa_ptr(n->pci.dev.core->mem, base, (uint64_t)size_of(r) * entry) ? NVME_OK : NVME_INVALID_FIELD;
}

static uint16_t create_cq(struct nvme_req *r)
{
	struct nvme *n = r->n;
	unsigned q = queue_of(r), vector = dword(r, 11) >> 16;
	uint16_t status = check_queue(r, q <= n->n_queues && n->cq[q].there, NVME_COMPLETION);

	if (status)
		return status;
	if (vector > n->n_queues)
		return NVME_INVALID_VECTOR;
	n->cq[q] = (struct nvme_cq){
		.there = true,
		.phase = true,
		.interrupts = dword(r, 11) & INTERRUPTS,
		.vector = vector,
		.size = size_of(r),
		.base = get_le64(r->cmd + 24),
	};
	return NVME_OK;
}

static uint16_t create_sq(struct nvme_req *r)
{
	struct nvme *n = r->n;
	unsigned q = queue_of(r), cq = dword(r, 11) >> 16;
	uint16_t status = check_queue(r, q <= n->n_queues && n->sq[q].there, NVME_COMMAND);

	if (status)
		return status;
	if (!cq || cq > n->n_queues || !n->cq[cq].there)
		return NVME_CQ_INVALID;
	n->sq[q] = (struct nvme_sq){.there = true, .cq = cq, .size = size_of(r), .base = get_le64(r->cmd + 24)};
	return NVME_OK;
}

/* Its commands end before it does. */
static bool delete_sq(struct nvme_req *r, uint16_t *ret_status)
{
	struct nvme *n = r->n;
	unsigned q = queue_of(r);

	*ret_status = NVME_INVALID_QUEUE;
	if (!q || q > n->n_queues || !n->sq[q].there || n->sq[q].deleting)
		return true;
	*ret_status = NVME_OK;
	if (n->sq[q].busy) {
		n->sq[q].deleting = r;
		work_end(&n->work); /* it is not waited for: the others may be kept */
		disk_hurry(n->disk);
		return false;
	}
	n->sq[q] = (struct nvme_sq){0};
	return true;
}

static uint16_t delete_cq(struct nvme_req *r)
{
	struct nvme *n = r->n;
	unsigned q = queue_of(r);

	if (!q || q > n->n_queues || !n->cq[q].there)
		return NVME_INVALID_QUEUE;
	for (unsigned i = 1; i <= n->n_queues; i++)
		if (n->sq[i].there && n->sq[i].cq == q)
			return NVME_INVALID_DELETION;
	n->cq[q] = (struct nvme_cq){0};
	return NVME_OK;
}

/* A command under way cannot be called back, which is an answer. */
static uint16_t abort_command(struct nvme_req *r)
{
	r->result = NOT_ABORTED;
	return NVME_OK;
}

/* Those that can wait were kept before. */
static uint16_t too_many_events(struct nvme_req *r)
{
	return NVME_EVENT_LIMIT;
}

static const struct {
	uint8_t opcode;
	uint16_t (*run)(struct nvme_req *r);
} commands[] = {
	{0x01, create_sq},	 {0x02, nvme_get_log},	 {0x04, delete_cq},	   {0x05, create_cq},	    {0x06, nvme_identify},
	{0x08, abort_command},	 {0x09, nvme_set_feature}, {0x0a, nvme_get_feature}, {0x0c, too_many_events},
};

bool nvme_admin(struct nvme_req *r, uint16_t *ret_status)
{
	if (r->cmd[0] == 0)
		return delete_sq(r, ret_status);
	*ret_status = NVME_INVALID_OPCODE;
	for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++)
		if (commands[i].opcode == r->cmd[0])
			*ret_status = commands[i].run(r);
	return true;
}
