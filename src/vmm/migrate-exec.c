/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * exec:COMMAND of migrations: a shell's command with a pipe to it or from it. Once the guest runs kv-vmm can start no programs,
 * and had better not: the command of --incoming starts before that, outside of the sandbox, and others take --sandbox off.
 */
#include <signal.h>
#include <unistd.h>

#include "error.h"
#include "migrate.h"
#include "sandbox.h"
#include "vmm.h"

/* What this process takes care of in its own way. */
static void usual_signals(gpointer opaque)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
}

static int start(const char *command, bool to_it, GError **error)
{
	char *words[] = { "/bin/sh", "-c", (char *)command, NULL };
	int fd = -1;

	if (!g_spawn_async_with_pipes(NULL, words, NULL, G_SPAWN_DEFAULT, usual_signals, NULL, NULL, to_it ? &fd : NULL,
				      to_it ? NULL : &fd, NULL, error))
		return -1;
	return fd;
}

bool migrate_exec_prepare(struct vmm *vmm, GError **error)
{
	const char *uri = "";

	options_lookup(vmm->options, "incoming", "&s", &uri);
	if (!g_str_has_prefix(uri, "exec:") || !uri[5])
		return true;
	vmm->exec_fd = start(uri + 5, false, error);
	return vmm->exec_fd >= 0;
}

int migrate_exec(struct vmm *vmm, const char *command, bool to_it, GError **error)
{
	int fd = vmm->exec_fd;

	if (!to_it && fd >= 0) {
		vmm->exec_fd = -1;
		return fd;
	}
	if (!sandbox_is_wanted(vmm->options))
		return start(command, to_it, error);
	kv_fail(error, KV_ERROR_UNSUPPORTED,
		"exec:%s: the sandbox starts no programs; start it yourself, with a pipe by getfd and fd:NAME, or unix:PATH, or "
		"give kv-vmm --sandbox off",
		command);
	return -1;
}
