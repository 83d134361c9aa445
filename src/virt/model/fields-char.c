/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Character devices: serial ports, consoles, channels to programs in the guest. kv-vmm has no parallel ports. */
#include "domain-fields.h"

const struct field serial_fields[] = {
	{ "@type", FIELD_WORD, "pty unix file null !tcp !udp !dev !pipe !stdio !vc !spicevmc !spiceport !nmdm "
	  "!qemu-vdagent !dbus" },
	{ "@tty", FIELD_PATH, NULL, FIELD_LIVE },
	{ "source", FIELD_NODE, NULL, FIELD_MANY, field_char_source },
	{ "protocol/@type", FIELD_WORD, "raw !telnet !telnets !tls" },
	{ "log", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "target/@type", FIELD_WORD, "isa-serial !usb-serial !pci-serial !spapr-vio-serial !system-serial "
	  "!sclp-serial !isa-debug" },
	{ "target/@port", FIELD_COUNT, "0 3" },
	{ "target/model/@name", FIELD_WORD, "isa-serial !usb-serial !pci-serial !spapr-vty !pl011 !sclpconsole "
	  "!sclplmconsole !16550a !isa-debugcon" },
	{ "alias", FIELD_NODE, NULL, 0, field_alias },
	{ "address", FIELD_NODE, NULL, 0, field_address },
	{ NULL },
};

const struct field console_fields[] = {
	{ "@type", FIELD_WORD, "pty unix file null !tcp !udp !dev !pipe !stdio !vc !spicevmc !spiceport !nmdm "
	  "!qemu-vdagent !dbus" },
	{ "@tty", FIELD_PATH, NULL, FIELD_LIVE },
	{ "source", FIELD_NODE, NULL, FIELD_MANY, field_char_source },
	{ "protocol/@type", FIELD_WORD, "raw !telnet !telnets !tls" },
	{ "log", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "target/@type", FIELD_WORD, "serial virtio !xen !uml !lxc !openvz !sclp !sclplm" },
	{ "target/@port", FIELD_COUNT, "0 255" },
	{ "alias", FIELD_NODE, NULL, 0, field_alias },
	{ "address", FIELD_NODE, NULL, 0, field_address },
	{ NULL },
};

const struct field channel_fields[] = {
	{ "@type", FIELD_WORD, "pty unix file null !tcp !udp !dev !pipe !stdio !vc !spicevmc !spiceport !nmdm "
	  "!qemu-vdagent !dbus" },
	{ "@tty", FIELD_PATH, NULL, FIELD_LIVE },
	{ "source", FIELD_NODE, NULL, FIELD_MANY, field_char_source },
	{ "protocol/@type", FIELD_WORD, "raw !telnet !telnets !tls" },
	{ "log", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "target/@type", FIELD_WORD, "virtio !guestfwd !xen" },
	{ "target/@name", FIELD_TEXT },
	{ "target/@state", FIELD_WORD, "connected disconnected", FIELD_LIVE },
	{ "target/@address", FIELD_TEXT, NULL, FIELD_NO },
	{ "target/@port", FIELD_TEXT, NULL, FIELD_NO },
	{ "alias", FIELD_NODE, NULL, 0, field_alias },
	{ "address", FIELD_NODE, NULL, 0, field_address },
	{ NULL },
};
