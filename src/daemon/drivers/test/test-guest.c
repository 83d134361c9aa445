/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What libvirt's test driver says of a machine that does not run: numbers made of the time, a guest with a name, an address and
 * two file systems. Calls that change nothing there change nothing here.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpumap.h"
#include "domain.h"
#include "error.h"
#include "model-xml.h"
#include "test.h"

enum { CPU_LIMIT = 16 };

static bool running(struct call *call, GVariant *args, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);

	return d && domain_require_active(d, error);
}

bool test_block_stats(struct domain *d, const char *dev, gint64 ret[5], GError **error)
{
	gint64 us = g_get_real_time();

	memcpy(ret, (const gint64[]){ us / 10, us / 20, us / 30, us / 40, us / G_USEC_PER_SEC / 2 }, 5 * sizeof(*ret));
	return true;
}

bool test_interface_stats(struct domain *d, const char *dev, gint64 ret[8], GError **error)
{
	gint64 us = g_get_real_time(), s = us / G_USEC_PER_SEC;

	memcpy(ret, (const gint64[]){ us / 10, us / 100, s, s / 2, us / 20, us / 110, s / 3, s / 4 }, 8 * sizeof(*ret));
	return true;
}

bool test_block_info(struct domain *d, const char *dev, guint64 ret[3], GError **error)
{
	const guint64 size = 1ULL << 40;
	xmlNode *disk;

	for (unsigned i = 0; (disk = domain_def_device(domain_current_def(d, NULL), "disk", i)); i++)
		if (xml_is(disk, "target/@dev", dev) || xml_is(disk, "source/@file", dev)) {
			ret[0] = 1099506450432;
			ret[1] = ret[2] = size;
			return true;
		}
	return rpc_fail(error, VIR_ERR_INVALID_ARG, "invalid path %s not assigned to domain", dev);
}

/* A grey pixel, as PNG. */
static const guint8 picture[] = {
	0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00, 0x00, 0x01,
	0x00, 0x00, 0x00, 0x01, 0x08, 0x00, 0x00, 0x00, 0x00, 0x3a, 0x7e, 0x9b, 0x55, 0x00, 0x00, 0x00, 0x0a, 0x49, 0x44, 0x41,
	0x54, 0x78, 0x9c, 0x63, 0x68, 0x00, 0x00, 0x00, 0x82, 0x00, 0x81, 0x77, 0xcd, 0x72, 0xb6, 0x00, 0x00, 0x00, 0x00, 0x49,
	0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
};

int test_screenshot(struct domain *d, unsigned screen, char **ret_mime, GError **error)
{
	int fd = memfd_create("screenshot", MFD_CLOEXEC);

	if (fd >= 0 && write(fd, picture, sizeof(picture)) == sizeof(picture)) {
		*ret_mime = g_strdup("image/png");
		return fd;
	}
	kv_fail_errno(error, errno, "cannot make a screenshot");
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool nothing(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return running(call, args, error);
}

static bool hostname(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	if (!running(call, args, error))
		return false;
	*ret = g_variant_new("(s)", "testhost");
	return true;
}

static bool interface_addresses(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	GVariantBuilder list = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(smsa(isu))"));
	xmlNode *nic;

	if (!d || !domain_require_active(d, error)) {
		g_variant_builder_clear(&list);
		return false;
	}
	for (unsigned i = 0; (nic = domain_def_device(d->live, "interface", i)); i++) {
		GVariantBuilder addresses = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(isu)"));
		g_autofree char *address = g_strdup_printf("192.168.122.%u", 3 + i);

		g_variant_builder_add(&addresses, "(isu)", 0, address, 24);
		g_variant_builder_add(&list, "(smsa(isu))", xml_text(nic, "target/@dev"), xml_text(nic, "mac/@address"),
				      &addresses);
	}
	*ret = g_variant_new("(a(smsa(isu)))", &list);
	return true;
}

static bool disk_errors(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	GVariantBuilder list = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(si)"));
	guint32 room, n = 0;
	xmlNode *disk;

	g_variant_get_child(args, 1, "u", &room);
	if (!d || !domain_require_active(d, error)) {
		g_variant_builder_clear(&list);
		return false;
	}
	for (; (disk = domain_def_device(d->live, "disk", n)); n++)
		if (n < room)
			g_variant_builder_add(&list, "(si)", xml_text(disk, "target/@dev"), 1 + n % 2);
	*ret = g_variant_new("(a(si)i)", &list, n);
	return true;
}

static bool no_iothreads(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);

	if (!d)
		return false;
	*ret = g_variant_new("(@a(uay)u)", g_variant_new_array(G_VARIANT_TYPE("(uay)"), NULL, 0), 0);
	return true;
}

static bool memory_stats(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	GVariantBuilder list = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(it)"));
	guint64 now = d && d->live ? domain_def_current(d->live) : 0;
	/* VIR_DOMAIN_MEMORY_STAT_…; in the order that libvirt's test driver has. */
	const struct {
		gint32 tag;
		guint64 value;
	} rows[] = { { 6, now },     { 0, 0 },	       { 1, 0 },	{ 2, 0 },  { 3, 0 },  { 4, now / 2 }, { 5, now },
		     { 8, now / 2 }, { 9, 627319920 }, { 10, now / 8 }, { 11, 0 }, { 12, 0 }, { 7, now / 2 } };
	guint32 room;

	g_variant_get_child(args, 1, "u", &room);
	if (!d || !domain_require_active(d, error)) {
		g_variant_builder_clear(&list);
		return false;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(rows) && i < room; i++)
		g_variant_builder_add(&list, "(it)", rows[i].tag, rows[i].value);
	*ret = g_variant_new("(a(it))", &list);
	return true;
}

static bool get_time(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	if (!running(call, args, error))
		return false;
	*ret = g_variant_new("(xu)", (gint64)627319920, 0);
	return true;
}

static bool fsinfo(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	GVariantBuilder list = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(sssas)"));
	const char *const alias[] = { "vda" };

	if (!running(call, args, error)) {
		g_variant_builder_clear(&list);
		return false;
	}
	g_variant_builder_add(&list, "(sss@as)", "/", "vda1", "ext4", g_variant_new_strv(alias, 1));
	g_variant_builder_add(&list, "(sss@as)", "/boot", "vda2", "ext4", g_variant_new_strv(alias, 1));
	*ret = g_variant_new("(a(sssas)u)", &list, 2);
	return true;
}

/* Both file systems, or none. */
static bool freeze(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	bool frozen = call->proc->number == RPC_DOMAIN_FSFREEZE;

	if (!d || !domain_require_active(d, error))
		return false;
	*ret = g_variant_new("(i)", frozen == (d->own != NULL) ? 0 : 2);
	d->own = GINT_TO_POINTER(frozen);
	return true;
}

/* ---- vCPUs ---- */

static xmlNode *pin_of(const struct domain_def *def, unsigned vcpu)
{
	xmlNode *tune = xml_child(domain_def_root(def), "cputune"), *pin;
	guint64 n;

	for (unsigned i = 0; tune && (pin = xml_nth(tune, "vcpupin", i)); i++)
		if (xml_number(pin, "@vcpu", &n) && n == vcpu)
			return pin;
	return NULL;
}

/* The processors that a vCPU may use, as bits; of a list like "2-3,5". */
static unsigned affinity(const struct domain_def *def, unsigned vcpu)
{
	xmlNode *pin = pin_of(def, vcpu);
	const char *text = pin ? xml_text(pin, "@cpuset") : NULL;
	unsigned map = 0;

	if (!text)
		return (1 << CPU_LIMIT) - 1;
	while (*text) {
		char *end;
		unsigned long from = strtoul(text, &end, 10), to = *end == '-' ? strtoul(end + 1, &end, 10) : from;

		for (unsigned long i = from; i <= to && i < CPU_LIMIT; i++)
			map |= 1u << i;
		text = *end == ',' ? end + 1 : "";
	}
	return map;
}

static void set_bytes(guint8 *to, unsigned len, unsigned map)
{
	for (unsigned i = 0; i < len; i++)
		to[i] = i < 4 ? map >> 8 * i : 0;
}

static bool get_vcpus(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	g_autoptr(GByteArray) maps = g_byte_array_new();
	GVariantBuilder list = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(uiti)"));
	gint32 max, len;
	unsigned n;

	g_variant_get_child(args, 1, "i", &max);
	g_variant_get_child(args, 2, "i", &len);
	if (!d || !domain_is_active(d)) {
		g_variant_builder_clear(&list);
		return d && rpc_fail(error, VIR_ERR_OPERATION_INVALID, "cannot list vcpus for an inactive domain");
	}
	n = MIN(domain_def_vcpus(d->live, NULL), (unsigned)MAX(max, 0));
	for (unsigned i = 0; i < n; i++) {
		unsigned map = affinity(d->live, i);
		guint8 bytes[64];

		g_variant_builder_add(&list, "(uiti)", i, 1, (guint64)g_get_real_time() / 10,
				      map ? g_bit_storage(map) - 1 : 0);
		len = CLAMP(len, 0, (gint32)sizeof(bytes));
		set_bytes(bytes, len, map);
		g_byte_array_append(maps, bytes, len);
	}
	*ret = g_variant_new("(a(uiti)@ay)", &list,
			     g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, maps->data, maps->len, 1));
	return true;
}

static bool pin_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GVariant) map = g_variant_get_child_value(args, 2);
	g_autofree char *text = NULL, *number = NULL;
	xmlNode *pin, *tune;
	const guint8 *bytes;
	guint32 vcpu, flags = 0;
	gsize len;

	g_variant_get_child(args, 1, "u", &vcpu);
	if (g_variant_n_children(args) > 3)
		g_variant_get_child(args, 3, "u", &flags);
	if (!call_check_flags(call, flags & ~AFFECT_LIVE, 0, error))
		return false;
	if (vcpu >= domain_def_vcpus(d->live, NULL))
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "requested vcpu '%u' is not present in the domain", vcpu);
	bytes = g_variant_get_fixed_array(map, &len, 1);
	text = cpumap_text(bytes, MIN(len, CPU_LIMIT / 8));
	number = g_strdup_printf("%u", vcpu);
	pin = pin_of(d->live, vcpu);
	if (!pin) {
		if (!xml_child(domain_def_root(d->live), "cputune"))
			domain_def_set_text(d->live, "cputune", "");
		tune = xml_child(domain_def_root(d->live), "cputune");
		pin = xml_add(tune, "vcpupin");
	}
	xml_set(pin, "@vcpu", number);
	xml_set(pin, "@cpuset", text);
	return true;
}

static bool pin(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_MODIFY, true, pin_func);
}

static bool pin_info(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	const struct domain_def *def = d ? domain_current_def(d, error) : NULL;
	g_autoptr(GByteArray) maps = g_byte_array_new();
	gint32 max, len;
	unsigned n;

	if (!def)
		return false;
	g_variant_get_child(args, 1, "i", &max);
	g_variant_get_child(args, 2, "i", &len);
	len = CLAMP(len, 0, 64);
	n = MIN(domain_def_vcpus(def, NULL), (unsigned)MAX(max, 0));
	for (unsigned i = 0; i < n; i++) {
		guint8 bytes[64];

		set_bytes(bytes, len, affinity(def, i));
		g_byte_array_append(maps, bytes, len);
	}
	*ret = g_variant_new("(@ayi)", g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, maps->data, maps->len, 1), n);
	return true;
}

static bool emulator_pin_info(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	guint8 bytes[64];
	gint32 len;

	if (!running(call, args, error))
		return false;
	g_variant_get_child(args, 1, "i", &len);
	len = CLAMP(len, 0, 64);
	set_bytes(bytes, len, (1 << CPU_LIMIT) - 1);
	*ret = g_variant_new("(@ayi)", g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, bytes, len, 1), 1);
	return true;
}

/* ---- the scheduler ---- */

static bool scheduler_type(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	*ret = g_variant_new("(si)", "fair", 1);
	return true;
}

static bool scheduler_parameters(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	GVariantBuilder list = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(sv)"));

	if (!running(call, args, error)) {
		g_variant_builder_clear(&list);
		return false;
	}
	g_variant_builder_add(&list, "(sv)", "weight", g_variant_new_uint32(50));
	*ret = g_variant_new("(a(sv))", &list);
	return true;
}

enum { LOOK = HANDLER_FAST | HANDLER_READ_ONLY };

const struct handler test_guest_handlers[] = {
	{ RPC_DOMAIN_SEND_KEY, nothing, HANDLER_FAST },
	{ RPC_DOMAIN_INJECT_NMI, nothing, HANDLER_FAST },
	{ RPC_DOMAIN_FSTRIM, nothing, HANDLER_FAST },
	{ RPC_DOMAIN_SET_TIME, nothing, HANDLER_FAST },
	{ RPC_DOMAIN_SET_USER_PASSWORD, nothing, HANDLER_FAST },
	{ RPC_DOMAIN_SET_MEMORY_STATS_PERIOD, nothing, HANDLER_FAST },
	{ RPC_DOMAIN_GET_HOSTNAME, hostname, HANDLER_FAST },
	{ RPC_DOMAIN_INTERFACE_ADDRESSES, interface_addresses, LOOK },
	{ RPC_DOMAIN_GET_DISK_ERRORS, disk_errors, LOOK },
	{ RPC_DOMAIN_GET_IOTHREAD_INFO, no_iothreads, LOOK },
	{ RPC_DOMAIN_MEMORY_STATS, memory_stats, LOOK },
	{ RPC_DOMAIN_GET_TIME, get_time, HANDLER_FAST },
	{ RPC_DOMAIN_FSFREEZE, freeze, HANDLER_FAST },
	{ RPC_DOMAIN_FSTHAW, freeze, HANDLER_FAST },
	{ RPC_DOMAIN_BLOCK_STATS_FLAGS, handler_unsupported, LOOK },
	{ RPC_DOMAIN_GET_FSINFO, fsinfo, HANDLER_FAST },
	{ RPC_DOMAIN_GET_VCPUS, get_vcpus, LOOK },
	{ RPC_DOMAIN_PIN_VCPU, pin, 0 },
	{ RPC_DOMAIN_PIN_VCPU_FLAGS, pin, 0 },
	{ RPC_DOMAIN_GET_VCPU_PIN_INFO, pin_info, LOOK },
	{ RPC_DOMAIN_PIN_EMULATOR, nothing, HANDLER_FAST },
	{ RPC_DOMAIN_GET_EMULATOR_PIN_INFO, emulator_pin_info, LOOK },
	{ RPC_DOMAIN_GET_SCHEDULER_TYPE, scheduler_type, LOOK },
	{ RPC_DOMAIN_GET_SCHEDULER_PARAMETERS, scheduler_parameters, LOOK },
	{ RPC_DOMAIN_GET_SCHEDULER_PARAMETERS_FLAGS, scheduler_parameters, LOOK },
	{ RPC_DOMAIN_SET_SCHEDULER_PARAMETERS, nothing, HANDLER_FAST },
	{ RPC_DOMAIN_SET_SCHEDULER_PARAMETERS_FLAGS, nothing, HANDLER_FAST },
	{ 0 },
};
