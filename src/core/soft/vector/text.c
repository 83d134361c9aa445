/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PCMPESTRI and its fellows (SDM vol. 2). Reached through the table at the end.
 */
#include "vec.h"

const struct vec_op vec_text[INSN_COUNT] = {[INSN_NONE] = {0}};
