/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory balloon (virtio 1.2, section 5.5): the guest names pages it does without, their
 * host memory is given back; statistics of the guest's memory; reports of free pages, given
 * back as well. A page given back reads as zero when the guest touches it again.
 */
#include "virtio-balloon.h"

#include <string.h>

#include <linux/virtio_balloon.h>

#include "bytes.h"
#include "classes.h"
#include "error.h"
#include "virtio-pci.h"

enum {
	QUEUE_SIZE = 128,
	INFLATE = 0,
	DEFLATE = 1,
	STATS = 2, /* and REPORTING behind it: numbered without gaps, as negotiated */
	QUEUES = 4,
	PAGE = 1 << VIRTIO_BALLOON_PFN_SHIFT,
	PFNS_AT_ONCE = 256,
	LIST_MAX = 64 << 10, /* bytes of a list of pages or statistics; drivers send a page at most */
	STAT_LEN = sizeof(struct virtio_balloon_stat),
};

struct virtio_balloon {
	struct virtio_pci_device dev;
	/* Under the stats queue's lock. The driver leaves a chain with us until asked. */
	uint64_t stats[VIRTIO_BALLOON_S_NR]; /* UINT64_MAX: not told */
	bool stats_held;
	uint16_t stats_id;
	uint16_t stats_slots;
	uint64_t stats_when; /* seconds since 1970 */
	GSource *timer;	     /* asks for them; main context */
	uint32_t period;     /* seconds; 0: no timer */
	uint64_t given_back; /* bytes, for --stats */
};

static int reporting_index(const struct virtio_device *v)
{
	if (!virtio_has(v, VIRTIO_BALLOON_F_REPORTING))
		return -1;
	return virtio_has(v, VIRTIO_BALLOON_F_STATS_VQ) ? STATS + 1 : STATS;
}

/* The guest's pages to the host; what is not RAM is the guest's mistake and left alone. */
static void give_back(struct virtio_balloon *b, uint64_t gpa, uint64_t len)
{
	if (gpa % PAGE || len % PAGE || !mem_discard(b->dev.v.mem, gpa, len))
		return;
	__atomic_add_fetch(&b->given_back, len, __ATOMIC_RELAXED);
}

/* Page numbers to ranges as long as they come: Linux inflates in runs, up or down. */
static void inflate(struct virtio_balloon *b, const struct virtq_chain *c)
{
	uint32_t pfns[PFNS_AT_ONCE];
	uint64_t start = 0, end = 0;
	size_t n;

	for (size_t at = 0; (n = virtq_iov_read(c->out, c->n_out, at, pfns, sizeof(pfns)) / 4);
	     at += 4 * n) {
		for (size_t i = 0; i < n; i++) {
			uint64_t page = (uint64_t)GUINT32_FROM_LE(pfns[i]) << VIRTIO_BALLOON_PFN_SHIFT;

			if (page == end && end) {
				end += PAGE;
			} else if (page + PAGE == start) {
				start = page;
			} else {
				if (end > start)
					give_back(b, start, end - start);
				start = page;
				end = page + PAGE;
			}
		}
	}
	if (end > start)
		give_back(b, start, end - start);
}

static void report(struct virtio_balloon *b, const struct virtq_chain *c)
{
	for (unsigned i = 0; i < c->n_in; i++)
		give_back(b, c->in_gpa[i], c->in[i].iov_len);
}

static void take_stats(struct virtio_balloon *b, struct virtqueue *vq, const struct virtq_chain *c)
{
	uint8_t s[STAT_LEN];

	for (size_t at = 0; virtq_iov_read(c->out, c->n_out, at, s, STAT_LEN) == STAT_LEN;
	     at += STAT_LEN) {
		uint16_t tag = get_le16(s);

		if (tag < VIRTIO_BALLOON_S_NR)
			b->stats[tag] = get_le64(s + 2);
	}
	if (b->stats_held) {
		virtq_break(vq, "more than one statistics buffer");
		return;
	}
	b->stats_when = (uint64_t)(g_get_real_time() / G_USEC_PER_SEC);
	b->stats_held = true;
	b->stats_id = c->id;
	b->stats_slots = c->slots;
}

static void balloon_notify(struct virtio_device *v, struct virtqueue *vq)
{
	struct virtio_balloon *b = v->owner;
	struct virtq_chain *c;
	unsigned budget = 2 * vq->size;

	do {
		virtq_disable_notify(vq);
		while (budget && (c = virtq_pop(vq))) {
			budget--;
			if (c->out_len > LIST_MAX) {
				virtq_break(vq, "balloon list is too long");
				break;
			}
			if (vq->index == INFLATE) {
				inflate(b, c);
			} else if (vq->index == (unsigned)reporting_index(v)) {
				report(b, c);
			} else if (vq->index == STATS) {
				take_stats(b, vq, c);
				continue;
			}
			/* Deflated pages come back by themselves, at the guest's first touch. */
			virtq_push(vq, c, 0);
		}
	} while (budget && virtq_enable_notify(vq));
	if (!budget)
		virtio_queue_kick(v, vq->index);
	virtio_queue_flush(v, vq);
}

/* Hand the statistics buffer back: the driver fills it anew. */
void virtio_balloon_ask(struct device *dev)
{
	struct virtio_balloon *b = (struct virtio_balloon *)dev;
	struct virtqueue *vq = &b->dev.v.queues[STATS];

	g_mutex_lock(&vq->lock);
	if (b->stats_held && virtio_live(&b->dev.v) && vq->started) {
		struct virtq_chain c = { .id = b->stats_id, .slots = b->stats_slots };

		b->stats_held = false;
		virtq_push(vq, &c, 0);
		virtio_queue_flush(&b->dev.v, vq);
	}
	g_mutex_unlock(&vq->lock);
}

static gboolean stats_tick(gpointer data)
{
	virtio_balloon_ask(data);
	return G_SOURCE_CONTINUE;
}

static void set_period(struct virtio_balloon *b, uint32_t seconds)
{
	if (b->timer) {
		g_source_destroy(b->timer);
		g_clear_pointer(&b->timer, g_source_unref);
	}
	b->period = seconds;
	if (!seconds)
		return;
	b->timer = g_timeout_source_new_seconds(seconds);
	g_source_set_callback(b->timer, stats_tick, b, NULL);
	g_source_attach(b->timer, b->dev.pci.dev.core->context);
}

static void balloon_config_written(struct virtio_device *v, const uint8_t *before, unsigned offset,
				   unsigned len)
{
	unsigned reg = offsetof(struct virtio_balloon_config, actual);
	uint32_t actual = get_le32(v->config + reg);
	const struct device *dev = &((struct virtio_balloon *)v->owner)->dev.pci.dev;

	memcpy(v->config, before, v->config_size);
	put_le32(v->config + reg, actual);
	if (actual != get_le32(before + reg) && dev->core->notice)
		dev->core->notice(dev->core->machine, NOTICE_BALLOON, dev->id, 0);
}

static void balloon_reset(struct virtio_device *v)
{
	struct virtio_balloon *b = v->owner;

	b->stats_held = false;
	memset(b->stats, 0xff, sizeof(b->stats));
	put_le32(v->config + offsetof(struct virtio_balloon_config, actual), 0);
}

static const struct virtio_class balloon_class = {
	.name = "virtio-balloon",
	.id = VIRTIO_ID_BALLOON,
	.pci_class = 0x00ff00,
	.notify = balloon_notify,
	.config_written = balloon_config_written,
	.reset = balloon_reset,
};

void virtio_balloon_set_target(struct device *dev, uint64_t bytes)
{
	struct virtio_balloon *b = (struct virtio_balloon *)dev;
	struct virtio_device *v = &b->dev.v;

	g_mutex_lock(&v->lock);
	put_le32(v->config + offsetof(struct virtio_balloon_config, num_pages),
		 MIN(bytes / PAGE, UINT32_MAX));
	g_mutex_unlock(&v->lock);
	virtio_config_changed(v);
}

uint64_t virtio_balloon_actual(struct device *dev)
{
	struct virtio_balloon *b = (struct virtio_balloon *)dev;
	struct virtio_device *v = &b->dev.v;
	uint64_t pages;

	g_mutex_lock(&v->lock);
	pages = get_le32(v->config + offsetof(struct virtio_balloon_config, actual));
	g_mutex_unlock(&v->lock);
	return pages * PAGE;
}

uint64_t virtio_balloon_stats(struct device *dev, uint64_t stats[VIRTIO_BALLOON_S_NR])
{
	struct virtio_balloon *b = (struct virtio_balloon *)dev;
	struct virtqueue *vq = &b->dev.v.queues[STATS];
	uint64_t when;

	g_mutex_lock(&vq->lock);
	memcpy(stats, b->stats, sizeof(b->stats));
	when = b->stats_when;
	g_mutex_unlock(&vq->lock);
	return when;
}

/* QEMU's names for them (its balloon_stat_names), in the order of VIRTIO_BALLOON_S_. What the guest does not tell is left out. */
static GVariant *get_stats(struct device *dev)
{
	static const char *const names[VIRTIO_BALLOON_S_NR] = {
		"stat-swap-in",	     "stat-swap-out",	 "stat-major-faults",	  "stat-minor-faults", "stat-free-memory",
		"stat-total-memory", "stat-available-memory", "stat-disk-caches", "stat-htlb-pgalloc", "stat-htlb-pgfail"};
	uint64_t stats[VIRTIO_BALLOON_S_NR], when = virtio_balloon_stats(dev, stats);
	GVariantDict all, values;

	g_variant_dict_init(&values, NULL);
	for (unsigned i = 0; i < VIRTIO_BALLOON_S_NR; i++)
		if (stats[i] <= INT64_MAX)
			g_variant_dict_insert(&values, names[i], "t", stats[i]);
	g_variant_dict_init(&all, NULL);
	g_variant_dict_insert_value(&all, "stats", g_variant_dict_end(&values));
	g_variant_dict_insert(&all, "last-update", "t", when);
	return g_variant_dict_end(&all);
}

static GVariant *get_period(struct device *dev)
{
	return g_variant_new_int64(((struct virtio_balloon *)dev)->period);
}

static bool put_period(struct device *dev, GVariant *value, GError **error)
{
	int64_t seconds = g_variant_get_int64(value);

	if (seconds < 0)
		return kv_fail(error, KV_ERROR_USAGE, "timer value must be greater than zero");
	if (seconds > UINT32_MAX)
		return kv_fail(error, KV_ERROR_USAGE, "timer value is too big");
	set_period((struct virtio_balloon *)dev, (uint32_t)seconds);
	return true;
}

static const struct device_property properties[] = {
	{"guest-stats", "guest statistics", "what the guest tells about its memory", get_stats, NULL},
	{"guest-stats-polling-interval", "int", "seconds between two questions for that; 0: none", get_period, put_period},
	{}};

static bool balloon_create(struct device *dev, GVariant *options,
			   const struct device_backend *backend, GError **error)
{
	struct virtio_balloon *b = (struct virtio_balloon *)dev;
	uint64_t features = 1ull << VIRTIO_BALLOON_F_STATS_VQ |
			    1ull << VIRTIO_BALLOON_F_DEFLATE_ON_OOM |
			    1ull << VIRTIO_BALLOON_F_REPORTING;
	uint64_t target = 0;
	uint32_t period = 0;

	if (options) {
		g_variant_lookup(options, "target", "t", &target);
		g_variant_lookup(options, "stats-period", "u", &period);
	}
	memset(b->stats, 0xff, sizeof(b->stats));
	/* free_page_hint_cmd_id and poison_val stay 0: their features are not offered. */
	if (!virtio_pci_create(dev, &balloon_class, features, sizeof(struct virtio_balloon_config),
			       QUEUES, QUEUE_SIZE, error))
		return false;
	virtio_balloon_set_target(dev, target);
	set_period(b, period);
	return true;
}

static void balloon_destroy(struct device *dev)
{
	struct virtio_balloon *b = (struct virtio_balloon *)dev;

	set_period(b, 0);
	virtio_pci_destroy(dev);
}

static char *balloon_stats(struct device *dev)
{
	static const char *const names[] = VIRTIO_BALLOON_S_NAMES;
	struct virtio_balloon *b = (struct virtio_balloon *)dev;
	GString *text = g_string_new(NULL);

	g_string_append_printf(text, "%s.balloon %" G_GUINT64_FORMAT "\n", dev->id,
			       virtio_balloon_actual(dev));
	g_string_append_printf(text, "%s.given-back %" G_GUINT64_FORMAT "\n", dev->id,
			       b->given_back);
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		if (b->stats[i] != UINT64_MAX)
			g_string_append_printf(text, "%s.%s %" G_GUINT64_FORMAT "\n", dev->id,
					       names[i], b->stats[i]);
	return g_string_free(text, FALSE);
}

static bool balloon_after_load(void *opaque, GError **error)
{
	struct virtio_balloon *b = opaque;

	if (!virtio_pci_after_load(opaque, error))
		return false;
	if (b->stats_held && b->stats_slots > b->dev.v.queues[STATS].size)
		return kv_fail(error, KV_ERROR_INVALID,
			       "%s: saved statistics buffer does not fit its ring", b->dev.v.id);
	return true;
}

static const struct state_field balloon_fields[] = {
	VIRTIO_PCI_STATE(struct virtio_balloon, dev),
	STATE_INT(struct virtio_balloon, stats_held, STATE_BOOL),
	STATE_INT(struct virtio_balloon, stats_id, STATE_U16),
	STATE_INT(struct virtio_balloon, stats_slots, STATE_U16),
	STATE_END,
};

static const struct state_desc balloon_state = {
	.name = "virtio-balloon",
	.version = 1,
	.oldest = 1,
	.fields = balloon_fields,
	.after_load = balloon_after_load,
};

const struct device_class device_virtio_balloon = {
	.name = "virtio-balloon",
	.description = "virtio memory balloon",
	.size = sizeof(struct virtio_balloon),
	.create = balloon_create,
	.reset = virtio_pci_reset,
	.destroy = balloon_destroy,
	.pause = virtio_pci_pause,
	.resume = virtio_pci_resume,
	.state = &balloon_state,
	.stats = balloon_stats,
	.keys = device_no_keys,
	.properties = properties,
};
