/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects of type iothread: threads that serve disks which name them (--disk iothread=, device_add). What QEMU's polls for before
 * it sleeps ours do not, and say so: they look for requests of a busy guest in another way (machine/devices/virtio-blk.c).
 * See objects.h, machine/iothread.h.
 */
#include "error.h"
#include "iothread.h"
#include "objects.h"
#include "options.h"
#include "vmm.h"

struct object_thread {
	struct vmm_object base;
	struct iothread *thread;
};

static const char *const properties[] = { "poll-max-ns", "poll-grow", "poll-shrink", "aio-max-batch", NULL };

#define POLL_KEY(name, what) { name, OPTION_COUNT, "N", what, .max = INT64_MAX }
static const struct option keys[] = {
	POLL_KEY("poll-max-ns", "0: there is no polling"),
	POLL_KEY("poll-grow", "0"),
	POLL_KEY("poll-shrink", "0"),
	POLL_KEY("aio-max-batch", "0: as many requests as there are"),
	{},
};

static bool check_zero(const char *name, gint64 n, GError **error)
{
	return !n || kv_fail(error, KV_ERROR_UNSUPPORTED, "%s: iothreads do not poll; give 0", name);
}

static bool create(struct vmm_object *o, GVariant *given, GError **error)
{
	struct object_thread *t = (struct object_thread *)o;
	GVariantIter iter;
	const char *name;
	GVariant *value;

	g_variant_iter_init(&iter, given);
	while (g_variant_iter_next(&iter, "{&sv}", &name, &value)) {
		bool ok = check_zero(name, (gint64)g_variant_get_uint64(value), error);

		g_variant_unref(value);
		if (!ok)
			return false;
	}
	t->thread = iothread_new(o->id);
	return !o->vmm->threads_run || iothread_start(t->thread, error);
}

static void object_free(struct vmm_object *o)
{
	iothread_free(((struct object_thread *)o)->thread);
}

static bool in_use(const struct vmm_object *o)
{
	return iothread_users(((const struct object_thread *)o)->thread);
}

static GVariant *get(const struct vmm_object *o, const char *property)
{
	return g_variant_new_int64(0);
}

static bool set(struct vmm_object *o, const char *property, GVariant *value, GError **error)
{
	return check_zero(property, g_variant_get_int64(value), error);
}

const struct object_type object_iothread = {
	.name = "iothread",
	.size = sizeof(struct object_thread),
	.keys = keys,
	.create = create,
	.in_use = in_use,
	.free = object_free,
	.properties = properties,
	.get = get,
	.set = set,
};

struct iothread *vmm_iothread(struct vmm_object *o)
{
	return ((struct object_thread *)o)->thread;
}

bool vmm_start_iothreads(struct vmm *vmm, GError **error)
{
	vmm->threads_run = true;
	for (unsigned i = 0; i < vmm->objects->len; i++) {
		struct vmm_object *o = vmm->objects->pdata[i];

		if (o->type == &object_iothread && !iothread_start(vmm_iothread(o), error))
			return false;
	}
	return true;
}
