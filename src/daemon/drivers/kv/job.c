/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs that take long: how far what is written of a machine is, its end before time, and core dumps (libvirt's
 * virDomainCoreDump). With the domain's long job (domain.h). See kv.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "events.h"
#include "kv.h"

enum { DUMP_CRASH = 1, DUMP_LIVE = 2, DUMP_BYPASS_CACHE = 4, DUMP_RESET = 8, DUMP_MEMORY_ONLY = 16 };
enum { POLL_MS = 20 };

static const char *const job_names[] = {
	[KV_JOB_SAVE] = "domain save job",
	[KV_JOB_SNAPSHOT] = "snapshot job",
	[KV_JOB_DUMP] = "domain core dump job",
};

/* ---- how far it is ---- */

static void add(GVariantBuilder *b, const char *name, guint64 n)
{
	g_variant_builder_add(b, "(sv)", name, g_variant_new_uint64(n));
}

static guint64 count(JsonObject *o, const char *name)
{
	return (guint64)MAX(kv_number_in(o, name), 0);
}

/* Of query-migrate's answer (NULL: nothing is known), in libvirt's names. */
static GVariant *stats_of(const struct domain *d, enum kv_job job, JsonObject *answer)
{
	static const char *const numbers[][2] = {
		{"data_total", "total"},
		{"data_processed", "transferred"},
		{"data_remaining", "remaining"},
		{"memory_total", "total"},
		{"memory_processed", "transferred"},
		{"memory_remaining", "remaining"},
		{"memory_constant", "duplicate"},
		{"memory_normal", "normal"},
		{"memory_normal_bytes", "normal-bytes"},
		{"memory_dirty_rate", "dirty-pages-rate"},
		{"memory_iteration", "dirty-sync-count"},
		{"memory_page_size", "page-size"},
	};
	guint64 ms = (guint64)(g_get_monotonic_time() - d->job_began) / 1000;
	JsonObject *ram = kv_object_in(answer, "ram");
	GVariantBuilder b;

	g_variant_builder_init(&b, G_VARIANT_TYPE("a(sv)"));
	g_variant_builder_add(&b, "(sv)", "operation", g_variant_new_int32(job));
	add(&b, "time_elapsed", ms);
	for (unsigned i = 0; ram && i < G_N_ELEMENTS(numbers); i++)
		add(&b, numbers[i][0], count(ram, numbers[i][1]));
	if (ram && ms)
		add(&b, "memory_bps", count(ram, "transferred") * 1000 / ms);
	if (answer && json_object_has_member(answer, "downtime"))
		add(&b, "downtime", count(answer, "downtime"));
	if (answer && json_object_has_member(answer, "setup-time"))
		add(&b, "setup_time", count(answer, "setup-time"));
	return g_variant_ref_sink(g_variant_builder_end(&b));
}

static void set_stats(struct domain *d, GVariant *stats)
{
	g_clear_pointer(&d->job_stats, g_variant_unref);
	d->job_stats = stats;
}

bool kv_migration_wait(struct kv_machine *m, enum kv_job job, bool to_moment, GError **error)
{
	for (;;) {
		g_autoptr(JsonNode) answer = kv_ask(m, "query-migrate", NULL, error);
		JsonObject *o = kv_object(answer);
		const char *status = kv_text_in(o, "status"), *why = kv_text_in(o, "error-desc");

		if (!answer)
			return false;
		if (status && (!strcmp(status, "completed") || !strcmp(status, "active")))
			set_stats(m->d, stats_of(m->d, job, o));
		if (!g_strcmp0(status, "completed") || (to_moment && o && json_object_has_member(o, "downtime")))
			return true;
		if (status && !strcmp(status, "cancelled"))
			return rpc_fail(error, VIR_ERR_OPERATION_ABORTED, "%s: canceled by client", job_names[job]);
		if (!status || !strcmp(status, "failed"))
			return rpc_fail(error, VIR_ERR_OPERATION_FAILED, "%s: %s", job_names[job],
					why ? why : "unexpectedly failed");
		state_wait(&m->changed, g_get_monotonic_time() + POLL_MS * G_TIME_SPAN_MILLISECOND);
	}
}

void kv_job_started(struct domain *d)
{
	set_stats(d, NULL);
}

/* Also of a machine that is off by now. */
void kv_job_ended(struct domain *d, GVariant *stats)
{
	if (d->gone)
		return;
	set_stats(d, g_variant_ref(stats));
	events_domain(d, DOMAIN_EVENT_JOB_COMPLETED, g_variant_new("(@a(sv))", stats));
}

bool kv_abort_job(struct domain *d, GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);

	if (!m)
		return false;
	if (m->dumping)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "cannot abort memory-only dump");
	return kv_do(m, "migrate_cancel", NULL, error);
}

/* ---- dumps ---- */

/* libvirt's VIR_DOMAIN_CORE_DUMP_FORMAT_…, as QMP has them. */
static const char *const formats[] = {
	"elf", "kdump-zlib", "kdump-lzo", "kdump-snappy", "win-dmp", "kdump-raw-zlib", "kdump-raw-lzo", "kdump-raw-snappy",
};

static bool knows_format(struct kv_machine *m, const char *format, GError **error)
{
	g_autoptr(JsonNode) answer = kv_ask(m, "query-dump-guest-memory-capability", NULL, error);
	JsonObject *o = kv_object(answer);
	JsonArray *list = o ? kv_array(json_object_get_member(o, "formats")) : NULL;

	for (guint i = 0; list && i < json_array_get_length(list); i++) {
		JsonNode *node = json_array_get_element(list, i);

		if (JSON_NODE_HOLDS_VALUE(node) && !g_strcmp0(json_node_get_string(node), format))
			return true;
	}
	return answer &&
	       rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "unsupported dumpformat '%s' for this QEMU binary", format);
}

static bool check_dump(struct kv_machine *m, unsigned format, unsigned flags, GError **error)
{
	if (format >= G_N_ELEMENTS(formats))
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "unknown dumpformat '%u'", format);
	if (format && !(flags & DUMP_MEMORY_ONLY))
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED,
				"kdump-compressed format is only supported with memory-only dump");
	return !(flags & DUMP_MEMORY_ONLY) || knows_format(m, formats[format], error);
}

/* A FIFO whose reader is not there is not waited for. */
static int make_file(const char *path, GError **error)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);

	if (fd < 0)
		rpc_fail(error, VIR_ERR_OPERATION_FAILED, "Failed to create file '%s': %s", path, g_strerror(errno));
	else
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	return fd;
}

/* As long as it takes: the machine's memory may be large. */
static bool dump_memory(struct kv_machine *m, int fd, const char *format, GError **error)
{
	g_autoptr(JsonNode) given = kv_ask_fd(m, "getfd", kv_args("fdname", "dump", NULL), fd, error), answer = NULL;
	JsonObject *args;

	if (!given)
		return false;
	args = kv_args("protocol", "fd:dump", "format", format, NULL);
	json_object_set_boolean_member(args, "paging", FALSE);
	m->dumping = true;
	answer = kv_ask_until(m, "dump-guest-memory", args, -1, 0, error);
	m->dumping = false;
	if (answer)
		set_stats(m->d, stats_of(m->d, KV_JOB_DUMP, NULL));
	return answer;
}

static bool write_out(struct kv_machine *m, int fd, unsigned format, unsigned flags, GError **error)
{
	bool ok =
		flags & DUMP_MEMORY_ONLY ? dump_memory(m, fd, formats[format], error) : kv_migrate_to(m, fd, KV_JOB_DUMP, error);

	state_release();
	if (ok && fsync(fd) < 0 && errno != EINVAL && errno != EROFS)
		ok = rpc_fail(error, VIR_ERR_OPERATION_FAILED, "cannot make the dump durable: %s", g_strerror(errno));
	if (flags & DUMP_BYPASS_CACHE)
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	state_acquire();
	return ok;
}

static void crash(struct kv_machine *m)
{
	m->ending = true;
	kv_kill(m, false);
	if (m->gone)
		return;
	m->gone = true;
	m->d->own = NULL;
	domain_stopped(m->d, SHUTOFF_CRASHED, STOPPED_CRASHED);
	kv_process_clean_up(m);
	kv_machine_unref(m);
}

static bool go_on(struct kv_machine *m, bool was_running, unsigned flags, GError **error)
{
	if (flags & DUMP_RESET && !kv_do(m, "system_reset", NULL, error))
		return false;
	return !was_running || m->d->state != DOMAIN_PAUSED || kv_do(m, "cont", NULL, error);
}

static bool dump_to(struct kv_machine *m, const char *path, unsigned format, unsigned flags, GError **error)
{
	bool was_running = m->d->state == DOMAIN_RUNNING, ok;
	int fd = make_file(path, error);

	if (fd < 0)
		return false;
	m->pause_reason = PAUSED_DUMP;
	ok = flags & DUMP_LIVE || !was_running || kv_do(m, "stop", NULL, error);
	ok = ok && write_out(m, fd, format, flags, error);
	if (!ok)
		kv_remove_output(fd, path);
	close(fd);
	m->pause_reason = PAUSED_UNKNOWN;
	if (m->gone)
		return ok;
	if (ok && flags & DUMP_CRASH)
		crash(m);
	else if (!go_on(m, was_running, ok ? flags : 0, ok ? error : NULL))
		ok = false;
	return ok;
}

bool kv_dump(struct domain *d, const char *path, unsigned format, unsigned flags, GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);
	g_autoptr(GVariant) stats = NULL;
	bool ok;

	if (!m || !check_dump(m, format, flags, error))
		return false;
	kv_job_started(d);
	kv_machine_ref(m);
	ok = dump_to(m, path, format, flags, error);
	kv_machine_unref(m);
	stats = ok && d->job_stats ? g_variant_ref(d->job_stats) : NULL;
	kv_job_started(d);
	if (stats)
		kv_job_ended(d, stats);
	return ok;
}
