/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names for what generated code addresses outside of its block: fields of struct vcpu and of the stack frame, the stubs.
 * disassemble.c asks.
 */
#include "listing.h"

const char *const view_names[JUMP_TABLES] = { "kernel", "kernel-ac", "user", "kernel-32", "kernel-ac-32", "user-32" };
_Static_assert(VIEW_KERNEL == 0 && VIEW_KERNEL_AC == 1 && VIEW_USER == 2 && JUMP_TABLES == 2 * VIEW_COUNT, "see view_names");
static const char *const gpr_names[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					 "r8",	"r9",  "r10", "r11", "r12", "r13", "r14", "r15" };
static const char *const home_names[] = { "r10", "r14", "r15" };
static const char *const seg_names[] = { "es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr" };
static const char *const mode_names[] = { "kernel", "user" };

struct part {
	const char *name;
	size_t offset;
};

#define PART(type, field) { #field, offsetof(struct type, field) }
static const struct part tlb_parts[] = { PART(tlb_entry, rtag), PART(tlb_entry, wtag), PART(tlb_entry, addend),
					PART(tlb_entry, page), { NULL, 0 } };
static const struct part itlb_parts[] = { PART(itlb_entry, tag), PART(itlb_entry, gpa), { NULL, 0 } };
static const struct part jump_parts[] = { PART(jump_entry, rip), PART(jump_entry, code), { NULL, 0 } };
static const struct part stack_parts[] = { PART(stack_window, page), PART(stack_window, addend), { NULL, 0 } };
static const struct part table_parts[] = { PART(desc_table, base), PART(desc_table, limit), { NULL, 0 } };
static const struct part seg_parts[] = { PART(segment, base), PART(segment, limit), PART(segment, sel), PART(segment, type),
					 PART(segment, dpl), { NULL, 0 } };

/* An array or a single field; indices and parts are named where there are names. */
static const struct field {
	const char *name;
	s64 offset;
	size_t size; /* of an element */
	u32 count;
	const char *const *index;
	const struct part *parts;
} cpu_fields[] = {
#define CPU ((struct cpu *)0)
#define FIELD(field) { #field, offsetof(struct cpu, field), sizeof(CPU->field), 1, NULL, NULL }
#define ARRAY(field, index, parts) \
	{ #field, offsetof(struct cpu, field), sizeof(CPU->field[0]), ARRAY_SIZE(CPU->field), index, parts }
	ARRAY(gpr, gpr_names, NULL),
	ARRAY(heat, NULL, NULL),
	ARRAY(stack, view_names, stack_parts),
	ARRAY(seg, seg_names, seg_parts),
	ARRAY(tlb, view_names, tlb_parts),
	ARRAY(jump, view_names, jump_parts),
	ARRAY(itlb, mode_names, itlb_parts),
	{ "gdtr", offsetof(struct cpu, gdtr), sizeof(struct desc_table), 1, NULL, table_parts },
	FIELD(rip), FIELD(rflags), FIELD(host_rsp), FIELD(cur_block), FIELD(cpl),
	FIELD(mode), FIELD(view), FIELD(self), FIELD(cr0), FIELD(cr2), FIELD(cr3), FIELD(cr4), FIELD(efer),
	FIELD(kernel_gs_base), FIELD(star), FIELD(lstar), FIELD(sfmask), FIELD(tsc_aux), FIELD(tsc_offset),
	{ "event_blocked", offsetof(struct vcpu, event_blocked), 1, 1, NULL, NULL },
	{ "poll", VCPU_POLL_OFFSET, 4, 1, NULL, NULL },
	{ NULL }
}, frame_fields[] = {
#define FRAME ((struct jit_frame *)0)
#define FRAME_FIELD(field, count, index) \
	{ "frame." #field, offsetof(struct jit_frame, field), sizeof(FRAME->field) / (count), count, index, NULL }
	FRAME_FIELD(reg, ARRAY_SIZE(FRAME->reg), home_names),
	FRAME_FIELD(code_base, 1, NULL),
	FRAME_FIELD(saved_flags, 1, NULL),
	FRAME_FIELD(scratch, ARRAY_SIZE(FRAME->scratch), NULL),
	FRAME_FIELD(operand, 1, NULL),
	FRAME_FIELD(limit, ARRAY_SIZE(FRAME->limit), NULL),
	FRAME_FIELD(addend, ARRAY_SIZE(FRAME->addend), NULL),
	{ NULL }
};

static const char *part_name(const struct field *f, size_t offset, char *buf, size_t size)
{
	for (const struct part *p = f->parts; p && p->name; p++) {
		if (p->offset == offset) {
			snprintf(buf, size, ".%s", p->name);
			return buf;
		}
	}
	if (f->parts)
		return NULL;
	snprintf(buf, size, offset ? "+%zu" : "", offset);
	return buf;
}

static const char *field_name(const struct field *fields, s64 offset, char *buf, size_t size)
{
	char index[16] = "", part[16];

	for (const struct field *f = fields; f->name; f++) {
		size_t in = (size_t)(offset - f->offset), element = in / f->size;

		if (offset < f->offset || element >= f->count)
			continue;
		if (f->index)
			snprintf(index, sizeof(index), ".%s", f->index[element]);
		else if (f->count > 1)
			snprintf(index, sizeof(index), ".%zu", element);
		if (!part_name(f, in % f->size, part, sizeof(part)))
			return NULL;
		snprintf(buf, size, "%s%s%s", f->name, index, part);
		return buf;
	}
	return NULL;
}

const char *cpu_field(s64 offset, char *buf, size_t size)
{
	return field_name(cpu_fields, offset, buf, size);
}

const char *frame_field(s64 offset, char *buf, size_t size)
{
	return field_name(frame_fields, offset, buf, size);
}

static const char *slow_name(const struct jit *j, const u8 *code, char *buf, size_t size)
{
	static const char *const kinds[] = { "read", "write", "stack" };

	for (u32 n = 0; n < VIEW_COUNT * ARRAY_SIZE(kinds) * 2; n++) {
		u32 view = n / (2 * ARRAY_SIZE(kinds)), kind = n / 2 % ARRAY_SIZE(kinds), group = n % 2;

		if (j->stub_slow[view][kind][group] != code)
			continue;
		snprintf(buf, size, "stub_slow.%s.%s%s", view_names[view], kinds[kind], group ? ".group" : "");
		return buf;
	}
	return NULL;
}

const char *stub_name(const struct jit *j, const u8 *code, char *buf, size_t size)
{
	const struct {
		const u8 *code;
		const char *name;
	} fixed[] = {
		{ j->stub_alone, "stub_alone" },
		{ j->stub_dispatch, "stub_dispatch" },
		{ j->stub_dispatch_at, "stub_dispatch_at" },
		{ j->stub_hot_at, "stub_hot_at" },
		{ j->stub_inplace, "stub_inplace" },
		{ j->stub_interp, "stub_interp" },
		{ j->stub_interp_at, "stub_interp_at" },
		{ j->stub_interp_here, "stub_interp_here" },
		{ j->stub_link[FLAGS_HOST], "stub_link.host" },
		{ j->stub_link[FLAGS_SAVED], "stub_link.saved" },
		{ j->stub_path, "stub_path" },
		{ j->stub_string, "stub_string" },
	};

	for (size_t n = 0; n < ARRAY_SIZE(fixed); n++)
		if (fixed[n].code == code)
			return fixed[n].name;
	return slow_name(j, code, buf, size);
}
