/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Landlock: which files may be opened, and how. Without a QMP client none, but the few that this process needs itself; with one,
 * those that a person may reasonably name, or those below the places that the user has given; no file may be executed. Numbers of
 * the interface that Debian's headers do not have yet are here. landlock(7), Documentation/userspace-api/landlock.rst.
 * See sandbox.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox.h"

/* Files, by the version of the interface that they came with; then networks and scopes. */
enum {
	RIGHT_EXECUTE = 1 << 0,
	RIGHT_WRITE = 1 << 1,
	RIGHT_READ = 1 << 2,
	RIGHT_READ_DIR = 1 << 3,
	RIGHT_REMOVE_FILE = 1 << 5,
	RIGHTS_1 = (1 << 13) - 1,
	RIGHT_REFER_2 = 1 << 13,
	RIGHT_TRUNCATE_3 = 1 << 14,
	RIGHT_IOCTL_DEV_5 = 1 << 15,
	RIGHTS_OF_FILES = RIGHT_EXECUTE | RIGHT_WRITE | RIGHT_READ | RIGHT_TRUNCATE_3 | RIGHT_IOCTL_DEV_5,
	LOOK = RIGHT_READ | RIGHT_READ_DIR,
	NET_BIND_4 = 1 << 0,
	NET_CONNECT_4 = 1 << 1,
	SCOPE_ABSTRACT_6 = 1 << 0,
	SCOPE_SIGNAL_6 = 1 << 1,
};

struct attributes {
	uint64_t files, net, scoped;
};

/* What of the root may be named with --qmp: all else may be read and written; the kernel's own may not be named at all. */
static const char *const for_reading[] = { "bin", "boot", "etc", "lib", "lib32", "lib64", "libx32", "sbin", "usr", NULL };
static const char *const for_nothing[] = { "dev", "proc", "sys", NULL };
/* What libraries read, wherever the user's files are: modules, certificates, the resolver's configuration. */
static const char *const libraries[] = {
	"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share", "/etc", "/run/systemd/resolve", NULL};

static uint64_t rights_of(int abi)
{
	return RIGHTS_1 | (abi >= 2 ? RIGHT_REFER_2 : 0) | (abi >= 3 ? RIGHT_TRUNCATE_3 : 0) | (abi >= 5 ? RIGHT_IOCTL_DEV_5 : 0);
}

static uint64_t all_but_execute(int abi)
{
	return rights_of(abi) & ~(uint64_t)RIGHT_EXECUTE;
}

/* False: there is no such place, or it takes no rule. */
static bool allow(struct sandbox *s, const char *path, uint64_t rights)
{
	struct landlock_path_beneath_attr rule = { .parent_fd = open(path, O_PATH | O_CLOEXEC) };
	struct stat st;
	bool ok;

	if (rule.parent_fd < 0)
		return false;
	if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
		rights &= RIGHTS_OF_FILES;
	rule.allowed_access = rights;
	ok = !syscall(SYS_landlock_add_rule, s->landlock, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	close(rule.parent_fd);
	return ok;
}

static void allow_system(struct sandbox *s, int abi)
{
	g_autoptr(GDir) root = g_dir_open("/", 0, NULL);
	const char *name;

	while (root && (name = g_dir_read_name(root))) {
		g_autofree char *path = g_strconcat("/", name, NULL);

		if (g_strv_contains(for_reading, name))
			allow(s, path, LOOK);
		else if (!g_strv_contains(for_nothing, name))
			allow(s, path, all_but_execute(abi));
	}
	allow(s, "/dev/shm", all_but_execute(abi));
	allow(s, "/dev/null", RIGHT_READ | RIGHT_WRITE);
}

static void allow_given(struct sandbox *s, int abi)
{
	g_autofree char *program = g_file_read_link("/proc/self/exe", NULL);

	for (const char *const *place = s->files; *place; place++)
		if (!allow(s, *place, all_but_execute(abi))) {
			g_autofree char *what = g_strdup_printf("files=%s", *place);

			sandbox_left_out(s, what, errno);
		}
	for (const char *const *place = libraries; *place; place++)
		allow(s, *place, LOOK);
	if (program) { /* modules are beside it, as module.c says */
		g_autofree char *folder = g_path_get_dirname(program), *above = g_path_get_dirname(folder);

		allow(s, above, LOOK);
	}
}

static void allow_own(struct sandbox *s)
{
	for (const char *const *file = s->sockets; *file; file++) {
		g_autofree char *folder = g_path_get_dirname(*file);

		allow(s, folder, RIGHT_REMOVE_FILE);
	}
	for (char **folder = s->folders; *folder; folder++)
		allow(s, *folder, LOOK);
	if (s->network) {
		g_autofree char *real = realpath("/etc/resolv.conf", NULL), *folder = real ? g_path_get_dirname(real) : NULL;

		if (real)
			allow(s, strcmp(folder, "/etc") ? folder : real, RIGHT_READ);
	}
}

void sandbox_landlock_rules(struct sandbox *s)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct attributes a = { .files = abi > 0 ? rights_of((int)abi) : 0 };
	size_t size = abi >= 6 ? sizeof(a) : abi >= 4 ? offsetof(struct attributes, scoped) : offsetof(struct attributes, net);

	if (abi >= 4 && !s->names)
		a.net = NET_BIND_4 | (s->network ? 0 : NET_CONNECT_4);
	if (abi >= 6)
		a.scoped = SCOPE_SIGNAL_6 | SCOPE_ABSTRACT_6;
	s->landlock = abi > 0 ? (int)syscall(SYS_landlock_create_ruleset, &a, size, 0) : -1;
	if (s->landlock < 0) {
		sandbox_left_out(s, "Landlock", errno);
		return;
	}
	if (s->names && s->files)
		allow_given(s, (int)abi);
	else if (s->names)
		allow_system(s, (int)abi);
	allow_own(s);
}

void sandbox_landlock(struct sandbox *s)
{
	if (s->landlock < 0)
		return;
	if (syscall(SYS_landlock_restrict_self, s->landlock, 0))
		sandbox_left_out(s, "Landlock", errno);
	close(s->landlock);
}
