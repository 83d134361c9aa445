/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How each row of schema/x86.tab is encoded, for generators (x86-rows.c is made by schema/gen/x86.py). -1: free. */
#pragma once
#include "decode.h"

struct insn_row {
	u16 desc; /* index in insn_descs */
	bool vex;
	u8 map, opcode;
	bool plus;	 /* low three bits of the opcode are a register */
	u8 pfx;		 /* 0 none, 1 66, 2 F3, 3 F2 */
	s8 reg, mod, rm; /* modrm; mod: 0 memory, 1 register */
	s8 w, l, m64, b;
	bool modrm;
};

extern const struct insn_row insn_rows[];
extern const unsigned insn_row_count;
