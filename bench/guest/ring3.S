/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ring 3's side of enter_user() (start.S), and its primitives that need this guest's kernel. */
#include "layout.h"

	.section .user.text, "ax", @progbits
	.globl	user_stub, user_syscall, user_int80, user_fault
user_stub:
	call	*%rax
	int	$0x81

	.balign	64
user_syscall:
1:	syscall
	dec	%rdi
	jnz	1b
	ret

	.balign	64
user_int80:
1:	int	$0x80
	dec	%rdi
	jnz	1b
	ret

	.balign	64
user_fault:
	mov	$HEAP_GUARD, %esi
1:	mov	(%rsi), %al
	dec	%rdi
	jnz	1b
	ret
	.section .note.GNU-stack, "", @progbits
