/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Intel 82574L, the card that QEMU calls e1000e: systems have its driver where they have none for virtio. PCI, reset, saved
 * state, and the source in the main context that frames are sent from. Its parts: e1000e.h. Created by the board on a netdev.
 */
#include <string.h>

#include <linux/pci_regs.h>

#include "boot-order.h"
#include "bytes.h"
#include "card.h"
#include "classes.h"
#include "e1000e.h"
#include "error.h"

enum {
	MMIO_SIZE = 0x20000, FLASH_SIZE = 0x20000, IO_SIZE = 32, MSIX_SIZE = 0x4000,
	MMIO_BAR = 0, FLASH_BAR = 1, IO_BAR = 2, MSIX_BAR = 3,
	EXPRESS_LEN = 0x14, PORT_RATE_2500_X1 = 0x11,
};

void e1000e_kick(struct e1000e *e)
{
	g_source_set_ready_time(e->worker, 0);
}

static gboolean work(gpointer opaque)
{
	struct e1000e *e = opaque;
	bool resume;

	g_source_set_ready_time(e->worker, -1);
	g_mutex_lock(&e->lock);
	resume = e->resume && !e->paused;
	if (resume)
		e->resume = e->rx_blocked = false;
	g_mutex_unlock(&e->lock);
	if (e1000e_transmit(e))
		e1000e_kick(e);
	if (resume)
		net_resume(e->net);
	return G_SOURCE_CONTINUE;
}

static gboolean dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	return callback(data);
}

static GSourceFuncs worker_funcs = {.dispatch = dispatch};

/* There is no flash: what configures the card is its NVM. */
static uint64_t flash_read(void *opaque, uint64_t offset, unsigned size)
{
	return ~0ull;
}

static void flash_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
}

static uint64_t msix_read(void *opaque, uint64_t offset, unsigned size)
{
	return offset < pci_msix_bytes(E1000E_VECTORS) ? pci_msix_read(opaque, offset, size) : 0;
}

static void msix_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	if (offset < pci_msix_bytes(E1000E_VECTORS))
		pci_msix_write(opaque, offset, size, data);
}

static const struct bus_ops flash_ops = {flash_read, flash_write}, msix_ops = {msix_read, msix_write};

static bool add_function(struct e1000e *e, GError **error)
{
	static const struct pci_ids ids = {0x8086, 0x10d3, 0x8086, 0, 0x02000000};
	struct pci_device *p = &e->pci;
	unsigned cap;

	pci_init(p, &ids);
	pci_set_bar(p, MMIO_BAR, MMIO_SIZE, false, false, &e1000e_mmio_ops, e);
	pci_set_bar(p, FLASH_BAR, FLASH_SIZE, false, false, &flash_ops, e);
	pci_set_bar(p, IO_BAR, IO_SIZE, true, false, &e1000e_io_ops, e);
	pci_set_bar(p, MSIX_BAR, MSIX_SIZE, false, false, &msix_ops, e);
	cap = pci_add_capability(p, PCI_CAP_ID_PM, PCI_PM_SIZEOF);
	put_le16(p->config + cap + PCI_PM_PMC, 3 /* of PCI PM 1.2 */);
	put_le16(p->config + cap + PCI_PM_CTRL, PCI_PM_CTRL_NO_SOFT_RESET);
	put_le16(p->wmask + cap + PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK);
	cap = pci_add_capability(p, PCI_CAP_ID_EXP, EXPRESS_LEN);
	put_le16(p->config + cap + PCI_EXP_FLAGS, 1 | PCI_EXP_TYPE_RC_END << 4);
	put_le32(p->config + cap + PCI_EXP_DEVCAP, PCI_EXP_DEVCAP_RBER);
	put_le16(p->wmask + cap + PCI_EXP_DEVCTL, 0x7fff & ~PCI_EXP_DEVCTL_AUX_PME);
	put_le32(p->config + cap + PCI_EXP_LNKCAP, PORT_RATE_2500_X1);
	put_le16(p->config + cap + PCI_EXP_LNKSTA, PORT_RATE_2500_X1);
	return pci_add_msix(p, MSIX_BAR, 0, E1000E_VECTORS, error) && pci_add(p, error);
}

static void reset(struct device *dev)
{
	struct e1000e *e = (struct e1000e *)dev;

	pci_reset(&e->pci);
	g_mutex_lock(&e->lock);
	e->link = e->net->link_up;
	e1000e_phy_reset(e);
	e1000e_registers_reset(e);
	g_mutex_unlock(&e->lock);
}

static void destroy(struct device *dev)
{
	struct e1000e *e = (struct e1000e *)dev;

	net_attach(e->net, NULL, NULL);
	g_source_destroy(e->worker);
	pci_remove(&e->pci);
	e1000e_irq_destroy(e);
	g_source_unref(e->worker);
	g_mutex_clear(&e->lock);
}

static bool create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct e1000e *e = (struct e1000e *)dev;
	uint8_t mac[ETH_ALEN];

	e->net = backend->netdev;
	if (!e->net)
		return kv_fail(error, KV_ERROR_USAGE, "%s: a network card needs a backend", dev->id);
	if (!card_mac(dev->id, options, mac, error) || !e1000e_irq_init(e, error))
		return false;
	g_mutex_init(&e->lock);
	e->worker = g_source_new(&worker_funcs, sizeof(GSource));
	g_source_set_callback(e->worker, work, e, NULL);
	g_source_attach(e->worker, dev->core->context);
	e1000e_nvm_init(e, mac);
	net_attach(e->net, &e1000e_client, e);
	if (!add_function(e, error) || !card_rom(&e->pci, options, error)) {
		destroy(dev);
		return false;
	}
	reset(dev);
	return true;
}

/* A packet of which the rest was not there yet is lost, as packets may be. */
static void pause_card(struct device *dev)
{
	struct e1000e *e = (struct e1000e *)dev;

	g_mutex_lock(&e->lock);
	e->paused = true;
	for (unsigned q = 0; q < E1000E_QUEUES; q++) {
		e->tx[q].skip |= e->tx[q].len > 0;
		e->tx[q].len = 0;
	}
	g_mutex_unlock(&e->lock);
}

static void resume_card(struct device *dev)
{
	struct e1000e *e = (struct e1000e *)dev;

	g_mutex_lock(&e->lock);
	e->paused = false;
	e->resume = true;
	e1000e_irq_resume(e);
	g_mutex_unlock(&e->lock);
	e1000e_kick(e);
}

static char *stats(struct device *dev)
{
	struct e1000e *e = (struct e1000e *)dev;

	return g_strdup_printf("%s.received %" G_GUINT64_FORMAT "\n%s.sent %" G_GUINT64_FORMAT "\n%s.dropped %" G_GUINT64_FORMAT
			       "\n", dev->id, e->received, dev->id, e->sent, dev->id, e->dropped);
}

static void before_save(void *opaque)
{
	e1000e_clock_save(opaque);
}

static bool after_load(void *opaque, GError **error)
{
	struct e1000e *e = opaque;

	for (unsigned q = 0; q < E1000E_QUEUES; q++)
		e->tx[q].len = 0;
	pci_loaded(&e->pci);
	g_mutex_lock(&e->lock);
	e1000e_clock_loaded(e);
	e1000e_irq_loaded(e);
	if (e->link != e->net->link_up)
		e1000e_link(e, e->net->link_up);
	g_mutex_unlock(&e->lock);
	return true;
}

static const struct state_field context_fields[] = {STATE_INT(struct e1000e_context, ipcss, STATE_U8),
						    STATE_INT(struct e1000e_context, ipcso, STATE_U8),
						    STATE_INT(struct e1000e_context, ipcse, STATE_U16),
						    STATE_INT(struct e1000e_context, tucss, STATE_U8),
						    STATE_INT(struct e1000e_context, tucso, STATE_U8),
						    STATE_INT(struct e1000e_context, tucse, STATE_U16),
						    STATE_INT(struct e1000e_context, header_len, STATE_U8),
						    STATE_INT(struct e1000e_context, mss, STATE_U16),
						    STATE_INT(struct e1000e_context, tcp, STATE_BOOL),
						    STATE_INT(struct e1000e_context, ipv4, STATE_BOOL),
						    STATE_END};

static const struct state_field tx_fields[] = {STATE_ONE(struct e1000e_tx, context, context_fields),
					       STATE_INT(struct e1000e_tx, skip, STATE_BOOL),
					       STATE_END};

#define WORDS(member, bytes)                                                                                           \
	{.name = #member, .offset = offsetof(struct e1000e, member), .type = STATE_ARRAY, .since = 1, .size = (bytes), \
	 .count = sizeof(((struct e1000e *)0)->member) / (bytes)}

static const struct state_field fields[] = {STATE_ONE(struct e1000e, pci, pci_state_fields),
					    WORDS(reg, 4),
					    STATE_INT(struct e1000e, io_address, STATE_U32),
					    WORDS(nvm, 2),
					    WORDS(phy, 2),
					    STATE_INT(struct e1000e, phy_page, STATE_U16),
					    STATE_INT(struct e1000e, timinca, STATE_U32),
					    STATE_INT(struct e1000e, systim, STATE_U64),
					    STATE_MANY(struct e1000e, tx, tx_fields),
					    STATE_INT(struct e1000e, link, STATE_BOOL),
					    STATE_RAW(struct e1000e, waits),
					    STATE_END};

static const struct state_desc state = {"e1000e", 1, 1, fields, before_save, after_load};

static char *boot_path(struct device *dev, char *ret_kind)
{
	*ret_kind = 'n';
	return boot_path_pci((const struct pci_device *)dev, "ethernet-phy@0");
}

static const struct device_key card_keys[] = {{"mac", DEVICE_KEY_TEXT, "address"},
					     {"netdev", DEVICE_KEY_BACKEND, "a network of netdev_add"},
					     {}};

const struct device_class device_e1000e = {
	.name = "e1000e",
	.description = "Intel 82574L network card",
	.size = sizeof(struct e1000e),
	.create = create,
	.reset = reset,
	.destroy = destroy,
	.pause = pause_card,
	.resume = resume_card,
	.state = &state,
	.stats = stats,
	.boot_path = boot_path,
	.rx_filter = e1000e_rx_filter,
	.keys = card_keys,
};
