/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The smaller devices: keyboards and pointers, randomness, watchdog, balloon, panic, vsock. */
#include "domain-fields.h"

const struct field input_fields[] = {
	{ "@type", FIELD_WORD, "mouse keyboard tablet !passthrough !evdev", FIELD_MUST },
	{ "@bus", FIELD_WORD, "usb ps2 virtio !xen !parallels !none" },
	{ "@model", FIELD_WORD, "virtio !virtio-transitional !virtio-non-transitional" },
	{ "driver", FIELD_NODE, NULL, 0, field_virtio },
	{ "source", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "alias", FIELD_NODE, NULL, 0, field_alias },
	{ "address", FIELD_NODE, NULL, 0, field_address },
	{ NULL },
};

const struct field watchdog_fields[] = {
	{ "@model", FIELD_WORD, "i6300esb !ib700 !diag288 !itco", FIELD_MUST },
	{ "@action", FIELD_WORD, "reset shutdown poweroff pause none inject-nmi !dump" },
	{ "alias", FIELD_NODE, NULL, 0, field_alias },
	{ "address", FIELD_NODE, NULL, 0, field_address },
	{ NULL },
};

const struct field memballoon_fields[] = {
	{ "@model", FIELD_WORD, "virtio none !xen !virtio-transitional !virtio-non-transitional", FIELD_MUST },
	{ "@autodeflate", FIELD_WORD, "off !on" },
	{ "@freePageReporting", FIELD_WORD, "off !on" },
	{ "stats/@period", FIELD_COUNT },
	{ "driver", FIELD_NODE, NULL, 0, field_virtio },
	{ "alias", FIELD_NODE, NULL, 0, field_alias },
	{ "address", FIELD_NODE, NULL, 0, field_address },
	{ NULL },
};

const struct field rng_fields[] = {
	{ "@model", FIELD_WORD, "virtio !virtio-transitional !virtio-non-transitional", FIELD_MUST },
	{ "rate", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "backend", FIELD_TEXT, NULL, FIELD_MUST },
	{ "backend/@model", FIELD_WORD, "random builtin !egd", FIELD_MUST },
	{ "backend/@type", FIELD_TEXT, NULL, FIELD_NO },
	{ "driver", FIELD_NODE, NULL, 0, field_virtio },
	{ "alias", FIELD_NODE, NULL, 0, field_alias },
	{ "address", FIELD_NODE, NULL, 0, field_address },
	{ NULL },
};

const struct field panic_fields[] = {
	{ "@model", FIELD_WORD, "isa pvpanic !pseries !hyperv !s390" },
	{ "alias", FIELD_NODE, NULL, 0, field_alias },
	{ "address", FIELD_NODE, NULL, 0, field_address },
	{ NULL },
};

const struct field vsock_fields[] = {
	{ "@model", FIELD_WORD, "virtio !virtio-transitional !virtio-non-transitional" },
	{ "cid/@auto", FIELD_WORD, "yes no" },
	{ "cid/@address", FIELD_COUNT, "3 4294967294" },
	{ "driver", FIELD_NODE, NULL, 0, field_virtio },
	{ "alias", FIELD_NODE, NULL, 0, field_alias },
	{ "address", FIELD_NODE, NULL, 0, field_address },
	{ NULL },
};
