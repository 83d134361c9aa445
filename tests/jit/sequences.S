/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest code of which golden/ says what it becomes; a table of struct sequence (listing.h) for listing.c.
 *
 * A new sequence is a paragraph in a file of code/: `sequence NAME` and the instructions, one block. A new concern is a new
 * file, which begins with `concern NAME` and is named below; then tools/dev golden.
 *
 *	sequence NAME, view=user|kernel|kernel-ac|user-32|..., at=OFFSET, flags=live|dead
 *
 * `at` is the place in the page. Flags are dead behind a sequence unless it says that they are live. Jumps out of the block
 * go to `. + N`.
 */
	.intel_syntax noprefix
	.set	flags_live, 0
	.set	flags_dead, 1

	.macro	row name, code, view, at, flags
	.pushsection .data.rel.ro, "aw"
	.balign	8
	.quad	\name, \code, \view
	.long	\at, \flags
	.popsection
	.endm

	.macro	concern name
	.pushsection .rodata.names, "a"
	.set	string_name, .
	.asciz	"\name"
	.popsection
8:
	row	string_name, 8b, 0, 0, 0
	.endm

	.macro	sequence name, view=user, at=0x100, flags=dead
	.pushsection .rodata.names, "a"
	.set	string_name, .
	.asciz	"\name"
	.set	string_view, .
	.asciz	"\view"
	.popsection
8:
	row	string_name, 8b, string_view, \at, flags_\flags
	.endm

	.pushsection .data.rel.ro, "aw"
	.balign	8
	.globl	sequences
sequences:
	.popsection
	.section .rodata, "a"

#include "code/registers.S"
#include "code/memory.S"
#include "code/stack.S"
#include "code/flags.S"
#include "code/branch.S"
#include "code/string.S"
#include "code/vector.S"
#include "code/faults.S"
#include "code/system.S"
#include "code/crossing.S"
#include "code/narrow.S"

8:	row	0, 8b, 0, 0, 0
	.section .note.GNU-stack, "", @progbits
