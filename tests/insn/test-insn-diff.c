/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The differential instruction test: every row of x86.tab that user mode can run, many times, and sequences of them, on
 * the host's processor and on engines of the software KVM; registers, defined flags, memory, vector state, exception must
 * agree.
 *
 *   test-insn-diff [--cases N] [--seed S] [--engine NAME]... [--sequences] [--row NAME] [--only N] [--mode 64|32]
 *                  [--jobs N] [--keep-going] [--verbose]
 *
 * Engines are interp, jit, jit:OPTIONS (what KVCORE_JIT takes) and all: the interpreter, and the translator in every way
 * that shall make no difference. Where the host's processor cannot be asked, for its kernel keeps FSGSBASE to itself, the
 * translator has to agree with the interpreter. A divergence prints the case, and the command line that repeats it.
 * The interpreter must agree in flags that are undefined as well, on processors that it has them of (flags.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cpuid.h"
#include "diff.h"
#include "exec-list.h"
#include "host-gs.h"
#include "sys.h"
#include "vector.h"

#define ENGINES_MAX 16
static const char *const all_engines[] = {"interp", "jit", "jit:block=1", "jit:code=64K", "jit:tlb=1", "jit:jumps=0,links=0",
					  "jit:events=4,seed=1,block=5", "jit:flags=0",
					  "jit:paths=1", "jit:paths=1,flags=0", "jit:paths=1,events=4,seed=2"};

static struct {
	u64 cases, seed, only;
	const char *row, *engine[ENGINES_MAX];
	unsigned engines, jobs;
	bool sequences, keep_going, verbose;
} opt = {.cases = 200000, .seed = 1, .only = ~0ull, .jobs = 1};

static struct engine *engines[ENGINES_MAX];
static struct engine *engine; /* the one that is being compared */
static struct engine *reference; /* what they are compared with; NULL: the host's processor */
static bool asks_host;
static struct test_case tc;
static struct outcome want, native, got;
static bool undefined_known; /* the host leaves in undefined flags what flags.h says */
static struct job *job; /* where jobs.c sees how far this process is */

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
	else if (o->cr2 >= 0x7ffffffff000)
		o->error |= 1; /* Linux hides from user mode what its half of the address space maps, and the page below it */
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
	int at = seq_index(&tc, (unsigned)(want.out.rip - tc.at));

	if (undefined_known && !engine_translates(engine))
		return mask;
	if (tc.row) {
		if (want.vector == DONE)
			mask &= ~(u64)d->flags_undef;
	} else if (at >= 0) {
		mask &= ~(u64)seq_undefined(&tc, (unsigned)at);
		if (want.vector != DONE && engine_translates(engine) && strstr(engine_name(engine), "flags=0"))
			mask &= ~(u64)seq_dead(&tc, (unsigned)at);
	}
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

/* Is the operand's offset in its segment, of which the linear address is made, canonical? */
static bool offset_is_canonical(void)
{
	const struct insn *i = &tc.insn;
	u64 a = (u64)i->disp;

	if (i->base < 16)
		a += want.out.gpr[i->base];
	if (i->index < 16)
		a += want.out.gpr[i->index] << i->scale;
	return is_canonical(a);
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
	if (both && (insn_exec(d) == exec_cmps || insn_exec(d) == exec_pusha) && want.vector == got.vector)
		got.cr2 = want.cr2;
	/* an access that wraps at 4 GiB */
	if (both && test_mode != MODE_LONG64 && want.vector == 14 && (got.vector == 13 || got.vector == 12))
		got = want;
	/* FS and GS: AMD's processors look at the offset as well, Intel's at the sum alone */
	if (both && test_mode == MODE_LONG64 && want.vector == 13 && got.vector == 14 && !offset_is_canonical())
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

	printf("DIVERGENCE of %s: %s\n", engine_name(engine), why);
	for (unsigned k = 0; k < (tc.row ? 1 : tc.count); k++) {
		const struct insn *i = tc.row ? &tc.insn : &tc.seq[k];
		unsigned off = tc.row ? 0 : tc.off[k];

		insn_print(i, tc.at + off, text, sizeof(text));
		printf("  %llx  %-40s", (unsigned long long)(tc.at + off), text);
		for (unsigned b = 0; b < i->len; b++)
			printf(" %02x", tc.code[off + b]);
		printf("\n");
	}
	printf("  flags %llx -> %llx, vector %d at %llx\n ", (unsigned long long)tc.in.rflags,
	       (unsigned long long)want.out.rflags, want.vector, (unsigned long long)want.out.rip);
	for (unsigned k = 0; k < 16; k++)
		printf(" r%u=%llx%s", k, (unsigned long long)tc.in.gpr[k], k == 7 ? "\n " : "");
	printf("\n  bases fs %llx gs %llx", (unsigned long long)tc.base[0], (unsigned long long)tc.base[1]);
	printf("\n  again: test-insn-diff --engine %s --mode %s --seed %llu %s %s --only %llu\n", engine_name(engine),
	       test_mode == MODE_LONG64 ? "64" : "32", (unsigned long long)opt.seed, name ? "--row" : "--sequences",
	       name ? name : "", (unsigned long long)n);
	fflush(stdout);
}

static void print_case(u64 n)
{
	char text[128];

	for (unsigned k = 0; k < (tc.row ? 1 : tc.count); k++) {
		insn_print(tc.row ? &tc.insn : &tc.seq[k], tc.at + (tc.row ? 0 : tc.off[k]), text, sizeof(text));
		fprintf(stderr, "%llu: %s\n", (unsigned long long)n, text);
	}
}

/* Processors do not agree about an access that goes around the end of the address space: #GP here, a page fault elsewhere. */
static bool ends_on_top(const struct outcome *a, const struct outcome *b)
{
	return a->vector == 13 && b->vector == 14 && b->cr2 > -(u64)32;
}

/* The case on the host and on every engine. */
static bool run_case(const char *name, u64 n)
{
	char why[256];
	int at;

	if (opt.verbose)
		print_case(n);
	job->number = n;
	job->row = name;
	if (reference)
		engine_run_case(reference, &tc, &native);
	else if (!native_run_case(&tc, &native))
		return true;
	job->done++;
	for (unsigned e = 0; e < opt.engines; e++) {
		engine = engines[e];
		engine_run_case(engine, &tc, &got);
		want = native;
		normalize(&want);
		normalize(&got);
		if (ends_on_top(&want, &got))
			continue;
		at = seq_index(&tc, (unsigned)(want.out.rip - tc.at));
		if (!tc.row && at >= 0 && at < (int)tc.count)
			tc.insn = tc.seq[at];
		if (compare(why, sizeof(why)))
			continue;
		report(why, name, n);
		return false;
	}
	return true;
}

static bool mine(u64 n, unsigned self)
{
	return opt.only != ~0ull ? n == opt.only : n % opt.jobs == self;
}

/* Cases of a row are numbered, so that one can be had again without those before it. */
static bool run_row(unsigned index, u64 count, unsigned self)
{
	const struct insn_row *row = &insn_rows[index];
	unsigned bad = 0;

	for (u64 n = 0; n < count && bad < 3; n++) {
		if (!mine(n, self))
			continue;
		rng_seed(opt.seed * 1000003 + index * 7919ull + n * 104729);
		if (!gen_case(&tc, row) || run_case(insn_name(&insn_descs[row->desc]), n))
			jobs_tick();
		else if (++bad && !opt.keep_going)
			break;
	}
	return !bad;
}

static unsigned run_sequences(unsigned self)
{
	unsigned bad = 0;

	for (u64 n = 0; n < (opt.only != ~0ull ? opt.only + 1 : opt.cases); n++) {
		if (!mine(n, self))
			continue;
		rng_seed(opt.seed * 1000003 + n * 104729 + 1);
		if (!seq_case(&tc) || run_case(NULL, n))
			jobs_tick();
		else if (++bad && !opt.keep_going)
			break;
	}
	return bad;
}

static bool row_runs(const struct insn_row *row)
{
	const struct insn_desc *d = &insn_descs[row->desc];

	return gen_row_usable(row) && engine_has(engines[0], d) && (!opt.row || !strcmp(opt.row, insn_name(d)));
}

static unsigned run_rows(unsigned self)
{
	unsigned failed = 0, rows = 0;
	u64 each;

	for (unsigned r = 0; r < insn_row_count; r++)
		rows += row_runs(&insn_rows[r]);
	each = opt.only != ~0ull ? opt.only + 1 : opt.cases / (rows ? rows : 1) + 1;
	for (unsigned r = 0; r < insn_row_count; r++)
		if (row_runs(&insn_rows[r]) && !run_row(r, each, self)) {
			failed++;
			if (!opt.keep_going)
				break;
		}
	return failed;
}

/* Code memory is shared across fork(): each job opens its own. */
static int open_engines(void)
{
	reference = asks_host ? NULL : engine_open("interp");
	for (unsigned e = 0; e < opt.engines; e++) {
		engines[e] = engine_open(opt.engine[e]);
		if (!engines[e]) {
			printf("the engine %s does not start here\n", opt.engine[e]);
			return strcmp(opt.engine[e], "jit") ? 1 : 77;
		}
	}
	return 0;
}

static int work(unsigned self, struct job *j)
{
	int status = open_engines();

	if (status)
		return status;
	job = j;
	if (opt.sequences)
		seq_init(engines[0]);
	rng_seed(opt.seed);
	gen_init();
	gen_start(&tc);
	return (opt.sequences ? run_sequences(self) : run_rows(self)) != 0;
}

static void add_engine(const char *name)
{
	if (strcmp(name, "all")) {
		if (opt.engines < ENGINES_MAX)
			opt.engine[opt.engines++] = name;
		return;
	}
	for (unsigned n = 0; n < ARRAY_SIZE(all_engines); n++)
		add_engine(all_engines[n]);
}

static void usage(void)
{
	fputs("usage: test-insn-diff [--cases N] [--seed S] [--engine interp|jit|jit:OPTIONS|all]... [--sequences] [--row NAME]\n"
	      "       [--only N] [--mode 64|32] [--jobs N] [--keep-going] [--verbose]\n", stderr);
	exit(2);
}

static void parse_options(int argc, char **argv)
{
	for (int k = 1; k < argc; k++) {
		const char *value = k + 1 < argc ? argv[k + 1] : NULL;
		bool *flag = !strcmp(argv[k], "--keep-going") ? &opt.keep_going :
			     !strcmp(argv[k], "--verbose")    ? &opt.verbose :
			     !strcmp(argv[k], "--sequences")  ? &opt.sequences :
								NULL;

		if (flag) {
			*flag = true;
			continue;
		}
		if (!value)
			usage();
		if (!strcmp(argv[k], "--cases"))
			opt.cases = strtoull(value, NULL, 0);
		else if (!strcmp(argv[k], "--seed"))
			opt.seed = strtoull(value, NULL, 0);
		else if (!strcmp(argv[k], "--only"))
			opt.only = strtoull(value, NULL, 0);
		else if (!strcmp(argv[k], "--jobs"))
			opt.jobs = (unsigned)strtoul(value, NULL, 0);
		else if (!strcmp(argv[k], "--mode"))
			test_mode = strcmp(value, "32") ? MODE_LONG64 : MODE_COMPAT32;
		else if (!strcmp(argv[k], "--row"))
			opt.row = value;
		else if (!strcmp(argv[k], "--engine"))
			add_engine(value);
		else
			usage();
		k++;
	}
	if (!opt.engines)
		add_engine("interp");
	if (!opt.jobs || opt.jobs > JOBS_MAX || (opt.sequences && opt.row))
		usage();
}

static bool leaves_known_flags(void)
{
	u32 r[4];

	sys_cpuid(1, 0, r);
	return cpuid_is_amd() && (r[0] >> 8 & 0xf) + (r[0] >> 20 & 0xff) == 0x19;
}

int main(int argc, char **argv)
{
	int status;
	u64 cases;

	parse_options(argc, argv);
	host_gs_init();
	asks_host = !host_gs_by_kernel;
	if (!asks_host && !strcmp(opt.engine[opt.engines - 1], "interp")) {
		printf("this host's kernel offers no FSGSBASE: the processor cannot be asked with segment bases of our own\n");
		return 77;
	}
	undefined_known = leaves_known_flags();
	if (!asks_host) {
		native_leave_out();
		opt.cases /= 16; /* it says less than the processor would, and takes longer */
	} else if (!native_open()) {
		printf("cannot map the test's addresses\n");
		return 77;
	}
	status = jobs_run(opt.only != ~0ull ? 1 : opt.jobs, opt.cases, work, &cases);
	if (status == 77)
		return status;
	if (!cases) {
		printf("no case for this processor: is there a row %s?\n", opt.row ? opt.row : "at all");
		return 1;
	}
	printf("%s bit, %s: %llu cases on %u engines, they %s %s%s\n", test_mode == MODE_LONG64 ? "64" : "32",
	       opt.sequences ? "sequences" : "every row", (unsigned long long)cases, opt.engines,
	       status ? "DIFFER from" : "agree with", asks_host ? "this processor" : "the interpreter",
	       asks_host && undefined_known ? ", in undefined flags too" : "");
	return status;
}
