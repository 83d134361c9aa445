/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A firmware of 64 KiB that has a screen to paint and nothing else (main.c): from the reset vector to long mode with the first
 * 4 GiB mapped as they are, a stack in low memory, and one interrupt, the timer's, which ends a halt. SDM vol. 3, 9.1.4, 9.8.5.
 */
#define STACK 0x80000
#define PML4 0x1000 /* then the page directory pointers, then four page directories */
#define CODE 0x08
#define DATA 0x10
#define CODE64 0x18
#define EFER 0xc0000080
#define CR4_PAE 0x20
#define PAGES 2048 /* of 2 MiB */
#define LARGE_PAGE 0x83

	.section .text
	.code32
protected:
	mov	$DATA, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	movl	$PML4 + 0x1003, PML4
	movl	$PML4 + 0x2003, PML4 + 0x1000
	movl	$PML4 + 0x3003, PML4 + 0x1008
	movl	$PML4 + 0x4003, PML4 + 0x1010
	movl	$PML4 + 0x5003, PML4 + 0x1018
	xor	%ecx, %ecx
1:	mov	%ecx, %eax
	shl	$21, %eax
	or	$LARGE_PAGE, %eax
	mov	%eax, PML4 + 0x2000(, %ecx, 8)
	inc	%ecx
	cmp	$PAGES, %ecx
	jb	1b
	mov	$PML4, %eax
	mov	%eax, %cr3
	mov	%cr4, %eax
	or	$CR4_PAE, %eax
	mov	%eax, %cr4
	mov	$EFER, %ecx
	rdmsr
	or	$0x100, %eax
	wrmsr
	mov	%cr0, %eax
	or	$0x80000000, %eax
	mov	%eax, %cr0
	ljmp	$CODE64, $long_mode

	.code64
long_mode:
	mov	$STACK, %esp
	call	main
2:	hlt
	jmp	2b

	.globl	on_timer
on_timer:
	push	%rax
	mov	$0x20, %al
	out	%al, $0x20
	pop	%rax
	iretq

	.section .head, "ax"
	.balign	8
gdt:	.quad	0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff
gdt_pointer:
	.word	gdt_pointer - gdt - 1
	.long	gdt

	.code16
real:
	cli
	cld
	mov	$gdt_pointer, %ebx
	lgdtl	%cs:(%bx)
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	ljmpl	$CODE, $protected

	.section .reset, "ax"
	jmp	real
