/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ISA bridge of the pc board at 00:1f.0 (Intel I/O Controller Hub 9 data sheet, chapters 10 and 13): where PCI's interrupt
 * lines go, the places of the power management block (ich9-pm.c) and of the chipset's registers, the ports of SMI commands and
 * of the fast reset. Created by the board; pci.c calls line_changed().
 */
#include <string.h>

#include "../internal.h"
#include "bytes.h"
#include "classes.h"
#include "error.h"
#include "ich9-pm.h"
#include "log.h"

/* Configuration space (13.1). */
enum { PMBASE = 0x40, ACPI_CNTL = 0x44, PIRQA_ROUT = 0x60, SIRQ_CNTL = 0x64, PIRQE_ROUT = 0x68, RCBA = 0xf0 };
enum { PMBASE_RTE = 1, PMBASE_ADDRESS = 0xff80, ACPI_EN = 0x80, SCI_IRQ_SEL = 7, ROUT_IRQEN = 0x80, ROUT_IRQ = 15 };

#define RCBA_ENABLE  1u
#define RCBA_ADDRESS 0xffffc000u
#define RCBA_SIZE    0x4000u
#define LINES	     4
#define FIRST_GSI    16
#define GSIS	     24
#define ISA_IRQS     0xdef8u /* that a PCI line can be routed to */
#define SMI_PORTS    2
#define FAST_PORT    0x92
#define FAST_INIT    1
#define FAST_A20     2

struct ich9_lpc {
	struct pci_device pci;
	struct ich9_pm pm;
	GMutex lock; /* below; taken last */
	uint8_t smi[SMI_PORTS]; /* command and status */
	uint8_t fast;
	bool line[LINES], sci;
	uint8_t route[LINES], sci_select; /* copies of the configuration's */
	uint32_t gsis; /* levels, a bit each */
	uint32_t pm_at, rcba_at; /* where they answer now; 0: nowhere */
};

/* ---- interrupts ---- */

static unsigned sci_gsi(const struct ich9_lpc *l)
{
	static const uint8_t gsi[SCI_IRQ_SEL + 1] = {PM_GSI, 10, 11, PM_GSI, 20, 21, PM_GSI, PM_GSI};

	return gsi[l->sci_select & SCI_IRQ_SEL];
}

static uint32_t wanted_gsis(const struct ich9_lpc *l)
{
	uint32_t want = l->sci ? 1u << sci_gsi(l) : 0;

	for (unsigned i = 0; i < LINES; i++) {
		if (!l->line[i])
			continue;
		want |= 1u << (FIRST_GSI + i);
		if (!(l->route[i] & ROUT_IRQEN))
			want |= 1u << (l->route[i] & ROUT_IRQ) & ISA_IRQS;
	}
	return want;
}

/* l->lock held. again: of those that are up, too, which a chip whose state was loaded does not know. */
static void update_gsis(struct ich9_lpc *l, bool again)
{
	uint32_t want = wanted_gsis(l), changed = want ^ l->gsis;

	l->gsis = want;
	if (again)
		changed |= want;
	for (unsigned i = 0; i < GSIS; i++)
		if (changed >> i & 1)
			machine_irq(l->pci.dev.core, i, want >> i & 1);
}

static void line_changed(void *opaque, unsigned line, bool level)
{
	struct ich9_lpc *l = opaque;

	g_mutex_lock(&l->lock);
	l->line[line % LINES] = level;
	update_gsis(l, false);
	g_mutex_unlock(&l->lock);
}

static void sci_changed(void *opaque, bool level)
{
	struct ich9_lpc *l = opaque;

	g_mutex_lock(&l->lock);
	l->sci = level;
	update_gsis(l, false);
	g_mutex_unlock(&l->lock);
}

/* ---- power management and chipset registers ---- */

static uint64_t pm_read(void *opaque, uint64_t offset, unsigned size)
{
	return ich9_pm_read(&((struct ich9_lpc *)opaque)->pm, offset, size);
}

static void pm_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	ich9_pm_write(&((struct ich9_lpc *)opaque)->pm, offset, size, data);
}

static const struct bus_ops pm_ops = {pm_read, pm_write};

/*
 * The chipset's configuration registers (10.1), those that say something here: the pins of slots 25 to 31 go to lines A to D in
 * order, the HPET is on at its first address, no watchdog resets the machine. They cannot be changed.
 */
static uint64_t rcba_read(void *opaque, uint64_t offset, unsigned size)
{
	static const struct {
		uint16_t offset;
		uint32_t value;
	} registers[] = {{0x3140, 0x3210}, {0x3144, 0x3210}, {0x3148, 0x3210}, {0x314c, 0x3210}, {0x3150, 0x3210},
			 {0x315c, 0x3210}, {0x3160, 0x3210}, {0x3404, 0x80}, {0x3410, 0x20}};
	uint64_t v = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(registers); i++)
		if (registers[i].offset == (offset & ~3u))
			v = registers[i].value;
	return v >> 8 * (offset & 3);
}

static void rcba_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
}

static const struct bus_ops rcba_ops = {rcba_read, rcba_write};

/* To `at`, or nowhere: *now is where it is. What a guest has put in its way stays there. Handlers outlive the bus. */
static void move(struct ich9_lpc *l, struct bus *bus, const struct bus_ops *ops, uint32_t at, uint32_t size, uint32_t *now)
{
	g_autoptr(GError) error = NULL;

	if (at == *now)
		return;
	if (*now)
		bus_withdraw(bus, *now);
	*now = at;
	if (at && !bus_register(bus, at, size, l->pci.dev.cls->name, ops, l, &error)) {
		kv_log_debug("%s", error->message);
		*now = 0;
	}
}

/* After its configuration changed: pci.lock is held, or nothing runs. */
static void update_places(struct ich9_lpc *l)
{
	struct machine_core *core = l->pci.dev.core;
	const uint8_t *config = l->pci.config;
	uint32_t rcba = get_le32(config + RCBA);

	/* Whatever ACPI_EN is, as on QEMU: U-Boot leaves it 0 there. */
	move(l, core->ports, &pm_ops, get_le16(config + PMBASE) & PMBASE_ADDRESS, ICH9_PM_PORTS, &l->pm_at);
	move(l, core->mmio, &rcba_ops, rcba & RCBA_ENABLE ? rcba & RCBA_ADDRESS : 0, RCBA_SIZE, &l->rcba_at);
}

static void update_routes(struct ich9_lpc *l, bool again)
{
	g_mutex_lock(&l->lock);
	memcpy(l->route, l->pci.config + PIRQA_ROUT, LINES);
	l->sci_select = l->pci.config[ACPI_CNTL];
	update_gsis(l, again);
	g_mutex_unlock(&l->lock);
}

static void config_written(struct pci_device *p, unsigned offset, unsigned len)
{
	struct ich9_lpc *l = (struct ich9_lpc *)p;

	update_places(l);
	update_routes(l, false);
}

void ich9_lpc_power_button(struct device *dev)
{
	ich9_pm_power_button(&((struct ich9_lpc *)dev)->pm);
}

void ich9_lpc_wake(struct device *dev)
{
	ich9_pm_wake(&((struct ich9_lpc *)dev)->pm, WAKE_OTHER);
}

uint16_t ich9_lpc_pm_base(const struct device *dev)
{
	uint16_t at = get_le16(((const struct ich9_lpc *)dev)->pci.config + PMBASE) & PMBASE_ADDRESS;

	return at ? at : PM_BASE;
}

bool ich9_lpc_asleep(struct device *dev, bool *ret_woken)
{
	return ich9_pm_asleep(&((struct ich9_lpc *)dev)->pm, ret_woken);
}

static void wake(void *opaque, enum machine_wake why)
{
	ich9_pm_wake(&((struct ich9_lpc *)opaque)->pm, why);
}

static void gpe(void *opaque, unsigned bit)
{
	ich9_pm_gpe(&((struct ich9_lpc *)opaque)->pm, bit);
}

/* ---- ports ---- */

static uint64_t smi_read(void *opaque, uint64_t offset, unsigned size)
{
	struct ich9_lpc *l = opaque;
	uint8_t v;

	g_mutex_lock(&l->lock);
	v = l->smi[offset];
	g_mutex_unlock(&l->lock);
	return v;
}

static void smi_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct ich9_lpc *l = opaque;

	g_mutex_lock(&l->lock);
	l->smi[offset] = (uint8_t)data;
	g_mutex_unlock(&l->lock);
	if (offset == 0)
		ich9_pm_command(&l->pm, (uint8_t)data);
}

static const struct bus_ops smi_ops = {smi_read, smi_write};

/* Port 92: address line 20 is always on, as it is after a reset of a machine without the gate. */
static uint64_t fast_read(void *opaque, uint64_t offset, unsigned size)
{
	struct ich9_lpc *l = opaque;
	uint8_t v;

	g_mutex_lock(&l->lock);
	v = l->fast | FAST_A20;
	g_mutex_unlock(&l->lock);
	return v;
}

static void fast_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct ich9_lpc *l = opaque;
	bool init;

	g_mutex_lock(&l->lock);
	init = data & ~(uint64_t)l->fast & FAST_INIT;
	l->fast = data & FAST_INIT;
	g_mutex_unlock(&l->lock);
	if (init)
		l->pci.dev.core->request(l->pci.dev.core->machine, REQUEST_RESET);
}

static const struct bus_ops fast_ops = {fast_read, fast_write};

/* ---- life ---- */

static void set_up_config(struct pci_device *p)
{
	static const struct pci_ids ids = {
		.vendor = 0x8086, .device = 0x2918, .subvendor = 0x1af4, .subdevice = 0x1100, .class_revision = 0x06010002};

	pci_init(p, &ids);
	p->slot = PC_LPC_SLOT;
	p->config[0x0e] = 0x80; /* other functions may be beside it */
	p->config[0x3d] = 0;	/* no interrupt pin */
	put_le32(p->config + PMBASE, PMBASE_RTE);
	put_le16(p->wmask + PMBASE, PMBASE_ADDRESS);
	p->wmask[ACPI_CNTL] = ACPI_EN | SCI_IRQ_SEL;
	p->config[SIRQ_CNTL] = 0x10;
	p->wmask[SIRQ_CNTL] = 0xdf;
	for (unsigned i = 0; i < LINES; i++) {
		p->config[PIRQA_ROUT + i] = p->config[PIRQE_ROUT + i] = ROUT_IRQEN;
		p->wmask[PIRQA_ROUT + i] = p->wmask[PIRQE_ROUT + i] = ROUT_IRQEN | ROUT_IRQ;
	}
	put_le32(p->wmask + RCBA, RCBA_ADDRESS | RCBA_ENABLE);
	p->config_written = config_written;
}

static bool lpc_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct ich9_lpc *l = (struct ich9_lpc *)dev;
	struct bus *ports = dev->core->ports;

	g_mutex_init(&l->lock);
	set_up_config(&l->pci);
	update_routes(l, false);
	if (!ich9_pm_init(&l->pm, dev->core, sci_changed, l, error))
		return false;
	dev->core->pci_intx = line_changed;
	dev->core->pci_intx_opaque = l;
	dev->core->wake = wake;
	dev->core->wake_opaque = l;
	dev->core->gpe = gpe;
	dev->core->gpe_opaque = l;
	return pci_add(&l->pci, error) && bus_register(ports, PC_SMI_COMMAND, SMI_PORTS, "ich9-lpc", &smi_ops, l, error) &&
	       bus_register(ports, FAST_PORT, 1, "ich9-lpc", &fast_ops, l, error);
}

static void lpc_reset(struct device *dev)
{
	struct ich9_lpc *l = (struct ich9_lpc *)dev;

	pci_reset(&l->pci);
	update_places(l);
	ich9_pm_reset(&l->pm);
	g_mutex_lock(&l->lock);
	l->smi[0] = l->smi[1] = l->fast = 0;
	g_mutex_unlock(&l->lock);
	update_routes(l, false);
}

static void lpc_destroy(struct device *dev)
{
	struct ich9_lpc *l = (struct ich9_lpc *)dev;

	dev->core->pci_intx = NULL;
	dev->core->wake = NULL;
	dev->core->gpe = NULL;
	if (l->pm_at)
		bus_unregister(dev->core->ports, l->pm_at);
	if (l->rcba_at)
		bus_unregister(dev->core->mmio, l->rcba_at);
	bus_unregister(dev->core->ports, PC_SMI_COMMAND);
	bus_unregister(dev->core->ports, FAST_PORT);
	pci_remove(&l->pci);
	ich9_pm_clear(&l->pm);
	g_mutex_clear(&l->lock);
}

static void lpc_pause(struct device *dev)
{
	ich9_pm_pause(&((struct ich9_lpc *)dev)->pm);
}

static void lpc_resume(struct device *dev)
{
	ich9_pm_resume(&((struct ich9_lpc *)dev)->pm);
}

static bool lpc_loaded(void *opaque, GError **error)
{
	struct ich9_lpc *l = opaque;

	pci_loaded(&l->pci);
	update_places(l);
	ich9_pm_loaded(&l->pm);
	g_mutex_lock(&l->lock);
	l->fast &= FAST_INIT;
	g_mutex_unlock(&l->lock);
	update_routes(l, true);
	return true;
}

static const struct state_field lpc_fields[] = {
	STATE_ONE(struct ich9_lpc, pci, pci_state_fields),
	STATE_ONE(struct ich9_lpc, pm, ich9_pm_fields),
	STATE_RAW(struct ich9_lpc, smi),
	STATE_INT(struct ich9_lpc, fast, STATE_U8),
	STATE_END};
static const struct state_desc lpc_state = {"ich9-lpc", 2, 1, lpc_fields, NULL, lpc_loaded};

const struct device_class device_ich9_lpc = {
	.name = "ich9-lpc",
	.description = "ISA bridge and power management of the pc board",
	.size = sizeof(struct ich9_lpc),
	.create = lpc_create,
	.reset = lpc_reset,
	.destroy = lpc_destroy,
	.pause = lpc_pause,
	.resume = lpc_resume,
	.state = &lpc_state,
};
