/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* KVCORE_JIT and what its keys do to a running translator (options.h). Called by vm.c and run.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../mmu.h"
#include "internal.h"

#define VARIABLE "KVCORE_JIT"
#define PATHS 1000 /* to record and translate a path takes some 20 us */

static const struct key {
	const char *name;
	size_t offset;
	u32 min, max;
} keys[] = {
	{ "block", offsetof(struct jit_options, block), 1, BLOCK_INSNS },
	{ "code", offsetof(struct jit_options, code), 64u << 10, CODE_SIZE },
	{ "tlb", offsetof(struct jit_options, tlb), 1, TLB_SIZE },
	{ "jumps", offsetof(struct jit_options, jumps), 0, 1 },
	{ "links", offsetof(struct jit_options, links), 0, 1 },
	{ "flags", offsetof(struct jit_options, flags), 0, 1 },
	{ "paths", offsetof(struct jit_options, paths), 0, UINT32_MAX },
	{ "events", offsetof(struct jit_options, events), 0, UINT32_MAX },
	{ "seed", offsetof(struct jit_options, seed), 0, UINT32_MAX },
	{ "lockstep", offsetof(struct jit_options, lockstep), 0, 1u << 20 },
};

static bool fail(const char *text, size_t len, const char *cause)
{
	fprintf(stderr, VARIABLE ": '%.*s': %s\n", (int)len, text, cause);
	return false;
}

static bool unknown(const char *text, size_t len)
{
	char list[128] = "unknown key, there are";

	for (size_t k = 0; k < ARRAY_SIZE(keys); k++)
		snprintf(list + strlen(list), sizeof(list) - strlen(list), " %s", keys[k].name);
	return fail(text, len, list);
}

/* Decimal, with K or M for powers of 1024; true when all of the text was one. */
static bool number(const char *text, size_t len, u64 *ret)
{
	u64 v = 0;
	size_t n = 0;

	for (; n < len && text[n] >= '0' && text[n] <= '9' && v <= UINT32_MAX; n++)
		v = v * 10 + (u64)(text[n] - '0');
	if (!n)
		return false;
	if (n < len && (text[n] == 'K' || text[n] == 'M'))
		v <<= text[n++] == 'K' ? 10 : 20;
	*ret = v;
	return n == len;
}

/* `key=value`, or `key` for key=1. */
static bool take(struct jit_options *o, const char *text, size_t len)
{
	const char *equals = memchr(text, '=', len);
	size_t name = equals ? (size_t)(equals - text) : len;
	char range[64];
	u64 v = 1;

	for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
		const struct key *key = &keys[k];

		if (strlen(key->name) != name || memcmp(key->name, text, name))
			continue;
		if ((equals && !number(equals + 1, len - name - 1, &v)) || v < key->min || v > key->max) {
			snprintf(range, sizeof(range), "not a number from %u to %u", key->min, key->max);
			return fail(text, len, range);
		}
		memcpy((char *)o + key->offset, &(u32){ (u32)v }, sizeof(u32));
		return true;
	}
	return unknown(text, name);
}

bool jit_options_read(struct jit_options *ret)
{
	const char *text = getenv(VARIABLE), *end;
	struct jit_options o = { .block = BLOCK_INSNS, .code = CODE_SIZE, .jumps = 1, .links = 1, .flags = 1, .paths = PATHS };

	for (; text && *text; text = *end ? end + 1 : end) {
		end = strchrnul(text, ',');
		if (!take(&o, text, (size_t)(end - text)))
			return false;
	}
	if (o.tlb & (o.tlb - 1))
		return fail("tlb", 3, "not a power of two");
	if (o.lockstep)
		o.jumps = o.links = 0; /* every block comes back */
	*ret = o;
	return true;
}

static u32 random_below(struct jit *j, u32 n)
{
	u64 z = __atomic_add_fetch(&j->random, 0x9e3779b97f4a7c15ull, __ATOMIC_RELAXED);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	return (u32)((z ^ z >> 27) >> 16) % n;
}

/* As a write to the page that holds the next instruction, of the same bytes. */
static void invalidate_here(struct cpu *c)
{
	u64 gpa;
	u8 *host;
	u32 error;
	bool mmio;

	if (mmu_fetch(c, c->rip, &gpa, &host, &error, &mmio))
		jit_invalidate(c->vcpu->vm, c, gpa & PAGE_MASK, PAGE_SIZE);
}

void jit_inject(struct jit *j, struct cpu *c, bool in_block)
{
	if (!j->options.events || random_below(j, j->options.events))
		return;
	switch (random_below(j, in_block ? 2 : 5)) {
	case 0:
		vcpu_request(c->vcpu, REQ_EVENT);
		break;
	case 1:
		if (!in_block || c->vcpu->vm->vcpu_count == 1) /* the block may still write where other vCPUs then saw no note */
			mmu_flush_all(c);
		break;
	case 2:
		cpu_flush_jump(c);
		break;
	case 3:
		invalidate_here(c);
		break;
	default:
		jit_flush_world(j, c);
		break;
	}
}

static void drop_entry(struct cpu *c, u32 entry)
{
	u32 index = entry & (TLB_SIZE - 1);
	struct tlb_entry *e = &c->set->tlb[entry >> TLB_BITS][index];

	e->rtag = e->wtag = tlb_no_tag(index);
}

/* Fills that the interpreter made meanwhile are not known here: then all go. */
void jit_limit_tlb(struct jit *j, struct cpu *c, u64 la)
{
	u32 *last = &j->tlb_last[tlb_index(la) & (j->options.tlb - 1)], entry = (u32)c->view << TLB_BITS | tlb_index(la);

	if (j->tlb_owner == c->set && c->vcpu->mmu.fills - j->tlb_fills <= 1) {
		if (*last != entry)
			drop_entry(c, *last);
	} else {
		for (u32 e = 0; e < VIEW_COUNT * TLB_SIZE; e++)
			drop_entry(c, e);
	}
	cpu_drop_stack(c);
	*last = entry;
	j->tlb_owner = c->set;
	j->tlb_fills = c->vcpu->mmu.fills;
}
