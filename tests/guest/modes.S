/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Up and down through the modes: real mode, protected mode with 16- and 32-bit code, a segment that outlives the way back to
 * real mode ("unreal"), virtual-8086 mode, long mode with compatibility code, and back to real mode. Linked at 0x10000 and
 * entered there in real mode.
 */
	.set	CODE16, 0x08
	.set	DATA16, 0x10
	.set	CODE32, 0x18
	.set	DATA32, 0x20
	.set	CODE64, 0x28
	.set	TSS, 0x30
	.set	UDATA, 0x43

	.macro	report good:req name:req	/* ZF or a condition: jcc suffix */
	j\good	8001f
	mov	$failed, %esi
	jmp	8002f
8001:	mov	$passed, %esi
8002:	call	puts_\@
	jmp	8005f
puts_\@:
	cld
8003:	lodsb	(%esi), %al
	test	%al, %al
	jz	8004f
	out	%al, $0xe9
	jmp	8003b
8004:	ret
8005:	mov	$8006f, %esi
	call	puts_\@
	jmp	8007f
8006:	.asciz	"\name\n"
8007:
	.endm

	.section .text.start, "ax"
	.globl _start
	.code16
_start:
	cli
	xor	%ax, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	$0x7000, %esp
	/* IVT entry 0x40 */
	movw	$rm_handler - 0x10000, 0x100
	movw	$0x1000, 0x102
	mov	%cs, %ax
	mov	%ax, %ds
	cmp	$0x1000, %ax
	push	%ds
	push	$0
	pop	%ds
	lgdtl	%cs:gdtr - 0x10000
	pop	%ds
	int	$0x40
	cmp	$0x4040, %bx
	mov	$m_int - 0x10000, %si
	call	rm_report
	mov	$0xffff, %ax
	mov	%ax, %es
	mov	%es:0x10, %al	/* 1 MiB: no wrap, A20 is on */
	mov	$0x1234, %ax
	mov	$0x10, %cx
	push	%ax
	pop	%dx
	cmp	%dx, %ax
	mov	$m_stack - 0x10000, %si
	call	rm_report
	mov	$0x00f8, %ax
	xor	%dx, %dx
	add	$0x0f, %al
	adc	$0, %dl
	daa
	cmp	$1, %dl
	mov	$m_bcd - 0x10000, %si
	call	rm_report
	/* to protected mode, 16-bit code */
	smsw	%ax
	or	$1, %ax
	lmsw	%ax
	ljmpl	$CODE16, $pm16 - 0x10000

rm_report:	/* ZF: passed; %si: name, terminated by zero */
	push	%ds
	pushf
	push	%cs
	pop	%ds
	popf
	push	%si
	mov	$passed - 0x10000, %si
	jz	1f
	mov	$failed - 0x10000, %si
1:	call	rm_puts
	pop	%si
	call	rm_puts
	pop	%ds
	ret
rm_puts:
	lodsb
	test	%al, %al
	jz	1f
	out	%al, $0xe9
	jmp	rm_puts
1:	ret
rm_handler:
	mov	$0x4040, %bx
	iret

pm16:	/* CS base 0x10000 */
	mov	$DATA32, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	$0x7000, %esp
	mov	$0x300000, %edi
	movl	$0xcafe, (%edi)	/* 32-bit address, 16-bit code */
	mov	%cr0, %eax
	and	$0xfe, %al
	mov	%eax, %cr0
	ljmp	$0x1000, $unreal - 0x10000
unreal:
	xor	%ax, %ax
	mov	%ax, %ss
	mov	%ax, %ds	/* the base changes, the 4 GiB limit stays */
	mov	(%edi), %eax
	cmp	$0xcafe, %eax
	mov	$m_unreal - 0x10000, %si
	call	rm_report
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	ljmpl	$CODE32, $pm32

	.code32
pm32:
	mov	$DATA32, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	$0x7000, %esp
	mov	%cs, %eax
	cmp	$CODE32, %eax
	report	z "32-bit code"
	/* a limit */
	mov	$DATA16, %eax
	mov	%eax, %fs
	lsl	%eax, %ecx
	cmp	$0xffff, %ecx
	report	z "LSL"
	mov	$DATA16, %eax
	lar	%eax, %ecx
	cmp	$0x009300, %ecx
	report	z "LAR"
	mov	$DATA16, %eax
	verw	%ax
	report	z "VERW"
	mov	$CODE32, %eax
	verw	%ax
	report	nz "VERW of code"
	/* the interrupt table */
	mov	$idt, %edi
	mov	$pm_handler, %eax
	mov	$32, %ecx
1:	mov	%ax, (%edi)
	movw	$CODE32, 2(%edi)
	movw	$0x8e00, 4(%edi)
	movl	%eax, %edx
	shr	$16, %edx
	mov	%dx, 6(%edi)
	add	$8, %edi
	loop	1b
	lidt	idtr
	movl	$1f, resume
	mov	%fs:0xfffd, %ebx
1:	cmpl	$13, vector_seen
	report	z "GP beyond the limit"
	movl	$0, vector_seen
	movl	$1f, resume
	mov	%fs:0xfffc, %ebx
1:	cmpl	$0, vector_seen
	report	z "last bytes of the segment"
	movl	$1f, resume
	mov	%ebx, %cs:0
1:	cmpl	$13, vector_seen
	report	z "GP of a write to code"

	/* virtual-8086 mode */
	movl	$tss, %eax
	mov	%ax, gdt + TSS + 2
	shr	$16, %eax
	mov	%al, gdt + TSS + 4
	mov	%ah, gdt + TSS + 7
	movl	$0x6000, tss + 4
	movl	$DATA32, tss + 8
	movw	$104, tss + 102
	mov	$TSS, %eax
	ltr	%ax
	movl	$vm_back, resume
	pushl	$0		/* GS */
	pushl	$0x2000		/* FS */
	pushl	$0x1000		/* DS */
	pushl	$0		/* ES */
	pushl	$0		/* SS */
	pushl	$0x5000		/* ESP */
	pushl	$0x20002	/* VM, IOPL 0 */
	pushl	$0x1000
	pushl	$vm86 - 0x10000
	movl	$0, vector_seen
	iretl
vm_back:
	cmpl	$13, vector_seen
	report	z "VM86: GP of CLI"
	cmpl	$0x5678, vm_result
	report	z "VM86 ran"
	cmpl	$0x2000, vm_fs
	report	z "VM86 segments are pushed"
	testl	$0x20000, vm_flags
	report	nz "VM is in the pushed flags"

	/* long mode */
	mov	$0x9000, %edi
	mov	%edi, %cr3
	movl	$0xa003, (%edi)
	movl	$0, 4(%edi)
	movl	$0x83, 0xa000	/* one page of 1 GiB would do, but not every processor has it */
	movl	$0xb003, 0xa000
	movl	$0, 0xa004
	mov	$0xb000, %edi
	xor	%eax, %eax
	mov	$0x83, %eax
	mov	$8, %ecx
1:	mov	%eax, (%edi)
	movl	$0, 4(%edi)
	add	$0x200000, %eax
	add	$8, %edi
	loop	1b
	mov	$0x20, %eax
	mov	%eax, %cr4
	mov	$0xc0000080, %ecx
	rdmsr
	or	$0x100, %eax
	wrmsr
	mov	%cr0, %eax
	or	$0x80000000, %eax
	mov	%eax, %cr0
	rdmsr
	test	$0x400, %eax
	report	nz "LMA follows paging"
	mov	%cs, %eax
	cmp	$CODE32, %eax
	report	z "compatibility mode goes on"
	ljmp	$CODE64, $lm64
	.code64
lm64:
	mov	$0x123456789abcdef0, %rax
	mov	%rax, %r15
	shr	$32, %r15
	cmp	$0x12345678, %r15
	jne	1f
	movl	$1, long_ran
1:	mov	%cr0, %rax
	push	$CODE32
	lea	compat(%rip), %rax
	push	%rax
	lretq
	.code32
compat:
	cmpl	$1, long_ran
	report	z "64-bit code"
	.byte	0x40		/* INC EAX here, REX there */
	mov	$0xffffffff, %eax
	inc	%eax
	report	z "32-bit code in compatibility mode"
	/* and down again */
	mov	%cr0, %eax
	and	$0x7fffffff, %eax
	mov	%eax, %cr0
	mov	$0xc0000080, %ecx
	rdmsr
	test	$0x400, %eax
	report	z "LMA is gone"
	and	$~0x100, %eax
	wrmsr
	lidt	rm_idtr
	mov	$DATA16, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %fs
	mov	%eax, %gs
	mov	%eax, %ss
	ljmp	$CODE16, $down - 0x10000
	.code16
down:
	mov	%cr0, %eax
	and	$0xfe, %al
	mov	%eax, %cr0
	ljmp	$0x1000, $real - 0x10000
real:
	xor	%ax, %ax
	mov	%ax, %ss
	mov	%ax, %ds
	mov	$0x7000, %sp
	xor	%bx, %bx
	int	$0x40
	cmp	$0x4040, %bx
	mov	$m_real - 0x10000, %si
	call	rm_report
	xor	%ax, %ax
	out	%al, $0xf4
	hlt

vm86:	/* CS 0x1000 */
	mov	$0x1000, %ax
	mov	%ax, %ds
	movl	$0x5678, vm_result - 0x10000
	cli
	hlt

	.code32
pm_handler:	/* any exception with an error code; from VM86 mode as well */
	movl	$13, %ss:vector_seen
	testl	$0x20000, %ss:12(%esp)
	jz	1f
	mov	%ss:12(%esp), %eax
	mov	%eax, %ss:vm_flags
	mov	%ss:32(%esp), %eax
	mov	%eax, %ss:vm_fs
	mov	$DATA32, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %fs
	mov	$0x7000, %esp
	jmp	*resume
1:	mov	resume, %eax
	mov	%eax, 4(%esp)
	add	$4, %esp
	iretl

	.data
passed:	.asciz	"ok "
failed:	.asciz	"FAIL "
m_int:	.asciz	"INT in real mode\n"
m_stack: .asciz	"PUSH and POP in real mode\n"
m_bcd:	.asciz	"carry in real mode\n"
m_unreal: .asciz "limits outlive protected mode\n"
m_real:	.asciz	"back in real mode\n"
	.balign	8
gdt:	.quad	0
	.quad	0x00009b010000ffff	/* 16-bit code at 0x10000 */
	.quad	0x000093000000ffff
	.quad	0x00cf9b000000ffff
	.quad	0x00cf93000000ffff
	.quad	0x00af9b000000ffff
	.quad	0x0000890000000067
	.quad	0
	.quad	0x00cff3000000ffff
gdtr:	.word	. - gdt - 1
	.long	gdt
rm_idtr: .word	0x3ff
	.long	0
idtr:	.word	32 * 8 - 1
	.long	idt
	.balign	8
vector_seen: .long 0
resume:	.long	0
vm_result: .long 0
vm_fs:	.long	0
vm_flags: .long	0
long_ran: .long	0
	.bss
	.balign	8
idt:	.skip	32 * 8
tss:	.skip	104
	.section .note.GNU-stack, "", @progbits
