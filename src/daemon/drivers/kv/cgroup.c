/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See cgroup.h. Called by tune.c. */
#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "error.h"
#include "message.h"
#include "model-xml.h"

#define OWN "kvd"
#define MACHINE "machine-"
#define SCOPE ".scope"
enum { FILE_MAX = 65536, PERIOD = 100000 };
/* In KiB: libvirt's "no limit". */
#define UNLIMITED G_GINT64_CONSTANT(9007199254740991)

enum scope { WHOLE, VCPUS, EMULATOR };

/* Elements with a number, and the file that has it. Periods and quotas share a file: below. */
static const struct {
	const char *path, *controller, *file, *other; /* other: the file of another scheduler of disks; NULL */
	const char *none;			       /* what the file has without a limit */
	bool kib;
} numbers[] = {
	{ "cputune/shares", "cpu", "cpu.weight", NULL, "100" },
	{ "memtune/hard_limit", "memory", "memory.max", NULL, "max", true },
	{ "memtune/soft_limit", "memory", "memory.high", NULL, "max", true },
	{ "memtune/swap_hard_limit", "memory", "memory.swap.max", NULL, "max", true },
	{ "blkiotune/weight", "io", "io.bfq.weight", "io.weight", "default 100" },
};
static const struct {
	const char *quota, *period;
	enum scope scope;
} times[] = {
	{ "cputune/global_quota", "cputune/global_period", WHOLE },
	{ "cputune/quota", "cputune/period", VCPUS },
	{ "cputune/emulator_quota", "cputune/emulator_period", EMULATOR },
};
/* Of a device's row in io.max. */
static const struct {
	const char *path, *key;
} device_limits[] = {
	{ "read_bytes_sec", "rbps" },
	{ "write_bytes_sec", "wbps" },
	{ "read_iops_sec", "riops" },
	{ "write_iops_sec", "wiops" },
};

/* ---- files ---- */

static char *read_file(const char *folder, const char *file)
{
	g_autofree char *path = g_build_filename(folder, file, NULL), *text = NULL;
	gsize len;

	return g_file_get_contents(path, &text, &len, NULL) && len <= FILE_MAX ? g_strchomp(g_steal_pointer(&text)) : NULL;
}

static bool there_is(const char *folder, const char *file)
{
	g_autofree char *path = g_build_filename(folder, file, NULL);

	return access(path, F_OK) == 0;
}

static bool write_file(const char *folder, const char *file, const char *text, GError **error)
{
	g_autofree char *path = g_build_filename(folder, file, NULL);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	int why = errno;

	if (fd >= 0)
		close(fd);
	return ok || rpc_fail(error, VIR_ERR_SYSTEM_ERROR, "Unable to write to '%s': %s", path, g_strerror(why));
}

static bool write_number(const char *folder, const char *file, gint64 n, GError **error)
{
	g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT, n);

	return write_file(folder, file, text, error);
}

static bool has_word(const char *text, const char *word)
{
	g_auto(GStrv) words = text ? g_strsplit_set(text, " \n", -1) : NULL;

	return words && g_strv_contains((const char *const *)words, word);
}

/* ---- where ---- */

/* Where the second version is mounted: the fifth field of a row of /proc/self/mountinfo whose type is cgroup2 (proc(5)). */
static char *find_mount(const char *root)
{
	g_autofree char *path = g_strconcat(root, "/proc/self/mountinfo", NULL), *text = NULL;
	g_auto(GStrv) lines = NULL;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return NULL;
	lines = g_strsplit(text, "\n", -1);
	for (char **l = lines; *l; l++) {
		g_auto(GStrv) words = g_strsplit(*l, " ", 6);

		if (g_strv_length(words) == 6 && strstr(words[5], " - cgroup2 "))
			return g_strconcat(root, words[4], NULL);
	}
	return NULL;
}

/* The row "0::/…" of /proc/PID/cgroup, below the mount. */
static char *group_of(const char *root, const char *process)
{
	g_autofree char *path = g_strconcat(root, "/proc/", process, "/cgroup", NULL), *text = NULL, *mount = find_mount(root);
	const char *at;

	if (!mount || !g_file_get_contents(path, &text, NULL, NULL))
		return NULL;
	at = g_str_has_prefix(text, "0::") ? text : strstr(text, "\n0::");
	if (!at)
		return NULL;
	at = strstr(at, "0::") + strlen("0::");
	path = (g_free(path), g_strndup(at, strcspn(at, "\n")));
	return g_canonicalize_filename(path + (*path == '/'), mount);
}

/* The path up to its last part that is a machine's, of either kind. */
static char *machine_part(const char *root, pid_t pid, bool scope)
{
	g_autofree char *process = g_strdup_printf("%d", (int)pid), *group = group_of(root, process), *part = NULL;
	const char *at = group ? g_strrstr(group, "/" MACHINE) : NULL;

	if (!at)
		return NULL;
	part = g_strndup(group, (gsize)(at - group) + 1 + strcspn(at + 1, "/"));
	return g_str_has_suffix(part, SCOPE) == scope ? g_steal_pointer(&part) : NULL;
}

char *cgroup_of(const char *root, pid_t pid)
{
	return machine_part(root, pid, false);
}

char *cgroup_scope(const char *root, pid_t pid)
{
	return machine_part(root, pid, true);
}

/* The daemon's group, or the one above when it is in the one that it made. */
static char *find_base(const char *root)
{
	g_autofree char *own = group_of(root, "self");

	if (own && g_str_has_suffix(own, "/" OWN))
		own[strlen(own) - strlen("/" OWN)] = 0;
	return g_steal_pointer(&own);
}

static bool is_root(const char *group)
{
	return !there_is(group, "cgroup.type");
}

void cgroup_settle(const char *root)
{
	g_autofree char *base = find_base(root), *own = base ? g_build_filename(base, OWN, NULL) : NULL;
	g_autofree char *procs = base ? read_file(base, "cgroup.procs") : NULL, *self = g_strdup_printf("%d", (int)getpid());

	if (!base || is_root(base) || !procs || strcmp(procs, self) || (mkdir(own, 0755) < 0 && errno != EEXIST))
		return;
	if (!write_file(own, "cgroup.procs", self, NULL))
		rmdir(own);
}

/* ---- what is wanted ---- */

const char *cgroup_wanted(const xmlNode *domain)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(numbers); i++)
		if (xml_text(domain, numbers[i].path))
			return numbers[i].path;
	for (unsigned i = 0; i < G_N_ELEMENTS(times); i++)
		if (xml_text(domain, times[i].quota))
			return times[i].quota;
	return xml_child(domain, "blkiotune/device") ? "blkiotune/device" : NULL;
}

static bool wants(const xmlNode *domain, const char *controller)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(numbers); i++)
		if (!strcmp(numbers[i].controller, controller) && xml_text(domain, numbers[i].path))
			return true;
	for (unsigned i = 0; !strcmp(controller, "cpu") && i < G_N_ELEMENTS(times); i++)
		if (xml_text(domain, times[i].quota))
			return true;
	return !strcmp(controller, "io") && xml_child(domain, "blkiotune/device");
}

static bool wants_threads(const xmlNode *domain)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(times); i++)
		if (times[i].scope != WHOLE && xml_text(domain, times[i].quota))
			return true;
	return false;
}

/* ---- making groups ---- */

static bool refuse(const xmlNode *domain, GError **error, const char *why)
{
	return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "the limit <%s> cannot be kept: %s", cgroup_wanted(domain), why);
}

static bool enable(const char *group, const char *controller, const xmlNode *domain, GError **error)
{
	g_autofree char *there = read_file(group, "cgroup.controllers"), *now = read_file(group, "cgroup.subtree_control");
	g_autofree char *word = g_strconcat("+", controller, NULL), *why = NULL;
	g_autoptr(GError) failed = NULL;

	if (has_word(now, controller))
		return true;
	if (!has_word(there, controller))
		why = g_strdup_printf("the cgroup '%s' has no controller '%s' (it has: %s)", group, controller,
				      there && *there ? there : "none");
	else if (!write_file(group, "cgroup.subtree_control", word, &failed))
		why = g_strdup_printf("%s (a service of systemd needs Delegate=yes)", failed->message);
	return !why || refuse(domain, error, why);
}

static bool enable_all(const char *base, const xmlNode *domain, GError **error)
{
	static const char *const controllers[] = { "cpu", "memory", "io" };

	for (unsigned i = 0; i < G_N_ELEMENTS(controllers); i++)
		if (wants(domain, controllers[i]) && !enable(base, controllers[i], domain, error))
			return false;
	return true;
}

static bool make(const char *group, GError **error)
{
	return mkdir(group, 0755) == 0 || errno == EEXIST ||
	       rpc_fail(error, VIR_ERR_SYSTEM_ERROR, "cannot make the cgroup '%s': %s", group, g_strerror(errno));
}

/* All that is in a scope, which is to be divided: the machine, and what it has started. */
static bool move_all(const char *from, const char *group, GError **error)
{
	g_autofree char *procs = read_file(from, "cgroup.procs");
	g_auto(GStrv) ids = g_strsplit(procs ? procs : "", "\n", -1);

	for (char **id = ids; *id; id++)
		if (**id && !write_file(group, "cgroup.procs", *id, error))
			return false;
	return true;
}

static char *make_machine(const char *root, const char *name, const xmlNode *domain, pid_t pid, GError **error)
{
	g_autofree char *scope = cgroup_scope(root, pid), *base = scope ? g_strdup(scope) : find_base(root);
	g_autofree char *file = g_strconcat(MACHINE, name, NULL), *group = base ? g_build_filename(base, file, NULL) : NULL;
	bool ok;

	if (!base) {
		refuse(domain, error, "no cgroup hierarchy of version 2 is mounted");
		return NULL;
	}
	if (access(base, W_OK) < 0) {
		refuse(domain, error, "the daemon's cgroup is not its own to divide: run it as a service with Delegate=yes");
		return NULL;
	}
	if (scope)
		ok = make(group, error) && move_all(scope, group, error) && enable_all(base, domain, error);
	else
		ok = enable_all(base, domain, error) && make(group, error) && write_number(group, "cgroup.procs", pid, error);
	if (ok)
		return g_steal_pointer(&group);
	rmdir(group);
	return NULL;
}

static char *thread_group(const char *group, int vcpu)
{
	g_autofree char *name = vcpu < 0 ? g_strdup("emulator") : g_strdup_printf("vcpu%d", vcpu);

	return g_build_filename(group, name, NULL);
}

/* One that came later: the groups are divided already. */
static bool make_vcpu(const char *group, const struct cgroup_threads *t, unsigned vcpu, GError **error)
{
	g_autofree char *below = thread_group(group, (int)vcpu);

	return make(below, error) && write_file(below, "cgroup.type", "threaded", error) &&
	       write_number(below, "cgroup.threads", t->vcpus[vcpu], error);
}

void cgroup_remove_vcpu(const char *group, unsigned vcpu)
{
	g_autofree char *below = thread_group(group, (int)vcpu);

	rmdir(below);
}

/* Below a machine's group are groups of threads: one for each vCPU, one for all others. */
static bool make_threads(const char *group, const xmlNode *domain, const struct cgroup_threads *t, GError **error)
{
	g_autofree char *tasks = NULL;
	g_auto(GStrv) ids = NULL;

	for (int i = -1; i < (int)t->n_vcpus; i++) {
		g_autofree char *below = thread_group(group, i);

		if (i >= 0 && !t->vcpus[i])
			continue;
		if (!make(below, error) || !write_file(below, "cgroup.type", "threaded", error))
			return false;
	}
	if (!enable(group, "cpu", domain, error))
		return false;
	for (unsigned i = 0; i < t->n_vcpus; i++) {
		g_autofree char *below = thread_group(group, (int)i);

		if (t->vcpus[i] && !write_number(below, "cgroup.threads", t->vcpus[i], error))
			return false;
	}
	tasks = read_file(group, "cgroup.threads");
	ids = tasks ? g_strsplit(tasks, "\n", -1) : NULL;
	for (char **id = ids; id && *id; id++) {
		g_autofree char *below = thread_group(group, -1);

		if (**id)
			write_file(below, "cgroup.threads", *id, NULL); /* it may have ended */
	}
	return true;
}

/* ---- limits ---- */

static gint64 number_in(const xmlNode *domain, const char *path, gint64 otherwise)
{
	const char *text = xml_text(domain, path);
	gint64 n;

	return text && g_ascii_string_to_signed(text, 10, G_MININT64, G_MAXINT64, &n, NULL) ? n : otherwise;
}

/* Memory and swap together are told as one number; the kernel has swap alone. */
static bool limit_of(const xmlNode *domain, unsigned i, gint64 *ret, GError **error)
{
	gint64 hard = number_in(domain, "memtune/hard_limit", -1);

	*ret = number_in(domain, numbers[i].path, 0);
	if (!strcmp(numbers[i].file, "memory.swap.max")) {
		if (hard < 0)
			return refuse(domain, error,
				      "<swap_hard_limit> is of memory and swap, and needs a <hard_limit> beside it");
		*ret -= hard;
	}
	if (!strcmp(numbers[i].file, "cpu.weight") && (*ret < 1 || *ret > 10000))
		return rpc_fail(error, VIR_ERR_INVALID_ARG,
				"shares '%" G_GINT64_FORMAT "' must be in range [1, 10000]", *ret);
	if (numbers[i].kib)
		*ret = *ret > G_MAXINT64 / 1024 ? G_MAXINT64 : *ret * 1024;
	return true;
}

static bool apply_number(const char *group, const xmlNode *domain, unsigned i, GError **error)
{
	const char *file = numbers[i].other && !there_is(group, numbers[i].file) ? numbers[i].other : numbers[i].file;
	g_autofree char *why = g_strdup_printf("this kernel has no '%s'", file);
	gint64 n;

	if (!xml_text(domain, numbers[i].path))
		return !there_is(group, file) || write_file(group, file, numbers[i].none, error);
	if (!there_is(group, file))
		return refuse(domain, error, why);
	return limit_of(domain, i, &n, error) && write_number(group, file, n, error);
}

static bool apply_time(const char *group, const xmlNode *domain, unsigned i, GError **error)
{
	gint64 quota = number_in(domain, times[i].quota, -1), period = number_in(domain, times[i].period, PERIOD);
	g_autofree char *text = quota > 0 ? g_strdup_printf("%" G_GINT64_FORMAT " %" G_GINT64_FORMAT, quota, period)
					  : g_strdup_printf("max %" G_GINT64_FORMAT, period);

	if (quota <= 0 && !there_is(group, "cpu.max"))
		return true;
	return write_file(group, "cpu.max", text, error);
}

static bool apply_times(const char *group, const xmlNode *domain, const struct cgroup_threads *t, GError **error)
{
	g_autofree char *emulator = thread_group(group, -1);
	bool divided = access(emulator, F_OK) == 0;

	if (wants_threads(domain) && !divided && t->n_vcpus) { /* without: it has not run yet */
		if (!make_threads(group, domain, t, error))
			return false;
		divided = true;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(times); i++) {
		if (times[i].scope == WHOLE && !apply_time(group, domain, i, error))
			return false;
		if (times[i].scope == EMULATOR && divided && !apply_time(emulator, domain, i, error))
			return false;
		for (unsigned v = 0; times[i].scope == VCPUS && divided && v < t->n_vcpus; v++) {
			g_autofree char *below = thread_group(group, (int)v);

			if (!t->vcpus[v])
				continue;
			if (access(below, F_OK) < 0 && !make_vcpu(group, t, v, error))
				return false;
			if (!apply_time(below, domain, i, error))
				return false;
		}
	}
	return true;
}

/* Each device that a row names, "253:0"; rows of those that are not named any more are reset. */
static char *device_number(const char *path, GError **error)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		rpc_fail(error, VIR_ERR_SYSTEM_ERROR, "Path '%s' is not accessible: %s", path, g_strerror(errno));
		return NULL;
	}
	if (!S_ISBLK(st.st_mode)) {
		rpc_fail(error, VIR_ERR_INVALID_ARG, "Path '%s' must be a block device", path);
		return NULL;
	}
	return g_strdup_printf("%u:%u", major(st.st_rdev), minor(st.st_rdev));
}

static bool apply_device(const char *group, const xmlNode *device, GHashTable *named, GError **error)
{
	g_autofree char *number = device_number(xml_text(device, "path"), error), *weight = NULL;
	const char *file = there_is(group, "io.bfq.weight") ? "io.bfq.weight" : "io.weight";
	g_autoptr(GString) row = g_string_new(number);

	if (!number)
		return false;
	for (unsigned i = 0; i < G_N_ELEMENTS(device_limits); i++) {
		const char *text = xml_text(device, device_limits[i].path);

		g_string_append_printf(row, " %s=%s", device_limits[i].key, text && strcmp(text, "0") ? text : "max");
	}
	if (!write_file(group, "io.max", row->str, error))
		return false;
	g_hash_table_add(named, g_strdup(number));
	if (!xml_text(device, "weight"))
		return true;
	weight = g_strdup_printf("%s %s", number, xml_text(device, "weight"));
	return write_file(group, file, weight, error);
}

static bool apply_devices(const char *group, const xmlNode *domain, GError **error)
{
	g_autoptr(GHashTable) named = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_autofree char *now = read_file(group, "io.max");
	g_auto(GStrv) rows = now ? g_strsplit(now, "\n", -1) : NULL;

	for (const xmlNode *d = xml_child(domain, "blkiotune/device"); d; d = xml_next(d))
		if (!apply_device(group, d, named, error))
			return false;
	for (char **row = rows; row && *row; row++) {
		g_autofree char *number = g_strndup(*row, strcspn(*row, " "));
		g_autofree char *reset = g_strconcat(number, " rbps=max wbps=max riops=max wiops=max", NULL);

		if (*number && !g_hash_table_contains(named, number) && !write_file(group, "io.max", reset, error))
			return false;
	}
	return true;
}

bool cgroup_apply(const char *root, char **group, const char *name, const xmlNode *domain,
		  const struct cgroup_threads *threads, GError **error)
{
	g_autofree char *base = NULL;

	if (!*group && !cgroup_wanted(domain))
		return true;
	if (*group) {
		base = g_path_get_dirname(*group);
		if (!enable_all(base, domain, error))
			return false;
	} else if (!(*group = make_machine(root, name, domain, threads->pid, error))) {
		return false;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(numbers); i++)
		if (!apply_number(*group, domain, i, error))
			return false;
	return apply_times(*group, domain, threads, error) && apply_devices(*group, domain, error);
}

/* ---- what there is ---- */

static bool get_time(const char *group, unsigned i, bool quota, gint64 *ret)
{
	int vcpu = times[i].scope == VCPUS ? 0 : -1;
	g_autofree char *below = times[i].scope == WHOLE ? g_strdup(group) : thread_group(group, vcpu);
	g_autofree char *text = read_file(below, "cpu.max");
	g_auto(GStrv) words = text ? g_strsplit(text, " ", 2) : NULL;

	if (!words || !words[0] || !words[1])
		return false;
	*ret = !quota ? g_ascii_strtoll(words[1], NULL, 10) : strcmp(words[0], "max") ? g_ascii_strtoll(words[0], NULL, 10) : -1;
	return true;
}

static bool get_number(const char *group, unsigned i, gint64 *ret)
{
	const char *file = numbers[i].other && !there_is(group, numbers[i].file) ? numbers[i].other : numbers[i].file;
	g_autofree char *text = read_file(group, file), *hard = NULL;
	const char *n = text && g_str_has_prefix(text, "default ") ? text + strlen("default ") : text;

	if (!n)
		return false;
	*ret = !strcmp(n, "max") ? UNLIMITED : g_ascii_strtoll(n, NULL, 10) / (numbers[i].kib ? 1024 : 1);
	if (!strcmp(file, "memory.swap.max") && *ret != UNLIMITED) {
		hard = read_file(group, "memory.max");
		*ret = hard && strcmp(hard, "max") ? *ret + g_ascii_strtoll(hard, NULL, 10) / 1024 : UNLIMITED;
	}
	return true;
}

bool cgroup_get(const char *group, const char *path, gint64 *ret)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(numbers); i++)
		if (!strcmp(numbers[i].path, path))
			return get_number(group, i, ret);
	for (unsigned i = 0; i < G_N_ELEMENTS(times); i++)
		if (!strcmp(times[i].quota, path) || !strcmp(times[i].period, path))
			return get_time(group, i, !strcmp(times[i].quota, path), ret);
	return false;
}

void cgroup_remove(const char *group)
{
	g_autoptr(GDir) dir = g_dir_open(group, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *below = g_build_filename(group, name, NULL);

		if (g_file_test(below, G_FILE_TEST_IS_DIR))
			rmdir(below);
	}
	rmdir(group);
}
