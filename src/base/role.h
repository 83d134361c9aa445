/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a thread may do. A function that is a thread's first calls kv_role_enter() first, with the name of its role; the calls
 * that the role needs are declared beside it, in a NAME-calls.h of role-calls.h's rows. In a program that has a sandbox
 * (kv-vmm: src/vmm/sandbox-seccomp.c) the thread can do only that from there on; in others nothing happens.
 * howto: docs/howto/add-thread.md.
 */
#pragma once

/* Any thread, any number of times: the first counts, and a thread of a pool asks at each piece of work. */
void kv_role_enter(const char *role);

/* Who has filters sets this, once, before there are threads: called at most once in each. */
void kv_role_set_func(void (*enter)(const char *role));
