/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Instructions that only rearrange elements: shuffles, unpacks, blends, permutes, broadcasts (SDM vol. 2).
 * Reached through the table at the end.
 */
#include "vec.h"

const struct vec_op vec_shuffles[INSN_COUNT] = {[INSN_NONE] = {0}};
