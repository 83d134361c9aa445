/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP commands that plug devices in and take them out: device_add with the words of --device, and what is behind them: drive, a
 * block node, netdev, a network, or chardev. See qmp.h; machine/plug.c does it.
 */
#include <string.h>

#include "disk.h"
#include "error.h"
#include "machine.h"
#include "migrate.h"
#include "qmp.h"
#include "vmm.h"

const struct qmp_member qmp_device_del_args[] = { { "id", &qmp_string }, {} };

/* An option as the command line would have it; NULL: it is none. */
static char *word_of(JsonNode *node)
{
	GType type = JSON_NODE_HOLDS_VALUE(node) ? json_node_get_value_type(node) : G_TYPE_INVALID;

	if (type == G_TYPE_STRING)
		return g_strdup(json_node_get_string(node));
	if (type == G_TYPE_INT64)
		return g_strdup_printf("%" G_GINT64_FORMAT, json_node_get_int(node));
	if (type == G_TYPE_BOOLEAN)
		return g_strdup(json_node_get_boolean(node) ? "on" : "off");
	return NULL;
}

/* All but what is taken here. */
static GVariant *words_of(JsonObject *args, GError **error)
{
	static const char *const taken[] = { "driver", "id", "drive", "netdev", "chardev", "iothread", "werror", "rerror",
					     "write-cache", NULL };
	GVariantBuilder words;
	JsonObjectIter iter;
	const char *name;
	JsonNode *node;

	g_variant_builder_init(&words, G_VARIANT_TYPE("a{ss}"));
	json_object_iter_init_ordered(&iter, args);
	while (json_object_iter_next_ordered(&iter, &name, &node)) {
		g_autofree char *word = word_of(node);

		if (!word || (g_strv_contains(taken, name) && !qmp_text(args, name))) {
			g_variant_builder_clear(&words);
			qmp_fail(error, QMP_ERROR_GENERIC, "Invalid parameter type for '%s', expected: string", name);
			return NULL;
		}
		if (!g_strv_contains(taken, name))
			g_variant_builder_add(&words, "{ss}", name, word);
	}
	return g_variant_ref_sink(g_variant_builder_end(&words));
}

/* What QEMU has as properties of disks, for disk_new(). */
static bool take_drive_word(JsonObject *args, const char *name, const char *const *values, const char **ret, GError **error)
{
	*ret = qmp_text(args, name);
	return !*ret || g_strv_contains(values, *ret) ||
	       qmp_fail(error, QMP_ERROR_GENERIC, "Parameter '%s' does not accept value '%s'", name, *ret);
}

static GVariant *drive_options(JsonObject *args, GError **error)
{
	static const char *const policies[] = { "auto", "enospc", "report", "ignore", "stop", NULL };
	static const char *const switches[] = { "auto", "on", "off", NULL };
	const char *write, *read, *cache;
	GVariantDict dict;

	if (!take_drive_word(args, "werror", policies, &write, error) ||
	    !take_drive_word(args, "rerror", policies, &read, error) ||
	    !take_drive_word(args, "write-cache", switches, &cache, error))
		return NULL;
	if (!g_strcmp0(read, "enospc")) {
		qmp_fail(error, QMP_ERROR_GENERIC, "enospc is only supported for write errors");
		return NULL;
	}
	g_variant_dict_init(&dict, NULL);
	if (write && strcmp(write, "auto"))
		g_variant_dict_insert(&dict, "werror", "s", write);
	if (read && strcmp(read, "auto"))
		g_variant_dict_insert(&dict, "rerror", "s", read);
	if (!g_strcmp0(cache, "off"))
		g_variant_dict_insert(&dict, "cache", "s", "writethrough");
	return g_variant_ref_sink(g_variant_dict_end(&dict));
}

char *qmp_property_owner(const char *driver)
{
	const char *name = g_str_has_suffix(driver, "-pci") && g_str_has_prefix(driver, "virtio-") ? "pci" : NULL;

	return name ? g_strdup_printf("%.*sdevice", (int)(strlen(driver) - strlen(name)), driver) : g_strdup(driver);
}

/* A drive over a node, which nobody else may have; NULL: an empty one. */
static struct disk *open_drive(struct vmm *vmm, const struct machine_device *d, const char *node, JsonObject *args,
			       GError **error)
{
	g_autoptr(GVariant) options = drive_options(args, error);
	struct image *img = options && node ? graph_lookup(vmm->graph, NULL, node, NULL) : NULL;
	struct disk *disk;

	if (options && node && !img) {
		g_autofree char *owner = qmp_property_owner(d->cls);

		qmp_fail(error, QMP_ERROR_GENERIC, "Property '%s.drive' can't find value '%s'", owner, node);
	}
	if (!options || (node && !img))
		return NULL;
	if (img && graph_in_use(vmm->graph, img)) {
		qmp_fail(error, QMP_ERROR_GENERIC, "Conflicts with use by another device as 'root' of node '%s'", node);
		return NULL;
	}
	disk = disk_new(d->id, img ? image_ref(img) : NULL, options, error);
	if (disk && vmm_plug_drive(vmm, disk, error)) {
		vmm_watch_disk(vmm, disk, true);
		return disk;
	}
	disk_free(disk);
	return NULL;
}

/* A network that no card has, or with no name a cable that is not plugged in. */
static bool take_network(struct vmm *vmm, struct machine_device *d, const char *name, GError **error)
{
	struct vmm_netdev *n = name ? vmm_find_netdev(vmm, name) : vmm_add_netdev(vmm, "none", NULL, NULL, error);
	g_autofree char *owner = qmp_property_owner(d->cls);

	if (n && !n->card) {
		n->card = g_strdup(d->id);
		d->netdev = n->net;
		return true;
	}
	if (n)
		qmp_fail(error, QMP_ERROR_GENERIC, "Property '%s.netdev' can't take value '%s', it's in use", owner, name);
	else if (name)
		qmp_fail(error, QMP_ERROR_GENERIC, "Property '%s.netdev' can't find value '%s'", owner, name);
	return false;
}

static bool take_iothread(struct vmm *vmm, struct machine_device *d, const char *name, GError **error)
{
	struct vmm_object *o = vmm_find_object(vmm, name);

	if (!o)
		return qmp_fail(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", name);
	if (o->type != &object_iothread)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Invalid parameter type for 'iothread', expected: iothread");
	d->iothread = vmm_iothread(o);
	return true;
}

static bool take_backends(struct vmm *vmm, JsonObject *args, struct machine_device *d, GError **error)
{
	const char *node = qmp_text(args, "drive"), *network = qmp_text(args, "netdev"), *chardev = qmp_text(args, "chardev");
	g_autofree char *property = g_strconcat(d->cls, ".chardev", NULL);
	const char *iothread = qmp_text(args, "iothread");

	if (iothread && !take_iothread(vmm, d, iothread, error))
		return false;
	if (chardev)
		d->chardev = vmm_take_chardev(vmm, chardev, d->id, property, error);
	if (chardev && !d->chardev)
		return false;
	if (node || !strcmp(d->cls, "scsi-cd")) {
		d->disk = open_drive(vmm, d, node, args, error);
		if (!d->disk)
			return false;
	}
	return !machine_takes(d->cls, "netdev") || take_network(vmm, d, network, error);
}

static void give_back(struct vmm *vmm, const struct machine_device *d)
{
	if (d->disk)
		vmm_unplug_drive(vmm, d->id);
	if (d->netdev)
		vmm_card_gone(vmm, d->id);
	if (d->chardev)
		vmm_give_back_chardev(vmm, d->id);
}

/* What is behind a device is found again by the device's name. */
static bool check_names(struct vmm *vmm, JsonObject *args, const struct machine_device *d, GError **error)
{
	static const char *const backends[] = { "drive", "netdev", "chardev", "iothread" };
	static const char *const of_drives[] = { "werror", "rerror", "write-cache" };

	for (unsigned i = 0; i < G_N_ELEMENTS(of_drives); i++)
		if (qmp_text(args, of_drives[i]) && !machine_takes(d->cls, "drive"))
			return qmp_fail(error, QMP_ERROR_GENERIC, "Property '%s.%s' not found", d->cls, of_drives[i]);
	if (d->id && !qmp_check_id(d->id, error))
		return false;
	if (d->id && machine_has_device(vmm->machine, d->id))
		return qmp_fail(error, QMP_ERROR_GENERIC, "Duplicate device ID '%s'", d->id);
	for (unsigned i = 0; i < G_N_ELEMENTS(backends); i++) {
		bool takes = machine_takes(d->cls, backends[i]), given = qmp_text(args, backends[i]);

		if (given && !takes)
			return qmp_fail(error, QMP_ERROR_GENERIC, "Property '%s.%s' not found", d->cls, backends[i]);
		if (takes && !d->id && strcmp(backends[i], "iothread"))
			return qmp_fail(error, QMP_ERROR_GENERIC, "a %s needs an id", d->cls);
	}
	return true;
}

JsonNode *qmp_device_add(void *opaque, JsonObject *args, GError **error)
{
	struct vmm *vmm = opaque;
	JsonNode *node = json_object_get_member(args, "driver");
	g_autofree char *driver = node ? word_of(node) : NULL;
	g_autoptr(GVariant) words = driver && machine_can_plug(driver, error) ? words_of(args, error) : NULL;
	struct machine_device d = { .cls = driver, .id = qmp_text(args, "id"), .options = words };

	if (!driver)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'driver' is missing");
	if (!words)
		return NULL;
	if (migrate_is_active(vmm) || vmm->incoming || vmm->incoming_deferred)
		return qmp_fail(error, QMP_ERROR_GENERIC, "device_add not allowed while migrating");
	if (!check_names(vmm, args, &d, error))
		return NULL;
	if (take_backends(vmm, args, &d, error) && machine_plug(vmm->machine, &d, error))
		return qmp_nothing();
	give_back(vmm, &d);
	return NULL;
}

JsonNode *qmp_device_del(void *opaque, JsonObject *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *id = json_object_get_string_member(args, "id");

	if (!machine_has_device(vmm->machine, id))
		return qmp_fail(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", id);
	if (migrate_is_active(vmm))
		return qmp_fail(error, QMP_ERROR_GENERIC, "device_del not allowed while migrating");
	return machine_unplug(vmm->machine, id, error) ? qmp_nothing() : NULL;
}
