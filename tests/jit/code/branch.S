/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Edges: links, side exits, loops, followed jumps, the jump cache. */
	concern	branch

	sequence jcc_forward
	cmp	eax, 5
	je	. + 0x40

	sequence jcc_far
	cmp	eax, 5
	je	. + 0x2000

	sequence side_exit
	test	rdi, rdi
	je	. + 0x80
	mov	rax, [rdi]
	test	rax, rax
	je	. + 0x70
	mov	rax, [rax + 8]

	sequence side_exit_flags, flags=live
	cmp	rdi, rsi
	ja	. + 0x80
	mov	[rdi], rsi
	jb	. + 0x78

	sequence side_exit_far
	cmp	rdi, rsi
	ja	. + 0x2000
	mov	rax, [rdi]

	sequence loop_unrolled
1:	mov	eax, [rdi]
	add	ecx, eax
	add	rdi, 4
	dec	rdx
	jnz	1b

	sequence loop_plain
1:	add	rax, rcx
	dec	rdx
	jnz	1b

	sequence loop_forever
1:	pause
	jmp	1b

	sequence backward
	dec	rcx
	jnz	. - 0x40

	sequence followed
	mov	eax, 1
	jmp	1f
	.skip	9, 0xcc
1:	add	ecx, eax

	sequence jump_near
	mov	eax, 1
	jmp	. - 0x20

	sequence jump_far
	jmp	. + 0x2000

	sequence jump_register
	jmp	rax

	sequence jump_farthest
	.byte	0xe9
	.long	0x7fffffff /* more than a displacement from the page */

	sequence jump_memory
	jmp	[rip + 0x2000]

	sequence jump_switch
	cmp	eax, 9
	ja	. + 0x40
	movsxd	rax, dword ptr [rcx + rax * 4]
	add	rax, rcx
	jmp	rax

	sequence loop_rcx
	loop	. - 0x20

	sequence jrcxz
	jrcxz	. + 0x20

	sequence setcc_cmov
	cmp	r14, rax
	sete	cl
	cmovb	rdx, r10
