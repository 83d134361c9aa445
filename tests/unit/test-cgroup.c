/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits as control groups. Without arguments: against folders that look like the kernel's, what is written where, and what is
 * refused in which words. "kernel", in a guest of its own (tests/interop/kvd-host.py): the same against Linux, with a process.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cgroup.h"
#include "model-xml.h"

static char *root;

static void put(const char *file, const char *text)
{
	g_autofree char *path = g_strconcat(root, file, NULL), *folder = g_path_get_dirname(path);

	assert_int_equal(g_mkdir_with_parents(folder, 0755), 0);
	assert_true(g_file_set_contents(path, text, -1, NULL));
}

static char *get(const char *folder, const char *file)
{
	g_autofree char *path = g_build_filename(folder, file, NULL);
	char *text = NULL;

	g_file_get_contents(path, &text, NULL, NULL);
	return text ? g_strchomp(text) : g_strdup("?");
}

static void check_file(const char *folder, const char *file, const char *wanted)
{
	g_autofree char *text = get(folder, file);

	if (strcmp(text, wanted))
		fail_msg("%s/%s has '%s', not '%s'", folder, file, text, wanted);
}

static xmlDoc *domain(const char *limits)
{
	g_autofree char *xml = g_strdup_printf("<domain>%s</domain>", limits);

	return model_xml_parse(xml, -1, "domain", NULL);
}

static void check_fails(const char *limits, const char *words)
{
	g_autoptr(xmlDoc) doc = domain(limits);
	const struct cgroup_threads t = { getpid(), NULL, 0 };
	g_autoptr(GError) error = NULL;
	g_autofree char *group = NULL;

	assert_false(cgroup_apply(root, &group, "1-a", xmlDocGetRootElement(doc), &t, &error));
	if (!strstr(error->message, words))
		fail_msg("'%s' is not in '%s'", words, error->message);
}

/* ---- folders ---- */

static void make_group(const char *name, const char *controllers)
{
	static const char *const files[] = { "cgroup.procs", "cgroup.threads", "cgroup.type", "cgroup.subtree_control" };

	for (unsigned i = 0; i < G_N_ELEMENTS(files); i++) {
		g_autofree char *file = g_strdup_printf("/cg%s/%s", name, files[i]);

		put(file, "");
	}
	g_autofree char *file = g_strdup_printf("/cg%s/cgroup.controllers", name);
	put(file, controllers);
}

static void make_files(const char *group)
{
	static const char *const files[] = { "cpu.weight", "cpu.max", "memory.max", "memory.high", "memory.swap.max", "io.weight",
					     "io.max" };

	for (unsigned i = 0; i < G_N_ELEMENTS(files); i++) {
		g_autofree char *file = g_strdup_printf("/cg%s/%s", group, files[i]);

		put(file, "");
	}
}

static void test_folders(void **state)
{
	const pid_t vcpus[] = { 101, 102 };
	const struct cgroup_threads t = { 100, vcpus, 2 };
	g_autofree char *machine = g_strconcat(root, "/cg/svc/machine-1-a", NULL), *group = NULL, *self = NULL, *in = NULL;
	g_autofree char *vcpu = g_strconcat(machine, "/vcpu1", NULL), *emulator = g_strconcat(machine, "/emulator", NULL);
	g_autoptr(xmlDoc) none = domain("<cputune><vcpupin vcpu='0' cpuset='0'/></cputune>");
	g_autoptr(xmlDoc) doc = domain("<cputune><shares>200</shares><quota>50000</quota><period>20000</period>"
				       "<global_quota>30000</global_quota><emulator_quota>-1</emulator_quota></cputune>"
				       "<memtune><hard_limit unit='KiB'>2048</hard_limit><soft_limit>1024</soft_limit>"
				       "<swap_hard_limit>3072</swap_hard_limit></memtune>"
				       "<blkiotune><weight>300</weight></blkiotune>");
	g_autoptr(GError) error = NULL;
	gint64 n;

	put("/proc/self/mountinfo", "20 1 0:1 / /proc rw - proc proc rw\n30 1 0:2 / /cg rw,nosuid - cgroup2 cgroup2 rw\n");
	put("/proc/self/cgroup", "5:cpu:/x\n0::/svc\n");
	put("/proc/100/cgroup", "0::/svc/machine-1-a/vcpu0\n");
	make_group("/svc", "cpu memory io");
	put("/cg/svc/cgroup.subtree_control", "cpu");
	make_group("/svc/machine-1-a", "cpu memory io");
	make_files("/svc/machine-1-a");
	for (int i = -1; i < 2; i++) {
		g_autofree char *below = i < 0 ? g_strdup("/svc/machine-1-a/emulator")
					       : g_strdup_printf("/svc/machine-1-a/vcpu%d", i);

		make_group(below, "cpu");
		make_files(below);
	}
	in = cgroup_of(root, 100);
	assert_string_equal(in, machine);
	self = cgroup_of(root, 999);
	assert_null(self);
	assert_null(cgroup_wanted(xmlDocGetRootElement(none)));
	assert_string_equal(cgroup_wanted(xmlDocGetRootElement(doc)), "cputune/shares");
	assert_true(cgroup_apply(root, &group, "1-a", xmlDocGetRootElement(none), &t, &error));
	assert_null(group);
	if (!cgroup_apply(root, &group, "1-a", xmlDocGetRootElement(doc), &t, &error))
		fail_msg("%s", error->message);
	assert_string_equal(group, machine);
	check_file(machine, "cgroup.procs", "100");
	check_file(machine, "cpu.weight", "200");
	check_file(machine, "cpu.max", "30000 100000");
	check_file(machine, "memory.max", "2097152");
	check_file(machine, "memory.high", "1048576");
	check_file(machine, "memory.swap.max", "1048576");
	check_file(machine, "io.weight", "300");
	check_file(vcpu, "cpu.max", "50000 20000");
	check_file(emulator, "cpu.max", "max 100000");
	assert_true(cgroup_get(machine, "memtune/swap_hard_limit", &n) && n == 3072);
	assert_true(cgroup_get(machine, "cputune/quota", &n) && n == 50000);
	assert_true(cgroup_get(machine, "cputune/emulator_quota", &n) && n == -1);
	assert_true(cgroup_get(machine, "cputune/global_period", &n) && n == 100000);
	assert_false(cgroup_get(machine, "cputune/other", &n));
}

/* systemd has made a scope, where the machine and what it has started are: they move down before that is divided. */
static void test_scope(void **state)
{
	static const char name[] = "/machine.slice/machine-kv\\x2d3\\x2dc.scope", below[] = "/machine-3-c";
	const struct cgroup_threads t = { 300, NULL, 0 };
	g_autofree char *scope = g_strconcat(root, "/cg", name, NULL), *machine = g_strconcat(scope, below, NULL);
	g_autofree char *row = g_strdup_printf("0::%s\n", name), *low = g_strdup_printf("0::%s%s/vcpu0\n", name, below);
	g_autofree char *procs = g_strdup_printf("/cg%s/cgroup.procs", name), *inner = g_strconcat(name, below, NULL);
	g_autofree char *found = NULL, *none = NULL, *group = NULL, *later = NULL, *no_scope = NULL;
	g_autoptr(xmlDoc) doc = domain("<cputune><shares>200</shares></cputune>");
	g_autoptr(GError) error = NULL;

	put("/proc/300/cgroup", row);
	make_group(name, "cpu memory");
	make_group(inner, "cpu");
	make_files(inner);
	put(procs, "301\n300\n");
	found = cgroup_scope(root, 300);
	assert_string_equal(found, scope);
	none = cgroup_of(root, 300);
	assert_null(none);
	if (!cgroup_apply(root, &group, "3-c", xmlDocGetRootElement(doc), &t, &error))
		fail_msg("%s", error->message);
	assert_string_equal(group, machine);
	check_file(machine, "cgroup.procs", "300"); /* the last one that was written */
	check_file(machine, "cpu.weight", "200");
	check_file(scope, "cgroup.subtree_control", "+cpu");
	put("/proc/300/cgroup", low);
	later = cgroup_of(root, 300);
	assert_string_equal(later, machine);
	no_scope = cgroup_scope(root, 300);
	assert_null(no_scope);
}

static void test_refused(void **state)
{
	make_group("/svc/machine-2-b", "");
	check_fails("<memtune><swap_hard_limit>3</swap_hard_limit></memtune>", "needs a <hard_limit> beside it");
	check_fails("<cputune><shares>20000</shares></cputune>", "in range [1, 10000]");
	check_fails("<blkiotune><device><path>/proc/version</path><weight>5</weight></device></blkiotune>",
		    "Path '/proc/version' must be a block device");
	put("/cg/svc/cgroup.controllers", "memory pids");
	put("/cg/svc/cgroup.subtree_control", "");
	check_fails("<cputune><shares>20</shares></cputune>", "the limit <cputune/shares> cannot be kept");
	check_fails("<cputune><global_quota>2000</global_quota></cputune>", "has no controller 'cpu' (it has: memory pids)");
	put("/proc/self/mountinfo", "20 1 0:1 / /proc rw - proc proc rw\n");
	check_fails("<cputune><shares>20</shares></cputune>", "no cgroup hierarchy of version 2 is mounted");
}

/* ---- the kernel ---- */

static pid_t thread_of_child;

static void *sleep_on(void *pipe)
{
	pid_t self = (pid_t)syscall(SYS_gettid);

	if (write(*(int *)pipe, &self, sizeof(self)) == sizeof(self))
		pause();
	return NULL;
}

static pid_t start_child(void)
{
	int ends[2];
	pid_t child;

	assert_int_equal(pipe(ends), 0);
	child = fork();
	if (child == 0) {
		pthread_t thread;

		pthread_create(&thread, NULL, sleep_on, &ends[1]);
		pause();
	}
	assert_int_equal(read(ends[0], &thread_of_child, sizeof(thread_of_child)), sizeof(thread_of_child));
	return child;
}

static void check_get(const char *group, const char *path, gint64 wanted)
{
	gint64 n = 0;

	if (!cgroup_get(group, path, &n) || n != wanted)
		fail_msg("%s: %lld, not %lld", path, (long long)n, (long long)wanted);
}

/* A vCPU that comes later, as the third: it has a group with the limits, and none is made of the one that is absent. */
static void check_later(char *group, const xmlDoc *doc, pid_t child)
{
	const pid_t vcpus[] = { thread_of_child, 0, child };
	const struct cgroup_threads t = { child, vcpus, G_N_ELEMENTS(vcpus) };
	g_autofree char *later = g_build_filename(group, "vcpu2", NULL), *absent = g_build_filename(group, "vcpu1", NULL);
	g_autofree char *thread = g_strdup_printf("%d", (int)child);
	g_autoptr(GError) error = NULL;

	if (!cgroup_apply("", &group, "7-g", xmlDocGetRootElement(doc), &t, &error))
		fail_msg("%s", error->message);
	check_file(later, "cgroup.threads", thread);
	check_file(later, "cpu.max", "50000 20000");
	assert_int_equal(access(absent, F_OK), -1);
}

static void test_kernel(void **state)
{
	const char *service = "/sys/fs/cgroup/svc";
	g_autofree char *self = g_strdup_printf("%d", (int)getpid()), *group = NULL, *in = NULL, *vcpu = NULL, *procs = NULL;
	g_autofree char *threads = NULL, *thread = NULL, *one = NULL, *later = NULL;
	g_autoptr(xmlDoc) doc = domain("<cputune><shares>200</shares><quota>50000</quota><period>20000</period>"
				       "<global_quota>30000</global_quota></cputune>"
				       "<memtune><hard_limit>65536</hard_limit><soft_limit>32768</soft_limit></memtune>");
	g_autoptr(xmlDoc) less = domain("<cputune><shares>300</shares></cputune>");
	g_autoptr(xmlDoc) device = domain("<blkiotune><device><path>/dev/vda</path><read_bytes_sec>1048576</read_bytes_sec>"
					  "</device></blkiotune>");
	pid_t child;
	struct cgroup_threads t;
	g_autoptr(GError) error = NULL;

	root = g_strdup("");
	assert_int_equal(mkdir(service, 0755), 0);
	one = g_build_filename(service, "cgroup.procs", NULL);
	int fd = open(one, O_WRONLY);
	assert_true(write(fd, self, strlen(self)) > 0);
	close(fd);
	cgroup_settle("");
	check_file("/sys/fs/cgroup/svc/kvd", "cgroup.procs", self);
	child = start_child();
	t = (struct cgroup_threads){ child, &thread_of_child, 1 };
	if (!cgroup_apply("", &group, "7-g", xmlDocGetRootElement(doc), &t, &error))
		fail_msg("%s", error->message);
	assert_string_equal(group, "/sys/fs/cgroup/svc/machine-7-g");
	in = cgroup_of("", child);
	assert_string_equal(in, group);
	check_get(group, "cputune/shares", 200);
	check_get(group, "cputune/quota", 50000);
	check_get(group, "cputune/period", 20000);
	check_get(group, "cputune/global_quota", 30000);
	check_get(group, "memtune/hard_limit", 65536);
	check_get(group, "memtune/soft_limit", 32768);
	vcpu = g_build_filename(group, "vcpu0", NULL);
	later = g_build_filename(group, "vcpu2", NULL);
	thread = g_strdup_printf("%d", (int)thread_of_child);
	check_file(vcpu, "cgroup.threads", thread);
	check_later(group, doc, child);
	if (!cgroup_apply("", &group, "7-g", xmlDocGetRootElement(less), &t, &error))
		fail_msg("%s", error->message);
	check_get(group, "cputune/shares", 300);
	check_get(group, "cputune/quota", -1);
	check_get(group, "memtune/hard_limit", G_GINT64_CONSTANT(9007199254740991));
	if (!cgroup_apply("", &group, "7-g", xmlDocGetRootElement(device), &t, &error))
		fail_msg("%s", error->message);
	threads = get(group, "io.max");
	assert_non_null(strstr(threads, "rbps=1048576 wbps=max"));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	cgroup_remove_vcpu(group, 2);
	assert_int_equal(access(later, F_OK), -1);
	cgroup_remove(group);
	assert_int_equal(access(group, F_OK), -1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_folders), cmocka_unit_test(test_scope),
					    cmocka_unit_test(test_refused) };
	const struct CMUnitTest kernel[] = { cmocka_unit_test(test_kernel) };
	int failed;

	if (argc > 1 && !strcmp(argv[1], "kernel"))
		return cmocka_run_group_tests(kernel, NULL, NULL);
	root = g_dir_make_tmp("kv-cgroup-XXXXXX", NULL);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	if (root && strstr(root, "kv-cgroup-")) {
		const char *words[] = { "rm", "-rf", root, NULL };

		g_spawn_sync(NULL, (char **)words, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL);
	}
	return failed;
}
