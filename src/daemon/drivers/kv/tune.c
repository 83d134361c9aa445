/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a machine's threads run (sched_setaffinity(2)), on which nodes its memory is, and its limits (cgroup.h). See kv.h. */
#include <errno.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cgroup.h"
#include "cpumap.h"
#include "field-values.h"
#include "kv.h"

enum { NODES_MAX = 1024, THREADS_SECONDS = 10 };

/* ---- threads ---- */

/* Those that the monitor says, as far as they are the process's. Their number may be smaller than asked for. */
static GArray *vcpu_threads(struct kv_machine *m, GError **error)
{
	g_autoptr(JsonNode) answer = kv_ask(m, "query-cpus-fast", NULL, error);
	JsonArray *list = kv_array(answer);
	GArray *threads = answer ? g_array_new(FALSE, TRUE, sizeof(pid_t)) : NULL;

	for (guint i = 0; list && i < json_array_get_length(list); i++) {
		JsonObject *o = kv_object(json_array_get_element(list, i));
		gint64 index = kv_number_in(o, "cpu-index");
		pid_t thread = (pid_t)kv_number_in(o, "thread-id");
		g_autofree char *path = g_strdup_printf("/proc/%d/task/%d", (int)m->pid, (int)thread);

		if (index < 0 || index > 4096 || access(path, F_OK) < 0)
			continue;
		if (threads->len <= index)
			g_array_set_size(threads, (guint)index + 1);
		g_array_index(threads, pid_t, index) = thread;
	}
	return threads;
}

static bool set_affinity(pid_t thread, const guint8 *map, gsize len)
{
	unsigned long bits[CPUMAP_BYTES_MAX / sizeof(unsigned long)] = { 0 };

	memcpy(bits, map, MIN(len, sizeof(bits)));
	return syscall(SYS_sched_setaffinity, thread, sizeof(bits), bits) == 0;
}

static bool pin_thread(pid_t thread, const guint8 *map, gsize len, GError **error)
{
	g_autofree char *text = NULL;
	int why;

	if (!thread || set_affinity(thread, map, len))
		return true;
	why = errno;
	if (why == ESRCH)
		return true;
	text = cpumap_text(map, len);
	return rpc_fail(error, VIR_ERR_SYSTEM_ERROR, "cannot set CPU affinity on process %d to %s: %s", (int)thread, text,
			g_strerror(why));
}

static bool is_vcpu(const GArray *threads, pid_t thread)
{
	for (guint i = 0; i < threads->len; i++)
		if (g_array_index(threads, pid_t, i) == thread)
			return true;
	return false;
}

/* New threads have the processors of the one that makes them. */
static bool pin_others(const struct kv_machine *m, const GArray *threads, const guint8 *map, gsize len, GError **error)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/task", (int)m->pid);
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		pid_t thread = (pid_t)g_ascii_strtoll(name, NULL, 10);

		if (!is_vcpu(threads, thread) && !pin_thread(thread, map, len, error))
			return false;
	}
	return true;
}

bool kv_pin(struct domain *d, int vcpu, const guint8 *map, gsize len, GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);
	g_autoptr(GArray) threads = m ? vcpu_threads(m, error) : NULL;

	if (!threads || m->gone)
		return threads && domain_require_active(d, error);
	if (vcpu == PIN_EMULATOR)
		return pin_others(m, threads, map, len, error);
	if ((guint)vcpu >= threads->len) /* it has not come yet, and gets it then */
		return true;
	return pin_thread(g_array_index(threads, pid_t, vcpu), map, len, error);
}

/* Fields 14, 15 and 39 of /proc/…/stat (proc(5)). */
static void look_at(pid_t pid, pid_t thread, struct hv_vcpu *ret)
{
	guint64 user = 0, system = 0, tick = G_GUINT64_CONSTANT(1000000000) / (guint64)MAX(sysconf(_SC_CLK_TCK), 1);
	g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/stat", (int)pid, (int)thread), *text = NULL;
	unsigned long bits[CPUMAP_BYTES_MAX / sizeof(unsigned long)] = { 0 };
	const char *rest;

	ret->processor = -1;
	if (g_file_get_contents(path, &text, NULL, NULL) && (rest = strrchr(text, ')')))
		sscanf(rest + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT
		       " %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %d",
		       &user, &system, &ret->processor);
	ret->time = (user + system) * tick;
	if (syscall(SYS_sched_getaffinity, thread, sizeof(bits), bits) > 0)
		memcpy(ret->map, bits, sizeof(bits));
}

bool kv_vcpus(struct domain *d, struct hv_vcpu *ret, unsigned n, GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);
	g_autoptr(GArray) threads = m ? vcpu_threads(m, error) : NULL;

	if (!threads)
		return false;
	for (guint i = 0; i < n && i < threads->len; i++)
		look_at(m->pid, g_array_index(threads, pid_t, i), &ret[i]);
	return true;
}

/* ---- as defined ---- */

static bool pin_as(struct kv_machine *m, const xmlNode *root, const GArray *threads, GError **error)
{
	const char *all = xml_text(root, "vcpu/@cpuset"), *emulator = xml_text(root, "cputune/emulatorpin/@cpuset");
	const xmlNode *tune = xml_child(root, "cputune"), *pin;
	guint8 map[CPUMAP_BYTES_MAX];
	guint64 n;

	if (all && cpumap_bits(all, map, sizeof(map)))
		for (guint i = 0; i < threads->len; i++)
			if (!pin_thread(g_array_index(threads, pid_t, i), map, sizeof(map), error))
				return false;
	emulator = emulator ? emulator : all;
	if (emulator && cpumap_bits(emulator, map, sizeof(map)) && !pin_others(m, threads, map, sizeof(map), error))
		return false;
	for (unsigned i = 0; tune && (pin = xml_nth(tune, "vcpupin", i)); i++)
		if (xml_number(pin, "@vcpu", &n) && n < threads->len && cpumap_bits(xml_text(pin, "@cpuset"), map, sizeof(map)) &&
		    !pin_thread(g_array_index(threads, pid_t, n), map, sizeof(map), error))
			return false;
	return true;
}

static bool limit_as(struct kv_machine *m, const xmlNode *root, const GArray *threads, GError **error)
{
	struct cgroup_threads t = { m->pid, (const pid_t *)(const void *)threads->data, threads->len };
	g_autofree char *name = g_path_get_basename(m->run);

	if (!m->cgroup)
		m->cgroup = cgroup_of("", m->pid);
	return cgroup_apply("", &m->cgroup, name, root, &t, error);
}

static bool has_pins(const xmlNode *root)
{
	return xml_text(root, "vcpu/@cpuset") || xml_child(root, "cputune/vcpupin") || xml_child(root, "cputune/emulatorpin");
}

bool kv_tune_start(struct kv_machine *m, GError **error)
{
	g_autoptr(GArray) none = g_array_new(FALSE, TRUE, sizeof(pid_t));
	const xmlNode *root = domain_def_root(m->d->live);

	return !cgroup_wanted(root) || limit_as(m, root, none, error);
}

static bool all_there(const struct kv_machine *m, const GArray *threads)
{
	unsigned n = 0;

	if (m->d->live)
		domain_def_vcpus(m->d->live, &n);
	for (guint i = 0; i < n; i++)
		if (domain_vcpu_of(domain_def_root(m->d->live), i).enabled &&
		    (i >= threads->len || !g_array_index(threads, pid_t, i)))
			return false;
	return true;
}

bool kv_tune_run(struct kv_machine *m, GError **error)
{
	gint64 until = g_get_monotonic_time() + THREADS_SECONDS * G_USEC_PER_SEC;
	const xmlNode *root = m->d->live ? domain_def_root(m->d->live) : NULL;

	if (m->tuned || !root || (!cgroup_wanted(root) && !has_pins(root)))
		return true;
	for (;;) {
		g_autoptr(GArray) threads = vcpu_threads(m, error);

		if (!threads)
			return m->gone;
		if (m->gone || !m->d->live)
			return true; /* it has ended already */
		root = domain_def_root(m->d->live);
		if (all_there(m, threads)) {
			m->tuned = true;
			return pin_as(m, root, threads, error) && limit_as(m, root, threads, error);
		}
		if (g_get_monotonic_time() > until)
			return rpc_fail(error, VIR_ERR_OPERATION_TIMEOUT,
					"the threads of vCPUs do not come, and cannot be pinned");
		state_wait(&m->changed, g_get_monotonic_time() + 5 * G_TIME_SPAN_MILLISECOND);
	}
}

bool kv_tune_vcpu(struct kv_machine *m, unsigned vcpu, GError **error)
{
	const xmlNode *root = m->d->live ? domain_def_root(m->d->live) : NULL;
	g_autoptr(GArray) threads = NULL;

	if (!root || (!cgroup_wanted(root) && !has_pins(root)))
		return true;
	threads = vcpu_threads(m, error);
	if (!threads || m->gone || !m->d->live)
		return threads;
	root = domain_def_root(m->d->live);
	return pin_as(m, root, threads, error) && (!cgroup_wanted(root) || limit_as(m, root, threads, error));
}

void kv_tune_vcpu_left(struct kv_machine *m, unsigned vcpu)
{
	if (m->cgroup)
		cgroup_remove_vcpu(m->cgroup, vcpu);
}

bool kv_tune(struct domain *d, const struct domain_def *def, GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);
	g_autoptr(GArray) threads = m ? vcpu_threads(m, error) : NULL;

	if (!threads || m->gone)
		return threads && domain_require_active(d, error);
	return limit_as(m, domain_def_root(def), threads, error);
}

bool kv_tuned(struct domain *d, const char *path, gint64 *ret)
{
	const struct kv_machine *m = d->own;

	return m && m->cgroup && cgroup_get(m->cgroup, path, ret);
}

void kv_tune_found(struct kv_machine *m)
{
	g_free(m->cgroup);
	m->cgroup = cgroup_of("", m->pid);
}

void kv_tune_end(struct kv_machine *m)
{
	if (m->cgroup)
		cgroup_remove(m->cgroup);
	g_clear_pointer(&m->cgroup, g_free);
}

/* ---- nodes: before the program begins, as it keeps what its process had ---- */

static const struct {
	const char *mode;
	int policy;
} modes[] = { { "strict", MPOL_BIND }, { "preferred", MPOL_PREFERRED }, { "interleave", MPOL_INTERLEAVE } };

static bool is_node(unsigned n)
{
	g_autofree char *path = g_strdup_printf("/sys/devices/system/node/node%u", n);

	return access(path, F_OK) == 0 || n == 0;
}

bool kv_memory_policy(const xmlNode *domain, struct kv_policy *ret, GError **error)
{
	const char *mode = xml_text(domain, "numatune/memory/@mode"), *nodes = xml_text(domain, "numatune/memory/@nodeset");
	g_autoptr(GByteArray) set = nodes ? field_cpus(nodes) : NULL;

	memset(ret, 0, sizeof(*ret));
	if (!nodes)
		return true;
	for (unsigned i = 0; i < G_N_ELEMENTS(modes); i++)
		if (!mode || !strcmp(mode, modes[i].mode)) {
			ret->policy = modes[i].policy;
			break;
		}
	if (!ret->policy)
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED,
				"numatune mode '%s' is not supported: strict, preferred and interleave are", mode);
	for (guint i = 0; set && i < set->len; i++) {
		if (!set->data[i])
			continue;
		if (i >= NODES_MAX || !is_node(i))
			return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "NUMA node %u is unavailable", i);
		ret->nodes[i / 64] |= G_GUINT64_CONSTANT(1) << i % 64;
	}
	return true;
}

/* In the child, after fork: system calls alone. */
void kv_set_policy(const struct kv_policy *p)
{
	static const char words[] = "kv-vmm: the memory policy of <numatune> cannot be set\n";

	if (p->policy && syscall(SYS_set_mempolicy, p->policy, p->nodes, NODES_MAX + 1) < 0 && errno != ENOSYS)
		_exit(write(STDERR_FILENO, words, sizeof(words) - 1) < 0 ? 126 : 127);
}
