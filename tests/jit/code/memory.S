/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory operands: alone, in groups, and every form of address. */
	concern	memory

	sequence load
	mov	rax, [rdi]

	sequence store
	mov	[rdi + 8], ecx

	sequence modify
	add	dword ptr [rdi], 1

	sequence home_base
	mov	rax, [r14 + 16]
	mov	[r10], r15

	sequence group
	mov	rax, [rdi]
	mov	rcx, [rdi + 8]
	mov	rdx, [rdi + 24]

	sequence group_widened
	mov	rax, [rdi + 16]
	mov	rcx, [rdi]
	mov	[rdi + 8], rax

	sequence group_two
	mov	rax, [rdi]
	mov	rcx, [rsi]
	mov	[rdi + 8], rcx
	add	rax, [rsi + 8]

	sequence group_moved
	mov	eax, [rdi]
	add	rdi, 4
	mov	ecx, [rdi]
	lea	rsi, [rdi + 12]
	mov	edx, [rsi]

	sequence rip_relative
	mov	rax, [rip + 0x2000]
	add	eax, [rip + 0x2008]
	mov	[rip + 0x4000], eax

	sequence indexed
	mov	rax, [rdi + rcx * 8 + 16]

	sequence indexed_group
	mov	rax, [rdi + rcx * 8]
	mov	rdx, [rdi + rcx * 8 + 8]

	sequence indexed_home
	mov	rax, [r14 + r10 * 4]
	mov	rdx, [rdi + r15 * 8]

	sequence indexed_group_store
	mov	rax, [rdi + rcx * 8]
	mov	[rdi + rcx * 8 + 16], rdx

	sequence indexed_group_moved
	mov	eax, [rdi + rcx * 4]
	add	rdi, 4
	mov	edx, [rdi + rcx * 4]

	sequence read_leads_write
	mov	rax, [rdi]
	lea	rcx, [rax + 1]
	mov	[rdi + 8], rcx

	sequence read_leads_write_over_branch
	mov	rax, [rdi]
	test	rax, rax
	jz	. + 0x40
	mov	[rdi + 8], rax

	sequence absolute
	mov	eax, ds:[0x1000]
	movabs	rax, [0x123456789abc]

	sequence fs
	mov	rax, fs:[0x28]
	mov	rcx, fs:[rdi]

	sequence fs_group
	mov	rax, fs:[0x28]
	mov	fs:[0x30], rax
	mov	rcx, fs:[rdi]
	mov	rdx, fs:[rdi + 8]

	sequence gs, view=kernel
	mov	rax, gs:[0x1440]
	inc	dword ptr gs:[rip + 0x300]

	sequence address32
	mov	eax, [edi + 4]

	sequence extended
	movzx	eax, byte ptr [rdi]
	movsx	rcx, word ptr [rsi + 2]
	movsxd	rdx, dword ptr [rdi + 4]

	sequence locked
	lock add dword ptr [rdi], 1
	lock xadd [rsi], rax
	lock cmpxchg [rdi + 8], rcx
	xchg	[rsi + 8], edx

	sequence bit_string
	bts	[rdi], rcx
	bt	[rsi], r14d
	lock btr [rdi], rdx

	sequence table_of_bytes
	movzx	ecx, byte ptr [rsi]
	mov	eax, [rcx * 4 + 0x3c000100]
	movzx	edx, al
	add	ebx, [rdx * 4 + 0x3c000108]

	sequence array_of_bytes
	movzx	ecx, al
	movzx	edx, ah
	mov	ebp, [rdi + rcx * 4]
	add	r8d, [rdi + rdx * 4]
	add	rdi, 4
	mov	[rdi + rcx * 4 - 4], ebp
	xor	[rdi + rdx * 4 - 4], r8d

	/* The second index is compared with the first, but not the third: it moves in between. */
	sequence array_checked_early
	movzx	ecx, al
	movzx	edx, ah
	add	ebp, [rdi + rcx * 4]
	xor	ebp, [rdi + rdx * 4]
	movzx	edx, bl
	sub	ebp, [rdi + rdx * 4]
	movzx	ecx, bh
	or	ebp, [rdi + rcx * 4]
