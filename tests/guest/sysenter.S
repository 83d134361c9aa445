/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SYSENTER and SYSEXIT where every processor has them, in 32-bit protected mode: to CPL 0 and back, from virtual-8086 mode, and
 * what they refuse: real mode, no code segment, CPL 3, and on AMD's processors 64-bit code.
 */
	.set	CODE32, 0x08		/* the four selectors that SYSENTER_CS stands for */
	.set	DATA32, 0x10
	.set	UCODE32, 0x1b
	.set	UDATA, 0x23
	.set	TSS, 0x28
	.set	CODE64, 0x30
	.set	KERNEL_STACK, 0x7000
	.set	ENTRY_STACK, 0x6800
	.set	USER_STACK, 0x5000
	.set	EXIT_STACK, 0x4800
	.set	IF, 0x200

	.macro	expect good:req text:req	/* jcc suffix */
	j\good	8001f
	mov	$failed, %esi
	jmp	8002f
8001:	mov	$passed, %esi
8002:	call	puts
	mov	$8003f, %esi
	call	puts
	jmp	8004f
8003:	.asciz	"\text\n"
8004:
	.endm

	.macro	equal value:req where:req text:req
	cmpl	\value, \where
	expect	e, "\text"
	.endm

	.macro	wrmsr32 index:req value:req
	mov	$\index, %ecx
	mov	\value, %eax
	xor	%edx, %edx
	wrmsr
	.endm

	/* From CPL 0 to `where` at CPL 3 with interrupts on; an exception goes on at `back`. */
	.macro	user where:req back:req
	movl	$0, vector
	movl	$\back, resume
	pushl	$UDATA
	pushl	$USER_STACK
	pushl	$IF | 2
	pushl	$UCODE32
	pushl	$\where
	iretl
	.endm

	.section .text.start, "ax"
	.globl _start
	.code16
_start:
	cli
	xor	%ax, %ax
	mov	%ax, %ds
	mov	%ax, %ss
	mov	$KERNEL_STACK, %esp
	movw	$real_fault - 0x10000, 13 * 4
	movw	$0x1000, 13 * 4 + 2
	mov	%cs, %ax
	mov	%ax, %ds
	mov	$0xff, %al
	out	%al, $0x21
	out	%al, $0xa1
	wrmsr32	0x174 $CODE32
	movw	$1f - 0x10000, real_resume - 0x10000
	sysenter
1:	movw	$1f - 0x10000, real_resume - 0x10000
	sysexit
1:	lgdtl	gdtr - 0x10000
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	ljmpl	$CODE32, $start32
real_fault:
	incl	%cs:real_faults - 0x10000
	pushw	%cs:real_resume - 0x10000
	popw	%cs:real_ip - 0x10000
	add	$4, %sp		/* IP and CS; the flags go */
	popf
	jmp	*%cs:real_ip - 0x10000

	.code32
start32:
	mov	$DATA32, %eax
	mov	%eax, %ss
	mov	$KERNEL_STACK, %esp
	mov	$UDATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	$tss, %eax
	mov	%ax, gdt + TSS + 2
	shr	$16, %eax
	mov	%al, gdt + TSS + 4
	mov	%ah, gdt + TSS + 7
	movl	$KERNEL_STACK, tss + 4
	movl	$DATA32, tss + 8
	movw	$104, tss + 102
	mov	$TSS, %eax
	ltr	%ax
	mov	$idt, %edi
	mov	$ud, %eax
	mov	$6, %ecx
	call	set_gate
	mov	$gp, %eax
	mov	$13, %ecx
	call	set_gate
	lidt	idtr
	equal	$2 real_faults "GP of both in real mode"

	/* no code segment */
	wrmsr32	0x174 $0
	movl	$1f, resume
	sysenter
1:	equal	$13 vector "GP of SYSENTER without a code segment"
	equal	$0 error "its error code"
	movl	$0, vector
	movl	$1f, resume
	sysexit
1:	equal	$13 vector "GP of SYSEXIT without a code segment"

	/* CPL 3 to 0 */
	wrmsr32	0x174 $CODE32 | 3
	wrmsr32	0x175 $ENTRY_STACK
	wrmsr32	0x176 $entry
	user	enter no_way
enter:	mov	$0x12345678, %ebx
	mov	$0x9abcdef0, %ebp
	stc
	sysenter
entry:	mov	%esp, seen_esp
	pushfl
	popl	seen_flags
	mov	%cs, seen_cs
	mov	%ss, seen_ss
	equal	$ENTRY_STACK seen_esp "SYSENTER: stack pointer"
	equal	$CODE32 seen_cs "SYSENTER: code segment"
	equal	$DATA32 seen_ss "SYSENTER: stack segment"
	testl	$IF, seen_flags
	expect	z "SYSENTER: interrupts are off"
	testl	$1, seen_flags
	expect	nz "SYSENTER: carry stays"
	cmp	$0x12345678, %ebx
	expect	e "SYSENTER: EBX stays"
	cmp	$0x9abcdef0, %ebp
	expect	e "SYSENTER: EBP stays"
	mov	%cr0, %eax	/* privileged */
	test	$1, %al
	expect	nz "SYSENTER: CPL 0"

	/* 0 to 3 */
	movl	$0, vector
	movl	$exited, resume
	mov	$after, %edx
	mov	$EXIT_STACK, %ecx
	mov	$0x2468, %ebx
	sysexit
after:	mov	%esp, seen_esp
	mov	%cs, seen_cs
	mov	%ss, seen_ss
	mov	%ebx, seen_ebx
	push	$0
fault:	cli
	jmp	no_way
exited:	equal	$13 vector "SYSEXIT: CPL 3 may not CLI"
	equal	$fault fault_eip "SYSEXIT: code goes on at EDX"
	equal	$UCODE32 fault_cs "SYSEXIT: code segment in the frame"
	equal	$UCODE32 seen_cs "SYSEXIT: code segment"
	equal	$UDATA seen_ss "SYSEXIT: stack segment"
	equal	$EXIT_STACK seen_esp "SYSEXIT: stack pointer is ECX"
	equal	$0x2468 seen_ebx "SYSEXIT: EBX stays"

	user	1f 2f
1:	sysexit
2:	equal	$13 vector "GP of SYSEXIT at CPL 3"
	equal	$UCODE32 fault_cs "from CPL 3"

	/* from virtual-8086 mode */
	wrmsr32	0x176 $from_vm86
	movl	$no_way, resume
	pushl	$0		/* GS, FS, DS, ES, SS */
	pushl	$0
	pushl	$0
	pushl	$0
	pushl	$0
	pushl	$USER_STACK
	pushl	$0x20002	/* VM */
	pushl	$0x1000
	pushl	$vm86 - 0x10000
	iretl
from_vm86:
	mov	$UDATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	pushfl
	popl	seen_flags
	mov	%cs, seen_cs
	equal	$CODE32 seen_cs "SYSENTER from virtual-8086 mode"
	testl	$0x20000, seen_flags
	expect	z "VM is off"

	/* 64-bit code: AMD's processors have neither there */
	mov	$0, %eax
	cpuid
	cmp	$0x68747541, %ebx
	jne	done
	mov	$0x9000, %edi	/* page tables: the first 2 MiB, one to one */
	mov	%edi, %cr3
	movl	$0xa003, 0x9000
	movl	$0, 0x9004
	movl	$0xb003, 0xa000
	movl	$0, 0xa004
	movl	$0x83, 0xb000
	movl	$0, 0xb004
	mov	$0x20, %eax
	mov	%eax, %cr4
	wrmsr32	0xc0000080 $0x100
	mov	$idt64, %edi
	mov	$ud64, %eax
	mov	$6 * 2, %ecx
	call	set_gate
	movw	$CODE64, idt64 + 6 * 16 + 2
	mov	%cr0, %eax
	or	$0x80000000, %eax
	mov	%eax, %cr0
	lidt	idtr64
	movl	$0, vector
	ljmp	$CODE64, $1f
	.code64
1:	movl	$1f, resume
	sysenter
1:	movl	$1f, resume
	sysexitl
1:	ljmp	*back32
	.code32
compat:	equal	$2 vector "UD of both in 64-bit code"
done:	mov	$0, %al
	out	%al, $0xf4
	hlt
no_way:	mov	$KERNEL_STACK, %esp
	mov	$m_no_way, %esi
	call	puts
	mov	$1, %al
	out	%al, $0xf4
	hlt

	.code16
vm86:	sysenter
	hlt

	.code64
ud64:	incl	vector
	mov	resume, %eax
	mov	%rax, (%rsp)
	iretq

	.code32
ud:	movl	$6, %ss:vector
	push	$0
	jmp	1f
gp:	movl	$13, %ss:vector
1:	popl	%ss:error
	popl	%ss:fault_eip
	popl	%ss:fault_cs
	mov	$UDATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	$KERNEL_STACK, %esp
	jmp	*resume
set_gate:	/* interrupt gate, entry %ecx of the table at %edi: %eax */
	mov	%ax, (%edi,%ecx,8)
	movw	$CODE32, 2(%edi,%ecx,8)
	movw	$0x8e00, 4(%edi,%ecx,8)
	shr	$16, %eax
	mov	%ax, 6(%edi,%ecx,8)
	ret
puts:	lodsb
	test	%al, %al
	jz	1f
	out	%al, $0xe9
	jmp	puts
1:	ret

	.data
passed:	.asciz	"ok "
failed:	.asciz	"FAIL "
m_no_way: .asciz "FAIL an exception that nothing expects\n"
	.balign	8
gdt:	.quad	0
	.quad	0x00cf9b000000ffff
	.quad	0x00cf93000000ffff
	.quad	0x00cffb000000ffff
	.quad	0x00cff3000000ffff
	.quad	0x0000890000000067
	.quad	0x00af9b000000ffff
gdtr:	.word	. - gdt - 1
	.long	gdt
back32:	.long	compat
	.word	CODE32
idtr:	.word	14 * 8 - 1
	.long	idt
idtr64:	.word	7 * 16 - 1
	.long	idt64, 0
	.balign	4
vector:	.long	0
error:	.long	-1
resume:	.long	no_way
fault_eip: .long 0
fault_cs: .long	0
seen_esp: .long	0
seen_flags: .long 0
seen_cs: .long	0
seen_ss: .long	0
seen_ebx: .long	0
real_faults: .long 0
real_resume: .word 0
real_ip: .word	0
	.bss
	.balign	16
tss:	.skip	104
idt:	.skip	14 * 8
idt64:	.skip	7 * 16
	.section .note.GNU-stack, "", @progbits
