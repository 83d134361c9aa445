/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which processor the guest has: a model by name with features more or less, and how vCPUs are arranged in packages. cpuid.c
 * makes CPUID of it, which is never more than the CPU engine offers.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum cpu_register { CPU_EAX, CPU_EBX, CPU_ECX, CPU_EDX };

enum { CPU_FLAG_REGISTERS = 13 };

struct cpu_flags {
	uint32_t leaf, subleaf; /* leaf 0 ends the table */
	enum cpu_register reg;
	char name[32][20]; /* empty: no feature, or none of ours to give; without pointers to relocate at each start */
};
extern const struct cpu_flags cpu_flags[]; /* CPU_FLAG_REGISTERS of them, and the end */

/* Without the one there are none of the others, words; in an order in which one pass does it. */
struct cpu_need {
	const char *flag, *dependents; /* NULL ends the table */
};
extern const struct cpu_need cpu_needs[];
bool cpu_find_flag(const char *name, unsigned *ret_reg, uint32_t *ret_bit); /* index of cpu_flags[] */

struct cpu_model {
	const char *name; /* NULL ends the table */
	const char *parent, *vendor;
	unsigned family, model, stepping;
	uint32_t level, xlevel; /* the last leaf, from 0 and from 0x80000000 on */
	const char *id;		/* "" : none */
	const char *flags;	/* beside the parent's; words */
};
extern const struct cpu_model cpu_models[];

/* --cpu NAME[,+flag][,-flag][,flag=on|off][,enforce=on|off] */
struct cpu_choice {
	const struct cpu_model *model; /* NULL: all that there is (host, max) */
	bool enforce;		       /* what is missing is an error */
	uint32_t flags[CPU_FLAG_REGISTERS]; /* of the model; or 0 */
	uint32_t more[CPU_FLAG_REGISTERS], less[CPU_FLAG_REGISTERS];
};
bool cpu_parse(const char *text, struct cpu_choice *ret, GError **error);

/* vCPU n is thread n % threads of core n / threads % cores of package n / (threads * cores). */
struct cpu_topology {
	unsigned sockets, cores, threads;
};
/* What was not given (0) follows from the rest, cores first as QEMU does it since 6.2; false when it does not make cpus. */
bool cpu_topology_complete(struct cpu_topology *t, unsigned cpus, GError **error);
/* Fields of an APIC id have whole bits, so ids may leave some out. */
uint32_t cpu_apic_id(const struct cpu_topology *t, unsigned index);
unsigned cpu_bits(unsigned n); /* that count n things */
