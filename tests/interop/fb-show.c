/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For a guest: paints four colors, each on a quarter of the screen, the first one chosen by the argument, and a ramp of grays
 * that no encoding of few colors can carry. Run by vnc-clients.py's guests.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/fb.h>
#include <linux/kd.h>

static const uint32_t colors[] = {0xe02010, 0x20c040, 0x1030d0, 0xf0e040};

static uint32_t color(uint32_t x, uint32_t y, const struct fb_var_screeninfo *v, unsigned first)
{
	if (y >= v->yres / 4 && y < v->yres / 4 + 32)
		return x * 255 / v->xres * 0x010101;
	return colors[(first + (x >= v->xres / 2) + 2 * (y >= v->yres / 2)) % 4];
}

int main(int argc, char **argv)
{
	int fd = open("/dev/fb0", O_RDWR), tty = open("/dev/tty1", O_RDWR);
	unsigned first = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
	struct fb_var_screeninfo v;
	struct fb_fix_screeninfo f;
	uint8_t *mem;

	/* No blinking cursor of the text. */
	if (fd < 0 || tty < 0 || ioctl(tty, KDSETMODE, KD_GRAPHICS) || ioctl(fd, FBIOGET_VSCREENINFO, &v) ||
	    ioctl(fd, FBIOGET_FSCREENINFO, &f) || v.bits_per_pixel != 32) {
		perror("fb-show");
		return 1;
	}
	mem = mmap(NULL, f.smem_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		return 1;
	for (uint32_t y = 0; y < v.yres; y++)
		for (uint32_t x = 0; x < v.xres; x++)
			((uint32_t *)(void *)(mem + y * f.line_length))[x] = color(x, y, &v, first);
	printf("shown %u %u\n", v.xres, v.yres);
	return 0;
}
