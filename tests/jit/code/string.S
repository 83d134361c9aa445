/* SPDX-License-Identifier: GPL-2.0-or-later */
/* String instructions: single in place, with REP by a call. */
	concern	string

	sequence movs_one
	movsb

	sequence stos_one
	stosq

	sequence lods_one
	lodsd

	sequence movs_rep
	rep movsq

	sequence stos_rep
	xor	eax, eax
	rep stosb

	sequence scas_rep
	repne scasb
