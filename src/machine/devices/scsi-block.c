/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SCSI commands about blocks (SBC-3): reads, writes, flushes, unmaps, zeroes. Requests go to the drive with the guest's own
 * buffers; UNMAP and WRITE SAME of data that is not zeroes are several, one after the other.
 */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "scsi.h"
#include "scsi-limits.h"
#include "virtio.h"

enum {
	FUA = 8,
	PROTECT = 0xe0,
	SAME_UNMAP = 8,
	SAME_ANCHOR = 0x10,
	SAME_NO_DATA = 1,
	SAME_CHUNK = 64 << 10,
	BLOCK_MAX = 2048,
	UNMAP_HEADER = 8,
	UNMAP_RANGE = 16,
	READ_CAPACITY_16 = 0x10,
	CAPACITY_16 = 32,
};

struct range {
	uint64_t lba, blocks;
};

/* Where a CDB has its range: by its length, which the opcode's upper bits say (SPC-4, 4.2.5). */
static struct range range_of(const uint8_t *cdb)
{
	switch (cdb[0] >> 5) {
	case 0:
		return (struct range){(cdb[1] & 0x1f) << 16 | get_be16(cdb + 2), cdb[4] ? cdb[4] : 256};
	case 4:
		return (struct range){get_be64(cdb + 2), get_be32(cdb + 10)};
	case 5:
		return (struct range){get_be32(cdb + 2), get_be32(cdb + 6)};
	default:
		return (struct range){get_be32(cdb + 2), get_be16(cdb + 7)};
	}
}

static bool in_medium(const struct scsi_lun *lun, const struct range *range)
{
	uint64_t blocks = 0;

	scsi_medium(lun, &blocks);
	return range->lba <= blocks && range->blocks <= blocks - range->lba;
}

static bool is_six(const struct scsi_req *r)
{
	return r->cdb[0] >> 5 == 0;
}

/* ---- requests to the drive ---- */

static const struct scsi_sense *sense_of(const struct scsi_req *r, int res)
{
	switch (-res) {
	case ENOMEDIUM:
		return &scsi_no_medium;
	case EINVAL: /* it has become smaller */
		return &scsi_out_of_range;
	case EROFS:
		return &scsi_write_protected;
	case ENOTSUP:
		return &scsi_invalid_opcode;
	case ENOSPC:
		return &scsi_no_space;
	default:
		return r->disk.io.op == IMAGE_READ ? &scsi_read_error : &scsi_write_error;
	}
}

static void on_complete(struct disk_req *req, int res)
{
	struct scsi_req *r = (struct scsi_req *)req;

	if (res < 0) {
		r->transferred = 0;
		scsi_check(r, sense_of(r, res));
	} else if (r->next && !r->next(r)) {
		disk_kick(r->lun->io[r->queue]);
		return;
	}
	r->lun->host->done(r);
}

static bool submit(struct scsi_req *r, enum image_op op, unsigned flags, uint64_t at, uint64_t len)
{
	r->disk.io.op = op;
	r->disk.io.flags = flags;
	r->disk.io.offset = at;
	r->disk.io.len = len;
	r->disk.complete = on_complete;
	r->status = SCSI_GOOD;
	disk_submit(r->lun->io[r->queue], &r->disk);
	return false;
}

/* The first len bytes of a vector that is the request's own; the number of its parts. */
static unsigned cut(struct iovec *iov, unsigned n, uint64_t len)
{
	for (unsigned i = 0; i < n; i++) {
		if (iov[i].iov_len >= len) {
			iov[i].iov_len = len;
			return len ? i + 1 : i;
		}
		len -= iov[i].iov_len;
	}
	return n;
}

static bool is_durable(const struct scsi_req *r, bool fua)
{
	return fua || !__atomic_load_n(&r->lun->writeback, __ATOMIC_RELAXED);
}

/* Fewer blocks are moved than the CDB says where the initiator has no room for them. */
static bool transfer(struct scsi_req *r, bool write)
{
	const struct range range = range_of(r->cdb);
	unsigned bits = r->lun->block_bits;
	uint64_t room = write ? r->out_len : r->in_len, len;

	if (!is_six(r) && (r->cdb[1] & PROTECT))
		return scsi_check(r, &scsi_invalid_field);
	if (!in_medium(r->lun, &range))
		return scsi_check(r, &scsi_out_of_range);
	len = MIN(range.blocks << bits, room >> bits << bits);
	if (!len)
		return scsi_good(r);
	r->disk.io.iov = write ? r->out : r->in;
	r->disk.io.n_iov = write ? cut(r->out, r->n_out, len) : cut(r->in, r->n_in, len);
	r->disk.durable = write && is_durable(r, !is_six(r) && (r->cdb[1] & FUA));
	r->transferred = len;
	__atomic_add_fetch(&r->lun->requests[write], 1, __ATOMIC_RELAXED);
	return submit(r, write ? IMAGE_WRITE : IMAGE_READ, 0, range.lba << bits, len);
}

static bool read_blocks(struct scsi_req *r)
{
	return transfer(r, false);
}

static bool write_blocks(struct scsi_req *r)
{
	return transfer(r, true);
}

/* WRITE AND VERIFY: without comparing it is a write that is durable. */
static bool write_and_verify(struct scsi_req *r)
{
	if (r->cdb[1] & 6) /* BYTCHK */
		return scsi_check(r, &scsi_invalid_field);
	r->cdb[1] |= FUA;
	return transfer(r, true);
}

static bool verify(struct scsi_req *r)
{
	const struct range range = range_of(r->cdb);

	if (r->cdb[1] & (PROTECT | 6))
		return scsi_check(r, &scsi_invalid_field);
	return in_medium(r->lun, &range) ? scsi_good(r) : scsi_check(r, &scsi_out_of_range);
}

static bool synchronize_cache(struct scsi_req *r)
{
	const struct range range = range_of(r->cdb);

	if (!in_medium(r->lun, &range))
		return scsi_check(r, &scsi_out_of_range);
	return submit(r, IMAGE_FLUSH, 0, 0, 0);
}

/* ---- capacity ---- */

static bool read_capacity10(struct scsi_req *r)
{
	uint64_t blocks = 1;
	uint8_t data[8];

	scsi_medium(r->lun, &blocks);
	put_be32(data, MIN(blocks - 1, UINT32_MAX));
	put_be32(data + 4, 1u << r->lun->block_bits);
	return scsi_reply(r, data, sizeof(data), sizeof(data));
}

static bool service_action_in(struct scsi_req *r)
{
	uint8_t data[CAPACITY_16] = {0};
	uint64_t blocks = 1;

	if ((r->cdb[1] & 0x1f) != READ_CAPACITY_16)
		return scsi_check(r, &scsi_invalid_field);
	scsi_medium(r->lun, &blocks);
	put_be64(data, blocks - 1);
	put_be32(data + 8, 1u << r->lun->block_bits);
	if (!r->lun->cdrom) {
		data[13] = __builtin_ctz(SCSI_GRANULARITY); /* blocks of a physical one */
		data[14] = disk_can_discard(r->lun->disk) ? 0x80 : 0;
	}
	return scsi_reply(r, data, sizeof(data), get_be32(r->cdb + 10));
}

/* ---- UNMAP ---- */

static struct range unmap_range(const struct scsi_req *r, unsigned i)
{
	const uint8_t *p = r->buf + (size_t)i * UNMAP_RANGE;

	return (struct range){get_be64(p), get_be32(p + 8)};
}

static bool unmap_next(struct scsi_req *r)
{
	while (r->step < r->steps) {
		struct range range = unmap_range(r, r->step++);
		unsigned bits = r->lun->block_bits;

		if (range.blocks)
			return submit(r, IMAGE_DISCARD, 0, range.lba << bits, range.blocks << bits);
	}
	return scsi_good(r);
}

static bool unmap(struct scsi_req *r)
{
	uint16_t list = get_be16(r->cdb + 7);
	uint8_t header[UNMAP_HEADER];
	unsigned len;

	if (!disk_can_discard(r->lun->disk))
		return scsi_check(r, &scsi_invalid_opcode);
	if (r->cdb[1] & 1) /* anchored */
		return scsi_check(r, &scsi_invalid_field);
	if (!list)
		return scsi_good(r);
	if (list < UNMAP_HEADER || virtq_iov_read(r->out, r->n_out, 0, header, UNMAP_HEADER) < UNMAP_HEADER)
		return scsi_check(r, &scsi_parameter_length);
	len = get_be16(header + 2);
	if (len + UNMAP_HEADER > list || len % UNMAP_RANGE)
		return scsi_check(r, &scsi_parameter_length);
	r->steps = len / UNMAP_RANGE;
	if (r->steps > SCSI_UNMAP_RANGES)
		return scsi_check(r, &scsi_invalid_parameter);
	r->buf = g_malloc(MAX(len, 1u));
	if (virtq_iov_read(r->out, r->n_out, UNMAP_HEADER, r->buf, len) < len)
		return scsi_check(r, &scsi_parameter_length);
	for (unsigned i = 0; i < r->steps; i++) {
		struct range range = unmap_range(r, i);

		if (range.blocks > (uint64_t)SCSI_UNMAP_BLOCKS)
			return scsi_check(r, &scsi_invalid_parameter);
		if (!in_medium(r->lun, &range))
			return scsi_check(r, &scsi_out_of_range);
	}
	r->transferred = UNMAP_HEADER + len;
	r->next = unmap_next;
	return unmap_next(r);
}

/* ---- WRITE SAME ---- */

static bool same_next(struct scsi_req *r)
{
	uint64_t at = r->at, len = MIN(r->left, SAME_CHUNK);

	if (!len)
		return scsi_good(r);
	r->at += len;
	r->left -= len;
	r->buf_iov = (struct iovec){r->buf, len};
	r->disk.io.iov = &r->buf_iov;
	r->disk.io.n_iov = 1;
	return submit(r, IMAGE_WRITE, 0, at, len);
}

static bool is_zero(const uint8_t *p, size_t len)
{
	return !p[0] && memcmp(p, p + 1, len - 1) == 0;
}

static bool write_same(struct scsi_req *r)
{
	const struct range range = range_of(r->cdb);
	unsigned bits = r->lun->block_bits, size = 1u << bits;
	bool sixteen = r->cdb[0] >> 5 == 4, no_data = sixteen && (r->cdb[1] & SAME_NO_DATA);
	uint8_t block[BLOCK_MAX] = {0};

	if ((r->cdb[1] & (PROTECT | SAME_ANCHOR)) || !range.blocks || range.blocks > SCSI_SAME_BLOCKS)
		return scsi_check(r, &scsi_invalid_field);
	if (!in_medium(r->lun, &range))
		return scsi_check(r, &scsi_out_of_range);
	if (!no_data && virtq_iov_read(r->out, r->n_out, 0, block, size) < size)
		return scsi_check(r, &scsi_invalid_field);
	r->transferred = no_data ? 0 : size;
	r->disk.durable = is_durable(r, false);
	r->at = range.lba << bits;
	r->left = range.blocks << bits;
	if (is_zero(block, size))
		return submit(r, IMAGE_WRITE_ZEROES, r->cdb[1] & SAME_UNMAP ? IMAGE_MAY_UNMAP : 0, r->at, r->left);
	r->buf = g_malloc(MIN(r->left, SAME_CHUNK));
	for (uint64_t i = 0; i < MIN(r->left, SAME_CHUNK); i += size)
		memcpy(r->buf + i, block, size);
	r->next = same_next;
	return same_next(r);
}

const struct scsi_command scsi_read_commands[] = {
	{0x28, SCSI_MEDIUM, read_blocks},
	{0x88, SCSI_MEDIUM, read_blocks},
	{0x08, SCSI_MEDIUM, read_blocks},
	{0xa8, SCSI_MEDIUM, read_blocks},
	{0x25, SCSI_MEDIUM, read_capacity10},
	{0x2f, SCSI_MEDIUM, verify},
	{0xaf, SCSI_MEDIUM, verify},
	{0x8f, SCSI_MEDIUM, verify},
	{0x35, SCSI_MEDIUM, synchronize_cache},
	{},
};

const struct scsi_command scsi_write_commands[] = {
	{0x2a, SCSI_MEDIUM | SCSI_WRITES, write_blocks},
	{0x8a, SCSI_MEDIUM | SCSI_WRITES, write_blocks},
	{0x0a, SCSI_MEDIUM | SCSI_WRITES, write_blocks},
	{0xaa, SCSI_MEDIUM | SCSI_WRITES, write_blocks},
	{0x2e, SCSI_MEDIUM | SCSI_WRITES, write_and_verify},
	{0x8e, SCSI_MEDIUM | SCSI_WRITES, write_and_verify},
	{0xae, SCSI_MEDIUM | SCSI_WRITES, write_and_verify},
	{0x91, SCSI_MEDIUM, synchronize_cache},
	{0x9e, SCSI_MEDIUM, service_action_in},
	{0x42, SCSI_MEDIUM | SCSI_WRITES, unmap},
	{0x41, SCSI_MEDIUM | SCSI_WRITES, write_same},
	{0x93, SCSI_MEDIUM | SCSI_WRITES, write_same},
	{},
};
