/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Logs of the NVMe controller (NVM Express 1.4, 5.14.1): errors, health, firmware, changed namespaces. What health has is what a
 * drive of ours can know. Called by nvme-admin.c.
 */
#include <string.h>

#include "bytes.h"
#include "nvme.h"

enum {
	PAGE_MAX = 4096,
	ERROR_ENTRY = 64,
	HEALTH = 512,
	FIRMWARE = 512,
	UNIT = 512 * 1000, /* bytes of a data unit */
	KELVIN = 300,
	RETAIN = 1 << 15,
};

static unsigned errors(const struct nvme *n, uint8_t *d)
{
	for (unsigned i = 0; i < NVME_ERRORS && i < n->n_errors; i++, d += ERROR_ENTRY) {
		const struct nvme_error *e = &n->error[(n->n_errors - 1 - i) % NVME_ERRORS]; /* the newest first */

		put_le64(d, e->count);
		put_le16(d + 8, e->sq);
		put_le16(d + 10, e->cid);
		put_le16(d + 12, e->status << 1);
		put_le16(d + 14, 0xffff); /* no single parameter */
		put_le64(d + 16, e->lba);
		put_le32(d + 24, e->nsid);
	}
	return NVME_ERRORS * ERROR_ENTRY;
}

static uint64_t units(uint64_t bytes)
{
	return bytes / UNIT + (bytes % UNIT ? 1 : 0);
}

static unsigned health(const struct nvme *n, uint8_t *d)
{
	struct disk_stats s;

	disk_stats(n->disk, &s);
	put_le16(d + 1, KELVIN);
	d[3] = 100; /* % of spare blocks, and how few are worth a warning */
	d[4] = 10;
	put_le64(d + 32, units(s.by[IMAGE_READ].bytes));
	put_le64(d + 48, units(s.by[IMAGE_WRITE].bytes));
	put_le64(d + 64, s.by[IMAGE_READ].done);
	put_le64(d + 80, s.by[IMAGE_WRITE].done);
	put_le64(d + 160, s.by[IMAGE_READ].failed + s.by[IMAGE_WRITE].failed); /* media errors */
	put_le64(d + 176, n->n_errors);
	return HEALTH;
}

static unsigned firmware(const struct nvme *n, uint8_t *d)
{
	d[0] = 1; /* slot 1 is active */
	memcpy(d + 8, "1.0     ", 8);
	return FIRMWARE;
}

static unsigned changed_namespaces(const struct nvme *n, uint8_t *d)
{
	if (n->namespace_changed)
		put_le32(d, NVME_NAMESPACE);
	return PAGE_MAX;
}

static const struct {
	uint8_t id, event; /* type of the event that it is read for */
	unsigned (*fill)(const struct nvme *n, uint8_t *data);
} logs[] = {
	{1, 0, errors},
	{2, 1, health},
	{3, 7, firmware},
	{4, 2, changed_namespaces},
};

/* It was read: events of its type may be told again. */
static void was_read(struct nvme *n, unsigned i)
{
	if (logs[i].fill == changed_namespaces)
		n->namespace_changed = false;
	n->told &= ~(1u << logs[i].event);
}

uint16_t nvme_get_log(struct nvme_req *r)
{
	uint32_t what = get_le32(r->cmd + 40);
	uint64_t len = ((uint64_t)get_le16(r->cmd + 44) << 16 | what >> 16) * 4 + 4, offset = get_le64(r->cmd + 48);
	uint8_t data[PAGE_MAX] = {0};

	for (unsigned i = 0; i < G_N_ELEMENTS(logs); i++) {
		unsigned size;
		uint16_t status;

		if (logs[i].id != (what & 0xff))
			continue;
		size = logs[i].fill(r->n, data);
		if (offset > size || (offset & 3))
			return NVME_INVALID_FIELD;
		status = nvme_reply(r, data + offset, (uint32_t)MIN(len, size - offset));
		if (!status && !(what & RETAIN))
			was_read(r->n, i);
		return status;
	}
	return NVME_INVALID_LOG;
}
