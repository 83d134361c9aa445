/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What there is to choose from for --cpu, and what a choice means here: for management (machine.h). Called by vmm/qmp-cpu.c. */
#include <errno.h>
#include <string.h>

#include "error.h"
#include "internal.h"

GStrv machine_cpu_models(void)
{
	GStrvBuilder *b = g_strv_builder_new();
	GStrv names;

	g_strv_builder_add_many(b, "host", "max", NULL);
	for (const struct cpu_model *m = cpu_models; m->name; m++)
		g_strv_builder_add(b, m->name);
	names = g_strv_builder_end(b);
	g_strv_builder_unref(b);
	return names;
}

/* What the CPU engine offers, a register of features each. */
static bool offered(int kvm_fd, uint32_t *there, GError **error)
{
	g_autofree struct kvm_cpuid2 *c = cpuid_supported(kvm_fd, error);

	for (unsigned n = 0; c && n < CPU_FLAG_REGISTERS; n++) {
		there[n] = 0;
		for (unsigned i = 0; i < c->nent; i++) {
			const struct kvm_cpuid_entry2 *e = &c->entries[i];
			const uint32_t all[] = {e->eax, e->ebx, e->ecx, e->edx};

			if (e->function == cpu_flags[n].leaf && e->index == cpu_flags[n].subleaf)
				there[n] = all[cpu_flags[n].reg];
		}
	}
	return c;
}

static void put_identity(GVariantDict *d, const struct cpu_model *m)
{
	g_variant_dict_insert(d, "vendor", "s", m->vendor);
	g_variant_dict_insert(d, "family", "t", (guint64)m->family);
	g_variant_dict_insert(d, "model", "t", (guint64)m->model);
	g_variant_dict_insert(d, "stepping", "t", (guint64)m->stepping);
	g_variant_dict_insert(d, "model-id", "s", m->id);
	g_variant_dict_insert(d, "level", "t", (guint64)m->level);
	g_variant_dict_insert(d, "xlevel", "t", (guint64)m->xlevel);
}

GVariant *machine_cpu_expand(int kvm_fd, const char *cpu, GStrv *ret_missing, GError **error)
{
	g_auto(GVariantDict) d = G_VARIANT_DICT_INIT(NULL);
	GStrvBuilder *missing = NULL;
	uint32_t there[CPU_FLAG_REGISTERS];
	struct cpu_choice c;

	if (!cpu_parse(cpu, &c, error) || !offered(kvm_fd, there, error))
		return NULL;
	missing = g_strv_builder_new();
	for (unsigned n = 0; n < CPU_FLAG_REGISTERS; n++) {
		uint32_t want = ((c.model ? c.flags[n] : there[n]) | c.more[n]) & ~c.less[n];

		for (unsigned bit = 0; bit < 32; bit++) {
			const char *name = cpu_flags[n].name[bit];

			if (!*name)
				continue;
			g_variant_dict_insert(&d, name, "b", want >> bit & 1);
			if ((want & ~there[n]) >> bit & 1)
				g_strv_builder_add(missing, name);
		}
	}
	if (c.model)
		put_identity(&d, c.model);
	*ret_missing = g_strv_builder_end(missing);
	g_strv_builder_unref(missing);
	return g_variant_ref_sink(g_variant_dict_end(&d));
}

void machine_vcpu_place(const struct machine *m, unsigned index, unsigned *ret_socket, unsigned *ret_core, unsigned *ret_thread)
{
	const struct cpu_topology *t = &m->topology;

	*ret_thread = index % t->threads;
	*ret_core = index / t->threads % t->cores;
	*ret_socket = index / t->threads / t->cores;
}
