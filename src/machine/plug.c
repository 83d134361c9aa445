/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices that a user adds (--device, device_add) and takes away: from the words of options to a place on a bus. A slot (struct
 * device_class: bus, plugged, unplug) takes one while the guest runs; it goes when the guest has let go of it. Main thread, but
 * for plug_left(). See machine.h.
 */
#include <string.h>

#include "board.h"
#include "error.h"
#include "log.h"

enum { AGAIN_MS = 2 };

/* On its way out. */
struct leaver {
	struct machine *m;
	struct device *dev;
	GSource *source;
};

typedef struct {
	char *id, *bus, *address;
	GVariant *options; /* the class's own */
} wish;

static void wish_clear(wish *w)
{
	g_free(w->id);
	g_free(w->bus);
	g_free(w->address);
	g_clear_pointer(&w->options, g_variant_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(wish, wish_clear)

struct device *plug_find(struct machine *m, const char *id)
{
	for (unsigned i = 0; i < m->devices->len; i++)
		if (!strcmp(((struct device *)m->devices->pdata[i])->id, id))
			return m->devices->pdata[i];
	return NULL;
}

/* QEMU has -pci behind the names of those that are PCI functions here anyway. */
const struct device_class *plug_find_class(const char *name)
{
	const struct device_class *cls = device_class_find(name);
	g_autofree char *short_name = NULL;

	for (const struct device_class *const *c = device_table; !cls && *c; c++)
		if ((*c)->alias && !strcmp((*c)->alias, name))
			cls = *c;
	if (!cls && g_str_has_suffix(name, "-pci")) {
		short_name = g_strndup(name, strlen(name) - strlen("-pci"));
		cls = device_class_find(short_name);
	}
	return cls && cls->keys ? cls : NULL;
}

bool machine_can_plug(const char *cls, GError **error)
{
	if (cpus_is_type(cls) || plug_find_class(cls))
		return true;
	if (device_class_find(cls))
		return kv_fail(error, KV_ERROR_USAGE,
			       "'%s' is a part of the machine, which --disk (bus=), --vga and the like give it, "
			       "and no pluggable device",
			       cls);
	return kv_fail(error, KV_ERROR_USAGE, "'%s' is not a valid device model name", cls);
}

bool machine_takes(const char *cls, const char *key)
{
	const struct device_class *c = plug_find_class(cls);

	for (const struct device_key *k = c ? c->keys : NULL; k && k->name; k++)
		if (!strcmp(k->name, key))
			return true;
	return false;
}

static bool read_words(const struct device_class *cls, GVariant *words, wish *w, GError **error)
{
	g_autoptr(GVariant) rest = NULL;
	GVariantBuilder builder;
	const char *name, *word;
	GVariantIter iter;

	g_variant_builder_init(&builder, G_VARIANT_TYPE("a{ss}"));
	g_variant_iter_init(&iter, words);
	while (g_variant_iter_next(&iter, "{&s&s}", &name, &word)) {
		char **special = !strcmp(name, "bus") ? &w->bus : !strcmp(name, "addr") ? &w->address : NULL;

		if (special)
			*special = g_strdup(word);
		else
			g_variant_builder_add(&builder, "{ss}", name, word);
	}
	rest = g_variant_ref_sink(g_variant_builder_end(&builder));
	w->options = device_options(cls, rest, error);
	return w->options;
}

static bool is_root(const char *bus)
{
	return !bus || !strcmp(bus, "pcie.0");
}

static bool plug(struct machine *m, const struct machine_device *d, bool hot, GError **error);

/* A port of --device that comes later in its row, but is needed now. */
static struct device *make_port(struct machine *m, const char *id, GError **error)
{
	const struct machine_config *config = m->config;

	for (unsigned i = 0; config && i < config->n_devices; i++) {
		const struct machine_device *d = &config->devices[i];
		const struct device_class *cls = plug_find_class(d->cls);

		if (!cls || !cls->bus || g_strcmp0(d->id, id) || g_ptr_array_find(m->made, d, NULL))
			continue;
		g_ptr_array_add(m->made, (void *)d);
		return plug(m, d, false, error) ? plug_find(m, id) : NULL;
	}
	return NULL;
}

bool plug_find_bus(struct machine *m, const char *bus, bool given, struct pci_place *place, struct device **ret, GError **error)
{
	const struct pci_place *outer = m->core.pci_place;
	g_autoptr(GError) why = NULL;

	*ret = NULL;
	if (!bus || !*bus || is_root(bus))
		return true;
	*ret = plug_find(m, bus);
	m->core.pci_place = NULL;
	if (!*ret)
		*ret = make_port(m, bus, &why);
	m->core.pci_place = outer;
	if (why) {
		g_propagate_error(error, g_steal_pointer(&why));
		return false;
	}
	if (!*ret || !(*ret)->cls->bus)
		return kv_fail(error, KV_ERROR_USAGE, "Bus '%s' not found", bus);
	place->bus = (*ret)->cls->bus(*ret);
	if (pci_bus_first(place->bus))
		return kv_fail(error, KV_ERROR_INVALID, "slot 0 of bus '%s' is in use", bus);
	if (given && (place->slot || place->function))
		return kv_fail(error, KV_ERROR_INVALID, "addr: behind '%s' there is slot 0 alone", bus);
	place->slot = 0;
	return true;
}

/* The slot, for a device behind one; *ret NULL: on bus 0. */
static bool find_place(struct machine *m, const wish *w, bool hot, struct pci_place *place, struct device **ret, GError **error)
{
	*place = (struct pci_place){.slot = 0xff};
	*ret = NULL;
	if (w->address && !place_read(w->address, place, error))
		return false;
	if (is_root(w->bus) && hot)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "Bus 'pcie.0' does not support hotplugging");
	return plug_find_bus(m, w->bus, w->address, place, ret, error);
}

static bool is_usb(const struct device_class *cls)
{
	return g_str_has_prefix(cls->name, "usb-");
}

/* NAME or NAME.0, as QEMU calls a device's only bus, without what it may end in; NULL: no bus was named. */
static char *holder_name(const wish *w)
{
	bool dotted = w->bus && g_str_has_suffix(w->bus, ".0");

	return dotted ? g_strndup(w->bus, strlen(w->bus) - 2) : g_strdup(w->bus);
}

/* Without a name the first there is. */
static struct device *find_parent(struct machine *m, const struct device_class *cls, const wish *w, GError **error)
{
	g_autofree char *name = holder_name(w);

	for (unsigned i = 0; i < m->devices->len; i++) {
		struct device *dev = m->devices->pdata[i];

		if (!strcmp(dev->cls->name, cls->parent) && (!name || !strcmp(dev->id, name)))
			return dev;
	}
	if (name)
		kv_fail(error, KV_ERROR_USAGE, "Bus '%s' not found", w->bus);
	else if (device_class_find(cls->parent)->scsi)
		kv_fail(error, KV_ERROR_USAGE, "No 'SCSI' bus found for device '%s'", cls->alias ? cls->alias : cls->name);
	else
		kv_fail(error, KV_ERROR_USAGE, "No '%s-bus' bus found for device '%s'", cls->parent, cls->name);
	return NULL;
}

/* The controller that is named, or the first there is; one comes with the first device that needs it, before the guest runs. */
static bool find_usb(struct machine *m, const struct device_class *cls, const wish *w, bool hot, GError **error)
{
	g_autofree char *name = holder_name(w);

	for (unsigned i = 0; i < m->devices->len; i++) {
		struct device *dev = m->devices->pdata[i];

		if (!dev->cls->usb || (name && strcmp(dev->id, name) != 0))
			continue;
		m->core.usb = dev->cls->usb(dev);
		return true;
	}
	if (name)
		return kv_fail(error, KV_ERROR_USAGE, "Bus '%s' not found", w->bus);
	if (hot)
		return kv_fail(error, KV_ERROR_USAGE, "No 'usb-bus' bus found for device '%s'", cls->name);
	return board_need_usb(m, error);
}

/* A function's place, or a USB controller. */
static bool prepare(struct machine *m, const struct device_class *cls, const wish *w, bool hot, struct pci_place *place,
		    struct device **ret_slot, GError **error)
{
	*ret_slot = NULL;
	*place = (struct pci_place){.slot = 0xff};
	return is_usb(cls) ? find_usb(m, cls, w, hot, error) : find_place(m, w, hot, place, ret_slot, error);
}

static bool plug_into_parent(struct machine *m, const struct device_class *cls, const wish *w, struct device_backend *backend,
			     bool hot, GError **error)
{
	struct device *parent = backend->controller = find_parent(m, cls, w, error);
	struct device *dev = parent ? board_add(m, cls->name, w->id, w->options, backend, error) : NULL;

	if (dev && parent->cls->plugged)
		parent->cls->plugged(parent, dev, hot);
	return dev;
}

static bool plug(struct machine *m, const struct machine_device *d, bool hot, GError **error)
{
	struct device_backend backend = {.disk = d->disk, .netdev = d->netdev, .chardev = d->chardev,
					 .iothread = d->iothread};
	const struct device_class *cls = plug_find_class(d->cls);
	g_auto(wish) w = {0};
	struct pci_place place;
	struct device *slot, *dev;

	if (!machine_can_plug(d->cls, error))
		return false;
	if (cpus_is_type(d->cls))
		return cpus_plug(m, d, hot, error);
	if (cls->bus && m->kind == MACHINE_MICRO)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "machine 'micro' has one PCI bus, and no firmware to number others");
	w.id = d->id ? g_strdup(d->id) : g_strdup_printf("device%u", m->n_named++);
	if (!read_words(cls, d->options, &w, error))
		return false;
	if (w.address && (cls->parent || is_usb(cls)))
		return kv_fail(error, KV_ERROR_USAGE, "Property '%s.addr' not found", cls->alias ? cls->alias : cls->name);
	if (cls->parent)
		return plug_into_parent(m, cls, &w, &backend, hot, error);
	if (!prepare(m, cls, &w, hot, &place, &slot, error))
		return false;
	m->core.pci_place = &place;
	dev = board_add(m, cls->name, w.id, w.options, &backend, error);
	m->core.pci_place = NULL;
	if (!dev)
		return false;
	if (hot && m->running && cls->resume)
		cls->resume(dev);
	if (slot)
		slot->cls->plugged(slot, dev, hot);
	return true;
}

bool board_add_devices(struct machine *m, const struct machine_config *config, GError **error)
{
	for (unsigned i = 0; i < config->n_devices; i++)
		if (!g_ptr_array_find(m->made, &config->devices[i], NULL) && !plug(m, &config->devices[i], false, error)) {
			g_prefix_error(error, "--device %s: ", config->devices[i].cls);
			return false;
		}
	return true;
}

bool machine_plug(struct machine *m, const struct machine_device *d, GError **error)
{
	bool ok;

	m->users = true;
	ok = plug(m, d, true, error);
	m->users = false;
	return ok;
}

bool machine_has_device(struct machine *m, const char *id)
{
	return plug_find(m, id) || cpus_find(m, id) >= 0;
}

static struct device *slot_of(struct machine *m, const struct device *dev)
{
	for (unsigned i = 0; i < m->devices->len; i++) {
		struct device *s = m->devices->pdata[i];

		if (s->cls->bus && (const struct device *)pci_bus_first(s->cls->bus(s)) == dev)
			return s;
	}
	return NULL;
}

/* Holds lock. */
static bool is_leaver(const struct machine *m, const struct device *dev)
{
	for (unsigned i = 0; i < m->leavers->len; i++)
		if (((struct leaver *)m->leavers->pdata[i])->dev == dev)
			return true;
	return false;
}

static bool leaves(struct machine *m, const struct device *dev)
{
	bool yes;

	g_mutex_lock(&m->lock);
	yes = is_leaver(m, dev);
	g_mutex_unlock(&m->lock);
	return yes;
}

bool machine_unplug(struct machine *m, const char *id, GError **error)
{
	struct device *dev = plug_find(m, id), *slot = dev ? slot_of(m, dev) : NULL;
	int cpu = cpus_find(m, id);

	if (cpu >= 0)
		return cpus_unplug(m, (unsigned)cpu, error);
	if (!dev)
		return kv_fail(error, KV_ERROR_INVALID, "Device '%s' not found", id);
	if (leaves(m, dev))
		return kv_fail(error, KV_ERROR_BUSY, "Device %s is already in the process of unplug", id);
	if (dev->cls->can_unplug && !dev->cls->can_unplug(dev, error))
		return false;
	if (is_usb(dev->cls) || dev->cls->parent) {
		plug_left(m, dev);
		return true;
	}
	if (!slot)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "Bus 'pcie.0' does not support hotplugging");
	return slot->cls->unplug(slot, dev, error);
}

/* The last that was plugged into it. */
static struct device *held_by(const struct machine *m, const struct device *holder)
{
	for (unsigned i = m->devices->len; i-- > 0;)
		if (((struct device *)m->devices->pdata[i])->holder == holder)
			return m->devices->pdata[i];
	return NULL;
}

/* Never from inside of a change of the machine's state. What came into it after it was asked to go, goes before it. */
static gboolean remove_device(gpointer opaque)
{
	struct leaver *l = opaque;
	struct machine *m = l->m;
	struct device *held = held_by(m, l->dev);
	g_autofree char *id = NULL;

	if (held) {
		plug_left(m, held);
		return G_SOURCE_CONTINUE;
	}
	if (m->changing || (l->dev->cls->leave && !l->dev->cls->leave(l->dev)))
		return G_SOURCE_CONTINUE;
	id = g_strdup(l->dev->id);
	kv_log_debug("%s: taken out", id);
	if (m->running && l->dev->cls->pause)
		l->dev->cls->pause(l->dev);
	g_ptr_array_remove(m->devices, l->dev);
	device_free(l->dev);
	g_mutex_lock(&m->lock);
	g_ptr_array_remove(m->leavers, l); /* frees l */
	g_mutex_unlock(&m->lock);
	if (m->unplugged)
		m->unplugged(m->unplugged_opaque, id, -1);
	return G_SOURCE_REMOVE;
}

/* Once is enough: a guest may switch a slot off again before its device has gone. */
void plug_left(void *machine, struct device *dev)
{
	g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&((struct machine *)machine)->lock);
	struct machine *m = machine;
	struct leaver *l;

	if (is_leaver(m, dev))
		return;
	l = g_new0(struct leaver, 1);
	*l = (struct leaver){m, dev, g_timeout_source_new(AGAIN_MS)};
	g_source_set_callback(l->source, remove_device, l, NULL);
	g_ptr_array_add(m->leavers, l);
	g_source_attach(l->source, m->core.context);
}

void plug_leaver_free(void *opaque)
{
	struct leaver *l = opaque;

	g_source_destroy(l->source);
	g_source_unref(l->source);
	g_free(l);
}

void machine_on_unplugged(struct machine *m, void (*unplugged)(void *opaque, const char *id, int cpu), void *opaque)
{
	m->unplugged = unplugged;
	m->unplugged_opaque = opaque;
}
