/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <vcpu> and <cpu>. Names of features are libvirt's, which are QEMU's but for dashes. See parts.h. */
#include <string.h>

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

static bool add_model(struct command *c, const xmlNode *cpu, GError **error)
{
	const char *mode = xml_text(cpu, "@mode"), *name = xml_text(cpu, "model");
	const xmlNode *feature;
	GString *model;
	bool ok = true;

	if (mode && !strcmp(mode, "maximum"))
		name = "max";
	else if ((mode && strcmp(mode, "custom")) || !name)
		name = "host";
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

bool command_cpu(struct command *c, GError **error)
{
	const xmlNode *cpu = xml_child(c->domain, "cpu");
	keys *k;

	if (!xml_child(cpu, "topology")) {
		add_text(c, "--cpus", xml_text(c->domain, "vcpu"));
	} else {
		k = keys_new(NULL);
		put_from(k, "cpus", c->domain, "vcpu");
		put_from(k, "sockets", cpu, "topology/@sockets");
		put_from(k, "cores", cpu, "topology/@cores");
		put_from(k, "threads", cpu, "topology/@threads");
		add(c, "--smp", keys_end(k));
	}
	return !cpu || add_model(c, cpu, error);
}
