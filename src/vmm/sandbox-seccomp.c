/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter of system calls: the main thread's when the guest is about to run, a narrower one beside it in each thread that has
 * a role (role.h). Filters are made when Kvasir is built (gen-filters.c). What a filter does not know ends the process, by
 * SIGSYS; with KV_DEBUG a line says which call it was. seccomp(2). See sandbox.h.
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"
#include "role.h"
#include "role-calls.h"
#include "sandbox-filters.h"
#include "sandbox.h"

static bool tell; /* which call it was */

static const struct sandbox_filter *find(const char *role)
{
	for (const struct sandbox_filter *f = sandbox_filters; f->role; f++)
		if (!strcmp(f->role, role))
			return f;
	return NULL;
}

int sandbox_take_filter(const char *role, unsigned flags)
{
	const struct sandbox_filter *f = find(role);
	struct sock_filter code[SANDBOX_FILTER_MAX]; /* not from malloc(), which makes an arena for each thread */
	struct sock_fprog program;

	if (!f)
		return ENOENT;
	memcpy(code, f->code, f->len * sizeof(*code));
	for (unsigned i = 0; i < f->len; i++) {
		if (BPF_CLASS(code[i].code) == BPF_JMP && code[i].k == ROLE_OWN_PID)
			code[i].k = (uint32_t)getpid();
		if (tell && BPF_CLASS(code[i].code) == BPF_RET && code[i].k == SECCOMP_RET_KILL_PROCESS)
			code[i].k = SECCOMP_RET_TRAP;
	}
	program = (struct sock_fprog){ f->len, code };
	/* Where Linux would still switch speculation off for those with a filter (before 5.16), it need not for us. */
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags | SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) ? errno : 0;
}

static void on_forbidden(int sig, siginfo_t *info, void *context)
{
	char line[160], thread[16] = "?";
	unsigned nr = (unsigned)info->si_syscall;
	int n;

	prctl(PR_GET_NAME, thread, 0, 0, 0);
	n = snprintf(line, sizeof(line), "kv-vmm: sandbox: thread '%s' may not call %s (%u)\n", thread,
		     nr < SANDBOX_CALLS && sandbox_call_names[nr][0] ? sandbox_call_names[nr] : "?", nr);
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		_exit(128 + sig);
	signal(sig, SIG_DFL);
	raise(sig); /* once this handler is over */
}

static void tell_which(void)
{
	struct sigaction sa = { .sa_sigaction = on_forbidden, .sa_flags = SA_SIGINFO };

	tell = true;
	sigemptyset(&sa.sa_mask);
	sigaction(SIGSYS, &sa, NULL);
}

/* A thread without its filter would do more than its role says: there is no going on. */
static void enter_role(const char *role)
{
	int err = sandbox_take_filter(role, 0);

	if (!err)
		return;
	kv_log_error("sandbox: the filter of threads '%s': %s", role, g_strerror(err));
	_exit(EXIT_FAILURE);
}

void sandbox_seccomp(struct sandbox *s)
{
	static const char *const roles[2][2] = { { "main", "main+net" }, { "main+files", "main+files+net" } };
	int err;

	if (getenv("KV_DEBUG"))
		tell_which();
	err = sandbox_take_filter(roles[s->names][s->network], SECCOMP_FILTER_FLAG_TSYNC);
	if (err)
		sandbox_left_out(s, "system calls", err);
	else
		kv_role_set_func(enter_role);
}
