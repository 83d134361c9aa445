/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arithmetic between registers, of which r9 to r11 live in memory and rsp is another one. */
	concern	registers

	sequence mapped
	add	rax, rcx
	sub	r12d, 5
	imul	rbx, rdi, 24
	shl	rdx, cl

	sequence home_read
	add	rax, r9
	cmp	r10, rcx
	mov	r12d, r11d
	imul	rdx, r9
	test	r10d, esi

	sequence home_written
	mov	r9, rax
	add	r10, 8
	xor	r11d, r11d
	mov	r9d, 7

	sequence home_again
	mov	r9, rax
	add	r9, rcx
	shr	r9, 3
	and	r9d, 63
	mov	rdx, r9

	sequence home_two
	add	r9, r10
	mov	r11, r9
	lea	r10, [r11 + r9 * 2 + 8]

	sequence bytes
	mov	al, r9b
	add	r10b, 1
	movzx	ecx, r11b
	mov	ah, bl
	setc	r9b

	sequence stack_pointer
	mov	rax, rsp
	sub	rsp, 40
	and	rsp, -16
	lea	rdi, [rsp + 16]

	sequence lea
	lea	rax, [rdi + rsi * 4 - 8]
	lea	ecx, [rdi + 1]
	lea	rdx, [rip + 0x1234]
	lea	r9, [rax + rcx]
	lea	edx, [r10 + r11 * 8]

	sequence bit_instructions
	bsr	rax, r9
	popcnt	rcx, r10
	bt	r9, 5
	bswap	r11
	andn	rax, r9, rdx
	shlx	rdx, rsi, rdi

	sequence multiply
	mul	r9
	imul	r10, rax
	xchg	rax, r11
	cmpxchg	r10, rcx

	sequence nops
	nop
	nop	dword ptr [rax + rax]
	endbr64
