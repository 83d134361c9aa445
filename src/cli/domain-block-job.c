/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about jobs of a domain's disks: blockcommit, blockcopy, blockpull, blockjob, and thresholds. */
#include <string.h>

#include "args.h"
#include "domain.h"
#include "job.h"
#include "objects.h"
#include "rpc/message.h"

enum { ABORT_ASYNC = 1, ABORT_PIVOT = 2, MIB = 1 << 20 };

static bool excludes(struct shell *sh, const struct args *a, const char *const (*pairs)[2])
{
	for (; (*pairs)[0]; pairs++)
		if (args_exclude(sh, a, (*pairs)[0], (*pairs)[1]))
			return true;
	return false;
}

/* --bandwidth in the server's unit, MiB a second, or bytes with --bytes. */
static bool take_bandwidth(struct shell *sh, const struct args *a, guint64 *ret)
{
	const char *text = arg_text(a, "bandwidth");
	bool bytes = arg_on(a, "bytes");
	gint64 number;

	*ret = 0;
	if (!text)
		return true;
	/* A plain number may be negative, as of old: the server says what it thinks of that. */
	if (!bytes && g_ascii_string_to_signed(text, 10, G_MININT64, G_MAXINT64, &number, NULL)) {
		*ret = number;
		return true;
	}
	if (!size_parse(text, 1, ret, &sh->error))
		return shell_error(sh, "Scaled numeric value '%s' for <--bandwidth> option is malformed or out of range", text);
	if (!bytes)
		*ret /= MIB;
	return true;
}

/* Milliseconds; false: said. */
static bool take_timeout(struct shell *sh, const struct args *a, unsigned *ret)
{
	unsigned seconds = 0;
	int given = arg_uint(sh, a, "timeout", &seconds);

	*ret = seconds * 1000;
	if (given > 0 && (!seconds || seconds > G_MAXUINT / 1000))
		return shell_error(sh, "Numeric value '%s' for <timeout> option is malformed or out of range",
				   arg_text(a, "timeout"));
	return given >= 0;
}

/* What a job is called when it ends. */
struct words {
	const char *aborted, *failed;
};

/* false: it did not come to a good end, which was said. */
static bool wait_for(struct shell *sh, struct block_watch *w, const struct words *words)
{
	switch (block_watch_wait(w)) {
	case BLOCK_JOB_COMPLETED:
	case BLOCK_JOB_READY:
		return true;
	case BLOCK_JOB_CANCELED:
		say_extra(sh, "\n%s", words->aborted);
		return false;
	case BLOCK_JOB_FAILED:
		return shell_error(sh, "\n%s", words->failed);
	default:
		return false;
	}
}

static bool end_job(struct shell *sh, GVariant *dom, const char *disk, unsigned flags, const char *done)
{
	if (!tell(sh, "domain_block_job_abort", "(@" DOMAIN "su)", dom, disk, flags))
		return shell_error(
			sh, flags & ABORT_PIVOT ? "failed to pivot job for disk %s" : "failed to finish job for disk %s", disk);
	say_extra(sh, "\n%s", done);
	return true;
}

/* --verbose and --async are of those who wait. last: the option besides --timeout, --wait and --pivot that makes one wait. */
static bool check_waiting(struct shell *sh, const struct args *a, bool waits, const char *last)
{
	static const char *const options[] = { "verbose", "async" };

	for (unsigned i = 0; i < G_N_ELEMENTS(options) && !waits; i++)
		if (arg_on(a, options[i]))
			return shell_error(sh, "--%s requires at least one of --timeout, --wait, --pivot, or --%s", options[i],
					   last);
	return true;
}

/* ---- commit ---- */

bool cmd_blockcommit(struct shell *sh, const struct args *a)
{
	static const struct flag flags_table[] = { { "shallow", 1 },	  { "delete", 2 },	  { "active", 4 }, { "pivot", 4 },
						   { "keep-overlay", 4 }, { "keep-relative", 8 }, { "bytes", 16 }, {} };
	static const char *const pairs[][2] = { { "pivot", "keep-overlay" }, {} };
	static const struct words words = { "Commit aborted", "Commit failed" };
	enum { ACTIVE = 4 };
	unsigned flags = flags_of(a, flags_table), timeout;
	bool active = flags & ACTIVE, pivot = arg_on(a, "pivot"), keep = arg_on(a, "keep-overlay");
	bool waits = arg_on(a, "wait") || arg_on(a, "timeout") || pivot || keep;
	const char *path = arg_text(a, "path");
	g_autoptr(GVariant) dom = NULL;
	g_autoptr(block_watch) watch = NULL;
	guint64 bandwidth;

	if (excludes(sh, a, pairs) || !check_waiting(sh, a, waits, "keep-overlay") || !take_timeout(sh, a, &timeout) ||
	    !take_bandwidth(sh, a, &bandwidth) || !(dom = find_domain(sh, a, "domain")))
		return false;
	if (waits)
		watch = block_watch_new(sh, dom, path, "Block commit", arg_on(a, "verbose"), timeout,
					arg_on(a, "async") ? ABORT_ASYNC : 0);
	if (!tell(sh, "domain_block_commit", "(@" DOMAIN "smsmstu)", dom, path, arg_text(a, "base"), arg_text(a, "top"),
		  bandwidth, flags))
		return false;
	if (!waits) {
		say_extra(sh, "%s", active ? "Active Block Commit started" : "Block Commit started");
		return true;
	}
	if (!wait_for(sh, watch, &words))
		return false;
	if (pivot)
		return end_job(sh, dom, path, ABORT_PIVOT, "Successfully pivoted");
	if (keep)
		return end_job(sh, dom, path, 0, "Commit complete, overlay image kept");
	say_extra(sh, "\n%s", active ? "Now in synchronized phase" : "Commit complete");
	return true;
}

/* ---- copy ---- */

static char *copy_xml(struct shell *sh, const struct args *a)
{
	const char *dest = arg_text(a, "dest");
	bool block = arg_on(a, "blockdev");
	g_autoptr(GString) xml = g_string_new(NULL);

	if (!dest)
		return read_file(sh, arg_text(a, "xml"));
	g_string_append_printf(xml, "<disk type='%s'>\n", block ? "block" : "file");
	xml_add(xml, block ? "  <source dev='%s'/>\n" : "  <source file='%s'/>\n", dest);
	xml_add(xml, "  <driver type='%s'/>\n", arg_text(a, "format"));
	g_string_append(xml, "</disk>\n");
	return g_string_free(g_steal_pointer(&xml), FALSE);
}

/* a(sv) of what was given; NULL: said. */
static GVariant *copy_params(struct shell *sh, const struct args *a)
{
	GVariantBuilder out;
	guint64 bandwidth, buffer;
	unsigned granularity;
	int with_granularity = arg_uint(sh, a, "granularity", &granularity), with_buffer = arg_u64(sh, a, "buf-size", &buffer);

	if (with_granularity < 0 || with_buffer < 0 || !take_bandwidth(sh, a, &bandwidth))
		return NULL;
	if (!arg_on(a, "bytes") && bandwidth > G_MAXUINT64 / MIB) {
		shell_error(sh, "Scaled numeric value '%s' for <--bandwidth> option is malformed or out of range",
			    arg_text(a, "bandwidth"));
		return NULL;
	}
	g_variant_builder_init(&out, G_VARIANT_TYPE("a(sv)"));
	if (bandwidth)
		g_variant_builder_add(&out, "(sv)", "bandwidth",
				      g_variant_new_uint64(arg_on(a, "bytes") ? bandwidth : bandwidth * MIB));
	if (with_granularity && granularity)
		g_variant_builder_add(&out, "(sv)", "granularity", g_variant_new_uint32(granularity));
	if (with_buffer && buffer)
		g_variant_builder_add(&out, "(sv)", "buf-size", g_variant_new_uint64(buffer));
	return g_variant_ref_sink(g_variant_builder_end(&out));
}

/* What the older call can say goes with it, as virsh's does: every server knows that one. */
static bool copy_simply(struct shell *sh, const struct args *a, GVariant *dom)
{
	static const struct flag flags_table[] = { { "shallow", 1 }, { "reuse-external", 2 }, { "blockdev", 32 }, {} };
	enum { RAW = 4, COPY = 8 };
	unsigned flags = flags_of(a, flags_table) | COPY | (arg_on(a, "format") ? RAW : 0);
	guint64 bandwidth;

	return take_bandwidth(sh, a, &bandwidth) && tell(sh, "domain_block_rebase", "(@" DOMAIN "smstu)", dom,
							 arg_text(a, "path"), arg_text(a, "dest"), bandwidth, flags);
}

static bool start_copy(struct shell *sh, const struct args *a, GVariant *dom, const char *xml, GVariant *params)
{
	static const struct flag flags_table[] = {
		{ "shallow", 1 }, { "reuse-external", 2 }, { "transient-job", 4 }, { "synchronous-writes", 8 }, {}
	};
	enum { OF_OLD = 1 | 2 };
	unsigned flags = flags_of(a, flags_table);
	const char *format = arg_text(a, "format");

	if (arg_on(a, "dest") && !(flags & ~OF_OLD) && !arg_on(a, "granularity") && !arg_on(a, "buf-size") &&
	    !arg_on(a, "bytes") && (!format || strcmp(format, "raw") == 0))
		return copy_simply(sh, a, dom);
	return tell(sh, "domain_block_copy", "(@" DOMAIN "ss@a(sv)u)", dom, arg_text(a, "path"), xml, params, flags);
}

bool cmd_blockcopy(struct shell *sh, const struct args *a)
{
	static const char *const pairs[][2] = {
		{ "dest", "xml" }, { "format", "xml" }, { "blockdev", "xml" }, { "pivot", "finish" }, {}
	};
	static const struct words words = { "Copy aborted", "Copy failed" };
	bool pivot = arg_on(a, "pivot"), finish = arg_on(a, "finish");
	bool waits = arg_on(a, "wait") || arg_on(a, "timeout") || pivot || finish;
	const char *path = arg_text(a, "path");
	g_autoptr(GVariant) dom = NULL, params = NULL;
	g_autoptr(block_watch) watch = NULL;
	g_autofree char *xml = NULL;
	unsigned timeout;

	if (excludes(sh, a, pairs) || !take_timeout(sh, a, &timeout) || !(params = copy_params(sh, a)))
		return false;
	if (!arg_on(a, "dest") && !arg_on(a, "xml"))
		return shell_error(sh, "need either --dest or --xml");
	if (!check_waiting(sh, a, waits, "finish") || !(dom = find_domain(sh, a, "domain")) || !(xml = copy_xml(sh, a)))
		return false;
	if (arg_on(a, "print-xml")) {
		say(sh, "%s", xml);
		return true;
	}
	if (waits)
		watch = block_watch_new(sh, dom, path, "Block Copy", arg_on(a, "verbose"), timeout,
					arg_on(a, "async") ? ABORT_ASYNC : 0);
	if (!start_copy(sh, a, dom, xml, params))
		return false;
	if (!waits) {
		say_extra(sh, "Block Copy started");
		return true;
	}
	if (!wait_for(sh, watch, &words))
		return false;
	if (pivot)
		return end_job(sh, dom, path, ABORT_PIVOT, "Successfully pivoted");
	if (finish)
		return end_job(sh, dom, path, 0, "Successfully copied");
	say_extra(sh, "\n%s", "Now in mirroring phase");
	return true;
}

/* ---- pull ---- */

bool cmd_blockpull(struct shell *sh, const struct args *a)
{
	static const struct flag flags_table[] = { { "keep-relative", 16 }, { "bytes", 64 }, {} }; /* of both calls */
	static const struct words words = { "Pull aborted", "Pull failed" };
	unsigned flags = flags_of(a, flags_table), timeout;
	const char *path = arg_text(a, "path"), *base = arg_text(a, "base");
	bool waits = arg_on(a, "wait"), ok;
	g_autoptr(GVariant) dom = NULL;
	g_autoptr(block_watch) watch = NULL;
	guint64 bandwidth;

	if (!args_require(sh, a, "verbose", "wait") || !args_require(sh, a, "async", "wait") ||
	    !take_bandwidth(sh, a, &bandwidth) || !take_timeout(sh, a, &timeout) || !(dom = find_domain(sh, a, "domain")))
		return false;
	if (waits)
		watch = block_watch_new(sh, dom, path, "Block Pull", arg_on(a, "verbose"), timeout,
					arg_on(a, "async") ? ABORT_ASYNC : 0);
	ok = base || arg_on(a, "keep-relative")
		     ? tell(sh, "domain_block_rebase", "(@" DOMAIN "smstu)", dom, path, base, bandwidth, flags)
		     : tell(sh, "domain_block_pull", "(@" DOMAIN "stu)", dom, path, bandwidth, flags);
	if (!ok)
		return false;
	if (!waits) {
		say_extra(sh, "Block Pull started");
		return true;
	}
	if (!wait_for(sh, watch, &words))
		return false;
	say_extra(sh, "\n%s", "Pull complete");
	return true;
}

/* ---- what there is ---- */

static const char *job_name(int type)
{
	static const char *const names[] = { "Unknown job",  "Block Pull",	    "Block Copy",
					     "Block Commit", "Active Block Commit", "Backup" };

	return type >= 0 && type < (int)G_N_ELEMENTS(names) ? names[type] : names[0];
}

static void say_raw(struct shell *sh, int type, guint64 bandwidth, guint64 cur, guint64 size)
{
	say(sh, " type=%s\n bandwidth=%lu\n cur=%" G_GUINT64_FORMAT "\n end=%" G_GUINT64_FORMAT "\n", job_name(type),
	    (unsigned long)bandwidth, cur, size);
}

static bool say_job(struct shell *sh, const struct args *a, GVariant *dom, const char *path)
{
	enum { INFO_BYTES = 1 };
	bool raw = arg_on(a, "raw"), bytes = arg_on(a, "bytes") || !raw;
	g_autoptr(GVariant) info = ask(sh, "domain_get_block_job_info", "(@" DOMAIN "su)", dom, path, bytes ? INFO_BYTES : 0);
	guint64 bandwidth, cur, size;
	gint32 found, type;

	/* Older servers know no bytes. */
	if (!info && !raw && !arg_on(a, "bytes") && error_code(sh) == VIR_ERR_INVALID_ARG) {
		bytes = false;
		info = ask(sh, "domain_get_block_job_info", "(@" DOMAIN "su)", dom, path, 0);
	}
	if (!info)
		return false;
	g_variant_get(info, "(iittt)", &found, &type, &bandwidth, &cur, &size);
	if (!found) {
		if (!raw)
			say_extra(sh, "No current block job for %s", path);
		return true;
	}
	if (sh->json) {
		say_field(sh, 0, "type", "%s", job_name(type));
		say_field(sh, 0, "bandwidth", "%" G_GUINT64_FORMAT, bandwidth);
		say_field(sh, 0, "cur", "%" G_GUINT64_FORMAT, cur);
		say_field(sh, 0, "end", "%" G_GUINT64_FORMAT, size);
	} else if (raw) {
		say_raw(sh, type, bandwidth, cur, size);
	} else {
		struct progress p = { job_name(type), true };

		progress_show(&p, size - MIN(cur, size), size);
		if (bandwidth) {
			const char *unit;
			double v = scaled(bytes ? bandwidth : bandwidth * MIB, &unit);

			say(sh, "    Bandwidth limit: %" G_GUINT64_FORMAT " bytes/s (%-.3f %s/s)",
			    bytes ? bandwidth : bandwidth * MIB, v, unit);
		}
		say(sh, "\n");
	}
	return true;
}

bool cmd_blockjob(struct shell *sh, const struct args *a)
{
	static const char *const pairs[][2] = { { "raw", "abort" },	{ "raw", "pivot" },	 { "raw", "async" },
						{ "raw", "bandwidth" }, { "info", "abort" },	 { "info", "pivot" },
						{ "info", "async" },	{ "info", "bandwidth" }, { "bytes", "abort" },
						{ "bytes", "pivot" },	{ "bytes", "async" },	 {} };
	static const struct flag abort_flags[] = { { "async", ABORT_ASYNC }, { "pivot", ABORT_PIVOT }, {} };
	const char *path = arg_text(a, "path");
	g_autoptr(GVariant) dom = NULL;
	guint64 bandwidth;

	if (excludes(sh, a, pairs) || !(dom = find_domain(sh, a, "domain")))
		return false;
	if (arg_on(a, "bandwidth"))
		return take_bandwidth(sh, a, &bandwidth) && tell(sh, "domain_block_job_set_speed", "(@" DOMAIN "stu)", dom, path,
								 bandwidth, arg_on(a, "bytes") ? 1 : 0);
	if (arg_on(a, "abort") || arg_on(a, "async") || arg_on(a, "pivot"))
		return tell(sh, "domain_block_job_abort", "(@" DOMAIN "su)", dom, path, flags_of(a, abort_flags));
	return say_job(sh, a, dom, path);
}

bool cmd_domblkthreshold(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = NULL;
	guint64 threshold;

	if (arg_size(sh, a, "threshold", 1, &threshold) < 0 || !(dom = find_domain(sh, a, "domain")))
		return false;
	return tell(sh, "domain_set_block_threshold", "(@" DOMAIN "stu)", dom, arg_text(a, "dev"), threshold, 0);
}
