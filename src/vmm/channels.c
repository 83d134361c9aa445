/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ports of --channel: character devices, each with a name in the guest. See vmm.h. */
#include "char.h"
#include "error.h"
#include "vmm.h"

static bool open_channel(struct machine_channel *c, unsigned index, GVariant *keys, GError **error)
{
	const char *to = "", *id = NULL;

	g_variant_lookup(keys, "to", "&s", &to);
	g_variant_lookup(keys, "id", "&s", &id);
	g_variant_lookup(keys, "name", "&s", &c->name);
	if (g_str_equal(to, "stdio"))
		return kv_fail(error, KV_ERROR_USAGE, "--channel: to: stdio is the console's; give unix:PATH, pty or file:PATH");
	c->chardev = char_open(to, error);
	c->id = id ? g_strdup(id) : g_strdup_printf("channel%u", index);
	return c->chardev;
}

bool vmm_open_channels(struct vmm *vmm, GError **error)
{
	g_autoptr(GVariant) list = options_lookup_value(vmm->options, "channel");

	vmm->n_channels = list ? (unsigned)g_variant_n_children(list) : 0;
	vmm->channels = g_new0(struct machine_channel, vmm->n_channels);
	for (unsigned i = 0; i < vmm->n_channels; i++) {
		g_autoptr(GVariant) keys = g_variant_get_child_value(list, i); /* the options keep its words */

		if (!open_channel(&vmm->channels[i], i, keys, error))
			return false;
	}
	return true;
}

void vmm_close_channels(struct vmm *vmm)
{
	for (unsigned i = 0; i < vmm->n_channels; i++) {
		char_close(vmm->channels[i].chardev);
		g_free((char *)vmm->channels[i].id);
	}
	g_free(vmm->channels);
}
