/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ends of a page: an instruction that reaches into the next one, blocks that end with the page. */
	concern	crossing

	sequence instruction, at=0xffd
	mov	rax, [rdi + 0x100]

	sequence instruction_flags, at=0xffd, flags=live
	adc	rax, 0x12345

	sequence instruction_in_place, at=0xfff, view=kernel
	wrmsr

	sequence branch, at=0xffe
	jne	. + 0x200

	sequence falls_over, at=0xffd
	add	rax, rcx

	sequence call_last, at=0xffb
	call	. + 0x20

	sequence rip_relative_page, at=0xff0
	mov	rax, [rip + 0x5]
	mov	rcx, [rip + 0xd]
