/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that is mapped from a saved machine's file, and the file became shorter, in spite of its lock: who touches what was
 * there gets SIGBUS, and the process ends. It says why first. Called by mem.c.
 */
#include <signal.h>
#include <unistd.h>

#include "mem-lost.h"

enum { AREAS = 64 };

static struct {
	const uint8_t *at;
	size_t len;
} areas[AREAS];
static unsigned n_areas, said;
static struct sigaction before;

static bool is_ours(const uint8_t *at)
{
	for (unsigned i = 0; i < __atomic_load_n(&n_areas, __ATOMIC_ACQUIRE); i++)
		if (at >= areas[i].at && (size_t)(at - areas[i].at) < areas[i].len)
			return true;
	return false;
}

static void on_bus(int sig, siginfo_t *info, void *context)
{
	static const char text[] = "kv-vmm: the saved machine's file, which has the guest's memory, was cut short: "
				   "the guest is lost\n";

	if (is_ours(info->si_addr)) {
		/* Who catches it as well may let the guest go on. */
		if (__atomic_exchange_n(&said, 1, __ATOMIC_SEQ_CST))
			_exit(1);
		if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
			_exit(1);
	}
	if (before.sa_flags & SA_SIGINFO)
		before.sa_sigaction(sig, info, context);
	else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
		before.sa_handler(sig);
	else
		sigaction(sig, &before, NULL); /* it comes again */
}

void mem_lost_watch(const void *at, size_t len)
{
	struct sigaction sa = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};

	if (n_areas == AREAS)
		return;
	areas[n_areas].at = at;
	areas[n_areas].len = len;
	__atomic_store_n(&n_areas, n_areas + 1, __ATOMIC_RELEASE);
	sigemptyset(&sa.sa_mask);
	if (n_areas == 1)
		sigaction(SIGBUS, &sa, &before);
}
