/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registers, capabilities and interrupts of a virtio function on PCI. See virtio-pci.h.
 * Register accesses come from vCPU threads through the bus; interrupts from queue threads.
 */
#include "virtio-pci.h"

#include <errno.h>
#include <string.h>

#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#include "bytes.h"
#include "core.h"
#include "error.h"
#include "log.h"

enum {
	BAR_SIZE = 0x8000,
	AREA_SIZE = 0x1000,
	AREA_COMMON = 0x0000,
	AREA_ISR = 0x1000,
	AREA_DEVICE = 0x2000,
	AREA_NOTIFY = 0x3000,
	AREA_MSIX = 0x4000,
	FRONT_SIZE = 0x1000,
	BEHIND_FRONT_COMMON = 0x1000,
	BEHIND_FRONT_ISR = 0x1800,
	NOTIFY_MULTIPLIER = 4,
	ISR_QUEUE = 1,
	VENDOR_VIRTIO = 0x1af4,
	DEVICE_BASE = 0x1040,
	SUBDEVICE = 0x1100,
	REVISION = 1,
	COMMON_SIZE = VIRTIO_PCI_COMMON_Q_NDATA,
};

static void raise_interrupt(void *opaque, const struct virtqueue *vq)
{
	struct virtio_pci_device *p = opaque;
	const uint16_t *from = vq ? &vq->vector : &p->v.config_vector;
	uint16_t vector = __atomic_load_n(from, __ATOMIC_RELAXED);

	if (pci_msix_enabled(&p->pci)) {
		if (vector < p->pci.msix_count)
			pci_msix_notify(&p->pci, vector);
		return;
	}
	g_mutex_lock(&p->isr_lock);
	p->isr |= vq ? ISR_QUEUE : VIRTIO_PCI_ISR_CONFIG;
	pci_set_intx(&p->pci, true);
	g_mutex_unlock(&p->isr_lock);
}

static const struct virtio_transport pci_transport = { .interrupt = raise_interrupt };

static uint8_t read_isr(struct virtio_pci_device *p)
{
	uint8_t isr;

	g_mutex_lock(&p->isr_lock);
	isr = p->isr;
	p->isr = 0;
	if (isr)
		pci_set_intx(&p->pci, false);
	g_mutex_unlock(&p->isr_lock);
	return isr;
}

static struct virtqueue *selected(struct virtio_device *v)
{
	return v->queue_select < v->n_queues ? &v->queues[v->queue_select] : NULL;
}

/* The common structure as it reads now; an access of any width takes its bytes from it. */
static void common_snapshot(struct virtio_device *v, uint8_t *b)
{
	struct virtqueue *vq = selected(v);

	memset(b, 0, COMMON_SIZE);
	put_le32(b + VIRTIO_PCI_COMMON_DFSELECT, v->host_select);
	put_le32(b + VIRTIO_PCI_COMMON_DF, virtio_features_page(v, true, v->host_select));
	put_le32(b + VIRTIO_PCI_COMMON_GFSELECT, v->guest_select);
	put_le32(b + VIRTIO_PCI_COMMON_GF, virtio_features_page(v, false, v->guest_select));
	put_le16(b + VIRTIO_PCI_COMMON_MSIX, v->config_vector);
	put_le16(b + VIRTIO_PCI_COMMON_NUMQ, v->n_queues);
	b[VIRTIO_PCI_COMMON_STATUS] = virtio_read_status(v);
	b[VIRTIO_PCI_COMMON_CFGGENERATION] = __atomic_load_n(&v->generation, __ATOMIC_ACQUIRE);
	put_le16(b + VIRTIO_PCI_COMMON_Q_SELECT, v->queue_select);
	if (!vq)
		return;
	put_le16(b + VIRTIO_PCI_COMMON_Q_SIZE, vq->size);
	put_le16(b + VIRTIO_PCI_COMMON_Q_MSIX, vq->vector);
	put_le16(b + VIRTIO_PCI_COMMON_Q_ENABLE, vq->enabled);
	put_le16(b + VIRTIO_PCI_COMMON_Q_NOFF, vq->index);
	put_le64(b + VIRTIO_PCI_COMMON_Q_DESCLO, vq->desc);
	put_le64(b + VIRTIO_PCI_COMMON_Q_AVAILLO, vq->avail);
	put_le64(b + VIRTIO_PCI_COMMON_Q_USEDLO, vq->used);
}

static void set_half(uint64_t *address, bool high, uint32_t value)
{
	if (high)
		*address = (*address & UINT32_MAX) | (uint64_t)value << 32;
	else
		*address = (*address & ~(uint64_t)UINT32_MAX) | value;
}

static uint16_t valid_vector(const struct virtio_pci_device *p, uint32_t value)
{
	return value < p->pci.msix_count ? value : VIRTIO_MSI_NO_VECTOR;
}

/* Registers of the selected queue; addresses and size are fixed once it is enabled. */
static void queue_write(struct virtio_pci_device *p, unsigned reg, uint32_t value)
{
	struct virtqueue *vq = selected(&p->v);

	if (!vq)
		return;
	if (reg == VIRTIO_PCI_COMMON_Q_MSIX) {
		__atomic_store_n(&vq->vector, valid_vector(p, value), __ATOMIC_RELAXED);
		return;
	}
	if (vq->enabled)
		return;
	switch (reg) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		vq->size = value;
		break;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		if (value == 1)
			virtio_enable_queue(&p->v, vq);
		break;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
	case VIRTIO_PCI_COMMON_Q_DESCHI:
		set_half(&vq->desc, reg == VIRTIO_PCI_COMMON_Q_DESCHI, value);
		break;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		set_half(&vq->avail, reg == VIRTIO_PCI_COMMON_Q_AVAILHI, value);
		break;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		set_half(&vq->used, reg == VIRTIO_PCI_COMMON_Q_USEDHI, value);
		break;
	}
}

/* Width of the writable register at an offset, 0 when there is none. */
static unsigned common_width(unsigned offset)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_STATUS:
		return 1;
	case VIRTIO_PCI_COMMON_MSIX:
	case VIRTIO_PCI_COMMON_Q_SELECT:
	case VIRTIO_PCI_COMMON_Q_SIZE:
	case VIRTIO_PCI_COMMON_Q_MSIX:
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		return 2;
	case VIRTIO_PCI_COMMON_DFSELECT:
	case VIRTIO_PCI_COMMON_GFSELECT:
	case VIRTIO_PCI_COMMON_GF:
	case VIRTIO_PCI_COMMON_Q_DESCLO ... VIRTIO_PCI_COMMON_Q_USEDHI:
		return offset % 4 ? 0 : 4;
	default:
		return 0;
	}
}

static void common_write(struct virtio_pci_device *p, unsigned offset, unsigned size, uint64_t data)
{
	struct virtio_device *v = &p->v;

	/* Drivers write whole registers (4.1.3.1); a 64-bit one may also come in one piece. */
	if (size == 8 && common_width(offset) == 4 && common_width(offset + 4) == 4) {
		common_write(p, offset, 4, data & UINT32_MAX);
		common_write(p, offset + 4, 4, data >> 32);
		return;
	}
	if (size != common_width(offset) ||
	    (v->resetting && offset != VIRTIO_PCI_COMMON_STATUS))
		return;
	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		v->host_select = data;
		break;
	case VIRTIO_PCI_COMMON_GFSELECT:
		v->guest_select = data;
		break;
	case VIRTIO_PCI_COMMON_GF:
		virtio_write_features(v, data);
		break;
	case VIRTIO_PCI_COMMON_MSIX:
		__atomic_store_n(&v->config_vector, valid_vector(p, data), __ATOMIC_RELAXED);
		break;
	case VIRTIO_PCI_COMMON_STATUS:
		virtio_write_status(v, data);
		if (!data)
			read_isr(p);
		break;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		v->queue_select = data;
		break;
	default:
		queue_write(p, offset, data);
	}
}

/* Where the areas would be if there were no front. */
static uint64_t without_front(const struct virtio_pci_device *p, uint64_t offset)
{
	if (!p->front || offset >= AREA_DEVICE)
		return offset;
	return offset >= BEHIND_FRONT_ISR ? AREA_ISR + offset - BEHIND_FRONT_ISR : AREA_COMMON + offset - BEHIND_FRONT_COMMON;
}

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size)
{
	struct virtio_pci_device *p = opaque;
	uint8_t b[COMMON_SIZE];
	uint64_t data = 0;
	unsigned at;

	if (p->front && offset < FRONT_SIZE)
		return p->front->read(p->front_opaque, offset, size);
	offset = without_front(p, offset);
	at = offset % AREA_SIZE;
	if (offset >= AREA_MSIX)
		return pci_msix_read(&p->pci, offset - AREA_MSIX, size);
	switch (offset - at) {
	case AREA_COMMON:
		if (at >= COMMON_SIZE)
			break;
		g_mutex_lock(&p->v.lock);
		common_snapshot(&p->v, b);
		g_mutex_unlock(&p->v.lock);
		memcpy(&data, b + at, MIN(size, COMMON_SIZE - at));
		break;
	case AREA_ISR:
		if (at == 0)
			data = read_isr(p);
		break;
	case AREA_DEVICE:
		g_mutex_lock(&p->v.lock);
		virtio_read_config(&p->v, at, &data, size);
		g_mutex_unlock(&p->v.lock);
		break;
	}
	return data;
}

static void bar_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct virtio_pci_device *p = opaque;
	unsigned at;

	if (p->front && offset < FRONT_SIZE) {
		p->front->write(p->front_opaque, offset, size, data);
		return;
	}
	offset = without_front(p, offset);
	at = offset % AREA_SIZE;
	if (offset >= AREA_MSIX) {
		pci_msix_write(&p->pci, offset - AREA_MSIX, size, data);
		return;
	}
	switch (offset - at) {
	case AREA_NOTIFY:
		/* Reached without ioeventfds, or by an access of another width. */
		if (at / NOTIFY_MULTIPLIER < p->v.n_queues)
			virtio_queue_kick(&p->v, at / NOTIFY_MULTIPLIER);
		break;
	case AREA_COMMON:
		g_mutex_lock(&p->v.lock);
		common_write(p, at, size, data);
		g_mutex_unlock(&p->v.lock);
		break;
	case AREA_DEVICE:
		g_mutex_lock(&p->v.lock);
		virtio_write_config(&p->v, at, &data, size);
		g_mutex_unlock(&p->v.lock);
		break;
	}
}

static const struct bus_ops bar_ops = { .read = bar_read, .write = bar_write };

/* The doorbells of all queues, at the BAR's address, on or off. */
static void set_ioevents(struct virtio_pci_device *p, uint64_t bar, bool on)
{
	for (unsigned i = 0; i < p->v.n_queues; i++) {
		struct kvm_ioeventfd e = {
			.addr = bar + AREA_NOTIFY + NOTIFY_MULTIPLIER * i,
			.len = 2,
			.fd = virtio_queue_eventfd(&p->v, i),
			.flags = on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN,
		};

		/* Without it the write exits and bar_write does the same, slower. */
		if (kvcore_ioctl(p->pci.dev.core->vm_fd, KVM_IOEVENTFD, &e) < 0 && on)
			kv_log_debug("%s: no ioeventfd: %s", p->v.id, g_strerror(errno));
	}
}

static void sync_ioevents(struct virtio_pci_device *p)
{
	const struct pci_bar *bar = &p->pci.bar[p->bar];
	uint64_t want = bar->is_mapped ? bar->mapped : 0;

	if (p->pci.dev.core->vm_fd < 0 || want == p->ioevents_at)
		return;
	if (p->ioevents_at)
		set_ioevents(p, p->ioevents_at, false);
	p->ioevents_at = want;
	if (want)
		set_ioevents(p, want, true);
}

void virtio_pci_config_written(struct pci_device *pci, unsigned offset, unsigned len)
{
	sync_ioevents((struct virtio_pci_device *)pci);
}

static void add_capability(struct virtio_pci_device *p, uint8_t type, uint32_t offset,
			   uint32_t length)
{
	bool notify = type == VIRTIO_PCI_CAP_NOTIFY_CFG, window = type == VIRTIO_PCI_CAP_PCI_CFG;
	unsigned len = sizeof(struct virtio_pci_cap) + (notify || window ? 4 : 0);
	unsigned at = pci_add_capability(&p->pci, PCI_CAP_ID_VNDR, len);
	uint8_t *c = p->pci.config + at, *w = p->pci.wmask + at;

	c[VIRTIO_PCI_CAP_LEN] = len;
	c[VIRTIO_PCI_CAP_CFG_TYPE] = type;
	c[VIRTIO_PCI_CAP_BAR] = p->bar;
	put_le32(c + VIRTIO_PCI_CAP_OFFSET, offset);
	put_le32(c + VIRTIO_PCI_CAP_LENGTH, length);
	if (notify)
		put_le32(c + VIRTIO_PCI_NOTIFY_CAP_MULT, NOTIFY_MULTIPLIER);
	if (!window)
		return;
	w[VIRTIO_PCI_CAP_BAR] = 0xff;
	put_le32(w + VIRTIO_PCI_CAP_OFFSET, UINT32_MAX);
	put_le32(w + VIRTIO_PCI_CAP_LENGTH, UINT32_MAX);
	p->window = at;
}

/* The window of firmware that cannot map BARs: four config bytes that are BAR registers. */
static bool config_access(struct pci_device *pci, unsigned offset, unsigned len, uint32_t *value,
			  bool write)
{
	struct virtio_pci_device *p = (struct virtio_pci_device *)pci;
	const uint8_t *c = pci->config + p->window;
	uint32_t at = get_le32(c + VIRTIO_PCI_CAP_OFFSET);
	uint32_t size = get_le32(c + VIRTIO_PCI_CAP_LENGTH);

	if (offset < p->window + sizeof(struct virtio_pci_cap) ||
	    offset >= p->window + sizeof(struct virtio_pci_cfg_cap))
		return false;
	if (!write)
		*value = 0;
	if (c[VIRTIO_PCI_CAP_BAR] != p->bar || at % 4 + size > 4 || at >= BAR_SIZE ||
	    (size != 1 && size != 2 && size != 4) || at % size || len != size)
		return true; /* not what the window was set up for */
	if (write)
		bar_write(p, at, size, *value);
	else
		*value = bar_read(p, at, size);
	return true;
}

bool virtio_pci_create(struct device *dev, const struct virtio_class *cls, uint64_t features,
		       unsigned config_size, unsigned n_queues, uint16_t queue_size,
		       GError **error)
{
	struct virtio_pci_device *p = (struct virtio_pci_device *)dev;
	struct pci_ids ids = {
		.vendor = VENDOR_VIRTIO,
		.device = DEVICE_BASE + cls->id,
		.subvendor = VENDOR_VIRTIO,
		.subdevice = SUBDEVICE,
		.class_revision = cls->pci_class << 8 | REVISION,
	};

	if (!virtio_init(&p->v, cls, dev, dev->id, dev->core->mem, p->context ? p->context : dev->core->context,
			 features, config_size, n_queues, queue_size, error))
		return false;
	g_mutex_init(&p->isr_lock);
	p->v.transport = &pci_transport;
	p->v.transport_opaque = p;
	pci_init(&p->pci, &ids);
	pci_set_bar(&p->pci, p->bar, BAR_SIZE, false, false, &bar_ops, p);
	add_capability(p, VIRTIO_PCI_CAP_COMMON_CFG, p->front ? BEHIND_FRONT_COMMON : AREA_COMMON, COMMON_SIZE);
	add_capability(p, VIRTIO_PCI_CAP_ISR_CFG, p->front ? BEHIND_FRONT_ISR : AREA_ISR, 1);
	if (config_size)
		add_capability(p, VIRTIO_PCI_CAP_DEVICE_CFG, AREA_DEVICE, config_size);
	add_capability(p, VIRTIO_PCI_CAP_NOTIFY_CFG, AREA_NOTIFY, NOTIFY_MULTIPLIER * n_queues);
	add_capability(p, VIRTIO_PCI_CAP_PCI_CFG, 0, 0);
	p->pci.config_written = virtio_pci_config_written;
	p->pci.config_access = config_access;
	if ((!p->prepare || p->prepare(p, error)) &&
	    pci_add_msix(&p->pci, p->bar, AREA_MSIX, n_queues + 1, error) && pci_add(&p->pci, error))
		return true;
	pci_remove(&p->pci);
	virtio_destroy(&p->v);
	g_mutex_clear(&p->isr_lock);
	return false;
}

void virtio_pci_reset(struct device *dev)
{
	struct virtio_pci_device *p = (struct virtio_pci_device *)dev;

	virtio_reset(&p->v);
	read_isr(p);
	pci_reset(&p->pci);
	sync_ioevents(p);
}

void virtio_pci_destroy(struct device *dev)
{
	struct virtio_pci_device *p = (struct virtio_pci_device *)dev;

	if (p->ioevents_at)
		set_ioevents(p, p->ioevents_at, false);
	pci_remove(&p->pci);
	virtio_destroy(&p->v);
	g_mutex_clear(&p->isr_lock);
}

void virtio_pci_pause(struct device *dev)
{
	virtio_pause(&((struct virtio_pci_device *)dev)->v);
}

void virtio_pci_resume(struct device *dev)
{
	virtio_resume(&((struct virtio_pci_device *)dev)->v);
}

bool virtio_pci_after_load(void *dev, GError **error)
{
	struct virtio_pci_device *p = dev;

	pci_loaded(&p->pci);
	sync_ioevents(p);
	return virtio_loaded(&p->v, error);
}

const struct state_field virtio_pci_state_fields[] = {
	STATE_ONE(struct virtio_pci_device, pci, pci_state_fields),
	{ .name = "virtio", .offset = offsetof(struct virtio_pci_device, v), .type = STATE_STRUCT,
	  .since = 1, .size = sizeof(struct virtio_device), .count = 1,
	  .fields = virtio_state_fields },
	STATE_INT(struct virtio_pci_device, isr, STATE_U8),
	STATE_END,
};
