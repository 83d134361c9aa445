/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The seccomp filters that gen-filters.c makes. Used by sandbox-seccomp.c and its test. */
#pragma once

#include <linux/filter.h>

enum { SANDBOX_CALLS = 512, SANDBOX_CALL_NAME = 32, SANDBOX_FILTER_MAX = 512 /* instructions */ };

struct sandbox_filter {
	const char *role; /* NULL: the end */
	const struct sock_filter *code;
	unsigned short len;
};

extern const struct sandbox_filter sandbox_filters[];
extern const char sandbox_call_names[SANDBOX_CALLS][SANDBOX_CALL_NAME]; /* by number; empty: none */
