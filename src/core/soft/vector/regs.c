/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest's vector registers, which are the host's while it runs (fpu.h). A register's number is part of an instruction,
 * so there is one for each.
 */
#include "../fpu.h"
#include "vec.h"

#define EACH_8(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define EACH_16(X) EACH_8(X) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)

static bool has_avx(void)
{
	return fpu_features() & 4;
}

static void get_low(unsigned n, union vec *v)
{
	switch (n) {
#define CASE(n) case n: __asm__ volatile("movups %%xmm" #n ", %0" : "=m"(*v)); break;
		EACH_16(CASE)
#undef CASE
	}
}

static void get_all(unsigned n, union vec *v)
{
	switch (n) {
#define CASE(n) case n: __asm__ volatile("vmovups %%ymm" #n ", %0" : "=m"(*v)); break;
		EACH_16(CASE)
#undef CASE
	}
}

static void set_all(unsigned n, const union vec *v)
{
	switch (n) {
#define CASE(n) case n: __asm__ volatile("vmovups %0, %%ymm" #n : : "m"(*v)); break;
		EACH_16(CASE)
#undef CASE
	}
}

void vec_get(unsigned n, union vec *v)
{
	if (has_avx()) {
		get_all(n, v);
		return;
	}
	v->q[2] = v->q[3] = 0;
	get_low(n, v);
}

void vec_set(unsigned n, const union vec *v)
{
	if (has_avx())
		set_all(n, v);
	else
		vec_set_low(n, v);
}

void vec_set_low(unsigned n, const union vec *v)
{
	switch (n) {
#define CASE(n) case n: __asm__ volatile("movups %0, %%xmm" #n : : "m"(*v)); break;
		EACH_16(CASE)
#undef CASE
	}
}

u64 mmx_get(unsigned n)
{
	u64 v = 0;

	switch (n) {
#define CASE(n) case n: __asm__ volatile("movq %%mm" #n ", %0" : "=m"(v)); break;
		EACH_8(CASE)
#undef CASE
	}
	return v;
}

void mmx_set(unsigned n, u64 v)
{
	switch (n) {
#define CASE(n) case n: __asm__ volatile("movq %0, %%mm" #n : : "m"(v)); break;
		EACH_8(CASE)
#undef CASE
	}
}

u32 mxcsr_get(void)
{
	u32 v;

	__asm__ volatile("stmxcsr %0" : "=m"(v));
	return v;
}

void mxcsr_set(u32 v)
{
	__asm__ volatile("ldmxcsr %0" : : "m"(v));
}

u16 x87_status(void)
{
	u16 status;

	__asm__ volatile("fnstsw %0" : "=m"(status));
	return status;
}
