/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Any bytes through the decoder in every mode: it must not read beyond its input, must answer the same with less or
 * more bytes behind the instruction, and must give registers, sizes and lengths that its users can trust. Printed as
 * well.
 */
#include <stdlib.h>
#include <string.h>
#include "decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok)
{
	if (!ok)
		abort();
}

static void check_fields(const struct insn *i)
{
	demand(i->len >= 1 && i->len <= INSN_MAX);
	demand(i->d->nopnd <= 4 && insn_exec(i->d) && i->d->op < INSN_COUNT);
	demand(i->opsize == 2 || i->opsize == 4 || i->opsize == 8);
	demand(i->adsize == 2 || i->adsize == 4 || i->adsize == 8);
	demand(i->reg < 16 && i->rm < 16 && i->vvvv < 16 && i->seg <= SEG_GS && i->scale < 4);
	if (i->mem)
		demand((i->base <= BASE_RIP || i->base == BASE_NONE) && (i->index < 16 || i->index == BASE_NONE));
	demand(i->mem_size <= 64 && (i->mem_size == 0 || i->mem_acc));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (int mode = MODE_REAL; mode <= MODE_LONG64; mode++) {
		size_t n = size < 32 ? size : 32;
		uint8_t *exact = malloc(n ? n : 1); /* so that a sanitizer sees a read beyond the end */
		enum decode_result res;
		struct insn i, again;
		char text[96];

		if (n)
			memcpy(exact, data, n);
		res = insn_decode(&i, exact, n, (enum cpu_mode)mode);
		if (res == DECODE_OK) {
			check_fields(&i);
			insn_print(&i, 0x1000, text, sizeof(text));
			demand(strlen(text) < sizeof(text));
			demand(insn_decode(&again, i.bytes, i.len, (enum cpu_mode)mode) == DECODE_OK &&
			       again.d == i.d && again.len == i.len && again.imm == i.imm && again.disp == i.disp);
		}
		free(exact);
	}
	return 0;
}
