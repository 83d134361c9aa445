/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instructions that may fault on the host for the guest, and those that the interpreter's function does in place. */
	concern	faults

	sequence div
	div	rcx

	sequence div_home
	xor	edx, edx
	div	r14

	sequence idiv_memory
	cdq
	idiv	dword ptr [rdi]

	sequence cpuid
	mov	eax, 1
	cpuid
	mov	r12d, ebx

	sequence rdtsc
	rdtsc

	sequence in_place_flags, view=kernel
	cmp	rax, rcx
	wrmsr
	jne	. + 0x40

	sequence in_place_ends, view=kernel
	mov	cr3, rax

	sequence undefined
	ud2

	sequence enter
	enter	16, 0
