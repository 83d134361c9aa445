/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a domain has beside its devices (complete.h), completed as libvirt's qemu driver does for a q35. */
#include <string.h>

#include "complete.h"
#include "domain-def.h"
#include "message.h"
#include "model-xml.h"

enum { UUID_TEXT = 37 };

bool domain_def_check_name(const char *name, GError **error)
{
	if (strchr(name, '/'))
		return rpc_fail(error, VIR_ERR_XML_ERROR, "name %s cannot contain '/'", name);
	if (strchr(name, '\n') || strspn(name, " \t") == strlen(name))
		return rpc_fail(error, VIR_ERR_XML_ERROR, "name must not be blank or have line breaks");
	if (strlen(name) > 200)
		return rpc_fail(error, VIR_ERR_XML_ERROR, "name is longer than 200 bytes");
	return true;
}

static void complete_uuid(struct completion *c)
{
	g_autofree char *uuid = NULL;

	if (xml_text(c->root, "uuid"))
		return;
	uuid = g_uuid_string_random();
	xml_set(c->root, "uuid", uuid);
}

static bool complete_memory(struct completion *c, GError **error)
{
	guint64 most = number_or(c->root, "memory", 0), current = number_or(c->root, "currentMemory", 0);

	if (!most)
		return rpc_fail(error, VIR_ERR_XML_ERROR,
				"Memory size must be specified via <memory> or in the <numa> configuration");
	if (current && current <= most)
		return true;
	set_number(c->root, "currentMemory", most);
	xml_set(c->root, "currentMemory/@unit", "KiB");
	return true;
}

static bool complete_vcpus(struct completion *c, GError **error)
{
	const char *text = xml_text(c->root, "vcpu");
	guint64 most, now;

	if (!text || !*text)
		xml_set(c->root, "vcpu", "1");
	most = number_or(c->root, "vcpu", 1);
	if (!domain_vcpus_complete(c->root, error))
		return false;
	now = number_or(c->root, "vcpu/@current", most);
	if (now > most)
		return rpc_fail(error, VIR_ERR_XML_ERROR,
				"maxvcpus must not be less than current vcpus (%" G_GUINT64_FORMAT " < %" G_GUINT64_FORMAT ")",
				most, now);
	if (now == most)
		xml_set(c->root, "vcpu/@current", NULL);
	xml_default(c->root, "vcpu/@placement", "static");
	if (number_or(c->root, "iothreads", 1) == 0)
		xml_set(c->root, "iothreads", NULL);
	return true;
}

/* q35 as the machine's alias has the version that kv-vmm follows; older ones are the same board. */
static bool complete_machine(struct completion *c, GError **error)
{
	const char *machine = xml_text(c->root, "os/type/@machine");
	unsigned major, minor;
	int end = 0;

	xml_default(c->root, "os/type/@arch", c->test ? "i686" : "x86_64");
	if (c->test)
		return true;
	if (!machine || !strcmp(machine, "q35")) {
		xml_set(c->root, "os/type/@machine", "pc-q35-7.2");
		return true;
	}
	if (!strcmp(machine, "micro")) {
		c->micro = true;
		return true;
	}
	if (sscanf(machine, "pc-q35-%2u.%2u%n", &major, &minor, &end) == 2 && !machine[end])
		return true;
	return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "Emulator does not support machine type '%s'; there are q35 and micro",
			machine);
}

static bool has_device_boot(const struct completion *c)
{
	if (c->devices)
		for (const xmlNode *d = c->devices->children; d; d = d->next)
			if (xml_child(d, "boot"))
				return true;
	return false;
}

static bool complete_os(struct completion *c, GError **error)
{
	if (!complete_machine(c, error))
		return false;
	if (xml_text(c->root, "os/loader") && *xml_text(c->root, "os/loader"))
		xml_default(c->root, "os/loader/@type", "rom");
	if (has_device_boot(c)) {
		if (xml_child(c->root, "os/boot"))
			return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED,
					"per-device boot elements cannot be used together with os/boot elements");
		return true;
	}
	if (c->micro && !xml_text(c->root, "os/kernel"))
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED,
				"machine type 'micro' has no firmware: it needs <kernel>");
	if (!c->micro)
		xml_default(c->root, "os/boot/@dev", "hd");
	return true;
}

static bool complete_features(struct completion *c, GError **error)
{
	/* There, and nothing said: it is on. */
	static const char *const states[] = { "pvspinlock", "pmu", "vmport", "smm" };
	xmlNode *hyperv = xml_child(c->root, "features/hyperv");
	xmlNode *features = xml_child(c->root, "features");

	for (unsigned i = 0; i < G_N_ELEMENTS(states); i++) {
		xmlNode *f = xml_child(features, states[i]);

		if (!f || xml_text(f, "@state"))
			continue;
		if (i >= 2 && !c->test)
			return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "state 'on' of element <%s> is not supported",
					states[i]);
		xml_set(f, "@state", "on");
	}
	if (!xml_child(features, "acpi") && !c->test &&
	    (xml_is(c->root, "os/loader/@type", "pflash") || xml_is(c->root, "os/@firmware", "efi")))
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "UEFI requires ACPI on this architecture");
	if (features && !features->children) {
		xmlUnlinkNode(features);
		xmlFreeNode(features);
	}
	if (hyperv && hyperv->children)
		xml_default(hyperv, "@mode", "custom");
	return true;
}

static bool check_pins(struct completion *c, GError **error)
{
	guint64 most = number_or(c->root, "vcpu", 1), pinned[4] = { 0 };

	for (const xmlNode *p = xml_child(c->root, "cputune/vcpupin"); p; p = xml_next(p)) {
		guint64 n = number_or(p, "@vcpu", 0);

		if (n >= most || n >= 256)
			return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "vcpupin for vcpu '%s', which there is not",
					xml_text(p, "@vcpu"));
		if (pinned[n / 64] >> (n % 64) & 1)
			return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "duplicate vcpupin for vcpu '%s'", xml_text(p, "@vcpu"));
		pinned[n / 64] |= 1ull << (n % 64);
	}
	return true;
}

/* What has nothing in it says nothing. */
static void drop_empty(struct completion *c)
{
	static const char *const names[] = { "memoryBacking", "cputune", "memtune", "blkiotune", "numatune", "pm", "resource" };

	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		const xmlNode *n = xml_child(c->root, names[i]);

		if (n && !n->children)
			xml_set(c->root, names[i], NULL);
	}
}

static void complete_cpu(struct completion *c)
{
	xmlNode *cpu = xml_child(c->root, "cpu");
	bool custom;

	if (!c->test && (!cpu || (!xml_text(cpu, "@mode") && !xml_child(cpu, "model")))) {
		cpu = cpu ? cpu : xml_add(c->root, "cpu");
		xml_set(cpu, "@check", "none");
		xml_set(cpu, "model", "qemu64");
		xml_set(cpu, "model/@fallback", "forbid");
	}
	if (!cpu)
		return;
	xml_default(cpu, "@mode", "custom");
	custom = xml_is(cpu, "@mode", "custom");
	if (!custom && xml_is(cpu, "model", ""))
		xml_set(cpu, "model", NULL);
	if (custom && xml_child(cpu, "model")) {
		xml_default(cpu, "@match", "exact");
		xml_default(cpu, "model/@fallback", "allow");
	}
	if (xml_is(cpu, "@mode", "host-passthrough") || xml_is(cpu, "@mode", "maximum")) {
		xml_default(cpu, "@check", "none");
		if (xml_is(cpu, "@mode", "host-passthrough"))
			xml_default(cpu, "@migratable", "on");
	} else if (xml_child(cpu, "model") || xml_is(cpu, "@mode", "host-model")) {
		xml_default(cpu, "@check", "partial");
	}
	if (xml_child(cpu, "topology"))
		xml_default(cpu, "topology/@dies", "1");
	for (xmlNode *f = xml_child(cpu, "feature"); f; f = xml_next(f))
		xml_default(f, "@policy", "require");
}

static bool check_topology(struct completion *c, GError **error)
{
	const xmlNode *t = xml_child(c->root, "cpu/topology");
	guint64 all;

	if (!t)
		return true;
	all = number_or(t, "@sockets", 1) * number_or(t, "@cores", 1) * number_or(t, "@threads", 1);
	if (all != number_or(c->root, "vcpu", 1))
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "CPU topology doesn't match maximum vcpu count");
	return true;
}

static void complete_clock(struct completion *c)
{
	const char *offset, *adjustment = xml_text(c->root, "clock/@adjustment");

	xml_default(c->root, "clock/@offset", "utc");
	offset = xml_text(c->root, "clock/@offset");
	/* libvirt knows these as one thing. */
	if (adjustment && strcmp(adjustment, "reset") && (!strcmp(offset, "utc") || !strcmp(offset, "localtime"))) {
		xml_set(c->root, "clock/@basis", offset);
		xml_set(c->root, "clock/@offset", "variable");
	}
	if (!xml_is(c->root, "clock/@offset", "variable"))
		return;
	xml_default(c->root, "clock/@adjustment", "0");
	xml_default(c->root, "clock/@basis", "utc");
}

bool complete_domain(struct completion *c, GError **error)
{
	if (!domain_def_check_name(xml_text(c->root, "name"), error))
		return false;
	complete_uuid(c);
	if (!complete_memory(c, error) || !complete_vcpus(c, error) || !complete_os(c, error))
		return false;
	if (!complete_features(c, error) || !check_pins(c, error))
		return false;
	complete_cpu(c);
	if (!check_topology(c, error))
		return false;
	drop_empty(c);
	for (xmlNode *s = xml_child(c->root, "seclabel"); s; s = xml_next(s))
		if (xml_is(s, "@type", "none"))
			xml_default(s, "@model", "none");
	complete_clock(c);
	xml_default(c->root, "on_poweroff", "destroy");
	xml_default(c->root, "on_reboot", "restart");
	xml_default(c->root, "on_crash", "destroy");
	return true;
}
