/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parts of jit-listing: a guest code sequence, and its block once translated (listing.c) and printed (disassemble.c). */
#pragma once
#include <stdio.h>
#include "tx.h"

/* A row of the table in sequences.S. */
struct sequence {
	const char *name;
	const u8 *code; /* ends where the next row's begins; in the row of a concern none */
	const char *view;
	u32 at; /* offset in the page */
	u32 flags_dead; /* nothing reads flags behind the sequence */
};

extern const char *const view_names[JUMP_TABLES]; /* by jump cache: those from VIEW_COUNT on mean 32-bit code */

struct listing {
	FILE *out;
	const struct sequence *s;
	const struct tx *t; /* as the translation left it */
	const struct block *b;
	const u8 *begin[BLOCK_INSNS]; /* the code of guest instruction n (writable view); NULL: it has none */
	const u8 *out_of_line;	      /* where the body ends */
	bool failed;		      /* and said why on stderr */
};

void list_block(struct listing *l);

/* names.c: the field of struct vcpu that gs:[offset] addresses; NULL: it has no name there. */
const char *cpu_field(s64 offset, char *buf, size_t size);
/* The field of struct jit_frame at [rsp + offset], likewise. */
const char *frame_field(s64 offset, char *buf, size_t size);
/* The stub at this address, or NULL. */
const char *stub_name(const struct jit *j, const u8 *code, char *buf, size_t size);
