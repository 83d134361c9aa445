/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Primitives of ring 0: NAME(count in rdi, scratch in rsi), as in bench/user.S. The list is in main.c. */
#include "layout.h"

#define MSR_FS_BASE 0xc0000100

	.text
	.macro	begin name
	.globl	system_\name
	.balign	64
system_\name:
	.endm

	.macro	repeat times, body:vararg
1:
	.rept	\times
	\body
	.endr
	dec	%rdi
	jnz	1b
	ret
	.endm

	.macro	touch_32_pages
	.set	offset, 0
	.rept	32
	mov	offset(%rsi), %dl
	.set	offset, offset + 4096
	.endr
	.endm

	begin	fault
	mov	$HEAP_GUARD, %esi
	repeat	1, mov (%rsi), %al

	.macro	refill
	invlpg	(%rsi)
	mov	(%rsi), %al
	.endm
	begin	invlpg
	repeat	4, refill

	begin	cr3
	mov	%cr3, %rax
1:	mov	%rax, %cr3
	touch_32_pages
	dec	%rdi
	jnz	1b
	ret

	/* Two PCIDs in turn, neither flushed */
	begin	cr3_pcid
	mov	%cr3, %r8
	lea	1(%r8), %rax
	bts	$63, %rax
	mov	$3, %ecx
1:	mov	%rax, %cr3
	xor	%rcx, %rax
	touch_32_pages
	dec	%rdi
	jnz	1b
	mov	%r8, %cr3
	ret

	begin	out_nobody
	mov	$PORT_NOBODY, %edx
	xor	%eax, %eax
	repeat	4, out %al, %dx

	begin	out_cmos
	xor	%eax, %eax
	repeat	4, out %al, $PORT_CMOS_INDEX

	begin	mmio_nobody
	mov	$MMIO_NOBODY, %esi
	repeat	4, mov (%rsi), %eax

	begin	mmio_apic
	mov	$APIC_ID, %esi
	repeat	4, mov (%rsi), %eax

	begin	wrmsr
	mov	$MSR_FS_BASE, %ecx
	xor	%eax, %eax
	xor	%edx, %edx
	repeat	4, wrmsr

	begin	rdmsr
	mov	$MSR_FS_BASE, %ecx
	repeat	4, rdmsr

	.macro	flags_group
	cli
	pushf
	popf
	sti
	cli
	.endm
	begin	flags
	repeat	4, flags_group
	.section .note.GNU-stack, "", @progbits
