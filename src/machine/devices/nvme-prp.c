/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the data of an NVMe command is: physical region pages (NVM Express 1.4, 4.3). A list is read a page at a time, once, and
 * no further than the command's length, which nvme-io.c bounds. Called by the files of commands.
 */
#include "bytes.h"
#include "nvme.h"
#include "virtio.h"

enum {
	ENTRY = 8,
	ENTRIES = 64, /* read at a time */
	PRP1 = 24,
	PRP2 = 32,
};

unsigned nvme_page(const struct nvme *n)
{
	return 4096u << (n->cc >> 7 & 15);
}

static uint16_t add(struct nvme_req *r, uint64_t at, uint64_t len)
{
	return dma_add(&r->data, r->n->pci.dev.core->mem, at, len) ? NVME_OK : NVME_DATA_ERROR;
}

/* Entries of one list page that are data. */
static uint16_t add_entries(struct nvme_req *r, uint64_t at, unsigned n, uint64_t *left)
{
	unsigned page = nvme_page(r->n);
	uint8_t entry[ENTRIES * ENTRY];

	for (unsigned i = 0; i < n; i++) {
		uint64_t len = MIN(*left, page), data;
		uint16_t status;

		if (i % ENTRIES == 0 &&
		    !gpa_read(r->n->pci.dev.core->mem, at + i * ENTRY, entry, MIN(n - i, ENTRIES) * ENTRY))
			return NVME_DATA_ERROR;
		data = get_le64(entry + i % ENTRIES * ENTRY);
		if (data & (page - 1))
			return NVME_INVALID_PRP_OFFSET;
		status = add(r, data, len);
		if (status)
			return status;
		*left -= len;
	}
	return NVME_OK;
}

/* The last entry of a page names the next page when more follow. */
static uint16_t add_list(struct nvme_req *r, uint64_t at, uint64_t left)
{
	unsigned page = nvme_page(r->n);
	uint16_t status;

	if (at & (ENTRY - 1))
		return NVME_INVALID_PRP_OFFSET;
	for (;;) {
		uint64_t wanted = (left + page - 1) / page, room = (page - (at & (page - 1))) / ENTRY;
		uint8_t next[ENTRY];

		if (wanted <= room)
			return add_entries(r, at, (unsigned)wanted, &left);
		status = add_entries(r, at, (unsigned)room - 1, &left);
		if (status)
			return status;
		if (!gpa_read(r->n->pci.dev.core->mem, at + (room - 1) * ENTRY, next, ENTRY))
			return NVME_DATA_ERROR;
		at = get_le64(next);
		if (at & (page - 1))
			return NVME_INVALID_PRP_OFFSET;
	}
}

uint16_t nvme_map(struct nvme_req *r, uint64_t len)
{
	uint64_t first = get_le64(r->cmd + PRP1), second = get_le64(r->cmd + PRP2);
	unsigned page = nvme_page(r->n);
	uint64_t part = MIN(len, page - (first & (page - 1)));
	uint16_t status;

	if (first & 3)
		return NVME_INVALID_PRP_OFFSET;
	status = add(r, first, part);
	len -= part;
	if (status || !len)
		return status;
	if (len > page)
		return add_list(r, second, len);
	return second & (page - 1) ? NVME_INVALID_PRP_OFFSET : add(r, second, len);
}

uint16_t nvme_reply(struct nvme_req *r, const void *data, uint32_t len)
{
	uint16_t status = len ? nvme_map(r, len) : NVME_OK;

	if (!status)
		r->read = virtq_iov_write(r->data.iov, r->data.n, 0, data, len);
	return status;
}
