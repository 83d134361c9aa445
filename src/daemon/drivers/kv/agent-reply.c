/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See agent-reply.h. Names of parameters are libvirt's (virDomainGetGuestInfo). */
#include "agent-reply.h"

#include <string.h>

#include "kv.h"
#include "reader.h"

enum { RESYNC = 0xff, WAITING_MAX = 64 };

struct agent_reader {
	struct qmp_reader *json;
	GQueue messages; /* JsonNode */
};

/* ---- bytes ---- */

static struct qmp_reader *new_json(void)
{
	struct qmp_reader *json = qmp_reader_new();

	qmp_reader_set_max(json, AGENT_REPLY_MAX);
	return json;
}

struct agent_reader *agent_reader_new(void)
{
	struct agent_reader *r = g_new0(struct agent_reader, 1);

	r->json = new_json();
	g_queue_init(&r->messages);
	return r;
}

static void forget(struct agent_reader *r)
{
	qmp_reader_free(r->json);
	r->json = NULL;
	g_queue_clear_full(&r->messages, (GDestroyNotify)json_node_unref);
}

void agent_reader_free(struct agent_reader *r)
{
	if (!r)
		return;
	forget(r);
	g_free(r);
}

static void take_json(struct agent_reader *r, const guint8 *data, gsize len)
{
	for (gsize at = 0; at < len;) {
		g_autoptr(GError) fault = NULL;
		g_autoptr(JsonNode) message = NULL;

		at += qmp_reader_feed(r->json, data + at, len - at, &message, &fault);
		if (!message || !JSON_NODE_HOLDS_OBJECT(message))
			continue;
		if (g_queue_get_length(&r->messages) == WAITING_MAX) /* of no use: one command, one answer */
			json_node_unref(g_queue_pop_head(&r->messages));
		g_queue_push_tail(&r->messages, g_steal_pointer(&message));
	}
}

void agent_reader_feed(struct agent_reader *r, const guint8 *data, gsize len)
{
	while (len) {
		const guint8 *mark = memchr(data, RESYNC, len);
		gsize n = mark ? (gsize)(mark - data) : len;

		take_json(r, data, n);
		if (!mark)
			return;
		forget(r);
		r->json = new_json();
		data += n + 1;
		len -= n + 1;
	}
}

JsonNode *agent_reader_next(struct agent_reader *r)
{
	return g_queue_pop_head(&r->messages);
}

JsonNode *agent_parse(const char *text, GError **error)
{
	g_autoptr(GError) fault = NULL;
	struct qmp_reader *r = new_json();
	gsize len = strlen(text), at;
	JsonNode *message = NULL;

	at = qmp_reader_feed(r, (const guint8 *)text, len, &message, &fault);
	if (!message && !fault && at >= len) /* a number or word ends where something else begins */
		qmp_reader_feed(r, (const guint8 *)"\n", 1, &message, &fault);
	qmp_reader_free(r);
	if (message && text[at + strspn(text + at, " \t\r\n")]) {
		g_clear_pointer(&message, json_node_unref);
		rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "there is more behind it");
	} else if (fault) {
		g_propagate_error(error, g_steal_pointer(&fault));
	} else if (!message) {
		rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "it has no end");
	}
	return message;
}

/* ---- values ---- */

static GVariant *fail(GError **error)
{
	rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "Invalid data provided by guest agent");
	return NULL;
}

/* To be freed; NULL: none. */
static char *text_in(JsonObject *o, const char *name)
{
	const char *text = kv_text_in(o, name);

	return text ? g_utf8_make_valid(text, -1) : NULL;
}

static JsonArray *array_in(JsonObject *o, const char *name)
{
	return o ? kv_array(json_object_get_member(o, name)) : NULL;
}

static guint length(JsonArray *list)
{
	return list ? json_array_get_length(list) : 0;
}

static JsonObject *nth(JsonArray *list, guint i)
{
	return kv_object(json_array_get_element(list, i));
}

char *agent_text(JsonNode *value, const char *member)
{
	return text_in(kv_object(value), member);
}

/* ---- which disk ---- */

static bool is_at(const xmlNode *node, const char *attribute, JsonObject *o, const char *member)
{
	const char *text = xml_text(node, attribute);

	return o && text && g_ascii_strtoll(text, NULL, 0) == kv_number_in(o, member);
}

static bool is_pci(const xmlNode *device, JsonObject *pci)
{
	return xml_is(device, "address/@type", "pci") && is_at(device, "address/@domain", pci, "domain") &&
	       is_at(device, "address/@bus", pci, "bus") && is_at(device, "address/@slot", pci, "slot") &&
	       is_at(device, "address/@function", pci, "function");
}

static bool is_behind(const struct domain_def *def, const xmlNode *disk, JsonObject *address)
{
	const char *index = xml_text(disk, "address/@controller"), *bus = xml_text(disk, "target/@bus");
	xmlNode *c;

	if (!xml_is(disk, "address/@type", "drive") || !index || !bus || !is_at(disk, "address/@unit", address, "unit") ||
	    !is_at(disk, "address/@bus", address, "bus") || !is_at(disk, "address/@target", address, "target"))
		return false;
	for (unsigned n = 0; (c = domain_def_device(def, "controller", n)); n++)
		if (xml_is(c, "@type", bus) && xml_is(c, "@index", index) && is_pci(c, kv_object_in(address, "pci-controller")))
			return true;
	return false;
}

/* What the definition calls the disk that a guest sees at this place; NULL: none of it. */
static const char *disk_at(const struct domain_def *def, JsonObject *address)
{
	xmlNode *disk;

	for (unsigned n = 0; def && address && (disk = domain_def_device(def, "disk", n)); n++)
		if (is_pci(disk, kv_object_in(address, "pci-controller")) || is_behind(def, disk, address))
			return xml_text(disk, "target/@dev");
	return NULL;
}

/* ---- answers ---- */

static GVariant *filesystem(JsonObject *o, const struct domain_def *def)
{
	g_autofree char *mount = text_in(o, "mountpoint"), *name = text_in(o, "name"), *type = text_in(o, "type");
	JsonArray *disks = array_in(o, "disk");
	GVariantBuilder aliases;

	if (!mount || !name || !type)
		return NULL;
	g_variant_builder_init(&aliases, G_VARIANT_TYPE("as"));
	for (guint i = 0; i < MIN(length(disks), AGENT_FILESYSTEMS_MAX); i++) {
		const char *dev = disk_at(def, nth(disks, i));

		if (dev)
			g_variant_builder_add(&aliases, "s", dev);
	}
	return g_variant_new("(sssas)", mount, name, type, &aliases);
}

GVariant *agent_filesystems(JsonNode *value, const struct domain_def *def, GError **error)
{
	JsonArray *list = kv_array(value);
	GVariantBuilder out;

	if (!list || length(list) > AGENT_FILESYSTEMS_MAX)
		return fail(error);
	g_variant_builder_init(&out, G_VARIANT_TYPE("a(sssas)"));
	for (guint i = 0; i < length(list); i++) {
		GVariant *one = filesystem(nth(list, i), def);

		if (!one) {
			g_variant_builder_clear(&out);
			return fail(error);
		}
		g_variant_builder_add_value(&out, one);
	}
	return g_variant_builder_end(&out);
}

enum { FAMILY_IPV4, FAMILY_IPV6 };

/* -1: none that there is. */
static int family(JsonObject *address)
{
	const char *type = kv_text_in(address, "ip-address-type");

	return !type ? -1 : !strcmp(type, "ipv4") ? FAMILY_IPV4 : !strcmp(type, "ipv6") ? FAMILY_IPV6 : -1;
}

static bool add_addresses(GVariantBuilder *out, JsonObject *card)
{
	JsonArray *list = array_in(card, "ip-addresses");

	for (guint i = 0; i < length(list); i++) {
		JsonObject *o = nth(list, i);
		g_autofree char *address = text_in(o, "ip-address");

		if (!address || family(o) < 0 || !json_object_has_member(o, "prefix"))
			return false;
		g_variant_builder_add(out, "(isu)", family(o), address, (guint32)CLAMP(kv_number_in(o, "prefix"), 0, 128));
	}
	return true;
}

static bool is_name_of(const char *other, const char *name)
{
	gsize n = strlen(name);

	return other && !strncmp(other, name, n) && (!other[n] || other[n] == ':');
}

/* eth0:1 is eth0 with one more address. */
static bool add_card(GVariantBuilder *out, JsonArray *list, guint at, const char *name)
{
	g_autofree char *hardware = text_in(nth(list, at), "hardware-address"), *valid = g_utf8_make_valid(name, -1);
	GVariantBuilder addresses;

	g_variant_builder_init(&addresses, G_VARIANT_TYPE("a(isu)"));
	for (guint i = at; i < length(list); i++) {
		if (!is_name_of(kv_text_in(nth(list, i), "name"), name) || add_addresses(&addresses, nth(list, i)))
			continue;
		g_variant_builder_clear(&addresses);
		return false;
	}
	g_variant_builder_add(out, "(smsa(isu))", valid, hardware, &addresses);
	return true;
}

static bool add_cards(GVariantBuilder *out, JsonArray *list)
{
	g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	for (guint i = 0; i < length(list); i++) {
		const char *full = kv_text_in(nth(list, i), "name");
		char *name = full ? g_strndup(full, strcspn(full, ":")) : NULL;

		if (!name)
			return false;
		if (g_hash_table_add(seen, name) && !add_card(out, list, i, name))
			return false;
	}
	return true;
}

GVariant *agent_interfaces(JsonNode *value, GError **error)
{
	JsonArray *list = kv_array(value);
	GVariantBuilder out;

	if (!list || length(list) > AGENT_PARAMS_MAX)
		return fail(error);
	g_variant_builder_init(&out, G_VARIANT_TYPE("a(smsa(isu))"));
	if (add_cards(&out, list))
		return g_variant_builder_end(&out);
	g_variant_builder_clear(&out);
	return fail(error);
}

GVariant *agent_keys(JsonNode *value, GError **error)
{
	JsonArray *list = array_in(kv_object(value), "keys");
	GVariantBuilder out;

	if (!list || length(list) > AGENT_KEYS_MAX)
		return fail(error);
	g_variant_builder_init(&out, G_VARIANT_TYPE("as"));
	for (guint i = 0; i < length(list); i++) {
		JsonNode *node = json_array_get_element(list, i);
		const char *text = JSON_NODE_HOLDS_VALUE(node) ? json_node_get_string(node) : NULL;
		g_autofree char *valid = text ? g_utf8_make_valid(text, -1) : NULL;

		if (!valid) {
			g_variant_builder_clear(&out);
			return fail(error);
		}
		g_variant_builder_add(&out, "s", valid);
	}
	return g_variant_builder_end(&out);
}

/* ---- processors ---- */

int agent_count_vcpus(JsonNode *value, int *ret_all)
{
	JsonArray *list = kv_array(value);
	int online = 0;

	*ret_all = (int)length(list);
	for (guint i = 0; i < length(list); i++)
		online += kv_flag_in(nth(list, i), "online");
	return list && length(list) <= AGENT_PARAMS_MAX ? online : -1;
}

/* "0-3,5" of the set numbers. */
static char *ranges(const bool *set, guint n)
{
	GString *out = g_string_new(NULL);

	for (guint i = 0; i < n; i++) {
		guint first = i;

		if (!set[i])
			continue;
		while (i + 1 < n && set[i + 1])
			i++;
		g_string_append_printf(out, out->len ? ",%u" : "%u", first);
		if (i > first)
			g_string_append_printf(out, "-%u", i);
	}
	return g_string_free(out, FALSE);
}

GVariant *agent_vcpus(JsonNode *value, GError **error)
{
	static const char *const names[] = {"vcpus", "online", "offlinable"};
	g_autofree bool *sets = g_new0(bool, G_N_ELEMENTS(names) * AGENT_PARAMS_MAX);
	JsonArray *list = kv_array(value);
	GVariantBuilder out;

	if (!list || length(list) > AGENT_PARAMS_MAX)
		return fail(error);
	for (guint i = 0; i < length(list); i++) {
		gint64 id = kv_number_in(nth(list, i), "logical-id");

		if (id < 0 || id >= AGENT_PARAMS_MAX || !nth(list, i))
			return fail(error);
		sets[id] = true;
		sets[AGENT_PARAMS_MAX + id] = kv_flag_in(nth(list, i), "online");
		sets[2 * AGENT_PARAMS_MAX + id] = kv_flag_in(nth(list, i), "can-offline");
	}
	g_variant_builder_init(&out, G_VARIANT_TYPE("a(sv)"));
	for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *text = ranges(sets + i * AGENT_PARAMS_MAX, AGENT_PARAMS_MAX);

		g_variant_builder_add(&out, "(sv)", names[i], g_variant_new_string(text));
	}
	return g_variant_builder_end(&out);
}

/* ---- guestinfo ---- */

static void G_GNUC_PRINTF(3, 4) add(struct agent_params *p, GVariant *value, const char *format, ...)
{
	g_autofree char *name = NULL;
	va_list ap;

	va_start(ap, format);
	name = g_strdup_vprintf(format, ap);
	va_end(ap);
	p->n++;
	g_variant_builder_add(p->out, "(sv)", name, value);
}

/* A member that is there, under a name that begins with format's result. */
static void G_GNUC_PRINTF(4, 5) add_text(struct agent_params *p, JsonObject *o, const char *member, const char *format, ...)
{
	g_autofree char *text = text_in(o, member), *name = NULL;
	va_list ap;

	if (!text)
		return;
	va_start(ap, format);
	name = g_strdup_vprintf(format, ap);
	va_end(ap);
	add(p, g_variant_new_string(text), "%s", name);
}

static double real_in(JsonObject *o, const char *name)
{
	JsonNode *node = o ? json_object_get_member(o, name) : NULL;

	return node && JSON_NODE_HOLDS_VALUE(node) ? json_node_get_double(node) : 0;
}

/* More than can be sent is told as none of it: the caller answers an error by p->n. */
static bool fits(JsonArray *list, const struct agent_params *p)
{
	return list && length(list) <= AGENT_PARAMS_MAX && p->n <= AGENT_PARAMS_MAX;
}

bool agent_info_users(struct agent_params *p, JsonNode *value)
{
	JsonArray *list = kv_array(value);

	if (!fits(list, p))
		return false;
	add(p, g_variant_new_uint32(length(list)), "user.count");
	for (guint i = 0; i < length(list); i++) {
		JsonObject *o = nth(list, i);
		double seconds = CLAMP(real_in(o, "login-time"), 0, 1e15);

		add_text(p, o, "user", "user.%u.name", i);
		add_text(p, o, "domain", "user.%u.domain", i);
		add(p, g_variant_new_uint64((guint64)(seconds * 1000)), "user.%u.login-time", i);
	}
	return true;
}

bool agent_info_os(struct agent_params *p, JsonNode *value)
{
	static const char *const names[] = {
		"id",	   "name",    "pretty-name", "version",	       "version-id",
		"machine", "variant", "variant-id",  "kernel-release", "kernel-version",
	};

	for (guint i = 0; i < G_N_ELEMENTS(names); i++)
		add_text(p, kv_object(value), names[i], "os.%s", names[i]);
	return kv_object(value);
}

bool agent_info_timezone(struct agent_params *p, JsonNode *value)
{
	JsonObject *o = kv_object(value);

	if (!o)
		return false;
	add_text(p, o, "zone", "timezone.name");
	add(p, g_variant_new_int32((gint32)CLAMP(kv_number_in(o, "offset"), G_MININT32, G_MAXINT32)), "timezone.offset");
	return true;
}

bool agent_info_hostname(struct agent_params *p, JsonNode *value)
{
	add_text(p, kv_object(value), "host-name", "hostname");
	return kv_object(value);
}

static void add_disks(struct agent_params *p, guint i, JsonArray *disks)
{
	add(p, g_variant_new_uint32(length(disks)), "fs.%u.disk.count", i);
	for (guint k = 0; k < length(disks); k++) {
		const char *dev = disk_at(p->def, nth(disks, k));

		if (dev)
			add(p, g_variant_new_string(dev), "fs.%u.disk.%u.alias", i, k);
		add_text(p, nth(disks, k), "serial", "fs.%u.disk.%u.serial", i, k);
		add_text(p, nth(disks, k), "dev", "fs.%u.disk.%u.device", i, k);
	}
}

bool agent_info_filesystems(struct agent_params *p, JsonNode *value)
{
	JsonArray *list = kv_array(value);

	if (!fits(list, p))
		return false;
	add(p, g_variant_new_uint32(length(list)), "fs.count");
	for (guint i = 0; i < length(list); i++) {
		JsonObject *o = nth(list, i);
		JsonArray *disks = array_in(o, "disk");

		if (p->n > AGENT_PARAMS_MAX || length(disks) > AGENT_PARAMS_MAX)
			return false;
		add_text(p, o, "name", "fs.%u.name", i);
		add_text(p, o, "mountpoint", "fs.%u.mountpoint", i);
		add_text(p, o, "type", "fs.%u.fstype", i);
		if (o && json_object_has_member(o, "total-bytes"))
			add(p, g_variant_new_uint64((guint64)kv_number_in(o, "total-bytes")), "fs.%u.total-bytes", i);
		if (o && json_object_has_member(o, "used-bytes"))
			add(p, g_variant_new_uint64((guint64)kv_number_in(o, "used-bytes")), "fs.%u.used-bytes", i);
		add_disks(p, i, disks);
	}
	return true;
}

static void add_dependencies(struct agent_params *p, guint i, JsonArray *names)
{
	if (!length(names))
		return;
	add(p, g_variant_new_uint32(length(names)), "disk.%u.dependency.count", i);
	for (guint k = 0; k < length(names); k++) {
		JsonNode *node = json_array_get_element(names, k);
		const char *text = JSON_NODE_HOLDS_VALUE(node) ? json_node_get_string(node) : NULL;
		g_autofree char *valid = text ? g_utf8_make_valid(text, -1) : NULL;

		if (valid)
			add(p, g_variant_new_string(valid), "disk.%u.dependency.%u.name", i, k);
	}
}

bool agent_info_disks(struct agent_params *p, JsonNode *value)
{
	JsonArray *list = kv_array(value);

	if (!fits(list, p))
		return false;
	add(p, g_variant_new_uint32(length(list)), "disk.count");
	for (guint i = 0; i < length(list); i++) {
		JsonObject *o = nth(list, i), *address = kv_object_in(o, "address");
		JsonArray *names = array_in(o, "dependencies");
		const char *dev = disk_at(p->def, address);

		if (p->n > AGENT_PARAMS_MAX || length(names) > AGENT_PARAMS_MAX)
			return false;
		add_text(p, o, "name", "disk.%u.name", i);
		add(p, g_variant_new_boolean(kv_flag_in(o, "partition")), "disk.%u.partition", i);
		add_dependencies(p, i, names);
		add_text(p, address, "serial", "disk.%u.serial", i);
		if (dev)
			add(p, g_variant_new_string(dev), "disk.%u.alias", i);
		add_text(p, o, "alias", "disk.%u.guest_alias", i);
		add_text(p, address, "bus-type", "disk.%u.guest_bus", i);
	}
	return true;
}

static void add_card_addresses(struct agent_params *p, guint i, JsonArray *list)
{
	add(p, g_variant_new_uint32(length(list)), "if.%u.addr.count", i);
	for (guint k = 0; k < length(list); k++) {
		JsonObject *o = nth(list, k);

		add_text(p, o, "ip-address-type", "if.%u.addr.%u.type", i, k);
		add_text(p, o, "ip-address", "if.%u.addr.%u.addr", i, k);
		add(p, g_variant_new_uint32((guint32)CLAMP(kv_number_in(o, "prefix"), 0, 128)), "if.%u.addr.%u.prefix", i, k);
	}
}

bool agent_info_interfaces(struct agent_params *p, JsonNode *value)
{
	JsonArray *list = kv_array(value);

	if (!fits(list, p))
		return false;
	add(p, g_variant_new_uint32(length(list)), "if.count");
	for (guint i = 0; i < length(list); i++) {
		JsonArray *addresses = array_in(nth(list, i), "ip-addresses");

		if (p->n > AGENT_PARAMS_MAX || length(addresses) > AGENT_PARAMS_MAX)
			return false;
		add_text(p, nth(list, i), "name", "if.%u.name", i);
		add_text(p, nth(list, i), "hardware-address", "if.%u.hwaddr", i);
		if (addresses)
			add_card_addresses(p, i, addresses);
	}
	return true;
}
