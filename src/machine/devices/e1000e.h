/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Intel 82574L, as its parts share it (Intel 82574 GbE Controller Family Datasheet, revision 3.4; sections are of it):
 * e1000e.c the device, e1000e-registers.c registers, e1000e-rings.c descriptors, e1000e-tx.c and e1000e-rx.c frames,
 * e1000e-filter.c which of them and to which queue, e1000e-irq.c causes and moderation, e1000e-phy.c PHY and NVM.
 *
 * Threads: all state is under e1000e.lock, taken by vCPU threads in register accesses and by the main context, where frames go
 * out and come in. The network back end is called without the lock: it may hand us a frame before it returns.
 */
#pragma once
#include <linux/if_ether.h>

#include "net.h"
#include "pci.h"
#include "rx-filter.h"

#define E1000E_WORDS	 (0x6000 / 4) /* registers below; those above have fields of their own, or none */
#define E1000E_VECTORS	 5
#define E1000E_QUEUES	 2
#define E1000E_NVM	 64    /* words */
#define E1000E_PHY	 32    /* registers of page 0 */
#define E1000E_FRAME_MAX 16384 /* bytes received, CRC and all (10.2.5.1, LPE) */

/* Registers, by name as in chapter 10. */
enum {
	CTRL = 0x0, STATUS = 0x8, EECD = 0x10, EERD = 0x14, CTRL_EXT = 0x18, FLA = 0x1c, MDIC = 0x20, FCAL = 0x28, FCAH = 0x2c,
	FCT = 0x30, VET = 0x38, ICR = 0xc0, ITR = 0xc4, ICS = 0xc8, IMS = 0xd0, IMC = 0xd8, EIAC = 0xdc, IAM = 0xe0, IVAR = 0xe4,
	EITR = 0xe8, RCTL = 0x100, FCTTV = 0x170, TCTL = 0x400, TIPG = 0x410, AIT = 0x458, LEDCTL = 0xe00, EXTCNF_CTRL = 0xf00,
	EXTCNF_SIZE = 0xf08, PBA = 0x1000, PBS = 0x1008, EEMNGCTL = 0x1010, FCRTL = 0x2160, FCRTH = 0x2168,
	PSRCTL = 0x2170, RDBAL = 0x2800, RDBAH = 0x2804, RDLEN = 0x2808, RDH = 0x2810, RDT = 0x2818, RDTR = 0x2820,
	RXDCTL = 0x2828, RADV = 0x282c, RSRPD = 0x2c00, RAID = 0x2c08, CPUVEC = 0x2c10, TDBAL = 0x3800, TDBAH = 0x3804,
	TDLEN = 0x3808, TDH = 0x3810, TDT = 0x3818, TIDV = 0x3820, TXDCTL = 0x3828, TADV = 0x382c, TARC = 0x3840,
	STATS = 0x4000, MPC = 0x4010, PRC64 = 0x405c, GPRC = 0x4074, BPRC = 0x4078, MPRC = 0x407c, GPTC = 0x4080, GORCL = 0x4088,
	GOTCL = 0x4090, RNBC = 0x40a0, RUC = 0x40a4, ROC = 0x40ac, TORL = 0x40c0, TOTL = 0x40c8, TPR = 0x40d0, TPT = 0x40d4,
	PTC64 = 0x40d8, MPTC = 0x40f0, BPTC = 0x40f4, TSCTC = 0x40f8, STATS_END = 0x4128, RXCSUM = 0x5000, RFCTL = 0x5008,
	MTA = 0x5200, RAL = 0x5400, VFTA = 0x5600, WUC = 0x5800, WUFC = 0x5808, WUS = 0x5810, MRQC = 0x5818, MANC = 0x5820,
	IPAV = 0x5838, IP4AT = 0x5840, IP6AT = 0x5880, MANC2H = 0x5860, WUPL = 0x5900, WUPM = 0x5a00, GCR = 0x5b00,
	FACTPS = 0x5b30, SWSM = 0x5b50, FWSM = 0x5b54, SWSM2 = 0x5b58, RETA = 0x5c00, RSSRK = 0x5c80,
	QUEUE_STRIDE = 0x100,
};

enum { /* 10.2.2.1, 10.2.2.2, 10.2.2.5 */
	CTRL_FD = 1 << 0, CTRL_GIO_MASTER_DISABLE = 1 << 2, CTRL_SLU = 1 << 6, CTRL_SPEED_1000 = 1 << 9, CTRL_RST = 1 << 26,
	CTRL_VME = 1 << 30,
	STATUS_FD = 1 << 0, STATUS_LU = 1 << 1, STATUS_SPEED_1000 = 1 << 7, STATUS_ASDV_1000 = 1 << 9, STATUS_PHYRA = 1 << 10,
	STATUS_GIO_MASTER = 1 << 19,
	CTRL_EXT_EE_RST = 1 << 13, CTRL_EXT_IAME = 1 << 27,
};
#define CTRL_PHY_RST (1u << 31)

enum { /* causes, 10.2.4.1 */
	CAUSE_TXDW = 1 << 0, CAUSE_TXQE = 1 << 1, CAUSE_LSC = 1 << 2, CAUSE_RXDMT0 = 1 << 4, CAUSE_RXO = 1 << 6,
	CAUSE_RXT0 = 1 << 7, CAUSE_MDAC = 1 << 9, CAUSE_SRPD = 1 << 16, CAUSE_ACK = 1 << 17, CAUSE_MNG = 1 << 18,
	CAUSE_RXQ0 = 1 << 20, CAUSE_TXQ0 = 1 << 22, CAUSE_OTHER = 1 << 24,
	CAUSES_OF_OTHER = CAUSE_LSC | CAUSE_RXO | CAUSE_MDAC | CAUSE_SRPD | CAUSE_ACK | CAUSE_MNG,
};
#define CAUSE_ASSERTED (1u << 31)

enum { /* 10.2.5.1, 10.2.5.15, 10.2.5.16, 10.2.6.1 */
	RCTL_EN = 1 << 1, RCTL_UPE = 1 << 3, RCTL_MPE = 1 << 4, RCTL_LPE = 1 << 5, RCTL_LBM = 3 << 6, RCTL_SPLIT = 1 << 10,
	RCTL_BAM = 1 << 15, RCTL_VFE = 1 << 18, RCTL_BSEX = 1 << 25, RCTL_SECRC = 1 << 26,
	RXCSUM_IP = 1 << 8, RXCSUM_L4 = 1 << 9, RXCSUM_PCSD = 1 << 13, RFCTL_EXTENDED = 1 << 15, TCTL_EN = 1 << 1,
};

/* A transmit context (7.2.8): as the last context descriptor of its queue said. */
struct e1000e_context {
	uint8_t ipcss, ipcso, tucss, tucso, header_len;
	uint16_t ipcse, tucse, mss;
	uint32_t payload_len;
	bool tcp, ipv4;
};

struct e1000e_tx {
	struct e1000e_context context;
	/* The packet whose descriptors are being fetched; it outlives a pause. skip: too long, its rest is passed over. */
	bool skip, tse, ip_sum, l4_sum, legacy_sum;
	uint8_t css, cso; /* of a legacy descriptor */
	uint32_t len;
	uint8_t frame[NET_FRAME_MAX];
};

struct e1000e {
	struct pci_device pci; /* first */
	struct netdev *net;
	GMutex lock;
	uint32_t reg[E1000E_WORDS];
	uint32_t io_address;
	uint16_t nvm[E1000E_NVM], phy[E1000E_PHY], phy_page;
	uint32_t timinca;	    /* 10.2.11: the clock's step and how often */
	uint64_t systim, systim_at; /* its value at a time of the host's, ns */
	struct e1000e_tx tx[E1000E_QUEUES];
	bool rx_blocked; /* the back end waits for net_resume(); set and cleared under the lock */
	bool paused;
	bool link; /* what the back end says */

	GSource *worker; /* sends, resumes; ready when a tail moved; main context */
	bool resume;	 /* ... and room came to a receive ring */
	GSource *timer;	 /* on timer_fd: a moderated interrupt is due */
	int timer_fd;
	/* Of each vector, and of INTx last: not again before, ns of the host's clock; one waits for that. */
	int64_t quiet_until[E1000E_VECTORS + 1];
	uint8_t waits[E1000E_VECTORS + 1];
	bool intx_open; /* moderation lets the line be up */

	uint8_t frame[NET_FRAME_MAX], out[NET_FRAME_MAX]; /* main context: a frame that came, one that goes */
	struct rx_watch watch;
	uint64_t received, sent, dropped;
};

static inline uint32_t *e1000e_reg(struct e1000e *e, unsigned offset)
{
	return &e->reg[offset / 4];
}

/* e1000e-irq.c; hold e->lock. */
void e1000e_cause(struct e1000e *e, uint32_t causes); /* sets them, and interrupts if they are wanted */
void e1000e_enable(struct e1000e *e, uint32_t causes);
void e1000e_disable(struct e1000e *e, uint32_t causes);
uint32_t e1000e_read_icr(struct e1000e *e);
void e1000e_write_icr(struct e1000e *e, uint32_t v);
void e1000e_irq_reset(struct e1000e *e);
void e1000e_irq_loaded(struct e1000e *e);
void e1000e_irq_resume(struct e1000e *e);
/* Without the lock. */
bool e1000e_irq_init(struct e1000e *e, GError **error);
void e1000e_irq_destroy(struct e1000e *e);

/* e1000e-phy.c; hold e->lock. */
void e1000e_write_mdic(struct e1000e *e, uint32_t v);
void e1000e_write_eerd(struct e1000e *e, uint32_t v);
void e1000e_phy_reset(struct e1000e *e);
void e1000e_link(struct e1000e *e, bool up);
bool e1000e_loops(struct e1000e *e); /* what is sent comes back, and nothing else */
void e1000e_nvm_init(struct e1000e *e, const uint8_t *mac);

/* e1000e-registers.c; take e->lock. */
extern const struct bus_ops e1000e_mmio_ops, e1000e_io_ops;
void e1000e_registers_reset(struct e1000e *e); /* holds it; of the device, not of the PHY */
void e1000e_clock_save(struct e1000e *e);      /* likewise: systim is what it is now */
void e1000e_clock_loaded(struct e1000e *e);    /* likewise: it goes on from there */
/* Statistics stick at their end; wide ones are two registers. Hold it. */
void e1000e_count(struct e1000e *e, unsigned offset, uint32_t n);
void e1000e_count_wide(struct e1000e *e, unsigned offset, uint32_t n);
/* One of the six counters of frames by size from `offset` on. */
void e1000e_count_size(struct e1000e *e, unsigned offset, size_t len);

/* e1000e.c: the main context has something to do. Any thread. */
void e1000e_kick(struct e1000e *e);

/*
 * e1000e-rings.c: a ring's registers, checked; hold e->lock. Descriptors are 16 bytes, or 32. A head or tail outside of the ring
 * means that the ring is empty.
 */
struct e1000e_ring {
	uint64_t base;
	uint32_t entries, head, tail, size; /* size: bytes of a descriptor */
	uint32_t *head_reg;
};
bool e1000e_ring_open(struct e1000e *e, bool receive, unsigned queue, unsigned size, struct e1000e_ring *ret);
uint32_t e1000e_ring_filled(const struct e1000e_ring *r); /* descriptors that are ours */
/* The one at the head; its bytes are copied once. False: it is not in memory. */
bool e1000e_ring_read(struct e1000e *e, const struct e1000e_ring *r, uint8_t *descriptor);
bool e1000e_ring_write(struct e1000e *e, const struct e1000e_ring *r, unsigned offset, const void *data, unsigned len);
void e1000e_ring_advance(struct e1000e_ring *r);

/* e1000e-tx.c; main context, no lock. True: there is more to do, another time. */
bool e1000e_transmit(struct e1000e *e);
void e1000e_tx_reset(struct e1000e *e); /* holds e->lock */

/* e1000e-rx.c; main context, no lock. */
extern const struct net_client e1000e_client;
bool e1000e_receive(struct e1000e *e, const struct virtio_net_hdr *hdr, const uint8_t *frame, size_t len);

/* e1000e-filter.c; hold e->lock. */
bool e1000e_wanted(struct e1000e *e, const uint8_t *frame, size_t len); /* len: at least ETH_HLEN */
void e1000e_rx_filter(struct device *dev, struct rx_filter *ret); /* main thread, takes it */
/* The queue of a frame by RSS, its hash and the hash's type (7.1.2.8); type 0: there is none. */
unsigned e1000e_rss_queue(struct e1000e *e, const uint8_t *frame, size_t len, uint32_t *ret_hash, uint8_t *ret_type);
