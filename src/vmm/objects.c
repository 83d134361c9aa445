/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Objects by name: the table of their types, --object, and what is the same for all of them. See objects.h. */
#include "objects.h"

#include <string.h>

#include "error.h"
#include "names.h"
#include "options.h"
#include "vmm.h"

static const struct object_type *const types[] = {
	&object_iothread, &object_memory_backends[0], &object_memory_backends[1], &object_memory_backends[2],
	&object_throttle_group,
};

static void object_free(void *opaque)
{
	struct vmm_object *o = opaque;

	if (o->type && o->type->free)
		o->type->free(o);
	g_free(o->id);
	g_free(o);
}

const struct object_type *vmm_object_type(const char *name)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(types); i++)
		if (!strcmp(types[i]->name, name))
			return types[i];
	return NULL;
}

struct vmm_object *vmm_find_object(const struct vmm *vmm, const char *id)
{
	return names_find(vmm->objects, id);
}

struct vmm_object *vmm_need_object(const struct vmm *vmm, const struct object_type *type, const char *id, const char *what,
				   GError **error)
{
	struct vmm_object *o = vmm_find_object(vmm, id);

	if (o && o->type == type)
		return o;
	kv_fail(error, KV_ERROR_USAGE, "%s: there is no %s '%s'; give --object %s,id=%s as well", what, type->name, id,
		type->name, id);
	return NULL;
}

struct vmm_object *vmm_add_object(struct vmm *vmm, const struct object_type *type, const char *id, GVariant *keys,
				  GError **error)
{
	struct vmm_object *o;

	if (vmm_find_object(vmm, id)) {
		kv_fail(error, KV_ERROR_USAGE, "attempt to add duplicate property '%s' to object (type 'container')", id);
		return NULL;
	}
	if (!names_room(vmm->objects, "objects", error))
		return NULL;
	o = names_add(vmm->objects, type->size, id);
	o->type = type;
	o->vmm = vmm;
	if (!type->create || type->create(o, keys, error))
		return o;
	g_ptr_array_remove(vmm->objects, o);
	return NULL;
}

bool vmm_remove_object(struct vmm *vmm, const char *id, GError **error)
{
	struct vmm_object *o = vmm_find_object(vmm, id);

	if (!o)
		return kv_fail(error, KV_ERROR_USAGE, "object '%s' not found", id);
	if (o->type->in_use && o->type->in_use(o))
		return kv_fail(error, KV_ERROR_BUSY, "object '%s' is in use, can not be deleted", id);
	g_ptr_array_remove(vmm->objects, o);
	return true;
}

void vmm_each_object(const struct vmm *vmm, void (*f)(void *opaque, struct vmm_object *o), void *opaque)
{
	for (unsigned i = 0; i < vmm->objects->len; i++)
		f(opaque, vmm->objects->pdata[i]);
}

/* ---- --object ---- */

static bool unknown_type(const char *name, GError **error)
{
	g_autoptr(GString) known = g_string_new(NULL);

	for (unsigned i = 0; i < G_N_ELEMENTS(types); i++)
		g_string_append_printf(known, "%s%s", i ? ", " : "", types[i]->name);
	return kv_fail(error, KV_ERROR_USAGE, "--object: unknown type '%s'; known are %s", name, known->str);
}

/* id is a key of every object. */
static bool add_listed(struct vmm *vmm, const char *name, GVariant *words, GError **error)
{
	const struct object_type *type = vmm_object_type(name);
	g_autofree char *label = g_strdup_printf("object %s", name), *id = NULL;
	g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
	g_autoptr(GVariant) keys = NULL;
	const char *word, *value;
	GVariantIter iter;

	if (!type)
		return unknown_type(name, error);
	g_variant_iter_init(&iter, words);
	while (g_variant_iter_next(&iter, "{&s&s}", &word, &value))
		if (!strcmp(word, "id"))
			id = g_strdup(value);
		else if (!options_add_word(&dict, &(struct option){ .name = label, .keys = type->keys }, word, value, error))
			return false;
	if (!id || !*id)
		return kv_fail(error, KV_ERROR_USAGE, "--%s: id is missing; give id=NAME", label);
	for (const struct option *k = type->keys; k->name; k++)
		if (k->required && !g_variant_dict_contains(&dict, k->name))
			return kv_fail(error, KV_ERROR_USAGE, "--%s: %s is missing; give %s=%s", label, k->name, k->name, k->arg);
	keys = g_variant_ref_sink(g_variant_dict_end(&dict));
	if (vmm_add_object(vmm, type, id, keys, error))
		return true;
	g_prefix_error(error, "--%s: ", label);
	return false;
}

bool vmm_open_objects(struct vmm *vmm, GError **error)
{
	g_autoptr(GVariant) list = g_variant_lookup_value(vmm->options, "object", NULL);

	vmm->objects = names_new(object_free);
	for (gsize i = 0; list && i < g_variant_n_children(list); i++) {
		g_autoptr(GVariant) words = NULL;
		const char *name;

		g_variant_get_child(list, i, "(&s@a{ss})", &name, &words);
		if (!add_listed(vmm, name, words, error))
			return false;
	}
	return true;
}

void vmm_close_objects(struct vmm *vmm)
{
	g_clear_pointer(&vmm->objects, g_ptr_array_unref);
}
