/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See cpu.h. Called by machine.c, cpuid.c and the ACPI tables. */
#include "cpu.h"

#include <string.h>

#include "error.h"

bool cpu_find_flag(const char *name, unsigned *ret_reg, uint32_t *ret_bit)
{
	for (unsigned r = 0; cpu_flags[r].leaf; r++)
		for (unsigned bit = 0; bit < 32; bit++)
			if (cpu_flags[r].name[bit][0] && !strcmp(cpu_flags[r].name[bit], name)) {
				*ret_reg = r;
				*ret_bit = 1u << bit;
				return true;
			}
	return false;
}

static const struct cpu_model *find_model(const char *name)
{
	for (const struct cpu_model *m = cpu_models; m->name; m++)
		if (!strcmp(m->name, name))
			return m;
	return NULL;
}

static void model_flags(const struct cpu_model *m, uint32_t *flags)
{
	g_auto(GStrv) words = g_strsplit(m->flags, " ", -1);

	if (m->parent)
		model_flags(find_model(m->parent), flags);
	for (char **w = words; *w; w++) {
		unsigned reg;
		uint32_t bit;

		if (!cpu_find_flag(*w + (**w == '-'), &reg, &bit))
			continue; /* "" */
		if (**w == '-')
			flags[reg] &= ~bit;
		else
			flags[reg] |= bit;
	}
}

/* QEMU's spellings with '_' and the older names. */
static const char *normalize(char *name)
{
	static const char *const old[][2] = {
		{"sse3", "pni"}, {"sse4-1", "sse4.1"}, {"sse4-2", "sse4.2"}, {"xd", "nx"}, {"i64", "lm"}};

	g_strdelimit(name, "_", '-');
	for (unsigned i = 0; i < G_N_ELEMENTS(old); i++)
		if (!strcmp(name, old[i][0]))
			return old[i][1];
	return name;
}

static bool set_flag(struct cpu_choice *c, const char *name, bool on, GError **error)
{
	unsigned reg;
	uint32_t bit;

	if (!cpu_find_flag(name, &reg, &bit))
		return kv_fail(error, KV_ERROR_USAGE, "--cpu: there is no feature '%s'", name);
	c->more[reg] = on ? c->more[reg] | bit : c->more[reg] & ~bit;
	c->less[reg] = on ? c->less[reg] & ~bit : c->less[reg] | bit;
	return true;
}

static bool parse_word(struct cpu_choice *c, char *word, GError **error)
{
	bool plus = *word == '+', minus = *word == '-', on;
	char *name = word + (plus || minus), *value = strchr(name, '=');

	if ((plus || minus) == (value != NULL) || !*name)
		return kv_fail(error, KV_ERROR_USAGE, "--cpu: '%s' is not +feature, -feature or feature=on|off", word);
	if (value) {
		*value++ = 0;
		if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
			return kv_fail(error, KV_ERROR_USAGE, "--cpu: %s: '%s' is not on or off", name, value);
	}
	on = value ? !strcmp(value, "on") : plus;
	if (value && !strcmp(name, "enforce")) {
		c->enforce = on;
		return true;
	}
	return set_flag(c, normalize(name), on, error);
}

bool cpu_parse(const char *text, struct cpu_choice *ret, GError **error)
{
	g_auto(GStrv) words = g_strsplit(text, ",", -1);
	const char *name = words[0] ? words[0] : "";

	*ret = (struct cpu_choice){0};
	if (strcmp(name, "host") != 0 && strcmp(name, "max") != 0) {
		ret->model = find_model(name);
		if (!ret->model)
			return kv_fail(error, KV_ERROR_USAGE,
				       "--cpu: there is no model '%s'; there are host, max, baseline and those in man kv-vmm",
				       name);
		model_flags(ret->model, ret->flags);
	}
	for (char **w = words + (*words != NULL); *w; w++)
		if (!parse_word(ret, *w, error))
			return false;
	return true;
}

bool cpu_topology_complete(struct cpu_topology *t, unsigned cpus, GError **error)
{
	unsigned threads = MAX(t->threads, 1), sockets = MAX(t->sockets, 1);

	if (!t->cores && cpus % (threads * sockets) == 0)
		t->cores = cpus / (threads * sockets);
	if (!t->sockets && t->cores && cpus % (threads * t->cores) == 0)
		sockets = cpus / (threads * t->cores);
	t->threads = threads;
	t->sockets = sockets;
	if ((uint64_t)t->sockets * t->cores * t->threads == cpus)
		return true;
	return kv_fail(error, KV_ERROR_USAGE, "--smp: sockets %u, cores %u, threads %u do not make %u processors", t->sockets,
		       t->cores, t->threads, cpus);
}

unsigned cpu_bits(unsigned n)
{
	unsigned bits = 0;

	while (1u << bits < n)
		bits++;
	return bits;
}

uint32_t cpu_apic_id(const struct cpu_topology *t, unsigned index)
{
	unsigned thread_bits = cpu_bits(t->threads), core_bits = cpu_bits(t->cores), core = index / t->threads;

	return core / t->cores << (core_bits + thread_bits) | core % t->cores << thread_bits | index % t->threads;
}
