/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A character device that keeps what a device wrote last, to be read by whoever controls the machine, who may also write to the
 * device (QEMU's ringbuf). Not one of chardev_kinds[]: there is no use for it without such a person.
 */
#include <string.h>

#include "error.h"
#include "stream.h"

enum { DEFAULT_SIZE = 64 << 10, SIZE_MAX_LOG = 26 };

struct ringbuf {
	struct char_stream stream; /* nobody is ever there; first */
	GMutex lock;
	uint8_t *data;
	size_t size; /* a power of two */
	size_t in, out; /* bytes so far; in - out is at most size */
};

static void ringbuf_put(struct chardev *c, const uint8_t *data, size_t len)
{
	struct ringbuf *r = c->state;

	g_mutex_lock(&r->lock);
	for (size_t i = 0; i < len; i++)
		r->data[r->in++ & (r->size - 1)] = data[i];
	if (r->in - r->out > r->size)
		r->out = r->in - r->size;
	g_mutex_unlock(&r->lock);
}

static void ringbuf_close(struct chardev *c)
{
	struct ringbuf *r = c->state;

	stream_destroy(&r->stream);
	g_mutex_clear(&r->lock);
	g_free(r->data);
	g_free(r);
}

static const struct char_kind char_kind_ringbuf = {
	.name = "ringbuf",
	.close = ringbuf_close,
	.put = ringbuf_put,
};

struct chardev *char_open_ringbuf(uint64_t size, GError **error)
{
	struct ringbuf *r;
	struct chardev *c;

	size = size ? size : DEFAULT_SIZE;
	if (size & (size - 1)) {
		kv_fail(error, KV_ERROR_USAGE, "size of ringbuf chardev must be power of two");
		return NULL;
	}
	if (size > 1u << SIZE_MAX_LOG) {
		kv_fail(error, KV_ERROR_USAGE, "size of ringbuf chardev is more than %u bytes", 1u << SIZE_MAX_LOG);
		return NULL;
	}
	c = char_new(&char_kind_ringbuf, char_kind_ringbuf.name);
	r = g_new0(struct ringbuf, 1);
	r->size = size;
	r->data = g_malloc(size);
	g_mutex_init(&r->lock);
	stream_init(&r->stream, c);
	return c;
}

bool char_is_ringbuf(const struct chardev *c)
{
	return c->kind == &char_kind_ringbuf;
}

size_t char_ringbuf_read(struct chardev *c, uint8_t *data, size_t len)
{
	struct ringbuf *r = c->state;
	size_t n = 0;

	g_mutex_lock(&r->lock);
	while (n < len && r->out != r->in)
		data[n++] = r->data[r->out++ & (r->size - 1)];
	g_mutex_unlock(&r->lock);
	return n;
}

/* As QEMU has it: into the same buffer, from which the next one reads. */
void char_ringbuf_write(struct chardev *c, const uint8_t *data, size_t len)
{
	ringbuf_put(c, data, len);
}
