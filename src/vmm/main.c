/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kv-vmm: boots a kernel in a virtual machine and stays until it ends. Options are in
 * options.c, opening things in config.c, running in loop.c.
 */
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "log.h"
#include "options.h"
#include "sandbox.h"
#include "vmm.h"

enum {
	STATUS_REJECTED = 1,
	HEAP_AHEAD_MAX = 256 << 10,
};

static bool has(GVariant *options, const char *name)
{
	gboolean on = FALSE;

	return options_lookup(options, name, "b", &on) && on;
}

static int reject(GError *error)
{
	kv_log_error("%s", error->message);
	g_error_free(error);
	return STATUS_REJECTED;
}

/* Messages of a named machine start with its name, so that those of several can be told apart. */
static void name_messages(GVariant *options)
{
	g_autofree char *program = NULL;
	const char *name;

	if (!options_lookup(options, "name", "&s", &name))
		return;
	program = g_strconcat("kv-vmm ", name, NULL);
	kv_log_set_program(g_intern_string(program));
}

static int run(GVariant *options)
{
	struct vmm vmm = {};
	GError *error = NULL;
	int status;

	status = sandbox_split(options, &error);
	if (error)
		return reject(error);
	if (status >= 0)
		return status;
	vmm_block_signals();
	sandbox_prepare(options);
	if (vmm_open(&vmm, options, &error)) {
		status = vmm_run(&vmm);
		if (vmm_flag(&vmm, "stats")) {
			g_autofree char *stats = vmm_stats(&vmm);

			fputs(stats, stderr);
		}
	} else {
		status = reject(error);
	}
	vmm_close(&vmm);
	return status;
}

/*
 * The heap that there is, a start takes all of it: filled in by one call, as the first touch of a page costs 15 us where the host
 * has no nested paging, and half of that then. One arena, as threads allocate little, and each would begin by making its own.
 */
static void prepare_heap(void)
{
	uintptr_t page = (uintptr_t)getpagesize(), at, end = (uintptr_t)sbrk(0);
	g_autofree char *low = NULL;

	mallopt(M_ARENA_MAX, 1);
	low = g_malloc(1);
	at = ((uintptr_t)low + page - 1) & -page;
	if (at < end && end - at <= HEAP_AHEAD_MAX)
		madvise((void *)at, end - at, MADV_POPULATE_WRITE);
}

int main(int argc, char **argv)
{
	g_autoptr(GVariant) options = NULL;
	GError *error = NULL;

	prepare_heap();
	kv_log_set_program("kv-vmm");
	options = options_parse(argc, argv, &error);
	if (!options)
		return reject(error);
	if (has(options, "help")) {
		g_autofree char *help = options_help();

		fputs(help, stdout);
		return 0;
	}
	if (has(options, "version")) {
		puts("kv-vmm (Kvasir) " KV_VERSION);
		return 0;
	}
	kv_log_set_quiet(has(options, "quiet"));
	name_messages(options);
	return run(options);
}
