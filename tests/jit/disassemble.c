/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Prints a translated block (listing.c): guest instructions as comments, host instructions by Zydis with names for what
 * depends on the build or the run (labels, stubs, fields of struct cpu, records), and the data behind calls decoded.
 */
#include <Zydis/Zydis.h>
#include <stdarg.h>
#include "listing.h"

enum data { DATA_NONE, DATA_SLOW, DATA_LINK, DATA_OFFSET };

/* A host instruction, or the call of a stub with the data behind it. */
struct item {
	u32 at, len; /* in the code memory; len without the data */
	ZydisDecodedInstruction z;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	const u8 *target; /* of a direct jump or call */
	enum data data;
};

#define LABELS_MAX 512
struct label {
	u32 at;
	const char *kind;
	u32 number; /* 0: none */
};

/* What the formatter's hooks are told. */
struct view {
	struct listing *l;
	bool guest;
	struct label label[LABELS_MAX];
	u32 labels;
	ZydisDecoder decoder, guest_decoder;
	ZydisFormatter formatter;
};

/* ---- labels ---- */

static const struct jit *jit(const struct view *v)
{
	return v->l->t->j;
}

static void unknown(struct view *v, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "jit-listing: %s: ", v->l->s->name);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	v->l->failed = true;
}

static bool in_block(const struct view *v, const u8 *code)
{
	const u8 *start = jit(v)->code_x + v->l->b->start;

	return code >= start && code < jit(v)->code_x + v->l->b->code_end;
}

static struct label *label_find(struct view *v, u32 at)
{
	for (u32 n = 0; n < v->labels; n++)
		if (v->label[n].at == at)
			return &v->label[n];
	return NULL;
}

static void label_add(struct view *v, const u8 *code, const char *kind)
{
	u32 at = (u32)(code - jit(v)->code_x);

	if (in_block(v, code) && v->labels < LABELS_MAX && !label_find(v, at))
		v->label[v->labels++] = (struct label){ .at = at, .kind = kind };
}

static const char *label_text(const struct label *l, char *buf, size_t size)
{
	snprintf(buf, size, l->number ? "%s%u" : "%s", l->kind, l->number);
	return buf;
}

/* The name of an address in the code memory. */
static const char *code_name(struct view *v, const u8 *code, char *buf, size_t size)
{
	const struct label *l = in_block(v, code) ? label_find(v, (u32)(code - jit(v)->code_x)) : NULL;
	const char *stub = stub_name(jit(v), code, buf, size);

	if (l)
		return label_text(l, buf, size);
	if (!stub)
		unknown(v, "code goes to what is neither in the block nor a stub that names.c knows");
	return stub ? stub : "?";
}

/* ---- host instructions ---- */

static bool is_slow_stub(const struct jit *j, const u8 *code)
{
	const u8 *const *stub = &j->stub_slow[0][0][0];

	for (size_t n = 0; n < sizeof(j->stub_slow) / sizeof(*stub); n++)
		if (stub[n] == code)
			return true;
	return false;
}

static enum data data_behind(const struct jit *j, const u8 *code)
{
	if (is_slow_stub(j, code) || code == j->stub_alone)
		return DATA_SLOW;
	if (code == j->stub_link[FLAGS_HOST] || code == j->stub_link[FLAGS_SAVED])
		return DATA_LINK;
	return code == j->stub_interp_at || code == j->stub_dispatch_at || code == j->stub_hot_at ? DATA_OFFSET : DATA_NONE;
}

static bool item_at(struct view *v, u32 at, struct item *ret)
{
	const struct jit *j = jit(v);
	u32 end = v->l->b->code_end;

	*ret = (struct item){ .at = at };
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&v->decoder, j->code_w + at, end - at, &ret->z, ret->op))) {
		unknown(v, "host code does not decode at %u of its %u bytes", at - v->l->b->start, end - v->l->b->start);
		return false;
	}
	ret->len = ret->z.length;
	if (ret->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && ret->op[0].imm.is_relative)
		ret->target = j->code_x + at + ret->len + ret->op[0].imm.value.s;
	if (ret->target && ret->z.mnemonic == ZYDIS_MNEMONIC_CALL)
		ret->data = data_behind(j, ret->target);
	return true;
}

static const void *item_data(const struct view *v, const struct item *i)
{
	return jit(v)->code_w + i->at + i->len;
}

static u32 item_end(const struct view *v, const struct item *i)
{
	static const u8 size[] = { [DATA_SLOW] = offsetof(struct slow_info, alone),
				   [DATA_LINK] = sizeof(struct link),
				   [DATA_OFFSET] = 2 };
	const struct slow_info *s = item_data(v, i);

	return i->at + i->len + (i->data == DATA_SLOW && (s->what & SLOW_GROUP) ? (u32)sizeof(*s) : size[i->data]);
}

static const u8 *retry_target(const struct view *v, const struct item *i)
{
	const struct slow_info *s = item_data(v, i);

	return jit(v)->code_x + i->at + i->len + s->retry;
}

/* A target is called after what it does, if that is one call of a stub. */
static const char *kind_at(struct view *v, u32 at)
{
	static const char *const kinds[] = { "L", "slow", "link", NULL };
	struct item i;

	if (!item_at(v, at, &i) || i.data == DATA_NONE)
		return "L";
	if (i.data == DATA_OFFSET)
		return i.target == jit(v)->stub_interp_at ? "interp" : i.target == jit(v)->stub_hot_at ? "hot" : "leave";
	return kinds[i.data];
}

/* Numbers go up with the address, by kind. */
static void number_labels(struct view *v)
{
	for (u32 n = 0; n < v->labels; n++) {
		struct label *l = &v->label[n];

		for (u32 m = 0; m < v->labels && *l->kind != 'e'; m++)
			l->number += v->label[m].kind == l->kind && v->label[m].at <= l->at;
	}
}

static bool find_labels(struct view *v)
{
	const struct block *b = v->l->b;
	const u8 *code = jit(v)->code_x;
	struct item i;

	label_add(v, code + b->entry_saved, b->entry_saved == b->entry_host ? "entry" : "entry_saved");
	label_add(v, code + b->entry_host, "entry_host");
	for (u32 at = b->start; at < b->code_end; at = item_end(v, &i)) {
		if (!item_at(v, at, &i))
			return false;
		if (i.target && in_block(v, i.target))
			label_add(v, i.target, kind_at(v, (u32)(i.target - code)));
		if (i.data == DATA_SLOW)
			label_add(v, retry_target(v, &i), "L");
	}
	number_labels(v);
	return true;
}

/* ---- the formatter's hooks ---- */

static ZyanStatus append(ZydisFormatterBuffer *buffer, const char *text)
{
	ZyanStringView view;
	ZyanString *string;

	ZYAN_CHECK(ZydisFormatterBufferAppend(buffer, ZYDIS_TOKEN_SYMBOL));
	ZYAN_CHECK(ZydisFormatterBufferGetString(buffer, &string));
	ZYAN_CHECK(ZyanStringViewInsideBuffer(&view, text));
	return ZyanStringAppend(string, &view);
}

static ZyanStatus append_field(struct view *v, ZydisFormatterBuffer *buffer, s64 offset, const char *sign)
{
	char name[64] = "", text[80];

	if (!cpu_field(offset, name, sizeof(name)))
		unknown(v, "code uses gs:[%lld], which has no name in names.c", (long long)offset);
	snprintf(text, sizeof(text), "%s%s", sign, name);
	return append(buffer, text);
}

static ZydisFormatterFunc default_address, default_disp, default_imm, default_memory;

/* Targets of jumps, and memory without base and index. */
static ZyanStatus print_address(const ZydisFormatter *f, ZydisFormatterBuffer *buffer, ZydisFormatterContext *context)
{
	struct view *v = context->user_data;
	const ZydisDecodedOperand *op = context->operand;
	char text[64];
	u64 target;

	if (op->type == ZYDIS_OPERAND_TYPE_MEMORY)
		return !v->guest && op->mem.segment == ZYDIS_REGISTER_GS ? append_field(v, buffer, op->mem.disp.value, "") :
									   default_address(f, buffer, context);
	ZYAN_CHECK(ZydisCalcAbsoluteAddress(context->instruction, op, context->runtime_address, &target));
	if (!v->guest)
		return append(buffer, code_name(v, (const u8 *)(uintptr_t)target, text, sizeof(text)));
	snprintf(text, sizeof(text), (s64)target < 0 ? "-%llx" : "+%llx", (s64)target < 0 ? -(unsigned long long)target : target);
	return append(buffer, text);
}

static ZyanStatus print_disp(const ZydisFormatter *f, ZydisFormatterBuffer *buffer, ZydisFormatterContext *context)
{
	struct view *v = context->user_data;

	if (v->guest || context->operand->mem.segment != ZYDIS_REGISTER_GS)
		return default_disp(f, buffer, context);
	return append_field(v, buffer, context->operand->mem.disp.value, "+");
}

/* The frame on the host's stack, at RSP. */
static ZyanStatus print_memory(const ZydisFormatter *f, ZydisFormatterBuffer *buffer, ZydisFormatterContext *context)
{
	struct view *v = context->user_data;
	const ZydisDecodedOperand *op = context->operand;
	char name[64], text[80];

	if (v->guest || op->mem.base != ZYDIS_REGISTER_RSP)
		return default_memory(f, buffer, context);
	if (op->mem.index != ZYDIS_REGISTER_NONE || !frame_field(op->mem.disp.value, name, sizeof(name))) {
		unknown(v, "code uses [rsp+%lld], which has no name in names.c", (long long)op->mem.disp.value);
		return default_memory(f, buffer, context);
	}
	ZYAN_CHECK(f->func_print_typecast(f, buffer, context));
	snprintf(text, sizeof(text), "[%s]", name);
	return append(buffer, text);
}

/* Addresses of this process, which are others the next time. */
static ZyanStatus print_imm(const ZydisFormatter *f, ZydisFormatterBuffer *buffer, ZydisFormatterContext *context)
{
	struct view *v = context->user_data;
	u64 value = context->operand->imm.value.u;

	if (v->guest || value - (u64)(uintptr_t)jit(v)->meta >= META_SIZE)
		return default_imm(f, buffer, context);
	return append(buffer, "<record>");
}

static void open_formatter(struct view *v)
{
	static const ZydisFormatterProperty unpadded[] = { ZYDIS_FORMATTER_PROP_IMM_PADDING, ZYDIS_FORMATTER_PROP_DISP_PADDING,
							   ZYDIS_FORMATTER_PROP_ADDR_PADDING_ABSOLUTE };

	default_address = print_address;
	default_disp = print_disp;
	default_imm = print_imm;
	default_memory = print_memory;
	ZydisDecoderInit(&v->decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	v->guest_decoder = v->decoder;
	if (v->l->b->key & KEY_32)
		ZydisDecoderInit(&v->guest_decoder, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
	ZydisFormatterInit(&v->formatter, ZYDIS_FORMATTER_STYLE_INTEL);
	for (size_t n = 0; n < ARRAY_SIZE(unpadded); n++)
		ZydisFormatterSetProperty(&v->formatter, unpadded[n], ZYDIS_PADDING_DISABLED);
	ZydisFormatterSetProperty(&v->formatter, ZYDIS_FORMATTER_PROP_FORCE_SIZE, ZYAN_TRUE);
	ZydisFormatterSetProperty(&v->formatter, ZYDIS_FORMATTER_PROP_FORCE_RELATIVE_RIPREL, ZYAN_TRUE);
	ZydisFormatterSetProperty(&v->formatter, ZYDIS_FORMATTER_PROP_HEX_UPPERCASE, ZYAN_FALSE);
	ZydisFormatterSetHook(&v->formatter, ZYDIS_FORMATTER_FUNC_PRINT_ADDRESS_ABS, (const void **)&default_address);
	ZydisFormatterSetHook(&v->formatter, ZYDIS_FORMATTER_FUNC_PRINT_DISP, (const void **)&default_disp);
	ZydisFormatterSetHook(&v->formatter, ZYDIS_FORMATTER_FUNC_PRINT_IMM, (const void **)&default_imm);
	ZydisFormatterSetHook(&v->formatter, ZYDIS_FORMATTER_FUNC_FORMAT_OPERAND_MEM, (const void **)&default_memory);
}

/* ---- output ---- */

static void text_of(struct view *v, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *op, u64 address, bool guest,
		    char *buf, size_t size)
{
	v->guest = guest;
	if (!ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&v->formatter, z, op, z->operand_count_visible, buf, size, address, v)))
		unknown(v, "an instruction cannot be printed");
}

static void print_guest(struct view *v, u32 k)
{
	const struct tx *t = v->l->t;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction z;
	char text[128] = "?";

	if (ZYAN_SUCCESS(ZydisDecoderDecodeFull(&v->guest_decoder, t->insn[k].bytes, t->insn[k].len, &z, op)))
		text_of(v, &z, op, t->off[k], true, text, sizeof(text));
	fprintf(v->l->out, "  ; +%x  %s%s\n", t->off[k], text, t->inplace >> k & 1 ? "   (in place)" : "");
}

static void print_slow(struct view *v, const struct item *i)
{
	static const struct {
		u8 bit;
		const char *name;
	} what[] = { { SLOW_WRITE, "write" },
		     { SLOW_STACK, "stack" },
		     { SLOW_GROUP, "group" },
		     { SLOW_WTAG, "write tag" },
		     { SLOW_ELSEWHERE, "elsewhere" },
		     { SLOW_INDEX, "index" },
		     { SLOW_PAGE_FAULT, "page-fault" } };
	const struct slow_info *s = item_data(v, i);
	char text[64];

	fprintf(v->l->out, "\t.slow\t+%x, %u bytes", s->guest, s->size);
	if (s->own)
		fprintf(v->l->out, " (own from %u)", s->own);
	for (size_t n = 0; n < ARRAY_SIZE(what); n++)
		if (s->what & what[n].bit)
			fprintf(v->l->out, ", %s", what[n].name);
	fprintf(v->l->out, ", retry %s\n", code_name(v, retry_target(v, i), text, sizeof(text)));
}

static void print_data(struct view *v, const struct item *i)
{
	const struct link *l;
	u16 offset;

	switch (i->data) {
	case DATA_SLOW:
		print_slow(v, i);
		break;
	case DATA_LINK:
		l = item_data(v, i);
		fprintf(v->l->out, "\t.link\t+%x, flags %s\n", l->target, l->saved ? "saved" : "in host");
		break;
	case DATA_OFFSET:
		__builtin_memcpy(&offset, item_data(v, i), sizeof(offset));
		fprintf(v->l->out, "\t.at\t+%x\n", offset);
		break;
	default:
		break;
	}
}

static void print_site(struct view *v, u32 at)
{
	const struct block *b = v->l->b;

	for (const struct site *s = b->sites; s < b->sites + b->site_count; s++)
		if (s->code == at)
			fprintf(v->l->out, "\t.site\t+%x, flags %s\n", s->guest,
				s->flags == SITE_HOST ? "in host" : s->flags == SITE_SAVED ? "saved" : "by recipe");
}

/* NOPs that align a call's data, of which the code sees none. */
static bool is_padding(const struct view *v, const struct item *i)
{
	return i->z.mnemonic == ZYDIS_MNEMONIC_NOP && jit(v)->code_w + i->at >= v->l->out_of_line;
}

static void print_item(struct view *v, const struct item *i)
{
	char text[160] = "?";

	if (is_padding(v, i))
		return;
	print_site(v, i->at);
	text_of(v, &i->z, i->op, (u64)(uintptr_t)(jit(v)->code_x + i->at), false, text, sizeof(text));
	fprintf(v->l->out, "\t%s\n", text);
	print_data(v, i);
}

/* How many guest instructions have begun here; those without code begin with the next one. */
static u32 begun(const struct listing *l, const u8 *here)
{
	u32 n = l->t->n;

	while (n && (!l->begin[n - 1] || l->begin[n - 1] > here))
		n--;
	return n;
}

static void print_guests(struct view *v, u32 *k, u32 to)
{
	for (; *k < to; ++*k)
		print_guest(v, *k);
}

static void print_label(struct view *v, u32 at)
{
	const struct label *l = label_find(v, at);
	char text[32];

	if (l)
		fprintf(v->l->out, "%s:\n", label_text(l, text, sizeof(text)));
}

static void print_code(struct view *v)
{
	const struct listing *l = v->l;
	bool out = false;
	struct item i;
	u32 k = 0;

	for (u32 at = l->b->start; at < l->b->code_end && item_at(v, at, &i); at = item_end(v, &i)) {
		const u8 *here = jit(v)->code_w + at;

		if (!out && here >= l->out_of_line) {
			print_guests(v, &k, l->t->n);
			fprintf(l->out, "  ; out of line\n");
			out = true;
		}
		print_label(v, at);
		print_guests(v, &k, begun(l, here));
		print_item(v, &i);
	}
}

static void print_head(struct view *v)
{
	const struct listing *l = v->l;
	u32 insns[2] = { 0, 0 }, guest_bytes = 0, start = l->b->start, body = (u32)(l->out_of_line - jit(v)->code_w);
	struct item i;

	for (u32 k = 0; k < l->t->n; k++)
		guest_bytes += l->t->insn[k].len;
	for (u32 at = start; at < l->b->code_end && item_at(v, at, &i); at = item_end(v, &i))
		insns[at >= body] += !is_padding(v, &i);
	fprintf(l->out, "\n--- %s (%s)\n", l->s->name, l->s->view);
	fprintf(l->out, "guest        %3u instructions, %4u bytes\n", l->t->n, guest_bytes);
	fprintf(l->out, "host         %3u instructions, %4u bytes\n", insns[0], body - start);
	fprintf(l->out, "out of line  %3u instructions, %4u bytes\n", insns[1], l->b->code_end - body);
}

void list_block(struct listing *l)
{
	static struct view v;

	v = (struct view){ .l = l };
	open_formatter(&v);
	if (!find_labels(&v))
		return;
	print_head(&v);
	print_code(&v);
}
