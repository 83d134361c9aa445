/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What kernels do all the time, in emitted code. */
	concern	system

	sequence cli_sti, view=kernel
	cli
	mov	eax, ecx
	sti
	nop

	sequence sti_last, view=kernel
	sti

	sequence irq_save, view=kernel
	pushfq
	pop	rax
	cli

	sequence irq_restore, view=kernel
	push	rax
	popfq

	sequence swapgs, view=kernel
	swapgs
	mov	rax, gs:[0x10]

	sequence syscall
	mov	eax, 39
	syscall

	sequence sysret, view=kernel
	swapgs
	sysretq

	sequence iret, view=kernel
	iretq

	sequence stac, view=kernel
	stac

	sequence clac, view=kernel-ac
	mov	[rdi], rax
	clac

	sequence control_registers, view=kernel
	mov	rax, cr3
	mov	r14, cr2
	mov	ecx, ds

	sequence fsgsbase
	rdfsbase rax
	wrfsbase rdi

	sequence verw, view=kernel
	verw	[rip + 0x200]

	sequence serialize, view=kernel
	add	rax, rcx
	serialize
	adc	rax, rdx

	sequence direction, view=kernel
	cld
	std

	sequence port, view=kernel
	mov	dx, 0x60
	in	al, dx

	sequence hlt, view=kernel
	sti
	hlt

	sequence invlpg, view=kernel
	invlpg	[rdi]
