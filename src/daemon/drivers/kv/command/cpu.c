/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <vcpu> and <cpu>. Names of features are libvirt's, which are QEMU's but for dashes. See parts.h. */
#include <string.h>

#include "domain-def.h"
#include "parts.h"

static const struct {
	const char *libvirt, *ours;
} other_names[] = {
	{"pclmuldq", "pclmulqdq"},
	{"cr8legacy", "cr8legacy"},
	{"cmt", NULL},
};

static char *feature_name(const char *name)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(other_names); i++)
		if (other_names[i].ours && !strcmp(other_names[i].libvirt, name))
			return g_strdup(other_names[i].ours);
	return g_strdelimit(g_strdup(name), "_", '-');
}

/* optional: if the host has it; that is what a feature is that nobody insists on. */
static bool add_feature(GString *model, const xmlNode *feature, GError **error)
{
	const char *name = xml_text(feature, "@name"), *policy = xml_text(feature, "@policy");
	g_autofree char *ours = name ? feature_name(name) : NULL;
	bool on = !policy || !strcmp(policy, "require") || !strcmp(policy, "force");

	if (!ours || strpbrk(ours, ",=+"))
		return refuse(error, "cpu feature '%s' has a name that no feature has", name ? name : "");
	if (on)
		g_string_append_printf(model, ",+%s", ours);
	else if (!strcmp(policy, "optional"))
		g_string_append_printf(model, ",%s=on", ours);
	else
		g_string_append_printf(model, ",-%s", ours);
	return true;
}

static const char *model_name(const xmlNode *cpu)
{
	const char *mode = xml_text(cpu, "@mode"), *name = xml_text(cpu, "model");

	if (mode && !strcmp(mode, "maximum"))
		return "max";
	return (mode && strcmp(mode, "custom")) || !name ? "host" : name;
}

static bool add_model(struct command *c, const xmlNode *cpu, GError **error)
{
	const char *name = model_name(cpu);
	const xmlNode *feature;
	GString *model;
	bool ok = true;

	if (strpbrk(name, ",="))
		return refuse(error, "cpu model '%s' has a name that no model has", name);
	model = g_string_new(name);
	for (unsigned n = 0; ok && (feature = xml_nth(cpu, "feature", n)); n++)
		ok = add_feature(model, feature, error);
	if (xml_is(cpu, "@check", "full"))
		g_string_append(model, ",enforce=on");
	if (ok && strcmp(model->str, "host"))
		add_text(c, "--cpu", model->str);
	g_string_free(model, TRUE);
	return ok;
}

static unsigned number_of(const xmlNode *node, const char *path)
{
	guint64 n;

	return node && xml_number(node, path, &n) ? (unsigned)MIN(n, 255) : 0;
}

/* One that comes before the guest starts, and may go; kv-vmm takes what is not said of the arrangement for cores. */
static void add_vcpu(struct command *c, const xmlNode *cpu, unsigned index, unsigned max)
{
	unsigned threads = MAX(number_of(cpu, "topology/@threads"), 1), cores = number_of(cpu, "topology/@cores");
	g_autofree char *type = g_strconcat(cpu ? model_name(cpu) : "host", "-x86_64-cpu", NULL);
	g_autofree char *id = g_strdup_printf("vcpu%u", index);
	keys *k = keys_new(type);

	cores = cores ? cores : max;
	put(k, "id", id);
	put_number(k, "socket-id", index / threads / cores);
	put_number(k, "core-id", index / threads % cores);
	put_number(k, "thread-id", index % threads);
	add(c, "--device", keys_end(k));
}

/* Those that it starts with come first, and stay. */
static bool add_vcpus(struct command *c, const xmlNode *cpu, GError **error)
{
	unsigned max = MAX(number_of(c->domain, "vcpu"), 1), boot = 0, others = 0;
	keys *k = keys_new(NULL);

	while (boot < max && domain_vcpu_of(c->domain, boot).enabled && !domain_vcpu_of(c->domain, boot).hotpluggable)
		boot++;
	put_number(k, "cpus", boot);
	if (boot < max)
		put_number(k, "maxcpus", max);
	if (xml_child(cpu, "topology")) {
		put_from(k, "sockets", cpu, "topology/@sockets");
		put_from(k, "cores", cpu, "topology/@cores");
		put_from(k, "threads", cpu, "topology/@threads");
	}
	add(c, "--smp", keys_end(k));
	for (unsigned i = boot; i < max; i++) {
		struct domain_vcpu v = domain_vcpu_of(c->domain, i);

		if (v.enabled && !v.hotpluggable)
			return refuse(error, "vcpu '%u' is not hotpluggable, and comes after one that is, or is not enabled", i);
		if (v.enabled)
			add_vcpu(c, cpu, i, max);
		others++;
	}
	return c->pc || !others || refuse(error, "machine 'micro' plugs no processors: vcpu current='%u' of %u", boot, max);
}

bool command_cpu(struct command *c, GError **error)
{
	const xmlNode *cpu = xml_child(c->domain, "cpu");

	if (!xml_child(cpu, "topology") && !xml_text(c->domain, "vcpu/@current") && !xml_child(c->domain, "vcpus"))
		add_text(c, "--cpus", xml_text(c->domain, "vcpu"));
	else if (!add_vcpus(c, cpu, error))
		return false;
	return !cpu || add_model(c, cpu, error);
}
