/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See mem-file.h. */
#include "mem-file.h"

#include <errno.h>
#include <string.h>

#include "bitmap.h"

enum { SECTOR = 512, LIMIT = 256 << 20, SPARE = 16 };

/* Memory of files that are gone, for the next ones: a crash makes as many copies as there are files, and fresh pages are dear. */
static GByteArray *spare[SPARE];
static unsigned n_spare;
static GMutex spare_lock;

static GByteArray *take_bytes(void)
{
	g_autoptr(GMutexLocker) locked = g_mutex_locker_new(&spare_lock);

	return n_spare ? spare[--n_spare] : g_byte_array_new();
}

static void give_bytes(GByteArray *bytes)
{
	g_autoptr(GMutexLocker) locked = g_mutex_locker_new(&spare_lock);

	g_byte_array_set_size(bytes, 0);
	if (n_spare < SPARE)
		spare[n_spare++] = bytes;
	else
		g_byte_array_free(bytes, TRUE);
}

static struct mem_file *of(struct image_file *f)
{
	return (struct mem_file *)f;
}

static uint64_t clock_now;

uint64_t mem_now(void)
{
	return __atomic_load_n(&clock_now, __ATOMIC_SEQ_CST);
}

unsigned mem_file_records(const struct mem_file *f, uint64_t before)
{
	unsigned n = 0;

	while (n < f->log->len && g_array_index(f->log, struct mem_record, n).when < before)
		n++;
	return n;
}

/* Under the lock. */
static void note(struct mem_file *f, enum mem_op op, uint64_t offset, uint64_t len, const void *bytes)
{
	struct mem_record r = {op, offset, len, __atomic_fetch_add(&clock_now, 1, __ATOMIC_SEQ_CST),
			       bytes && f->log ? g_memdup2(bytes, len) : NULL};

	if (f->log)
		g_array_append_val(f->log, r);
}

static int resize(struct mem_file *f, uint64_t size)
{
	uint64_t old = f->bytes->len;

	if (size > LIMIT)
		return -ENOSPC;
	g_byte_array_set_size(f->bytes, size);
	if (size > old)
		memset(f->bytes->data + old, 0, size - old);
	__atomic_store_n(&f->base.size, size, __ATOMIC_RELAXED);
	return 0;
}

static void apply(struct mem_file *f, const struct mem_record *r, uint64_t from, uint64_t len)
{
	if (r->op == MEM_TRUNCATE) {
		resize(f, r->len);
		return;
	}
	if (r->op == MEM_FLUSH)
		return;
	if (r->offset + from + len > f->bytes->len)
		resize(f, r->offset + from + len);
	if (r->bytes)
		memcpy(f->bytes->data + r->offset + from, r->bytes + from, len);
	else
		memset(f->bytes->data + r->offset + from, 0, len);
}

/* Under the lock. */
static int fails(struct mem_file *f, int *in)
{
	if (!*in || --*in)
		return 0;
	return f->fail_code ? f->fail_code : -EIO;
}

static int mem_read(struct image_file *file, uint64_t offset, void *buf, uint64_t len)
{
	struct mem_file *f = of(file);
	uint64_t inside;
	int res;

	g_mutex_lock(&f->lock);
	res = fails(f, &f->fail_reads_in);
	inside = offset < f->bytes->len ? MIN(len, f->bytes->len - offset) : 0;
	if (inside)
		memcpy(buf, f->bytes->data + offset, inside);
	g_mutex_unlock(&f->lock);
	memset((char *)buf + inside, 0, len - inside);
	return res;
}

static int change(struct mem_file *f, enum mem_op op, uint64_t offset, uint64_t len, const void *bytes)
{
	struct mem_record r = {.op = op, .offset = offset, .len = len, .bytes = (uint8_t *)bytes};
	int res;

	if (offset > LIMIT || len > LIMIT - offset)
		return -ENOSPC;
	g_mutex_lock(&f->lock);
	res = fails(f, &f->fail_in);
	if (res == 0) {
		note(f, op, offset, len, bytes);
		apply(f, &r, 0, len);
	}
	g_mutex_unlock(&f->lock);
	return res;
}

static int mem_write(struct image_file *f, uint64_t offset, const void *buf, uint64_t len)
{
	return len ? change(of(f), MEM_WRITE, offset, len, buf) : 0;
}

static int mem_write_zeroes(struct image_file *f, uint64_t offset, uint64_t len, unsigned flags)
{
	return len ? change(of(f), MEM_ZEROES, offset, len, NULL) : 0;
}

/* A hole: zeroes, but the file does not become longer. */
static int mem_discard(struct image_file *f, uint64_t offset, uint64_t len)
{
	uint64_t size = f->size;

	return offset < size ? mem_write_zeroes(f, offset, MIN(len, size - offset), IMAGE_MAY_UNMAP) : 0;
}

static int mem_flush(struct image_file *f)
{
	g_mutex_lock(&of(f)->lock);
	note(of(f), MEM_FLUSH, 0, 0, NULL);
	g_mutex_unlock(&of(f)->lock);
	return 0;
}

static int mem_truncate(struct image_file *f, uint64_t size)
{
	return change(of(f), MEM_TRUNCATE, 0, size, NULL);
}

static bool mem_has_data(struct image_file *f, uint64_t offset, uint64_t len, uint64_t *ret_len)
{
	*ret_len = len;
	return true;
}

/* A file system that can has it as a copy that comes all at once. */
static int mem_share(struct image_file *f, uint64_t offset, uint64_t len, struct image_file *from, uint64_t at)
{
	g_autofree uint8_t *bytes = g_malloc(len);
	int res = mem_read(from, at, bytes, len);

	return res < 0 ? res : mem_write(f, offset, bytes, len);
}

static void mem_close(struct image_file *f)
{
}

static const struct image_file_type mem_type = {
	.read = mem_read,
	.write = mem_write,
	.write_zeroes = mem_write_zeroes,
	.discard = mem_discard,
	.flush = mem_flush,
	.truncate = mem_truncate,
	.has_data = mem_has_data,
	.share = mem_share,
	.close = mem_close,
};

struct mem_file *mem_file_new(const void *bytes, size_t len)
{
	struct mem_file *f = g_new0(struct mem_file, 1);

	f->base = (struct image_file){.type = &mem_type, .name = (char *)"memory", .fd = -1, .size = len};
	f->bytes = take_bytes();
	if (len)
		g_byte_array_append(f->bytes, bytes, len);
	return f;
}

static void free_log(GArray *log)
{
	for (unsigned i = 0; log && i < log->len; i++)
		g_free(g_array_index(log, struct mem_record, i).bytes);
	if (log)
		g_array_free(log, TRUE);
}

void mem_file_free(struct mem_file *f)
{
	free_log(f->log);
	give_bytes(f->bytes);
	g_free(f);
}

void mem_file_record(struct mem_file *f)
{
	free_log(f->log);
	f->log = g_array_new(FALSE, FALSE, sizeof(struct mem_record));
}

/* Each sector that a write touches arrives or does not. */
static void apply_torn(struct mem_file *f, const struct mem_record *r, GRand *rand)
{
	for (uint64_t at = 0; at < r->len;) {
		uint64_t n = MIN(r->len - at, SECTOR - (r->offset + at) % SECTOR);

		if (g_rand_boolean(rand))
			apply(f, r, at, n);
		at += n;
	}
}

struct mem_file *mem_file_crash(const struct mem_file *before, const GArray *log, unsigned n, GRand *rand)
{
	struct mem_file *f = mem_file_new(before->bytes->data, before->bytes->len);
	unsigned durable = n;

	while (durable && g_array_index(log, struct mem_record, durable - 1).op != MEM_FLUSH)
		durable--;
	for (unsigned i = 0; i < n; i++) {
		const struct mem_record *r = &g_array_index(log, struct mem_record, i);
		unsigned dice = g_rand_int_range(rand, 0, 3);

		if (i < durable || dice == 0)
			apply(f, r, 0, r->len);
		else if (dice == 1 && r->op != MEM_TRUNCATE)
			apply_torn(f, r, rand);
	}
	return f;
}

GVariant *mem_parse(const char *options)
{
	g_autofree char *text = g_strdup_printf("@a{sv} {%s}", options);

	return g_variant_ref_sink(g_variant_new_parsed(text));
}

static void free_image(struct image *img)
{
	image_bitmaps_free(img);
	g_rw_lock_clear(&img->watch_lock);
	g_free(img);
}

struct image *mem_image_open(struct mem_file *f, const struct image_format *format, const char *options, GError **error)
{
	g_autoptr(GVariant) o = mem_parse(options);
	struct image *img = g_new0(struct image, 1);

	g_rw_lock_init(&img->watch_lock);
	img->format = format;
	img->path = f->base.name;
	img->file = img->data = &f->base;
	img->readonly = f->base.readonly;
	if (format->open(img, o, error))
		return img;
	free_image(img);
	return NULL;
}

void mem_image_end(struct image *img)
{
	img->format->close(img);
	free_image(img);
}
