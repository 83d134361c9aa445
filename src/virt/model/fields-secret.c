/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Secrets: what they are for; their values are not in the XML. */
#include "object-fields.h"

const struct field secret_fields[] = {
	{ "@ephemeral", FIELD_WORD, "yes no" },
	{ "@private", FIELD_WORD, "yes no" },
	{ "uuid", FIELD_UUID },
	{ "description", FIELD_TEXT },
	{ "usage/@type", FIELD_WORD, "volume ceph iscsi tls vtpm", FIELD_MUST },
	{ "usage/volume", FIELD_PATH },
	{ "usage/name", FIELD_NAME },
	{ "usage/target", FIELD_NAME },
	{ NULL },
};
