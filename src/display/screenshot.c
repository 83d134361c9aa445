/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See screenshot.h. */
#include "screenshot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <png.h>

#include "display.h"
#include "error.h"

static uint8_t *rgb_of(const struct display_surface *s)
{
	uint8_t *rgb = g_malloc((gsize)s->width * s->height * 3), *to = rgb;

	for (uint32_t y = 0; y < s->height; y++) {
		const uint32_t *line = (const void *)((const uint8_t *)s->pixels + (size_t)y * s->stride);

		for (uint32_t x = 0; x < s->width; x++, to += 3) {
			to[0] = (uint8_t)(line[x] >> 16);
			to[1] = (uint8_t)(line[x] >> 8);
			to[2] = (uint8_t)line[x];
		}
	}
	return rgb;
}

static bool write_png(FILE *f, const struct display_surface *s, const uint8_t *rgb)
{
	png_image image = {.version = PNG_IMAGE_VERSION, .width = s->width, .height = s->height, .format = PNG_FORMAT_RGB};

	image.flags = PNG_IMAGE_FLAG_FAST;
	return png_image_write_to_stdio(&image, f, 0, rgb, 0, NULL);
}

static bool write_ppm(FILE *f, const struct display_surface *s, const uint8_t *rgb)
{
	return fprintf(f, "P6\n%u %u\n255\n", s->width, s->height) > 0 &&
	       fwrite(rgb, (size_t)s->width * 3, s->height, f) == s->height;
}

bool screenshot_write(struct display *d, unsigned head, const char *path, bool png, GError **error)
{
	g_autofree uint8_t *rgb = NULL;
	struct display_surface s;
	bool ok, is_file;
	struct stat st;
	FILE *f;

	display_refresh(d, head);
	if (!display_get_surface(d, head, &s))
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "screen %u is off", head);
	rgb = rgb_of(&s);
	f = fopen(path, "we");
	if (!f)
		return kv_fail_errno(error, errno, "cannot write '%s'", path);
	is_file = !fstat(fileno(f), &st) && S_ISREG(st.st_mode);
	errno = EIO;
	ok = png ? write_png(f, &s, rgb) : write_ppm(f, &s, rgb);
	if (fclose(f) || !ok) {
		int err = errno;

		if (is_file)
			unlink(path);
		return kv_fail_errno(error, err, "cannot write '%s'", path);
	}
	return true;
}
