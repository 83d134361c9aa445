/* SPDX-License-Identifier: GPL-2.0-or-later */
/* update-memory-device: another size for a memory device that can change it. */
#include <string.h>

#include "args.h"
#include "domain.h"
#include "objects.h"

/* The one that the options name, or the only one. NULL: said. */
static struct node *find_memory(struct shell *sh, const struct args *a, const struct node *xml, int with_node, unsigned number)
{
	g_autoptr(GPtrArray) all = node_all(xml, "devices/memory");
	const char *alias = arg_text(a, "alias");
	g_autofree char *wanted = g_strdup_printf("%u", number);
	struct node *found = NULL;

	for (unsigned i = 0; i < all->len; i++) {
		struct node *each = g_ptr_array_index(all, i);
		g_autofree char *cell = node_text(node_get(each, "target/node"));

		if ((alias && g_strcmp0(node_get_attr(each, "alias", "name"), alias) != 0) ||
		    (with_node && g_strcmp0(cell, wanted) != 0))
			continue;
		if (found) {
			shell_error(sh, "multiple memory devices found, use --alias or --node to select one");
			return NULL;
		}
		found = each;
	}
	if (!found)
		shell_error(sh, "no memory device found");
	return found;
}

static bool set_requested(struct shell *sh, struct node *memory, guint64 kib)
{
	struct node *requested = node_get(memory, "target/requested"), *text;

	if (!requested)
		return shell_error(sh, "virtio-mem device is missing <requested/>");
	while (requested->children && requested->children->len)
		node_remove(requested, g_ptr_array_index(requested->children, 0));
	node_set_attr(requested, "unit", "KiB");
	text = node_add(requested, "text");
	g_clear_pointer(&text->name, g_free);
	text->text = g_strdup_printf("%" G_GUINT64_FORMAT, kib);
	return true;
}

bool cmd_update_memory_device(struct shell *sh, const struct args *a)
{
	enum { XML_INACTIVE = 2 };
	g_autoptr(GVariant) dom = NULL;
	g_autoptr(node) xml = NULL;
	g_autofree char *new = NULL;
	int flags, with_node, with_size;
	unsigned number = 0;
	guint64 bytes = 0;
	struct node *memory;

	if (args_exclude(sh, a, "node", "alias") || (flags = affect_of(sh, a)) < 0 || !(dom = find_domain(sh, a, "domain")) ||
	    (with_node = arg_uint(sh, a, "node", &number)) < 0 ||
	    (with_size = arg_size(sh, a, "requested-size", 1024, &bytes)) < 0)
		return false;
	xml = domain_xml(sh, dom, flags & AFFECT_CONFIG ? XML_INACTIVE : 0);
	memory = xml ? find_memory(sh, a, xml, with_node, number) : NULL;
	if (!memory || (with_size && !set_requested(sh, memory, (bytes + 1023) / 1024)))
		return false;
	new = node_write(memory);
	if (arg_on(a, "print-xml")) {
		say(sh, "%s", new);
		return true;
	}
	return tell(sh, "domain_update_device_flags", "(@" DOMAIN "su)", dom, new, flags);
}
