/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes the C file of seccomp filters, one a role, from the tables that stand beside the code of threads. Run when Kvasir is
 * built: libseccomp takes milliseconds to make filters, and kv-vmm starts in less. seccomp(2), libseccomp's seccomp_rule_add(3).
 */
#include <errno.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "main-calls.h"
#include "sandbox-filters.h"
#include "user-calls.h"

enum { TABLES_MAX = 4, ROWS_MAX = 1024 };

struct role {
	const char *name;
	const struct role_call *tables[TABLES_MAX];
};

/* Of "main" there is one for each pair of what a machine may need of files and of networks: sandbox.c asks for them. */
static const struct role roles[] = {
	{ "main", { main_calls } },
	{ "main+net", { main_calls, user_calls } },
	{ "main+files", { main_calls, files_calls } },
	{ "main+files+net", { main_calls, files_calls, user_calls } },
	{ "vcpu", { vcpu_calls } },
	{ "engine", { engine_calls } },
	{ "boot", { boot_calls } },
	{ "pool", { pool_calls } },
	{ "iothread", { iothread_calls } },
	{ "job", { job_calls } },
	{ "nbd", { nbd_calls } },
	{ "vnc", { viewer_calls } },
	{ "saver", { saver_thread_calls } },
};

static const struct role_call *rows[ROWS_MAX];
static unsigned n_rows;

static void die(const char *role, const char *what, const char *why)
{
	fprintf(stderr, "gen-filters: %s: %s: %s\n", role, what, why);
	exit(1);
}

static bool same(const struct role_call *a, const struct role_call *b)
{
	return !strcmp(a->name, b->name) && a->kind == b->kind && a->arg == b->arg && a->mask == b->mask && a->value == b->value;
}

static void collect(const char *role, const struct role_call *table)
{
	for (const struct role_call *c = table; c->kind != ROLE_CALL_END; c++) {
		bool known = false;

		if (c->kind == ROLE_CALL_USE) {
			collect(role, c->use);
			continue;
		}
		for (unsigned i = 0; i < n_rows; i++)
			known |= same(rows[i], c);
		if (n_rows == ROWS_MAX)
			die(role, c->name, "too many rows");
		if (!known)
			rows[n_rows++] = c;
	}
}

static bool has(const char *name, enum role_call_kind kind)
{
	for (unsigned i = 0; i < n_rows; i++)
		if (rows[i]->kind == kind && !strcmp(rows[i]->name, name))
			return true;
	return false;
}

/* What allows more wins over what allows less. */
static bool counts(const struct role_call *c)
{
	return c->kind == ROLE_CALL_ALLOW || (!has(c->name, ROLE_CALL_ALLOW) &&
	       (c->kind == ROLE_CALL_IF || !has(c->name, ROLE_CALL_IF)));
}

static void add_rule(scmp_filter_ctx ctx, const char *role, const struct role_call *c)
{
	struct scmp_arg_cmp cmp = SCMP_CMP(c->arg, SCMP_CMP_MASKED_EQ, c->mask, c->value);
	uint32_t action = c->kind == ROLE_CALL_REFUSE ? SCMP_ACT_ERRNO((uint32_t)c->err) : SCMP_ACT_ALLOW;
	int nr = seccomp_syscall_resolve_name(c->name), err;

	if (nr < 0)
		die(role, c->name, "no such system call");
	err = seccomp_rule_add_array(ctx, action, nr, c->kind == ROLE_CALL_IF, &cmp);
	if (err)
		die(role, c->name, strerror(-err));
}

static void put_program(const char *role, unsigned index, scmp_filter_ctx ctx)
{
	int fd = memfd_create("filter", MFD_CLOEXEC), err = fd < 0 ? -errno : seccomp_export_bpf(ctx, fd);
	struct sock_filter f;
	unsigned n = 0;

	if (err)
		die(role, "export", strerror(-err));
	printf("static const struct sock_filter filter%u[] = { /* %s */\n", index, role);
	lseek(fd, 0, SEEK_SET);
	for (; read(fd, &f, sizeof(f)) == sizeof(f); n++)
		printf("\t{ 0x%02x, %u, %u, 0x%08x },\n", f.code, f.jt, f.jf, f.k);
	puts("};\n");
	close(fd);
	if (n > SANDBOX_FILTER_MAX)
		die(role, "export", "longer than SANDBOX_FILTER_MAX");
}

static void put_role(unsigned index)
{
	const struct role *r = &roles[index];
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);

	if (!ctx || seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) ||
	    seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2))
		die(r->name, "libseccomp", "cannot start a filter");
	n_rows = 0;
	for (unsigned i = 0; i < TABLES_MAX && r->tables[i]; i++)
		collect(r->name, r->tables[i]);
	for (unsigned i = 0; i < n_rows; i++)
		if (counts(rows[i]))
			add_rule(ctx, r->name, rows[i]);
	put_program(r->name, index, ctx);
	seccomp_release(ctx);
}

int main(void)
{
	puts("/* Made by gen-filters.c. */\n#include \"sandbox-filters.h\"\n");
	for (unsigned i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		put_role(i);
	puts("const struct sandbox_filter sandbox_filters[] = {");
	for (unsigned i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		printf("\t{ \"%s\", filter%u, sizeof(filter%u) / sizeof(filter%u[0]) },\n", roles[i].name, i, i, i);
	puts("\t{ 0 },\n};\n\nconst char sandbox_call_names[SANDBOX_CALLS][SANDBOX_CALL_NAME] = {");
	for (int nr = 0; nr < SANDBOX_CALLS; nr++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr);

		if (name)
			printf("\t[%d] = \"%s\",\n", nr, name);
		free(name);
	}
	puts("};");
	return 0;
}
