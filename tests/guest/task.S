/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hardware tasks in 32-bit protected mode: CALL and IRET, JMP, a task gate for an exception with an error code. */
	.set	CODE32, 0x08
	.set	DATA32, 0x10
	.set	TSS_MAIN, 0x18
	.set	TSS_OTHER, 0x20
	.set	TSS_FAULT, 0x28

	.section .text.start, "ax"
	.globl _start
	.code16
_start:
	cli
	mov	%cs, %ax
	mov	%ax, %ds
	lgdtl	gdtr - 0x10000
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	ljmpl	$CODE32, $start32

	.code32
start32:
	mov	$DATA32, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	%eax, %fs
	mov	%eax, %gs
	mov	$0x7000, %esp
	mov	$tss_main, %eax
	mov	$gdt + TSS_MAIN, %edi
	call	set_base
	mov	$tss_other, %eax
	mov	$gdt + TSS_OTHER, %edi
	call	set_base
	mov	$tss_fault, %eax
	mov	$gdt + TSS_FAULT, %edi
	call	set_base
	mov	$tss_other, %edi
	mov	$other, %eax
	mov	$0x6000, %edx
	call	fill
	mov	$tss_fault, %edi
	mov	$fault, %eax
	mov	$0x5000, %edx
	call	fill
	lidt	idtr
	mov	$TSS_MAIN, %eax
	ltr	%ax

	mov	$0x1111, %ebx
	lcall	$TSS_OTHER, $0
	cmp	$0x1111, %ebx		/* the old task's registers are back */
	mov	$m_call, %esi
	call	report
	cmpl	$1, other_ran
	mov	$m_other, %esi
	call	report
	testl	$0x4000, other_flags	/* NT */
	setz	%al
	test	%al, %al
	mov	$m_nested, %esi
	call	report
	mov	%cr0, %eax
	not	%eax
	test	$8, %eax		/* TS */
	mov	$m_ts, %esi
	call	report
	ljmp	$TSS_OTHER, $0		/* goes on behind its IRET */
	cmpl	$2, other_ran
	mov	$m_jmp, %esi
	call	report
	mov	$0xfff8, %eax
	mov	%eax, %gs		/* #GP through the task gate, which skips it */
behind:	cmpl	$0xfff8, fault_error
	mov	$m_gate, %esi
	call	report
	str	%ax
	cmp	$TSS_MAIN, %ax
	mov	$m_tr, %esi
	call	report
	mov	$0, %al
	out	%al, $0xf4
	hlt

other:	pushfl
	popl	other_flags
	mov	$0x2222, %ebx
	incl	other_ran
	iretl
	incl	other_ran		/* entered by JMP: no link back */
	ljmp	$TSS_MAIN, $0

fault:	popl	fault_error
	movl	$behind, tss_main + 32
	iretl
	jmp	fault

set_base:	/* descriptor at edi: base eax */
	mov	%ax, 2(%edi)
	shr	$16, %eax
	mov	%al, 4(%edi)
	mov	%ah, 7(%edi)
	ret
fill:	/* TSS at edi: eip eax, esp edx */
	mov	%eax, 32(%edi)
	movl	$2, 36(%edi)
	mov	%edx, 56(%edi)
	movl	$DATA32, 72(%edi)
	movl	$CODE32, 76(%edi)
	movl	$DATA32, 80(%edi)
	movl	$DATA32, 84(%edi)
	movl	$DATA32, 88(%edi)
	movl	$DATA32, 92(%edi)
	movl	$0, 96(%edi)
	ret
report:	/* ZF: passed */
	push	%esi
	mov	$passed, %esi
	jz	1f
	mov	$failed, %esi
1:	call	puts
	pop	%esi
puts:	lodsb
	test	%al, %al
	jz	1f
	out	%al, $0xe9
	jmp	puts
1:	ret

	.data
passed:	.asciz	"ok "
failed:	.asciz	"FAIL "
m_call:	.asciz	"CALL and IRET keep the registers\n"
m_other: .asciz	"the other task ran\n"
m_nested: .asciz "NT is set in it\n"
m_ts:	.asciz	"TS is set\n"
m_jmp:	.asciz	"JMP to a task and back\n"
m_gate:	.asciz	"task gate with an error code\n"
m_tr:	.asciz	"TR\n"
	.balign	8
gdt:	.quad	0
	.quad	0x00cf9b000000ffff
	.quad	0x00cf93000000ffff
	.quad	0x0000890000000067
	.quad	0x0000890000000067
	.quad	0x0000890000000067
gdtr:	.word	. - gdt - 1
	.long	gdt
	.balign	8
idt:	.fill	13, 8, 0
	.quad	0x0000850000280000	/* #GP: task gate to TSS_FAULT */
idtr:	.word	14 * 8 - 1
	.long	idt
	.balign	4
other_ran: .long 0
other_flags: .long 0
fault_error: .long 0
	.bss
	.balign	8
tss_main: .skip	104
tss_other: .skip 104
tss_fault: .skip 104
	.section .note.GNU-stack, "", @progbits
