/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Primitives of ring 0. The list is in main.c. */
#include "../primitive-asm.h"
#include "layout.h"

#define MSR_FS_BASE 0xc0000100

	.text

	.macro	touch_32_pages
	.set	offset, 0
	.rept	32
	mov	offset(%rsi), %dl
	.set	offset, offset + 4096
	.endr
	.endm

	begin	system_fault
	mov	$HEAP_GUARD, %esi
	repeat	1, mov (%rsi), %al

	.macro	refill
	invlpg	(%rsi)
	mov	(%rsi), %al
	.endm
	begin	system_invlpg
	repeat	4, refill

	begin	system_cr3
	mov	%cr3, %rax
1:	mov	%rax, %cr3
	touch_32_pages
	dec	%rdi
	jnz	1b
	ret

	/* Two PCIDs in turn, neither flushed */
	begin	system_cr3_pcid
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

	begin	system_out_nobody
	mov	$PORT_NOBODY, %edx
	xor	%eax, %eax
	repeat	4, out %al, %dx

	begin	system_out_cmos
	xor	%eax, %eax
	repeat	4, out %al, $PORT_CMOS_INDEX

	begin	system_mmio_nobody
	mov	$MMIO_NOBODY, %esi
	repeat	4, mov (%rsi), %eax

	begin	system_mmio_apic
	mov	$APIC_ID, %esi
	repeat	4, mov (%rsi), %eax

	begin	system_wrmsr
	mov	$MSR_FS_BASE, %ecx
	xor	%eax, %eax
	xor	%edx, %edx
	repeat	4, wrmsr

	begin	system_rdmsr
	mov	$MSR_FS_BASE, %ecx
	repeat	4, rdmsr

	.macro	flags_group
	cli
	pushf
	popf
	sti
	cli
	.endm
	begin	system_flags
	repeat	4, flags_group
	.section .note.GNU-stack, "", @progbits
