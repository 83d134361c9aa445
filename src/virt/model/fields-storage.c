/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Storage pools that are directories, and volumes that are files in them. */
#include "object-fields.h"

static const struct field permission_fields[] = {
	{ "mode", FIELD_TEXT },
	{ "owner", FIELD_INT },
	{ "group", FIELD_INT },
	{ "label", FIELD_TEXT },
	{ NULL },
};

const struct field pool_fields[] = {
	{ "@type", FIELD_WORD, "dir fs !netfs !logical !disk !iscsi !iscsi-direct !scsi !mpath !rbd !sheepdog !gluster "
	  "!zfs !vstorage", FIELD_MUST },
	{ "name", FIELD_NAME },
	{ "uuid", FIELD_UUID },
	{ "capacity", FIELD_BYTES, NULL, FIELD_LIVE },
	{ "capacity/@unit", FIELD_TEXT },
	{ "allocation", FIELD_BYTES, NULL, FIELD_LIVE },
	{ "allocation/@unit", FIELD_TEXT },
	{ "available", FIELD_BYTES, NULL, FIELD_LIVE },
	{ "available/@unit", FIELD_TEXT },
	{ "features/cow/@state", FIELD_WORD, "yes no" },
	{ "source/host", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "source/device/@path", FIELD_NAME },
	{ "source/dir", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "source/adapter", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "source/name", FIELD_TEXT },
	{ "source/auth", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "source/initiator", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "source/vendor", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "source/product", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "source/format/@type", FIELD_NAME },
	{ "source/protocol", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "refresh/volume/allocation", FIELD_TEXT },
	{ "target/path", FIELD_PATH },
	{ "target/permissions", FIELD_NODE, NULL, 0, permission_fields },
	{ "target/timestamps", FIELD_NODE, NULL, FIELD_LIVE | FIELD_VERBATIM },
	{ "fs:mount_opts", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ NULL },
};

static const struct field format_fields[] = {
	{ "@type", FIELD_WORD, "raw qcow2 vmdk vpc vdi iso dir unknown !qcow !qed !cow !bochs !cloop !dmg !vhd "
	  "!luks !ploop !fat !vfat", FIELD_MUST },
	{ NULL },
};

const struct field volume_fields[] = {
	{ "@type", FIELD_WORD, "file dir !block !network !netdir !ploop" },
	{ "name", FIELD_NAME },
	{ "key", FIELD_TEXT, NULL, FIELD_LIVE },
	{ "source", FIELD_NODE, NULL, FIELD_LIVE | FIELD_VERBATIM },
	{ "capacity", FIELD_BYTES },
	{ "capacity/@unit", FIELD_TEXT },
	{ "allocation", FIELD_BYTES },
	{ "allocation/@unit", FIELD_TEXT },
	{ "physical", FIELD_BYTES, NULL, FIELD_LIVE },
	{ "physical/@unit", FIELD_TEXT },
	{ "target/path", FIELD_TEXT },
	{ "target/format", FIELD_NODE, NULL, 0, format_fields },
	{ "target/permissions", FIELD_NODE, NULL, 0, permission_fields },
	{ "target/timestamps", FIELD_NODE, NULL, FIELD_LIVE | FIELD_VERBATIM },
	{ "target/encryption", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "target/compat", FIELD_WORD, "0.10 1.1" },
	{ "target/clusterSize", FIELD_BYTES },
	{ "target/clusterSize/@unit", FIELD_TEXT },
	{ "target/features/lazy_refcounts", FIELD_NODE },
	{ "target/features/extended_l2", FIELD_NODE, NULL, FIELD_NO },
	{ "target/nocow", FIELD_NODE },
	{ "backingStore/path", FIELD_NAME, NULL, FIELD_MUST },
	{ "backingStore/format", FIELD_NODE, NULL, 0, format_fields },
	{ "backingStore/permissions", FIELD_NODE, NULL, 0, permission_fields },
	{ "backingStore/timestamps", FIELD_NODE, NULL, FIELD_LIVE | FIELD_VERBATIM },
	{ NULL },
};
