/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * AES, PCLMULQDQ and SHA (SDM vol. 2). Reached through the table at the end.
 */
#include "vec.h"

const struct vec_op vec_crypto[INSN_COUNT] = {[INSN_NONE] = {0}};
