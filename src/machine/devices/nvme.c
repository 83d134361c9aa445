/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NVMe disk (NVM Express 1.4): the PCI function, its registers (chapter 3), enabling, reset and shutdown (7.6), interrupts
 * (7.5). The rest is in the files that nvme.h names. Created by the boards, one for each disk.
 */
#include "nvme.h"

#include <string.h>

#include "boot-order.h"
#include "bytes.h"
#include "classes.h"
#include "error.h"

enum {
	BAR_SIZE = 16 << 10,
	DOORBELLS = 0x1000,
	MSIX_AT = 0x2000,
	QUEUE_DEPTH = 256,
	QUEUES_DEFAULT = 8,
	CAP = 0x00,
	VS = 0x08,
	INTMS = 0x0c,
	INTMC = 0x10,
	CC = 0x14,
	CSTS = 0x1c,
	AQA = 0x24,
	ASQ = 0x28,
	ACQ = 0x30,
	REGISTERS = 0x38,
};

enum {
	CC_EN = 1,
	CC_CSS = 7 << 4,
	CC_AMS = 7 << 11,
	CC_SHN = 3 << 14,
	CC_FIXED = CC_CSS | CC_AMS | 15 << 7,
	CC_WRITABLE = 0x00fffff1,
	PAGE_LOG_MAX = 4, /* 64 KiB */
	CSTS_RDY = 1,
	CSTS_CFS = 2,
	CSTS_SHST = 3 << 2,
	SHST_RUNNING = 1 << 2,
	TIMEOUT = 0x78, /* 60 s, in halves of one: a host's disk may be slow */
};
#define CAPABILITIES ((NVME_ENTRIES_MAX - 1) | 1ull << 16 | (uint64_t)TIMEOUT << 24 | 1ull << 37 | (uint64_t)PAGE_LOG_MAX << 52)

/* ---- interrupts ---- */

static bool is_masked(const struct nvme *n, const struct nvme_cq *cq)
{
	return cq->vector < 32 && n->mask & 1u << cq->vector;
}

void nvme_interrupts(struct nvme *n)
{
	bool message = pci_msix_enabled(&n->pci), level = false;

	for (unsigned i = 0; i <= n->n_queues; i++) {
		struct nvme_cq *cq = &n->cq[i];

		if (!cq->there || !cq->interrupts)
			continue;
		if (cq->news && message)
			pci_msix_notify(&n->pci, cq->vector);
		cq->news = false;
		level |= cq->head != cq->tail && !is_masked(n, cq);
	}
	pci_set_intx(&n->pci, level && !message);
}

/* MSI-X may have been switched on or off. */
static void config_written(struct pci_device *pci, unsigned offset, unsigned len)
{
	struct nvme *n = (struct nvme *)pci;

	g_mutex_lock(&n->lock);
	nvme_interrupts(n);
	g_mutex_unlock(&n->lock);
}

/* What ended together is told together. */
static void on_batch(void *opaque)
{
	struct nvme *n = opaque;

	g_mutex_lock(&n->lock);
	nvme_interrupts(n);
	g_mutex_unlock(&n->lock);
}

/* ---- start and stop ---- */

static bool is_area(const struct nvme *n, uint64_t base, uint32_t entries, unsigned size)
{
	return entries >= 2 && !(base & (nvme_page(n) - 1)) && gpa_ptr(n->pci.dev.core->mem, base, (uint64_t)entries * size);
}

static void enable(struct nvme *n)
{
	uint32_t commands = (n->aqa & 0xfff) + 1, completions = (n->aqa >> 16 & 0xfff) + 1;

	if ((n->cc & (CC_CSS | CC_AMS)) || (n->cc >> 7 & 15) > PAGE_LOG_MAX || !is_area(n, n->asq, commands, NVME_COMMAND) ||
	    !is_area(n, n->acq, completions, NVME_COMPLETION)) {
		n->csts |= CSTS_CFS;
		return;
	}
	n->cq[0] = (struct nvme_cq){.there = true, .phase = true, .interrupts = true, .size = completions, .base = n->acq};
	n->sq[0] = (struct nvme_sq){.there = true, .size = commands, .base = n->asq};
	n->csts = CSTS_RDY;
}

static void finish_reset(struct nvme *n)
{
	n->resetting = false;
	nvme_stop(n);
	n->csts = 0;
	nvme_interrupts(n);
	if (n->cc & CC_EN)
		enable(n);
}

/* Commands under way end before the controller is not ready any more; nobody hears of their ends. */
static void disable(struct nvme *n)
{
	n->resetting = true;
	if (!n->n_busy)
		finish_reset(n);
	else
		work_kick(&n->work);
}

static void write_cc(struct nvme *n, uint32_t value)
{
	uint32_t old = n->cc;

	/* What a running controller works with stays. */
	if (old & value & CC_EN)
		value = (value & ~CC_FIXED) | (old & CC_FIXED);
	n->cc = value & CC_WRITABLE;
	if ((old & CC_EN) && !(n->cc & CC_EN))
		disable(n);
	else if (!(old & CC_EN) && (n->cc & CC_EN) && !n->resetting)
		enable(n);
	if (!(old & CC_SHN) && (n->cc & CC_SHN)) {
		n->csts = (n->csts & ~CSTS_SHST) | SHST_RUNNING;
		work_kick(&n->work);
	} else if (!(n->cc & CC_SHN)) {
		n->csts &= ~CSTS_SHST;
	}
}

static void hurry(void *opaque)
{
	disk_hurry(((struct nvme *)opaque)->disk);
}

static void work(void *opaque)
{
	struct nvme *n = opaque;
	bool drop;

	g_mutex_lock(&n->lock);
	drop = n->resetting && n->n_kept;
	g_mutex_unlock(&n->lock);
	if (drop)
		nvme_forget_kept(n);
	g_mutex_lock(&n->lock);
	if (n->resetting && !n->n_busy)
		finish_reset(n);
	else if (n->resetting)
		disk_hurry(n->disk);
	if ((n->csts & CSTS_SHST) == SHST_RUNNING && !n->flushing)
		nvme_shut_down(n);
	if (!n->resetting)
		nvme_serve(n);
	g_mutex_unlock(&n->lock);
	disk_kick(n->io);
}

/* ---- registers ---- */

static void fill_registers(const struct nvme *n, uint8_t *d)
{
	put_le64(d + CAP, CAPABILITIES);
	put_le32(d + VS, NVME_VERSION);
	put_le32(d + INTMS, n->mask);
	put_le32(d + INTMC, n->mask);
	put_le32(d + CC, n->cc);
	put_le32(d + CSTS, n->csts);
	put_le32(d + AQA, n->aqa);
	put_le64(d + ASQ, n->asq);
	put_le64(d + ACQ, n->acq);
}

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size)
{
	struct nvme *n = opaque;
	uint8_t d[REGISTERS + 8] = {0};
	uint64_t value = 0;

	if (offset >= MSIX_AT)
		return pci_msix_read(&n->pci, offset - MSIX_AT, size);
	if (offset >= REGISTERS)
		return 0;
	g_mutex_lock(&n->lock);
	fill_registers(n, d);
	g_mutex_unlock(&n->lock);
	memcpy(&value, d + offset, size);
	return value;
}

static void set_half(uint64_t *reg, bool high, uint32_t value)
{
	*reg = high ? (*reg & UINT32_MAX) | (uint64_t)value << 32 : (*reg & ~(uint64_t)UINT32_MAX) | (value & ~0xfffu);
}

static void write_register(struct nvme *n, unsigned offset, uint32_t value)
{
	switch (offset) {
	case INTMS:
		n->mask |= value;
		nvme_interrupts(n);
		break;
	case INTMC:
		n->mask &= ~value;
		nvme_interrupts(n);
		break;
	case CC:
		write_cc(n, value);
		break;
	case AQA:
		n->aqa = value & 0x0fff0fff;
		break;
	case ASQ:
	case ASQ + 4:
		set_half(&n->asq, offset & 4, value);
		break;
	case ACQ:
	case ACQ + 4:
		set_half(&n->acq, offset & 4, value);
		break;
	}
}

static void bar_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct nvme *n = opaque;

	if (offset >= MSIX_AT) {
		pci_msix_write(&n->pci, offset - MSIX_AT, size, data);
		return;
	}
	if (size < 4 || (offset & 3))
		return;
	g_mutex_lock(&n->lock);
	if (offset >= DOORBELLS) {
		nvme_doorbell(n, (unsigned)offset - DOORBELLS, (uint32_t)data);
	} else {
		write_register(n, (unsigned)offset, (uint32_t)data);
		if (size == 8)
			write_register(n, (unsigned)offset + 4, data >> 32);
	}
	g_mutex_unlock(&n->lock);
}

static const struct bus_ops bar_ops = {bar_read, bar_write};

/* ---- the drive ---- */

static void on_kept(struct disk_req *req, bool kept)
{
	struct nvme *n = ((struct nvme_req *)req)->n;

	g_mutex_lock(&n->lock);
	n->n_kept += kept ? 1 : -1u;
	if (n->resetting)
		work_kick(&n->work);
	g_mutex_unlock(&n->lock);
	if (kept)
		work_end(&n->work);
	else
		work_begin(&n->work);
}

static void on_resized(void *opaque)
{
	struct nvme *n = opaque;

	g_mutex_lock(&n->lock);
	if (n->feature[NVME_FEATURE_EVENTS] & NVME_EVENT_NAMESPACE) {
		n->namespace_changed = true;
		nvme_event(n, NVME_CHANGED);
	}
	g_mutex_unlock(&n->lock);
}

static const struct disk_client client = {.kept = on_kept, .resized = on_resized};

/* ---- the device ---- */

static bool parse(struct nvme *n, GVariant *options, GError **error)
{
	const char *id = n->pci.dev.id;
	g_autofree char *otherwise = g_strndup(id, NVME_SERIAL);
	const char *serial = otherwise;
	uint32_t queues = QUEUES_DEFAULT;

	if (options) {
		g_variant_lookup(options, "serial", "&s", &serial);
		g_variant_lookup(options, "queues", "u", &queues);
	}
	if (queues < 1 || queues > NVME_IO_QUEUES_MAX)
		return kv_fail(error, KV_ERROR_USAGE, "%s: queues is %u; use 1 to %d", id, queues, NVME_IO_QUEUES_MAX);
	if (strlen(serial) > NVME_SERIAL)
		return kv_fail(error, KV_ERROR_USAGE, "%s: serial '%s' is longer than %d characters", id, serial, NVME_SERIAL);
	n->n_queues = queues;
	g_strlcpy(n->serial, serial, sizeof(n->serial));
	return true;
}

static bool add_function(struct nvme *n, GError **error)
{
	static const struct pci_ids ids = {0x1b36, 0x0010, 0x1af4, 0x1100, 0x01080202};

	pci_init(&n->pci, &ids);
	n->pci.config_written = config_written;
	pci_set_bar(&n->pci, 0, BAR_SIZE, false, true, &bar_ops, n);
	return pci_add_msix(&n->pci, 0, MSIX_AT, n->n_queues + 1, error) && pci_add(&n->pci, error);
}

static void close_drive(struct nvme *n)
{
	work_destroy(&n->work);
	pci_remove(&n->pci);
	nvme_forget_kept(n);
	disk_set_client(n->disk, NULL, NULL);
	disk_queue_free(n->io);
	g_mutex_clear(&n->lock);
}

static bool create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct nvme *n = (struct nvme *)dev;

	n->disk = backend->disk;
	if (!n->disk || disk_is_empty(n->disk))
		return kv_fail(error, KV_ERROR_USAGE, "%s: a disk needs an image", dev->id);
	if (!parse(n, options, error))
		return false;
	n->io = disk_queue_new(n->disk, dev->core->context, QUEUE_DEPTH, error);
	if (!n->io)
		return false;
	g_mutex_init(&n->lock);
	work_init(&n->work, dev->core->context, work, hurry, n);
	nvme_stop(n);
	if (!add_function(n, error)) {
		close_drive(n);
		return false;
	}
	disk_queue_on_batch(n->io, on_batch, n);
	disk_set_client(n->disk, &client, n);
	return true;
}

static void reset(struct device *dev)
{
	struct nvme *n = (struct nvme *)dev;

	nvme_forget_kept(n);
	g_mutex_lock(&n->lock);
	n->resetting = n->flushing = false;
	nvme_stop(n);
	n->cc = n->csts = n->aqa = n->mask = 0;
	n->asq = n->acq = 0;
	n->n_errors = 0;
	memset(n->error, 0, sizeof(n->error));
	g_mutex_unlock(&n->lock);
	pci_reset(&n->pci);
}

static void destroy(struct device *dev)
{
	close_drive((struct nvme *)dev);
}

static void rest(struct device *dev)
{
	work_pause(&((struct nvme *)dev)->work);
}

/* Kept requests go on with the VM. */
static void resume(struct device *dev)
{
	struct nvme *n = (struct nvme *)dev;

	work_resume(&n->work);
	disk_resume(n->disk);
}

static bool can_save(struct device *dev, GError **error)
{
	if (!disk_has_kept(((struct nvme *)dev)->disk))
		return true;
	return kv_fail(error, KV_ERROR_INVALID,
		       "%s: requests that failed wait to be done again, which a saved state cannot have; let the machine go on",
		       dev->id);
}

static bool is_possible(const struct nvme *n)
{
	bool ready = n->csts & CSTS_RDY;

	return !(n->cc & ~CC_WRITABLE) && !(n->csts & ~0xfu) && (!ready || (n->cc & CC_EN) || n->resetting) &&
	       (!ready || (n->cc >> 7 & 15) <= PAGE_LOG_MAX || n->resetting);
}

/* What waited belongs to queues that are not there any more. */
static bool after_load(void *opaque, GError **error)
{
	struct nvme *n = opaque;
	const char *why;

	nvme_forget_kept(n);
	if (n->n_busy)
		return kv_fail(error, KV_ERROR_INVALID, "%s: commands are under way", n->pci.dev.id);
	why = is_possible(n) ? nvme_check_queues(n) : "has impossible registers";
	if (why)
		return kv_fail(error, KV_ERROR_INVALID, "%s: the saved state %s", n->pci.dev.id, why);
	pci_loaded(&n->pci);
	work_kick(&n->work);
	return true;
}

static char *stats(struct device *dev)
{
	const struct nvme *n = (const struct nvme *)dev;

	return g_strdup_printf("%s.reads %" G_GUINT64_FORMAT "\n%s.writes %" G_GUINT64_FORMAT "\n", dev->id, n->requests[0],
			       dev->id, n->requests[1]);
}

static const struct state_field sq_fields[] = {
	STATE_INT(struct nvme_sq, there, STATE_BOOL), STATE_INT(struct nvme_sq, cq, STATE_U16),
	STATE_INT(struct nvme_sq, size, STATE_U32),   STATE_INT(struct nvme_sq, head, STATE_U32),
	STATE_INT(struct nvme_sq, tail, STATE_U32),   STATE_INT(struct nvme_sq, base, STATE_U64),
	STATE_END,
};

static const struct state_field cq_fields[] = {
	STATE_INT(struct nvme_cq, there, STATE_BOOL),	   STATE_INT(struct nvme_cq, phase, STATE_BOOL),
	STATE_INT(struct nvme_cq, interrupts, STATE_BOOL), STATE_INT(struct nvme_cq, vector, STATE_U16),
	STATE_INT(struct nvme_cq, size, STATE_U32),	   STATE_INT(struct nvme_cq, head, STATE_U32),
	STATE_INT(struct nvme_cq, tail, STATE_U32),	   STATE_INT(struct nvme_cq, base, STATE_U64),
	STATE_END,
};

static const struct state_field error_fields[] = {
	STATE_INT(struct nvme_error, count, STATE_U64), STATE_INT(struct nvme_error, lba, STATE_U64),
	STATE_INT(struct nvme_error, sq, STATE_U16),	STATE_INT(struct nvme_error, cid, STATE_U16),
	STATE_INT(struct nvme_error, status, STATE_U16), STATE_INT(struct nvme_error, nsid, STATE_U32),
	STATE_END,
};

static const struct state_field fields[] = {
	STATE_ONE(struct nvme, pci, pci_state_fields),
	STATE_INT(struct nvme, cc, STATE_U32),
	STATE_INT(struct nvme, csts, STATE_U32),
	STATE_INT(struct nvme, aqa, STATE_U32),
	STATE_INT(struct nvme, mask, STATE_U32),
	STATE_INT(struct nvme, asq, STATE_U64),
	STATE_INT(struct nvme, acq, STATE_U64),
	STATE_INT(struct nvme, resetting, STATE_BOOL),
	STATE_MANY(struct nvme, sq, sq_fields),
	STATE_MANY(struct nvme, cq, cq_fields),
	{.name = "feature",
	 .offset = offsetof(struct nvme, feature),
	 .type = STATE_ARRAY,
	 .since = 1,
	 .size = sizeof(uint32_t),
	 .count = NVME_FEATURES},
	{.name = "event_cid",
	 .offset = offsetof(struct nvme, event_cid),
	 .type = STATE_ARRAY,
	 .since = 1,
	 .size = sizeof(uint16_t),
	 .count = NVME_EVENTS},
	STATE_INT(struct nvme, n_events, STATE_U8),
	STATE_INT(struct nvme, pending, STATE_U8),
	STATE_INT(struct nvme, told, STATE_U8),
	STATE_INT(struct nvme, namespace_changed, STATE_BOOL),
	STATE_INT(struct nvme, n_errors, STATE_U64),
	STATE_MANY(struct nvme, error, error_fields),
	STATE_END,
};

static const struct state_desc state = {
	.name = "nvme", .version = 1, .oldest = 1, .fields = fields, .after_load = after_load};

static char *boot_path(struct device *dev, char *ret_kind)
{
	*ret_kind = 'c';
	return boot_path_pci((const struct pci_device *)dev, "namespace@1,0");
}

const struct device_class device_nvme = {
	.name = "nvme",
	.description = "NVMe disk",
	.size = sizeof(struct nvme),
	.create = create,
	.reset = reset,
	.destroy = destroy,
	.pause = rest,
	.resume = resume,
	.can_save = can_save,
	.state = &state,
	.stats = stats,
	.boot_path = boot_path,
};
