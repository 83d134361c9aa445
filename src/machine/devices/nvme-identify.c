/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the NVMe controller and its namespace say about themselves: Identify (NVM Express 1.4, 5.15). Called by nvme-admin.c. */
#include <linux/pci_regs.h>
#include <string.h>

#include "bytes.h"
#include "nvme.h"

enum {
	SIZE = 4096,
	GRANULARITY = 8, /* blocks: a page of the host */
	WARNING_KELVIN = 343,
	CRITICAL_KELVIN = 373,
	CENTIWATTS = 2500,
	ONCS_DEALLOCATE = 1 << 2,
	ONCS_WRITE_ZEROES = 1 << 3,
	UUID = 16,
	NIDT_UUID = 3,
};

static void put_text(uint8_t *data, const char *text, size_t len)
{
	memset(data, ' ', len);
	memcpy(data, text, MIN(strlen(text), len));
}

/* The same for the same drive, always: of its name and serial number (RFC 4122, version 5). */
static void make_uuid(const struct nvme *n, const char *what, uint8_t uuid[UUID])
{
	GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA1);
	uint8_t digest[20];
	gsize len = sizeof(digest);

	g_checksum_update(sum, (const guchar *)what, strlen(what) + 1);
	g_checksum_update(sum, (const guchar *)n->pci.dev.id, strlen(n->pci.dev.id) + 1);
	g_checksum_update(sum, (const guchar *)n->serial, strlen(n->serial));
	g_checksum_get_digest(sum, digest, &len);
	g_checksum_free(sum);
	memcpy(uuid, digest, UUID);
	uuid[6] = (uuid[6] & 0x0f) | 0x50;
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
}

static void put_name(const struct nvme *n, char *dst, size_t len)
{
	uint8_t u[UUID];

	make_uuid(n, "subsystem", u);
	g_snprintf(dst, len,
		   "nqn.2014-08.org.nvmexpress:uuid:%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0],
		   u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
}

static uint16_t controller(struct nvme_req *r)
{
	const struct nvme *n = r->n;
	uint8_t d[SIZE] = {0};

	put_le16(d, get_le16(n->pci.config + PCI_VENDOR_ID));
	put_le16(d + 2, get_le16(n->pci.config + PCI_SUBSYSTEM_VENDOR_ID));
	put_text(d + 4, n->serial, NVME_SERIAL);
	put_text(d + 24, "KVASIR NVMe DISK", 40);
	put_text(d + 64, "1.0", 8);
	d[72] = 6; /* recommended arbitration burst */
	d[77] = NVME_MDTS;
	put_le32(d + 80, NVME_VERSION);
	put_le32(d + 92, NVME_EVENT_NAMESPACE);
	d[111] = 1; /* an I/O controller */
	d[258] = 3; /* commands that may be aborted at a time, from 0 */
	d[259] = NVME_EVENTS - 1;
	d[260] = 1 << 1 | 1; /* one firmware slot, read only */
	d[261] = 1 << 2;     /* logs have offsets */
	d[262] = NVME_ERRORS - 1;
	put_le16(d + 266, WARNING_KELVIN);
	put_le16(d + 268, CRITICAL_KELVIN);
	d[512] = 0x66; /* entries' sizes, as powers of two */
	d[513] = 0x44;
	put_le32(d + 516, NVME_NAMESPACE);
	put_le16(d + 520, ONCS_WRITE_ZEROES | (disk_can_discard(n->disk) ? ONCS_DEALLOCATE : 0));
	d[525] = 6 | disk_is_writeback(n->disk); /* a flush may be of all namespaces; a write cache */
	put_name(n, (char *)d + 768, 256);
	put_le16(d + 2048, CENTIWATTS);
	return nvme_reply(r, d, SIZE);
}

static uint16_t namespace(struct nvme_req *r)
{
	const struct nvme *n = r->n;
	uint64_t blocks = disk_size(n->disk) >> NVME_BLOCK_BITS;
	uint8_t d[SIZE] = {0};

	if (get_le32(r->cmd + 4) != NVME_NAMESPACE)
		return NVME_INVALID_NAMESPACE;
	put_le64(d, blocks);
	put_le64(d + 8, blocks);
	put_le64(d + 16, blocks);
	d[24] = 1 << 4; /* the following are valid: */
	for (unsigned at = 64; at <= 70; at += 2)
		put_le16(d + at, GRANULARITY - 1);
	d[33] = 1 << 3; /* Write Zeroes may deallocate */
	d[99] = disk_is_readonly(n->disk);
	make_uuid(n, "namespace", d + 104); /* NGUID */
	d[130] = NVME_BLOCK_BITS;
	return nvme_reply(r, d, SIZE);
}

static uint16_t active_namespaces(struct nvme_req *r)
{
	uint32_t after = get_le32(r->cmd + 4);
	uint8_t d[SIZE] = {0};

	if (after >= NVME_ALL_NAMESPACES - 1)
		return NVME_INVALID_NAMESPACE;
	if (after < NVME_NAMESPACE)
		put_le32(d, NVME_NAMESPACE);
	return nvme_reply(r, d, SIZE);
}

static uint16_t descriptors(struct nvme_req *r)
{
	uint8_t d[SIZE] = {NIDT_UUID, UUID};

	if (get_le32(r->cmd + 4) != NVME_NAMESPACE)
		return NVME_INVALID_NAMESPACE;
	make_uuid(r->n, "namespace", d + 4);
	return nvme_reply(r, d, SIZE);
}

uint16_t nvme_identify(struct nvme_req *r)
{
	switch (r->cmd[40]) {
	case 0:
		return namespace(r);
	case 1:
		return controller(r);
	case 2:
		return active_namespaces(r);
	case 3:
		return descriptors(r);
	}
	return NVME_INVALID_FIELD;
}
