/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kv-img bitmap: QEMU has it; there are no bitmaps here yet, and it says so. */
#include "img.h"

static const struct img_option options[] = {
	{},
};

static int bitmap(struct img_args *args)
{
	return img_fail("bitmap: dirty bitmaps are not supported; use qemu-img bitmap");
}

const struct img_command img_bitmap = {"bitmap", "...", "dirty bitmaps; not supported", options, bitmap};
