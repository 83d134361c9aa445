/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rows that many devices share: alias, address, boot order, ROM, options of virtio, the other end of a character device. */
#include "domain-fields.h"

const struct field field_alias[] = {
	{ "@name", FIELD_NAME, NULL, FIELD_MUST },
	{ NULL },
};

const struct field field_address[] = {
	{ "@type", FIELD_WORD, "pci drive virtio-serial usb isa ccid spapr-vio spapr-vio virtio-s390 ccw virtio-mmio "
	  "dimm unassigned mdev", FIELD_MUST },
	{ "@domain", FIELD_HEX, "4" },
	{ "@controller", FIELD_COUNT },
	{ "@bus", FIELD_BUS },
	{ "@slot", FIELD_HEX, "2" },
	{ "@function", FIELD_HEX, "1" },
	{ "@multifunction", FIELD_WORD, "on off" },
	{ "@target", FIELD_COUNT },
	{ "@unit", FIELD_COUNT },
	{ "@port", FIELD_TEXT },
	{ "@iobase", FIELD_HEX, "1" },
	{ "@irq", FIELD_HEX, "1" },
	{ "@base", FIELD_HEX, "16" },
	{ "zpci", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ NULL },
};

const struct field field_boot[] = {
	{ "@order", FIELD_COUNT, "1 65535", FIELD_MUST },
	{ "@loadparm", FIELD_TEXT, NULL, FIELD_NO },
	{ NULL },
};

const struct field field_rom[] = {
	{ "@enabled", FIELD_WORD, "yes !no" },
	{ "@bar", FIELD_WORD, "on off" },
	{ "@file", FIELD_PATH },
	{ NULL },
};

const struct field field_char_source[] = {
	{ "@mode", FIELD_WORD, "bind !connect" },
	{ "@path", FIELD_PATH },
	{ "@append", FIELD_WORD, "!on off" },
	{ "@host", FIELD_TEXT, NULL, FIELD_NO },
	{ "@service", FIELD_TEXT, NULL, FIELD_NO },
	{ "@tls", FIELD_TEXT, NULL, FIELD_NO },
	{ "@tlsFromConfig", FIELD_TEXT, NULL, FIELD_NO },
	{ "@channel", FIELD_TEXT, NULL, FIELD_NO },
	{ "@socket", FIELD_TEXT, NULL, FIELD_NO },
	{ "@master", FIELD_TEXT, NULL, FIELD_NO },
	{ "@slave", FIELD_TEXT, NULL, FIELD_NO },
	{ "seclabel", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "reconnect", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ NULL },
};

/* Of a virtio device that has no options but these. */
const struct field field_virtio[] = {
	{ "@iommu", FIELD_WORD, "off !on" },
	{ "@ats", FIELD_WORD, "off !on" },
	{ "@packed", FIELD_WORD, "off !on" },
	{ "@page_per_vq", FIELD_WORD, "off !on" },
	{ NULL },
};
