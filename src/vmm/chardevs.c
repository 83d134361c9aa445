/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices by name: those that a client adds while the machine runs, and those of the command line. See vmm.h. */
#include "char.h"
#include "error.h"
#include "names.h"
#include "vmm.h"

static void chardev_free(void *opaque)
{
	struct vmm_chardev *c = opaque;

	char_close(c->chr);
	g_free(c->label);
	g_free(c->user);
	g_free(c);
}

void vmm_open_chardevs(struct vmm *vmm)
{
	vmm->chardevs = names_new(chardev_free);
}

void vmm_close_chardevs(struct vmm *vmm)
{
	g_clear_pointer(&vmm->chardevs, g_ptr_array_unref);
}

static void each_listed(const struct vmm *vmm, void (*f)(void *opaque, const char *label, struct chardev *chr), void *opaque)
{
	f(opaque, "console", vmm->console);
	if (vmm->console2)
		f(opaque, "console2", vmm->console2);
	if (vmm->virtio_console)
		f(opaque, "virtio-console", vmm->virtio_console);
	for (unsigned i = 0; i < vmm->n_channels; i++)
		f(opaque, vmm->channels[i].id, vmm->channels[i].chardev);
}

void vmm_each_chardev(const struct vmm *vmm, void (*f)(void *opaque, const char *label, struct chardev *chr), void *opaque)
{
	each_listed(vmm, f, opaque);
	for (unsigned i = 0; i < vmm->chardevs->len; i++) {
		const struct vmm_chardev *c = vmm->chardevs->pdata[i];

		f(opaque, c->label, c->chr);
	}
}

struct search {
	const char *label;
	struct chardev *chr;
};

static void compare(void *opaque, const char *label, struct chardev *chr)
{
	struct search *s = opaque;

	if (g_str_equal(label, s->label))
		s->chr = chr;
}

struct chardev *vmm_find_chardev(const struct vmm *vmm, const char *label, bool *ret_in_use)
{
	const struct vmm_chardev *c = names_find(vmm->chardevs, label);
	struct search s = { .label = label };

	*ret_in_use = !c || c->user;
	if (c)
		return c->chr;
	each_listed(vmm, compare, &s);
	return s.chr;
}

bool vmm_add_chardev(struct vmm *vmm, const char *label, struct chardev *chr, GError **error)
{
	struct vmm_chardev *c;

	if (!names_room(vmm->chardevs, "character devices", error))
		return false;
	c = names_add(vmm->chardevs, sizeof(*c), label);
	c->chr = chr;
	return true;
}

void vmm_remove_chardev(struct vmm *vmm, const char *label)
{
	g_ptr_array_remove(vmm->chardevs, names_find(vmm->chardevs, label));
}

struct chardev *vmm_take_chardev(struct vmm *vmm, const char *label, const char *user, const char *property, GError **error)
{
	struct vmm_chardev *c = names_find(vmm->chardevs, label);
	bool in_use;

	if (c && !c->user) {
		c->user = g_strdup(user);
		return c->chr;
	}
	if (vmm_find_chardev(vmm, label, &in_use))
		kv_fail(error, KV_ERROR_BUSY, "Property '%s' can't take value '%s': Device '%s' is in use", property, label,
			label);
	else
		kv_fail(error, KV_ERROR_USAGE, "Property '%s' can't find value '%s'", property, label);
	return NULL;
}

void vmm_give_back_chardev(struct vmm *vmm, const char *user)
{
	for (unsigned i = 0; i < vmm->chardevs->len; i++) {
		struct vmm_chardev *c = vmm->chardevs->pdata[i];

		if (!g_strcmp0(c->user, user))
			g_clear_pointer(&c->user, g_free);
	}
}
