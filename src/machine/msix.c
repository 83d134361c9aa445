/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MSI-X (PCI 3.0, 6.8.2): the vector table and pending bits in a BAR, and sending: KVM_SIGNAL_MSI. Called by pci.c and by the
 * functions that have vectors.
 */
#include <string.h>

#include <linux/pci_regs.h>

#include "bytes.h"
#include "core.h"
#include "error.h"
#include "log.h"
#include "pci.h"

#define ENTRY PCI_MSIX_ENTRY_SIZE

static uint32_t table_bytes(uint16_t vectors)
{
	return (uint32_t)align_up(vectors * ENTRY, 8);
}

uint32_t pci_msix_bytes(uint16_t vectors)
{
	return table_bytes(vectors) + (uint32_t)align_up((vectors + 63u) / 64 * 8, 8);
}

bool pci_add_msix(struct pci_device *p, unsigned bar, uint32_t offset, uint16_t vectors, GError **error)
{
	unsigned cap;

	if (vectors > PCI_MSIX_MAX || (uint64_t)offset + pci_msix_bytes(vectors) > p->bar[bar].size)
		return kv_fail(error, KV_ERROR_INVALID, "%s: %u interrupt vectors do not fit", p->dev.id, vectors);
	cap = pci_add_capability(p, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF);
	put_le16(p->config + cap + PCI_MSIX_FLAGS, (uint16_t)(vectors - 1));
	put_le16(p->wmask + cap + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	put_le32(p->config + cap + PCI_MSIX_TABLE, offset | bar);
	put_le32(p->config + cap + PCI_MSIX_PBA, (offset + table_bytes(vectors)) | bar);
	p->msix_cap = (uint16_t)cap;
	p->msix_vectors = p->msix_count = vectors;
	p->msix = g_new0(struct pci_msix_vector, vectors);
	for (unsigned i = 0; i < vectors; i++)
		p->msix[i].control = PCI_MSIX_ENTRY_CTRL_MASKBIT;
	return true;
}

static uint16_t flags(const struct pci_device *p)
{
	return p->msix_cap ? get_le16(p->config + p->msix_cap + PCI_MSIX_FLAGS) : 0;
}

bool pci_msix_enabled(const struct pci_device *p)
{
	return flags(p) & PCI_MSIX_FLAGS_ENABLE;
}

static void send(struct pci_device *p, const struct pci_msix_vector *v)
{
	struct kvm_msi msi = {.address_lo = (uint32_t)v->address, .address_hi = (uint32_t)(v->address >> 32), .data = v->data};

	if (p->dev.core->vm_fd >= 0 && kvcore_ioctl(p->dev.core->vm_fd, KVM_SIGNAL_MSI, &msi) < 0)
		kv_log_debug("%s: an interrupt message to 0x%" G_GINT64_MODIFIER "x was refused", p->dev.id, v->address);
	p->msix_sent++;
}

static bool masked(const struct pci_device *p, const struct pci_msix_vector *v)
{
	return (v->control & PCI_MSIX_ENTRY_CTRL_MASKBIT) || (flags(p) & PCI_MSIX_FLAGS_MASKALL);
}

/* A mask went away: what waited is sent. */
static void send_pending(struct pci_device *p)
{
	for (unsigned i = 0; pci_msix_enabled(p) && i < p->msix_count; i++) {
		struct pci_msix_vector *v = &p->msix[i];

		if (!v->pending || masked(p, v))
			continue;
		v->pending = false;
		send(p, v);
	}
}

void pci_msix_config_written(struct pci_device *p, unsigned offset, unsigned len)
{
	if (p->msix_cap && offset + len > p->msix_cap + PCI_MSIX_FLAGS + 0u && offset < p->msix_cap + PCI_MSIX_FLAGS + 2u) {
		g_mutex_lock(&p->msix_lock);
		send_pending(p);
		g_mutex_unlock(&p->msix_lock);
	}
}

void pci_msix_notify(struct pci_device *p, uint16_t vector)
{
	if (vector >= p->msix_count)
		return;
	g_mutex_lock(&p->msix_lock);
	if (!pci_msix_enabled(p))
		;
	else if (masked(p, &p->msix[vector]))
		p->msix[vector].pending = true;
	else
		send(p, &p->msix[vector]);
	g_mutex_unlock(&p->msix_lock);
}

static uint64_t pending_bits(const struct pci_device *p, uint64_t offset)
{
	uint64_t bits = 0;

	for (uint64_t i = 0; i < 64 && offset * 8 + i < p->msix_vectors; i++)
		bits |= (uint64_t)p->msix[offset * 8 + i].pending << i;
	return bits;
}

static void entry_bytes(const struct pci_msix_vector *v, uint8_t out[ENTRY])
{
	put_le64(out, v->address);
	put_le32(out + PCI_MSIX_ENTRY_DATA, v->data);
	put_le32(out + PCI_MSIX_ENTRY_VECTOR_CTRL, v->control);
}

uint64_t pci_msix_read(struct pci_device *p, uint64_t offset, unsigned size)
{
	uint8_t bytes[ENTRY];
	uint64_t value = 0;

	g_mutex_lock(&p->msix_lock);
	if (offset < p->msix_count * (uint64_t)ENTRY) {
		entry_bytes(&p->msix[offset / ENTRY], bytes);
		memcpy(&value, bytes + offset % ENTRY, MIN(size, (unsigned)(ENTRY - offset % ENTRY)));
	} else if (offset >= table_bytes(p->msix_count)) {
		uint64_t at = offset - table_bytes(p->msix_count);

		value = pending_bits(p, at & ~7ull) >> (8 * (at & 7));
	}
	g_mutex_unlock(&p->msix_lock);
	return size < 8 ? value & ((1ull << (8 * size)) - 1) : value;
}

void pci_msix_write(struct pci_device *p, uint64_t offset, unsigned size, uint64_t data)
{
	struct pci_msix_vector *v;
	uint8_t bytes[ENTRY];

	if (offset >= p->msix_count * (uint64_t)ENTRY || offset % ENTRY + size > ENTRY)
		return;
	g_mutex_lock(&p->msix_lock);
	v = &p->msix[offset / ENTRY];
	entry_bytes(v, bytes);
	memcpy(bytes + offset % ENTRY, &data, size);
	v->address = get_le64(bytes);
	v->data = get_le32(bytes + PCI_MSIX_ENTRY_DATA);
	v->control = get_le32(bytes + PCI_MSIX_ENTRY_VECTOR_CTRL) & PCI_MSIX_ENTRY_CTRL_MASKBIT;
	send_pending(p);
	g_mutex_unlock(&p->msix_lock);
}

void pci_msix_reset(struct pci_device *p)
{
	g_mutex_lock(&p->msix_lock);
	for (unsigned i = 0; i < p->msix_count; i++)
		p->msix[i] = (struct pci_msix_vector){.control = PCI_MSIX_ENTRY_CTRL_MASKBIT};
	g_mutex_unlock(&p->msix_lock);
}

void pci_msix_free(struct pci_device *p)
{
	g_clear_pointer(&p->msix, g_free);
	p->msix_count = 0;
	p->msix_vectors = 0;
}

const struct state_field pci_msix_state_fields[] = {
	STATE_INT(struct pci_msix_vector, address, STATE_U64), STATE_INT(struct pci_msix_vector, data, STATE_U32),
	STATE_INT(struct pci_msix_vector, control, STATE_U32), STATE_INT(struct pci_msix_vector, pending, STATE_BOOL), STATE_END};
