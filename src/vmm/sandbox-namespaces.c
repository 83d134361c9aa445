/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Namespaces: of users, so that what can be got back is worth nothing outside; of mounts, with a root that is empty; of networks,
 * with none; of System V's IPC. unshare(2), user_namespaces(7), mount_namespaces(7). That of processes is in sandbox-processes.c.
 * See sandbox.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandbox.h"

enum { LEAVING_TRIES = 200, LEAVING_US = 50 };

static const char resolver[] = "/etc/resolv.conf";

static bool write_proc(struct sandbox *s, const char *name, const char *text)
{
	int fd = s->proc < 0 ? -1 : openat(s->proc, name, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	int err = errno;

	if (fd >= 0)
		close(fd);
	errno = err;
	return ok;
}

static bool map_ids(struct sandbox *s, uid_t uid, gid_t gid)
{
	g_autofree char *users = g_strdup_printf("%u %u 1", uid, uid), *groups = g_strdup_printf("%u %u 1", gid, gid);

	return write_proc(s, "setgroups", "deny") && write_proc(s, "uid_map", users) && write_proc(s, "gid_map", groups);
}

/* unshare(), or setns() to fd. A thread that was joined is one of the process's for a moment more, and then it is EINVAL. */
static int change_space(int fd, int flag)
{
	int r = fd < 0 ? unshare(flag) : setns(fd, flag);

	for (int i = 0; r && errno == EINVAL && i < LEAVING_TRIES; i++) {
		g_usleep(LEAVING_US);
		r = fd < 0 ? unshare(flag) : setns(fd, flag);
	}
	return r;
}

void sandbox_unshare_users(struct sandbox *s)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);

	if (change_space(-1, CLONE_NEWUSER)) {
		sandbox_left_out(s, "user namespace", errno);
		return;
	}
	/* Who has changed its user does not own its files of /proc, until it may be dumped. */
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	if (!map_ids(s, uid, gid))
		sandbox_left_out(s, "map of the user namespace", errno);
	prctl(PR_SET_DUMPABLE, dumpable == 1, 0, 0, 0);
}

/*
 * The file that libslirp reads whenever the guest asks for a name. Where it is a link into a folder of a resolver's, that is what
 * stays, so that the resolver can replace the file.
 */
static bool keep_resolver(void)
{
	char real[PATH_MAX];
	g_autofree char *folder = NULL;
	int fd;

	if (!realpath(resolver, real))
		return true;
	if (mkdir("etc", 0755))
		return false;
	if (!strcmp(real, resolver)) {
		fd = open("etc/resolv.conf", O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
		if (fd >= 0)
			close(fd);
		return !mount(real, "etc/resolv.conf", NULL, MS_BIND, NULL);
	}
	folder = g_path_get_dirname(real);
	return !g_mkdir_with_parents(folder + 1, 0755) && !mount(folder, folder + 1, NULL, MS_BIND, NULL) &&
	       !symlink(real, "etc/resolv.conf");
}

/* At the same place in the new root, and not for writing. */
static bool keep_folder(const char *path)
{
	struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
	};
	const char *place = path + 1;

	return !g_mkdir_with_parents(place, 0755) && !mount(path, place, NULL, MS_BIND, NULL) &&
	       !mount_setattr(AT_FDCWD, place, 0, &attr, sizeof(attr));
}

static bool make_root(struct sandbox *s)
{
	static const char place[] = "/proc"; /* a folder that every system has */
	enum { FLAGS = MS_NOSUID | MS_NODEV | MS_NOEXEC };

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("kv-vmm", place, "tmpfs", FLAGS, "size=64k,mode=0755") ||
	    chdir(place))
		return false;
	if (s->network && !keep_resolver())
		sandbox_left_out(s, "resolv.conf", errno);
	for (char **folder = s->folders; *folder; folder++)
		if (!keep_folder(*folder))
			sandbox_left_out(s, *folder, errno);
	return !mount(NULL, ".", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | FLAGS, NULL);
}

/* What was there stays below, where nothing leads to; to unmount it would take milliseconds, for the kernel waits for RCU. */
static bool change_root(void)
{
	return !mount(".", "/", NULL, MS_MOVE, NULL) && !chroot(".") && !chdir("/");
}

/* ---- a thread makes them while the machine is made ---- */

static const struct {
	int flag;
	const char *name, *file;
} spaces[] = {
	{ CLONE_NEWIPC, "IPC namespace", "/proc/thread-self/ns/ipc" },
	{ CLONE_NEWNET, "network namespace", "/proc/thread-self/ns/net" },
	{ CLONE_NEWNS, "mount namespace", "/proc/thread-self/ns/mnt" },
};

static bool is_wanted(const struct sandbox *s, int flag)
{
	return flag == CLONE_NEWNET ? !s->network && !s->names : flag == CLONE_NEWNS ? !s->names : true;
}

static struct {
	GThread *thread;
	struct sandbox *s; /* what it shall have and keep */
	int fd[G_N_ELEMENTS(spaces)];
} maker;

/* That they are made is all that counts: what is wrong is found, and said, by who makes them instead. */
static void *make_spaces(void *unused)
{
	int flags = 0;
	bool ok;

	for (unsigned i = 0; i < G_N_ELEMENTS(spaces); i++)
		flags |= is_wanted(maker.s, spaces[i].flag) ? spaces[i].flag : 0;
#ifdef SANDBOX_SANITIZED
	flags &= ~CLONE_NEWNS; /* they keep their files */
#endif
	ok = !unshare(flags);
	for (unsigned i = 0; i < G_N_ELEMENTS(spaces); i++)
		maker.fd[i] = ok && (flags & spaces[i].flag) ? open(spaces[i].file, O_RDONLY | O_CLOEXEC) : -1;
	if (flags & CLONE_NEWNS)
		ok = ok && make_root(maker.s) && change_root();
	return GINT_TO_POINTER(ok && !maker.s->left_out->len);
}

void sandbox_make_spaces(struct sandbox *s)
{
	/* Others than root make a namespace of users first, for the whole process. */
	if (geteuid() != 0)
		return;
	maker.s = s;
	maker.thread = g_thread_try_new("kv-spaces", make_spaces, NULL, NULL);
}

/* Those of the spaces that are wanted which this thread is in now. A file system that was made there is the root then. */
static int take_spaces(void)
{
	bool made;
	int taken = 0;

	if (!maker.thread)
		return 0;
	made = GPOINTER_TO_INT(g_thread_join(g_steal_pointer(&maker.thread)));
	for (unsigned i = 0; i < G_N_ELEMENTS(spaces); i++) {
		if (maker.fd[i] < 0)
			continue;
		if (made && !change_space(maker.fd[i], spaces[i].flag))
			taken |= spaces[i].flag;
		close(maker.fd[i]);
	}
	return taken;
}

void sandbox_unshare(struct sandbox *s)
{
	int taken = take_spaces();

	/* Root has no need of a namespace of users to make others; it gets one when it is root no longer. */
	if (geteuid() != 0)
		sandbox_unshare_users(s);
	for (unsigned i = 0; i < G_N_ELEMENTS(spaces); i++)
		if (is_wanted(s, spaces[i].flag) && !(taken & spaces[i].flag) && unshare(spaces[i].flag))
			sandbox_left_out(s, spaces[i].name, errno);
	s->root_closed = taken & CLONE_NEWNS;
}

void sandbox_close_root(struct sandbox *s)
{
	if (!s->root_closed && (!make_root(s) || !change_root()))
		sandbox_left_out(s, "empty file system", errno);
}
