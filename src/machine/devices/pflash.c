/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parallel NOR flash, as UEFI firmware keeps its variables in: Intel's command set (CFI publication 100 and 137, vendor 0001;
 * Intel 28F640J3 datasheet), a byte wide, blocks of 4 KiB. While it shows its array it is memory that a write leaves; in any
 * other mode reads and writes come here. What is programmed or erased is in the file at once, if there is one: by the page
 * cache, so it outlives this process but not the host's power. Made by pc-firmware.c.
 *
 * Options: base (t), size (t), content (ay: its first bytes, the rest is erased), fd (i: of a file that is kept equal to it, and
 * closed with the device).
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "classes.h"
#include "error.h"
#include "log.h"

enum { BLOCK = 4096, BUFFER = 256, SIZE_MAX_BLOCKS = 2048, DEFAULT_BLOCKS = 4 };
#define DEFAULT_BASE 0xffc00000ull

enum {
	COMMAND_PROGRAM = 0x40,
	COMMAND_PROGRAM_ALSO = 0x10,
	COMMAND_ERASE = 0x20,
	COMMAND_CLEAR_STATUS = 0x50,
	COMMAND_LOCK = 0x60,
	COMMAND_STATUS = 0x70,
	COMMAND_IDENTITY = 0x90,
	COMMAND_QUERY = 0x98,
	COMMAND_BUFFER = 0xe8,
	COMMAND_ARRAY = 0xff,
	CONFIRM = 0xd0,
	LOCK_SET = 0x01,
};

enum { STATUS_READY = 0x80, STATUS_ERASE_ERROR = 0x20, STATUS_PROGRAM_ERROR = 0x10 };

/* What a read shows, and what the next write is. */
enum shows { SHOW_ARRAY, SHOW_STATUS, SHOW_IDENTITY, SHOW_QUERY, SHOWS };
enum expects { EXPECT_COMMAND, EXPECT_BYTE, EXPECT_ERASE, EXPECT_LOCK, EXPECT_COUNT, EXPECT_DATA, EXPECT_CONFIRM, EXPECTS };

struct block {
	uint8_t data[BLOCK];
};

struct pflash {
	struct device dev;
	GMutex lock;
	struct mem_region *region;
	uint64_t base, size;
	int fd; /* -1: none */
	bool told; /* that the file cannot be written */
	/* Saved. */
	struct block *blocks; /* the region's memory */
	uint32_t n_blocks;
	uint8_t shows, expects, status;
	uint32_t buffer_at, buffer_len, buffer_have; /* of a buffered program: within one aligned buffer's worth of bytes */
	uint8_t buffer[BUFFER];
};

/* ---- the array ---- */

/* The file and translated code follow the array. */
static void changed(struct pflash *f, uint64_t at, uint64_t len)
{
	mem_region_written(f->region, at, len);
	if (f->fd < 0 || pwrite(f->fd, f->region->host + at, len, (off_t)at) == (ssize_t)len)
		return;
	if (!f->told)
		kv_log_error("%s: the file of the firmware's variables cannot be written: %s", f->dev.id, g_strerror(errno));
	f->told = true;
}

/* Programming makes zeroes of ones. */
static void program(struct pflash *f, uint64_t at, const uint8_t *data, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++)
		f->region->host[at + i] &= data[i];
	changed(f, at, len);
}

static void erase(struct pflash *f, uint64_t at)
{
	at = align_down(at, BLOCK);
	memset(f->region->host + at, 0xff, BLOCK);
	changed(f, at, BLOCK);
}

/* Holds lock. The memory is there when the array is shown and no data is awaited. */
static void show(struct pflash *f, enum shows what, enum expects next)
{
	g_autoptr(GError) error = NULL;

	f->shows = what;
	f->expects = next;
	if (what != SHOW_ARRAY)
		mem_region_unmap(f->region);
	else if (!mem_region_map(f->region, f->base, &error))
		kv_log_debug("%s: %s", f->dev.id, error->message);
}

/* ---- reads ---- */

/* CFI publication 137, 4.3: the query structure; Intel's extended table at 0x31. */
static const uint8_t query[0x40] = {
	[0x10] = 'Q', 'R', 'Y',
	[0x13] = 0x01, 0x00,			       /* Intel's extended command set */
	[0x15] = 0x31, 0x00,			       /* its table */
	[0x1b] = 0x45, 0x55,			       /* 4.5 to 5.5 V */
	[0x1f] = 0x07, 0x07, 0x0a, 0x00,	       /* typical times, powers of 2: byte, buffer (us), block (ms), chip */
	[0x23] = 0x04, 0x04, 0x04, 0x00,	       /* the longest, times of those */
	[0x28] = 0x00, 0x00,			       /* a byte wide */
	[0x2a] = 0x08, 0x00,			       /* the buffer has 256 bytes */
	[0x2c] = 0x01,				       /* regions of blocks; 0x2d: of which size */
	[0x31] = 'P', 'R', 'I', '1', '0',
};

static uint8_t query_byte(const struct pflash *f, uint64_t at)
{
	uint8_t geometry[4];

	if (at == 0x27)
		return (uint8_t)(63 - __builtin_clzll(f->size) + !!(f->size & (f->size - 1))); /* a power of 2 that holds it */
	put_le16(geometry, (uint16_t)(f->n_blocks - 1));
	put_le16(geometry + 2, BLOCK / 256);
	if (at >= 0x2d && at < 0x31)
		return geometry[at - 0x2d];
	return at < sizeof(query) ? query[at] : 0;
}

static uint8_t identity_byte(uint64_t at)
{
	static const uint8_t ids[] = {0x89, 0x18}; /* Intel, 128 Mbit */

	return at % BLOCK < sizeof(ids) ? ids[at % BLOCK] : 0; /* 2: no block is locked */
}

static uint8_t read_byte(const struct pflash *f, uint64_t at)
{
	switch (f->shows) {
	case SHOW_ARRAY:
		return f->region->host[at];
	case SHOW_STATUS:
		return f->status;
	case SHOW_IDENTITY:
		return identity_byte(at);
	default:
		return query_byte(f, at % 256);
	}
}

static uint64_t flash_read(void *opaque, uint64_t offset, unsigned size)
{
	struct pflash *f = opaque;
	uint64_t v = 0;

	g_mutex_lock(&f->lock);
	for (unsigned i = 0; i < size && offset + i < f->size; i++)
		v |= (uint64_t)read_byte(f, offset + i) << 8 * i;
	g_mutex_unlock(&f->lock);
	return v;
}

/* ---- writes ---- */

static void command(struct pflash *f, uint8_t c)
{
	static const struct {
		uint8_t code;
		enum shows shows;
		enum expects expects;
	} commands[] = {
		{COMMAND_PROGRAM, SHOW_STATUS, EXPECT_BYTE},   {COMMAND_PROGRAM_ALSO, SHOW_STATUS, EXPECT_BYTE},
		{COMMAND_ERASE, SHOW_STATUS, EXPECT_ERASE},    {COMMAND_LOCK, SHOW_STATUS, EXPECT_LOCK},
		{COMMAND_STATUS, SHOW_STATUS, EXPECT_COMMAND}, {COMMAND_IDENTITY, SHOW_IDENTITY, EXPECT_COMMAND},
		{COMMAND_QUERY, SHOW_QUERY, EXPECT_COMMAND},   {COMMAND_BUFFER, SHOW_STATUS, EXPECT_COUNT},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++)
		if (commands[i].code == c) {
			if (c == COMMAND_BUFFER)
				f->status |= STATUS_READY;
			show(f, commands[i].shows, commands[i].expects);
			return;
		}
	if (c == COMMAND_CLEAR_STATUS)
		f->status = 0;
	show(f, SHOW_ARRAY, EXPECT_COMMAND);
}

/* A wrong second step of erasing and programming sets both error bits (28F640J3, table 16: command sequence error). */
static void wrong_step(struct pflash *f)
{
	f->status |= STATUS_READY | STATUS_ERASE_ERROR | STATUS_PROGRAM_ERROR;
	f->expects = EXPECT_COMMAND;
}

static void done(struct pflash *f)
{
	f->status |= STATUS_READY;
	f->expects = EXPECT_COMMAND;
}

/* The first byte says where; all have to be in one buffer's worth of bytes there. */
static void take_data(struct pflash *f, uint64_t at, uint8_t byte)
{
	if (!f->buffer_have) {
		f->buffer_at = (uint32_t)align_down(at, BUFFER);
		memset(f->buffer, 0xff, sizeof(f->buffer));
	}
	if (align_down(at, BUFFER) != f->buffer_at) {
		wrong_step(f);
		return;
	}
	f->buffer[at % BUFFER] = byte;
	if (++f->buffer_have == f->buffer_len)
		f->expects = EXPECT_CONFIRM;
}

static void write_byte(struct pflash *f, uint64_t at, uint8_t byte)
{
	switch (f->expects) {
	case EXPECT_BYTE:
		program(f, at, &byte, 1);
		done(f);
		break;
	case EXPECT_ERASE:
		if (byte != CONFIRM) {
			wrong_step(f);
			break;
		}
		erase(f, at);
		done(f);
		break;
	case EXPECT_LOCK: /* blocks have no locks that hold */
		if (byte == CONFIRM || byte == LOCK_SET)
			done(f);
		else
			wrong_step(f);
		break;
	case EXPECT_COUNT:
		f->buffer_len = byte + 1u;
		f->buffer_have = 0;
		f->expects = EXPECT_DATA;
		break;
	case EXPECT_DATA:
		take_data(f, at, byte);
		break;
	case EXPECT_CONFIRM:
		if (byte != CONFIRM) {
			wrong_step(f);
			break;
		}
		program(f, f->buffer_at, f->buffer, MIN(BUFFER, f->size - f->buffer_at));
		done(f);
		break;
	default:
		command(f, byte);
	}
}

/* It is a byte wide: a wider write is data for each of its bytes, and a command by its first. */
static void flash_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct pflash *f = opaque;

	g_mutex_lock(&f->lock);
	do {
		write_byte(f, offset, (uint8_t)data);
		offset++;
		data >>= 8;
	} while (--size && f->expects == EXPECT_DATA && offset < f->size);
	g_mutex_unlock(&f->lock);
}

static const struct bus_ops flash_ops = {flash_read, flash_write};

/* ---- device ---- */

static void power_on(struct pflash *f)
{
	f->status = 0;
	f->buffer_at = f->buffer_len = f->buffer_have = 0;
	memset(f->buffer, 0xff, sizeof(f->buffer));
	show(f, SHOW_ARRAY, EXPECT_COMMAND);
}

static void flash_reset(struct device *dev)
{
	power_on((struct pflash *)dev);
}

static bool fill(struct pflash *f, GVariant *options, GError **error)
{
	g_autoptr(GVariant) content = options ? g_variant_lookup_value(options, "content", G_VARIANT_TYPE_BYTESTRING) : NULL;
	gsize len = 0;
	const void *data = content ? g_variant_get_fixed_array(content, &len, 1) : NULL;

	if (len > f->size)
		return kv_fail(error, KV_ERROR_INVALID, "flash of %" G_GUINT64_FORMAT " bytes does not hold %zu", f->size, len);
	memset(f->region->host, 0xff, f->size);
	if (len)
		memcpy(f->region->host, data, len);
	return true;
}

static bool flash_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct pflash *f = (struct pflash *)dev;
	guint64 base = DEFAULT_BASE, size = DEFAULT_BLOCKS * BLOCK;
	gint32 fd = -1;

	if (options) {
		g_variant_lookup(options, "base", "t", &base);
		g_variant_lookup(options, "size", "t", &size);
		g_variant_lookup(options, "fd", "i", &fd);
	}
	if (!size || size % BLOCK || size / BLOCK > SIZE_MAX_BLOCKS)
		return kv_fail(error, KV_ERROR_INVALID, "flash has 1 to %d blocks of 4 KiB, not %" G_GUINT64_FORMAT " bytes",
			       SIZE_MAX_BLOCKS, size);
	f->base = base;
	f->size = size;
	f->n_blocks = (uint32_t)(size / BLOCK);
	f->fd = fd;
	f->region = mem_region_new(dev->core->mem, "flash", size, true, error);
	if (!f->region)
		return false;
	f->blocks = (struct block *)f->region->host;
	g_mutex_init(&f->lock);
	if (!fill(f, options, error) ||
	    !bus_register(dev->core->mmio, base, size, "flash", &flash_ops, f, error)) {
		mem_region_free(f->region);
		g_mutex_clear(&f->lock);
		return false;
	}
	power_on(f);
	return true;
}

static void flash_destroy(struct device *dev)
{
	struct pflash *f = (struct pflash *)dev;

	bus_unregister(dev->core->mmio, f->base);
	mem_region_free(f->region);
	if (f->fd >= 0)
		close(f->fd);
	g_mutex_clear(&f->lock);
}

static bool flash_loaded(void *opaque, GError **error)
{
	struct pflash *f = opaque;

	if (f->shows >= SHOWS || f->expects >= EXPECTS || (f->expects != EXPECT_COMMAND && f->shows != SHOW_STATUS) ||
	    f->buffer_at % BUFFER || f->buffer_at >= f->size || f->buffer_len > BUFFER || f->buffer_have > f->buffer_len)
		return kv_fail(error, KV_ERROR_INVALID, "%s: saved state of a flash that cannot be", f->dev.id);
	changed(f, 0, f->size);
	show(f, f->shows, f->expects);
	return true;
}

static const struct state_field block_fields[] = {STATE_RAW(struct block, data), STATE_END};
static const struct state_field flash_fields[] = {{.name = "blocks",
						   .offset = offsetof(struct pflash, blocks),
						   .type = STATE_POINTER_STRUCT,
						   .since = 1,
						   .size = sizeof(struct block),
						   .count = SIZE_MAX_BLOCKS,
						   .count_at = offsetof(struct pflash, n_blocks),
						   .fields = block_fields},
						  STATE_INT(struct pflash, shows, STATE_U8),
						  STATE_INT(struct pflash, expects, STATE_U8),
						  STATE_INT(struct pflash, status, STATE_U8),
						  STATE_INT(struct pflash, buffer_at, STATE_U32),
						  STATE_INT(struct pflash, buffer_len, STATE_U32),
						  STATE_INT(struct pflash, buffer_have, STATE_U32),
						  STATE_RAW(struct pflash, buffer),
						  STATE_END};
static const struct state_desc flash_state = {"pflash", 1, 1, flash_fields, NULL, flash_loaded};

const struct device_class device_pflash = {
	.name = "pflash",
	.description = "flash of the firmware's variables",
	.size = sizeof(struct pflash),
	.create = flash_create,
	.reset = flash_reset,
	.destroy = flash_destroy,
	.state = &flash_state,
};
