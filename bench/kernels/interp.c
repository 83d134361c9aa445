/* SPDX-License-Identifier: GPL-2.0-or-later */
/* interp: a register machine in one switch runs the sieve of Eratosthenes: an indirect jump for each of its instructions. */
#include "kernels.h"

#define LIMIT (256u << 10)
#define ROUNDS 4

enum op { SET, ADD, ADD_NUMBER, MUL, LESS, LOAD, STORE_ONE, JUMP, JUMP_ZERO, JUMP_NOT_ZERO, HALT };
enum reg { N, MULTIPLE, TOP, COUNT, T };

struct insn {
	u8 op, a, b, c;
};

static const struct insn sieve[] = {
	[0] = { SET, N, 2 },
	[1] = { LESS, T, N, TOP }, /* the next number */
	[2] = { JUMP_ZERO, T, 14 },
	[3] = { LOAD, T, N },
	[4] = { JUMP_NOT_ZERO, T, 12 },
	[5] = { ADD_NUMBER, COUNT, 1 },
	[6] = { MUL, MULTIPLE, N, N },
	[7] = { LESS, T, MULTIPLE, TOP }, /* the next multiple */
	[8] = { JUMP_ZERO, T, 12 },
	[9] = { STORE_ONE, MULTIPLE },
	[10] = { ADD, MULTIPLE, MULTIPLE, N },
	[11] = { JUMP, 0, 7 },
	[12] = { ADD_NUMBER, N, 1 },
	[13] = { JUMP, 0, 1 },
	[14] = { HALT },
};

static __attribute__((noipa)) u64 interpret(const struct insn *program, u8 *memory)
{
	u64 r[8] = { [TOP] = LIMIT };

	for (const struct insn *i = program;; i++) {
		switch ((enum op)i->op) {
		case SET:
			r[i->a] = i->b;
			break;
		case ADD:
			r[i->a] = r[i->b] + r[i->c];
			break;
		case ADD_NUMBER:
			r[i->a] += i->b;
			break;
		case MUL:
			r[i->a] = r[i->b] * r[i->c];
			break;
		case LESS:
			r[i->a] = r[i->b] < r[i->c];
			break;
		case LOAD:
			r[i->a] = memory[r[i->b]];
			break;
		case STORE_ONE:
			memory[r[i->a]] = 1;
			break;
		case JUMP:
			i = program + i->b - 1;
			break;
		case JUMP_ZERO:
			if (!r[i->a])
				i = program + i->b - 1;
			break;
		case JUMP_NOT_ZERO:
			if (r[i->a])
				i = program + i->b - 1;
			break;
		case HALT:
			return r[COUNT];
		}
	}
}

u64 kernel_interp(void *arena)
{
	u8 *memory = arena;
	u64 sum = 0;

	for (unsigned n = 0; n < ROUNDS; n++) {
		for (unsigned i = 0; i < LIMIT; i++)
			memory[i] = 0;
		sum = mix(sum, interpret(sieve, memory));
	}
	return sum;
}
