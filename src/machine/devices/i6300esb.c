/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The watchdog of Intel's 6300ESB (datasheet 300641, chapter 16): two stages of a timer that a driver has to restart; at the end
 * of the second one --watchdog-action happens. The interrupt of the first stage is not there, as in QEMU: drivers do without.
 * The time that a machine stands still for a pause does not count. Made by --device i6300esb.
 *
 * Threads: registers under `lock`, in vCPU threads; the timer in the main context.
 */
#include <string.h>

#include "bytes.h"
#include "classes.h"
#include "error.h"
#include "pci.h"

enum {
	BAR_SIZE = 4096,
	/* Configuration space, 16.4. */
	CONFIG = 0x60, CONFIG_FAST = 1 << 2, CONFIG_NO_REBOOT = 1 << 5, CONFIG_MASK = 0x27,
	LOCK = 0x68, LOCK_LOCKED = 1, LOCK_ENABLE = 2, LOCK_FREE = 4,
	/* Memory, 16.5. */
	PRELOAD1 = 0, PRELOAD2 = 4, RELOAD = 12, RELOAD_RESTART = 0x100, RELOAD_TIMED_OUT = 0x200,
	/* Linux looks for the reason of the last reset at bit 12, the datasheet has it at bit 9. */
	RELOAD_TIMED_OUT_LINUX = 0x1000,
	PRELOAD_MASK = 0xfffff, KEY1 = 0x80, KEY2 = 0x86,
	SLOW_SHIFT = 15, FAST_SHIFT = 5, CLOCK_HZ = 33000000,
};

struct i6300esb {
	struct pci_device pci; /* first */
	GMutex lock;
	uint32_t preload[2];
	uint8_t unlock; /* how many of the two keys were written */
	uint8_t stage;	/* 0: stands still */
	uint8_t control; /* of LOCK, as it counts */
	bool timed_out;	 /* a reset is due to us; it outlives that */
	bool paused;
	uint64_t left_us; /* of the stage, while paused */
	int64_t due_us;	  /* else when it ends */
	GSource *timer;
};

static void set_timer(struct i6300esb *w)
{
	g_source_set_ready_time(w->timer, w->stage && !w->paused ? w->due_us : -1);
}

static void start_stage(struct i6300esb *w, unsigned stage)
{
	unsigned shift = get_le16(w->pci.config + CONFIG) & CONFIG_FAST ? FAST_SHIFT : SLOW_SHIFT;
	uint64_t us = ((uint64_t)w->preload[stage - 1] << shift) * G_USEC_PER_SEC / CLOCK_HZ;

	w->stage = (uint8_t)stage;
	w->left_us = MAX(us, 1);
	w->due_us = g_get_monotonic_time() + (int64_t)w->left_us;
	set_timer(w);
}

static void stop(struct i6300esb *w)
{
	w->stage = 0;
	w->left_us = 0;
	set_timer(w);
}

/* As at power on, but that it is remembered why. */
static void stand_still(struct i6300esb *w)
{
	w->preload[0] = w->preload[1] = PRELOAD_MASK;
	w->unlock = w->control = 0;
	stop(w);
}

static void expired(struct i6300esb *w)
{
	struct machine_core *core = w->pci.dev.core;
	bool again = w->control & LOCK_FREE;

	if (w->stage == 1) {
		start_stage(w, 2);
		return;
	}
	if (!(get_le16(w->pci.config + CONFIG) & CONFIG_NO_REBOOT)) {
		w->timed_out = true;
		if (core->notice)
			core->notice(core->machine, NOTICE_WATCHDOG, NULL, 0);
	}
	if (again)
		start_stage(w, 1);
	else
		stop(w);
}

static gboolean on_timer(gpointer opaque)
{
	struct i6300esb *w = opaque;

	g_mutex_lock(&w->lock);
	g_source_set_ready_time(w->timer, -1);
	if (w->stage && !w->paused && g_get_monotonic_time() >= w->due_us)
		expired(w);
	else
		set_timer(w);
	g_mutex_unlock(&w->lock);
	return G_SOURCE_CONTINUE;
}

static gboolean dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	return callback(data);
}

static GSourceFuncs timer_funcs = {.dispatch = dispatch};

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size)
{
	struct i6300esb *w = opaque;
	uint64_t v = 0;

	g_mutex_lock(&w->lock);
	if (offset == RELOAD && w->timed_out)
		v = RELOAD_TIMED_OUT | RELOAD_TIMED_OUT_LINUX;
	g_mutex_unlock(&w->lock);
	return v;
}

/* Two keys open the registers for one write. */
static void write_register(struct i6300esb *w, uint64_t offset, uint32_t v)
{
	bool open = w->unlock == 2;

	w->unlock = 0;
	if (offset == RELOAD && v == KEY1) {
		w->unlock = 1;
	} else if (offset == RELOAD && v == KEY2 && !open) {
		w->unlock = 2;
	} else if (open && (offset == PRELOAD1 || offset == PRELOAD2)) {
		w->preload[offset / 4] = v & PRELOAD_MASK;
	} else if (open && offset == RELOAD) {
		if (v & (RELOAD_TIMED_OUT | RELOAD_TIMED_OUT_LINUX))
			w->timed_out = false;
		if ((v & RELOAD_RESTART) && w->stage)
			start_stage(w, 1);
	}
}

static void bar_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct i6300esb *w = opaque;
	bool second;

	g_mutex_lock(&w->lock);
	second = w->unlock == 1;
	if (offset == RELOAD && data == KEY2 && !second)
		w->unlock = 0;
	else
		write_register(w, offset, (uint32_t)data);
	g_mutex_unlock(&w->lock);
}

static const struct bus_ops bar_ops = {bar_read, bar_write};

/* The lock is for good: until a reset. */
static void config_written(struct pci_device *p, unsigned offset, unsigned len)
{
	struct i6300esb *w = (struct i6300esb *)p;
	uint8_t old, now = p->config[LOCK];

	if (offset > LOCK || offset + len <= LOCK)
		return;
	g_mutex_lock(&w->lock);
	old = w->control;
	if (old & LOCK_LOCKED)
		p->config[LOCK] = now = old;
	w->control = now;
	if (now & ~old & LOCK_ENABLE)
		start_stage(w, 1);
	else if (!(now & LOCK_ENABLE))
		stop(w);
	g_mutex_unlock(&w->lock);
}

static void reset(struct device *dev)
{
	struct i6300esb *w = (struct i6300esb *)dev;

	pci_reset(&w->pci);
	g_mutex_lock(&w->lock);
	stand_still(w);
	g_mutex_unlock(&w->lock);
}

static void destroy(struct device *dev)
{
	struct i6300esb *w = (struct i6300esb *)dev;

	pci_remove(&w->pci);
	g_source_destroy(w->timer);
	g_source_unref(w->timer);
	g_mutex_clear(&w->lock);
}

static bool create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	static const struct pci_ids ids = {0x8086, 0x25ab, 0x1af4, 0x1100, 0x08800000};
	struct i6300esb *w = (struct i6300esb *)dev;

	g_mutex_init(&w->lock);
	w->timer = g_source_new(&timer_funcs, sizeof(GSource));
	g_source_set_callback(w->timer, on_timer, w, NULL);
	g_source_attach(w->timer, dev->core->context);
	pci_init(&w->pci, &ids);
	w->pci.config[0x3d] = 0;
	put_le16(w->pci.wmask + CONFIG, CONFIG_MASK);
	w->pci.wmask[LOCK] = LOCK_LOCKED | LOCK_ENABLE | LOCK_FREE;
	w->pci.config_written = config_written;
	pci_set_bar(&w->pci, 0, BAR_SIZE, false, false, &bar_ops, w);
	stand_still(w);
	if (pci_add(&w->pci, error))
		return true;
	destroy(dev);
	return false;
}

static void pause_timer(struct device *dev)
{
	struct i6300esb *w = (struct i6300esb *)dev;
	int64_t left;

	g_mutex_lock(&w->lock);
	left = w->due_us - g_get_monotonic_time();
	if (w->stage && !w->paused)
		w->left_us = (uint64_t)MAX(left, 1);
	w->paused = true;
	set_timer(w);
	g_mutex_unlock(&w->lock);
}

static void resume_timer(struct device *dev)
{
	struct i6300esb *w = (struct i6300esb *)dev;

	g_mutex_lock(&w->lock);
	w->paused = false;
	w->due_us = g_get_monotonic_time() + (int64_t)w->left_us;
	set_timer(w);
	g_mutex_unlock(&w->lock);
}

static bool after_load(void *opaque, GError **error)
{
	struct i6300esb *w = opaque;
	uint64_t longest = ((uint64_t)PRELOAD_MASK << SLOW_SHIFT) * G_USEC_PER_SEC / CLOCK_HZ;

	if (w->stage > 2 || w->unlock > 2 || w->left_us > longest || w->preload[0] > PRELOAD_MASK || w->preload[1] > PRELOAD_MASK)
		return kv_fail(error, KV_ERROR_INVALID, "%s: the saved watchdog does not fit", w->pci.dev.id);
	pci_loaded(&w->pci);
	w->paused = true; /* as the machine is that is loaded */
	set_timer(w);
	return true;
}

static const struct state_field fields[] = {STATE_ONE(struct i6300esb, pci, pci_state_fields),
					    {.name = "preload",
					     .offset = offsetof(struct i6300esb, preload),
					     .type = STATE_ARRAY,
					     .since = 1,
					     .size = 4,
					     .count = 2},
					    STATE_INT(struct i6300esb, unlock, STATE_U8),
					    STATE_INT(struct i6300esb, stage, STATE_U8),
					    STATE_INT(struct i6300esb, control, STATE_U8),
					    STATE_INT(struct i6300esb, timed_out, STATE_BOOL),
					    STATE_INT(struct i6300esb, left_us, STATE_U64),
					    STATE_END};
static const struct state_desc state = {"i6300esb", 1, 1, fields, NULL, after_load};

const struct device_class device_i6300esb = {
	.name = "i6300esb",
	.description = "Intel 6300ESB watchdog",
	.size = sizeof(struct i6300esb),
	.create = create,
	.reset = reset,
	.destroy = destroy,
	.pause = pause_timer,
	.resume = resume_timer,
	.state = &state,
	.keys = device_no_keys,
};
