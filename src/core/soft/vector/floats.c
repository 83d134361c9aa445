/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Floating point of SSE, AVX, FMA and F16C (SDM vol. 2). Reached through the table at the end.
 */
#include "vec.h"

const struct vec_op vec_floats[INSN_COUNT] = {[INSN_NONE] = {0}};
