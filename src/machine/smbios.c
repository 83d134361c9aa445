/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See smbios.h. System Management BIOS reference specification (DSP0134) 2.8: 5.2.1 the entry point, 7.x the structures. Keys and
 * defaults are those of QEMU's -smbios; firmware adds type 0 by itself when nobody gives it.
 */
#include "smbios.h"

#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "error.h"

enum { ANCHOR_SIZE = 31, UUID = 16, HEADER = 4, STRUCTURES_MAX = 60000, DIMM_MAX_GIB = 16, STRING_MAX = 1024 };
enum { HANDLE_CHASSIS = 0x300, HANDLE_PROCESSOR = 0x400, HANDLE_ARRAY = 0x1000, HANDLE_DIMM = 0x1100, HANDLE_RANGE = 0x1300 };
enum { NO_HANDLE = 0xfffe };

/* What may be said about which type; numbers go to a field of u16. */
static const struct {
	uint8_t type;
	const char *keys; /* separated by spaces */
} types[] = {
	{0, "vendor version date release uefi"},
	{1, "manufacturer product version serial uuid sku family"},
	{2, "manufacturer product version serial asset location"},
	{3, "manufacturer version serial asset sku"},
	{4, "sock_pfx manufacturer version serial asset part max-speed current-speed"},
	{17, "loc_pfx bank manufacturer serial asset part speed"},
};

struct builder {
	GByteArray *out;
	GVariant *given; /* aa{sv} or NULL */
	uint8_t replaced[32]; /* a bit a type: the user's own structure is there */
	unsigned count, largest;
	/* The structure under way */
	unsigned start;
	GPtrArray *strings;
};

static const char *key_list(uint64_t type)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(types); i++)
		if (types[i].type == type)
			return types[i].keys;
	return NULL;
}

/* ---- what was given ---- */

static GVariant *lookup(const struct builder *b, unsigned type, const char *key)
{
	GVariant *value = NULL;

	for (size_t i = 0; b->given && i < g_variant_n_children(b->given); i++) {
		g_autoptr(GVariant) d = g_variant_get_child_value(b->given, i), v = NULL;
		guint64 t = 0;

		if (!g_variant_lookup(d, "type", "t", &t) || t != type)
			continue;
		v = g_variant_lookup_value(d, key, NULL);
		if (v) {
			g_clear_pointer(&value, g_variant_unref);
			value = g_steal_pointer(&v);
		}
	}
	return value;
}

static char *text(const struct builder *b, unsigned type, const char *key, const char *otherwise)
{
	g_autoptr(GVariant) v = lookup(b, type, key);

	return g_strdup(v ? g_variant_get_string(v, NULL) : otherwise);
}

static unsigned number(const struct builder *b, unsigned type, const char *key, unsigned otherwise)
{
	g_autoptr(GVariant) v = lookup(b, type, key);

	return v ? (unsigned)g_variant_get_uint64(v) : otherwise;
}

static bool has_type(const struct builder *b, unsigned type)
{
	for (size_t i = 0; b->given && i < g_variant_n_children(b->given); i++) {
		g_autoptr(GVariant) d = g_variant_get_child_value(b->given, i);
		guint64 t = 0;

		if (g_variant_lookup(d, "type", "t", &t) && t == type)
			return true;
	}
	return false;
}

static bool check_text(GVariant *v, const char *name, GError **error)
{
	const char *s = g_variant_is_of_type(v, G_VARIANT_TYPE_STRING) ? g_variant_get_string(v, NULL) : "";

	return strlen(s) <= STRING_MAX || kv_fail(error, KV_ERROR_USAGE, "--smbios: %s has more than %d bytes", name, STRING_MAX);
}

static bool check_keys(GVariant *d, GError **error)
{
	guint64 type = 0;
	const char *keys, *name;
	g_auto(GStrv) known = NULL;
	GVariantIter iter;
	GVariant *v;

	if (!g_variant_lookup(d, "type", "t", &type))
		return kv_fail(error, KV_ERROR_USAGE, "--smbios: type is missing; give type=N or file=PATH");
	keys = key_list(type);
	if (!keys)
		return kv_fail(error, KV_ERROR_USAGE, "--smbios: nothing can be said about type %" G_GUINT64_FORMAT
			       "; give 0, 1, 2, 3, 4 or 17", type);
	known = g_strsplit(keys, " ", -1);
	g_variant_iter_init(&iter, d);
	while (g_variant_iter_loop(&iter, "{&sv}", &name, &v))
		if ((strcmp(name, "type") && !g_strv_contains((const char *const *)known, name)) || !check_text(v, name, error)) {
			g_variant_unref(v);
			return (error && *error) || kv_fail(error, KV_ERROR_USAGE, "--smbios: type %" G_GUINT64_FORMAT
							    " has no '%s'; it has %s", type, name, keys);
		}
	return true;
}

/* ---- structures ---- */

static void put(struct builder *b, uint64_t v, unsigned len)
{
	uint8_t bytes[8];

	put_le64(bytes, v);
	g_byte_array_append(b->out, bytes, len);
}

static bool begin(struct builder *b, uint8_t type, unsigned handle)
{
	if (b->replaced[type / 8] >> type % 8 & 1)
		return false;
	b->start = b->out->len;
	put(b, type, 1);
	put(b, 0, 1);
	put(b, handle, 2);
	return true;
}

/* A string is named by its number; none is 0. Takes s. */
static void put_string(struct builder *b, char *s)
{
	bool some = s && *s;

	if (some)
		g_ptr_array_add(b->strings, s);
	else
		g_free(s);
	put(b, some ? b->strings->len : 0, 1);
}

static void put_key(struct builder *b, unsigned type, const char *key, const char *otherwise)
{
	put_string(b, text(b, type, key, otherwise));
}

static void count(struct builder *b)
{
	b->count++;
	b->largest = MAX(b->largest, b->out->len - b->start);
}

static void end(struct builder *b)
{
	b->out->data[b->start + 1] = (uint8_t)(b->out->len - b->start);
	for (unsigned i = 0; i < b->strings->len; i++) {
		const char *s = b->strings->pdata[i];

		g_byte_array_append(b->out, (const guint8 *)s, (guint)strlen(s) + 1);
	}
	put(b, 0, b->strings->len ? 1 : 2);
	g_ptr_array_set_size(b->strings, 0);
	count(b);
}

static bool bios(struct builder *b, GError **error)
{
	g_autofree char *release = text(b, 0, "release", NULL);
	g_autoptr(GVariant) uefi = lookup(b, 0, "uefi");
	unsigned major = 0xff, minor = 0xff;
	char rest;

	if (release && (sscanf(release, "%3u.%3u%c", &major, &minor, &rest) != 2 || major > 254 || minor > 254))
		return kv_fail(error, KV_ERROR_USAGE, "--smbios: release: '%s' is not valid; give MAJOR.MINOR", release);
	if (!has_type(b, 0) || !begin(b, 0, 0))
		return true;
	put_key(b, 0, "vendor", NULL);
	put_key(b, 0, "version", NULL);
	put(b, 0xe800, 2);
	put_key(b, 0, "date", NULL);
	put(b, 0, 1);
	put(b, 8, 8); /* no characteristics */
	put(b, 0, 1);
	put(b, 0x14 | (uefi && g_variant_get_boolean(uefi) ? 8 : 0), 1); /* a virtual machine */
	put(b, major, 1);
	put(b, minor, 1);
	put(b, 0xffff, 2);
	end(b);
	return true;
}

static unsigned hex(char c)
{
	return (unsigned)g_ascii_xdigit_value(c);
}

static bool parse_uuid(const struct builder *b, uint8_t *ret, GError **error)
{
	g_autofree char *s = text(b, 1, "uuid", NULL);
	unsigned n = 0;

	memset(ret, 0, UUID);
	if (!s)
		return true;
	if (!g_uuid_string_is_valid(s))
		return kv_fail(error, KV_ERROR_USAGE, "--smbios: uuid: '%s' is not valid; give it as "
			       "01234567-89ab-cdef-0123-456789abcdef", s);
	for (const char *p = s; *p; p++) {
		if (*p == '-')
			continue;
		ret[n++] = (uint8_t)(hex(p[0]) << 4 | hex(p[1]));
		p++;
	}
	return true;
}

/* The first three parts of the UUID are little endian (7.2.1). */
static void system_information(struct builder *b, const uint8_t *uuid)
{
	static const uint8_t order[UUID] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};

	if (!begin(b, 1, 0x100))
		return;
	put_key(b, 1, "manufacturer", "Kvasir");
	put_key(b, 1, "product", "Kvasir PC (Q35)");
	put_key(b, 1, "version", NULL);
	put_key(b, 1, "serial", NULL);
	for (unsigned i = 0; i < UUID; i++)
		put(b, uuid[order[i]], 1);
	put(b, 6, 1); /* power switch */
	put_key(b, 1, "sku", NULL);
	put_key(b, 1, "family", NULL);
	end(b);
}

static void board_information(struct builder *b)
{
	if (!has_type(b, 2) || !begin(b, 2, 0x200))
		return;
	put_key(b, 2, "manufacturer", NULL);
	put_key(b, 2, "product", NULL);
	put_key(b, 2, "version", NULL);
	put_key(b, 2, "serial", NULL);
	put_key(b, 2, "asset", NULL);
	put(b, 1, 1); /* a hosting board */
	put_key(b, 2, "location", NULL);
	put(b, HANDLE_CHASSIS, 2);
	put(b, 10, 1); /* motherboard */
	put(b, 0, 1);
	end(b);
}

static void chassis(struct builder *b)
{
	if (!begin(b, 3, HANDLE_CHASSIS))
		return;
	put_key(b, 3, "manufacturer", "Kvasir");
	put(b, 1, 1); /* other */
	put_key(b, 3, "version", NULL);
	put_key(b, 3, "serial", NULL);
	put_key(b, 3, "asset", NULL);
	put(b, 0x030303, 3); /* safe: boot, power, heat */
	put(b, 2, 1);	     /* security: unknown */
	put(b, 0, 4);
	put(b, 0, 4); /* height, cords, contained */
	put_key(b, 3, "sku", NULL);
	end(b);
}

/* Packages, as CPUID has them. */
static void processor(struct builder *b, const struct cpu_topology *t, unsigned n)
{
	unsigned cores = MIN(t->cores, 0xffu), threads = MIN(t->cores * t->threads, 0xffu);

	g_autofree char *prefix = text(b, 4, "sock_pfx", "CPU");

	if (!begin(b, 4, HANDLE_PROCESSOR + n))
		return;
	put_string(b, g_strdup_printf("%s %u", prefix, n));
	put(b, 3, 1); /* central processor */
	put(b, 1, 1); /* other family */
	put_key(b, 4, "manufacturer", "Kvasir");
	put(b, 0, 8);
	put_key(b, 4, "version", NULL);
	put(b, 0, 1);
	put(b, 0, 2);
	put(b, number(b, 4, "max-speed", 2000), 2);
	put(b, number(b, 4, "current-speed", 2000), 2);
	put(b, 0x41, 1); /* enabled, in its socket */
	put(b, 1, 1);
	put(b, 0xffffffffffff, 6); /* no caches are described */
	put_key(b, 4, "serial", NULL);
	put_key(b, 4, "asset", NULL);
	put_key(b, 4, "part", NULL);
	put(b, cores, 1);
	put(b, cores, 1);
	put(b, threads, 1);
	put(b, 2, 2);
	put(b, 1, 2);
	end(b);
}

static void dimm(struct builder *b, unsigned n, uint64_t bytes)
{
	g_autofree char *prefix = text(b, 17, "loc_pfx", "DIMM");
	uint64_t mib = bytes >> 20;

	if (!begin(b, 17, HANDLE_DIMM + n))
		return;
	put(b, HANDLE_ARRAY, 2);
	put(b, NO_HANDLE, 2);
	put(b, 0xffffffff, 4); /* widths */
	put(b, MIN(mib, 0x7fff), 2);
	put(b, 9, 1); /* DIMM */
	put(b, 0, 1);
	put_string(b, g_strdup_printf("%s %u", prefix, n));
	put_key(b, 17, "bank", NULL);
	put(b, 7, 1); /* RAM */
	put(b, 2, 2);
	put(b, number(b, 17, "speed", 0), 2);
	put_key(b, 17, "manufacturer", "Kvasir");
	put_key(b, 17, "serial", NULL);
	put_key(b, 17, "asset", NULL);
	put_key(b, 17, "part", NULL);
	put(b, 0, 1);
	put(b, mib >= 0x7fff ? mib : 0, 4);
	put(b, number(b, 17, "speed", 0), 2);
	put(b, 0, 6); /* voltages */
	end(b);
}

static void range(struct builder *b, unsigned n, uint64_t first, uint64_t last)
{
	bool wide = last >> 10 >= UINT32_MAX;

	if (!begin(b, 19, HANDLE_RANGE + n))
		return;
	put(b, wide ? UINT32_MAX : first >> 10, 4);
	put(b, wide ? UINT32_MAX : last >> 10, 4);
	put(b, HANDLE_ARRAY, 2);
	put(b, 1, 1);
	put(b, wide ? first : 0, 8);
	put(b, wide ? last : 0, 8);
	end(b);
}

static void memory(struct builder *b, const struct machine *m)
{
	uint64_t unit = (uint64_t)DIMM_MAX_GIB << 30, low = pc_low_ram(m->memory), kib = m->memory >> 10;
	unsigned dimms = (unsigned)((m->memory + unit - 1) / unit);

	if (begin(b, 16, HANDLE_ARRAY)) {
		put(b, 1, 1); /* other place */
		put(b, 3, 1); /* system memory */
		put(b, 6, 1); /* multi-bit ECC */
		put(b, kib < 0x80000000 ? kib : 0x80000000, 4);
		put(b, NO_HANDLE, 2);
		put(b, dimms, 2);
		put(b, kib < 0x80000000 ? 0 : m->memory, 8);
		end(b);
	}
	for (unsigned i = 0; i < dimms; i++)
		dimm(b, i, MIN(unit, m->memory - i * unit));
	range(b, 0, 0, low - 1);
	if (m->memory > low)
		range(b, 1, HIGH_RAM_BASE, HIGH_RAM_BASE + m->memory - low - 1);
}

static void status_and_end(struct builder *b)
{
	if (begin(b, 32, 0x2000)) {
		put(b, 0, 7);
		end(b);
	}
	begin(b, 127, 0x7f00);
	end(b);
}

/* ---- structures of files ---- */

static bool add_file(struct builder *b, const char *path, GError **error)
{
	g_autofree char *data = NULL;
	const uint8_t *d;
	gsize len;

	if (!g_file_get_contents(path, &data, &len, error)) {
		g_prefix_error(error, "--smbios: ");
		return false;
	}
	d = (const uint8_t *)data;
	if (len < HEADER + 2 || len > STRUCTURES_MAX || d[1] < HEADER || d[1] + 2u > len || d[len - 1] || d[len - 2] ||
	    d[0] == 127)
		return kv_fail(error, KV_ERROR_INVALID, "--smbios: '%s' is not one structure with its strings", path);
	b->replaced[d[0] / 8] |= (uint8_t)(1u << d[0] % 8);
	b->start = b->out->len;
	g_byte_array_append(b->out, d, (guint)len);
	count(b);
	return true;
}

static bool take_given(struct builder *b, GError **error)
{
	for (size_t i = 0; b->given && i < g_variant_n_children(b->given); i++) {
		g_autoptr(GVariant) d = g_variant_get_child_value(b->given, i);
		const char *file = NULL;

		if (g_variant_lookup(d, "file", "&s", &file) && g_variant_n_children(d) > 1)
			return kv_fail(error, KV_ERROR_USAGE, "--smbios: file is a whole structure; give no other key with it");
		if (file ? !add_file(b, file, error) : !check_keys(d, error))
			return false;
	}
	return true;
}

/* ---- the entry point ---- */

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s = (uint8_t)(s + *p++);
	return (uint8_t)-s;
}

static GBytes *anchor(const struct builder *b)
{
	uint8_t a[ANCHOR_SIZE] = "_SM_";

	a[5] = ANCHOR_SIZE;
	a[6] = 2;
	a[7] = 8;
	put_le16(a + 8, (uint16_t)b->largest);
	memcpy(a + 16, "_DMI_", 5);
	put_le16(a + 22, (uint16_t)b->out->len);
	put_le16(a + 28, (uint16_t)b->count);
	a[30] = 0x28;
	a[21] = sum(a + 16, ANCHOR_SIZE - 16);
	a[4] = sum(a, ANCHOR_SIZE);
	return g_bytes_new(a, sizeof(a));
}

static bool build(struct builder *b, const struct machine *m, uint8_t *ret_uuid, GError **error)
{
	if (!take_given(b, error) || !parse_uuid(b, ret_uuid, error) || !bios(b, error))
		return false;
	system_information(b, ret_uuid);
	board_information(b);
	chassis(b);
	for (unsigned i = 0; i < m->topology.sockets; i++)
		processor(b, &m->topology, i);
	memory(b, m);
	status_and_end(b);
	return b->out->len <= STRUCTURES_MAX ||
	       kv_fail(error, KV_ERROR_USAGE, "--smbios: more than %d bytes of structures", STRUCTURES_MAX);
}

bool smbios_build(const struct machine *m, GVariant *given, GBytes **ret_anchor, GBytes **ret_tables, uint8_t *ret_uuid,
		  GError **error)
{
	struct builder b = {.out = g_byte_array_new(), .given = given, .strings = g_ptr_array_new_with_free_func(g_free)};
	bool ok = build(&b, m, ret_uuid, error);

	if (ok) {
		*ret_anchor = anchor(&b);
		*ret_tables = g_byte_array_free_to_bytes(b.out);
	} else {
		g_byte_array_unref(b.out);
	}
	g_ptr_array_unref(b.strings);
	return ok;
}
