/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See input.h. */
#include "input.h"

struct plugged {
	const struct input_device *device;
	void *opaque;
	unsigned leds;
};

struct watch {
	GMainContext *context;
	void (*changed)(void *opaque);
	void *opaque;
};

struct input {
	GMutex lock;
	GArray *plugged; /* struct plugged; who is asked first comes first */
	GArray *watches; /* struct watch */
	GSource *teller; /* on its way to tell the watches, or NULL */
};

struct input *input_new(void)
{
	struct input *in = g_new0(struct input, 1);

	g_mutex_init(&in->lock);
	in->plugged = g_array_new(FALSE, FALSE, sizeof(struct plugged));
	in->watches = g_array_new(FALSE, FALSE, sizeof(struct watch));
	return in;
}

void input_free(struct input *in)
{
	if (!in)
		return;
	if (in->teller)
		g_source_destroy(in->teller);
	g_clear_pointer(&in->teller, g_source_unref);
	g_array_unref(in->plugged);
	g_array_unref(in->watches);
	g_mutex_clear(&in->lock);
	g_free(in);
}

static gboolean tell(gpointer opaque)
{
	struct input *in = opaque;
	g_autoptr(GArray) watches = NULL;

	g_mutex_lock(&in->lock);
	g_clear_pointer(&in->teller, g_source_unref);
	watches = g_array_copy(in->watches);
	g_mutex_unlock(&in->lock);
	for (unsigned i = 0; i < watches->len; i++) {
		struct watch *w = &g_array_index(watches, struct watch, i);

		w->changed(w->opaque);
	}
	return G_SOURCE_REMOVE;
}

/* Holds lock. */
static void changed(struct input *in)
{
	if (in->teller || !in->watches->len)
		return;
	in->teller = g_idle_source_new();
	g_source_set_callback(in->teller, tell, in, NULL);
	g_source_attach(in->teller, g_array_index(in->watches, struct watch, 0).context);
}

/* Holds lock. */
static int find(const struct input *in, const void *opaque)
{
	for (unsigned i = 0; i < in->plugged->len; i++)
		if (g_array_index(in->plugged, struct plugged, i).opaque == opaque)
			return (int)i;
	return -1;
}

void input_plug(struct input *in, const struct input_device *device, void *opaque)
{
	struct plugged p = {device, opaque, 0};

	g_mutex_lock(&in->lock);
	g_array_prepend_val(in->plugged, p);
	changed(in);
	g_mutex_unlock(&in->lock);
}

void input_unplug(struct input *in, void *opaque)
{
	int i;

	g_mutex_lock(&in->lock);
	i = find(in, opaque);
	if (i >= 0)
		g_array_remove_index(in->plugged, (guint)i);
	changed(in);
	g_mutex_unlock(&in->lock);
}

void input_activate(struct input *in, void *opaque)
{
	int i;

	g_mutex_lock(&in->lock);
	i = find(in, opaque);
	if (i > 0) {
		struct plugged p = g_array_index(in->plugged, struct plugged, i);

		g_array_remove_index(in->plugged, (guint)i);
		g_array_prepend_val(in->plugged, p);
		changed(in);
	}
	g_mutex_unlock(&in->lock);
}

void input_leds(struct input *in, void *opaque, unsigned leds)
{
	int i;

	g_mutex_lock(&in->lock);
	i = find(in, opaque);
	if (i >= 0 && g_array_index(in->plugged, struct plugged, i).leds != leds) {
		g_array_index(in->plugged, struct plugged, i).leds = leds;
		changed(in);
	}
	g_mutex_unlock(&in->lock);
}

/* Who gets events of a kind: device NULL when nobody takes them. */
static struct plugged taker(const struct input *in, enum input_kind kind)
{
	struct plugged found = {0};

	g_mutex_lock((GMutex *)&in->lock);
	for (unsigned i = 0; i < in->plugged->len && !found.device; i++)
		if (g_array_index(in->plugged, struct plugged, i).device->kinds & kind)
			found = g_array_index(in->plugged, struct plugged, i);
	g_mutex_unlock((GMutex *)&in->lock);
	return found;
}

/* Buttons and wheel belong to the pointer that moves. */
static enum input_kind pointer_kind(const struct input *in)
{
	return input_pointer_is_absolute(in) ? INPUT_ABSOLUTE : INPUT_RELATIVE;
}

void input_send(struct input *in, const struct input_event *e)
{
	struct plugged p = taker(in, e->kind & (INPUT_BUTTON | INPUT_WHEEL) ? pointer_kind(in) : e->kind);

	if (p.device && (p.device->kinds & e->kind))
		p.device->event(p.opaque, e);
}

void input_sync(struct input *in)
{
	g_autoptr(GArray) all = NULL;

	g_mutex_lock(&in->lock);
	all = g_array_copy(in->plugged);
	g_mutex_unlock(&in->lock);
	for (unsigned i = 0; i < all->len; i++) {
		struct plugged *p = &g_array_index(all, struct plugged, i);

		if (p->device->sync)
			p->device->sync(p->opaque);
	}
}

bool input_takes(const struct input *in, enum input_kind kind)
{
	return taker(in, kind).device;
}

bool input_pointer_is_absolute(const struct input *in)
{
	struct plugged p = taker(in, INPUT_RELATIVE | INPUT_ABSOLUTE);

	return p.device && (p.device->kinds & INPUT_ABSOLUTE);
}

unsigned input_list(const struct input *in, unsigned kinds, const struct input_device **ret, unsigned max)
{
	unsigned n = 0;

	g_mutex_lock((GMutex *)&in->lock);
	for (unsigned i = 0; i < in->plugged->len && n < max; i++) {
		const struct input_device *d = g_array_index(in->plugged, struct plugged, i).device;

		if (d->kinds & kinds)
			ret[n++] = d;
	}
	g_mutex_unlock((GMutex *)&in->lock);
	return n;
}

void input_watch(struct input *in, GMainContext *context, void (*f)(void *opaque), void *opaque)
{
	struct watch w = {context, f, opaque};

	g_mutex_lock(&in->lock);
	g_array_append_val(in->watches, w);
	g_mutex_unlock(&in->lock);
}

void input_unwatch(struct input *in, void *opaque)
{
	g_mutex_lock(&in->lock);
	for (unsigned i = in->watches->len; i-- > 0;)
		if (g_array_index(in->watches, struct watch, i).opaque == opaque)
			g_array_remove_index(in->watches, i);
	g_mutex_unlock(&in->lock);
}

unsigned input_get_leds(const struct input *in)
{
	return taker(in, INPUT_KEY).leds;
}
