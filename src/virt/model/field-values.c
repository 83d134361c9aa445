/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Values of elements and attributes (field-values.h): one function a type, in a table. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "domain-def.h"
#include "field-values.h"
#include "message.h"
#include "model-xml.h"

enum { CPUS_MAX = 4096, UUID_DIGITS = 32 };

struct value {
	const struct field *row;
	xmlNode *node;
	const char *attribute;
	const char *text;
	unsigned flags;
};

static bool invalid(const struct value *v, const char *expected, GError **error)
{
	const char *element = (const char *)v->node->name;

	if (v->attribute)
		return rpc_fail(error, VIR_ERR_XML_ERROR, "Invalid value for attribute '%s' in element '%s': '%s'.%s",
				v->attribute, element, v->text, expected);
	return rpc_fail(error, VIR_ERR_XML_ERROR, "Invalid value for element '%s': '%s'.%s", element, v->text, expected);
}

static void replace(struct value *v, const char *text)
{
	g_autofree char *path = v->attribute ? g_strconcat("@", v->attribute, NULL) : g_strdup("");

	if (strcmp(v->text, text))
		xml_set(v->node, path, text);
}

static bool check_name(struct value *v, GError **error)
{
	return *v->text || invalid(v, "", error);
}

static bool check_word(struct value *v, GError **error)
{
	size_t len = strlen(v->text);

	for (const char *p = v->row->values; *p;) {
		bool refused = *p == '!';
		size_t word = strcspn(p += refused, " ");

		if (word == len && !strncmp(p, v->text, len)) {
			if (!refused || v->flags & DEF_TEST)
				return true;
			if (v->attribute)
				return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "%s '%s' of element <%s> is not supported",
						v->attribute, v->text, (const char *)v->node->name);
			return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "'%s' in element <%s> is not supported", v->text,
					(const char *)v->node->name);
		}
		p += word;
		p += strspn(p, " ");
	}
	return invalid(v, "", error);
}

static bool check_count(struct value *v, GError **error)
{
	guint64 from = 0, to = G_MAXUINT64, n;
	g_autofree char *text = NULL;

	if (v->row->values && *v->row->values) {
		char *end;

		from = strtoull(v->row->values, &end, 10);
		to = strtoull(end, NULL, 10);
	}
	if (!g_ascii_string_to_unsigned(v->text, 10, from, to, &n, NULL))
		return invalid(v, " Expected non-negative integer value", error);
	text = g_strdup_printf("%" G_GUINT64_FORMAT, n); /* what is compared as a text is one number under one name */
	replace(v, text);
	return true;
}

static bool check_int(struct value *v, GError **error)
{
	gint64 n;

	return g_ascii_string_to_signed(v->text, 10, G_MININT64, G_MAXINT64, &n, NULL) ||
	       invalid(v, " Expected integer value", error);
}

static bool check_hex(struct value *v, GError **error)
{
	int digits = (int)strtol(v->row->values, NULL, 10);
	g_autofree char *text = NULL;
	bool hex = !strncmp(v->text, "0x", 2);
	guint64 n, most = digits >= 16 ? G_MAXUINT64 : (1ull << MAX(digits * 4, 16)) - 1;

	if (!g_ascii_string_to_unsigned(v->text + (hex ? 2 : 0), hex ? 16 : 10, 0, most, &n, NULL))
		return invalid(v, " Expected integer value", error);
	text = g_strdup_printf("0x%0*" G_GINT64_MODIFIER "x", digits, n);
	replace(v, text);
	return true;
}

guint64 field_unit(const char *unit, guint64 without)
{
	static const char letters[] = "KMGTPE";
	const char *l;
	guint64 base = 1024, bytes = 1;

	if (!unit || !*unit)
		return without;
	if (!g_ascii_strcasecmp(unit, "b") || !g_ascii_strcasecmp(unit, "byte") || !g_ascii_strcasecmp(unit, "bytes"))
		return 1;
	l = strchr(letters, g_ascii_toupper(*unit));
	if (!l)
		return 0;
	if (!g_ascii_strcasecmp(unit + 1, "b"))
		base = 1000;
	else if (unit[1] && g_ascii_strcasecmp(unit + 1, "ib"))
		return 0;
	for (long i = 0; i <= l - letters; i++)
		bytes *= base;
	return bytes;
}

static bool check_amount(struct value *v, GError **error)
{
	bool kib = v->row->type == FIELD_KIB;
	const char *unit = xml_text(v->node, "@unit");
	guint64 n, bytes = field_unit(unit, kib ? 1024 : 1);
	g_autofree char *text = NULL;

	if (!bytes)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "unknown suffix '%s'", unit);
	if (!g_ascii_string_to_unsigned(v->text, 10, 0, G_MAXUINT64, &n, NULL))
		return invalid(v, " Expected non-negative integer value", error);
	if (n > G_MAXINT64 / bytes)
		return rpc_fail(error, VIR_ERR_XML_ERROR, "value of element '%s' is too large: '%s'", (const char *)v->node->name,
				v->text);
	n *= bytes;
	if (kib)
		n = (n + 1023) / 1024;
	text = g_strdup_printf("%" G_GUINT64_FORMAT, n);
	replace(v, text);
	xml_set(v->node, "@unit", kib ? "KiB" : "bytes");
	return true;
}

/* With or without dashes, as libvirt takes it; written with. */
static bool check_uuid(struct value *v, GError **error)
{
	char digits[UUID_DIGITS + 1], text[37];
	unsigned n = 0;

	for (const char *p = v->text; *p; p++) {
		if (g_ascii_isxdigit(*p) && n < UUID_DIGITS)
			digits[n++] = g_ascii_tolower(*p);
		else if (*p != '-' && !g_ascii_isspace(*p))
			n = UUID_DIGITS + 1;
		if (n > UUID_DIGITS)
			break;
	}
	if (n != UUID_DIGITS)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "malformed uuid element");
	g_snprintf(text, sizeof(text), "%.8s-%.4s-%.4s-%.4s-%.12s", digits, digits + 8, digits + 12, digits + 16, digits + 20);
	replace(v, text);
	return true;
}

static bool check_mac(struct value *v, GError **error)
{
	unsigned byte[6];
	char text[18], over;

	if (sscanf(v->text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &byte[0], &byte[1], &byte[2], &byte[3], &byte[4], &byte[5], &over) != 6)
		return rpc_fail(error, VIR_ERR_XML_ERROR, "unable to parse mac address '%s'", v->text);
	if (byte[0] & 1)
		return rpc_fail(error, VIR_ERR_XML_ERROR, "expected unicast mac address, found multicast '%s'", v->text);
	g_snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", byte[0], byte[1], byte[2], byte[3], byte[4], byte[5]);
	replace(v, text);
	return true;
}

static bool check_path(struct value *v, GError **error)
{
	bool filled_later = !v->attribute && !*v->text && v->node->properties; /* <nvram template='…'/> */

	if (*v->text == '/' || filled_later || v->flags & DEF_TEST)
		return true;
	return rpc_fail(error, VIR_ERR_XML_ERROR, "'%s' in element <%s> is not an absolute path", v->text,
			(const char *)v->node->name);
}

/* One number or range at p; moves p behind it. */
static bool take_range(const char **p, GByteArray *set)
{
	bool without = **p == '^';
	char *end;
	unsigned long from, to;

	*p += without;
	if (!g_ascii_isdigit(**p))
		return false;
	from = to = strtoul(*p, &end, 10);
	if (*end == '-' && !without) {
		if (!g_ascii_isdigit(end[1]))
			return false;
		to = strtoul(end + 1, &end, 10);
	}
	if (from > to || to >= CPUS_MAX)
		return false;
	if (set->len <= to) {
		guint old = set->len;

		g_byte_array_set_size(set, (guint)to + 1);
		memset(set->data + old, 0, to + 1 - old);
	}
	memset(set->data + from, !without, to + 1 - from);
	*p = end;
	return true;
}

GByteArray *field_cpus(const char *text)
{
	g_autoptr(GByteArray) set = g_byte_array_new();

	for (const char *p = text;;) {
		while (g_ascii_isspace(*p))
			p++;
		if (!take_range(&p, set))
			return NULL;
		while (g_ascii_isspace(*p))
			p++;
		if (!*p)
			return g_steal_pointer(&set);
		if (*p++ != ',')
			return NULL;
	}
}

static bool check_cpus(struct value *v, GError **error)
{
	g_autoptr(GByteArray) set = field_cpus(v->text);
	g_autoptr(GString) text = g_string_new(NULL);

	if (!set)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "Failed to parse bitmap '%s'", v->text);
	for (guint i = 0; i < set->len; i++) {
		guint last = i;

		if (!set->data[i])
			continue;
		while (last + 1 < set->len && set->data[last + 1])
			last++;
		g_string_append_printf(text, "%s%u", text->len ? "," : "", i);
		if (last > i)
			g_string_append_printf(text, "-%u", last);
		i = last;
	}
	replace(v, text->str);
	return true;
}

static bool check_bus(struct value *v, GError **error)
{
	static const struct field pci = { "@bus", FIELD_HEX, "2" }, other = { "@bus", FIELD_COUNT };
	struct value as = *v;
	bool is_pci = xml_is(v->node, "@type", "pci");

	as.row = is_pci ? &pci : &other;
	return is_pci ? check_hex(&as, error) : check_count(&as, error);
}

static bool check_any(struct value *v, GError **error)
{
	return true;
}

bool field_check_value(const struct field *row, xmlNode *node, const char *attribute, unsigned flags, GError **error)
{
	static bool (*const checks[])(struct value *, GError **) = {
		[FIELD_NODE] = check_any,   [FIELD_TEXT] = check_any,	[FIELD_NAME] = check_name,    [FIELD_WORD] = check_word,
		[FIELD_COUNT] = check_count, [FIELD_INT] = check_int,	[FIELD_HEX] = check_hex,      [FIELD_KIB] = check_amount,
		[FIELD_BYTES] = check_amount, [FIELD_UUID] = check_uuid, [FIELD_MAC] = check_mac,      [FIELD_PATH] = check_path,
		[FIELD_CPUS] = check_cpus,  [FIELD_BUS] = check_bus,
	};
	g_autofree char *path = attribute ? g_strconcat("@", attribute, NULL) : g_strdup("");
	struct value v = { row, node, attribute, xml_text(node, path), flags };

	if (!attribute && row->type != FIELD_TEXT && row->type != FIELD_NAME && row->type != FIELD_NODE) {
		g_autofree char *stripped = g_strstrip(g_strdup(v.text));

		replace(&v, stripped);
		v.text = xml_text(node, path);
	}
	return checks[row->type](&v, error);
}
