/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The image formats, in the order in which they are guessed; image_open() looks a name up here, and nothing else decides. */
#include "format.h"

const struct image_format *const image_formats[] = {
	&image_qcow2,
	&image_raw,
	&image_vmdk,
	&image_vpc,
	&image_vhdx,
	&image_vdi,
	NULL,
};
