/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that compare CPUs, or find what several have in common. */
#include <string.h>

#include "args.h"
#include "host.h"
#include "objects.h"
#include "rpc/message.h"

enum { COMPARE_FAIL = 1, COMPARE_VALIDATE = 2 };
enum { BASELINE_FEATURES = 1, BASELINE_MIGRATABLE = 2 };

static void add_nodes(GPtrArray *out, const struct node *all, const char *path)
{
	g_autoptr(GPtrArray) found = node_all(all, path);

	for (unsigned i = 0; i < found->len; i++)
		g_ptr_array_add(out, node_write(g_ptr_array_index(found, i)));
}

/* The host-model of domain capabilities, as the <cpu> that a domain has. */
static void add_host_models(GPtrArray *out, const struct node *all)
{
	g_autoptr(GPtrArray) modes = node_all(all, "domainCapabilities/cpu/mode");

	for (unsigned i = 0; i < modes->len; i++) {
		struct node *mode = g_ptr_array_index(modes, i);

		if (g_strcmp0(node_attr(mode, "name"), "host-model") != 0 || g_strcmp0(node_attr(mode, "supported"), "yes") != 0)
			continue;
		g_free(mode->name);
		mode->name = g_strdup("cpu");
		g_clear_pointer(&mode->attrs, g_strfreev);
		g_ptr_array_add(out, node_write(mode));
	}
}

/* All <cpu> of a file, which may have several documents one after the other; NULL: said. */
static char **cpus_of(struct shell *sh, const char *path)
{
	g_autofree char *text = read_file(sh, path), *wrapped = NULL;
	g_autoptr(node) all = NULL;
	GPtrArray *out;

	if (!text)
		return NULL;
	wrapped = g_strdup_printf("<container>%s</container>", text);
	all = node_parse(wrapped, &sh->error);
	if (!all)
		return NULL;
	out = g_ptr_array_new_with_free_func(g_free);
	add_nodes(out, all, "cpu");
	add_nodes(out, all, "domain/cpu");
	add_nodes(out, all, "capabilities/host/cpu");
	add_host_models(out, all);
	if (!out->len) {
		g_ptr_array_unref(out);
		shell_error(sh,
			    "File '%s' does not contain any <cpu> element or valid domain XML, host capabilities XML, or domain "
			    "capabilities XML",
			    path);
		return NULL;
	}
	g_ptr_array_set_free_func(out, NULL);
	g_ptr_array_add(out, NULL);
	return (char **)g_ptr_array_free(out, FALSE);
}

struct verdicts {
	const char *incompatible, *identical, *superset, *failed;
};

static bool say_verdict(struct shell *sh, const char *path, const struct verdicts *v, bool answered, int result)
{
	enum { INCOMPATIBLE, IDENTICAL, SUPERSET };

	switch (answered ? result : -1) {
	case INCOMPATIBLE:
		say(sh, v->incompatible, path);
		return false;
	case IDENTICAL:
		say(sh, v->identical, path);
		return true;
	case SUPERSET:
		say(sh, v->superset, path);
		return true;
	default:
		return shell_error(sh, v->failed, path);
	}
}

static unsigned compare_flags(const struct args *a)
{
	return (arg_on(a, "error") ? COMPARE_FAIL : 0) | (arg_on(a, "validate") ? COMPARE_VALIDATE : 0);
}

bool cmd_cpu_compare(struct shell *sh, const struct args *a)
{
	static const struct verdicts verdicts = { "CPU described in %s is incompatible with host CPU\n",
						  "CPU described in %s is identical to host CPU\n",
						  "Host CPU is a superset of CPU described in %s\n",
						  "Failed to compare host CPU with %s" };
	const char *path = arg_text(a, "file");
	g_auto(GStrv) cpus = cpus_of(sh, path);
	int result = 0;
	bool ok;

	if (!cpus)
		return false;
	ok = ask_int(sh, &result, "connect_compare_cpu", "(su)", cpus[0], compare_flags(a));
	return say_verdict(sh, path, &verdicts, ok, result);
}

bool cmd_hypervisor_cpu_compare(struct shell *sh, const struct args *a)
{
	static const struct verdicts verdicts = {
		"CPU described in %s is incompatible with the CPU provided by hypervisor on the host\n",
		"CPU described in %s is identical to the CPU provided by hypervisor on the host\n",
		"The CPU provided by hypervisor on the host is a superset of CPU described in %s\n",
		"Failed to compare hypervisor CPU with %s"
	};
	const char *path = arg_text(a, "file");
	g_auto(GStrv) cpus = cpus_of(sh, path);
	int result = 0;
	bool ok;

	if (!cpus)
		return false;
	ok = ask_int(sh, &result, "connect_compare_hypervisor_cpu", "(msmsmsmssu)", arg_text(a, "emulator"), arg_text(a, "arch"),
		     arg_text(a, "machine"), arg_text(a, "virttype"), cpus[0], compare_flags(a));
	return say_verdict(sh, path, &verdicts, ok, result);
}

static unsigned baseline_flags(const struct args *a)
{
	return (arg_on(a, "features") ? BASELINE_FEATURES : 0) | (arg_on(a, "migratable") ? BASELINE_MIGRATABLE : 0);
}

bool cmd_cpu_baseline(struct shell *sh, const struct args *a)
{
	g_auto(GStrv) cpus = cpus_of(sh, arg_text(a, "file"));
	g_autofree char *result = cpus ? ask_text(sh, "connect_baseline_cpu", "(^asu)", cpus, baseline_flags(a)) : NULL;

	if (result)
		say(sh, "%s", result);
	return result;
}

bool cmd_hypervisor_cpu_baseline(struct shell *sh, const struct args *a)
{
	const char *model = arg_text(a, "model");
	g_auto(GStrv) cpus = NULL;
	g_autofree char *result = NULL;

	if (args_exclude(sh, a, "file", "model"))
		return false;
	if (!arg_on(a, "file") && !model)
		return shell_error(sh, "Either --%s or --%s must be provided", "file", "model");
	if (model) {
		g_autofree char *name = g_markup_escape_text(model, -1);

		cpus = g_new0(char *, 2);
		cpus[0] = g_strdup_printf("<cpu><model>%s</model></cpu>", name);
	} else if (!(cpus = cpus_of(sh, arg_text(a, "file")))) {
		return false;
	}
	result = ask_text(sh, "connect_baseline_hypervisor_cpu", "(msmsmsms^asu)", arg_text(a, "emulator"), arg_text(a, "arch"),
			  arg_text(a, "machine"), arg_text(a, "virttype"), cpus, baseline_flags(a));
	if (result)
		say(sh, "%s", result);
	return result;
}
