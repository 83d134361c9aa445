/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What bench/run's vnc shows: text that scrolls, a window that moves, a film, a hundred times a second by the timer (PIT, 8254);
 * or one picture, and sleeps. To the linear memory of a VGA with Bochs' VBE, wherever on PCI bus 0 it is. The first pixel counts
 * frames. Nothing is in memory but the stack: variables are main()'s.
 */
#include <stdint.h>

enum { WIDTH = 1024, HEIGHT = 768, HZ = 100, PIT_HZ = 1193182, LFB = 0xe0000000u };
enum { VECTOR = 0x20, CODE64 = 0x18 /* of start.S */ };
enum { STILL, SCROLL, WINDOW, FILM };
enum { TEXT_WIDTH = 640, TEXT_HEIGHT = 400, TEXT_X = 64, TEXT_Y = 64, GLYPH_WIDTH = 8, GLYPH_HEIGHT = 16 };
enum { WINDOW_WIDTH = 240, WINDOW_HEIGHT = 160, FILM_WIDTH = 480, FILM_HEIGHT = 270, FILM_X = 256, FILM_Y = 256 };

/* Not const, or the compiler would know it. */
__attribute__((section(".work"), used)) volatile const uint8_t work;

__attribute__((visibility("hidden"))) void on_timer(void);
void main(void);
void *memcpy(void *to, const void *from, unsigned long len);

static void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static void out16(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static void out32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static uint32_t in32(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

void *memcpy(void *to, const void *from, unsigned long len)
{
	uint64_t n = len / 4;
	void *at = to;

	__asm__ volatile("rep movsl" : "+D"(at), "+S"(from), "+c"(n) : : "memory");
	return to;
}

static void vbe(uint16_t index, uint16_t value)
{
	out16(0x1ce, index);
	out16(0x1cf, value);
}

/* Configuration mechanism 1 (PCI 3.0, 3.2.2.3.2): the first display controller gets its memory at LFB. */
static void open_screen(void)
{
	for (uint32_t slot = 0; slot < 32; slot++) {
		uint32_t at = 0x80000000u | slot << 11;

		out32(0xcf8, at | 8);
		if (in32(0xcfc) >> 16 != 0x0300)
			continue;
		out32(0xcf8, at | 0x10);
		out32(0xcfc, LFB);
		out32(0xcf8, at | 4);
		out32(0xcfc, 3);
		break;
	}
	vbe(4, 0);
	vbe(1, WIDTH);
	vbe(2, HEIGHT);
	vbe(3, 32);
	vbe(4, 0x41); /* on, linear */
	out8(0x3c0, 0x20); /* and no longer blank: the attribute controller's palette address source */
}

/* The timer's interrupt alone. */
static void open_timer(uint64_t *idt)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} pointer = {(VECTOR + 1) * 16 - 1, (uint64_t)idt};
	uint64_t at = (uint64_t)on_timer;

	idt[2 * VECTOR] = (at >> 16 & 0xffff) << 48 | 0x8e00ull << 32 | CODE64 << 16 | (at & 0xffff);
	idt[2 * VECTOR + 1] = at >> 32;
	__asm__ volatile("lidt %0" : : "m"(pointer) : "memory");
	/* The interrupt controller's line goes through the local APIC. */
	*(volatile uint32_t *)0xfee000f0ull = 0x1ff;
	*(volatile uint32_t *)0xfee00350ull = 0x700;
	out8(0x20, 0x11);
	out8(0x21, VECTOR);
	out8(0x21, 0x04);
	out8(0x21, 0x01);
	out8(0xa1, 0xff);
	out8(0x21, 0xfe);
	out8(0x43, 0x34);
	out8(0x40, (PIT_HZ / HZ) & 0xff);
	out8(0x40, PIT_HZ / HZ >> 8);
}

static uint32_t *pixel(uint32_t x, uint32_t y)
{
	return (uint32_t *)(uint64_t)LFB + y * WIDTH + x;
}

static uint32_t next(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* A desktop of wide stripes. */
static uint32_t backdrop(uint32_t x, uint32_t y)
{
	return 0x203040 + (y / 32) * 0x020204 + (x / 128 & 1) * 0x101010;
}

static void paint_backdrop(uint32_t x0, uint32_t y0, uint32_t width, uint32_t height)
{
	for (uint32_t y = y0; y < y0 + height; y++)
		for (uint32_t x = x0; x < x0 + width; x++)
			*pixel(x, y) = backdrop(x, y);
}

/* Signs of dots at random, with gaps between words and at the end of a line. */
static void paint_text(uint32_t y0, uint32_t *seed)
{
	uint32_t end = TEXT_WIDTH / 4 + next(seed) % (TEXT_WIDTH * 3 / 4);

	for (uint32_t x = 0; x < TEXT_WIDTH; x += GLYPH_WIDTH) {
		uint32_t glyph = x < end && next(seed) % 6 ? next(seed) : 0;

		for (uint32_t y = 0; y < GLYPH_HEIGHT; y++)
			for (uint32_t i = 0; i < GLYPH_WIDTH; i++) {
				uint32_t bit = glyph >> (((y / 3) * 5 + i) % 24) & (y > 2 && y < 14 && i < 7);

				*pixel(TEXT_X + x + i, y0 + y) = bit ? 0xd0d0d0 : 0;
			}
	}
}

static void scroll(uint32_t *seed)
{
	for (uint32_t y = 0; y < TEXT_HEIGHT - GLYPH_HEIGHT; y++)
		memcpy(pixel(TEXT_X, TEXT_Y + y), pixel(TEXT_X, TEXT_Y + y + GLYPH_HEIGHT), TEXT_WIDTH * 4);
	paint_text(TEXT_Y + TEXT_HEIGHT - GLYPH_HEIGHT, seed);
}

static uint32_t bounce(uint32_t n, uint32_t room)
{
	return n % (2 * room) < room ? n % (2 * room) : 2 * room - n % (2 * room);
}

static void paint_window(uint32_t x0, uint32_t y0)
{
	for (uint32_t y = 0; y < WINDOW_HEIGHT; y++)
		for (uint32_t x = 0; x < WINDOW_WIDTH; x++) {
			uint32_t inside = (x ^ y) & 16 && x > 20 && y > 40 && x < 160 ? 0x404040 : 0xf0f0f0;

			*pixel(x0 + x, y0 + y) = y < 20 ? 0x3060c0 : inside;
		}
}

static void move(uint32_t frame)
{
	uint32_t room_x = WIDTH - WINDOW_WIDTH, room_y = HEIGHT - WINDOW_HEIGHT - 1;

	paint_backdrop(bounce((frame - 1) * 5, room_x), 1 + bounce((frame - 1) * 3, room_y), WINDOW_WIDTH, WINDOW_HEIGHT);
	paint_window(bounce(frame * 5, room_x), 1 + bounce(frame * 3, room_y));
}

/* Every pixel is another one, and not noise. */
static void film(uint32_t frame)
{
	for (uint32_t y = 0; y < FILM_HEIGHT; y++)
		for (uint32_t x = 0; x < FILM_WIDTH; x++) {
			uint32_t a = x + frame * 3, b = y * 2 + frame;
			uint32_t c = ((x - FILM_WIDTH / 2) * (y - FILM_HEIGHT / 2) >> 8) + frame * 2;

			*pixel(FILM_X + x, FILM_Y + y) = (a & 0xff) << 16 | (b & 0xff) << 8 | (c & 0xff);
		}
}

void main(void)
{
	uint64_t idt[2 * (VECTOR + 1)];
	uint32_t seed = 1;

	open_screen();
	paint_backdrop(0, 0, WIDTH, HEIGHT);
	for (uint32_t y = 0; y < TEXT_HEIGHT; y += GLYPH_HEIGHT)
		paint_text(TEXT_Y + y, &seed);
	if (work)
		open_timer(idt);
	for (uint32_t frame = 1;; frame++) {
		__asm__ volatile("sti; hlt; cli" : : : "memory");
		if (work == SCROLL)
			scroll(&seed);
		else if (work == WINDOW)
			move(frame);
		else if (work == FILM)
			film(frame);
		if (work)
			*pixel(0, 0) = frame & 0xffffff;
	}
}
