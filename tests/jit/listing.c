/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * jit-listing: prints what the translator makes of the guest code sequences in sequences.S, or of the bytes in a file, as
 * text that is the same on every machine and for every layout of structures and stubs. golden.py compares it.
 *
 * A sequence lies in a page of its own; its block is made by block_translate() as run.c would, and never run. So no page
 * tables or guest memory are needed, and the host's processor does not matter.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include "listing.h"

#define GPA 0x10000u /* of the page */
#define LINE 64

extern const struct sequence sequences[];

static struct vm *vm;
static struct cpu *c;
static u8 pages[2 * PAGE_SIZE] __attribute__((aligned(4096)));
static struct listing now; /* the emitters below have no other way to it */

static bool fail(const char *cause)
{
	fprintf(stderr, "jit-listing: %s: %s\n", now.s->name, cause);
	return false;
}

static void begins(const struct tx *t)
{
	now.begin[t->k] = t->e.p;
}

/* In place of the translator's emitters (-Wl,--wrap). */
#define EMITTER(name)                                                \
	bool __real_##name(struct tx *t, const struct insn *i);      \
	bool __wrap_##name(struct tx *t, const struct insn *i);      \
	bool __wrap_##name(struct tx *t, const struct insn *i)       \
	{                                                            \
		begins(t);                                           \
		return __real_##name(t, i);                          \
	}
EMITTER(copy_insn)
EMITTER(lea_insn)
EMITTER(push_insn)
EMITTER(pop_insn)
EMITTER(leave_insn)
EMITTER(bits_insn)
EMITTER(string_insn)
EMITTER(transfer_insn)
EMITTER(system_insn)

void __real_branch_insn(struct tx *t, const struct insn *i);
void __wrap_branch_insn(struct tx *t, const struct insn *i);
void __wrap_branch_insn(struct tx *t, const struct insn *i)
{
	begins(t);
	__real_branch_insn(t, i);
}

void __real_inplace_insn(struct tx *t, const struct insn *i, bool ends_block);
void __wrap_inplace_insn(struct tx *t, const struct insn *i, bool ends_block);
void __wrap_inplace_insn(struct tx *t, const struct insn *i, bool ends_block)
{
	begins(t);
	__real_inplace_insn(t, i, ends_block);
}

void __real_branch_sides(struct tx *t);
void __wrap_branch_sides(struct tx *t);
void __wrap_branch_sides(struct tx *t)
{
	now.out_of_line = t->e.p;
	__real_branch_sides(t);
}

static bool open_vm(void)
{
	struct vcpu *v;

	unsetenv("KVCORE_JIT");
	if (vm_create(&vm) || vcpu_create(vm, 0, &v)) {
		fprintf(stderr, "jit-listing: no VM can be made\n");
		exit(1);
	}
	c = &v->cpu;
	c->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXSAVE | CR4_FSGSBASE | CR4_SMEP | CR4_SMAP;
	return vm->jit;
}

/* The page around the sequence: nothing runs into it, and what follows reads flags or overwrites them. */
static bool put_code(const struct sequence *s, size_t size)
{
	static const u8 xor_eax[] = { 0x31, 0xc0 };

	if (s->at >= PAGE_SIZE || size > sizeof(pages) - s->at)
		return fail("does not fit into its page");
	memset(pages, 0xcc, sizeof(pages));
	memcpy(pages + s->at, s->code, size);
	for (size_t at = s->at + size; s->flags_dead && at + sizeof(xor_eax) <= sizeof(pages); at += sizeof(xor_eax))
		memcpy(pages + at, xor_eax, sizeof(xor_eax));
	return true;
}

/* At most `limit` instructions, with nothing else translated, and at a place that does not depend on the stubs' size. */
static struct block *translate(const struct sequence *s, u8 key, u32 limit)
{
	struct jit *j = vm->jit;
	struct block_source src = { .host = pages, .next_host = pages + PAGE_SIZE, .offset = (u16)s->at, .key = key };

	jit_flush(j);
	memset(now.begin, 0, sizeof(now.begin));
	j->code_used = (j->code_base + LINE - 1) & ~(LINE - 1u);
	j->options.block = limit;
	src.page = page_create(j, GPA);
	src.next = page_create(j, GPA + PAGE_SIZE);
	return block_translate(j, c, &src);
}

/* A block goes on behind the sequence unless it is stopped. */
static u32 insns_inside(size_t size)
{
	const struct tx *t = vm->jit->tx;
	u32 n = 0;

	while (n < t->n && (size_t)(t->off[n] - now.s->at) < size)
		n++;
	return n;
}

static bool check_marks(void)
{
	const struct tx *t = vm->jit->tx;

	for (u32 k = 0; k < t->n; k++)
		if (!now.begin[k] && t->insn[k].d->kind != KIND_NOP)
			return fail("an emitter of translate.c is not among those that meson.build wraps");
	return true;
}

static bool list(const struct sequence *s, size_t size)
{
	u8 view = 0, key;
	char text[64];

	now.s = s;
	now.failed = false;
	while (view < JUMP_TABLES && strcmp(view_names[view], s->view))
		view++;
	if (view == JUMP_TABLES)
		return fail("its view is none of kernel, kernel-ac, user, or one of them with -32");
	key = (u8)(view % VIEW_COUNT | KEY_VEC | (view < VIEW_COUNT ? 0 : KEY_32));
	if (!put_code(s, size))
		return false;
	now.t = vm->jit->tx;
	if (!translate(s, key, BLOCK_INSNS) || !(now.b = translate(s, key, insns_inside(size))))
		return fail("is not translated");
	if (!now.t->n || now.t->end != (s64)(s->at + size)) {
		snprintf(text, sizeof(text), "is not one block, which ends at +%x: let it end there", (unsigned)now.t->end);
		return fail(text);
	}
	if (!check_marks())
		return false;
	list_block(&now);
	return !now.failed;
}

static int list_table(void)
{
	int status = 0;

	for (const struct sequence *s = sequences; s->name; s++) {
		if (s->view)
			status |= !list(s, (size_t)(s[1].code - s->code));
		else
			printf("=== %s\n", s->name);
	}
	return status;
}

static int list_file(const char *path, const char *view, u32 at)
{
	u8 bytes[PAGE_SIZE];
	struct sequence s = { .name = path, .code = bytes, .view = view, .at = at };
	FILE *f = fopen(path, "rb");
	size_t size = f ? fread(bytes, 1, sizeof(bytes), f) : 0;

	if (f)
		fclose(f);
	if (size)
		return !list(&s, size);
	fprintf(stderr, "jit-listing: %s: no bytes can be read from it\n", path);
	return 1;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "view", 1, NULL, 'v' }, { "at", 1, NULL, 'a' }, { 0 } };
	const char *view = "user";
	u32 at = 0x100;
	bool bad = false;
	int option, status;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'v')
			view = optarg;
		else if (option == 'a')
			at = (u32)strtoul(optarg, NULL, 0);
		else
			bad = true;
	}
	if (argc - optind > 1 || bad) {
		fprintf(stderr, "usage: jit-listing [[--view kernel|kernel-ac|user[-32]] [--at OFFSET] FILE]\n"
				"FILE: bytes of 64-bit code, or 32-bit with -32, one block; without it, all sequences\n");
		return 2;
	}
	if (!open_vm()) {
		fprintf(stderr, "jit-listing: no translator\n");
		return 1;
	}
	now.out = stdout;
	status = optind < argc ? list_file(argv[optind], view, at) : list_table();
	vm_put(vm);
	return status;
}
