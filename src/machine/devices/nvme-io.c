/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * I/O commands of the NVMe controller (NVM Express 1.4, chapter 6): reads, writes, flushes, zeroes, deallocation, straight
 * between guest memory and the drive. Called by nvme-queue.c.
 */
#include <errno.h>

#include "bytes.h"
#include "nvme.h"
#include "virtio.h"

enum { FLUSH = 0x00, WRITE = 0x01, READ = 0x02, WRITE_ZEROES = 0x08, DATASET_MANAGEMENT = 0x09 };

enum {
	FUA = 1 << 30,
	DEALLOCATE_ZEROES = 1 << 25, /* of Write Zeroes */
	DEALLOCATE = 1 << 2,	     /* of Dataset Management */
	RANGE = 16,
};

struct range {
	uint64_t lba, blocks;
};

static uint16_t status_of(const struct nvme_req *r, int res)
{
	switch (-res) {
	case 0:
		return NVME_OK;
	case EINVAL: /* it has become smaller */
		return NVME_LBA_RANGE;
	case EROFS:
		return NVME_READ_ONLY;
	case ENOTSUP:
		return NVME_INVALID_OPCODE;
	case ENOSPC:
		return NVME_CAPACITY;
	default:
		return r->disk.op == IMAGE_READ ? NVME_READ_ERROR : NVME_WRITE_FAULT;
	}
}

/* The next range of a deallocation; false: that was the last one. */
static bool next_range(struct nvme_req *r);

static void on_complete(struct disk_req *req, int res)
{
	struct nvme_req *r = (struct nvme_req *)req;

	if (res < 0)
		r->read = 0;
	else if (next_range(r)) {
		disk_kick(r->n->io);
		return;
	}
	nvme_done(r, status_of(r, res));
}

static bool submit(struct nvme_req *r, enum image_op op, unsigned flags, const struct range *range)
{
	r->disk.io.op = op;
	r->disk.io.flags = flags;
	r->disk.io.offset = range->lba << NVME_BLOCK_BITS;
	r->disk.io.len = range->blocks << NVME_BLOCK_BITS;
	r->disk.complete = on_complete;
	disk_submit(r->n->io, &r->disk);
	return false;
}

static bool is_inside(const struct nvme *n, const struct range *range)
{
	return range_inside(range->lba, range->blocks, disk_size(n->disk) >> NVME_BLOCK_BITS);
}

static uint32_t control(const struct nvme_req *r)
{
	return get_le32(r->cmd + 48);
}

static struct range range_of(const struct nvme_req *r)
{
	return (struct range){get_le64(r->cmd + 40), (control(r) & 0xffff) + 1};
}

static bool is_durable(const struct nvme_req *r)
{
	return (control(r) & FUA) || !(r->n->feature[NVME_FEATURE_CACHE] & 1);
}

static bool transfer(struct nvme_req *r, bool write, uint16_t *ret_status)
{
	const struct range range = range_of(r);
	uint64_t len = range.blocks << NVME_BLOCK_BITS;

	if (len > NVME_TRANSFER_MAX)
		*ret_status = NVME_INVALID_FIELD;
	else if (!is_inside(r->n, &range))
		*ret_status = NVME_LBA_RANGE;
	else if (write && disk_is_readonly(r->n->disk))
		*ret_status = NVME_READ_ONLY;
	else
		*ret_status = nvme_map(r, len);
	if (*ret_status)
		return true;
	r->disk.io.iov = r->data.iov;
	r->disk.io.n_iov = r->data.n;
	r->disk.durable = write && is_durable(r);
	r->read = write ? 0 : len;
	r->n->requests[write]++;
	return submit(r, write ? IMAGE_WRITE : IMAGE_READ, 0, &range);
}

static bool write_zeroes(struct nvme_req *r, uint16_t *ret_status)
{
	const struct range range = range_of(r);

	*ret_status = !is_inside(r->n, &range) ? NVME_LBA_RANGE : disk_is_readonly(r->n->disk) ? NVME_READ_ONLY : NVME_OK;
	if (*ret_status)
		return true;
	r->disk.durable = is_durable(r);
	return submit(r, IMAGE_WRITE_ZEROES, control(r) & DEALLOCATE_ZEROES ? IMAGE_MAY_UNMAP : 0, &range);
}

/* ---- Dataset Management ---- */

static struct range dataset_range(const struct nvme_req *r, unsigned i)
{
	const uint8_t *p = r->ranges + (size_t)i * RANGE;

	return (struct range){get_le64(p + 8), get_le32(p + 4)};
}

static bool next_range(struct nvme_req *r)
{
	while (r->next_range < r->n_ranges) {
		struct range range = dataset_range(r, r->next_range++);

		if (!range.blocks)
			continue;
		submit(r, IMAGE_DISCARD, 0, &range);
		return true;
	}
	return false;
}

/* Hints, but for one. */
static bool dataset_management(struct nvme_req *r, uint16_t *ret_status)
{
	unsigned n = (r->cmd[40] & 0xff) + 1u, len = n * RANGE;

	*ret_status = !disk_can_discard(r->n->disk) ? NVME_INVALID_OPCODE : nvme_map(r, len);
	if (*ret_status)
		return true;
	r->ranges = g_malloc(len);
	virtq_iov_read(r->data.iov, r->data.n, 0, r->ranges, len);
	for (unsigned i = 0; i < n; i++) {
		struct range range = dataset_range(r, i);

		if (!is_inside(r->n, &range))
			*ret_status = NVME_LBA_RANGE;
	}
	if (!*ret_status && disk_is_readonly(r->n->disk))
		*ret_status = NVME_READ_ONLY;
	if (*ret_status || !(get_le32(r->cmd + 44) & DEALLOCATE))
		return true;
	r->n_ranges = n;
	return !next_range(r);
}

bool nvme_io(struct nvme_req *r, uint16_t *ret_status)
{
	static const struct range all = {0, 0};
	uint32_t nsid = get_le32(r->cmd + 4);

	if (nsid != NVME_NAMESPACE && !(nsid == NVME_ALL_NAMESPACES && r->cmd[0] == FLUSH)) {
		*ret_status = NVME_INVALID_NAMESPACE;
		return true;
	}
	switch (r->cmd[0]) {
	case FLUSH:
		return submit(r, IMAGE_FLUSH, 0, &all);
	case WRITE:
		return transfer(r, true, ret_status);
	case READ:
		return transfer(r, false, ret_status);
	case WRITE_ZEROES:
		return write_zeroes(r, ret_status);
	case DATASET_MANAGEMENT:
		return dataset_management(r, ret_status);
	}
	*ret_status = NVME_INVALID_OPCODE;
	return true;
}

/* ---- shutdown ---- */

static void on_shut_down(struct disk_req *req, int res)
{
	struct nvme_req *r = (struct nvme_req *)req;
	struct nvme *n = r->n;

	g_mutex_lock(&n->lock);
	n->flushing = false;
	n->n_busy--;
	if ((n->csts >> 2 & 3) == 1)
		n->csts = (n->csts & ~(3u << 2)) | 2 << 2;
	g_mutex_unlock(&n->lock);
	work_end(&n->work);
	work_kick(&n->work);
	g_free(r);
}

void nvme_shut_down(struct nvme *n)
{
	struct nvme_req *r = g_new0(struct nvme_req, 1);

	r->n = n;
	r->sq = NVME_QUEUES; /* no queue's */
	r->disk.io.op = IMAGE_FLUSH;
	r->disk.complete = on_shut_down;
	n->flushing = true;
	n->n_busy++;
	work_begin(&n->work);
	disk_submit(n->io, &r->disk);
}
