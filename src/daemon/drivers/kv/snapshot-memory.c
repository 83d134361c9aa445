/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory of a running machine to a file, as it is at one moment (kv-vmm's background-snapshot): the guest may run on as soon as
 * that has come, and the file is written behind it. How far it is are the job's statistics. See snapshot.h.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "snapshot.h"

enum { POLL_MS = 10, OPERATION_SNAPSHOT = 6 /* VIR_DOMAIN_JOB_OPERATION_SNAPSHOT */ };

static bool set_background(struct kv_machine *m, bool on, GError **error)
{
	JsonObject *args = json_object_new(), *o = kv_args("capability", "background-snapshot", NULL);
	JsonArray *list = json_array_new();

	json_object_set_boolean_member(o, "state", on);
	json_array_add_object_element(list, o);
	json_object_set_array_member(args, "capabilities", list);
	return kv_do(m, "migrate-set-capabilities", args, error);
}

static void tell_progress(const struct kv_memory_job *j, JsonObject *ram)
{
	static const char *const rows[][2] = {
		{"data_total", "total"},	  {"data_processed", "transferred"},   {"data_remaining", "remaining"},
		{"memory_total", "total"},	  {"memory_processed", "transferred"}, {"memory_remaining", "remaining"},
		{"memory_constant", "duplicate"}, {"memory_normal", "normal"},	       {"memory_normal_bytes", "normal-bytes"},
	};
	struct domain *d = j->m->d;
	GVariantBuilder b;

	if (!ram)
		return;
	g_variant_builder_init(&b, G_VARIANT_TYPE("a(sv)"));
	g_variant_builder_add(&b, "(sv)", "operation", g_variant_new_int32(OPERATION_SNAPSHOT));
	g_variant_builder_add(&b, "(sv)", "time_elapsed",
			      g_variant_new_uint64((guint64)(g_get_monotonic_time() - j->began) / 1000));
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
		g_variant_builder_add(&b, "(sv)", rows[i][0],
				      g_variant_new_uint64((guint64)MAX(kv_number_in(ram, rows[i][1]), 0)));
	g_clear_pointer(&d->job_stats, g_variant_unref);
	d->job_stats = g_variant_ref_sink(g_variant_builder_end(&b));
}

bool kv_memory_begin(struct kv_memory_job *j, struct kv_machine *m, const char *file, GError **error)
{
	g_autofree char *uri = g_strconcat("file:", file, NULL), *dir = g_path_get_dirname(file);

	*j = (struct kv_memory_job){kv_machine_ref(m), g_get_monotonic_time()};
	if (g_mkdir_with_parents(dir, 0700) < 0)
		return kv_fail_errno(error, errno, "cannot make the folder '%s'", dir);
	return set_background(m, true, error) && kv_do(m, "migrate", kv_args("uri", uri, NULL), error);
}

bool kv_memory_wait(struct kv_memory_job *j, bool to_end, GError **error)
{
	for (;;) {
		g_autoptr(JsonNode) answer = kv_ask(j->m, "query-migrate", NULL, error);
		JsonObject *o = kv_object(answer);
		const char *status = kv_text_in(o, "status"), *why = kv_text_in(o, "error-desc");

		if (!answer)
			return false;
		tell_progress(j, kv_object_in(o, "ram"));
		if (!g_strcmp0(status, "completed") || (!to_end && o && json_object_has_member(o, "downtime")))
			return true;
		if (!g_strcmp0(status, "cancelled"))
			return rpc_fail(error, VIR_ERR_OPERATION_ABORTED, "snapshot job: canceled by client");
		if (!status || !strcmp(status, "failed"))
			return rpc_fail(error, VIR_ERR_OPERATION_FAILED, "snapshot job: %s", why ? why : "unexpectedly failed");
		state_wait(&j->m->changed, g_get_monotonic_time() + POLL_MS * G_TIME_SPAN_MILLISECOND);
	}
}

void kv_memory_cancel(struct kv_memory_job *j)
{
	if (kv_do(j->m, "migrate_cancel", NULL, NULL))
		kv_memory_wait(j, true, NULL);
}

void kv_memory_end(struct kv_memory_job *j)
{
	set_background(j->m, false, NULL);
	kv_machine_unref(j->m);
}
