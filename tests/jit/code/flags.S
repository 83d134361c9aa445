/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest flags in the host's flags, in struct cpu, and nowhere when nobody reads them. */
	concern	flags

	sequence dead_over_check
	add	rax, 1
	mov	rcx, [rdi]
	test	rcx, rcx

	sequence live_over_check
	cmp	rax, rdx
	mov	rcx, [rdi]
	jne	. + 0x40

	sequence live_over_two_checks
	cmp	rax, rdx
	mov	rcx, [rdi]
	mov	[rsi], rcx
	cmovb	rax, rdx

	sequence live_over_group
	mov	rcx, [rdi]
	cmp	rax, rdx
	mov	rcx, [rdi + 8]
	jne	. + 0x40

	sequence carry_kept
	add	rax, rdx
	mov	rcx, [rdi]
	inc	rsi
	adc	rbx, rcx

	sequence read_by_operand
	cmp	rax, rdx
	adc	rcx, [rdi]
	setz	[rsi]

	sequence wanted_at_entry
	adc	rax, rdx
	setc	cl

	sequence wanted_at_entry_behind_check
	mov	rcx, [rdi]
	adc	rax, rcx

	sequence live_at_end, flags=live
	mov	rcx, [rdi]
	cmp	rax, rcx

	sequence shift_before_load
	shr	rcx, 32
	mov	rax, [rdi + rdx*8]
	shl	r14d, 5
	mov	rbx, [rsi]
	add	rbx, rcx

	sequence shift_by_register, flags=live
	cmp	rax, rdx
	shl	rbx, cl

	sequence saved_at_end, flags=live
	cmp	rax, rdx
	mov	rcx, [rdi]

	sequence lahf
	cmp	rax, rdx
	lahf

	sequence live_over_segments
	mov	rax, fs:[0x28]
	cmp	rax, rdx
	mov	rcx, fs:[0x30]
	je	. + 0x40

	sequence live_over_segments_with_registers
	mov	rax, gs:[rdi]
	cmp	rax, rdx
	mov	rcx, gs:[rdi + 8]
	je	. + 0x40

	sequence live_over_segments_forward, view=kernel
	mov	gs:[rdi], rax
	cmp	rax, rdx
	je	1f
	mov	gs:[rdi + 8], rdx
1:	call	. + 0x2000

	sequence kept_comparison
	cmp	dword ptr [rdi], 5
	jne	. + 0x40
	mov	rcx, [rsi]
	xor	eax, eax

	sequence kept_byte_with_register
	test	[rdi], bl
	mov	rcx, [rsi]
	xor	eax, eax

	/* R10 has no register of the host's: no recipe takes it. */
	sequence comparison_not_kept
	cmp	[rdi], r10
	mov	rcx, [rsi]
	xor	eax, eax
