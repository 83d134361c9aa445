/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands of kv-img: main.c looks a name up here, gen-completion.c prints them. */
#include "img.h"

const struct img_command *const img_commands[] = {
	&img_amend, &img_bench, &img_bitmap, &img_check,   &img_commit, &img_compare, &img_convert,  &img_create,
	&img_dd,    &img_info,	&img_map,    &img_measure, &img_rebase, &img_resize,  &img_serve,   &img_snapshot, NULL,
};
