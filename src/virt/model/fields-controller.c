/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Controllers. Those of kv-vmm: PCI Express ports, one AHCI, an xHCI, virtio SCSI, virtio ports. */
#include "domain-fields.h"

const struct field controller_fields[] = {
	{ "@type", FIELD_WORD, "pci usb sata scsi virtio-serial !ide !fdc !ccid !xenbus !isa", FIELD_MUST },
	{ "@index", FIELD_COUNT, "0 255" },
	{ "@model", FIELD_TEXT },
	{ "@ports", FIELD_COUNT },
	{ "@vectors", FIELD_COUNT, NULL, FIELD_HINT },
	{ "@maxGrantFrames", FIELD_COUNT, NULL, FIELD_NO },
	{ "@maxEventChannels", FIELD_COUNT, NULL, FIELD_NO },
	{ "model/@name", FIELD_WORD, "pcie-root-port pcie-pci-bridge !pci-bridge !ioh3420 !i82801b11-bridge "
	  "!x3130-upstream !xio3130-downstream !pxb !pxb-pcie !spapr-pci-host-bridge" },
	{ "target/@chassisNr", FIELD_COUNT, NULL, FIELD_NO },
	{ "target/@chassis", FIELD_COUNT, "0 255" },
	{ "target/@port", FIELD_HEX, "1" },
	{ "target/@busNr", FIELD_COUNT, NULL, FIELD_NO },
	{ "target/@index", FIELD_COUNT, NULL, FIELD_NO },
	{ "target/@hotplug", FIELD_WORD, "on !off" },
	{ "target/node", FIELD_COUNT, NULL, FIELD_NO },
	{ "driver/@queues", FIELD_COUNT, NULL, FIELD_HINT },
	{ "driver/@cmd_per_lun", FIELD_COUNT, NULL, FIELD_HINT },
	{ "driver/@max_sectors", FIELD_COUNT, NULL, FIELD_HINT },
	{ "driver/@ioeventfd", FIELD_WORD, "on off", FIELD_HINT },
	{ "driver/@iothread", FIELD_COUNT, NULL, FIELD_NO },
	{ "driver/@iommu", FIELD_WORD, "off !on" },
	{ "driver/@ats", FIELD_WORD, "off !on" },
	{ "driver/@packed", FIELD_WORD, "off !on" },
	{ "driver/@page_per_vq", FIELD_WORD, "off !on" },
	{ "alias", FIELD_NODE, NULL, 0, field_alias },
	{ "master/@startport", FIELD_COUNT, NULL, FIELD_NO },
	{ "address", FIELD_NODE, NULL, 0, field_address },
	{ "pcihole64", FIELD_KIB, NULL, FIELD_NO },
	{ "pcihole64/@unit", FIELD_TEXT, NULL, FIELD_NO },
	{ NULL },
};
