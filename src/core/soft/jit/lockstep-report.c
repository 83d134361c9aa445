/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What lockstep.c found, on standard error. The guest's vector state is lost by printing, as the run ends anyway. */
#include <stdio.h>
#include "lockstep-state.h"

static const char *const gpr_names[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					 "r8",	"r9",  "r10", "r11", "r12", "r13", "r14", "r15" };

static void line(const char *name, u64 shadow, u64 real, u64 diff)
{
	fprintf(stderr, "%c %-8s %016llx  %016llx\n", diff ? '*' : ' ', name, (unsigned long long)shadow,
		(unsigned long long)real);
}

/* The one at the RIP that was reached, else the last. */
static const struct record *nearest(const struct lockstep *l, const struct cpu *c)
{
	for (u32 n = l->records; n-- > 0;)
		if (l->record[n].rip == c->rip)
			return &l->record[n];
	return &l->record[l->records - 1];
}

static void print_registers(struct lockstep *l, const struct cpu *c, const struct record *r)
{
	fprintf(stderr, "           interpreter       translator\n");
	for (unsigned n = 0; n < 16; n++)
		line(gpr_names[n], r->gpr[n], c->gpr[n], r->gpr[n] ^ c->gpr[n]);
	line("rip", r->rip, c->rip, r->rip ^ c->rip);
	line("rflags", r->rflags, c->rflags, lockstep_flag_difference(l, c, r));
	line("fs base", r->base[0], c->seg[SEG_FS].base, r->base[0] ^ c->seg[SEG_FS].base);
	line("gs base", r->base[1], c->seg[SEG_GS].base, r->base[1] ^ c->seg[SEG_GS].base);
	line("kernelgs", r->base[2], c->kernel_gs_base, r->base[2] ^ c->kernel_gs_base);
	line("view", r->view, c->view, r->view ^ c->view);
}

static void print_vectors(const struct lockstep *l, const struct record *r)
{
	for (unsigned at = 0; r->vectors && at < FPU_AREA_MAX; at += 8) {
		const u8 *a = l->vector[r->vectors - 1] + at, *b = l->vector_real + at;

		if ((at >= 8 && at < FPU_MXCSR) || (at >= FPU_XSTATE_BV && at < FPU_AVX_OFFSET) || !__builtin_memcmp(a, b, 8))
			continue;
		fprintf(stderr, "* vector state at %u: %016llx  %016llx\n", at, (unsigned long long)*(const u64 *)a,
			(unsigned long long)*(const u64 *)b);
	}
}

static void print_memory(struct lockstep *l, const struct record *r)
{
	lockstep_replay(l, r->stores);
	for (u32 n = 0; n < l->words; n++) {
		const struct word *w = &l->word[l->used[n]];

		if (lockstep_word_differs(w))
			fprintf(stderr, "* memory   %016llx  %016llx  at host address %llx, before: %016llx\n",
				(unsigned long long)((w->orig & ~w->mask) | (w->value & w->mask)),
				(unsigned long long)*(const u64 *)(w->key << 3), (unsigned long long)w->key << 3,
				(unsigned long long)w->orig);
	}
}

static void print_code(struct lockstep *l, const struct cpu *c)
{
	char text[96];

	for (u32 n = 0; n < l->records; n++) {
		const struct insn *i = lockstep_decode(l, c, l->record[n].rip);

		if (!i)
			continue;
		insn_print(i, l->record[n].rip, text, sizeof(text));
		fprintf(stderr, "  %016llx  %-44s", (unsigned long long)l->record[n].rip, text);
		for (unsigned k = 0; k < i->len; k++)
			fprintf(stderr, " %02x", i->bytes[k]);
		fputc('\n', stderr);
	}
}

void lockstep_report(struct lockstep *l, const struct cpu *c, unsigned reason)
{
	static const char *const exits[] = { "to the dispatcher", "to the interpreter", "by an edge" };
	static const char *const stops[] = { "at the block's end", "before an instruction to be done once", "at a device",
					     "at a fault", "at a page fault behind stores", "at a fetch" };
	const struct record *r = nearest(l, c);

	fprintf(stderr, "lock-step: block %llu at %llx differs; the interpreter stopped %s, the translator left %s\n",
		(unsigned long long)l->count[COUNT_BLOCKS], (unsigned long long)l->record[0].rip, stops[l->stop],
		reason < ARRAY_SIZE(exits) ? exits[reason] : "");
	print_code(l, c);
	print_registers(l, c, r);
	print_vectors(l, r);
	print_memory(l, r);
	fprintf(stderr, "blocks before, the last one first:");
	for (u32 n = 0; n < STARTS; n++)
		fprintf(stderr, " %llx", (unsigned long long)l->start[(l->count[COUNT_BLOCKS] - n) % STARTS]);
	fputc('\n', stderr);
}

void lockstep_summary(const struct lockstep *l)
{
	static const char *const names[] = { [COUNT_ONCE] = "not to be done twice", [COUNT_STRING] = "inside of REP",
					     [COUNT_PAGING] = "page tables changed", [COUNT_RACED] = "written by a device",
					     [COUNT_UNDEFINED] = "by an undefined flag", [COUNT_SMP] = "not shadowed",
					     [COUNT_DIVERGED] = "different" };
	u64 blocks = l->count[COUNT_BLOCKS] - l->count[COUNT_LEFT_OUT];
	u64 part = l->count[COUNT_COMPARED] * 10000 / (blocks | !blocks);

	fprintf(stderr, "lock-step: %llu blocks, %llu left out; of the others %llu.%02llu %% agree",
		(unsigned long long)l->count[COUNT_BLOCKS], (unsigned long long)l->count[COUNT_LEFT_OUT],
		(unsigned long long)part / 100, (unsigned long long)part % 100);
	for (u32 n = COUNT_ONCE; n < COUNTS; n++)
		fprintf(stderr, ", %llu %s", (unsigned long long)l->count[n], names[n]);
	fputc('\n', stderr);
}
