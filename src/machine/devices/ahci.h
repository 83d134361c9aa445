/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inside of the AHCI controller (AHCI 1.3.1): ahci.c the PCI function, its global registers and interrupts; ahci-port.c a
 * port's registers and resets; ahci-cmd.c commands, from the list in memory to the FIS of their answer.
 *
 * Threads: registers are accessed in vCPU threads, under the lock; commands start and end in the main context, under it, too.
 */
#pragma once
#include "ata.h"
#include "pci.h"
#include "work.h"

enum {
	AHCI_PORTS = 6,
	AHCI_SLOTS = 32,
};

/* Interrupt bits of a port (3.3.5). */
enum {
	AHCI_DHRS = 1 << 0,
	AHCI_PSS = 1 << 1,
	AHCI_SDBS = 1 << 3,
	AHCI_PCS = 1 << 6,
	AHCI_PRCS = 1 << 22,
	AHCI_OFS = 1 << 24,
	AHCI_IFS = 1 << 27,
	AHCI_HBFS = 1 << 29,
	AHCI_TFES = 1 << 30,
	AHCI_INTERRUPTS = 0x7dc000ff,
};

struct ahci;

struct ahci_port {
	struct ahci *a;
	unsigned number;
	struct sata_disk *disk; /* at most one of these */
	struct scsi_lun *cd;
	/* Saved. */
	uint64_t clb, fb;
	uint32_t is, ie, cmd, tfd, sig, sctl, serr, sact, ci;
	bool signature; /* the first FIS waits for FRE */
	bool soft_reset; /* SRST is set */
	bool stopped;	/* after an error: nothing starts before ST is 0 */
	bool resetting; /* as soon as nothing is under way */
	struct atapi atapi;
	/* Under way. */
	struct ata_cmd *at[AHCI_SLOTS];
	unsigned n_busy, n_dead, n_kept; /* kept ones are among the busy ones, dead ones are not in at[] */
	uint32_t ended;			 /* queued ones that are over, not told yet: a FIS tells all that end together */
	unsigned n_ended;		 /* their number; with dead ones, whose bits are not there */
};

struct ahci {
	struct pci_device pci; /* first */
	GMutex lock;
	struct work work;
	/* Saved. */
	uint32_t ghc, is;
	bool resetting; /* GHC.HR: as soon as nothing is under way */
	uint32_t index; /* of the index and data pair */
	struct ahci_port port[AHCI_PORTS];
};

bool ahci_has_device(const struct ahci_port *p);
/* All below: the lock is held. */
void ahci_interrupt(struct ahci *a); /* interrupt bits have changed */
void ahci_raise(struct ahci_port *p, uint32_t bits);

uint32_t ahci_port_read(struct ahci_port *p, unsigned offset);
void ahci_port_write(struct ahci_port *p, unsigned offset, uint32_t value);
void ahci_port_power_on(struct ahci_port *p);
/* Resets that are asked for, when they can be; main context. */
void ahci_port_settle(struct ahci_port *p);

/* Starts what can be; main context. Without the lock. */
void ahci_port_issue(struct ahci_port *p);
/* ST is 0: nobody waits for the commands under way. */
void ahci_port_abandon(struct ahci_port *p);
void ahci_post_signature(struct ahci_port *p);
/* Kept ones are forgotten; main thread. Takes the lock. */
void ahci_port_drop_kept(struct ahci_port *p);
/* Queued commands that are over are told. Takes the lock. */
void ahci_port_tell(void *opaque);
