/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entry, exception stubs, the way to CPL 3 and back, and where other processors start. */
	.section .text.start, "ax"
	.globl _start
_start:
	lea	kernel_stack+8192(%rip), %rsp
	call	rt_main
	hlt

	.text
	/* 16 bytes a vector */
	.globl stubs
	.balign	16
stubs:
	.set	v, 0
	.rept	256
	.balign	16
	.if	!((v == 8) || (v >= 10 && v <= 14) || (v == 17))
	push	$0
	.endif
	push	$(v)
	jmp	common
	.set	v, v + 1
	.endr

common:
	push	%rax
	push	%rbx
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%rbp
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, %rdi
	cld
	call	rt_exception
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rbp
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rbx
	pop	%rax
	add	$16, %rsp
	iretq

	/* enter_user(fn, stack top): until user_back; fn returns to user_exit */
	.globl enter_user, user_back, user_exit
user_exit:
	ud2
enter_user:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, user_saved_rsp
	push	$0x3b
	push	%rsi
	push	$2
	push	$0x43
	push	%rdi
	iretq
user_back:
	mov	user_saved_rsp, %rsp
	mov	$0x10, %eax
	mov	%eax, %ss
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

	/* Copied to 0x8000; real mode, CS = 0x800, IP = 0 */
	.globl ap_start, ap_start_end
	.code16
ap_start:
	cli
	mov	%cs, %ax
	mov	%ax, %ds
	lgdtl	ap_gdtr - ap_start
	mov	$0x11, %eax
	mov	%eax, %cr0
	ljmpl	$0x18, $0x8000 + (ap_32 - ap_start)
	.code32
ap_32:
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %ss
	mov	$0x20, %eax
	mov	%eax, %cr4
	mov	$0x1000, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx
	mov	$0x900, %eax
	xor	%edx, %edx
	wrmsr
	mov	$0x80000031, %eax
	mov	%eax, %cr0
	ljmpl	$0x08, $ap_64
	.balign	8
ap_gdtr:
	.word	0x1f
	.long	0x7000
ap_start_end:
	.code64
ap_64:
	mov	$1, %ebx
	lock xadd %ebx, ap_next
	imul	$4096, %rbx, %rcx
	lea	ap_stacks(%rcx), %rsp
	mov	%ebx, %edi
	call	rt_ap_main
	cli
	hlt

	.data
	.balign	8
	.globl user_saved_rsp, ap_next
user_saved_rsp:
	.quad	0
ap_next:
	.long	1, 0
	.bss
	.balign	16
	.globl ap_stacks
ap_stacks:
	.skip	4096 * 9
	.section .note.GNU-stack, "", @progbits
