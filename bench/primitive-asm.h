/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How user.S and guest/system.S write a primitive: NAME(count in rdi, scratch in rsi) does the thing count times unroll.
 * Loop overhead is part of each figure.
 */
#pragma once

	.macro	begin name
	.globl	\name
	.balign	64
\name:
	.endm

	/* The loop around body, `times` of it a turn */
	.macro	repeat times, body:vararg
	.balign	16
1:
	.rept	\times
	\body
	.endr
	dec	%rdi
	jnz	1b
	ret
	.endm
