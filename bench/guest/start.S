/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's entry as PVH has it (Xen's docs/misc/pvh.pandoc: 32-bit protected mode, EBX at the start information), its first
 * page tables (4 GiB in 2 MiB pages, for ring 0 alone), and the ways into and out of interrupts and ring 3.
 */
#include "layout.h"

	.section .note.pvh, "a", @note
	.balign	4
	.long	4, 8, 18	/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.quad	entry

	.text
	.code32
	.globl	entry
entry:
	cli
	lgdt	gdt_pointer
	mov	$0x620, %eax	/* PAE, OSFXSR, OSXMMEXCPT */
	mov	%eax, %cr4
	mov	$pml4, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx
	mov	$0x901, %eax	/* SCE, LME, NXE */
	xor	%edx, %edx
	wrmsr
	mov	$0x80010033, %eax	/* PG, WP, NE, ET, MP, PE */
	mov	%eax, %cr0
	ljmp	$SEL_CODE, $entry64
	.code64
entry64:
	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	test	%ebx, %ebx
	jz	1f
	mov	$boot_stack_top, %esp
	mov	%ebx, %edi
	call	guest_main
1:	mov	$ap_stack_top, %esp
	call	guest_ap_main
	/* A triple fault ends every machine. */
	.globl	guest_end
guest_end:
	lidt	no_idt
	int3

	/* 16 bytes for each vector */
	.globl	stubs
	.balign	16
stubs:
	.set	v, 0
	.rept	256
	.balign	16
	.if	!((v == 8) || (v >= 10 && v <= 14) || (v == 17))
	push	$0
	.endif
	push	$(v)
	jmp	unexpected
	.set	v, v + 1
	.endr
unexpected:
	pop	%rdi
	mov	8(%rsp), %rsi
	mov	%cr2, %rdx
	call	guest_panic

	/* Gates of the measurements */
	.globl	int80_entry, fault_entry, syscall_entry, leave_entry
	.balign	16
int80_entry:
	iretq
	.balign	16
fault_entry: /* over the two bytes of mov (%rsi), %al */
	addq	$2, 8(%rsp)
	add	$8, %rsp
	iretq
	.balign	16
syscall_entry:
	sysretq

	/* Copied to AP_START. The other processor joins at entry, without start information. */
	.globl	ap_start, ap_start_end
	.code16
ap_start:
	cli
	lgdtl	%cs:ap_gdt_pointer - ap_start
	mov	$0x11, %eax
	mov	%eax, %cr0
	ljmpl	$SEL_CODE32, $ap_start32
ap_gdt_pointer:
	.word	gdt_pointer - gdt - 1
	.long	gdt
ap_start_end:
	.code32
ap_start32:
	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	xor	%ebx, %ebx
	jmp	entry
	.code64

	/* u64 enter_user(fn, first argument, second argument, struct cpu): what fn returns in ring 3 */
	.globl	enter_user
enter_user:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, CPU_SAVED_RSP(%rcx)
	push	$SEL_USER_DATA
	pushq	CPU_USER_STACK(%rcx)
	push	$2
	push	$SEL_USER_CODE
	push	$user_stub
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	iretq
leave_entry: /* the interrupt stack ends where saved_rsp is */
	mov	40(%rsp), %rsp
	mov	$SEL_DATA, %ecx
	mov	%ecx, %ss
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

	.data
	.globl	gdt, pml4, pdpt
	.balign	8
gdt:
	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff
	.skip	16 * CPUS
gdt_pointer:
	.word	. - gdt - 1
	.quad	gdt
no_idt:
	.word	0
	.quad	0
	.balign	4096
pml4:
	.quad	pdpt + PTE_USER
	.skip	4088
pdpt:
	.quad	page_dirs + PTE_USER, page_dirs + 4096 + PTE_USER, page_dirs + 8192 + PTE_USER, page_dirs + 12288 + PTE_USER
	.skip	4064
	.globl	page_dirs
page_dirs:
	.set	page, PTE_LARGE
	.rept	2048
	.quad	page
	.set	page, page + 0x200000
	.endr

	.bss
	.balign	16
	.skip	16384
boot_stack_top:
	.skip	16384
ap_stack_top:
	.section .note.GNU-stack, "", @progbits
