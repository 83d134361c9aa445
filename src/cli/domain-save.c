/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that save a domain's memory, restore it, or dump it. */
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "domain.h"
#include "job.h"
#include "objects.h"

/* VIR_DOMAIN_SAVE_… */
static const struct flag save_flags[] = { { "bypass-cache", 1 }, { "running", 2 }, { "paused", 4 }, {} };
static const struct flag restore_flags[] = { { "bypass-cache", 1 }, { "running", 2 }, { "paused", 4 }, { "reset-nvram", 8 }, {} };

/* A call that may take long. */
static bool call_watched(struct shell *sh, const struct args *a, GVariant *dom, const char *procedure, GVariant *args,
			 const char *label)
{
	struct job_watch watch = { dom, label, arg_on(a, "verbose") };
	g_autoptr(GVariant) answer = job_call(sh, &watch, procedure, args);

	return answer;
}

bool cmd_save(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	const char *path = arg_text(a, "file");
	unsigned flags = flags_of(a, save_flags);
	g_autofree char *xml = NULL, *full = NULL;
	GVariant *args;

	if (!dom || (arg_on(a, "xml") && !(xml = read_file(sh, arg_text(a, "xml")))))
		return false;
	full = g_canonicalize_filename(path, NULL);
	args = flags || xml ? g_variant_new("(@" DOMAIN "smsu)", dom, full, xml, flags)
			    : g_variant_new("(@" DOMAIN "s)", dom, full);
	if (!call_watched(sh, a, dom, flags || xml ? "domain_save_flags" : "domain_save", args, "Save"))
		return shell_error(sh, "Failed to save domain '%s' to %s", domain_name(dom), path);
	say_extra(sh, "\nDomain '%s' saved to %s\n", domain_name(dom), path);
	return true;
}

bool cmd_restore(struct shell *sh, const struct args *a)
{
	const char *path = arg_text(a, "file");
	unsigned flags = flags_of(a, restore_flags);
	g_autofree char *xml = NULL, *full = g_canonicalize_filename(path, NULL);
	bool ok;

	if (arg_on(a, "xml") && !(xml = read_file(sh, arg_text(a, "xml"))))
		return false;
	ok = flags || xml ? tell(sh, "domain_restore_flags", "(smsu)", full, xml, flags)
			  : tell(sh, "domain_restore", "(s)", full);
	return finish(sh, ok, "Domain restored from %s", "Failed to restore domain from %s", path);
}

bool cmd_managedsave(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");

	if (!dom)
		return false;
	if (!call_watched(sh, a, dom, "domain_managed_save", g_variant_new("(@" DOMAIN "u)", dom, flags_of(a, save_flags)),
			  "Managedsave"))
		return shell_error(sh, "Failed to save domain '%s' state", domain_name(dom));
	say_extra(sh, "\nDomain '%s' state saved by libvirt\n", domain_name(dom));
	return true;
}

bool cmd_managedsave_remove(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	int there;

	if (!dom)
		return false;
	if (!ask_int(sh, &there, "domain_has_managed_save_image", "(@" DOMAIN "u)", dom, 0))
		return shell_error(sh, "Failed to check for domain managed save image");
	if (!there) {
		say_extra(sh, "Domain '%s' has no manage save image; removal skipped", domain_name(dom));
		return true;
	}
	if (!tell(sh, "domain_managed_save_remove", "(@" DOMAIN "u)", dom, 0))
		return shell_error(sh, "Failed to remove managed save image for domain '%s'", domain_name(dom));
	say_extra(sh, "Removed managedsave image for domain '%s'", domain_name(dom));
	return true;
}

bool cmd_dump(struct shell *sh, const struct args *a)
{
	/* VIR_DUMP_… */
	static const struct flag flags_table[] = { { "crash", 1 }, { "live", 2 },	  { "bypass-cache", 4 },
						   { "reset", 8 }, { "memory-only", 16 }, {} };
	static const char *const formats[] = { "elf", "kdump-zlib", "kdump-lzo", "kdump-snappy", "win-dmp" };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	const char *path = arg_text(a, "file"), *format = arg_text(a, "format");
	g_autofree char *full = NULL;
	unsigned flags = flags_of(a, flags_table), which = 0;
	GVariant *args;

	if (!dom)
		return false;
	if (format && !arg_on(a, "memory-only"))
		return shell_error(sh, "--format only works with --memory-only");
	while (format && which < G_N_ELEMENTS(formats) && strcmp(formats[which], format) != 0)
		which++;
	if (which == G_N_ELEMENTS(formats))
		return shell_error(
			sh,
			"format '%s' is not supported, expecting 'kdump-zlib', 'kdump-lzo', 'kdump-snappy', 'win-dmp' or 'elf'",
			format);
	full = g_canonicalize_filename(path, NULL);
	args = which ? g_variant_new("(@" DOMAIN "suu)", dom, full, which, flags)
		     : g_variant_new("(@" DOMAIN "su)", dom, full, flags);
	if (!call_watched(sh, a, dom, which ? "domain_core_dump_with_format" : "domain_core_dump", args, "Dump"))
		return shell_error(sh, "Failed to core dump domain '%s' to %s", domain_name(dom), path);
	say_extra(sh, "\nDomain '%s' dumped to %s\n", domain_name(dom), path);
	return true;
}

/* ---- the description in what was saved ---- */

enum { SAVED_SECURE = 1 };

/* VIR_DOMAIN_SAVE_RUNNING or _PAUSED of the options. */
static unsigned run_flags(const struct args *a)
{
	static const struct flag flags_table[] = { { "running", 2 }, { "paused", 4 }, {} };

	return flags_of(a, flags_table);
}

bool cmd_save_image_dumpxml(struct shell *sh, const struct args *a)
{
	g_autofree char *full = g_canonicalize_filename(arg_text(a, "file"), NULL),
			*xml = ask_text(sh, "domain_save_image_get_xml_desc", "(su)", full,
					arg_on(a, "security-info") ? SAVED_SECURE : 0);

	return say_xml(sh, a, xml);
}

bool cmd_save_image_define(struct shell *sh, const struct args *a)
{
	const char *path = arg_text(a, "file");
	g_autofree char *xml = NULL, *full = g_canonicalize_filename(path, NULL);

	if (args_exclude(sh, a, "running", "paused") || !(xml = read_file(sh, arg_text(a, "xml"))))
		return false;
	return finish(sh, tell(sh, "domain_save_image_define_xml", "(ssu)", full, xml, run_flags(a)), "State file %s updated.",
		      "Failed to update %s", path);
}

static char *image_description(struct shell *sh, const struct edit *e)
{
	return ask_text(sh, "domain_save_image_get_xml_desc", "(su)", e->path, SAVED_SECURE);
}

static GVariant *define_image(struct shell *sh, const struct edit *e, const char *xml, bool relaxed)
{
	return ask(sh, "domain_save_image_define_xml", "(ssu)", e->path, xml, e->flags);
}

bool cmd_save_image_edit(struct shell *sh, const struct args *a)
{
	g_autofree char *full = g_canonicalize_filename(arg_text(a, "file"), NULL);
	struct edit edit = { .get = image_description,
			     .define = define_image,
			     .same = "Saved image %s XML configuration not changed.",
			     .done = "State file %s edited.",
			     .path = full,
			     .flags = run_flags(a) };

	return !args_exclude(sh, a, "running", "paused") && edit_object(sh, &edit, arg_text(a, "file"));
}

bool cmd_managedsave_dumpxml(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");

	return say_description(sh, a, "domain_managed_save_get_xml_desc", dom, arg_on(a, "security-info") ? SAVED_SECURE : 0);
}

bool cmd_managedsave_define(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = NULL;
	g_autofree char *xml = NULL;

	if (args_exclude(sh, a, "running", "paused") || !(xml = read_file(sh, arg_text(a, "xml"))) ||
	    !(dom = find_domain(sh, a, "domain")))
		return false;
	return finish(sh, tell(sh, "domain_managed_save_define_xml", "(@" DOMAIN "msu)", dom, xml, run_flags(a)),
		      "Managed save state file of domain '%s' updated.", "Failed to update %s XML configuration",
		      domain_name(dom));
}

static char *managed_description(struct shell *sh, const struct edit *e)
{
	return ask_text(sh, "domain_managed_save_get_xml_desc", "(@" DOMAIN "u)", e->object, SAVED_SECURE);
}

static GVariant *define_managed(struct shell *sh, const struct edit *e, const char *xml, bool relaxed)
{
	return ask(sh, "domain_managed_save_define_xml", "(@" DOMAIN "msu)", e->object, xml, e->flags);
}

bool cmd_managedsave_edit(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = NULL;
	struct edit edit = { .get = managed_description,
			     .define = define_managed,
			     .same = "Managed save image of domain '%s' XML configuration not changed.",
			     .done = "Managed save image of Domain '%s' XML configuration edited.",
			     .flags = run_flags(a) };

	if (args_exclude(sh, a, "running", "paused") || !(dom = find_domain(sh, a, "domain")))
		return false;
	edit.object = dom;
	return edit_object(sh, &edit, domain_name(dom));
}
