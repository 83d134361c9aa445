/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's fw_cfg at ports 0x510 to 0x51b (docs/specs/fw_cfg of its documentation): a selector, a data port, and a DMA interface
 * that reads items into guest memory. Items are read only: nothing on this board takes a write, which is answered with an error.
 * See ../fw-cfg.h; the board makes it.
 */
#include "fw-cfg.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bytes.h"
#include "classes.h"
#include "error.h"

enum { SELECTOR = 0, DATA = 1, DMA_HIGH = 4, DMA_LOW = 8 };
enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16, DMA_COMMAND = 16 /* bytes */ };
enum { VERSION_PORTS = 1, VERSION_DMA = 2 };
enum { KEYS = FW_CFG_FIRST_FILE + FW_CFG_FILES, DIRECTORY_ENTRY = 64 };
enum { KEY_MASK = 0xbfff }; /* bit 14 asked for a write, once; bit 15 is of an architecture's own keys, and we have none */

static const char dma_signature[8] = {'Q', 'E', 'M', 'U', ' ', 'C', 'F', 'G'};

struct item {
	char *name; /* of a file */
	GBytes *data;
	bool late, mapped;
};

struct fw_cfg {
	struct device dev;
	GMutex lock;
	unsigned n_files;
	struct item item[KEYS];
	void (*make)(void *opaque);
	void *make_opaque;
	bool made; /* since the reset */
	/* Saved. */
	uint16_t selected;
	uint32_t offset, dma_high;
};

/* ---- items ---- */

static struct fw_cfg *device(struct device *dev)
{
	return (struct fw_cfg *)dev;
}

static void set(struct item *item, GBytes *data)
{
	if (item->data)
		g_bytes_unref(item->data);
	item->data = data;
}

void fw_cfg_set(struct device *dev, enum fw_cfg_key key, GBytes *data)
{
	struct fw_cfg *f = device(dev);

	g_mutex_lock(&f->lock);
	set(&f->item[key], data);
	g_mutex_unlock(&f->lock);
}

void fw_cfg_set_mapped(struct device *dev, enum fw_cfg_key key, GBytes *data)
{
	fw_cfg_set(dev, key, data);
	device(dev)->item[key].mapped = true;
}

void fw_cfg_set_number(struct device *dev, enum fw_cfg_key key, uint64_t value, unsigned size)
{
	uint8_t b[8];

	put_le64(b, value);
	fw_cfg_set(dev, key, g_bytes_new(b, size));
}

static struct item *find(struct fw_cfg *f, const char *name)
{
	for (unsigned i = 0; i < f->n_files; i++)
		if (!strcmp(f->item[FW_CFG_FIRST_FILE + i].name, name))
			return &f->item[FW_CFG_FIRST_FILE + i];
	return NULL;
}

static void make_directory(struct fw_cfg *f)
{
	size_t size = 4 + (size_t)f->n_files * DIRECTORY_ENTRY;
	uint8_t *d = g_malloc0(size), *e = d + 4;

	put_be32(d, f->n_files);
	for (unsigned i = 0; i < f->n_files; i++, e += DIRECTORY_ENTRY) {
		const struct item *item = &f->item[FW_CFG_FIRST_FILE + i];

		put_be32(e, (uint32_t)g_bytes_get_size(item->data));
		put_be16(e + 4, (uint16_t)(FW_CFG_FIRST_FILE + i));
		g_strlcpy((char *)e + 8, item->name, FW_CFG_NAME);
	}
	set(&f->item[FW_CFG_DIRECTORY], g_bytes_new_take(d, size));
}

bool fw_cfg_set_file(struct device *dev, const char *name, GBytes *data, GError **error)
{
	struct fw_cfg *f = device(dev);
	struct item *item = find(f, name);
	bool long_name = !*name || strlen(name) >= FW_CFG_NAME;

	if (!item && (long_name || f->n_files == FW_CFG_FILES)) {
		g_bytes_unref(data);
		return long_name ? kv_fail(error, KV_ERROR_USAGE, "fw_cfg: a file's name has 1 to %d bytes, '%s' has not",
					   FW_CFG_NAME - 1, name) :
				   kv_fail(error, KV_ERROR_USAGE, "fw_cfg: more than %d files", FW_CFG_FILES);
	}
	if (!item) {
		item = &f->item[FW_CFG_FIRST_FILE + f->n_files++];
		item->name = g_strdup(name);
	}
	set(item, data);
	make_directory(f);
	return true;
}

bool fw_cfg_has_file(struct device *dev, const char *name)
{
	return find(device(dev), name);
}

void fw_cfg_set_late(struct device *dev, const char *const *names, void (*make)(void *opaque), void *opaque)
{
	struct fw_cfg *f = device(dev);

	f->make = make;
	f->make_opaque = opaque;
	for (; *names; names++)
		find(f, *names)->late = true;
}

void fw_cfg_renew(struct device *dev, const char *name, GBytes *data)
{
	set(find(device(dev), name), data);
}

/* The selected item, NULL when there is none. Holds the lock. */
static struct item *selected(struct fw_cfg *f)
{
	struct item *item = f->selected < KEYS ? &f->item[f->selected] : NULL;

	if (item && item->late && !f->made) {
		f->made = true;
		f->make(f->make_opaque);
	}
	return item && item->data ? item : NULL;
}

/* What is left of the selected item. */
static const uint8_t *rest(struct fw_cfg *f, size_t *ret_len)
{
	const struct item *item = selected(f);
	gsize size = 0;
	const uint8_t *data = item ? g_bytes_get_data(item->data, &size) : NULL;

	*ret_len = size > f->offset ? size - f->offset : 0;
	return *ret_len ? data + f->offset : NULL;
}

static void skip(struct fw_cfg *f, uint32_t n)
{
	f->offset = n > UINT32_MAX - f->offset ? UINT32_MAX : f->offset + n;
}

/* Whole pages of a mapping of a file: it is read again for who wants them again. */
static void let_go(const uint8_t *data, size_t len)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = ((uintptr_t)data + page - 1) & -page;
	uintptr_t to = ((uintptr_t)data + len) & -page;

	if (from < to)
		madvise((void *)from, to - from, MADV_DONTNEED);
}

/* ---- DMA ---- */

/* Past the end of an item there are zeroes. */
static bool dma_read(struct fw_cfg *f, uint64_t to, uint32_t len)
{
	static const uint8_t zeroes[4096];
	size_t left;
	const uint8_t *data = rest(f, &left);
	uint32_t n = (uint32_t)MIN(len, left);

	if (n && !gpa_write(f->dev.core->mem, to, data, n))
		return false;
	if (n && f->item[f->selected].mapped)
		let_go(data, n);
	skip(f, len);
	for (to += n, len -= n; len; to += n, len -= n) {
		n = MIN(len, (uint32_t)sizeof(zeroes));
		if (!gpa_write(f->dev.core->mem, to, zeroes, n))
			return false;
	}
	return true;
}

static bool dma_do(struct fw_cfg *f, uint32_t control, uint32_t len, uint64_t at)
{
	if (control & DMA_SELECT) {
		f->selected = control >> 16 & KEY_MASK;
		f->offset = 0;
		selected(f);
	}
	if (control & DMA_READ)
		return dma_read(f, at, len);
	if (control & DMA_WRITE)
		return false;
	if (control & DMA_SKIP)
		skip(f, len);
	return true;
}

static void dma(struct fw_cfg *f, uint64_t command)
{
	struct guest_mem *mem = f->dev.core->mem;
	uint8_t c[DMA_COMMAND], status[4];
	bool ok = gpa_read(mem, command, c, sizeof(c)) && dma_do(f, get_be32(c), get_be32(c + 4), get_be64(c + 8));

	put_be32(status, ok ? 0 : DMA_ERROR);
	gpa_write(mem, command, status, sizeof(status));
}

/* ---- ports ---- */

static uint64_t cfg_read(void *opaque, uint64_t offset, unsigned size)
{
	struct fw_cfg *f = opaque;
	const uint8_t *data;
	uint64_t v = 0;
	size_t left;

	if (offset >= DMA_HIGH) {
		memcpy(&v, dma_signature + offset - DMA_HIGH, MIN(size, DMA_HIGH + sizeof(dma_signature) - offset));
		return v;
	}
	if (offset != DATA || size != 1)
		return ~0ull;
	g_mutex_lock(&f->lock);
	data = rest(f, &left);
	v = data ? *data : 0;
	skip(f, 1);
	g_mutex_unlock(&f->lock);
	return v;
}

/* The halves of the DMA address are big endian; the low one starts it. */
static void cfg_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct fw_cfg *f = opaque;
	uint8_t b[8];
	uint64_t at;

	put_le64(b, data);
	g_mutex_lock(&f->lock);
	if (offset == SELECTOR && size == 2) {
		f->selected = data & KEY_MASK;
		f->offset = 0;
		selected(f);
	} else if (offset == DMA_HIGH && size == 4) {
		f->dma_high = get_be32(b);
	} else if ((offset == DMA_LOW && size == 4) || (offset == DMA_HIGH && size == 8)) {
		at = size == 8 ? get_be64(b) : (uint64_t)f->dma_high << 32 | get_be32(b);
		f->dma_high = 0;
		dma(f, at);
	}
	g_mutex_unlock(&f->lock);
}

static const struct bus_ops cfg_ops = {cfg_read, cfg_write};

/* ---- device ---- */

static void cfg_reset(struct device *dev)
{
	struct fw_cfg *f = device(dev);

	f->selected = 0;
	f->offset = f->dma_high = 0;
	f->made = false;
}

static bool cfg_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct fw_cfg *f = device(dev);

	g_mutex_init(&f->lock);
	fw_cfg_set(dev, FW_CFG_SIGNATURE, g_bytes_new_static("QEMU", 4));
	fw_cfg_set_number(dev, FW_CFG_ID, VERSION_PORTS | VERSION_DMA, 4);
	make_directory(f);
	return bus_register(dev->core->ports, FW_CFG_PORT, FW_CFG_PORTS, "fw_cfg", &cfg_ops, dev, error);
}

static void cfg_destroy(struct device *dev)
{
	struct fw_cfg *f = device(dev);

	bus_unregister(dev->core->ports, FW_CFG_PORT);
	for (unsigned i = 0; i < KEYS; i++) {
		set(&f->item[i], NULL);
		g_free(f->item[i].name);
	}
	g_mutex_clear(&f->lock);
}

/* Who was reading a late file goes on in one that is made again. */
static bool cfg_loaded(void *opaque, GError **error)
{
	((struct fw_cfg *)opaque)->made = false;
	return true;
}

static const struct state_field cfg_fields[] = {STATE_INT(struct fw_cfg, selected, STATE_U16),
						STATE_INT(struct fw_cfg, offset, STATE_U32),
						STATE_INT(struct fw_cfg, dma_high, STATE_U32), STATE_END};
static const struct state_desc cfg_state = {"fw-cfg", 1, 1, cfg_fields, NULL, cfg_loaded};

const struct device_class device_fw_cfg = {
	.name = "fw-cfg",
	.description = "what firmware is told of its machine",
	.size = sizeof(struct fw_cfg),
	.create = cfg_create,
	.reset = cfg_reset,
	.destroy = cfg_destroy,
	.state = &cfg_state,
};
