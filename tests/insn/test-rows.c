/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every ordinary vector instruction of schema/x86.tab has a function in the interpreter's tables: this machine's processor,
 * which test-insn-diff compares with, may lack some of them.
 */
#include <stdio.h>
#include "decode.h"
#include "insn-rows.h"
#include "vec.h"

static bool has_own_way(const struct insn_desc *d)
{
	switch (d->op) {
	case INSN_LDMXCSR:
	case INSN_VLDMXCSR:
	case INSN_EMMS:
	case INSN_VZEROUPPER:
	case INSN_VZEROALL:
		return true;
	default:
		return (d->attr & (ATTR_X87 | ATTR_MASKED)) || d->opnd[0].size == SZ_VAR;
	}
}

int main(void)
{
	unsigned missing = 0, vectors = 0;

	for (unsigned n = 0; n < insn_row_count; n++) {
		const struct insn_desc *d = &insn_descs[insn_rows[n].desc];

		if (insn_exec(d) != vector_exec || has_own_way(d))
			continue;
		vectors++;
		if (vec_find(d->op))
			continue;
		printf("%s has no function\n", insn_name(d));
		missing++;
	}
	printf("%u rows, %u without a function\n", vectors, missing);
	return missing || vectors < 500;
}
