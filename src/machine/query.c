/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See query.h. */
#include "query.h"

#include <string.h>

#include "board.h"
#include "core.h"
#include "devices/virtio-balloon.h"
#include "error.h"
#include "rx-filter.h"

/* QEMU has -pci behind the names of virtio devices; the names of others are one. */
static char *type_name(const struct device_class *cls)
{
	return g_strconcat(cls->alias ? cls->alias : cls->name, g_str_has_prefix(cls->name, "virtio-") ? "-pci" : "", NULL);
}

static struct device *find(struct machine *m, const char *id)
{
	struct device *dev = plug_find(m, id);

	return dev && dev->cls->keys ? dev : NULL;
}

GStrv machine_devices(struct machine *m)
{
	g_autoptr(GStrvBuilder) names = g_strv_builder_new();

	for (unsigned i = 0; i < m->devices->len; i++) {
		const struct device *dev = m->devices->pdata[i];

		if (dev->cls->keys)
			g_strv_builder_add(names, dev->id);
	}
	for (unsigned i = 0; i < m->cpus; i++)
		if (m->vcpu[i].id)
			g_strv_builder_add(names, m->vcpu[i].id);
	return g_strv_builder_end(names);
}

char *machine_device_type(struct machine *m, const char *id)
{
	const struct device *dev = find(m, id);

	if (cpus_find(m, id) >= 0)
		return machine_cpu_type(m);
	return dev ? type_name(dev->cls) : NULL;
}

GVariant *machine_properties(struct machine *m, const char *id)
{
	const struct device *dev = find(m, id);
	GVariantBuilder list;

	if (!dev && cpus_find(m, id) < 0)
		return NULL;
	g_variant_builder_init(&list, G_VARIANT_TYPE("a(sssb)"));
	for (const struct device_property *p = dev ? dev->cls->properties : NULL; p && p->name; p++)
		g_variant_builder_add(&list, "(sssb)", p->name, p->type, p->help, p->set != NULL);
	return g_variant_ref_sink(g_variant_builder_end(&list));
}

static const struct device_property *find_property(const struct device *dev, const char *name)
{
	const struct device_property *p = dev ? dev->cls->properties : NULL;

	while (p && p->name && strcmp(p->name, name))
		p++;
	return p && p->name ? p : NULL;
}

GVariant *machine_get(struct machine *m, const char *id, const char *property)
{
	struct device *dev = find(m, id);
	const struct device_property *p = find_property(dev, property);

	return p ? g_variant_ref_sink(p->get(dev)) : NULL;
}

bool machine_set(struct machine *m, const char *id, const char *property, GVariant *value, GError **error)
{
	struct device *dev = find(m, id);
	const struct device_property *p = find_property(dev, property);

	if (!p || !p->set)
		return kv_fail(error, KV_ERROR_INVALID, "'%s' has no property '%s' that can be set", id, property);
	return p->set(dev, value, error);
}

GVariant *machine_rx_filter(struct machine *m, const char *id, bool *ret_known)
{
	struct device *dev = find(m, id);
	struct rx_filter f = { 0 };

	*ret_known = dev;
	if (!dev || !dev->cls->rx_filter)
		return NULL;
	dev->cls->rx_filter(dev, &f);
	return g_variant_ref_sink(rx_filter_tell(&f));
}

GStrv machine_classes(void)
{
	g_autoptr(GStrvBuilder) names = g_strv_builder_new();

	for (const struct device_class *const *c = device_table; *c; c++) {
		g_autofree char *name = (*c)->keys ? type_name(*c) : NULL;

		if (name)
			g_strv_builder_add(names, name);
	}
	return g_strv_builder_end(names);
}

GVariant *machine_class_options(const char *name)
{
	static const char *const types[] = {
		[DEVICE_KEY_BOOL] = "bool",
		[DEVICE_KEY_COUNT] = "uint64",
		[DEVICE_KEY_TEXT] = "str",
		[DEVICE_KEY_BACKEND] = "str",
	};
	const struct device_class *cls = plug_find_class(name);
	GVariantBuilder list;

	if (!cls)
		return NULL;
	g_variant_builder_init(&list, G_VARIANT_TYPE("a(sss)"));
	for (const struct device_key *k = cls->keys; k->name; k++)
		g_variant_builder_add(&list, "(sss)", k->name, types[k->type], k->help);
	return g_variant_ref_sink(g_variant_builder_end(&list));
}

void machine_read(struct machine *m, uint64_t gpa, void *data, uint64_t len)
{
	enum { PAGE = 4096 };
	uint8_t *to = data;

	for (uint64_t n; len; gpa += n, to += n, len -= n) {
		n = MIN(len, PAGE - gpa % PAGE);
		if (!gpa_read(m->core.mem, gpa, to, n))
			memset(to, 0, n);
	}
}

bool machine_translate(struct machine *m, unsigned cpu, uint64_t gva, uint64_t *ret_gpa)
{
	struct kvm_translation t = { .linear_address = gva };

	if (!machine_vcpu_present(m, cpu) || kvcore_ioctl(m->vcpu[cpu].fd, KVM_TRANSLATE, &t) < 0 || !t.valid)
		return false;
	*ret_gpa = t.physical_address;
	return true;
}

unsigned machine_cpus_max(void)
{
	return VCPUS_MAX;
}

uint64_t machine_memory(const struct machine *m)
{
	return m->memory;
}

static struct device *balloon(struct machine *m)
{
	for (unsigned i = 0; i < m->devices->len; i++) {
		struct device *dev = m->devices->pdata[i];

		if (!strcmp(dev->cls->name, "virtio-balloon"))
			return dev;
	}
	return NULL;
}

bool machine_balloon(struct machine *m, uint64_t *ret_bytes)
{
	struct device *dev = balloon(m);
	uint64_t actual;

	if (!dev)
		return false;
	actual = virtio_balloon_actual(dev);
	*ret_bytes = m->memory - MIN(actual, m->memory);
	return true;
}

bool machine_set_balloon(struct machine *m, uint64_t bytes)
{
	struct device *dev = balloon(m);

	if (dev)
		virtio_balloon_set_target(dev, m->memory - MIN(bytes, m->memory));
	return dev;
}
