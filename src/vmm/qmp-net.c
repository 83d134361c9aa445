/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP commands about network cards. See qmp.h. */
#include "machine.h"
#include "net.h"
#include "qmp.h"
#include "schema.h"
#include "vmm.h"

const struct qmp_member qmp_set_link_args[] = { { "name", &qmp_string }, { "up", &qmp_boolean }, {} };

/* A card's name is the machine's: net and its place among --net. */
JsonNode *qmp_set_link(void *opaque, JsonObject *args, GError **error)
{
	const char *name = json_object_get_string_member(args, "name");
	const struct vmm *vmm = opaque;

	for (unsigned i = 0; i < vmm->n_cards; i++) {
		g_autofree char *id = g_strdup_printf("net%u", i);

		if (g_strcmp0(id, name))
			continue;
		net_set_link(vmm->cards[i].net, json_object_get_boolean_member(args, "up"));
		return qmp_nothing();
	}
	qmp_fail(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", name);
	return NULL;
}
