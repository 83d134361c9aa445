/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SSE and AVX with the vector state on: unaligned, aligned (with the site where the host may fault), between registers. */
	concern	vector

	sequence sse_registers
	paddd	xmm0, xmm1
	pxor	xmm2, xmm2
	movd	xmm3, r14d
	cvtsi2sd xmm4, rax

	sequence sse_unaligned
	movdqu	xmm0, [rdi]
	movups	[rsi + 16], xmm0

	sequence sse_aligned
	movaps	xmm0, [rdi]
	paddd	xmm0, [rdi + 16]
	movdqa	[rsi], xmm0

	sequence sse_scalar
	movsd	xmm0, [rdi]
	addsd	xmm0, [rdi + 8]
	ucomisd	xmm0, xmm1
	ja	. + 0x40

	sequence avx
	vmovdqu	ymm0, [rdi]
	vpaddd	ymm0, ymm0, [rdi + 32]
	vmovdqu	[rsi], ymm0
	vzeroupper

	sequence memcpy_loop
1:	movdqu	xmm0, [rsi + rax]
	movdqu	[rdi + rax], xmm0
	add	rax, 16
	cmp	rax, rdx
	jb	1b

	sequence x87
	fld	qword ptr [rdi]
	fadd	st, st(1)
	fstp	qword ptr [rdi + 8]

	sequence mmx
	movq	mm0, [rdi]
	paddb	mm0, mm1
