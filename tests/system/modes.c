/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A boot sector and what it loads: real-mode code that has the BIOS set each video mode, draws in it, with the BIOS and in the
 * screen's memory itself, says so in a letter on the first serial port, and waits for a key. It draws the same each time.
 * Started by modes.py, on kv-vmm and on QEMU, whose pictures have to be the same; modes.py has the steps' names in this order.
 */
#include <stdint.h>

#define SECTORS "16"

asm(".section .boot, \"ax\"\n"
    ".globl boot\n"
    "boot:\n"
    "	cli\n"
    "	xor %ax, %ax\n"
    "	mov %ax, %ds\n"
    "	mov %ax, %es\n"
    "	mov %ax, %ss\n"
    "	mov $0x7c00, %esp\n"
    "	sti\n"
    "	cld\n"
    "	mov $0x0200 + " SECTORS ", %ax\n" /* int 13h: what follows this sector */
    "	mov $0x0002, %cx\n"
    "	mov $0, %dh\n"
    "	mov $0x7e00, %bx\n"
    "	int $0x13\n"
    "	jc .\n"
    "	ljmp $0, $main\n"
    ".org 510\n"
    ".byte 0x55, 0xaa\n"
    ".text\n");

/* What draws where. */
enum model { TEXT, CGA, CGA2, PLANAR, BYTES, MODE_X, VBE };

enum extra { NOTHING, FONT14, FONT8, PAGE, SPLIT, SCROLL };

struct step {
	uint16_t mode;
	uint8_t model, extra;
};

static const struct step steps[] = {
	{0x00, TEXT, NOTHING}, {0x01, TEXT, SCROLL}, {0x02, TEXT, NOTHING}, {0x03, TEXT, SCROLL},
	{0x07, TEXT, NOTHING}, {0x03, TEXT, FONT14}, {0x03, TEXT, FONT8}, {0x03, TEXT, PAGE},
	{0x03, TEXT, SPLIT}, {0x04, CGA, NOTHING}, {0x05, CGA, SCROLL}, {0x06, CGA2, NOTHING},
	{0x0d, PLANAR, NOTHING}, {0x0e, PLANAR, SCROLL}, {0x0f, PLANAR, NOTHING}, {0x10, PLANAR, SPLIT},
	{0x11, PLANAR, NOTHING}, {0x12, PLANAR, NOTHING}, {0x12, PLANAR, SPLIT}, {0x13, BYTES, NOTHING},
	{0x13, BYTES, SCROLL}, {0x13, MODE_X, NOTHING}, {0x13, MODE_X, SPLIT}, {0x100, VBE, NOTHING},
	{0x101, VBE, SCROLL}, {0x10d, VBE, NOTHING}, {0x10e, VBE, NOTHING}, {0x10f, VBE, NOTHING},
	{0x110, VBE, NOTHING}, {0x111, VBE, NOTHING}, {0x112, VBE, NOTHING}, {0x142, VBE, NOTHING},
	{0x03, TEXT, NOTHING},
};

static uint32_t seed;

static uint32_t any(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed;
}

static void out8(uint16_t port, uint8_t v)
{
	asm volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static void out16(uint16_t port, uint8_t index, uint8_t v)
{
	asm volatile("outw %0, %1" : : "a"((uint16_t)(index | v << 8)), "Nd"(port));
}

static uint8_t in8(uint16_t port)
{
	uint8_t v;

	asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

/* Reads, as the latches want it, then writes. */
static void poke(uint16_t segment, uint16_t offset, uint8_t v)
{
	uint8_t was;

	asm volatile("movw %w1, %%fs\n\tmovb %%fs:(%2), %0\n\tmovb %3, %%fs:(%2)"
		     : "=&q"(was)
		     : "r"(segment), "r"((uint32_t)offset), "q"(v)
		     : "memory");
}

static uint16_t video(uint16_t ax, uint16_t bx, uint16_t cx, uint16_t dx)
{
	uint32_t a = ax, b = bx, c = cx, d = dx;

	asm volatile("int $0x10" : "+a"(a), "+b"(b), "+c"(c), "+d"(d) : : "memory", "cc", "esi", "edi");
	return a;
}

/* A letter of the font's halves that have no ninth column of their own: which have one is not the same in all VGAs. */
static uint8_t letter(void)
{
	uint8_t c = any();

	return c >= 0xb0 && c < 0xe0 ? c - 0x50 : c;
}

static void write_text(unsigned n, uint8_t page, uint8_t colors)
{
	while (n--) {
		video(0x0200, page << 8, 0, (any() % 25) << 8 | any() % 40);
		video(0x0900 | letter(), page << 8 | (any() & colors), 1, 0);
	}
}

static void write_dots(unsigned n, uint16_t width, uint16_t height)
{
	while (n--)
		video(0x0c00 | (any() & 0x8f), 0, any() % width, any() % height);
}

static void fill(uint16_t segment, uint16_t size, unsigned n)
{
	while (n--)
		poke(segment, any() % size, any());
}

static void text(uint16_t segment)
{
	for (unsigned i = 0; i < 1500; i++) {
		uint16_t at = (any() % 2000) * 2;

		poke(segment, at, letter());
		poke(segment, at + 1, any());
	}
}

/* All that the graphics controller does with a write: set/reset, functions, rotations, write and read modes, masks. */
static void planes(uint16_t size)
{
	static const uint8_t masks[] = {0x0f, 0x0f, 0, 0x1f, 0, 0, 0, 0x0f, 0xff};

	for (unsigned i = 0; i < 6000; i++) {
		for (unsigned reg = 0; reg < sizeof(masks); reg++)
			if (masks[reg])
				out16(0x3ce, reg, any() & masks[reg]);
		out16(0x3ce, 5, any() & 0x0b);
		out16(0x3c4, 2, any() & 0x0f);
		poke(0xa000, any() % size, any());
	}
	for (unsigned reg = 0; reg < 9; reg++)
		out16(0x3ce, reg, (const uint8_t[]){0, 0, 0, 0, 0, 0, 5, 15, 255}[reg]);
	out16(0x3c4, 2, 15);
}

/* 320 by 200 in four planes, shown from another address. */
static void mode_x(void)
{
	out16(0x3c4, 4, 6);
	out16(0x3d4, 0x14, 0);
	out16(0x3d4, 0x17, 0xe3);
	for (unsigned i = 0; i < 30000; i++) {
		out16(0x3c4, 2, any() & 15);
		poke(0xa000, any() & 0xffff, any());
	}
	out16(0x3c4, 2, 15);
	out16(0x3d4, 0x0c, 0x12);
	out16(0x3d4, 0x0d, 0x34);
}

static void banks(void)
{
	for (unsigned bank = 0; bank < 20; bank++) {
		video(0x4f05, 0, 0, bank);
		for (unsigned i = 0; i < 3000; i++)
			poke(0xa000, any(), any());
	}
	video(0x4f05, 0, 0, 0);
}

static void colors(void)
{
	for (unsigned i = 0; i < 40; i++)
		video(0x1010, any() & 0xff, (any() & 0x3f) << 8 | (any() & 0x3f), (any() & 0x3f) << 8);
}

/*
 * Below line 101 the memory is shown from its beginning, and above it from elsewhere. An odd line: where rows have two lines, a
 * VGA begins a row, and QEMU goes on in the one that it was in.
 */
static void split(void)
{
	out16(0x3d4, 0x0c, 0x01);
	out16(0x3d4, 0x0d, 0x40);
	out16(0x3d4, 0x18, 101);
	out8(0x3d4, 7);
	out8(0x3d5, in8(0x3d5) & ~0x10);
	out8(0x3d4, 9);
	out8(0x3d5, in8(0x3d5) & ~0x40);
}

static void draw(const struct step *s)
{
	switch (s->model) {
	case TEXT:
		video(0x0100, 0, 0x2000, 0); /* no cursor */
		video(0x1003, 0, 0, 0);	     /* no blinking */
		if (s->extra == FONT14)
			video(0x1111, 0, 0, 0);
		if (s->extra == FONT8)
			video(0x1112, 0, 0, 0);
		text(s->mode == 7 ? 0xb000 : 0xb800);
		write_text(100, 0, 0xff);
		if (s->extra == PAGE) {
			write_text(200, 2, 0xff);
			video(0x0502, 0, 0, 0);
		}
		break;
	case CGA:
	case CGA2:
		video(0x0b00, 0x0003, 0, 0);
		video(0x0b00, 0x0101, 0, 0);
		fill(0xb800, 16384, 4000);
		write_dots(500, s->model == CGA ? 320 : 640, 200);
		write_text(100, 0, 0x83);
		break;
	case PLANAR:
		planes(s->mode == 0x0d ? 8000 : s->mode == 0x0e ? 16000 : 37000);
		write_dots(500, s->mode == 0x0d ? 320 : 640, 200);
		write_text(100, 0, 0x8f);
		break;
	case BYTES:
		fill(0xa000, 64000, 20000);
		write_dots(500, 320, 200);
		write_text(100, 0, 0xff);
		break;
	case MODE_X:
		mode_x();
		break;
	default:
		banks();
		write_text(100, 0, 0xff);
	}
	if (s->extra == SCROLL) {
		video(0x0603, 0x1e00, 0x0204, 0x0f20);
		video(0x0702, 0x2c00, 0x1005, 0x1625);
	}
	if (s->extra == SPLIT)
		split();
	colors();
}

void main(void) asm("main");
void main(void)
{
	for (unsigned i = 0;; i++) {
		const struct step *s = &steps[i % (sizeof(steps) / sizeof(steps[0]))];
		uint32_t key = 0;

		seed = 0x1234567 + i;
		if (s->mode < 0x100)
			video(s->mode, 0, 0, 0);
		else if (video(0x4f02, s->mode, 0, 0) != 0x004f)
			out8(0x3f8, '-');
		draw(s);
		out8(0x3f8, '.');
		asm volatile("int $0x16" : "+a"(key) : : "memory", "cc");
	}
}
