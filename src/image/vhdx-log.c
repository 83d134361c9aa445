/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The log of a VHDX image: a ring of entries, each with a few sectors of metadata and where they belong. A writer that was
 * interrupted left it, and what it says is to be done before anything else is read: in the file if we may write, or else to
 * what we read of it. The newest sequence of entries that is whole counts. Called by vhdx.c.
 */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "error.h"
#include "vhdx.h"

enum {
	SECTOR = 4096,
	LOG_MAX = 64 << 20,
	EFFORT = 4, /* how many times the log's bytes are summed up, at most: entries that overlap are somebody's malice */
	RECORDS_MAX = 1 << 20,
};
/* Bytes of an entry and, in it, of a descriptor and a data sector. */
enum {
	E_CHECKSUM = 4,
	E_LENGTH = 8,
	E_TAIL = 12,
	E_SEQUENCE = 16,
	E_COUNT = 24,
	E_GUID = 32,
	E_FLUSHED_SIZE = 48,
	E_FILE_SIZE = 56,
	ENTRY = 64,
	D_LAST = 4,
	D_FIRST = 8,
	D_ZERO_LEN = 8,
	D_OFFSET = 16,
	D_SEQUENCE = 24,
	DESCRIPTOR = 32,
	S_SEQUENCE_HIGH = 4,
	S_SEQUENCE_LOW = SECTOR - 4,
};

/* An entry that is whole; len 0: there is none in this sector. */
struct entry {
	uint32_t len, tail;
	uint64_t sequence;
};

struct ring {
	const uint8_t *bytes; /* twice, so that an entry that wraps is in one piece */
	uint64_t len;
	uint64_t effort;       /* bytes that may still be summed up */
	struct entry *entries; /* one for each sector */
};

static uint32_t descriptor_sectors(uint32_t count)
{
	return (ENTRY + (uint64_t)count * DESCRIPTOR + SECTOR - 1) / SECTOR;
}

/* Descriptors and data sectors have the entry's sequence number, and there is room for them. */
static bool contents_good(const uint8_t *e, uint32_t len)
{
	uint32_t count = get_le32(e + E_COUNT);
	uint64_t sequence = get_le64(e + E_SEQUENCE), data;

	if (count > len / DESCRIPTOR || (uint64_t)descriptor_sectors(count) * SECTOR > len)
		return false;
	data = (uint64_t)descriptor_sectors(count) * SECTOR;
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *d = e + ENTRY + (uint64_t)i * DESCRIPTOR, *s = e + data;

		if (get_le64(d + D_SEQUENCE) != sequence || get_le64(d + D_OFFSET) % SECTOR)
			return false;
		if (memcmp(d, "zero", 4) == 0)
			continue;
		if (memcmp(d, "desc", 4) != 0 || data + SECTOR > len || memcmp(s, "data", 4) != 0 ||
		    get_le32(s + S_SEQUENCE_HIGH) != sequence >> 32 || get_le32(s + S_SEQUENCE_LOW) != (uint32_t)sequence)
			return false;
		data += SECTOR;
	}
	return true;
}

static void look_at_entry(struct ring *ring, uint64_t at, const uint8_t guid[16])
{
	const uint8_t *e = ring->bytes + at;
	uint32_t len = get_le32(e + E_LENGTH);

	if (memcmp(e, "loge", 4) != 0 || memcmp(e + E_GUID, guid, 16) != 0 || !len || len % SECTOR || len > ring->len ||
	    get_le32(e + E_TAIL) % SECTOR || get_le32(e + E_TAIL) >= ring->len || !get_le64(e + E_SEQUENCE) || len > ring->effort)
		return;
	ring->effort -= len;
	if (vhdx_checksum(e, len, E_CHECKSUM) == get_le32(e + E_CHECKSUM) && contents_good(e, len))
		ring->entries[at / SECTOR] = (struct entry){ len, get_le32(e + E_TAIL), get_le64(e + E_SEQUENCE) };
}

/* Is everything there from the entry's tail up to itself, one number after the other? */
static bool sequence_good(const struct ring *ring, uint64_t head)
{
	uint64_t at = ring->entries[head / SECTOR].tail, left = ring->len;
	const struct entry *e = &ring->entries[at / SECTOR];

	while (at != head) {
		const struct entry *next;

		if (!e->len || e->len > left)
			return false;
		left -= e->len;
		at = (at + e->len) % ring->len;
		next = &ring->entries[at / SECTOR];
		if (next->sequence != e->sequence + 1)
			return false;
		e = next;
	}
	return true;
}

/* Where the newest good sequence ends; UINT64_MAX: there is none. Bad ones are looked at once, from the newest. */
static uint64_t find_head(const struct ring *ring)
{
	uint64_t best = UINT64_MAX;

	for (uint64_t at = 0; at < ring->len; at += SECTOR)
		if (ring->entries[at / SECTOR].len &&
		    (best == UINT64_MAX || ring->entries[at / SECTOR].sequence > ring->entries[best / SECTOR].sequence) &&
		    sequence_good(ring, at))
			best = at;
	return best;
}

static bool add_records(struct vhdx_log *log, const uint8_t *e, GError **error)
{
	uint32_t count = get_le32(e + E_COUNT);
	const uint8_t *data = e + (uint64_t)descriptor_sectors(count) * SECTOR;

	if (log->records->len + (uint64_t)count > RECORDS_MAX)
		return kv_fail(error, KV_ERROR_INVALID, "the log has too many records");
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *d = e + ENTRY + (uint64_t)i * DESCRIPTOR;
		struct vhdx_log_record r = { .offset = get_le64(d + D_OFFSET), .len = SECTOR };

		if (memcmp(d, "zero", 4) == 0) {
			r.len = get_le64(d + D_ZERO_LEN);
		} else {
			r.sector = data;
			memcpy(r.first, d + D_FIRST, sizeof(r.first));
			memcpy(r.last, d + D_LAST, sizeof(r.last));
			data += SECTOR;
		}
		if (r.offset < VHDX_REGIONS_AT || r.offset > INT64_MAX || r.len > INT64_MAX - r.offset)
			return kv_fail(error, KV_ERROR_INVALID,
				       "the log changes what it may not (%" PRIu64 " bytes at %" PRIu64 ")", r.len, r.offset);
		g_array_append_val(log->records, r);
	}
	log->file_size = get_le64(e + E_FILE_SIZE);
	return true;
}

static bool collect(struct vhdx_log *log, const struct ring *ring, uint64_t head, uint64_t file_size, GError **error)
{
	uint64_t at = ring->entries[head / SECTOR].tail;

	if (get_le64(ring->bytes + head + E_FLUSHED_SIZE) > file_size)
		return kv_fail(error, KV_ERROR_INVALID,
			       "by its log the file had at least %" PRIu64 " bytes, now %" PRIu64 "; it is cut off",
			       get_le64(ring->bytes + head + E_FLUSHED_SIZE), file_size);
	for (;; at = (at + ring->entries[at / SECTOR].len) % ring->len) {
		if (!add_records(log, ring->bytes + at, error))
			return false;
		if (at == head)
			return true;
	}
}

bool vhdx_log_load(struct vhdx_log *log, struct image_file *f, uint64_t at, uint64_t len, const uint8_t guid[16], GError **error)
{
	struct ring ring = { .len = len, .effort = EFFORT * len };
	g_autofree struct entry *entries = NULL;
	uint64_t head;

	if (!len || len % SECTOR || len > LOG_MAX || !range_inside(at, len, image_file_size(f)))
		return kv_fail(error, len > LOG_MAX ? KV_ERROR_UNSUPPORTED : KV_ERROR_INVALID,
			       "its log, which is not empty, has %" PRIu64 " bytes at %" PRIu64
			       "; up to %d inside of the file are supported",
			       len, at, LOG_MAX);
	log->bytes = g_malloc(2 * len);
	ring.bytes = log->bytes;
	ring.entries = entries = g_new0(struct entry, len / SECTOR);
	if (!foreign_read(f, at, log->bytes, len, error))
		return false;
	memcpy(log->bytes + len, log->bytes, len);
	for (uint64_t i = 0; i < len; i += SECTOR)
		look_at_entry(&ring, i, guid);
	head = find_head(&ring);
	if (head == UINT64_MAX)
		return true;
	log->records = g_array_new(FALSE, FALSE, sizeof(struct vhdx_log_record));
	return collect(log, &ring, head, image_file_size(f), error);
}

void vhdx_log_clear(struct vhdx_log *log)
{
	g_clear_pointer(&log->records, g_array_unref);
	g_clear_pointer(&log->bytes, g_free);
}

static void make_sector(const struct vhdx_log_record *r, uint8_t *ret)
{
	memcpy(ret, r->first, sizeof(r->first));
	memcpy(ret + sizeof(r->first), r->sector + sizeof(r->first), SECTOR - sizeof(r->first) - sizeof(r->last));
	memcpy(ret + SECTOR - sizeof(r->last), r->last, sizeof(r->last));
}

void vhdx_log_apply(const struct vhdx_log *log, uint64_t offset, void *buf, uint64_t len)
{
	for (unsigned i = 0; log->records && i < log->records->len; i++) {
		const struct vhdx_log_record *r = &g_array_index(log->records, struct vhdx_log_record, i);
		uint64_t from = MAX(offset, r->offset), to = MIN(offset + len, r->offset + r->len);
		uint8_t sector[SECTOR];

		if (from >= to)
			continue;
		if (!r->sector) {
			memset((uint8_t *)buf + (from - offset), 0, to - from);
			continue;
		}
		make_sector(r, sector);
		memcpy((uint8_t *)buf + (from - offset), sector + (from - r->offset), to - from);
	}
}

int vhdx_log_replay(const struct vhdx_log *log, struct image_file *f)
{
	uint64_t size = image_file_size(f);
	uint8_t sector[SECTOR];
	int r = 0;

	if (log->file_size > image_file_size(f) && !f->device)
		r = f->type->truncate(f, log->file_size);
	for (unsigned i = 0; !r && i < log->records->len; i++) {
		const struct vhdx_log_record *rec = &g_array_index(log->records, struct vhdx_log_record, i);

		if (!rec->sector) { /* what the file did not have is zeroes already */
			if (rec->offset < size)
				r = f->type->write_zeroes(f, rec->offset, MIN(rec->len, size - rec->offset), IMAGE_MAY_UNMAP);
			continue;
		}
		make_sector(rec, sector);
		r = f->type->write(f, rec->offset, sector, SECTOR);
		size = MAX(size, rec->offset + SECTOR);
	}
	return r ? r : f->type->flush(f);
}
