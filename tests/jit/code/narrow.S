/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 32-bit code: its own encodings, addresses that are cut to 32 bits, words of four bytes. */
	concern	narrow
	.code32

	sequence inc_dec, view=user-32
	inc	eax
	dec	esp
	inc	cx
	.byte	0xff, 0xc2			/* inc edx, the long form */

	sequence address, view=user-32
	mov	eax, [ebx + esi * 4 - 0x40000000]
	mov	[0xfedcba98], ecx
	mov	edx, ds:[ebp]

	sequence group, view=user-32
	mov	eax, [ebx + 4]
	mov	[ebx + 8], ecx
	inc	ebx
	add	edx, [ebx + 12]

	sequence globals, view=user-32
	mov	eax, ds:[0x8048000]
	mov	ds:[0x8048004], ecx

	sequence lea, view=user-32
	lea	eax, [ebx + ecx * 8 - 3]
	lea	edx, ds:[0x12345678]

	sequence prologue, view=user-32
	push	ebp
	mov	ebp, esp
	push	edi
	push	-1
	sub	esp, 12
	mov	[esp + 4], eax
	mov	eax, [ebp + 8]

	sequence epilogue, view=user-32
	pop	ebx
	pop	esp
	leave
	ret	8

	sequence call, view=user-32
	call	. + 0x40

	sequence call_memory, view=user-32
	call	[ebx + 12]

	sequence jump_table, view=user-32
	jmp	[eax * 4 + 0x8048000]

	sequence jump_away, view=user-32
	jmp	. + 0x5000

	sequence loop, view=user-32
	loop	. + 0x20

	sequence strings, view=kernel-32
	lodsd
	stosb
	rep movsd

	sequence moffs, view=user-32
	.byte	0xa1, 0x44, 0x33, 0x22, 0x11	/* mov eax, [0x11223344] */

	sequence flags, view=kernel-32
	pushfd
	cli
	popfd

	sequence in_place, view=user-32
	pusha
	daa
	push	es
	mov	eax, fs:[ebx]
	add	eax, [bx + si]

	.code64
