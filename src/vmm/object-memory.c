/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects of type memory-backend-ram, -memfd, -file: host memory in a way that the user has asked for. --machine memory-backend=
 * names the one that is the guest's RAM. See objects.h, machine/mem-backing.h.
 */
#include <string.h>

#include "error.h"
#include "mem-backing.h"
#include "objects.h"
#include "options.h"
#include "vmm.h"

struct memory_object {
	struct vmm_object base;
	struct mem_backing *backing;
	struct mem_backing_config config; /* path is not there any more */
	bool used;			  /* by the machine, for good */
};

static const char *const policies[] = { "default", "preferred", "bind", "interleave", NULL };

#define COMMON_KEYS(share)                                                                                       \
	{ "size", OPTION_SIZE, "SIZE", "bytes of it", .max = INT64_MAX, .required = true },                      \
	{ "share", OPTION_BOOL, "on|off", "what is written is seen by all who have it (" share ")" },            \
	{ "prealloc", OPTION_BOOL, "on|off", "all pages are taken beforehand (off)" },                           \
	{ "host-nodes", OPTION_TEXT, "N-M", "NUMA nodes of the host" },                                          \
	{ "policy", OPTION_CHOICE, "default|preferred|bind|interleave", "how pages are taken from these (default)", \
	  .choices = policies },                                                                                 \
	{ "merge", OPTION_BOOL, "on|off", "the host may merge equal pages (off)" },                              \
	{ "dump", OPTION_BOOL, "on|off", "core dumps have it (on)" }

static const struct option ram_keys[] = { COMMON_KEYS("off"), {} };
static const struct option memfd_keys[] = {
	COMMON_KEYS("on"),
	{ "hugetlb", OPTION_BOOL, "on|off", "large pages (off)" },
	{ "hugetlbsize", OPTION_SIZE, "SIZE", "... of that size (the host's usual one)", .max = INT64_MAX },
	{ "seal", OPTION_BOOL, "on|off", "its size is fixed (on)" },
	{},
};
static const struct option file_keys[] = {
	COMMON_KEYS("off"),
	{ "mem-path", OPTION_FILE, "PATH", "a file, or a folder for one without a name" },
	{ "discard-data", OPTION_BOOL, "on|off", "what is in the file is not kept (off)" },
	{},
};

static bool flag(GVariant *keys, const char *name, bool otherwise)
{
	gboolean on = otherwise;

	g_variant_lookup(keys, name, "b", &on);
	return on;
}

static bool read_keys(GVariant *keys, struct mem_backing_config *c, GError **error)
{
	const char *nodes = NULL, *policy = policies[0];
	guint64 size = 0, page = 0;

	g_variant_lookup(keys, "size", "t", &size);
	g_variant_lookup(keys, "hugetlbsize", "t", &page);
	g_variant_lookup(keys, "host-nodes", "&s", &nodes);
	g_variant_lookup(keys, "policy", "&s", &policy);
	g_variant_lookup(keys, "mem-path", "&s", &c->path);
	c->size = size;
	c->hugetlb_size = page;
	c->share = flag(keys, "share", c->kind == MEM_BACKING_MEMFD);
	c->prealloc = flag(keys, "prealloc", false);
	c->merge = flag(keys, "merge", false);
	c->no_dump = !flag(keys, "dump", true);
	c->hugetlb = flag(keys, "hugetlb", false);
	c->seal = c->kind == MEM_BACKING_MEMFD && flag(keys, "seal", true);
	c->discard_data = flag(keys, "discard-data", false);
	while (strcmp(policies[c->policy], policy) != 0)
		c->policy++;
	if (c->hugetlb_size && !c->hugetlb)
		return kv_fail(error, KV_ERROR_USAGE, "hugetlbsize is for hugetlb=on");
	if (c->kind == MEM_BACKING_FILE && !c->path)
		return kv_fail(error, KV_ERROR_USAGE, "mem-path property not set");
	return !nodes || mem_backing_nodes(c, nodes, error);
}

static bool create_kind(struct vmm_object *o, GVariant *keys, enum mem_backing_kind kind, GError **error)
{
	struct memory_object *m = (struct memory_object *)o;
	guint64 size = 0;

	m->config.kind = kind;
	if (!g_variant_lookup(keys, "size", "t", &size) || !size)
		return kv_fail(error, KV_ERROR_USAGE, "property 'size' of %s doesn't take value '0'", o->type->name);
	if (read_keys(keys, &m->config, error))
		m->backing = mem_backing_new(o->id, &m->config, error);
	m->config.path = NULL;
	return m->backing;
}

static bool create_ram(struct vmm_object *o, GVariant *keys, GError **error)
{
	return create_kind(o, keys, MEM_BACKING_RAM, error);
}

static bool create_memfd(struct vmm_object *o, GVariant *keys, GError **error)
{
	return create_kind(o, keys, MEM_BACKING_MEMFD, error);
}

static bool create_file(struct vmm_object *o, GVariant *keys, GError **error)
{
	return create_kind(o, keys, MEM_BACKING_FILE, error);
}

static void object_free(struct vmm_object *o)
{
	mem_backing_free(((struct memory_object *)o)->backing);
}

static bool in_use(const struct vmm_object *o)
{
	return ((const struct memory_object *)o)->used;
}

static GVariant *host_nodes(const struct mem_backing_config *c)
{
	GVariantBuilder b;

	g_variant_builder_init(&b, G_VARIANT_TYPE("ax"));
	for (unsigned i = 0; i < MEM_NODES; i++)
		if (c->nodes[i])
			g_variant_builder_add(&b, "x", (gint64)i);
	return g_variant_builder_end(&b);
}

static GVariant *get(const struct vmm_object *o, const char *property)
{
	const struct mem_backing_config *c = &((const struct memory_object *)o)->config;

	if (!strcmp(property, "size"))
		return g_variant_new_int64((gint64)c->size);
	if (!strcmp(property, "policy"))
		return g_variant_new_string(policies[c->policy]);
	if (!strcmp(property, "host-nodes"))
		return host_nodes(c);
	return g_variant_new_boolean(!strcmp(property, "share")	     ? c->share :
				     !strcmp(property, "prealloc") ? c->prealloc :
				     !strcmp(property, "merge")	     ? c->merge :
								       !c->no_dump);
}

static const char *const properties[] = { "size", "share", "prealloc", "merge", "dump", "policy", "host-nodes", NULL };

#define TYPE(kind)                                                                                                       \
	{ .name = "memory-backend-" #kind, .size = sizeof(struct memory_object), .keys = kind##_keys, .create = create_##kind, \
	  .in_use = in_use, .free = object_free, .properties = properties, .get = get }
const struct object_type object_memory_backends[3] = { TYPE(ram), TYPE(memfd), TYPE(file) };

bool vmm_is_memory(const struct vmm_object *o)
{
	return o->type->free == object_free;
}

bool vmm_find_memory(struct vmm *vmm, const char *id, struct mem_backing **ret, GError **error)
{
	struct memory_object *m = (struct memory_object *)vmm_find_object(vmm, id);

	if (!m || !vmm_is_memory(&m->base))
		return kv_fail(error, KV_ERROR_USAGE, "--machine: memory-backend: there is no memory backend '%s'; give --object "
			       "memory-backend-ram,id=%s,size=SIZE as well", id, id);
	m->used = true;
	*ret = m->backing;
	return true;
}
