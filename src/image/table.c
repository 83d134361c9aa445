/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The image formats; image_open() looks a name up here, and nothing else decides on a format. */
#include "formats.h"

const struct image_format *const image_formats[] = {
	&image_raw,
	NULL,
};
