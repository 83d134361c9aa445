/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which guest pages have translations, and where: a hash of pages by guest-physical address, each with its blocks and a
 * hash of every 64-byte line they were made from. Firmware and boot loaders have variables between their code; so a line that
 * is written elsewhere than where blocks were made from has only those bytes hashed from then on. Callers hold jit.lock, but
 * for the look-ups.
 */
#include "internal.h"

static u32 page_slot(u64 gpa)
{
	return (u32)((gpa >> 12) * 0x9e3779b1u >> 16) & (PAGE_HASH - 1);
}

struct code_page *page_find(struct jit *j, u64 gpa)
{
	struct code_page *p = __atomic_load_n(&j->pages[page_slot(gpa)], __ATOMIC_ACQUIRE);

	while (p && p->gpa != gpa)
		p = __atomic_load_n(&p->next, __ATOMIC_ACQUIRE);
	return p;
}

struct code_page *page_create(struct jit *j, u64 gpa)
{
	struct code_page *p = meta_alloc(j, sizeof(*p)), **head = &j->pages[page_slot(gpa)];

	if (!p)
		return NULL;
	j->stats.pages++;
	p->gpa = gpa;
	p->next = *head;
	__atomic_store_n(head, p, __ATOMIC_RELEASE);
	return p;
}

/* Most that are asked for are not there, and records are seldom in the host's cache. */
struct block *block_find(struct code_page *p, u16 offset, u8 key)
{
	u32 bit = offset % START_BITS;
	struct block *b;

	if (!(__atomic_load_n(&p->starts[bit / 64], __ATOMIC_RELAXED) >> (bit & 63) & 1))
		return NULL;
	b = __atomic_load_n(&p->blocks[offset % OFF_BUCKETS], __ATOMIC_ACQUIRE);
	while (b && (b->offset != offset || b->key != key))
		b = b->next;
	return b;
}

void block_add(struct code_page *p, struct block *b)
{
	struct block **bucket = &p->blocks[b->offset % OFF_BUCKETS];
	u32 bit = b->offset % START_BITS;

	b->next = *bucket;
	__atomic_store_n(bucket, b, __ATOMIC_RELEASE); /* block_find() needs no lock */
	__atomic_store_n(&p->starts[bit / 64], p->starts[bit / 64] | 1ull << (bit & 63), __ATOMIC_RELEASE);
}

static u64 line_hash(const u8 *line)
{
	u64 h = 0x9e3779b97f4a7c15ull;

	for (unsigned i = 0; i < 64; i += 8) {
		u64 v;

		__builtin_memcpy(&v, line + i, 8);
		h = (h ^ v) * 0xff51afd7ed558ccdull;
		h ^= h >> 32;
	}
	return h;
}

/* Of some bytes of a line: a sum, so that more can be added. */
static u64 byte_hash(const u8 *line, u64 bytes)
{
	u64 sum = 0;

	for (; bytes; bytes &= bytes - 1) {
		u64 at = (u64)__builtin_ctzll(bytes), factor = (at + 1) * 0x9e3779b97f4a7c15ull;

		sum += (line[at] + 1u) * ((factor ^ factor >> 29) * 0xbf58476d1ce4e5b9ull);
	}
	return sum;
}

/* The bytes of line l that [offset, offset + size) has. */
static u64 bytes_in_line(unsigned l, unsigned offset, unsigned size)
{
	unsigned first = offset > l * 64 ? offset - l * 64 : 0, end = offset + size - l * 64;

	return ~0ull << first & (end < 64 ? (1ull << end) - 1 : ~0ull);
}

void page_cover(struct code_page *p, const u8 *host, u16 offset, u16 size)
{
	unsigned n = size ? size : 1u, last = (offset + n - 1) / 64;

	for (unsigned l = offset / 64; l <= last && l < LINES; l++) {
		u64 more = bytes_in_line(l, offset, n) & ~p->bytes[l];

		if (!(p->lines >> l & 1))
			p->line_hash[l] = line_hash(host + l * 64);
		p->lines |= 1ull << l;
		p->bytes[l] |= more;
		p->bytes_hash[l] += byte_hash(host + l * 64, more);
	}
}

bool page_written(struct code_page *p, u16 offset, unsigned size)
{
	unsigned last = (offset + size - 1) / 64;

	for (unsigned l = offset / 64; l <= last && l < LINES; l++)
		if (p->bytes[l] & bytes_in_line(l, offset, size))
			return true;
	for (unsigned l = offset / 64; l <= last && l < LINES; l++)
		p->mixed |= 1ull << l;
	return false;
}

bool page_matches(const struct code_page *p, const u8 *host)
{
	for (u64 lines = p->lines; lines; lines &= lines - 1) {
		unsigned l = (unsigned)__builtin_ctzll(lines);

		if (p->mixed >> l & 1 ? p->bytes_hash[l] != byte_hash(host + l * 64, p->bytes[l]) :
					p->line_hash[l] != line_hash(host + l * 64))
			return false;
	}
	return true;
}

bool page_add_user(struct jit *j, struct code_page *p, struct code_page *user)
{
	struct page_user *u = p->users;

	while (u && u->page != user)
		u = u->next;
	if (u)
		return true;
	u = meta_alloc(j, sizeof(*u));
	if (!u)
		return false;
	*u = (struct page_user){ p->users, user };
	p->users = u;
	return true;
}

static void page_age_change(struct jit *j, u64 *age)
{
	__atomic_store_n(age, ++j->ages & ((1ull << (64 - CODE_AGE_SHIFT)) - 1), __ATOMIC_RELEASE);
}

void page_ages_change(struct jit *j)
{
	for (u32 n = 0; n < PAGE_AGES; n++)
		page_age_change(j, &j->page_age[n]);
}

void page_kill(struct jit *j, const struct memory *m, struct code_page *p)
{
	struct code_page **link = &j->pages[page_slot(p->gpa)];
	struct memslot *s = mem_slot(m, p->gpa, NULL);

	if (p->dead)
		return;
	while (*link != p)
		link = &(*link)->next;
	__atomic_store_n(link, p->next, __ATOMIC_RELEASE);
	p->dead = true;
	page_age_change(j, page_age_at(j, p->gpa));
	if (s)
		__atomic_store_n(&s->code_pages[(p->gpa - s->gpa) >> 12], 0, __ATOMIC_SEQ_CST);
	j->stats.invalidations++;
	for (struct page_user *u = p->users; u; u = u->next)
		page_kill(j, m, u->page);
}

/* Blocks are appended in order of their code. */
struct block *block_of_code(struct jit *j, u32 offset)
{
	u32 lo = 0, hi = __atomic_load_n(&j->block_count, __ATOMIC_ACQUIRE);

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (j->blocks[mid]->code_end <= offset)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == j->block_count || offset < j->blocks[lo]->start)
		return NULL;
	return j->blocks[lo];
}
