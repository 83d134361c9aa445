/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio's GPU as its driver sees it, and what a display shows of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <linux/virtio_config.h>
#include <linux/virtio_gpu.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "bytes.h"
#include "display.h"
#include "devices/virtio-gpu.h"
#include "virtio-rig.h"

enum { CONTROL, CURSOR, REQUEST = RIG_DATA, ANSWER = RIG_DATA + 0x1000, PIXELS = RIG_DATA + 0x10000, SIDE = 32 };
enum { OK = VIRTIO_GPU_RESP_OK_NODATA, NO_ID = VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID,
       NO_HEAD = VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID, NO_PARAMETER = VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER,
       NO_MEMORY = VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY, UNSPEC = VIRTIO_GPU_RESP_ERR_UNSPEC };
enum { BGRA = VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, BGRX = VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM };

/* ---- who looks ---- */

static struct {
	unsigned head, times;
	uint32_t x, y, width, height;
} damage;
static struct display_cursor cursor;
static uint32_t cursor_pixels[64 * 64];
static int32_t cursor_x, cursor_y;
static unsigned surfaces;

static void on_surface(void *opaque, unsigned head, const struct display_surface *s)
{
	surfaces += s->width != 0;
}

static void on_damage(void *opaque, unsigned head, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
	damage.head = head;
	damage.times++;
	damage.x = x;
	damage.y = y;
	damage.width = width;
	damage.height = height;
}

static void on_cursor(void *opaque, unsigned head, const struct display_cursor *c)
{
	cursor = *c;
	if (c->pixels)
		memcpy(cursor_pixels, c->pixels, sizeof(cursor_pixels));
}

static void on_cursor_moved(void *opaque, unsigned head, int32_t x, int32_t y)
{
	cursor_x = x;
	cursor_y = y;
}

static const struct display_viewer viewer = {
	.surface = on_surface, .damage = on_damage, .cursor = on_cursor, .cursor_moved = on_cursor_moved};

/* ---- the driver ---- */

static struct rig rig;

static GVariant *options(void)
{
	return g_variant_new_parsed("{'max_outputs': <uint64 2>, 'xres': <uint64 640>, 'yres': <uint64 480>, "
				    "'max_hostmem': <uint64 1048576>}");
}

static void start(uint64_t features)
{
	assert_true(rig_negotiate(&rig, features));
	rig_queue(&rig, CONTROL, 16);
	rig_queue(&rig, CURSOR, 16);
	rig_driver_ok(&rig);
	rig_run();
}

static void open_class(const char *cls)
{
	rig_open(&rig, cls, options(), NULL);
	memset(&damage, 0, sizeof(damage));
	memset(&cursor, 0, sizeof(cursor));
	display_add_viewer(rig.core.display, &viewer, &rig);
	start(1 << VIRTIO_GPU_F_EDID | 1ull << VIRTIO_RING_F_EVENT_IDX);
}

static int open_gpu(void **state)
{
	open_class("virtio-gpu");
	return 0;
}

static int open_large(void **state)
{
	rig_open(&rig, "virtio-gpu", g_variant_new_parsed("{'max_hostmem': <uint64 67108864>}"), NULL);
	display_add_viewer(rig.core.display, &viewer, &rig);
	start(0);
	return 0;
}

static int open_vga(void **state)
{
	open_class("virtio-vga");
	return 0;
}

static int close_gpu(void **state)
{
	display_remove_viewer(rig.core.display, &rig);
	rig_close(&rig);
	return 0;
}

/* Words behind the header; the type of the answer, whose bytes are at ANSWER. */
static uint32_t command_words(uint32_t type, const uint32_t *words, unsigned n)
{
	struct ring_buf b[2] = {{REQUEST, 24 + 4 * n, false}, {ANSWER, 0x1000, true}};

	memset(rig.ram + REQUEST, 0, 24);
	memset(rig.ram + ANSWER, 0xee, 0x1000);
	put_le32(rig.ram + REQUEST, type);
	for (unsigned i = 0; i < n; i++)
		put_le32(rig.ram + REQUEST + 24 + 4 * i, words[i]);
	assert_in_range(rig_request(&rig, CONTROL, b, 2), 24, 1100);
	return get_le32(rig.ram + ANSWER);
}
#define COMMAND(name, ...) \
	command_words(VIRTIO_GPU_CMD_##name, (const uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}) / 4)

static void cursor_command(uint32_t type, uint32_t head, uint32_t x, uint32_t y, uint32_t id, uint32_t hot_x, uint32_t hot_y)
{
	const uint32_t words[] = {head, x, y, 0, id, hot_x, hot_y, 0};
	struct ring_buf b = {REQUEST, 24 + sizeof(words), false};

	memset(rig.ram + REQUEST, 0, 24);
	put_le32(rig.ram + REQUEST, type);
	for (unsigned i = 0; i < G_N_ELEMENTS(words); i++)
		put_le32(rig.ram + REQUEST + 24 + 4 * i, words[i]);
	assert_int_equal(rig_request(&rig, CURSOR, &b, 1), 0);
}

/* A picture of SIDE x SIDE whose backing is two pieces, which meet inside of a line. */
static void make(uint32_t id, uint32_t format)
{
	const uint32_t first = SIDE * 4 * 5 + 12;

	assert_int_equal(COMMAND(RESOURCE_CREATE_2D, id, format, SIDE, SIDE), OK);
	assert_int_equal(COMMAND(RESOURCE_ATTACH_BACKING, id, 2, PIXELS + 0x2000, 0, first, 0, PIXELS, 0,
				 SIDE * SIDE * 4 - first, 0), OK);
}

static uint8_t *backing(uint32_t x, uint32_t y)
{
	const uint32_t first = SIDE * 4 * 5 + 12, at = (y * SIDE + x) * 4;

	return rig.ram + (at < first ? PIXELS + 0x2000 + at : PIXELS + at - first);
}

static void fill(uint32_t seed)
{
	for (uint32_t y = 0; y < SIDE; y++)
		for (uint32_t x = 0; x < SIDE; x++)
			put_le32(backing(x, y), (seed + y * SIDE + x) * 0x01030507u);
}

static uint32_t pixel(unsigned head, uint32_t x, uint32_t y)
{
	struct display_surface s;

	assert_true(display_get_surface(rig.core.display, head, &s));
	assert_true(x < s.width && y < s.height);
	return *(const uint32_t *)(const void *)((const uint8_t *)s.pixels + (size_t)y * s.stride + x * 4);
}

static void damage_is(unsigned head, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
	display_refresh(rig.core.display, head);
	assert_int_equal(damage.times, 1);
	assert_int_equal(damage.head, head);
	assert_int_equal(damage.x, x);
	assert_int_equal(damage.y, y);
	assert_int_equal(damage.width, width);
	assert_int_equal(damage.height, height);
	damage.times = 0;
}

/* ---- what there is ---- */

static void check_edid(const uint8_t *e, uint32_t width, uint32_t height, char serial)
{
	uint8_t sum = 0;

	for (unsigned i = 0; i < 128; i++)
		sum += e[i];
	assert_int_equal(sum, 0);
	assert_memory_equal(e, "\0\xff\xff\xff\xff\xff\xff\0", 8);
	assert_int_equal(e[54 + 2] | (e[54 + 4] & 0xf0) << 4, width);
	assert_int_equal(e[54 + 5] | (e[54 + 7] & 0xf0) << 4, height);
	assert_int_equal(e[108 + 5], serial);
}

static void check_head(unsigned i, uint32_t x, uint32_t width, uint32_t height)
{
	const uint32_t want[6] = {x, 0, width, height, width ? 1 : 0, 0};

	assert_memory_equal(rig.ram + ANSWER + 24 + 24 * i, want, sizeof(want));
}

static void test_heads(void **state)
{
	assert_int_equal(rig_read(&rig, rig.config + 2, 2), 0x1040 + VIRTIO_ID_GPU);
	assert_int_equal(rig_read(&rig, rig.config + 0xa, 2), 0x0380);
	assert_int_equal(rig_read(&rig, rig.device + 8, 4), 2);
	assert_int_equal(COMMAND(GET_DISPLAY_INFO), VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
	check_head(0, 0, 640, 480);
	check_head(1, 640, 640, 480);
	check_head(2, 0, 0, 0);
	assert_int_equal(COMMAND(GET_EDID, 1, 0), VIRTIO_GPU_RESP_OK_EDID);
	assert_int_equal(get_le32(rig.ram + ANSWER + 24), 128);
	check_edid(rig.ram + ANSWER + 32, 640, 480, '2');
	assert_int_equal(COMMAND(GET_EDID, 2, 0), NO_PARAMETER);
	start(0);
	assert_int_equal(COMMAND(GET_EDID, 1, 0), UNSPEC);
}

static void test_wishes(void **state)
{
	struct display *d = rig.core.display;

	rig_isr(&rig);
	assert_true(display_takes_wishes(d, 1));
	assert_false(display_wish(d, 2, 800, 600));
	assert_true(display_wish(d, 0, 800, 600));
	assert_int_equal(rig_isr(&rig), 2);
	assert_int_equal(rig_read(&rig, rig.device, 4), VIRTIO_GPU_EVENT_DISPLAY);
	assert_true(display_wish(d, 1, 0, 0));
	rig_write(&rig, rig.device, 4, 0);      /* the device's */
	rig_write(&rig, rig.device + 8, 4, 16); /* nobody's */
	assert_int_equal(rig_read(&rig, rig.device, 4), VIRTIO_GPU_EVENT_DISPLAY);
	rig_write(&rig, rig.device + 4, 4, VIRTIO_GPU_EVENT_DISPLAY);
	assert_int_equal(rig_read(&rig, rig.device, 8), 0);
	assert_int_equal(rig_read(&rig, rig.device + 8, 4), 2);
	COMMAND(GET_DISPLAY_INFO);
	check_head(0, 0, 800, 600);
	check_head(1, 0, 0, 0);
	COMMAND(GET_EDID, 0, 0);
	check_edid(rig.ram + ANSWER + 32, 800, 600, '1');
	COMMAND(GET_EDID, 1, 0);
	assert_int_equal(get_le32(rig.ram + ANSWER + 24), 0);
	/* What no EDID could say is not offered; what is there already interrupts nobody. */
	display_wish(d, 0, 100000, 1);
	COMMAND(GET_DISPLAY_INFO);
	check_head(0, 0, 4095, 64);
	rig_isr(&rig);
	display_wish(d, 0, 5000, 60);
	assert_int_equal(rig_isr(&rig) & 2, 0);
	/* Monitors stay where they are. */
	start(1 << VIRTIO_GPU_F_EDID);
	assert_int_equal(rig_read(&rig, rig.device, 4), 0);
	COMMAND(GET_DISPLAY_INFO);
	check_head(0, 0, 4095, 64);
}

/* ---- pictures ---- */

static void test_formats(void **state)
{
	static const struct {
		uint32_t format;
		uint8_t bytes[4]; /* of red 1, green 2, blue 3, alpha 4 */
	} formats[] = {{1, {3, 2, 1, 4}},  {2, {3, 2, 1, 4}},  {3, {4, 1, 2, 3}},   {4, {4, 1, 2, 3}},
		       {67, {1, 2, 3, 4}}, {68, {4, 3, 2, 1}}, {121, {4, 3, 2, 1}}, {134, {1, 2, 3, 4}}};

	for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++) {
		make(1, formats[i].format);
		memcpy(backing(7, 3), formats[i].bytes, 4);
		assert_int_equal(COMMAND(TRANSFER_TO_HOST_2D, 0, 0, SIDE, SIDE, 0, 0, 1, 0), OK);
		assert_int_equal(COMMAND(SET_SCANOUT, 0, 0, SIDE, SIDE, 0, 1), OK);
		assert_int_equal(pixel(0, 7, 3) & 0xffffff, 0x010203);
		assert_int_equal(COMMAND(RESOURCE_UNREF, 1, 0), OK);
	}
	assert_int_equal(COMMAND(RESOURCE_CREATE_2D, 1, 5, SIDE, SIDE), NO_PARAMETER);
}

static void test_picture(void **state)
{
	struct display_surface s;

	make(5, BGRX);
	fill(0);
	assert_false(display_get_surface(rig.core.display, 0, &s));
	assert_int_equal(COMMAND(SET_SCANOUT, 0, 0, SIDE, SIDE, 0, 5), OK);
	damage_is(0, 0, 0, SIDE, SIDE);
	/* A part, from its place in the backing; across the two pieces. */
	assert_int_equal(COMMAND(TRANSFER_TO_HOST_2D, 2, 4, 20, 3, (4 * SIDE + 2) * 4, 0, 5, 0), OK);
	for (uint32_t y = 0; y < SIDE; y++)
		for (uint32_t x = 0; x < SIDE; x++)
			assert_int_equal(pixel(0, x, y),
					 x >= 2 && x < 22 && y >= 4 && y < 7 ? (y * SIDE + x) * 0x01030507u : 0);
	assert_int_equal(COMMAND(RESOURCE_FLUSH, 2, 4, 20, 3, 5, 0), OK);
	assert_int_equal(COMMAND(RESOURCE_FLUSH, 5, 6, 20, 3, 5, 0), OK);
	damage_is(0, 2, 4, 23, 5);
	display_refresh(rig.core.display, 0);
	assert_int_equal(damage.times, 0);
	/* The last pixel is there, and the one behind it is not. */
	assert_int_equal(COMMAND(TRANSFER_TO_HOST_2D, 0, 0, 1, 1, SIDE * SIDE * 4 - 4, 0, 5, 0), OK);
	assert_int_equal(pixel(0, 0, 0), (SIDE * SIDE - 1) * 0x01030507u);
	assert_int_equal(COMMAND(TRANSFER_TO_HOST_2D, 0, 0, 1, 1, SIDE * SIDE * 4 - 3, 0, 5, 0), NO_PARAMETER);
	assert_int_equal(COMMAND(TRANSFER_TO_HOST_2D, 0, 0, 1, 1, -4u, -1u, 5, 0), NO_PARAMETER);
	assert_int_equal(COMMAND(RESOURCE_DETACH_BACKING, 5, 0), OK);
	assert_int_equal(COMMAND(TRANSFER_TO_HOST_2D, 0, 0, 1, 1, 0, 0, 5, 0), UNSPEC);
	assert_int_equal(COMMAND(SET_SCANOUT, 0, 0, 0, 0, 0, 0), OK);
	assert_false(display_get_surface(rig.core.display, 0, &s));
}

/* Both show parts of one picture; a flush is told in each one's own place. */
static void test_two_heads(void **state)
{
	make(1, BGRA);
	fill(7);
	COMMAND(TRANSFER_TO_HOST_2D, 0, 0, SIDE, SIDE, 0, 0, 1, 0);
	assert_int_equal(COMMAND(SET_SCANOUT, 0, 0, 16, SIDE, 0, 1), OK);
	assert_int_equal(COMMAND(SET_SCANOUT, 16, 8, 16, 16, 1, 1), OK);
	assert_int_equal(pixel(0, 15, 9), (7 + 9 * SIDE + 15) * 0x01030507u);
	assert_int_equal(pixel(1, 0, 1), (7 + 9 * SIDE + 16) * 0x01030507u);
	damage_is(0, 0, 0, 16, SIDE);
	damage_is(1, 0, 0, 16, 16);
	COMMAND(RESOURCE_FLUSH, 10, 10, 10, 2, 1, 0);
	damage_is(0, 10, 10, 6, 2);
	damage_is(1, 0, 2, 4, 2);
	COMMAND(RESOURCE_FLUSH, 0, 0, 16, 8, 1, 0);
	damage_is(0, 0, 0, 16, 8);
	display_refresh(rig.core.display, 1);
	assert_int_equal(damage.times, 0);
}

static void test_wrong(void **state)
{
	make(1, BGRA);
	assert_int_equal(COMMAND(RESOURCE_CREATE_2D, 0, BGRA, 16, 16), NO_ID);
	assert_int_equal(COMMAND(RESOURCE_CREATE_2D, 1, BGRA, 16, 16), NO_ID);
	assert_int_equal(COMMAND(RESOURCE_CREATE_2D, 2, BGRA, 0, 16), NO_PARAMETER);
	assert_int_equal(COMMAND(RESOURCE_CREATE_2D, 2, BGRA, 16385, 1), NO_PARAMETER);
	assert_int_equal(COMMAND(RESOURCE_CREATE_2D, 2, BGRA, 16), UNSPEC); /* too short */
	assert_int_equal(COMMAND(RESOURCE_UNREF, 2, 0), NO_ID);
	assert_int_equal(COMMAND(SET_SCANOUT, 0, 0, 16, 16, 2, 1), NO_HEAD);
	assert_int_equal(COMMAND(SET_SCANOUT, 0, 0, 16, 16, 0, 2), NO_ID);
	assert_int_equal(COMMAND(SET_SCANOUT, 0, 0, 15, 16, 0, 1), NO_PARAMETER);
	assert_int_equal(COMMAND(SET_SCANOUT, 17, 0, 16, 16, 0, 1), NO_PARAMETER);
	assert_int_equal(COMMAND(SET_SCANOUT, 0, -16u, 16, 32, 0, 1), NO_PARAMETER);
	assert_int_equal(COMMAND(RESOURCE_FLUSH, 0, 0, 33, 1, 1, 0), NO_PARAMETER);
	assert_int_equal(COMMAND(RESOURCE_FLUSH, 0, 0, 1, 1, 2, 0), NO_ID);
	assert_int_equal(COMMAND(TRANSFER_TO_HOST_2D, 1, 0, 32, 1, 0, 0, 1, 0), NO_PARAMETER);
	assert_int_equal(COMMAND(TRANSFER_TO_HOST_2D, 0, 0, 1, 1, 0, 0, 2, 0), NO_ID);
	assert_int_equal(COMMAND(RESOURCE_ATTACH_BACKING, 1, 1, PIXELS, 0, 64, 0), UNSPEC); /* it has one */
	assert_int_equal(COMMAND(RESOURCE_DETACH_BACKING, 1, 0), OK);
	assert_int_equal(COMMAND(RESOURCE_DETACH_BACKING, 1, 0), UNSPEC);
	assert_int_equal(COMMAND(RESOURCE_ATTACH_BACKING, 2, 1, PIXELS, 0, 64, 0), NO_ID);
	assert_int_equal(COMMAND(RESOURCE_ATTACH_BACKING, 1, 0), NO_PARAMETER);
	assert_int_equal(COMMAND(RESOURCE_ATTACH_BACKING, 1, 2, PIXELS, 0, 64, 0), NO_PARAMETER);
	assert_int_equal(COMMAND(RESOURCE_ATTACH_BACKING, 1, 0x10000001, PIXELS, 0, 64, 0), NO_PARAMETER);
	assert_int_equal(COMMAND(RESOURCE_ATTACH_BACKING, 1, 1, RIG_RAM - 32, 0, 64, 0), NO_PARAMETER);
	assert_int_equal(COMMAND(RESOURCE_ATTACH_BACKING, 1, 1, PIXELS, 0, 0, 0), NO_PARAMETER);
	assert_int_equal(command_words(0x1ff, NULL, 0), UNSPEC);
	assert_int_equal(COMMAND(GET_CAPSET_INFO, 0, 0), UNSPEC);
	assert_int_equal(command_words(0, NULL, 0), UNSPEC);
	assert_int_equal(rig_status(&rig) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
}

/* A megabyte for all of them, their pages' lists included, and what is given back is there again. */
static void test_memory(void **state)
{
	assert_int_equal(COMMAND(RESOURCE_CREATE_2D, 1, BGRA, 512, 512), NO_MEMORY);
	assert_int_equal(COMMAND(RESOURCE_CREATE_2D, 1, BGRA, 512, 511), OK);
	assert_int_equal(COMMAND(RESOURCE_CREATE_2D, 2, BGRA, 512, 1), NO_MEMORY);
	assert_int_equal(COMMAND(RESOURCE_UNREF, 1, 0), OK);
	assert_int_equal(COMMAND(RESOURCE_CREATE_2D, 2, BGRA, 512, 511), OK);
	for (unsigned id = 3;; id++) {
		uint32_t type = COMMAND(RESOURCE_CREATE_2D, id, BGRA, 1, 1);

		assert_true(id < 100);
		if (type == NO_MEMORY)
			break;
		assert_int_equal(type, OK);
	}
	start(0);
	assert_int_equal(COMMAND(RESOURCE_CREATE_2D, 2, BGRA, 512, 511), OK);
}

/* A transfer that finds no more pages at its end has cost as much as one that does: others have their turn after it, too. */
static void test_failed_transfer(void **state)
{
	const struct virtio_gpu *g = (const struct virtio_gpu *)rig.dev;

	assert_int_equal(COMMAND(RESOURCE_CREATE_2D, 1, BGRA, SIDE, SIDE), OK);
	assert_int_equal(COMMAND(RESOURCE_ATTACH_BACKING, 1, 1, PIXELS, 0, SIDE * SIDE * 4 - 4, 0), OK);
	assert_int_equal(COMMAND(TRANSFER_TO_HOST_2D, 0, 0, SIDE, SIDE, 0, 0, 1, 0), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
	assert_int_equal(g->copied, SIDE * SIDE * 4);
}

/* A large screen is copied by who looks: others have their turn before the next one. */
static void test_turn(void **state)
{
	enum { TIMES = 4, WIDTH = 4096, HEIGHT = 2048 };
	uint64_t off;

	assert_int_equal(COMMAND(RESOURCE_CREATE_2D, 1, BGRA, WIDTH + TIMES, HEIGHT), OK);
	for (unsigned i = 0; i < TIMES; i++) {
		uint32_t at = REQUEST + 64 * i, words[6] = {i, 0, WIDTH, HEIGHT, 0, 1};
		struct ring_buf b[2] = {{at, 24 + sizeof(words), false}, {ANSWER, 24, true}};

		memset(rig.ram + at, 0, 24);
		put_le32(rig.ram + at, VIRTIO_GPU_CMD_SET_SCANOUT);
		memcpy(rig.ram + at + 24, words, sizeof(words));
		assert_true(ring_add(&rig.ring[CONTROL], b, 2, 0, &rig));
	}
	assert_true(ring_kick(&rig.ring[CONTROL]));
	rig_write(&rig, rig.common + VIRTIO_PCI_COMMON_Q_SELECT, 2, CONTROL);
	off = rig_read(&rig, rig.common + VIRTIO_PCI_COMMON_Q_NOFF, 2);
	rig_write(&rig, rig.notify + off * rig.notify_multiplier, 2, CONTROL);
	surfaces = 0;
	for (unsigned i = 0; i < TIMES; i++) {
		assert_int_equal(surfaces, i);
		assert_true(g_main_context_iteration(NULL, FALSE));
	}
	assert_int_equal(surfaces, TIMES);
}

static void test_fence(void **state)
{
	struct ring_buf b[2] = {{REQUEST, 24, false}, {ANSWER, 0x1000, true}};

	start(1ull << VIRTIO_F_RING_PACKED | 1ull << VIRTIO_RING_F_INDIRECT_DESC);
	memset(rig.ram + REQUEST, 0, 24);
	put_le32(rig.ram + REQUEST, VIRTIO_GPU_CMD_RESOURCE_UNREF);
	put_le32(rig.ram + REQUEST + 4, VIRTIO_GPU_FLAG_FENCE);
	put_le64(rig.ram + REQUEST + 8, 0x123456789a);
	put_le32(rig.ram + REQUEST + 16, 77);
	assert_int_equal(rig_request(&rig, CONTROL, b, 2), 24);
	assert_int_equal(get_le32(rig.ram + ANSWER), UNSPEC);
	assert_int_equal(get_le32(rig.ram + ANSWER + 4), VIRTIO_GPU_FLAG_FENCE);
	assert_true(get_le64(rig.ram + ANSWER + 8) == 0x123456789a);
	assert_int_equal(get_le32(rig.ram + ANSWER + 16), 77);
	/* An answer goes as far as there is room. */
	put_le32(rig.ram + REQUEST, VIRTIO_GPU_CMD_GET_DISPLAY_INFO);
	b[1].len = 30;
	assert_int_equal(rig_request(&rig, CONTROL, b, 2), 30);
	assert_int_equal(rig_request(&rig, CONTROL, b, 1), 0);
}

/* ---- the cursor ---- */

static void make_cursor(uint32_t id, uint32_t format, uint32_t pixel)
{
	assert_int_equal(COMMAND(RESOURCE_CREATE_2D, id, format, 64, 64), OK);
	assert_int_equal(COMMAND(RESOURCE_ATTACH_BACKING, id, 1, PIXELS, 0, 64 * 64 * 4, 0), OK);
	put_le32(rig.ram + PIXELS + 4 * (64 * 2 + 3), pixel);
	assert_int_equal(COMMAND(TRANSFER_TO_HOST_2D, 0, 0, 64, 64, 0, 0, id, 0), OK);
}

static void test_cursor(void **state)
{
	make_cursor(3, BGRA, 0x80402000);
	cursor_command(VIRTIO_GPU_CMD_UPDATE_CURSOR, 0, 100, 50, 3, 5, 600);
	assert_int_equal(cursor.width, 64);
	assert_int_equal(cursor.hot_x, 5);
	assert_int_equal(cursor.hot_y, 63);
	assert_int_equal(cursor_pixels[64 * 2 + 3], 0x80804000); /* not premultiplied any more */
	assert_int_equal(cursor_pixels[0], 0);
	cursor_command(VIRTIO_GPU_CMD_MOVE_CURSOR, 0, 7, -8u, 3, 0, 0);
	assert_int_equal(cursor_x, 7);
	assert_int_equal(cursor_y, -8);
	make(4, BGRA);
	cursor_command(VIRTIO_GPU_CMD_UPDATE_CURSOR, 0, 0, 0, 4, 1, 1); /* of another size */
	cursor_command(VIRTIO_GPU_CMD_UPDATE_CURSOR, 0, 0, 0, 9, 1, 1);
	cursor_command(VIRTIO_GPU_CMD_UPDATE_CURSOR, 2, 0, 0, 3, 1, 1);
	assert_int_equal(cursor.hot_x, 5);
	/* It is a copy. */
	COMMAND(RESOURCE_UNREF, 3, 0);
	rig_move(&rig, "virtio-gpu", options(), NULL);
	assert_int_equal(cursor.hot_x, 5);
	assert_int_equal(cursor_pixels[64 * 2 + 3], 0x80804000);
	cursor_command(VIRTIO_GPU_CMD_UPDATE_CURSOR, 0, 0, 0, 0, 0, 0);
	assert_null(cursor.pixels);
	make_cursor(5, BGRX, 0x123456);
	cursor_command(VIRTIO_GPU_CMD_UPDATE_CURSOR, 1, 0, 0, 5, 0, 0);
	assert_int_equal(cursor_pixels[64 * 2 + 3], 0xff123456);
	rig_reset(&rig);
	rig_run();
	assert_null(cursor.pixels);
}

/* ---- coming and going ---- */

static void test_reset(void **state)
{
	struct display_surface s;

	make(1, BGRA);
	COMMAND(SET_SCANOUT, 0, 0, SIDE, SIDE, 1, 1);
	assert_true(display_get_surface(rig.core.display, 1, &s));
	rig_reset(&rig);
	rig_run();
	assert_false(display_get_surface(rig.core.display, 1, &s));
	start(0);
	assert_int_equal(COMMAND(RESOURCE_UNREF, 1, 0), NO_ID);
	make(1, BGRA);
	COMMAND(SET_SCANOUT, 0, 0, SIDE, SIDE, 1, 1);
	COMMAND(RESOURCE_UNREF, 1, 0);
	assert_false(display_get_surface(rig.core.display, 1, &s));
}

static void test_move(void **state)
{
	make(1, BGRA);
	make(0xfffffff0, VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM);
	fill(3);
	COMMAND(TRANSFER_TO_HOST_2D, 0, 0, SIDE, SIDE, 0, 0, 1, 0);
	COMMAND(SET_SCANOUT, 4, 4, 20, 20, 1, 1);
	display_wish(rig.core.display, 0, 1000, 700);
	rig_move(&rig, "virtio-gpu", options(), NULL);
	assert_int_equal(pixel(1, 3, 2), (3 + 6 * SIDE + 7) * 0x01030507u);
	assert_int_equal(rig_read(&rig, rig.device, 4), VIRTIO_GPU_EVENT_DISPLAY);
	COMMAND(GET_DISPLAY_INFO);
	check_head(0, 0, 1000, 700);
	fill(4);
	assert_int_equal(COMMAND(TRANSFER_TO_HOST_2D, 0, 0, SIDE, SIDE, 0, 0, 1, 0), OK);
	assert_int_equal(pixel(1, 3, 2), (4 + 6 * SIDE + 7) * 0x01030507u);
	assert_int_equal(COMMAND(RESOURCE_DETACH_BACKING, 0xfffffff0, 0), OK);
}

/* The bytes of a saved field's value, by its name and type, from some place on. */
static uint8_t *value_of(GByteArray *stream, const char *name, unsigned nth)
{
	size_t len = strlen(name);

	for (guint i = 0; i + 1 + len + 5 < stream->len; i++)
		if (stream->data[i] == len && !memcmp(stream->data + i + 1, name, len) && !nth--)
			return stream->data + i + 1 + len + 5;
	fail_msg("no field %s", name);
	return NULL;
}

static uint32_t sum_of(const uint8_t *p, size_t n)
{
	uint32_t h = 2166136261u;

	while (n--)
		h = (h ^ *p++) * 16777619u;
	return h;
}

static void test_wrong_state(void **state)
{
	static const struct {
		const char *name;
		unsigned nth;
		uint32_t value;
	} wrong[] = {{"format", 0, 9},	      {"id", 0, 0},	  {"id", 1, 1},		{"width", 2, 31},
		     {"height", 2, 1 << 30},  {"backing", 0, RIG_RAM}, {"resource", 0, 5}, {"x", 0, 20},
		     {"want_width", 0, 0},    {"want_height", 1, 5000}, {"hot_x", 1, 64}};

	for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
		g_autoptr(GByteArray) stream = g_byte_array_new();
		g_autoptr(GBytes) bytes = NULL;
		g_autoptr(GError) error = NULL;
		struct display_surface s;
		size_t at = 0;

		start(0);
		make(1, BGRA);
		make(2, BGRA);
		COMMAND(SET_SCANOUT, 8, 8, 20, 20, 0, 1);
		rig.dev->cls->pause(rig.dev);
		state_save(stream, rig.dev->cls->state, rig.dev->id, rig.dev);
		put_le32(value_of(stream, wrong[i].name, wrong[i].nth), wrong[i].value);
		put_le32(stream->data + 8, sum_of(stream->data + 12, stream->len - 12));
		bytes = g_bytes_new(stream->data, stream->len);
		if (state_load(bytes, &at, rig.dev->cls->state, rig.dev->id, rig.dev, &error))
			fail_msg("%s is accepted", wrong[i].name);
		assert_non_null(strstr(error->message, "dev0: the saved"));
		assert_false(display_get_surface(rig.core.display, 0, &s));
		rig.dev->cls->reset(rig.dev);
		rig.dev->cls->resume(rig.dev);
		rig_map(&rig);
	}
}

/* ---- the VGA around it ---- */

static void test_vga(void **state)
{
	struct display_surface s;

	assert_int_equal(rig_read(&rig, rig.config + 0xa, 2), 0x0300);
	assert_int_equal(rig_read(&rig, RIG_BAR + 0x500, 2), 0xb0c5); /* the VBE registers' number */
	assert_int_equal(rig_read(&rig, RIG_BAR + 0x600, 4), 8);
	assert_int_equal(rig.common, RIG_BAR + 0x1000);
	assert_int_equal(rig.notify, RIG_BAR + 0x3000);
	display_refresh(rig.core.display, 0);
	assert_true(display_get_surface(rig.core.display, 0, &s));
	assert_int_equal(s.width, 640);
	make(1, BGRA);
	COMMAND(SET_SCANOUT, 0, 0, 0, 0, 0, 0); /* nothing was shown yet: the VGA stays */
	assert_true(display_get_surface(rig.core.display, 0, &s));
	COMMAND(SET_SCANOUT, 0, 0, SIDE, SIDE, 0, 1);
	display_refresh(rig.core.display, 0);
	assert_true(display_get_surface(rig.core.display, 0, &s));
	assert_int_equal(s.width, SIDE);
	/* A mode of Bochs' VBE meanwhile is seen after the driver's end. */
	for (unsigned i = 1; i < 5; i++)
		rig_write(&rig, RIG_BAR + 0x500 + 2 * i, 2, (const uint16_t[]){0, 320, 200, 32, 0x41}[i]);
	rig_move(&rig, "virtio-vga", options(), NULL);
	display_refresh(rig.core.display, 0);
	display_get_surface(rig.core.display, 0, &s);
	assert_int_equal(s.width, SIDE);
	rig_reset(&rig);
	rig_run();
	display_refresh(rig.core.display, 0);
	assert_true(display_get_surface(rig.core.display, 0, &s));
	assert_int_equal(s.width, 640); /* blank: the attribute controller is off */
	assert_false(display_get_surface(rig.core.display, 1, &s));
	assert_int_equal(rig_read(&rig, RIG_BAR + 0x502, 2), 320);
}

/* Registers of a stream that fit no memory are not shown, whether the rest of it is refused or not. */
static void test_wild_vga(void **state)
{
	for (unsigned wrong = 0; wrong < 2; wrong++) {
		g_autoptr(GByteArray) stream = g_byte_array_new();
		g_autoptr(GBytes) bytes = NULL;
		g_autoptr(GError) error = NULL;
		struct display_surface s;
		size_t at = 0;
		uint8_t *vbe;

		rig_write(&rig, RIG_BAR + 0x400, 1, 0x20); /* the attribute controller is on */
		for (unsigned i = 1; i < 5; i++)
			rig_write(&rig, RIG_BAR + 0x500 + 2 * i, 2, (const uint16_t[]){0, 320, 200, 32, 0x41}[i]);
		rig.dev->cls->pause(rig.dev);
		state_save(stream, rig.dev->cls->state, rig.dev->id, rig.dev);
		vbe = value_of(stream, "vbe", 0);
		assert_int_equal(get_le16(vbe + 2), 320);
		for (unsigned i = 1; i < 10; i++)
			if (i != 3 && i != 4)
				put_le16(vbe + 2 * i, 0xfff8);
		if (wrong)
			put_le32(value_of(stream, "want_width", 0), 5000);
		put_le32(stream->data + 8, sum_of(stream->data + 12, stream->len - 12));
		bytes = g_bytes_new(stream->data, stream->len);
		assert_int_equal(state_load(bytes, &at, rig.dev->cls->state, rig.dev->id, rig.dev, &error), !wrong);
		assert_true(display_get_surface(rig.core.display, 0, &s));
		assert_in_range(s.width, 8, 16000);
		assert_in_range((uint64_t)s.stride * s.height, 32, 16 << 20);
		rig.dev->cls->reset(rig.dev);
		rig.dev->cls->resume(rig.dev);
		rig_map(&rig);
	}
}

int main(void)
{
#define GPU(f) cmocka_unit_test_setup_teardown(f, open_gpu, close_gpu)
	const struct CMUnitTest tests[] = {
		GPU(test_heads),  GPU(test_wishes),	GPU(test_formats), GPU(test_picture),	 GPU(test_two_heads),
		GPU(test_wrong),  GPU(test_memory), GPU(test_failed_transfer), GPU(test_fence), GPU(test_cursor), GPU(test_reset),
		GPU(test_move),	GPU(test_wrong_state), cmocka_unit_test_setup_teardown(test_vga, open_vga, close_gpu),
		cmocka_unit_test_setup_teardown(test_turn, open_large, close_gpu),
		cmocka_unit_test_setup_teardown(test_wild_vga, open_vga, close_gpu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
