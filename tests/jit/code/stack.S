/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stack accesses and the stack window. */
	concern	stack

	sequence push_pop
	push	rbp
	mov	rbp, rsp
	push	rbx
	pop	rbx
	pop	rbp

	sequence push_forms
	push	r14
	push	-1
	push	qword ptr [rdi + 8]

	sequence pop_forms
	pop	r14
	pop	rsp

	sequence pop_leads
	pop	rbx
	pop	rbp
	mov	[rsp + 8], rbx
	mov	rax, [rsp - 8]

	sequence prologue
	push	rbp
	push	r15
	push	r14
	push	rbx
	sub	rsp, 24
	mov	[rsp + 8], rdi
	mov	rax, [rsp + 16]

	sequence frame
	push	rbp
	mov	rbp, rsp
	mov	[rbp - 8], rdi
	mov	eax, [rbp - 16]
	leave

	sequence epilogue
	add	rsp, 24
	pop	rbx
	pop	r14
	pop	r15
	pop	rbp
	ret

	sequence call_near
	mov	edi, 1
	call	. + 0x40

	sequence call_far
	call	. + 0x2000

	sequence call_register
	call	rax

	sequence call_memory
	call	[rdi + 24]

	sequence call_home
	call	r15

	sequence ret_bytes
	ret	16

	/* PUSH is the interpreter's, so the store behind it has to look for itself. */
	sequence push_eip_relative
	push	qword ptr [eip + 0x1000]
	mov	[rsp - 0x160], bl
