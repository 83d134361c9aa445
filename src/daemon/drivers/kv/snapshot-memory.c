/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory of a running machine to a file, as it is at one moment (kv-vmm's background-snapshot): the guest may run on as soon as
 * that has come, and the file is written behind it. How far it is: job.c. See snapshot.h.
 */
#include <errno.h>

#include "snapshot.h"

static bool set_background(struct kv_machine *m, bool on, GError **error)
{
	JsonObject *args = json_object_new(), *o = kv_args("capability", "background-snapshot", NULL);
	JsonArray *list = json_array_new();

	json_object_set_boolean_member(o, "state", on);
	json_array_add_object_element(list, o);
	json_object_set_array_member(args, "capabilities", list);
	return kv_do(m, "migrate-set-capabilities", args, error);
}

bool kv_memory_begin(struct kv_machine *m, const char *file, GError **error)
{
	g_autofree char *uri = g_strconcat("file:", file, NULL), *dir = g_path_get_dirname(file);

	kv_job_started(m->d);
	if (g_mkdir_with_parents(dir, 0700) < 0)
		return kv_fail_errno(error, errno, "cannot make the folder '%s'", dir);
	return set_background(m, true, error) && kv_do(m, "migrate", kv_args("uri", uri, NULL), error);
}

void kv_memory_cancel(struct kv_machine *m)
{
	if (kv_do(m, "migrate_cancel", NULL, NULL))
		kv_migration_wait(m, KV_JOB_SNAPSHOT, false, NULL);
	kv_memory_end(m);
}

void kv_memory_end(struct kv_machine *m)
{
	set_background(m, false, NULL);
}
