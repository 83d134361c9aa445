/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Snapshots and checkpoints: a moment of a domain, with the domain's definition as it was. */
#include "domain-fields.h"
#include "object-fields.h"

static const struct field snapshot_disk_fields[] = {
	{ "@name", FIELD_NAME, NULL, FIELD_MUST },
	{ "@snapshot", FIELD_WORD, "no internal external manual" },
	{ "@type", FIELD_WORD, "file block !network !dir !volume" },
	{ "driver/@type", FIELD_WORD, "qcow2 !raw !qed" },
	{ "source/@file", FIELD_PATH },
	{ "source/@dev", FIELD_PATH },
	{ "source/@index", FIELD_COUNT, NULL, FIELD_LIVE },
	{ "source/@startupPolicy", FIELD_TEXT, NULL, FIELD_NO },
	{ "source/@protocol", FIELD_TEXT, NULL, FIELD_NO },
	{ "source/@name", FIELD_TEXT, NULL, FIELD_NO },
	{ "source/host", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "source/seclabel", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "source/encryption", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ NULL },
};

const struct field snapshot_fields[] = {
	{ "name", FIELD_TEXT },
	{ "description", FIELD_TEXT },
	{ "state", FIELD_WORD, "nostate running blocked paused shutdown shutoff crashed pmsuspended disk-snapshot",
	  FIELD_LIVE },
	{ "parent/name", FIELD_NAME, NULL, FIELD_LIVE },
	{ "creationTime", FIELD_COUNT, NULL, FIELD_LIVE },
	{ "memory/@snapshot", FIELD_WORD, "no internal external" },
	{ "memory/@file", FIELD_NAME },
	{ "disks/disk", FIELD_NODE, NULL, FIELD_MANY, snapshot_disk_fields },
	{ "domain", FIELD_NODE, NULL, FIELD_LIVE, domain_fields },
	{ "inactiveDomain", FIELD_NODE, NULL, FIELD_LIVE, domain_fields },
	{ "active", FIELD_COUNT, NULL, FIELD_LIVE },
	{ "revertDisks", FIELD_NODE, NULL, FIELD_LIVE | FIELD_VERBATIM },
	{ "cookie", FIELD_NODE, NULL, FIELD_LIVE | FIELD_VERBATIM },
	{ NULL },
};

static const struct field checkpoint_disk_fields[] = {
	{ "@name", FIELD_NAME, NULL, FIELD_MUST },
	{ "@checkpoint", FIELD_WORD, "no bitmap" },
	{ "@bitmap", FIELD_NAME },
	{ "@size", FIELD_COUNT, NULL, FIELD_LIVE },
	{ NULL },
};

const struct field checkpoint_fields[] = {
	{ "name", FIELD_TEXT },
	{ "description", FIELD_TEXT },
	{ "parent/name", FIELD_NAME, NULL, FIELD_LIVE },
	{ "creationTime", FIELD_COUNT, NULL, FIELD_LIVE },
	{ "disks/disk", FIELD_NODE, NULL, FIELD_MANY, checkpoint_disk_fields },
	{ "domain", FIELD_NODE, NULL, FIELD_LIVE, domain_fields },
	{ NULL },
};
