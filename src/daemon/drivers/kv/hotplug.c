/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices that come and go while a machine runs: behind a PCI Express port that is free, at the USB controller, or at a SCSI one.
 * What stands behind them has the device's name in its own, so that it is found when the device goes. See kv.h.
 */
#include <string.h>

#include "kv.h"
#include "workers.h"

enum { UNPLUG_SECONDS = 5 };

/* ---- where ---- */

/* The controller's name is as it came: as its alias, or with a disk of the definition. */
static bool plug_in_scsi(struct kv_machine *m, const xmlNode *disk, JsonObject *device, GError **error)
{
	const char *index = xml_text(disk, "address/@controller") ?: "0";
	g_autofree char *bus = g_strdup_printf("scsi%s.0", index);
	g_autoptr(GError) why = NULL;

	json_object_set_string_member(device, "bus", bus);
	json_object_set_string_member(device, "channel", xml_text(disk, "address/@bus") ?: "0");
	json_object_set_string_member(device, "scsi-id", xml_text(disk, "address/@target") ?: "0");
	json_object_set_string_member(device, "lun", xml_text(disk, "address/@unit") ?: "0");
	if (kv_do(m, "device_add", json_object_ref(device), &why))
		return true;
	if (strcmp(index, "0") || !strstr(why->message, "not found")) {
		g_propagate_error(error, g_steal_pointer(&why));
		return false;
	}
	json_object_set_string_member(device, "bus", "scsi.0");
	return kv_do(m, "device_add", json_object_ref(device), error);
}

/* Where the definition has it, which has found a place that is free. Takes device. */
static bool plug(struct kv_machine *m, const xmlNode *node, JsonObject *device, GError **error)
{
	g_autofree char *bus = command_bus(domain_def_root(m->d->live), node), *slot = command_slot(node);
	bool ok;

	if (bus)
		json_object_set_string_member(device, "bus", bus);
	if (slot)
		json_object_set_string_member(device, "addr", slot);
	ok = xml_is(node, "target/@bus", "scsi") ? plug_in_scsi(m, node, device, error)
						 : kv_do(m, "device_add", json_object_ref(device), error);
	json_object_unref(device);
	return ok;
}

/* ---- names ---- */

static const char *const kinds[][2] = {
	{"disk", "virtio-disk"}, {"interface", "net"}, {"input", "input"}, {"rng", "rng"}, {"watchdog", "watchdog"},
};

static const char *name_it(struct domain *d, xmlNode *node)
{
	const char *prefix = "device";

	if (xml_text(node, "alias/@name"))
		return xml_text(node, "alias/@name");
	if (!strcmp((const char *)node->name, "controller")) {
		g_autofree char *alias = g_strconcat(xml_text(node, "@type") ?: "", xml_text(node, "@index") ?: "0", NULL);

		xml_set(node, "alias/@name", alias);
		return xml_text(node, "alias/@name");
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++)
		if (!strcmp((const char *)node->name, kinds[i][0]))
			prefix = kinds[i][1];
	if (xml_is(node, "target/@bus", "scsi") && xml_is(node, "address/@type", "drive")) {
		g_autofree char *alias = g_strdup_printf("scsi%s-%s-%s-%s", xml_text(node, "address/@controller"),
							 xml_text(node, "address/@bus"), xml_text(node, "address/@target"),
							 xml_text(node, "address/@unit"));

		xml_set(node, "alias/@name", alias);
		return xml_text(node, "alias/@name");
	}
	for (unsigned n = 0;; n++) {
		g_autofree char *alias = g_strdup_printf("%s%u", prefix, n);

		if (kv_device_by_alias(d->live, (const char *)node->name, alias))
			continue;
		xml_set(node, "alias/@name", alias);
		return xml_text(node, "alias/@name");
	}
}

static char *behind(const char *alias, const char *what)
{
	return g_strdup_printf("%s-%s", what, alias);
}

/* ---- disks ---- */

static JsonObject *file_node(const char *file, GError **error)
{
	JsonObject *server;
	JsonObject *o;

	if (!g_str_has_prefix(file, "nbd"))
		return kv_args("driver", g_str_has_prefix(file, "/dev/") ? "host_device" : "file", "filename", file, NULL);
	if (!g_str_has_prefix(file, "nbd+unix:///")) {
		rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "an NBD disk over TCP cannot be attached to a running machine");
		return NULL;
	}
	o = kv_args("driver", "nbd", NULL);
	server = kv_args("type", "unix", "path", strstr(file, "?socket=") + strlen("?socket="), NULL);
	json_object_set_object_member(o, "server", server);
	return o;
}

/* What --disk has, and neither blockdev-add nor device_add. */
static bool check_disk(const xmlNode *disk, GError **error)
{
	static const struct {
		const char *path, *value; /* NULL: any */
	} lacking[] = {{"driver/@queues", NULL}, {"boot/@order", NULL}, {"transient", NULL}, {"driver/@cache", "unsafe"}};

	for (unsigned i = 0; i < G_N_ELEMENTS(lacking); i++) {
		const char *path = lacking[i].path, *value = lacking[i].value;
		bool has = strchr(path, '@') ? xml_text(disk, path) != NULL : xml_child(disk, path) != NULL;

		if (has && (!value || xml_is(disk, path, value)))
			return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED,
					"disk '%s': %s%s%s is not for a disk that is attached to a running machine",
					xml_text(disk, "target/@dev") ?: "", path, value ? " " : "", value ? value : "");
	}
	return true;
}

static bool has_cache(const xmlNode *disk, const char *one, const char *other)
{
	return xml_is(disk, "driver/@cache", one) || xml_is(disk, "driver/@cache", other);
}

/* *ret_empty: a CD-ROM drive without a disc. */
static bool add_image(struct kv_machine *m, const xmlNode *disk, const char *node_name, bool *ret_empty, GError **error)
{
	bool cdrom = xml_is(disk, "@device", "cdrom"), copies;
	g_autofree char *file = NULL;
	JsonObject *args, *below, *cache;

	if (!command_disk_file(disk, &file, error) || !command_disk_copies(disk, &copies, error))
		return false;
	*ret_empty = !file;
	if (!file)
		return true;
	below = file_node(file, error);
	if (!below)
		return false;
	args = kv_args("driver", xml_text(disk, "driver/@type") ?: "raw", "node-name", copies ? NULL : node_name, "discard",
		       xml_text(disk, "driver/@discard") ?: "unmap", "detect-zeroes", xml_text(disk, "driver/@detect_zeroes"),
		       NULL);
	json_object_set_boolean_member(args, "read-only", cdrom || xml_child(disk, "readonly"));
	if (has_cache(disk, "none", "directsync")) {
		cache = json_object_new();
		json_object_set_boolean_member(cache, "direct", TRUE);
		json_object_set_object_member(args, "cache", cache);
	}
	if (xml_text(disk, "driver/@io"))
		json_object_set_string_member(below, "aio", xml_text(disk, "driver/@io"));
	json_object_set_object_member(args, "file", below);
	if (copies) {
		below = args;
		args = kv_args("driver", "copy-on-read", "node-name", node_name, NULL);
		json_object_set_object_member(args, "file", below);
	}
	return kv_do(m, "blockdev-add", args, error);
}

/* What QMP needs all of; iotune's elements have other names. */
static bool set_limits(struct kv_machine *m, const xmlNode *tune, const char *alias, GError **error)
{
	static const char *const names[][2] = {
		{"total_bytes_sec", "bps"},  {"read_bytes_sec", "bps_rd"}, {"write_bytes_sec", "bps_wr"},
		{"total_iops_sec", "iops"}, {"read_iops_sec", "iops_rd"}, {"write_iops_sec", "iops_wr"},
	};
	static const char *const endings[] = {"", "_max", "_max_length"};
	JsonObject *args = kv_args("id", alias, "group", xml_text(tune, "group_name"), NULL);
	guint64 n;

	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		for (unsigned e = 0; e < G_N_ELEMENTS(endings); e++) {
			g_autofree char *theirs = g_strconcat(names[i][0], endings[e], NULL);
			g_autofree char *ours = g_strconcat(names[i][1], endings[e], NULL);

			n = 0;
			if ((xml_number(tune, theirs, &n) && n) || !e)
				json_object_set_int_member(args, ours, (gint64)n);
		}
	if (xml_number(tune, "size_iops_sec", &n) && n)
		json_object_set_int_member(args, "iops_size", (gint64)n);
	return kv_do(m, "block_set_io_throttle", args, error);
}

static bool attach_disk(struct kv_machine *m, xmlNode *node, const char *alias, GError **error)
{
	g_autofree char *image = behind(alias, "image"), *wwn = NULL;
	bool scsi = xml_is(node, "target/@bus", "scsi"), cdrom = xml_is(node, "@device", "cdrom"), empty;
	const char *write, *read;
	JsonObject *device;

	if (!scsi && (!xml_is(node, "target/@bus", "virtio") || cdrom))
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "disk bus '%s' cannot be hotplugged; virtio and scsi can",
				xml_text(node, "target/@bus") ?: "");
	if (!check_disk(node, error) || !add_image(m, node, image, &empty, error))
		return false;
	command_disk_errors(node, &write, &read);
	if (xml_text(node, "wwn"))
		wwn = g_strconcat("0x", xml_text(node, "wwn"), NULL);
	device = kv_args("driver", !scsi ? "virtio-blk" : cdrom ? "scsi-cd" : "scsi-hd", "id", alias, "serial",
			 xml_text(node, "serial"), "wwn", wwn, "drive", empty ? NULL : image, "werror", write, "rerror", read,
			 "write-cache", has_cache(node, "writethrough", "directsync") ? "off" : NULL, NULL);
	if (!plug(m, node, device, error)) {
		if (!empty)
			kv_do(m, "blockdev-del", kv_args("node-name", image, NULL), NULL);
		return false;
	}
	if (!xml_child(node, "iotune") || set_limits(m, xml_child(node, "iotune"), alias, error))
		return true;
	kv_do(m, "device_del", kv_args("id", alias, NULL), NULL);
	return false;
}

/* ---- cards ---- */

static void set_prefix(JsonObject *args, const char *net)
{
	g_autofree char *prefix = g_strndup(net, strcspn(net, "/"));

	json_object_set_string_member(args, "ipv6-prefix", prefix);
}

/* netdev_add's names and types for what the keys of --net are. */
static void put_words(JsonObject *args, const GPtrArray *words)
{
	for (unsigned i = 0; i + 1 < words->len; i += 2) {
		const char *name = words->pdata[i], *value = words->pdata[i + 1];

		if (!strcmp(name, "dhcp")) /* off: there is no dhcpstart beside it */
			json_object_set_string_member(args, "dhcpstart", "none");
		else if (!strcmp(name, "ipv6") || !strcmp(name, "restrict"))
			json_object_set_boolean_member(args, name, !strcmp(value, "on"));
		else if (!strcmp(name, "ipv6-net"))
			set_prefix(args, value);
		else
			json_object_set_string_member(args, name, value);
	}
}

static JsonObject *net_args(struct kv_machine *m, const xmlNode *node, const char *id, GError **error)
{
	g_autoptr(GPtrArray) forwards = g_ptr_array_new_with_free_func(g_free), words = g_ptr_array_new_with_free_func(g_free);
	JsonArray *list;
	JsonObject *args;

	if (!command_check_interface(node, error) || !command_forwards(node, forwards, error) ||
	    (xml_is(node, "@type", "network") && !kv_network_words(m, node, words, error)))
		return NULL;
	args = kv_args("type", "user", "id", id, NULL);
	put_words(args, words);
	list = json_array_new();
	for (unsigned i = 0; i < forwards->len; i++)
		json_array_add_object_element(list, kv_args("str", forwards->pdata[i], NULL));
	json_object_set_array_member(args, "hostfwd", list);
	return args;
}

static bool attach_interface(struct kv_machine *m, xmlNode *node, const char *alias, GError **error)
{
	g_autofree char *net = behind(alias, "host");
	const char *model = xml_text(node, "model/@type");
	JsonObject *args;

	if (xml_text(node, "rom/@file"))
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "a card with an option ROM cannot be attached to a running "
				"machine: firmware has run");
	args = net_args(m, node, net, error);
	if (!args || !kv_do(m, "netdev_add", args, error))
		return false;
	kv_name_card(m->d->hv, node);
	xml_set(node, "rom/@bar", "off"); /* as it is, also in the machine that a saved state goes to */
	if (plug(m, node,
		 kv_args("driver", model && strcmp(model, "virtio") ? model : "virtio-net", "id", alias, "netdev", net, "mac",
			 xml_text(node, "mac/@address"), NULL),
		 error))
		return true;
	kv_do(m, "netdev_del", kv_args("id", net, NULL), NULL);
	return false;
}

/* ---- what has nothing behind it ---- */

static bool attach_small(struct kv_machine *m, xmlNode *node, const char *alias, GError **error)
{
	const char *type = xml_text(node, "@type"), *bus = xml_text(node, "@bus"), *kind = (const char *)node->name;
	g_autofree char *driver = NULL;

	if (!strcmp(kind, "rng"))
		driver = g_strdup("virtio-rng");
	else if (!strcmp(kind, "watchdog"))
		driver = g_strdup("i6300esb");
	else if (type && bus && (!strcmp(bus, "usb") || !strcmp(bus, "virtio")))
		driver = g_strdup_printf("%s-%s", bus, !strcmp(bus, "usb") && !strcmp(type, "keyboard") ? "kbd" : type);
	else
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "input at bus '%s' cannot be hotplugged", bus ? bus : "");
	return plug(m, node, kv_args("driver", driver, "id", alias, NULL), error);
}

/* ---- SCSI controllers ---- */

static xmlNode *scsi_controller(const struct domain *d, const char *index)
{
	xmlNode *node;

	for (unsigned i = 0; (node = domain_def_device(d->live, "controller", i)); i++)
		if (xml_is(node, "@type", "scsi") && xml_is(node, "@index", index))
			return node;
	return NULL;
}

static bool attach_controller(struct kv_machine *m, xmlNode *node, const char *alias, GError **error)
{
	const char *type = xml_text(node, "@type") ?: "", *model = xml_text(node, "@model");

	if (strcmp(type, "scsi"))
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "'%s' controller cannot be hot plugged.", type);
	if (model && strcmp(model, "virtio-scsi") && strcmp(model, "auto"))
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED,
				"scsi controllers of model '%s' are not supported; virtio-scsi is", model);
	return plug(m, node, kv_args("driver", "virtio-scsi", "id", alias, NULL), error);
}

/* As libvirt does: what a disk needs comes before it, and stays if the disk does not come. */
static bool add_controllers(struct domain *d, const xmlNode *disk, GError **error)
{
	guint64 last = 0;

	if (!xml_is(disk, "target/@bus", "scsi"))
		return true;
	xml_number(disk, "address/@controller", &last);
	for (guint64 n = 0; n <= last; n++) {
		g_autofree char *index = g_strdup_printf("%" G_GUINT64_FORMAT, n);
		g_autofree char *xml = g_strdup_printf("<controller type='scsi' index='%s' model='virtio-scsi'/>", index);
		xmlNode *node;

		if (scsi_controller(d, index))
			continue;
		node = domain_def_parse_device(d->live, xml, d->hv->driver->def_flags | DEF_LIVE, error);
		if (!node || !kv_attach(d, node, error)) {
			xmlFreeNode(node);
			return false;
		}
		domain_def_insert_device(d->live, node);
	}
	return true;
}

static bool is_used(const struct domain *d, const xmlNode *controller)
{
	const char *index = xml_text(controller, "@index") ?: "0";
	xmlNode *disk;

	for (unsigned i = 0; xml_is(controller, "@type", "scsi") && (disk = domain_def_device(d->live, "disk", i)); i++)
		if (xml_is(disk, "target/@bus", "scsi") && !strcmp(xml_text(disk, "address/@controller") ?: "0", index))
			return true;
	return false;
}

static const struct {
	const char *kind;
	bool (*attach)(struct kv_machine *m, xmlNode *node, const char *alias, GError **error);
} rows[] = {
	{"disk", attach_disk}, {"interface", attach_interface}, {"input", attach_small},
	{"rng", attach_small}, {"watchdog", attach_small}, {"controller", attach_controller},
};

static int find_row(const xmlNode *node)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
		if (!strcmp(rows[i].kind, (const char *)node->name))
			return (int)i;
	return -1;
}

bool kv_attach(struct domain *d, xmlNode *node, GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);
	g_autoptr(GError) why = NULL;
	int row = find_row(node);
	bool ok;

	if (!m)
		return false;
	if (row < 0)
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "live attach of device '%s' is not supported",
				(const char *)node->name);
	ok = add_controllers(d, node, &why) && rows[row].attach(m, node, name_it(d, node), &why);
	if (!ok)
		g_propagate_error(error, g_steal_pointer(&why));
	return ok;
}

/* ---- away ---- */

/* Whichever it has: names tell. */
static void remove_backends(struct kv_machine *m, const char *alias)
{
	g_autofree char *image = behind(alias, "image"), *net = behind(alias, "host");

	if (!m->gone)
		kv_do(m, "blockdev-del", kv_args("node-name", image, NULL), NULL);
	if (!m->gone)
		kv_do(m, "netdev_del", kv_args("id", net, NULL), NULL);
}

struct removal {
	struct kv_machine *m;
	char *alias;
};

static void remove_later(void *opaque)
{
	struct removal *r = opaque;

	remove_backends(r->m, r->alias);
	kv_machine_unref(r->m);
	g_free(r->alias);
	g_free(r);
}

void kv_remove_backends(struct kv_machine *m, const char *alias)
{
	struct removal *r = g_new(struct removal, 1);

	*r = (struct removal){kv_machine_ref(m), g_strdup(alias)};
	workers_run(remove_later, r);
}

/* A guest that takes its time is not waited for: then the event says when it has let go. */
bool kv_detach(struct domain *d, xmlNode *node, bool *ret_later, GError **error)
{
	gint64 until = g_get_monotonic_time() + UNPLUG_SECONDS * G_USEC_PER_SEC;
	g_autofree char *alias = g_strdup(xml_text(node, "alias/@name"));
	struct kv_machine *m = kv_machine_of(d, error);
	bool ok;

	if (!m)
		return false;
	if (find_row(node) < 0 || !alias)
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "live detach of device '%s' is not supported",
				(const char *)node->name);
	if (!strcmp((const char *)node->name, "controller") && !xml_is(node, "@type", "scsi"))
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "'%s' controller cannot be hot unplugged.",
				xml_text(node, "@type") ?: "");
	if (!strcmp((const char *)node->name, "controller") && is_used(d, node))
		return rpc_fail(error, VIR_ERR_OPERATION_FAILED, "device cannot be detached: device is busy");
	kv_machine_ref(m);
	g_free(m->leaving);
	m->leaving = g_strdup(alias);
	ok = kv_do(m, "device_del", kv_args("id", alias, NULL), error);
	while (ok && m->leaving && !m->gone && qmp_client_is_open(m->qmp))
		if (!state_wait(&m->changed, until))
			break;
	*ret_later = ok && m->leaving;
	if (ok && !m->leaving)
		remove_backends(m, alias);
	g_clear_pointer(&m->leaving, g_free);
	kv_machine_unref(m);
	return ok;
}

/* ---- changes ---- */

/* What after says of a drive beside its disc is what the drive is. */
static bool check_drive(const xmlNode *before, const xmlNode *after, GError **error)
{
	static const char *const texts[] = {"serial", "wwn", "vendor", "product"};
	const xmlNode *driver = xml_child(after, "driver");

	for (const xmlAttr *a = driver ? driver->properties : NULL; a; a = a->next) {
		g_autofree char *path = g_strconcat("driver/@", (const char *)a->name, NULL);

		if (strcmp(path, "driver/@type") && g_strcmp0(xml_text(before, path), xml_text(after, path)))
			return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED,
					"cannot modify field '%s' (or it's parts) of the disk", (const char *)a->name);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		if (xml_text(after, texts[i]) && g_strcmp0(xml_text(before, texts[i]), xml_text(after, texts[i])))
			return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED,
					"cannot modify field '%s' (or it's parts) of the disk", texts[i]);
	return true;
}

/* Elements that after has not, but for one, and attributes. */
static void keep(const xmlNode *before, xmlNode *after, const char *except)
{
	for (const xmlAttr *a = before->properties; a; a = a->next) {
		g_autofree char *path = g_strconcat("@", (const char *)a->name, NULL);

		xml_default(after, path, xml_text(before, path));
	}
	for (xmlNode *n = before->children; n; n = n->next)
		if (n->type == XML_ELEMENT_NODE && strcmp((const char *)n->name, except) &&
		    !xml_child(after, (const char *)n->name))
			xmlAddChild(after, xmlDocCopyNode(n, after->doc, 1));
}

static bool change_medium(struct kv_machine *m, const xmlNode *before, xmlNode *after, GError **error)
{
	const char *id = command_id(before);
	g_autofree char *file = NULL;
	JsonObject *args;

	if (!xml_is(before, "@device", "cdrom"))
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "this disk doesn't support update");
	if (!check_drive(before, after, error))
		return false;
	keep(before, after, "source");
	if (xml_child(before, "driver"))
		keep(xml_child(before, "driver"), xml_child(after, "driver"), "");
	if (!command_disk_file(after, &file, error))
		return false;
	args = file ? kv_args("id", id, "filename", file, "format", xml_text(after, "driver/@type") ?: "raw", NULL)
		    : kv_args("id", id, NULL);
	json_object_set_boolean_member(args, "force", TRUE);
	return kv_do(m, file ? "blockdev-change-medium" : "eject", args, error);
}

/* A port that was chosen stays what it is when after lets one be chosen. */
static bool check_screen(const xmlNode *before, const xmlNode *after, GError **error)
{
	static const char *const paths[] = {"@port", "@websocket"};
	const char *listen = xml_text(after, "listen/@address"), *keymap = xml_text(after, "@keymap");

	if (!xml_is(after, "listen/@type", xml_text(before, "listen/@type") ?: "") ||
	    (listen && !xml_is(before, "listen/@address", listen)))
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "cannot change listen address setting on vnc graphics");
	for (unsigned i = 0; i < G_N_ELEMENTS(paths); i++) {
		const char *port = xml_text(after, paths[i]);

		if (port && strcmp(port, "-1") && strcmp(port, "0") && !xml_is(before, paths[i], port))
			return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "cannot change port settings on vnc graphics");
	}
	return !keymap || xml_is(before, "@keymap", keymap) ||
	       rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "cannot change keymap setting on vnc graphics");
}

static void keep_screen(const xmlNode *before, xmlNode *after)
{
	static const char *const paths[] = {"@port", "@autoport", "@websocket", "@listen", "@socket", "listen"};

	for (unsigned i = 0; i < G_N_ELEMENTS(paths); i++)
		xml_set(after, paths[i], NULL);
	keep(before, after, "");
}

static bool change_password(struct kv_machine *m, const xmlNode *before, xmlNode *after, GError **error)
{
	g_autofree char *password = g_strdup(xml_text(after, "@passwd"));

	if (!check_screen(before, after, error))
		return false;
	if (!password && xml_text(before, "@passwd"))
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED,
				"a VNC password cannot be taken away while the machine runs");
	keep_screen(before, after);
	if (!g_strcmp0(password, xml_text(before, "@passwd")))
		return true;
	return kv_do(m, "set_password", kv_args("protocol", "vnc", "password", password, NULL), error);
}

static const struct {
	const char *kind;
	bool (*update)(struct kv_machine *m, const xmlNode *before, xmlNode *after, GError **error);
} updates[] = {{"disk", change_medium}, {"interface", kv_update_card}, {"graphics", change_password}};

bool kv_update(struct domain *d, xmlNode *before, xmlNode *after, GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);

	if (!m)
		return false;
	for (unsigned i = 0; i < G_N_ELEMENTS(updates); i++)
		if (!strcmp(updates[i].kind, (const char *)before->name))
			return updates[i].update(m, before, after, error);
	return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "live update of device '%s' is not supported",
			(const char *)before->name);
}

bool kv_set_memory(struct domain *d, guint64 kib, GError **error)
{
	struct kv_machine *m = d->own;
	JsonObject *args = json_object_new();

	json_object_set_int_member(args, "value", (gint64)MIN(kib, G_MAXINT64 / 1024) * 1024);
	if (m)
		return kv_do(m, "balloon", args, error);
	json_object_unref(args);
	return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "domain is not running");
}
