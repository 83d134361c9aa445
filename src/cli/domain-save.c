/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that save a domain's memory, restore it, or dump it. */
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "domain.h"
#include "objects.h"

/* VIR_DOMAIN_SAVE_… */
static const struct flag save_flags[] = { { "bypass-cache", 1 }, { "running", 2 }, { "paused", 4 }, {} };
static const struct flag restore_flags[] = { { "bypass-cache", 1 }, { "running", 2 }, { "paused", 4 }, { "reset-nvram", 8 }, {} };

struct watch {
	GMainLoop *loop;
	GVariant *answer;
	GError **error;
	struct shell *sh;
	GVariant *dom;
	const char *label;
	bool shown;
};

static void on_done(GObject *source, GAsyncResult *result, gpointer opaque)
{
	struct watch *w = opaque;

	w->answer = kv_connection_call_finish(KV_CONNECTION(source), result, w->error);
	g_main_loop_quit(w->loop);
}

static void show_progress(struct watch *w, guint64 left, guint64 total)
{
	int percent = total ? left ? 100 - (int)(left * 100.0 / total) : 100 : 0;

	fprintf(stderr, "\r%s: [%3d %%]", w->label, MIN(percent, left ? 99 : 100));
	fflush(stderr);
	w->shown = true;
}

static gboolean on_tick(gpointer opaque)
{
	struct watch *w = opaque;
	g_autoptr(GVariant) info =
		kv_connection_call_sync(w->sh->conn, "domain_get_job_info", g_variant_new("(@" DOMAIN ")", w->dom), NULL, NULL);
	gint32 type;
	guint64 total, left;

	if (!info)
		return G_SOURCE_CONTINUE;
	g_variant_get_child(info, 0, "i", &type);
	g_variant_get_child(info, 3, "t", &total);
	g_variant_get_child(info, 5, "t", &left);
	if (type == 1 || type == 2)
		show_progress(w, left, total);
	return G_SOURCE_CONTINUE;
}

/* A call that may take long; with its progress if verbose. */
static bool call_watched(struct shell *sh, GVariant *dom, const char *procedure, GVariant *args, bool verbose, const char *label)
{
	g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
	struct watch w = { loop, NULL, &sh->error, sh, dom, label };
	guint timer;

	forget_error(sh);
	kv_connection_call(sh->conn, procedure, args, NULL, on_done, &w);
	timer = verbose ? g_timeout_add(500, on_tick, &w) : 0;
	g_main_loop_run(loop);
	if (timer)
		g_source_remove(timer);
	if (w.answer && verbose)
		show_progress(&w, 0, 1);
	if (!w.answer)
		return false;
	g_variant_unref(w.answer);
	return true;
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
	if (!call_watched(sh, dom, flags || xml ? "domain_save_flags" : "domain_save", args, arg_on(a, "verbose"), "Save"))
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
	if (!call_watched(sh, dom, "domain_managed_save", g_variant_new("(@" DOMAIN "u)", dom, flags_of(a, save_flags)),
			  arg_on(a, "verbose"), "Managedsave"))
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
	if (!call_watched(sh, dom, which ? "domain_core_dump_with_format" : "domain_core_dump", args, arg_on(a, "verbose"),
			  "Dump"))
		return shell_error(sh, "Failed to core dump domain '%s' to %s", domain_name(dom), path);
	say_extra(sh, "\nDomain '%s' dumped to %s\n", domain_name(dom), path);
	return true;
}
