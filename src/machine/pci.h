/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI Express as a driver sees it (PCI 3.0, PCIe base 4.0 chapter 7): functions on bus 0, or behind a bridge of it, with
 * configuration space by ECAM and by ports 0xcf8/0xcfc, BARs that move (handlers, or memory), an option ROM, MSI-X, INTx. A
 * device embeds struct pci_device; config space is bytes, so its owner fills it in and only what is writable in `wmask` changes.
 *
 * Threads: config accesses run in vCPU threads under pci_device.lock, BAR accesses under no lock of ours (the device has its
 * own); pci_msix_notify() from any thread.
 */
#pragma once
#include "device.h"

#define PCI_CONFIG_SIZE	  4096 /* by ECAM */
#define PCI_CONFIG_KEPT	  256  /* no function has extended capabilities: what is behind reads as zeroes */
#define PCI_BUS_FUNCTIONS 256u /* by slot * 8 + function */
#define PCI_BARS	6
#define PCI_ROM_BAR	PCI_BARS /* the option ROM's place in bar[] */
#define PCI_MSIX_MAX	130

struct pci_bar {
	uint64_t size; /* 0: not there; power of two */
	bool io, wide; /* wide: 64-bit memory, takes two BARs */
	const struct bus_ops *ops; /* NULL: region */
	void *opaque;
	struct mem_region *region;
	uint64_t mapped; /* where it is on the bus now */
	bool is_mapped;
};

struct pci_msix_vector {
	uint64_t address;
	uint32_t data, control; /* bit 0 of control: masked */
	bool pending;
};

struct pci_device {
	struct device dev; /* first */
	GMutex lock;
	struct pci_bus *bus;	   /* where it is: NULL before pci_add(): bus 0 */
	struct pci_bus *secondary; /* of a bridge: what is behind it; NULL: it is none */
	uint8_t slot, function;	   /* slot 0xff before pci_add(): any that is free */
	uint8_t config[PCI_CONFIG_KEPT], wmask[PCI_CONFIG_KEPT], initial[PCI_CONFIG_KEPT];
	uint16_t caps_end;
	struct pci_bar bar[PCI_BARS + 1];
	uint16_t msix_count, msix_cap; /* vectors; offset of the capability */
	uint32_t msix_vectors;	       /* the same as msix_count, for the saved state */
	GMutex msix_lock;	       /* the table; taken after lock */
	uint64_t msix_sent;
	struct pci_msix_vector *msix;
	uint16_t msi_cap; /* offset of the capability; 0: none */
	uint64_t msi_sent;
	bool intx_level;    /* the function's wish */
	bool intx_asserted; /* what it adds to its line now: not while INTx is disabled */
	/* After a config write that the common code has done; may be NULL. */
	void (*config_written)(struct pci_device *p, unsigned offset, unsigned len);
	/* A config access before common code; true = done. For VIRTIO_PCI_CAP_PCI_CFG. May be NULL. */
	bool (*config_access)(struct pci_device *p, unsigned offset, unsigned len, uint32_t *value, bool write);
};

struct pci_ids {
	uint16_t vendor, device, subvendor, subdevice;
	uint32_t class_revision; /* class, subclass, interface, revision as in config dword 8 */
};

/* In a device's create(): ids, header, then BARs and capabilities, then pci_add(). */
void pci_init(struct pci_device *p, const struct pci_ids *ids);
void pci_set_bar(struct pci_device *p, unsigned n, uint64_t size, bool io, bool wide, const struct bus_ops *ops, void *opaque);
/* The same with memory that the guest has without an exit; the device owns it and frees it after pci_remove(). */
void pci_set_memory_bar(struct pci_device *p, unsigned n, struct mem_region *region, bool wide);
/* An option ROM; its size in the guest is the next power of two. */
bool pci_set_rom(struct pci_device *p, const void *data, size_t len, GError **error);
/* Appends a capability of len bytes (with its 2-byte header); returns its offset, body zeroed and read-only. */
unsigned pci_add_capability(struct pci_device *p, uint8_t id, unsigned len);
/* MSI-X with table and PBA in BAR n at the given offset (the BAR's ops must pass [offset, offset + pci_msix_bytes) on). */
bool pci_add_msix(struct pci_device *p, unsigned bar, uint32_t offset, uint16_t vectors, GError **error);
uint32_t pci_msix_bytes(uint16_t vectors);
uint64_t pci_msix_read(struct pci_device *p, uint64_t offset, unsigned size);
void pci_msix_write(struct pci_device *p, uint64_t offset, unsigned size, uint64_t data);
/* Places it on the bus (next free slot when p->slot is 0xff) and starts answering. */
bool pci_add(struct pci_device *p, GError **error);
void pci_remove(struct pci_device *p);
void pci_reset(struct pci_device *p); /* config to its initial values, BARs unmapped, vectors masked */

bool pci_msix_enabled(const struct pci_device *p);
void pci_msix_notify(struct pci_device *p, uint16_t vector); /* respects masks, keeps PBA */
void pci_set_intx(struct pci_device *p, bool level);
/* MSI (msi.c): one message; what is sent while it is off vanishes. Any thread. */
void pci_add_msi(struct pci_device *p);
bool pci_msi_enabled(const struct pci_device *p);
void pci_msi_notify(struct pci_device *p);

/* msix.c for pci.c */
void pci_msix_config_written(struct pci_device *p, unsigned offset, unsigned len);
void pci_msix_reset(struct pci_device *p);
void pci_msix_free(struct pci_device *p);
extern const struct state_field pci_msix_state_fields[];

void pci_loaded(struct pci_device *p);		    /* after the fields were loaded: maps BARs */
extern const struct state_field pci_state_fields[]; /* for STATE_STRUCT of the embedded pci_device */

/* The line, 0 to 3, of a function's pin, 1 to 4. ACPI's _PRT says the same. */
unsigned pci_intx_line(const struct machine_core *core, unsigned slot, unsigned pin);

/* Where BARs are placed as functions are added; size 0: by firmware, and they start nowhere. */
struct pci_windows {
	uint64_t mmio_base, mmio_size, mmio64_base, mmio64_size;
	uint16_t io_base, io_size;
};
/* Where the device that is made next shall be, which pci_init() takes from the machine's core; slot 0xff: any. */
struct pci_place {
	struct pci_bus *bus;
	uint8_t slot, function;
};
/* The bus behind a bridge, before the bridge is added; it goes after the bridge and all that is on it. */
struct pci_bus *pci_bus_new_secondary(struct pci_device *bridge);
struct pci_device *pci_bus_function(const struct pci_bus *bus, unsigned devfn); /* NULL: there is none; main thread */
struct pci_device *pci_bus_first(const struct pci_bus *bus); /* NULL: it is empty */
struct pci_device *pci_bus_bridge(const struct pci_bus *bus); /* NULL: bus 0 */
/* No ECAM before pci_bus_set_ecam(). */
struct pci_bus *pci_bus_new(struct machine_core *core, const struct pci_windows *windows, GError **error);
/* Configuration space as memory, of `buses` buses from 0 on; 0: none. Any thread. */
bool pci_bus_set_ecam(struct pci_bus *bus, uint64_t base, unsigned buses, GError **error);
unsigned pci_bus_ecam(struct pci_bus *bus, uint64_t *ret_base); /* how many buses it has; any thread */
/* From the first to the last byte of the BARs that have addresses of 4 GiB and above: false when there is none. Any thread. */
bool pci_bus_high_bars(struct pci_bus *bus, uint64_t *ret_first, uint64_t *ret_last);
void pci_bus_free(struct pci_bus *bus);
