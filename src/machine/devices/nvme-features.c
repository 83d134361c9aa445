/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Get Features and Set Features of the NVMe controller (NVM Express 1.4, 5.14 and 5.21). Called by nvme-admin.c. */
#include <string.h>

#include "bytes.h"
#include "nvme.h"

enum {
	SAVE = 1u << 31,
	TEMPERATURE_MAX = 343, /* K: where a drive would warn */
	NOT_COMPOSITE = 0x3f << 16,
};

/* Values of dword 11 that may be set; what is not here cannot be. */
static const struct {
	uint8_t id;
	uint32_t initial, settable;
} features[] = {
	{0x01, 0x00000007, 0xffffff07}, /* arbitration: bursts of any length */
	{0x02, 0, 0x000000e0},		/* power management: state 0 alone */
	{NVME_FEATURE_TEMPERATURE, TEMPERATURE_MAX, 0x003fffff},
	{0x05, 0, 0x0000ffff}, /* error recovery: how long to try */
	{NVME_FEATURE_CACHE, 1, 1},
	{NVME_FEATURE_QUEUES, 0, 0xffffffff},
	{0x08, 0, 0x0000ffff}, /* interrupts together: a wish */
	{0x09, 0, 0x0001ffff}, /* of one vector */
	{0x0a, 0, 1},	       /* write atomicity */
	{NVME_FEATURE_EVENTS, 0, 0x0000011f},
};

static int find(const struct nvme_req *r)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(features); i++)
		if (features[i].id == r->cmd[40])
			return i;
	return -1;
}

void nvme_reset_features(struct nvme *n)
{
	memset(n->feature, 0, sizeof(n->feature));
	for (unsigned i = 0; i < G_N_ELEMENTS(features); i++)
		n->feature[features[i].id] = features[i].initial;
	n->feature[NVME_FEATURE_CACHE] = disk_is_writeback(n->disk);
}

/* As many as there are, whatever was asked for, of both kinds; counted from 0. */
static uint16_t queues(struct nvme_req *r, uint32_t value, bool set)
{
	uint32_t n = r->n->n_queues - 1;

	if (set && ((value & 0xffff) == 0xffff || value >> 16 == 0xffff))
		return NVME_INVALID_FIELD;
	r->result = n | n << 16;
	return NVME_OK;
}

uint16_t nvme_set_feature(struct nvme_req *r)
{
	struct nvme *n = r->n;
	uint32_t value = get_le32(r->cmd + 44);
	int i = find(r);

	if (i < 0)
		return NVME_INVALID_FIELD;
	if (get_le32(r->cmd + 40) & SAVE)
		return NVME_NOT_SAVEABLE;
	if (features[i].id == NVME_FEATURE_QUEUES)
		return queues(r, value, true);
	if (value & ~features[i].settable)
		return NVME_INVALID_FIELD;
	if (features[i].id == 0x09 && (value & 0xffff) > n->n_queues)
		return NVME_INVALID_FIELD;
	if (features[i].id == NVME_FEATURE_CACHE && value && !disk_is_writeback(n->disk)) /* there is none */
		return NVME_INVALID_FIELD;
	/* Sensors and lower thresholds that there are not have nothing to remember. */
	if (features[i].id == NVME_FEATURE_TEMPERATURE && (value & NOT_COMPOSITE))
		return NVME_OK;
	n->feature[features[i].id] = value;
	return NVME_OK;
}

uint16_t nvme_get_feature(struct nvme_req *r)
{
	uint32_t select = get_le32(r->cmd + 40) >> 8 & 7, value = get_le32(r->cmd + 44);
	int i = find(r);

	if (i < 0 || select) /* neither defaults nor saved values are told (ONCS) */
		return NVME_INVALID_FIELD;
	if (features[i].id == NVME_FEATURE_QUEUES)
		return queues(r, 0, false);
	r->result = r->n->feature[features[i].id];
	if (features[i].id == NVME_FEATURE_TEMPERATURE && (value & NOT_COMPOSITE))
		r->result = 0;
	return NVME_OK;
}
