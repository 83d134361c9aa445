/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernels in the order in which they run and are reported. */
#include "kernels.h"

const struct kernel bench_kernels[] = {
	{ "sort", kernel_sort },
	{ "hash", kernel_hash },
	{ "lz", kernel_lz },
	{ "tree", kernel_tree },
	{ "sha", kernel_sha },
	{ "call", kernel_call },
	{ "interp", kernel_interp },
	{ "strm", kernel_strm },
	{ "mm", kernel_mm },
	{ 0 },
};
