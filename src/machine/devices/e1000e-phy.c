/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The 82574's PHY behind MDIC and its NVM behind EERD (datasheet, 10.2.2.7, 10.2.2.4, chapter 6; registers 0 to 15: IEEE 802.3
 * clause 22, table 22-6). The PHY agrees with a partner that can everything, at once. Its pages but 0 hold nothing that a
 * driver depends on: they read as zeroes. Called by e1000e-registers.c under the card's lock.
 */
#include <string.h>

#include <linux/mii.h>

#include "bytes.h"
#include "e1000e.h"

enum {
	PHY_ADDRESS = 1,
	PHY_ID1 = 0x0141, PHY_ID2 = 0x0cb1, /* of the 82574's, revision 1 */
	PHY_SPECIFIC_STATUS = 17, PHY_INTERRUPT_STATUS = 19, PHY_PAGE = 22,
	SPECIFIC_LINK = 1 << 10, SPECIFIC_RESOLVED = 1 << 11, SPECIFIC_DUPLEX = 1 << 13, SPECIFIC_1000 = 2 << 14,
	MDIC_WRITE = 1 << 26, MDIC_READ = 2 << 26, MDIC_READY = 1 << 28, MDIC_INTERRUPT = 1 << 29, MDIC_ERROR = 1 << 30,
	EERD_START = 1, EERD_DONE = 2,
	NVM_COMPATIBILITY = 3, NVM_PBA = 8, NVM_CONTROL1 = 10, NVM_SUBSYSTEM = 11, NVM_SUBVENDOR = 12, NVM_DEVICE = 13,
	NVM_VENDOR = 14, NVM_CONTROL2 = 15, NVM_ALTERNATE_MAC = 55, NVM_CHECKSUM = 63, NVM_SUM = 0xbaba,
};

static void set_link_bits(struct e1000e *e)
{
	uint16_t *p = e->phy;

	p[MII_BMSR] &= (uint16_t)~(BMSR_LSTATUS | BMSR_ANEGCOMPLETE);
	p[MII_LPA] = p[MII_STAT1000] = p[MII_EXPANSION] = p[PHY_SPECIFIC_STATUS] = 0;
	if (!e->link)
		return;
	p[MII_BMSR] |= BMSR_LSTATUS | BMSR_ANEGCOMPLETE;
	p[MII_LPA] = LPA_LPACK | LPA_PAUSE_CAP | LPA_100FULL | LPA_100HALF | LPA_10FULL | LPA_10HALF | ADVERTISE_CSMA;
	p[MII_EXPANSION] = EXPANSION_NWAY | EXPANSION_LCWP | EXPANSION_NPCAPABLE;
	p[MII_STAT1000] = LPA_1000FULL | LPA_1000HALF | LPA_1000LOCALRXOK | LPA_1000REMRXOK;
	p[PHY_SPECIFIC_STATUS] = (uint16_t)(SPECIFIC_LINK | SPECIFIC_RESOLVED | SPECIFIC_DUPLEX | SPECIFIC_1000);
}

void e1000e_phy_reset(struct e1000e *e)
{
	memset(e->phy, 0, sizeof(e->phy));
	e->phy_page = 0;
	e->phy[MII_BMCR] = BMCR_ANENABLE | BMCR_FULLDPLX | BMCR_SPEED1000;
	e->phy[MII_BMSR] = BMSR_100FULL | BMSR_100HALF | BMSR_10FULL | BMSR_10HALF | BMSR_ESTATEN | BMSR_ANEGCAPABLE |
			   BMSR_ERCAP | 0x40 /* preamble suppression */;
	e->phy[MII_PHYSID1] = PHY_ID1;
	e->phy[MII_PHYSID2] = PHY_ID2;
	e->phy[MII_ADVERTISE] = ADVERTISE_ALL | ADVERTISE_CSMA | ADVERTISE_PAUSE_CAP | ADVERTISE_PAUSE_ASYM;
	e->phy[MII_CTRL1000] = ADVERTISE_1000FULL | ADVERTISE_1000HALF;
	e->phy[MII_ESTATUS] = ESTATUS_1000_TFULL | ESTATUS_1000_THALF;
	set_link_bits(e);
}

/* Once more, too: a driver that starts a negotiation waits for its end. */
void e1000e_link(struct e1000e *e, bool up)
{
	e->link = up;
	set_link_bits(e);
	e1000e_cause(e, CAUSE_LSC);
}

bool e1000e_loops(struct e1000e *e)
{
	return (e->phy[MII_BMCR] & BMCR_LOOPBACK) || (*e1000e_reg(e, RCTL) & RCTL_LBM) == 1 << 6;
}

static uint16_t phy_read(struct e1000e *e, unsigned reg)
{
	if (reg == PHY_PAGE)
		return e->phy_page;
	return e->phy_page ? 0 : e->phy[reg];
}

static void write_control(struct e1000e *e, uint16_t v)
{
	if (v & BMCR_RESET) {
		e1000e_phy_reset(e);
		e1000e_link(e, e->link);
		return;
	}
	e->phy[MII_BMCR] = v & (uint16_t)~BMCR_ANRESTART;
	if ((v & BMCR_ANRESTART) && (v & BMCR_ANENABLE))
		e1000e_link(e, e->link);
}

static void phy_write(struct e1000e *e, unsigned reg, uint16_t v)
{
	if (reg == PHY_PAGE)
		e->phy_page = v;
	else if (e->phy_page)
		;
	else if (reg == MII_BMCR)
		write_control(e, v);
	else if (reg == MII_ADVERTISE || reg == MII_CTRL1000 || (reg > MII_ESTATUS && reg != PHY_SPECIFIC_STATUS &&
								 reg != PHY_INTERRUPT_STATUS))
		e->phy[reg] = v;
}

void e1000e_write_mdic(struct e1000e *e, uint32_t v)
{
	unsigned reg = v >> 16 & 31, address = v >> 21 & 31;
	uint32_t done = v & (uint32_t)~MDIC_ERROR;

	if (address != PHY_ADDRESS || !(v & (MDIC_READ | MDIC_WRITE)))
		done |= MDIC_ERROR;
	else if (v & MDIC_READ)
		done = (done & ~0xffffu) | phy_read(e, reg);
	else
		phy_write(e, reg, (uint16_t)v);
	*e1000e_reg(e, MDIC) = done | MDIC_READY;
	if (v & MDIC_INTERRUPT)
		e1000e_cause(e, CAUSE_MDAC);
}

void e1000e_write_eerd(struct e1000e *e, uint32_t v)
{
	unsigned word = v >> 2 & 0x3fff;

	*e1000e_reg(e, EERD) = v & 0xfffc;
	if (v & EERD_START)
		*e1000e_reg(e, EERD) |= EERD_DONE | (uint32_t)(word < E1000E_NVM ? e->nvm[word] : 0xffff) << 16;
}

/* What a driver looks for: the address, ids, no alternate address, and that all words add up (6.1.2.9). */
void e1000e_nvm_init(struct e1000e *e, const uint8_t *mac)
{
	uint16_t sum = 0;

	memset(e->nvm, 0xff, sizeof(e->nvm));
	for (unsigned i = 0; i < ETH_ALEN / 2; i++)
		e->nvm[i] = get_le16(mac + 2 * i);
	e->nvm[NVM_COMPATIBILITY] = 0x0420;
	e->nvm[NVM_PBA] = 0xe574; /* a part number that nobody has printed on a board */
	e->nvm[NVM_PBA + 1] = 0x0001;
	e->nvm[NVM_CONTROL1] = 0x026b;
	e->nvm[NVM_SUBSYSTEM] = 0;
	e->nvm[NVM_SUBVENDOR] = 0x8086;
	e->nvm[NVM_DEVICE] = 0x10d3;
	e->nvm[NVM_VENDOR] = 0x8086;
	e->nvm[NVM_CONTROL2] = 0x8058;
	e->nvm[NVM_ALTERNATE_MAC] = 0xffff;
	for (unsigned i = 0; i < NVM_CHECKSUM; i++)
		sum += e->nvm[i];
	e->nvm[NVM_CHECKSUM] = (uint16_t)(NVM_SUM - sum);
}
