/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * AES (FIPS 197), PCLMULQDQ and SHA (FIPS 180-4); how the instructions cut them up is in SDM vol. 2. The S-box is computed,
 * which is shorter than two tables; what has to be fast is translated. Reached through the table at the end.
 */
#include <string.h>
#include "vec.h"

/* ---- AES ---- */

#define AES_INVERSE 1u
#define AES_LAST    2u

static unsigned multiply(unsigned a, unsigned b)
{
	unsigned product = 0;

	for (; b; b >>= 1) {
		if (b & 1)
			product ^= a;
		a = a << 1 ^ (a & 0x80 ? 0x11b : 0);
	}
	return product;
}

/* x to the power of 254 = 2 + 4 + ... + 128; 0 becomes 0. */
static unsigned invert(unsigned x)
{
	unsigned y = 1;

	for (unsigned n = 1; n < 8; n++) {
		x = multiply(x, x);
		y = multiply(y, x);
	}
	return y;
}

static unsigned rotate_byte(unsigned x, unsigned n)
{
	return (x << n | x >> (8 - n)) & 0xff;
}

static u8 substitute(unsigned x)
{
	x = invert(x);
	return (u8)(x ^ rotate_byte(x, 1) ^ rotate_byte(x, 2) ^ rotate_byte(x, 3) ^ rotate_byte(x, 4) ^ 0x63);
}

static u8 substitute_back(unsigned x)
{
	return (u8)invert(rotate_byte(x, 1) ^ rotate_byte(x, 3) ^ rotate_byte(x, 6) ^ 5);
}

/* ShiftRows and SubBytes, or their inverses, of one block: rows are bytes 4 apart. */
static void shift_substitute(u8 *to, const u8 *from, bool inverse)
{
	for (unsigned n = 0; n < 16; n++) {
		unsigned row = n & 3;

		if (inverse)
			to[n] = substitute_back(from[(n - 4 * row) & 15]);
		else
			to[n] = substitute(from[(n + 4 * row) & 15]);
	}
}

static void mix_columns(u8 *to, const u8 *from, bool inverse)
{
	static const u8 factors[2][4] = {{2, 3, 1, 1}, {14, 11, 13, 9}};

	for (unsigned n = 0; n < 16; n++) {
		unsigned sum = 0;

		for (unsigned k = 0; k < 4; k++)
			sum ^= multiply(from[(n & 12) | k], factors[inverse][(k - n) & 3]);
		to[n] = (u8)sum;
	}
}

static void aes_round(struct vec_insn *v)
{
	bool inverse = v->arg & AES_INVERSE;
	u8 mixed[16];

	for (unsigned lane = 0; lane < v->bytes; lane += 16) {
		u8 *r = &v->r.b[lane];

		shift_substitute(r, &v->s[0].b[lane], inverse);
		if (!(v->arg & AES_LAST)) {
			mix_columns(mixed, r, inverse);
			memcpy(r, mixed, 16);
		}
		for (unsigned n = 0; n < 16; n++)
			r[n] ^= v->s[1].b[lane + n];
	}
}

static void aesimc(struct vec_insn *v)
{
	mix_columns(v->r.b, v->s[0].b, true);
}

/* Words 1 and 3: substituted, and that rotated by a byte with the immediate in it. */
static void aeskeygenassist(struct vec_insn *v)
{
	for (unsigned n = 0; n < 16; n++) {
		unsigned word = n & 8, rotated = n >> 2 & 1;

		v->r.b[n] = substitute(v->s[0].b[word + 4 + ((n + rotated) & 3)]);
	}
	v->r.b[4] ^= v->imm;
	v->r.b[12] ^= v->imm;
}

/* ---- multiplication without carries ---- */

static void pclmulqdq(struct vec_insn *v)
{
	for (unsigned lane = 0; lane < v->bytes / 8; lane += 2) {
		unsigned __int128 a = v->s[0].q[lane + (v->imm & 1)], product = 0;
		u64 b = v->s[1].q[lane + (v->imm >> 4 & 1)];

		for (; b; b >>= 1, a <<= 1)
			if (b & 1)
				product ^= a;
		v->r.q[lane] = (u64)product;
		v->r.q[lane + 1] = (u64)(product >> 64);
	}
}

/* ---- SHA-1: the first word, A or W0, is in the highest element ---- */

static u32 left(u32 x, unsigned n)
{
	return x << n | x >> (32 - n);
}

static u32 choose(u32 x, u32 y, u32 z)
{
	return (x & y) ^ (~x & z);
}

static u32 majority(u32 x, u32 y, u32 z)
{
	return (x & y) ^ (x & z) ^ (y & z);
}

static void sha1nexte(struct vec_insn *v)
{
	memcpy(&v->r, &v->s[1], 16);
	v->r.d[3] += left(v->s[0].d[3], 30);
}

static void sha1msg1(struct vec_insn *v)
{
	for (unsigned n = 0; n < 4; n++)
		v->r.d[n] = v->s[0].d[n] ^ (n < 2 ? v->s[1].d[n + 2] : v->s[0].d[n - 2]);
}

static void sha1msg2(struct vec_insn *v)
{
	for (unsigned n = 4; n-- > 0;)
		v->r.d[n] = left(v->s[0].d[n] ^ (n ? v->s[1].d[n - 1] : v->r.d[3]), 1);
}

static void sha1rnds4(struct vec_insn *v)
{
	static const u32 constants[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
	u32 a = v->s[0].d[3], b = v->s[0].d[2], c = v->s[0].d[1], d = v->s[0].d[0], e = 0;
	unsigned kind = v->imm & 3;

	for (unsigned n = 4; n-- > 0;) {
		u32 f = kind == 0 ? choose(b, c, d) : kind == 2 ? majority(b, c, d) : b ^ c ^ d;
		u32 next = f + left(a, 5) + v->s[1].d[n] + e + constants[kind];

		e = d;
		d = c;
		c = left(b, 30);
		b = a;
		a = next;
	}
	v->r = (union vec){.d = {d, c, b, a}};
}

/* ---- SHA-256: message words go upwards, the state is {F, E, B, A} and {H, G, D, C} ---- */

static u32 right(u32 x, unsigned n)
{
	return x >> n | x << (32 - n);
}

static u32 sigma0(u32 x)
{
	return right(x, 7) ^ right(x, 18) ^ x >> 3;
}

static u32 sigma1(u32 x)
{
	return right(x, 17) ^ right(x, 19) ^ x >> 10;
}

static void sha256msg1(struct vec_insn *v)
{
	for (unsigned n = 0; n < 4; n++)
		v->r.d[n] = v->s[0].d[n] + sigma0(n < 3 ? v->s[0].d[n + 1] : v->s[1].d[0]);
}

static void sha256msg2(struct vec_insn *v)
{
	for (unsigned n = 0; n < 4; n++)
		v->r.d[n] = v->s[0].d[n] + sigma1(n < 2 ? v->s[1].d[n + 2] : v->r.d[n - 2]);
}

/* Words and constants are in XMM0. The rest of the state is what A, B, E and F were. */
static void sha256rnds2(struct vec_insn *v)
{
	u32 a = v->s[1].d[3], b = v->s[1].d[2], c = v->s[0].d[3], d = v->s[0].d[2];
	u32 e = v->s[1].d[1], f = v->s[1].d[0], g = v->s[0].d[1], h = v->s[0].d[0];
	union vec wk;

	vec_get(0, &wk);
	for (unsigned n = 0; n < 2; n++) {
		u32 t1 = h + (right(e, 6) ^ right(e, 11) ^ right(e, 25)) + choose(e, f, g) + wk.d[n];
		u32 t2 = (right(a, 2) ^ right(a, 13) ^ right(a, 22)) + majority(a, b, c);

		h = g;
		g = f;
		f = e;
		e = d + t1;
		d = c;
		c = b;
		b = a;
		a = t1 + t2;
	}
	v->r = (union vec){.d = {f, e, b, a}};
}

const struct vec_op vec_crypto[] = {
	VEC_BOTH(AESENC, aes_round),
	VEC_BOTH(AESENCLAST, aes_round, .arg = AES_LAST),
	VEC_BOTH(AESDEC, aes_round, .arg = AES_INVERSE),
	VEC_BOTH(AESDECLAST, aes_round, .arg = AES_INVERSE | AES_LAST),
	VEC_BOTH(AESIMC, aesimc),
	VEC_BOTH(AESKEYGENASSIST, aeskeygenassist),
	VEC_BOTH(PCLMULQDQ, pclmulqdq),
	{INSN_SHA1NEXTE, sha1nexte},
	{INSN_SHA1MSG1, sha1msg1},
	{INSN_SHA1MSG2, sha1msg2},
	{INSN_SHA1RNDS4, sha1rnds4},
	{INSN_SHA256MSG1, sha256msg1},
	{INSN_SHA256MSG2, sha256msg2},
	{INSN_SHA256RNDS2, sha256rnds2},
	{0},
};
