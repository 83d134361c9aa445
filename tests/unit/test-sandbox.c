/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sandbox-seccomp.c and the tables of roles: in a child that takes a role's filter, what it may not call ends it by SIGSYS. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/kvm.h>

#include "sandbox-filters.h"
#include "sandbox.h"

enum outcome { KILLED, REFUSED, DONE };

static const char *const outcome_names[] = { "killed", "refused", "done" };

/* sandbox-seccomp.c wants it of sandbox.c, when the kernel has no filters at all. */
void sandbox_left_out(struct sandbox *s, const char *what, int err)
{
	fail_msg("%s: %s", what, strerror(err));
}

/* ---- calls: negative errno, or what the kernel answers ---- */

static long result(long answer)
{
	return answer < 0 ? -errno : answer;
}

static long call_execve(void)
{
	static char *const args[] = { (char *)"true", NULL };

	return result(syscall(SYS_execve, "/bin/true", args, NULL));
}

static long call_openat(void)
{
	return result(syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY));
}

static long call_unix(void)
{
	return result(syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0));
}

static long call_inet(void)
{
	return result(syscall(SYS_socket, AF_INET, SOCK_STREAM, 0));
}

static long call_packet(void)
{
	return result(syscall(SYS_socket, AF_PACKET, SOCK_RAW, 0));
}

static long call_ptrace(void)
{
	return result(syscall(SYS_ptrace, 16, getppid(), 0, 0));
}

static long call_kill(void)
{
	return result(syscall(SYS_kill, getpid(), 0));
}

static long call_tgkill_other(void)
{
	return result(syscall(SYS_tgkill, 1, 1, 0));
}

static long call_tgkill_own(void)
{
	return result(syscall(SYS_tgkill, getpid(), gettid(), 0));
}

static long call_fork(void)
{
	return result(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

static long call_unshare(void)
{
	return result(syscall(SYS_unshare, CLONE_NEWUSER));
}

static long call_ring(void)
{
	return result(syscall(SYS_io_uring_setup, 1, NULL)); /* EFAULT where it is allowed */
}

static long call_memory(void)
{
	return result(syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) < 0;
}

static long map(int prot)
{
	return result(syscall(SYS_mmap, NULL, 4096, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) < 0 ? -EPERM : 0;
}

static long call_map_code(void)
{
	return map(PROT_READ | PROT_EXEC);
}

static long call_map_writable_code(void)
{
	return map(PROT_READ | PROT_WRITE | PROT_EXEC);
}

static long call_protect_code(void)
{
	static uint8_t page[8192];
	uintptr_t at = ((uintptr_t)page + 4095) & ~(uintptr_t)4095;

	return result(syscall(SYS_mprotect, at, 4096, PROT_READ | PROT_EXEC));
}

static long call_kvm(void)
{
	return result(syscall(SYS_ioctl, -1, KVM_RUN, 0)) == -EBADF ? 0 : -EPERM;
}

static long call_pread(void)
{
	char byte;

	return result(syscall(SYS_pread64, -1, &byte, 1, 0)) == -EBADF ? 0 : -EPERM;
}

static long call_unlink(void)
{
	return result(syscall(SYS_unlinkat, AT_FDCWD, "/nowhere/at/all", 0)) == -ENOENT ? 0 : -EPERM;
}

/* What each role gets; of roles that are not named: the rest. */
static const struct attempt {
	const char *name;
	long (*call)(void);
	const char *roles;
	enum outcome outcome, rest;
} attempts[] = {
	{ "execve", call_execve, "", KILLED, KILLED },
	{ "ptrace", call_ptrace, "", KILLED, KILLED },
	{ "kill", call_kill, "", KILLED, KILLED },
	{ "tgkill of another process", call_tgkill_other, "", KILLED, KILLED },
	{ "tgkill of its own", call_tgkill_own, "", DONE, DONE },
	{ "fork", call_fork, "", KILLED, KILLED },
	{ "unshare", call_unshare, "", KILLED, KILLED },
	{ "memory", call_memory, "", DONE, DONE },
	{ "writable code", call_map_writable_code, "", KILLED, KILLED },
	{ "code", call_map_code, " main+files main+files+net ", DONE, KILLED },
	{ "protected code", call_protect_code, " main+files main+files+net ", DONE, KILLED },
	{ "openat", call_openat, " main+net main+files main+files+net job ", DONE, REFUSED },
	{ "unix socket", call_unix, " main+files main+files+net ", DONE, KILLED },
	{ "inet socket", call_inet, " main+net main+files main+files+net ", DONE, KILLED },
	{ "packet socket", call_packet, "", KILLED, KILLED },
	{ "io_uring_setup", call_ring, " main+files main+files+net nbd ", REFUSED, KILLED },
	{ "KVM_RUN", call_kvm, " vcpu saver main main+net main+files main+files+net ", DONE, KILLED },
	{ "pread", call_pread, " engine vcpu vnc ", KILLED, DONE },
	{ "unlinkat", call_unlink, " main main+net main+files main+files+net ", DONE, KILLED },
};

/* ---- the child ---- */

static void be_child(const char *role, const struct attempt *a)
{
	long answer;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || sandbox_take_filter(role, 0))
		_exit(99);
	answer = a->call();
	_exit(answer < 0 ? REFUSED : DONE);
}

static void check(const char *role, const struct attempt *a)
{
	g_autofree char *word = g_strdup_printf(" %s ", role);
	enum outcome wanted = strstr(a->roles, word) ? a->outcome : a->rest, got;
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0)
		be_child(role, a);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status)) {
		assert_int_equal(WTERMSIG(status), SIGSYS);
		got = KILLED;
	} else {
		assert_int_not_equal(WEXITSTATUS(status), 99);
		got = (enum outcome)WEXITSTATUS(status);
	}
	if (got != wanted)
		fail_msg("role %s, %s: %s, not %s", role, a->name, outcome_names[got], outcome_names[wanted]);
}

static void test_roles(void **state)
{
	for (const struct sandbox_filter *f = sandbox_filters; f->role; f++)
		for (unsigned i = 0; i < G_N_ELEMENTS(attempts); i++)
			check(f->role, &attempts[i]);
}

static void test_unknown_role(void **state)
{
	assert_int_equal(sandbox_take_filter("nobody", 0), ENOENT);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_roles),
		cmocka_unit_test(test_unknown_role),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
