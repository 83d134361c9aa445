/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a host has: its network interfaces and its devices. They are told, not made: but for a test driver nobody defines one. */
#include "object-fields.h"

static const struct field address_fields[] = {
	{ "@address", FIELD_NAME, NULL, FIELD_MUST },
	{ "@prefix", FIELD_COUNT, "0 128" },
	{ NULL },
};

static const struct field route_fields[] = {
	{ "@gateway", FIELD_NAME, NULL, FIELD_MUST },
	{ NULL },
};

static const struct field protocol_fields[] = {
	{ "@family", FIELD_WORD, "ipv4 ipv6" },
	{ "dhcp/@peerdns", FIELD_WORD, "yes no" },
	{ "autoconf", FIELD_NODE },
	{ "ip", FIELD_NODE, NULL, FIELD_MANY, address_fields },
	{ "route", FIELD_NODE, NULL, FIELD_MANY, route_fields },
	{ NULL },
};

/* A port of a bridge or bond. */
static const struct field port_fields[] = {
	{ "@type", FIELD_WORD, "ethernet bridge bond vlan" },
	{ "@name", FIELD_NAME },
	{ "link/@speed", FIELD_COUNT },
	{ "link/@state", FIELD_WORD, "unknown notpresent down lowerlayerdown testing dormant up" },
	{ "mac/@address", FIELD_NAME },
	{ NULL },
};

const struct field host_interface_fields[] = {
	{ "@type", FIELD_WORD, "ethernet bridge bond vlan", FIELD_MUST },
	{ "@name", FIELD_NAME },
	{ "start/@mode", FIELD_WORD, "onboot hotplug none" },
	{ "mtu/@size", FIELD_COUNT },
	{ "link/@speed", FIELD_COUNT },
	{ "link/@state", FIELD_WORD, "unknown notpresent down lowerlayerdown testing dormant up" },
	{ "protocol", FIELD_NODE, NULL, FIELD_MANY, protocol_fields },
	{ "mac/@address", FIELD_NAME },
	{ "bridge/@stp", FIELD_WORD, "on off" },
	{ "bridge/@delay", FIELD_TEXT },
	{ "bridge/interface", FIELD_NODE, NULL, FIELD_MANY, port_fields },
	{ "vlan/@tag", FIELD_COUNT, "0 4095" },
	{ "vlan/interface/@name", FIELD_NAME },
	{ "bond/@mode", FIELD_WORD, "balance-rr active-backup balance-xor broadcast 802.3ad balance-tlb balance-alb" },
	{ "bond/miimon/@freq", FIELD_COUNT },
	{ "bond/miimon/@downdelay", FIELD_COUNT },
	{ "bond/miimon/@updelay", FIELD_COUNT },
	{ "bond/miimon/@carrier", FIELD_WORD, "ioctl netif" },
	{ "bond/interface", FIELD_NODE, NULL, FIELD_MANY, port_fields },
	{ NULL },
};

static const struct field devnode_fields[] = {
	{ "@type", FIELD_WORD, "dev link", FIELD_MUST },
	{ NULL },
};

static const struct field feature_fields[] = {
	{ "@name", FIELD_NAME, NULL, FIELD_MUST },
	{ NULL },
};

/* What a device of a kind can besides: a bridge of PCI, virtual functions, a Fibre Channel host. */
static const struct field more_fields[] = {
	{ "@type", FIELD_NAME, NULL, FIELD_MUST },
	{ "@maxCount", FIELD_COUNT },
	{ "address", FIELD_NODE, NULL, FIELD_MANY | FIELD_VERBATIM },
	{ "wwnn", FIELD_TEXT },
	{ "wwpn", FIELD_TEXT },
	{ "fabric_wwn", FIELD_TEXT },
	{ "max_vports", FIELD_COUNT },
	{ "vports", FIELD_COUNT },
	{ "media_available", FIELD_COUNT },
	{ "media_size", FIELD_COUNT },
	{ NULL },
};

/* All kinds in one: each has some of these, in this order. */
static const struct field capability_fields[] = {
	{ "@type", FIELD_WORD, "system pci usb_device usb net scsi_host scsi_target scsi storage", FIELD_MUST },
	{ "number", FIELD_COUNT },
	{ "class", FIELD_TEXT },
	{ "subclass", FIELD_COUNT },
	{ "protocol", FIELD_COUNT },
	{ "domain", FIELD_COUNT },
	{ "host", FIELD_COUNT },
	{ "unique_id", FIELD_INT },
	{ "block", FIELD_TEXT },
	{ "bus", FIELD_TEXT },
	{ "device", FIELD_COUNT },
	{ "slot", FIELD_COUNT },
	{ "function", FIELD_COUNT },
	{ "target", FIELD_TEXT },
	{ "lun", FIELD_COUNT },
	{ "type", FIELD_TEXT },
	{ "drive_type", FIELD_TEXT },
	{ "model", FIELD_TEXT },
	{ "product", FIELD_TEXT },
	{ "product/@id", FIELD_TEXT },
	{ "vendor", FIELD_TEXT },
	{ "vendor/@id", FIELD_TEXT },
	{ "serial", FIELD_TEXT },
	{ "size", FIELD_COUNT },
	{ "logical_block_size", FIELD_COUNT },
	{ "num_blocks", FIELD_COUNT },
	{ "hardware/vendor", FIELD_TEXT },
	{ "hardware/version", FIELD_TEXT },
	{ "hardware/serial", FIELD_TEXT },
	{ "hardware/uuid", FIELD_TEXT },
	{ "firmware", FIELD_NODE },
	{ "firmware/vendor", FIELD_TEXT },
	{ "firmware/version", FIELD_TEXT },
	{ "firmware/release_date", FIELD_TEXT },
	{ "description", FIELD_TEXT },
	{ "interface", FIELD_TEXT },
	{ "address", FIELD_TEXT },
	{ "link/@speed", FIELD_COUNT },
	{ "link/@state", FIELD_TEXT },
	{ "feature", FIELD_NODE, NULL, FIELD_MANY, feature_fields },
	{ "capability", FIELD_NODE, NULL, FIELD_MANY, more_fields },
	{ "iommuGroup/@number", FIELD_COUNT },
	{ "iommuGroup/address", FIELD_NODE, NULL, FIELD_MANY | FIELD_VERBATIM },
	{ "numa/@node", FIELD_COUNT },
	{ NULL },
};

const struct field node_device_fields[] = {
	{ "name", FIELD_NAME },
	{ "path", FIELD_PATH },
	{ "devnode", FIELD_TEXT, NULL, FIELD_MANY, devnode_fields },
	{ "parent", FIELD_NAME },
	{ "driver/name", FIELD_NAME },
	{ "capability", FIELD_NODE, NULL, FIELD_MANY, capability_fields },
	{ NULL },
};
