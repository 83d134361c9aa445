/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A monitor's description, EDID 1.4 (VESA Enhanced EDID Standard, release A revision 2, section 3): one block, with the preferred
 * size as a detailed timing with reduced blanking. Called by graphics devices.
 */
#include <string.h>

#include "bytes.h"
#include "vga.h"

enum { DPI = 100, MM_PER_10_INCH = 254, REFRESH = 60, H_BLANK = 160, V_BLANK = 30 };

static void put_manufacturer(uint8_t *to, const char *id)
{
	put_be16(to, (uint16_t)((id[0] - '@') << 10 | (id[1] - '@') << 5 | (id[2] - '@')));
}

static uint32_t millimetres(uint32_t pixels)
{
	return pixels * MM_PER_10_INCH / (DPI * 10);
}

/* 18 bytes, section 3.10.2; sizes up to 4095. */
static void put_timing(uint8_t *d, uint32_t width, uint32_t height)
{
	uint32_t clock = (width + H_BLANK) * (height + V_BLANK) / 1000 * REFRESH / 10; /* of 10 kHz */
	uint32_t mm_x = millimetres(width), mm_y = millimetres(height);

	put_le16(d, (uint16_t)MIN(clock, 0xffffu));
	d[2] = (uint8_t)width;
	d[3] = (uint8_t)H_BLANK;
	d[4] = (uint8_t)((width >> 8) << 4 | H_BLANK >> 8);
	d[5] = (uint8_t)height;
	d[6] = (uint8_t)V_BLANK;
	d[7] = (uint8_t)((height >> 8) << 4 | V_BLANK >> 8);
	d[8] = 48; /* sync: after 48 dots, 32 wide; after 3 lines, 6 high */
	d[9] = 32;
	d[10] = 3 << 4 | 6;
	d[12] = (uint8_t)mm_x;
	d[13] = (uint8_t)mm_y;
	d[14] = (uint8_t)((mm_x >> 8) << 4 | mm_y >> 8);
	d[17] = 0x18 | 4 | 2; /* digital separate syncs, both positive */
}

static void put_text(uint8_t *d, uint8_t tag, const char *text)
{
	size_t n = strlen(text);

	memset(d, 0, 5);
	d[3] = tag;
	memset(d + 5, ' ', 13);
	memcpy(d + 5, text, n);
	d[5 + n] = '\n';
}

static void put_ranges(uint8_t *d)
{
	static const uint8_t ranges[18] = {0, 0, 0, 0xfd, 0, 50, 125, 30, 160, 60, 1, '\n', ' ', ' ', ' ', ' ', ' ', ' '};

	memcpy(d, ranges, sizeof(ranges)); /* Hz, kHz, 10 MHz; no formula */
}

/* Width, and height by aspect ratio, both at 60 Hz: section 3.9. */
static void put_standard(uint8_t *to)
{
	static const struct {
		uint16_t width;
		uint8_t aspect; /* 0: 16:10, 1: 4:3, 2: 5:4, 3: 16:9 */
	} modes[8] = {{1920, 3}, {1680, 0}, {1600, 1}, {1440, 0}, {1280, 2}, {1280, 0}, {1280, 3}, {1152, 1}};

	for (unsigned i = 0; i < G_N_ELEMENTS(modes); i++) {
		to[2 * i] = (uint8_t)(modes[i].width / 8 - 31);
		to[2 * i + 1] = (uint8_t)(modes[i].aspect << 6);
	}
}

void vga_edid(uint8_t e[128], uint32_t width, uint32_t height, unsigned number)
{
	char serial[12];

	static const uint8_t header[8] = {0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0};
	/* sRGB: section 3.7 */
	static const uint8_t colors[10] = {0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54};
	uint8_t sum = 0;

	memset(e, 0, 128);
	memcpy(e, header, sizeof(header));
	put_manufacturer(e + 8, "KVS");
	put_le16(e + 10, 1);
	e[16] = 1;
	e[17] = 2024 - 1990;
	e[18] = 1;
	e[19] = 4;
	e[20] = 0xa0; /* digital, 8 bits a color */
	e[21] = (uint8_t)(millimetres(width) / 10);
	e[22] = (uint8_t)(millimetres(height) / 10);
	e[23] = 220 - 100; /* gamma 2.2 */
	e[24] = 0x06;	   /* sRGB; the first timing is the preferred one */
	memcpy(e + 25, colors, sizeof(colors));
	e[35] = 0x21; /* 640x480, 800x600 at 60 Hz */
	e[36] = 0x08; /* 1024x768 */
	put_standard(e + 38);
	put_timing(e + 54, width, height);
	put_text(e + 72, 0xfc, "Kvasir");
	put_ranges(e + 90);
	g_snprintf(serial, sizeof(serial), "%u", number + 1);
	put_text(e + 108, 0xff, serial);
	for (unsigned i = 0; i < 127; i++)
		sum = (uint8_t)(sum + e[i]);
	e[127] = (uint8_t)-sum;
}
