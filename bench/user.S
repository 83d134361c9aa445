/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Primitives that run in ring 3, in the guest and in the native program alike. The list is in primitives.c. */
#include "primitive-asm.h"

	.text

	begin	user_loop
	repeat	0

	.balign	64
near:	ret
	begin	user_call
	repeat	8, call near

	begin	user_call_far
	repeat	8, call far

	begin	user_call_two
	lea	near(%rip), %rax
	lea	near_too(%rip), %rcx
	xor	%rcx, %rax
	.balign	16
1:	.rept	8
	call	*%rcx
	xor	%rax, %rcx
	.endr
	dec	%rdi
	jnz	1b
	ret
	.balign	64
near_too: ret

	begin	user_cpuid
	push	%rbx
1:	mov	$1, %eax
	xor	%ecx, %ecx
	cpuid
	dec	%rdi
	jnz	1b
	pop	%rbx
	ret

	begin	user_rdtsc
	repeat	4, rdtsc

	begin	user_movs
	mov	%rdi, %rdx
	mov	%rsi, %rax
1:	mov	%rax, %rsi
	lea	8192(%rax), %rdi
	mov	$4096, %ecx
	rep movsb
	dec	%rdx
	jnz	1b
	ret

	begin	user_stos
	mov	%rdi, %rdx
	xor	%eax, %eax
1:	mov	%rsi, %rdi
	mov	$4096, %ecx
	rep stosb
	dec	%rdx
	jnz	1b
	ret

	/* mov $number, %eax; ret: the number changes before each call */
	begin	user_smc
	movb	$0xb8, (%rsi)
	movb	$0xc3, 5(%rsi)
1:	mov	%edi, 1(%rsi)
	call	*%rsi
	dec	%rdi
	jnz	1b
	ret

	begin	user_fadd
	fninit
	fld1
	fldz
	.balign	16
1:	.rept	8
	fadd	%st(1), %st
	.endr
	dec	%rdi
	jnz	1b
	fninit
	ret

	begin	user_addpd
	pxor	%xmm0, %xmm0
	pxor	%xmm1, %xmm1
	repeat	8, addpd %xmm1, %xmm0

	begin	user_paddd
	pxor	%xmm0, %xmm0
	repeat	8, paddd %xmm1, %xmm0

	begin	user_xadd
	mov	$1, %eax
	repeat	4, lock xadd %rax, (%rsi)

	begin	user_div
	mov	$0x123456789abcdef, %rax
	mov	$3, %ecx
1:	.rept	4
	xor	%edx, %edx
	div	%rcx
	or	$0x7fffffff, %rax
	.endr
	dec	%rdi
	jnz	1b
	ret

	.balign	4096
far:	ret
	.section .note.GNU-stack, "", @progbits
