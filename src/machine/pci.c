/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI functions on bus 0 and the way to their configuration: ECAM and ports 0xcf8/0xcfc. On a board without firmware BARs are
 * given addresses when a function is added; the guest may move them. MSI-X is in msix.c.
 */
#include "pci.h"

#include <string.h>

#include <linux/pci_regs.h>

#include "bytes.h"
#include "core.h"
#include "error.h"
#include "log.h"

#define SLOTS		  32
#define ECAM_PER_FUNCTION 4096u
#define MULTIFUNCTION	  0x80 /* of the header's type */
#define DEPTH_MAX	  4 /* bridges behind bridges */
#define RESET_CONTROL	  1 /* port 0xcf9, among those of the configuration address */
#define RESET_CPU	  4
#define ICH9_FIRST_SLOT	  25
#define INTX_FIRST_GSI	  16 /* INTA of slot n uses GSI 16 + n % 4; acpi.c tells the guest */

struct pci_bus {
	struct machine_core *core;
	struct pci_device *bridge; /* NULL: bus 0, which has all that follows but the functions */
	uint64_t ecam_base, ecam_size; /* size 0: none; ecam_lock */
	GMutex ecam_lock;
	uint64_t mmio_next, mmio_end, mmio64_next, mmio64_end;
	unsigned io_next, io_end;
	bool places; /* BARs, as functions are added */
	uint32_t address; /* of port 0xcf8 */
	GRWLock topology; /* read: a function found in function[] is there until it is let go */
	GMutex lock;
	struct pci_device *function[PCI_BUS_FUNCTIONS]; /* by slot * 8 + function */
	unsigned intx[4]; /* asserters of each interrupt line */
};

/* ---- configuration space ---- */

static struct pci_device *on_bus(const struct pci_bus *bus, unsigned devfn)
{
	return __atomic_load_n(&bus->function[devfn], __ATOMIC_ACQUIRE);
}

/* The bus of a number behind bus 0: bridges say which numbers are behind them. */
static struct pci_bus *bus_numbered(struct pci_bus *bus, unsigned number)
{
	for (unsigned depth = 0; number && bus && depth < DEPTH_MAX; depth++) {
		struct pci_bus *next = NULL;

		for (unsigned i = 0; i < PCI_BUS_FUNCTIONS && !next; i++) {
			struct pci_device *p = on_bus(bus, i);

			if (p && p->secondary && p->config[PCI_SECONDARY_BUS] && number >= p->config[PCI_SECONDARY_BUS] &&
			    number <= p->config[PCI_SUBORDINATE_BUS])
				next = p->secondary;
		}
		if (next && next->bridge->config[PCI_SECONDARY_BUS] == number)
			return next;
		bus = next;
	}
	return number ? NULL : bus;
}

/* bdf: bus number, slot and function as ECAM has them. */
static struct pci_device *function_at(struct pci_bus *root, unsigned bdf)
{
	struct pci_bus *bus = bus_numbered(root, bdf >> 8);

	return bus ? on_bus(bus, bdf & 0xff) : NULL;
}

static unsigned bar_offset(unsigned n)
{
	return n == PCI_ROM_BAR ? PCI_ROM_ADDRESS : PCI_BASE_ADDRESS_0 + 4 * n;
}

static uint64_t bar_address(const struct pci_device *p, unsigned n)
{
	uint32_t low = get_le32(p->config + bar_offset(n));

	if (p->bar[n].io)
		return low & (uint32_t)PCI_BASE_ADDRESS_IO_MASK;
	low &= n == PCI_ROM_BAR ? (uint32_t)PCI_ROM_ADDRESS_MASK : (uint32_t)PCI_BASE_ADDRESS_MEM_MASK;
	return low | (p->bar[n].wide ? (uint64_t)get_le32(p->config + bar_offset(n + 1)) << 32 : 0);
}

static bool bar_wanted(const struct pci_device *p, unsigned n, uint64_t *ret_address)
{
	uint16_t command = get_le16(p->config + PCI_COMMAND);
	uint64_t at = bar_address(p, n);

	*ret_address = at;
	if (n == PCI_ROM_BAR && !(p->config[PCI_ROM_ADDRESS] & PCI_ROM_ADDRESS_ENABLE))
		return false;
	if (!(command & (p->bar[n].io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)) || !at)
		return false;
	return p->bar[n].io ? at + p->bar[n].size <= 0x10000 : at + p->bar[n].size - 1 > at;
}

static void unmap_bar(struct pci_device *p, unsigned n)
{
	struct pci_bar *b = &p->bar[n];

	if (b->is_mapped && b->region)
		mem_region_unmap(b->region);
	else if (b->is_mapped)
		bus_unregister(b->io ? p->dev.core->ports : p->dev.core->mmio, b->mapped);
	b->is_mapped = false;
}

static bool map_bar(struct pci_device *p, struct pci_bar *b, GError **error)
{
	if (b->region)
		return mem_region_map(b->region, b->mapped, error);
	return bus_register(b->io ? p->dev.core->ports : p->dev.core->mmio, b->mapped, b->size, p->dev.cls->name, b->ops,
			    b->opaque, error);
}

/* After a command or BAR write: BARs to where the guest wants them. An impossible place answers nothing. */
static void sync_bars(struct pci_device *p)
{
	for (unsigned n = 0; n < G_N_ELEMENTS(p->bar); n++) {
		struct pci_bar *b = &p->bar[n];
		g_autoptr(GError) error = NULL;
		uint64_t at;
		bool want;

		if (!b->size)
			continue;
		want = bar_wanted(p, n, &at);
		if (b->is_mapped && want && at == b->mapped)
			continue;
		unmap_bar(p, n);
		if (!want)
			continue;
		b->mapped = at;
		b->is_mapped = map_bar(p, b, &error);
		if (!b->is_mapped)
			kv_log_debug("%s: BAR %u: %s", p->dev.id, n, error->message);
	}
}

/* On ICH9 (its data sheet, 10.1.21 and on: D25IR to D31IR as they are after a reset) the last slots' pins are not rotated. */
unsigned pci_intx_line(const struct machine_core *core, unsigned slot, unsigned pin)
{
	bool rotated = !core->pci_intx || slot < ICH9_FIRST_SLOT;

	return ((rotated ? slot : 0) + MAX(pin, 1u) - 1) % 4;
}

/* Behind a bridge pins are rotated by the slot, and then they are the bridge's (PCI-to-PCI bridge 1.2, 9.1). */
static unsigned intx_line(const struct pci_device *p)
{
	unsigned slot = p->slot, pin = MAX(p->config[PCI_INTERRUPT_PIN], 1u);

	for (const struct pci_bus *bus = p->bus; bus && bus->bridge; bus = bus->bridge->bus) {
		pin = (pin - 1 + slot) % 4 + 1;
		slot = bus->bridge->slot;
	}
	return pci_intx_line(p->dev.core, slot, pin);
}

static void set_line(struct pci_bus *bus, unsigned line)
{
	struct machine_core *core = bus->core;

	if (core->pci_intx)
		core->pci_intx(core->pci_intx_opaque, line, bus->intx[line]);
	else
		machine_irq(core, INTX_FIRST_GSI + line, bus->intx[line]);
}

/* bus->lock held: the line follows what the function wants and the driver permits. */
static void update_intx(struct pci_bus *bus, struct pci_device *p)
{
	bool want = p->intx_level && !(get_le16(p->config + PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE);
	unsigned line = intx_line(p);

	if (want == p->intx_asserted)
		return;
	p->intx_asserted = want;
	bus->intx[line] += want ? 1 : -1u;
	if (bus->intx[line] <= 1)
		set_line(bus, line);
}

static void sync_intx(struct pci_device *p)
{
	struct pci_bus *bus = p->dev.core->pci;

	g_mutex_lock(&bus->lock);
	update_intx(bus, p);
	g_mutex_unlock(&bus->lock);
}

static uint32_t read_function(struct pci_device *p, unsigned offset, unsigned size)
{
	uint32_t value = 0;

	if (offset >= sizeof(p->config))
		return 0;
	g_mutex_lock(&p->lock);
	if (!p->config_access || !p->config_access(p, offset, size, &value, false))
		memcpy(&value, p->config + offset, MIN(size, sizeof(p->config) - offset));
	g_mutex_unlock(&p->lock);
	return value;
}

static uint32_t config_read(struct pci_bus *bus, unsigned bdf, unsigned offset, unsigned size)
{
	struct pci_device *p;
	uint32_t value = ~0u;

	g_rw_lock_reader_lock(&bus->topology);
	p = function_at(bus, bdf);
	if (p && offset + size <= PCI_CONFIG_SIZE)
		value = read_function(p, offset, size);
	g_rw_lock_reader_unlock(&bus->topology);
	return value;
}

static void write_function(struct pci_device *p, unsigned offset, unsigned size, uint32_t value)
{
	if (offset >= sizeof(p->config))
		return;
	size = MIN(size, (unsigned)sizeof(p->config) - offset);
	g_mutex_lock(&p->lock);
	if (!p->config_access || !p->config_access(p, offset, size, &value, true)) {
		for (unsigned i = 0; i < size; i++) {
			uint8_t mask = p->wmask[offset + i];

			p->config[offset + i] = (uint8_t)((p->config[offset + i] & ~mask) | (value >> (8 * i) & mask));
		}
		if (offset < PCI_ROM_ADDRESS + 4)
			sync_bars(p);
		if (offset < PCI_STATUS)
			sync_intx(p);
		pci_msix_config_written(p, offset, size);
		if (p->config_written)
			p->config_written(p, offset, size);
	}
	g_mutex_unlock(&p->lock);
}

static void config_write(struct pci_bus *bus, unsigned bdf, unsigned offset, unsigned size, uint32_t value)
{
	struct pci_device *p;

	g_rw_lock_reader_lock(&bus->topology);
	p = function_at(bus, bdf);
	if (p && offset + size <= PCI_CONFIG_SIZE)
		write_function(p, offset, size, value);
	g_rw_lock_reader_unlock(&bus->topology);
}

static uint64_t ecam_read(void *opaque, uint64_t offset, unsigned size)
{
	return config_read(opaque, (unsigned)(offset >> 12), offset & 0xfff, MIN(size, 4u));
}

static void ecam_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	config_write(opaque, (unsigned)(offset >> 12), offset & 0xfff, MIN(size, 4u), (uint32_t)data);
}

static const struct bus_ops ecam_ops = {ecam_read, ecam_write};

/* Ports 0xcf8..0xcff; only a full dword write at 0xcf8 changes the address (PCI 3.0, 3.2.2.3.2). */
static uint64_t cf8_read(void *opaque, uint64_t offset, unsigned size)
{
	struct pci_bus *bus = opaque;
	uint32_t a = __atomic_load_n(&bus->address, __ATOMIC_RELAXED);

	if (offset < 4)
		return offset == 0 && size == 4 ? a : ~0ull;
	if (!(a & 0x80000000))
		return ~0ull;
	return config_read(bus, a >> 8 & 0xffff, (a & 0xfc) + (unsigned)(offset & 3), size);
}

static void cf8_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct pci_bus *bus = opaque;
	uint32_t a = __atomic_load_n(&bus->address, __ATOMIC_RELAXED);

	if (offset == 0 && size == 4)
		__atomic_store_n(&bus->address, (uint32_t)data, __ATOMIC_RELAXED);
	else if (offset >= 4 && (a & 0x80000000))
		config_write(bus, a >> 8 & 0xffff, (a & 0xfc) + (unsigned)(offset & 3), size, (uint32_t)data);
	else if (offset == RESET_CONTROL && size == 1 && (data & RESET_CPU))
		bus->core->request(bus->core->machine, REQUEST_RESET);
}

static const struct bus_ops cf8_ops = {cf8_read, cf8_write};

/* ---- for devices ---- */

void pci_init(struct pci_device *p, const struct pci_ids *ids)
{
	const struct pci_place *place = p->dev.core->pci_place;

	g_mutex_init(&p->lock);
	g_mutex_init(&p->msix_lock);
	p->slot = place ? place->slot : 0xff;
	p->function = place ? place->function : 0;
	p->bus = place && place->bus ? place->bus : p->dev.core->pci;
	put_le16(p->config + PCI_VENDOR_ID, ids->vendor);
	put_le16(p->config + PCI_DEVICE_ID, ids->device);
	put_le32(p->config + PCI_CLASS_REVISION, ids->class_revision);
	put_le16(p->config + PCI_SUBSYSTEM_VENDOR_ID, ids->subvendor);
	put_le16(p->config + PCI_SUBSYSTEM_ID, ids->subdevice);
	put_le16(p->wmask + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	p->wmask[PCI_INTERRUPT_LINE] = 0xff;
	p->config[PCI_INTERRUPT_PIN] = 1;
}

void pci_set_bar(struct pci_device *p, unsigned n, uint64_t size, bool io, bool wide, const struct bus_ops *ops, void *opaque)
{
	uint32_t type = io ? PCI_BASE_ADDRESS_SPACE_IO : wide ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0;

	p->bar[n] = (struct pci_bar){.size = size, .io = io, .wide = wide, .ops = ops, .opaque = opaque};
	put_le32(p->config + bar_offset(n), type);
	put_le32(p->wmask + bar_offset(n), (uint32_t) ~(size - 1) & (io ? ~3u : ~15u));
	if (wide)
		put_le32(p->wmask + bar_offset(n + 1), (uint32_t)(~(size - 1) >> 32));
}

unsigned pci_add_capability(struct pci_device *p, uint8_t id, unsigned len)
{
	unsigned at = p->caps_end ? p->caps_end : 0x40;

	g_assert(at + len <= 0x100);
	p->config[at] = id;
	p->config[at + 1] = p->config[PCI_CAPABILITY_LIST];
	p->config[PCI_CAPABILITY_LIST] = (uint8_t)at;
	p->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	p->caps_end = (uint16_t)align_up(at + len, 4);
	return at;
}

void pci_set_memory_bar(struct pci_device *p, unsigned n, struct mem_region *region, bool wide)
{
	pci_set_bar(p, n, region->size, false, wide, NULL, NULL);
	p->bar[n].region = region;
	p->config[bar_offset(n)] |= PCI_BASE_ADDRESS_MEM_PREFETCH;
}

bool pci_set_rom(struct pci_device *p, const void *data, size_t len, GError **error)
{
	struct pci_bar *b = &p->bar[PCI_ROM_BAR];
	uint64_t size = 4096;

	while (size < len)
		size *= 2;
	b->region = mem_region_new(p->dev.core->mem, "option ROM", size, true, error);
	if (!b->region)
		return false;
	b->size = size;
	memcpy(b->region->host, data, len);
	put_le32(p->wmask + PCI_ROM_ADDRESS, ((uint32_t) ~(size - 1) & PCI_ROM_ADDRESS_MASK) | PCI_ROM_ADDRESS_ENABLE);
	return true;
}

static bool place_io_bar(struct pci_bus *bus, struct pci_device *p, unsigned n, GError **error)
{
	struct pci_bar *b = &p->bar[n];
	unsigned at = (unsigned)align_up(bus->io_next, b->size);

	if (at + b->size > bus->io_end)
		return kv_fail(error, KV_ERROR_INVALID, "%s: the PCI I/O window is full", p->dev.id);
	bus->io_next = at + (unsigned)b->size;
	put_le32(p->config + bar_offset(n), at | PCI_BASE_ADDRESS_SPACE_IO);
	return true;
}

static bool place_bar(struct pci_bus *bus, struct pci_device *p, unsigned n, GError **error)
{
	struct pci_bar *b = &p->bar[n];
	uint64_t *next = b->wide ? &bus->mmio64_next : &bus->mmio_next, at = align_up(*next, MAX(b->size, 4096));

	if (b->io)
		return place_io_bar(bus, p, n, error);
	if (at + b->size > (b->wide ? bus->mmio64_end : bus->mmio_end))
		return kv_fail(error, KV_ERROR_INVALID, "%s: the PCI memory window is full", p->dev.id);
	*next = at + b->size;
	put_le32(p->config + bar_offset(n), (uint32_t)at | get_le32(p->config + bar_offset(n)));
	if (b->wide)
		put_le32(p->config + bar_offset(n + 1), (uint32_t)(at >> 32));
	return true;
}

/* The first function says whether there are others (PCI 3.0, 6.2.1), whichever of them comes first. */
static void mark_multifunction(struct pci_bus *bus, struct pci_device *p)
{
	struct pci_device *first = p->function ? bus->function[8 * p->slot] : p;
	bool others = p->function;

	for (unsigned f = 1; f < 8; f++)
		others |= bus->function[8 * p->slot + f] != NULL;
	if (!first || !others)
		return;
	first->config[PCI_HEADER_TYPE] |= MULTIFUNCTION;
	first->initial[PCI_HEADER_TYPE] |= MULTIFUNCTION;
}

bool pci_add(struct pci_device *p, GError **error)
{
	struct pci_bus *root = p->dev.core->pci, *bus = p->bus;
	g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&root->lock);
	unsigned slot = p->slot, devfn;

	for (unsigned s = 0; slot == 0xff && s < SLOTS; s++)
		if (!bus->function[8 * s] && (bus != root || !(p->dev.core->pci_reserved >> s & 1)))
			slot = s;
	devfn = 8 * slot + p->function;
	if (slot >= SLOTS || bus->function[devfn])
		return slot < SLOTS ? kv_fail(error, KV_ERROR_INVALID, "%s: the PCI function %02x.%x is another's", p->dev.id,
					      slot, p->function) :
				      kv_fail(error, KV_ERROR_INVALID, "%s: no free PCI slot (there are %d)", p->dev.id, SLOTS);
	p->slot = (uint8_t)slot;
	mark_multifunction(bus, p);
	for (unsigned n = 0; root->places && n < PCI_BARS; n++)
		if (p->bar[n].size && !place_bar(root, p, n, error))
			return false;
	memcpy(p->initial, p->config, sizeof(p->initial));
	p->dev.holder = bus->bridge ? &bus->bridge->dev : NULL;
	__atomic_store_n(&bus->function[devfn], p, __ATOMIC_RELEASE);
	return true;
}

void pci_remove(struct pci_device *p)
{
	struct pci_bus *bus = p->bus;
	unsigned devfn = 8u * p->slot + p->function;

	g_rw_lock_writer_lock(&p->dev.core->pci->topology);
	if (devfn < PCI_BUS_FUNCTIONS && on_bus(bus, devfn) == p)
		__atomic_store_n(&bus->function[devfn], NULL, __ATOMIC_RELEASE);
	g_rw_lock_writer_unlock(&p->dev.core->pci->topology);
	for (unsigned n = 0; n < G_N_ELEMENTS(p->bar); n++)
		unmap_bar(p, n);
	g_clear_pointer(&p->bar[PCI_ROM_BAR].region, mem_region_free);
	pci_set_intx(p, false);
	pci_msix_free(p);
	g_mutex_clear(&p->lock);
}

void pci_reset(struct pci_device *p)
{
	g_mutex_lock(&p->lock);
	memcpy(p->config, p->initial, sizeof(p->config));
	sync_bars(p);
	pci_msix_reset(p);
	g_mutex_unlock(&p->lock);
	pci_set_intx(p, false);
}

void pci_set_intx(struct pci_device *p, bool level)
{
	struct pci_bus *bus = p->dev.core->pci;

	g_mutex_lock(&bus->lock);
	p->intx_level = level;
	update_intx(bus, p);
	g_mutex_unlock(&bus->lock);
}

const struct state_field pci_state_fields[] = {STATE_RAW(struct pci_device, config),
					       STATE_INT(struct pci_device, intx_level, STATE_BOOL),
					       {.name = "msix",
						.offset = offsetof(struct pci_device, msix),
						.type = STATE_POINTER_STRUCT,
						.since = 1,
						.size = sizeof(struct pci_msix_vector),
						.count = PCI_MSIX_MAX,
						.count_at = offsetof(struct pci_device, msix_vectors),
						.fields = pci_msix_state_fields},
					       STATE_END};

/* The level came from a saved state, and the chips may have lost it. */
static void assert_again(struct pci_device *p)
{
	struct pci_bus *bus = p->dev.core->pci;

	g_mutex_lock(&bus->lock);
	update_intx(bus, p);
	set_line(bus, intx_line(p));
	g_mutex_unlock(&bus->lock);
}

void pci_loaded(struct pci_device *p)
{
	g_mutex_lock(&p->lock);
	sync_bars(p);
	pci_msix_config_written(p, p->msix_cap + PCI_MSIX_FLAGS, 2);
	g_mutex_unlock(&p->lock);
	assert_again(p);
}

struct pci_device *pci_bus_bridge(const struct pci_bus *bus)
{
	return bus ? bus->bridge : NULL;
}

struct pci_bus *pci_bus_new_secondary(struct pci_device *bridge)
{
	struct pci_bus *bus = g_new0(struct pci_bus, 1);

	bus->core = bridge->dev.core;
	bus->bridge = bridge;
	g_mutex_init(&bus->lock);
	g_mutex_init(&bus->ecam_lock);
	return bus;
}

struct pci_device *pci_bus_function(const struct pci_bus *bus, unsigned devfn)
{
	return on_bus(bus, devfn);
}

struct pci_device *pci_bus_first(const struct pci_bus *bus)
{
	for (unsigned i = 0; i < PCI_BUS_FUNCTIONS; i++)
		if (on_bus(bus, i))
			return on_bus(bus, i);
	return NULL;
}

bool pci_bus_set_ecam(struct pci_bus *bus, uint64_t base, unsigned buses, GError **error)
{
	g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&bus->ecam_lock);
	uint64_t size = (uint64_t)buses * PCI_BUS_FUNCTIONS * ECAM_PER_FUNCTION;

	if (size == bus->ecam_size && (!size || base == bus->ecam_base))
		return true;
	if (bus->ecam_size)
		bus_withdraw(bus->core->mmio, bus->ecam_base);
	bus->ecam_size = 0;
	if (size && !bus_register(bus->core->mmio, base, size, "PCI ECAM", &ecam_ops, bus, error))
		return false;
	bus->ecam_base = base;
	bus->ecam_size = size;
	return true;
}

unsigned pci_bus_ecam(struct pci_bus *bus, uint64_t *ret_base)
{
	g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&bus->ecam_lock);

	*ret_base = bus->ecam_base;
	return (unsigned)(bus->ecam_size / ECAM_PER_FUNCTION / PCI_BUS_FUNCTIONS);
}

bool pci_bus_high_bars(struct pci_bus *bus, uint64_t *ret_first, uint64_t *ret_last)
{
	uint64_t first = UINT64_MAX, last = 0;

	for (unsigned devfn = 0; devfn < PCI_BUS_FUNCTIONS; devfn++) {
		struct pci_device *p = function_at(bus, devfn);

		if (!p)
			continue;
		g_mutex_lock(&p->lock);
		for (unsigned n = 0; n < PCI_BARS; n++) {
			uint64_t at = p->bar[n].size && p->bar[n].wide ? bar_address(p, n) : 0;

			if (at <= UINT32_MAX || at + p->bar[n].size - 1 < at)
				continue;
			first = MIN(first, at);
			last = MAX(last, at + p->bar[n].size - 1);
		}
		g_mutex_unlock(&p->lock);
	}
	if (!last)
		return false;
	*ret_first = first;
	*ret_last = last;
	return true;
}

struct pci_bus *pci_bus_new(struct machine_core *core, const struct pci_windows *windows, GError **error)
{
	struct pci_bus *bus = g_new0(struct pci_bus, 1);

	*bus = (struct pci_bus){.core = core,
				.places = windows->mmio_size,
				.mmio_next = windows->mmio_base,
				.mmio_end = windows->mmio_base + windows->mmio_size,
				.mmio64_next = windows->mmio64_base,
				.mmio64_end = windows->mmio64_base + windows->mmio64_size,
				.io_next = windows->io_base,
				.io_end = windows->io_base + windows->io_size};
	g_mutex_init(&bus->lock);
	g_mutex_init(&bus->ecam_lock);
	g_rw_lock_init(&bus->topology);
	if (!bus_register(core->ports, 0xcf8, 8, "PCI configuration", &cf8_ops, bus, error)) {
		g_mutex_clear(&bus->lock);
		g_free(bus);
		return NULL;
	}
	return bus;
}

void pci_bus_free(struct pci_bus *bus)
{
	if (!bus)
		return;
	pci_bus_set_ecam(bus, 0, 0, NULL);
	if (!bus->bridge)
		bus_unregister(bus->core->ports, 0xcf8);
	g_mutex_clear(&bus->lock);
	g_mutex_clear(&bus->ecam_lock);
	g_rw_lock_clear(&bus->topology);
	g_free(bus);
}
