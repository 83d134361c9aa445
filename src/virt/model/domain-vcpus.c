/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * <vcpu current=''> and <vcpus>: which vCPUs there are, which may come and go. Without <vcpus> the first `current` are enabled
 * and stay, and the others may come; with it each has a row, and `current` says how many are enabled. Checks and texts as libvirt
 * has them. Called by complete-domain.c and by who changes a definition.
 */
#include <string.h>

#include "complete.h"
#include "domain-fields.h"
#include "domain-def.h"
#include "message.h"
#include "model-xml.h"

enum { VCPUS_MAX = 255 }; /* as the fields have it */

static unsigned count_of(const xmlNode *root, unsigned *ret_max)
{
	*ret_max = (unsigned)number_or(root, "vcpu", 1);
	return (unsigned)number_or(root, "vcpu/@current", *ret_max);
}

static xmlNode *row_of(const xmlNode *root, unsigned index)
{
	for (xmlNode *v = xml_child(root, "vcpus/vcpu"); v; v = xml_next(v))
		if (number_or(v, "@id", G_MAXUINT) == index)
			return v;
	return NULL;
}

struct domain_vcpu domain_vcpu_of(const xmlNode *root, unsigned index)
{
	const xmlNode *row = row_of(root, index);
	unsigned max, n = count_of(root, &max);
	bool enabled = index < max && (row ? xml_is(row, "@enabled", "yes") : !xml_child(root, "vcpus") && index < n);

	if (row && xml_text(row, "@hotpluggable"))
		return (struct domain_vcpu){ enabled, xml_is(row, "@hotpluggable", "yes") };
	return (struct domain_vcpu){ enabled, !enabled };
}

/* ---- as it was given ---- */

static bool check_rows(xmlNode *root, unsigned max, GError **error)
{
	for (xmlNode *v = xml_child(root, "vcpus/vcpu"); v; v = xml_next(v)) {
		guint64 id = number_or(v, "@id", 0);

		if (id >= max)
			return rpc_fail(error, VIR_ERR_XML_ERROR,
					"vCPU '%" G_GUINT64_FORMAT "' is not present in domain definition", id);
		if (row_of(root, (unsigned)id) != v)
			return rpc_fail(error, VIR_ERR_XML_ERROR, "vCPU '%" G_GUINT64_FORMAT "' is there twice", id);
		if (xml_is(v, "@enabled", "no") && xml_is(v, "@hotpluggable", "no"))
			return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED,
					"vcpu '%" G_GUINT64_FORMAT "' is both offline and not hotpluggable", id);
	}
	if (!domain_vcpu_of(root, 0).enabled)
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "vcpu 0 can't be offline");
	if (domain_vcpu_of(root, 0).hotpluggable)
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "vcpu0 can't be hotpluggable");
	return true;
}

/* Of those that have an order all have one, and no two the same. */
static bool check_orders(const xmlNode *root, unsigned max, GError **error)
{
	guint64 seen[4] = { 0 };
	unsigned with = 0, enabled = 0;

	for (const xmlNode *v = xml_child(root, "vcpus/vcpu"); v; v = xml_next(v)) {
		guint64 order = number_or(v, "@order", 0);

		if (!xml_is(v, "@enabled", "yes"))
			continue;
		enabled++;
		with += order != 0;
		if (order > max)
			return rpc_fail(error, VIR_ERR_INTERNAL_ERROR,
					"vcpu order '%" G_GUINT64_FORMAT "' exceeds vcpu count", order);
		if (order && seen[order / 64] >> (order % 64) & 1)
			return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "duplicate vcpu order '%" G_GUINT64_FORMAT "'", order);
		seen[order / 64] |= order ? 1ull << (order % 64) : 0;
	}
	return !with || with == enabled ||
	       rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "all vcpus must have either set or unset order");
}

/* ---- changes ---- */

/* A row for each, in order; orders of those that have one are kept. */
static void write_rows(xmlNode *root, const struct domain_vcpu *vcpus, unsigned max)
{
	xmlNode *old = xml_child(root, "vcpus"), *list;
	unsigned enabled = 0;
	g_autofree char *number = NULL;

	list = xmlNewNode(NULL, BAD_CAST "vcpus");
	for (unsigned i = 0; i < max; i++) {
		const xmlNode *before = row_of(root, i);
		xmlNode *row = xml_add(list, "vcpu");
		g_autofree char *id = g_strdup_printf("%u", i);

		enabled += vcpus[i].enabled;
		xml_set(row, "@id", id);
		xml_set(row, "@enabled", vcpus[i].enabled ? "yes" : "no");
		xml_set(row, "@hotpluggable", vcpus[i].hotpluggable ? "yes" : "no");
		if (before && vcpus[i].enabled)
			xml_set(row, "@order", xml_text(before, "@order"));
	}
	if (old) {
		xmlReplaceNode(old, list);
		xmlFreeNode(old);
	} else {
		xmlAddChild(root, list);
	}
	number = enabled < max ? g_strdup_printf("%u", enabled) : NULL;
	xml_set(root, "vcpu/@current", number);
	fields_sort(root, domain_fields);
}

static struct domain_vcpu *read_rows(const xmlNode *root, unsigned max)
{
	struct domain_vcpu *vcpus = g_new0(struct domain_vcpu, max);

	for (unsigned i = 0; i < max; i++)
		vcpus[i] = domain_vcpu_of(root, i);
	return vcpus;
}

bool domain_vcpus_complete(xmlNode *root, GError **error)
{
	g_autofree struct domain_vcpu *vcpus = NULL;
	unsigned max;

	count_of(root, &max);
	if (!xml_child(root, "vcpus"))
		return true;
	if (!check_rows(root, max, error) || !check_orders(root, max, error))
		return false;
	vcpus = read_rows(root, max);
	write_rows(root, vcpus, max);
	return true;
}

/* An order says when one came; those of others stay what they are. */
void domain_def_set_vcpu(struct domain_def *def, unsigned index, bool enabled)
{
	xmlNode *root = domain_def_root(def), *row;
	g_autofree struct domain_vcpu *vcpus = NULL;
	unsigned max;

	count_of(root, &max);
	if (index >= max)
		return;
	vcpus = read_rows(root, max);
	if (vcpus[index].enabled == enabled)
		return;
	vcpus[index] = (struct domain_vcpu){ enabled, true };
	row = row_of(root, index);
	if (row)
		xml_set(row, "@order", NULL);
	write_rows(root, vcpus, max);
}

static void forget_orders(xmlNode *root)
{
	for (xmlNode *v = xml_child(root, "vcpus/vcpu"); v; v = xml_next(v))
		xml_set(v, "@order", NULL);
}

/* Those that stay come first: behind one that is hotpluggable only such may come. */
static void enable_more(struct domain_vcpu *vcpus, unsigned max, unsigned now, unsigned n, bool hotpluggable)
{
	for (unsigned i = 0; i < max && now < n; i++) {
		if (vcpus[i].enabled) {
			hotpluggable |= vcpus[i].hotpluggable;
			continue;
		}
		vcpus[i] = (struct domain_vcpu){ true, hotpluggable };
		now++;
	}
}

void domain_def_set_vcpus(struct domain_def *def, unsigned n, bool hotpluggable)
{
	xmlNode *root = domain_def_root(def);
	unsigned max, now = count_of(root, &max);
	g_autofree struct domain_vcpu *vcpus = NULL;
	g_autofree char *number = NULL;

	if (!xml_child(root, "vcpus") && !hotpluggable) {
		number = n < max ? g_strdup_printf("%u", n) : NULL;
		domain_def_set_text(def, "vcpu/@current", number);
		return;
	}
	vcpus = read_rows(root, max);
	enable_more(vcpus, max, now, n, hotpluggable);
	for (unsigned i = max; i-- > 0 && now > n;)
		if (vcpus[i].enabled) {
			vcpus[i] = (struct domain_vcpu){ false, true };
			now--;
		}
	forget_orders(root);
	write_rows(root, vcpus, max);
}

void domain_def_set_vcpus_max(struct domain_def *def, unsigned n)
{
	xmlNode *root = domain_def_root(def);
	unsigned max, now = count_of(root, &max);
	g_autofree char *most = g_strdup_printf("%u", n), *number = now < n ? g_strdup_printf("%u", now) : NULL;
	g_autofree struct domain_vcpu *vcpus = NULL;

	domain_def_set_text(def, "vcpu", most);
	if (!xml_child(root, "vcpus") || n > VCPUS_MAX) { /* so many nobody reads: there need be no rows */
		domain_def_set_text(def, "vcpu/@current", number);
		return;
	}
	vcpus = read_rows(root, n);
	forget_orders(root);
	write_rows(root, vcpus, n);
}
