/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arithmetic between registers, of which r10, r14 and r15 live in memory and rsp is another one. */
	concern	registers

	sequence mapped
	add	rax, rcx
	sub	r12d, 5
	imul	rbx, rdi, 24
	shl	rdx, cl

	sequence home_read
	add	rax, r14
	cmp	r10, rcx
	mov	r12d, r15d
	imul	rdx, r14
	test	r10d, esi

	sequence home_written
	mov	r14, rax
	add	r10, 8
	xor	r15d, r15d
	mov	r14d, 7

	sequence home_again
	mov	r14, rax
	add	r14, rcx
	shr	r14, 3
	and	r14d, 63
	mov	rdx, r14

	sequence home_two
	add	r14, r10
	mov	r15, r14
	lea	r10, [r15 + r14 * 2 + 8]

	sequence bytes
	mov	al, r14b
	add	r10b, 1
	movzx	ecx, r15b
	mov	ah, bl
	setc	r14b

	sequence stack_pointer
	mov	rax, rsp
	sub	rsp, 40
	and	rsp, -16
	lea	rdi, [rsp + 16]

	sequence lea
	lea	rax, [rdi + rsi * 4 - 8]
	lea	ecx, [rdi + 1]
	lea	rdx, [rip + 0x1234]
	lea	r14, [rax + rcx]
	lea	edx, [r10 + r15 * 8]

	sequence bit_instructions
	bsr	rax, r14
	popcnt	rcx, r10
	bt	r14, 5
	bswap	r15
	andn	rax, r14, rdx
	shlx	rdx, rsi, rdi

	sequence multiply
	mul	r14
	imul	r10, rax
	xchg	rax, r15
	cmpxchg	r10, rcx

	sequence nops
	nop
	nop	dword ptr [rax + rax]
	endbr64
