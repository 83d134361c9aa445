/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A namespace of processes (--sandbox pid=on), in which the machine's is the first and finds no other. A process cannot go into
 * one itself, its children do: so this one forks before there is anything of a machine, waits, hands on signals, and ends as the
 * other ended. Signals go through a pipe, for what is sent to both (a terminal's, a service manager's) is to count once.
 * pid_namespaces(7), prctl(2). Not without being asked for: it costs a process and a fork, and QMP's thread ids mean nothing
 * outside; docs/threat-model.md says what stands there instead. See sandbox.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "error.h"
#include "log.h"
#include "sandbox.h"

enum { GO_ON = -1 };

static int signals = -1; /* of the machine's process: what the other one was sent, a byte each */

int sandbox_signals(void)
{
	return signals;
}

/* What a machine takes, what stops a process, and the end. */
static void waiter_signals(sigset_t *set)
{
	static const int all[] = { SIGTERM, SIGINT, SIGHUP, SIGTSTP, SIGTTIN, SIGTTOU, SIGCHLD };

	sigemptyset(set);
	for (unsigned i = 0; i < G_N_ELEMENTS(all); i++)
		sigaddset(set, all[i]);
}

/* The first of a namespace is stopped by SIGSTOP alone. */
static void stop_both(pid_t child)
{
	kill(child, SIGSTOP);
	raise(SIGSTOP);
	kill(child, SIGCONT);
}

/* As the other one ended: its exit status, or its signal, for which no second core is written. */
static int end_as(int status)
{
	sigset_t set;

	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	sigemptyset(&set);
	sigaddset(&set, WTERMSIG(status));
	signal(WTERMSIG(status), SIG_DFL);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	raise(WTERMSIG(status));
	return EXIT_FAILURE;
}

static int wait_for(pid_t child, int pipe_fd)
{
	sigset_t set;
	int sig, status;
	uint8_t byte;

	waiter_signals(&set);
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		sig = sigwaitinfo(&set, NULL);
		byte = (uint8_t)sig;
		if (sig == SIGCHLD && waitpid(child, &status, WNOHANG) == child)
			return end_as(status);
		if (sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU)
			stop_both(child);
		else if (sig > 0 && sig != SIGCHLD && write(pipe_fd, &byte, 1) < 0)
			kv_log_debug("sandbox: signal %d found nobody", sig);
	}
}

static bool unshare_processes(struct sandbox *s)
{
	if (geteuid() != 0) {
		s->proc = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
		sandbox_unshare_users(s);
		if (s->proc >= 0)
			close(s->proc);
		if (s->left_out->len)
			return false;
	}
	if (!unshare(CLONE_NEWPID))
		return true;
	sandbox_left_out(s, "process namespace", errno);
	return false;
}

static int split(GError **error)
{
	sigset_t set, old;
	int fds[2];
	pid_t child;

	if (pipe2(fds, O_CLOEXEC)) {
		kv_fail_errno(error, errno, "--sandbox pid=on: pipe");
		return EXIT_FAILURE;
	}
	waiter_signals(&set);
	sigprocmask(SIG_BLOCK, &set, &old);
	child = fork();
	if (child > 0) {
		close(fds[0]);
		return wait_for(child, fds[1]);
	}
	sigprocmask(SIG_SETMASK, &old, NULL);
	close(fds[1]);
	signals = fds[0];
	if (child == 0)
		return GO_ON;
	kv_fail_errno(error, errno, "--sandbox pid=on: fork");
	return EXIT_FAILURE;
}

int sandbox_split(GVariant *options, GError **error)
{
	g_autoptr(GString) left_out = g_string_new(NULL);
	struct sandbox s = { .left_out = left_out, .proc = -1 };
	bool strict;

	if (!sandbox_wants_processes(options, &strict))
		return GO_ON;
	if (unshare_processes(&s))
		return split(error);
	if (!strict) {
		kv_log_debug("sandbox: left out: %s", left_out->str);
		return GO_ON;
	}
	kv_fail(error, KV_ERROR_UNSUPPORTED, "--sandbox strict=on: this kernel or container does not give: %s", left_out->str);
	return EXIT_FAILURE;
}

void sandbox_end_with_waiter(void)
{
	struct pollfd waiter = { .fd = signals };

	if (signals < 0)
		return;
	/* A change of user or capabilities takes it back: so it is done behind those, and then asked whether it was too late. */
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (poll(&waiter, 1, 0) > 0 && (waiter.revents & POLLHUP))
		_exit(EXIT_FAILURE);
}
