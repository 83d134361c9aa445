/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stub memory and cache. Code memory is one memfd mapped twice, writable and executable, filled from the start and
 * never changed after; when it is full, a single scratch stub is rewritten under a lock. Stubs are found by their
 * bytes.
 */
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#include "../fpu.h"
#include "../cpu/decode.h"
#include "stub.h"
#include "vector.h"

#define CODE_SIZE  (2u << 20)
#define STUB_MAX   96u
#define SCRATCH	   64u /* offsets in code memory */
#define FIRST	   (64u + 128u)
#define TABLE_BITS 14
#define WAYS	   4

static u8 *code_rw, *code_x;
static u32 code_used = FIRST;
static u32 table[1u << TABLE_BITS]; /* offset of a stub, 0 = free; its key stands in the 16 bytes before it */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

#define OFF(field) ((u8)(s8)((int)offsetof(struct stub_frame, field) - (int)offsetof(struct stub_frame, mem)))

static void map_code(void)
{
	/* where a faulting stub goes on: mov [rdi + fault], rsi; ret */
	static const u8 leave[] = {0x48, 0x89, 0x77, OFF(fault), 0xc3};
	int fd = memfd_create("kvcore-stubs", MFD_CLOEXEC);
	void *rw, *x;

	if (fd < 0)
		return;
	if (ftruncate(fd, CODE_SIZE)) {
		close(fd);
		return;
	}
	rw = mmap(NULL, CODE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	x = mmap(NULL, CODE_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	close(fd);
	if (rw == MAP_FAILED || x == MAP_FAILED) {
		if (rw != MAP_FAILED)
			munmap(rw, CODE_SIZE);
		if (x != MAP_FAILED)
			munmap(x, CODE_SIZE);
		return;
	}
	memcpy(rw, leave, sizeof(leave));
	code_rw = rw;
	code_x = x;
}

bool vector_init(void)
{
	pthread_once(&once, map_code);
	return code_rw;
}

bool vector_signal(int sig, void *siginfo, void *ucontext)
{
	greg_t *g = ((ucontext_t *)ucontext)->uc_mcontext.gregs;
	u64 at = (u64)g[REG_RIP] - (u64)(uintptr_t)code_x;

	if (!code_x || at >= CODE_SIZE)
		return false;
	g[REG_RSI] = sig;
	g[REG_RIP] = (greg_t)(uintptr_t)code_x;
	return true;
}

static u8 *emit(u8 *p, const void *bytes, unsigned n)
{
	memcpy(p, bytes, n);
	return p + n;
}

static void write_stub(u8 *p, const struct stub_code *s, unsigned how)
{
	static const u8 load[] = {0x48, 0x8b, 0x47, OFF(rax), 0x48, 0x8b, 0x4f, OFF(rcx), 0x48, 0x8b, 0x57, OFF(rdx)};
	static const u8 store[] = {0x48, 0x89, 0x47, OFF(rax), 0x48, 0x89, 0x4f, OFF(rcx), 0x48, 0x89, 0x57, OFF(rdx)};
	static const u8 flags_in[] = {0xff, 0x77, OFF(flags), 0x9d};  /* push [rdi + flags]; popfq */
	static const u8 flags_out[] = {0x9c, 0x8f, 0x47, OFF(flags)}; /* pushfq; pop [rdi + flags] */

	if (how & STUB_FLAGS_IN)
		p = emit(p, flags_in, sizeof(flags_in));
	if (how & STUB_GPR)
		p = emit(p, load, sizeof(load));
	p = emit(p, s->byte, s->len);
	if (how & STUB_GPR)
		p = emit(p, store, sizeof(store));
	if (how & STUB_FLAGS_OUT)
		p = emit(p, flags_out, sizeof(flags_out));
	*p = 0xc3;
}

static void call_stub(u32 offset, struct stub_frame *f)
{
	void (*fn)(void *mem) = (void (*)(void *))(uintptr_t)(code_x + offset);

	fn(f->mem);
}

static u32 hash(const u64 key[2])
{
	u64 h = (key[0] ^ (key[1] * 0x9e3779b97f4a7c15ull)) * 0xff51afd7ed558ccdull;

	return (u32)(h >> (64 - TABLE_BITS));
}

static bool key_is(u32 offset, const u64 key[2])
{
	u64 k[2];

	memcpy(k, code_rw + offset - 16, 16);
	return k[0] == key[0] && k[1] == key[1];
}

static u32 find(const u64 key[2], u32 h)
{
	for (u32 n = 0; n < WAYS; n++) {
		u32 offset = __atomic_load_n(&table[(h + n) % ARRAY_SIZE(table)], __ATOMIC_ACQUIRE);

		if (offset && key_is(offset, key))
			return offset;
	}
	return 0;
}

/* Adds a stub; 0 when memory is full. Under the lock. */
static u32 add(const struct stub_code *s, unsigned how, const u64 key[2], u32 h)
{
	u32 offset = code_used + 16, slot = h;

	if (code_used + STUB_MAX > CODE_SIZE)
		return 0;
	code_used += STUB_MAX;
	memcpy(code_rw + offset - 16, key, 16);
	write_stub(code_rw + offset, s, how);
	for (u32 n = 0; n < WAYS; n++)
		if (!table[(h + n) % ARRAY_SIZE(table)]) {
			slot = h + n;
			break;
		}
	__atomic_store_n(&table[slot % ARRAY_SIZE(table)], offset, __ATOMIC_RELEASE);
	return offset;
}

static void serialize(void)
{
	u32 a = 0, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d) : : "memory");
}

void stub_run(const struct stub_code *s, unsigned how, struct stub_frame *f)
{
	struct stub_code named = *s;
	u64 key[2];
	u32 h, offset;

	named.len |= (u8)(how << 4);
	memcpy(key, &named, 16);
	h = hash(key);
	f->fault = 0;
	offset = find(key, h);
	if (unlikely(!offset)) {
		pthread_mutex_lock(&lock);
		offset = find(key, h);
		if (!offset)
			offset = add(s, how, key, h);
		if (!offset) {
			write_stub(code_rw + SCRATCH, s, how);
			serialize();
			call_stub(SCRATCH, f);
			pthread_mutex_unlock(&lock);
			return;
		}
		pthread_mutex_unlock(&lock);
	}
	call_stub(offset, f);
}

/* ---- re-encoding ---- */

struct fields {
	u8 reg, rm; /* with bit 3 */
	bool y;	    /* REX.W is the size of a general register */
};

static void find_fields(struct fields *f, const struct insn *i)
{
	f->reg = i->reg;
	f->rm = i->mem ? RDI : i->rm;
	f->y = i->d->op == INSN_VPCMPESTRI || i->d->op == INSN_VPCMPESTRM;
	for (unsigned n = 0; n < i->d->nopnd; n++) {
		const struct opnd *o = &i->d->opnd[n];

		if (o->kind == OP_G)
			f->reg = RAX;
		else if ((o->kind == OP_E || o->kind == OP_R) && !i->mem)
			f->rm = RAX;
		if (o->size == SZ_Y)
			f->y = true;
	}
}

void stub_encode(struct stub_code *s, const struct insn *i)
{
	struct fields f = {0};
	u8 *p = s->byte, rex;
	bool w;

	*s = (struct stub_code){0};
	if (i->has_modrm)
		find_fields(&f, i);
	w = i->vex ? i->vexw && (!f.y || i->mode == MODE_LONG64) : i->rex & 8;
	rex = (u8)(w << 3 | (f.reg >> 3) << 2 | f.rm >> 3);
	if (i->vex) {
		u8 pp = i->mandatory == 0x66 ? 1 : i->mandatory == 0xf3 ? 2 : i->mandatory == 0xf2 ? 3 : 0;

		*p++ = 0xc4;
		*p++ = (u8)(i->map | (~rex & 7) << 5);
		*p++ = (u8)(w << 7 | (~i->vvvv & 15) << 3 | i->vl << 2 | pp);
	} else {
		if (i->mandatory)
			*p++ = i->mandatory;
		if (rex)
			*p++ = 0x40 | rex;
		if (i->map)
			*p++ = 0x0f;
		if (i->map > 1)
			*p++ = i->map == 2 ? 0x38 : 0x3a;
	}
	*p++ = i->opcode;
	if (i->has_modrm)
		*p++ = (u8)((i->mem ? 0 : 0xc0) | (f.reg & 7) << 3 | (f.rm & 7));
	if (i->imm_size) /* outside 64-bit mode a register in it has three bits */
		*p++ = (u8)(i->mode != MODE_LONG64 && i->d->nopnd == 4 && i->d->opnd[3].kind == OP_L ? i->imm & 0x7f
												     : i->imm);
	s->len = (u8)(p - s->byte);
}
