/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The differential instruction test: every row of x86.tab that user mode can run, many times, on the host's processor
 * and on an engine of the software KVM; registers, defined flags, memory, vector state, exception must agree.
 *
 *   test-insn-diff [--cases N] [--seed S] [--row NAME] [--engine interp|jit] [--mode 64|32] [--keep-going] [--verbose]
 *
 * A divergence prints the case, and the command line that repeats it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "diff.h"
#include "exec-list.h"
#include "vector.h"

static struct {
	u64 cases, seed, only;
	const char *row, *engine;
	bool keep_going, verbose;
} opt = {.cases = 200000, .seed = 1, .engine = "interp", .only = ~0ull};

static struct test_case tc;
static struct outcome want, got;

/* INT3 behind the instruction, or a branch to where nothing can be fetched: both mean that the instruction is done. */
static void normalize(struct outcome *o)
{
	if (o->vector == 3) {
		o->vector = DONE;
		o->out.rip--;
	} else if (o->vector == 14 && o->cr2 == o->out.rip && o->out.rip != tc.at &&
		   (o->out.rip < CODE || o->out.rip >= CODE + 4096 * CODE_PAGES)) {
		o->vector = DONE;
	}
	if (o->vector == DONE)
		o->error = 0;
	if (o->vector != 14)
		o->cr2 = 0;
	else if (o->cr2 >> 47)
		o->error |= 1; /* Linux hides from user mode what its half of the address space maps */
}

static bool compare_vec(char *why, size_t size)
{
	static const struct {
		unsigned at, step, count, bytes;
		const char *name;
	} part[] = {{0, 0, 1, 2, "fcw"},
		    {2, 0, 1, 2, "fsw"},
		    {4, 0, 1, 1, "ftw"},
		    {FPU_MXCSR, 0, 1, 4, "mxcsr"},
		    {FPU_ST, 16, 8, 10, "st"},
		    {FPU_XMM, 16, 16, 16, "xmm"},
		    {FPU_AVX_OFFSET, 16, 16, 16, "ymm-high"}};

	if (!memcmp(want.vec, got.vec, 6) && !memcmp(want.vec + 24, got.vec + 24, 4) &&
	    !memcmp(want.vec + 32, got.vec + 32, 384) && !memcmp(want.vec + 576, got.vec + 576, 256))
		return true;
	for (unsigned p = 0; p < ARRAY_SIZE(part); p++)
		for (unsigned n = 0; n < part[p].count; n++) {
			unsigned at = part[p].at + part[p].step * n;

			if (memcmp(want.vec + at, got.vec + at, part[p].bytes)) {
				u64 a[2] = {0}, b[2] = {0};

				memcpy(a, want.vec + at, part[p].bytes);
				memcpy(b, got.vec + at, part[p].bytes);
				snprintf(why, size, "%s%u: want %016llx%016llx got %016llx%016llx", part[p].name, n,
					 (unsigned long long)a[1], (unsigned long long)a[0], (unsigned long long)b[1],
					 (unsigned long long)b[0]);
				return false;
			}
		}
	return true;
}

static u64 flags_compared(void)
{
	const struct insn_desc *d = tc.insn.d;
	u64 mask = FL_ARITH | FL_DF;

	if (want.vector == DONE)
		mask &= ~(u64)d->flags_undef;
	return mask;
}

/* Instruction and data pointers that the host stored are its own. */
static bool compare_memory(char *why, size_t size)
{
	const struct insn_desc *d = tc.insn.d;

	if (want.vector != DONE && ((d->attr & ATTR_MASKED) || d->opnd[0].size == SZ_VAR))
		return true;
	if (!memcmp(want.data, got.data, DATA_BYTES))
		return true;
	for (unsigned n = 0; n < DATA_BYTES; n++) {
		u64 at = DATA_FIRST + n, base;

		if (want.data[n] == got.data[n])
			continue;
		if (d->opnd[0].size == SZ_VAR) {
			base = (u64)tc.insn.disp + (tc.insn.base == BASE_RIP	? tc.at + tc.insn.len
						    : tc.insn.base == BASE_NONE ? 0
										: tc.in.gpr[tc.insn.base]);
			if (tc.insn.index != BASE_NONE)
				base += tc.in.gpr[tc.insn.index] << tc.insn.scale;
			if (tc.insn.adsize == 4)
				base = (u32)base;
			at -= base;
			if (d->attr & ATTR_X87
				    ? at >= (tc.insn.opsize == 2 ? 6 : 12) && at < (tc.insn.opsize == 2 ? 14 : 28)
				    : (at >= 6 && at < 24) || (at >= 28 && at < 32) || (at >= 416 && at < 512))
				continue;
		}
		snprintf(why, size, "memory at %llx: want %02x got %02x", (unsigned long long)(DATA_FIRST + n),
			 want.data[n], got.data[n]);
		return false;
	}
	return true;
}

/* Where processors themselves differ. */
static void forgive(void)
{
	const struct insn_desc *d = tc.insn.d;
	bool both = want.vector > 0 && got.vector > 0;

	/* which byte of a partial or large access faults first */
	if (both && want.vector == got.vector && ((d->attr & ATTR_MASKED) || d->opnd[0].size == SZ_VAR)) {
		got.cr2 = want.cr2;
		got.error = want.error;
	}
	/* an address that is neither aligned nor canonical; CMPS with two bad addresses */
	if (both && (d->opnd[0].size == SZ_VAR || (d->attr & ATTR_ALIGN)) && want.vector + got.vector == 12 + 13)
		got.vector = want.vector;
	if (both && (d->exec == exec_cmps || d->exec == exec_pusha) && want.vector == got.vector)
		got.cr2 = want.cr2;
	/* an access that wraps at 4 GiB */
	if (both && test_mode != MODE_LONG64 && want.vector == 14 && got.vector == 13)
		got = want;
	/* a call to nowhere with a bad stack: which of the two is found first */
	if (both && d->kind == KIND_CALL) {
		got.vector = want.vector;
		got.cr2 = want.cr2;
		got.error = want.error;
	}
}

static bool compare(char *why, size_t size)
{
	static const char *const name[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					   "r8",  "r9",	 "r10", "r11", "r12", "r13", "r14", "r15"};
	bool faulted = want.vector != DONE;

	forgive();
	/* MASKMOV of bytes that no access needs: a processor may look at them all the same */
	if ((tc.insn.d->attr & ATTR_MASKED) && want.vector == 14 && got.vector == DONE)
		return true;
	if (want.vector != got.vector || want.error != got.error || want.cr2 != got.cr2) {
		snprintf(why, size, "exception: want %d error %x cr2 %llx got %d error %x cr2 %llx", want.vector,
			 want.error, (unsigned long long)want.cr2, got.vector, got.error, (unsigned long long)got.cr2);
		return false;
	}
	for (unsigned n = 0; n < 16; n++)
		if ((want.out.gpr[n] ^ got.out.gpr[n]) & (test_mode == MODE_LONG64 ? ~0ull : 0xffffffff)) {
			snprintf(why, size, "%s: want %llx got %llx", name[n], (unsigned long long)want.out.gpr[n],
				 (unsigned long long)got.out.gpr[n]);
			return false;
		}
	if (want.out.rip != got.out.rip) {
		snprintf(why, size, "rip: want %llx got %llx", (unsigned long long)want.out.rip,
			 (unsigned long long)got.out.rip);
		return false;
	}
	if ((want.out.rflags ^ got.out.rflags) & flags_compared()) {
		snprintf(why, size, "flags: want %llx got %llx", (unsigned long long)want.out.rflags,
			 (unsigned long long)got.out.rflags);
		return false;
	}
	if (faulted && (tc.insn.d->attr & ATTR_MASKED))
		return true; /* elements before the fault may be done or not */
	return compare_memory(why, size) && compare_vec(why, size);
}

static void report(const char *why, const char *name, u64 n)
{
	char text[128];

	insn_print(&tc.insn, tc.at, text, sizeof(text));
	printf("DIVERGENCE %s: %s\n  ", text, why);
	for (unsigned k = 0; k < tc.insn.len; k++)
		printf("%02x ", tc.bytes[k]);
	printf("at %llx, flags %llx -> %llx, vector %d\n ", (unsigned long long)tc.at, (unsigned long long)tc.in.rflags,
	       (unsigned long long)want.out.rflags, want.vector);
	for (unsigned k = 0; k < 16; k++)
		printf(" r%u=%llx%s", k, (unsigned long long)tc.in.gpr[k], k == 7 ? "\n " : "");
	printf("\n  again: test-insn-diff --engine %s --mode %s --seed %llu --row %s --only %llu\n", opt.engine,
	       test_mode == MODE_LONG64 ? "64" : "32", (unsigned long long)opt.seed, name, (unsigned long long)n);
	fflush(stdout);
}

/* Cases of a row are numbered, so that one can be had again without those before it. */
static bool run_row(const struct insn_row *row, unsigned index, u64 count, engine_fn *engine, u64 *ret_done)
{
	const struct insn_desc *d = &insn_descs[row->desc];
	unsigned bad = 0;
	char why[256];

	for (u64 n = 0; n < count; n++) {
		if (opt.only != ~0ull && n != opt.only)
			continue;
		rng_seed(opt.seed * 1000003 + index * 7919ull + n * 104729);
		if (!gen_case(&tc, row))
			continue;
		if (opt.verbose) {
			insn_print(&tc.insn, tc.at, why, sizeof(why));
			fprintf(stderr, "%s %llu: %s\n", d->name, (unsigned long long)n, why);
		}
		if (!native_run_case(&tc, &want) || !engine(&tc, &got))
			return false;
		normalize(&want);
		normalize(&got);
		++*ret_done;
		if (compare(why, sizeof(why)))
			continue;
		report(why, d->name, n);
		if (!opt.keep_going || ++bad >= 3)
			return false;
	}
	return !bad;
}

static void parse_options(int argc, char **argv)
{
	for (int k = 1; k < argc; k++) {
		const char *value = k + 1 < argc ? argv[k + 1] : "";

		if (!strcmp(argv[k], "--keep-going")) {
			opt.keep_going = true;
			continue;
		}
		if (!strcmp(argv[k], "--verbose")) {
			opt.verbose = true;
			continue;
		}
		if (!strcmp(argv[k], "--cases"))
			opt.cases = strtoull(value, NULL, 0);
		else if (!strcmp(argv[k], "--seed"))
			opt.seed = strtoull(value, NULL, 0);
		else if (!strcmp(argv[k], "--only"))
			opt.only = strtoull(value, NULL, 0);
		else if (!strcmp(argv[k], "--mode"))
			test_mode = strcmp(value, "32") ? MODE_LONG64 : MODE_COMPAT32;
		else if (!strcmp(argv[k], "--row"))
			opt.row = value;
		else if (!strcmp(argv[k], "--engine"))
			opt.engine = value;
		else
			exit(2);
		k++;
	}
}

int main(int argc, char **argv)
{
	unsigned rows = 0, failed = 0;
	bool jit;
	u64 done = 0, each;

	parse_options(argc, argv);
	jit = !strcmp(opt.engine, "jit");
	if (!native_open()) {
		printf("cannot map the test's addresses\n");
		return 77;
	}
	if (!guest_open(jit)) {
		printf("the %s engine does not start here\n", opt.engine);
		return jit ? 77 : 1;
	}
	rng_seed(opt.seed);
	gen_init();
	gen_start(&tc);
	for (unsigned r = 0; r < insn_row_count; r++)
		rows += gen_row_usable(&insn_rows[r]);
	each = opt.cases / (rows ? rows : 1) + 1;
	if (opt.only != ~0ull)
		each = opt.only + 1;
	for (unsigned r = 0; r < insn_row_count; r++) {
		const struct insn_row *row = &insn_rows[r];
		const struct insn_desc *d = &insn_descs[row->desc];

		if (!gen_row_usable(row) || !guest_has(d) || (opt.row && strcmp(opt.row, d->name)))
			continue;
		if (run_row(row, r, opt.row ? each * 16 : each, jit ? jit_run_case : interp_run_case, &done))
			continue;
		failed++;
		if (!opt.keep_going)
			break;
	}
	printf("%s, %s bit: %llu cases of %u rows agree with this processor, %u rows differ\n", opt.engine,
	       test_mode == MODE_LONG64 ? "64" : "32", (unsigned long long)done, rows, failed);
	return failed != 0;
}
