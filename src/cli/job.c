/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See job.h. */
#include <glib-unix.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "job.h"
#include "objects.h"
#include "rpc/message.h"

enum { TICK_MS = 500, BAR_AFTER_US = G_USEC_PER_SEC, BAR_WIDTH = 30 };

/* ---- progress ---- */

static int percent_of(guint64 left, guint64 total)
{
	int percent = total ? left ? 100 - (int)(left * 100.0 / total) : 100 : 0;

	return CLAMP(percent, 0, left ? 99 : 100);
}

static void show_bar(struct progress *p, int percent)
{
	int full = percent * BAR_WIDTH / 100;
	g_autofree char *bar = g_strnfill(full, '#'), *rest = g_strnfill(BAR_WIDTH - full, '.');

	if ((p->shown && percent == p->percent) || !isatty(STDERR_FILENO) || g_get_monotonic_time() - p->start < BAR_AFTER_US)
		return;
	fprintf(stderr, "\r%s [%s%s] %3d %%", p->label, bar, rest, percent);
	p->shown = true;
	p->percent = percent;
}

void progress_show(struct progress *p, guint64 left, guint64 total)
{
	int percent = percent_of(left, total);

	p->start = p->start ? p->start : g_get_monotonic_time();
	if (p->verbose) {
		fprintf(stderr, "\r%s: [%3d %%]", p->label, percent);
		p->shown = true;
	} else {
		show_bar(p, percent);
	}
	fflush(stderr);
}

void progress_end(struct progress *p, bool ok)
{
	if (p->verbose && ok)
		progress_show(p, 0, 1);
	else if (!p->verbose && p->shown)
		fputs("\r\033[K", stderr);
	fflush(stderr);
	p->shown = false;
}

/* ---- a call ---- */

struct watch {
	struct shell *sh;
	const struct job_watch *of;
	GMainLoop *loop;
	struct progress progress;
	GVariant *answer;
	GError *error;
};

static void on_done(GObject *source, GAsyncResult *result, gpointer opaque)
{
	struct watch *w = opaque;

	w->answer = kv_connection_call_finish(KV_CONNECTION(source), result, &w->error);
	g_main_loop_quit(w->loop);
}

static gboolean on_tick(gpointer opaque)
{
	struct watch *w = opaque;
	g_autoptr(GVariant) info = kv_connection_call_sync(w->sh->conn, "domain_get_job_info",
							   g_variant_new("(@" DOMAIN ")", w->of->dom), NULL, NULL);
	gint32 type;
	guint64 total, left;

	if (!info)
		return G_SOURCE_CONTINUE;
	g_variant_get_child(info, 0, "i", &type);
	g_variant_get_child(info, 3, "t", &total);
	g_variant_get_child(info, 5, "t", &left);
	if (type == 1 || type == 2)
		progress_show(&w->progress, left, total);
	return G_SOURCE_CONTINUE;
}

static void ignore_answer(GObject *source, GAsyncResult *result, gpointer opaque)
{
	g_autoptr(GVariant) answer = kv_connection_call_finish(KV_CONNECTION(source), result, NULL);
}

static gboolean on_interrupt(gpointer opaque)
{
	struct watch *w = opaque;

	/* The call under way ends with the error. */
	kv_connection_call(w->sh->conn, "domain_abort_job", g_variant_new("(@" DOMAIN ")", w->of->dom), NULL, ignore_answer,
			   NULL);
	return G_SOURCE_CONTINUE;
}

static gboolean on_timeout(gpointer opaque)
{
	struct watch *w = opaque;

	w->of->on_timeout(w->sh, w->of->dom);
	return G_SOURCE_REMOVE;
}

GVariant *job_call(struct shell *sh, const struct job_watch *of, const char *procedure, GVariant *args)
{
	g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
	struct watch w = { sh, of, loop, { of->label, of->verbose, g_get_monotonic_time() } };
	guint interrupt, tick, timeout;

	forget_error(sh);
	kv_connection_call(sh->conn, procedure, args, NULL, on_done, &w);
	interrupt = g_unix_signal_add(SIGINT, on_interrupt, &w);
	tick = of->verbose || isatty(STDERR_FILENO) ? g_timeout_add(TICK_MS, on_tick, &w) : 0;
	timeout = of->timeout_ms ? g_timeout_add(of->timeout_ms, on_timeout, &w) : 0;
	g_main_loop_run(loop);
	g_source_remove(interrupt);
	if (tick)
		g_source_remove(tick);
	if (timeout && g_main_context_find_source_by_id(NULL, timeout))
		g_source_remove(timeout);
	progress_end(&w.progress, w.answer);
	sh->error = w.error;
	return w.answer;
}

/* ---- a disk's job ---- */

struct block_watch {
	struct shell *sh;
	GVariant *dom;
	char *disk, *source;
	struct progress progress;
	unsigned timeout_ms, abort_flags;
	GMainLoop *loop;
	gulong events, closed;
	int ids[2]; /* of the events; -1: the server has none */
	bool has_end, is_aborted;
	enum block_job_end end;
	guint64 last_cur, last_size;
};

/* VIR_DOMAIN_EVENT_ID_BLOCK_JOB by the source's name, VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2 by the target's */
static const int event_numbers[] = { 8, 16 };

static void end_with(struct block_watch *w, enum block_job_end end)
{
	w->has_end = true;
	w->end = end;
	g_main_loop_quit(w->loop);
}

static void on_event(KvConnection *conn, const char *procedure, GVariant *body, struct block_watch *w)
{
	g_autoptr(GVariant) dom = NULL;
	bool old = strcmp(procedure, "domain_event_callback_block_job") == 0;
	const char *disk;
	gint32 id, status;

	if (!old && strcmp(procedure, "domain_event_block_job_2") != 0)
		return;
	if (old)
		g_variant_get(body, "(i(@" DOMAIN "&sii))", &id, &dom, &disk, NULL, &status);
	else
		g_variant_get(body, "(i@" DOMAIN "&sii)", &id, &dom, &disk, NULL, &status);
	if (id == w->ids[old ? 0 : 1] && (strcmp(disk, w->disk) == 0 || g_strcmp0(disk, w->source) == 0))
		end_with(w, status);
}

static void on_block_closed(KvConnection *conn, const GError *why, struct block_watch *w)
{
	end_with(w, BLOCK_JOB_LOST);
}

/* The name of the disk's source, which the older event has. */
static char *source_of_disk(struct shell *sh, GVariant *dom, const char *disk)
{
	g_autoptr(node) xml = domain_xml(sh, dom, 0);
	g_autoptr(GPtrArray) disks = node_all(xml, "devices/disk");

	for (unsigned i = 0; i < disks->len; i++) {
		struct node *each = g_ptr_array_index(disks, i);
		const char *file = node_get_attr(each, "source", "file");

		if (g_strcmp0(node_get_attr(each, "target", "dev"), disk) == 0)
			return g_strdup(file ? file : node_get_attr(each, "source", "dev"));
	}
	return NULL;
}

struct block_watch *block_watch_new(struct shell *sh, GVariant *dom, const char *disk, const char *label, bool verbose,
				    unsigned timeout_ms, unsigned abort_flags)
{
	struct block_watch *w = g_new0(struct block_watch, 1);
	g_autoptr(GVariant) only = g_variant_ref_sink(g_variant_new_maybe(G_VARIANT_TYPE(DOMAIN), dom));

	*w = (struct block_watch){ .sh = sh,
				   .dom = g_variant_ref(dom),
				   .disk = g_strdup(disk),
				   .source = source_of_disk(sh, dom, disk),
				   .progress = { label, verbose },
				   .timeout_ms = timeout_ms,
				   .abort_flags = abort_flags,
				   .loop = g_main_loop_new(NULL, FALSE) };
	w->events = g_signal_connect(sh->conn, "event", G_CALLBACK(on_event), w);
	w->closed = g_signal_connect(sh->conn, "closed", G_CALLBACK(on_block_closed), w);
	for (unsigned i = 0; i < G_N_ELEMENTS(event_numbers); i++)
		if (!ask_int(sh, &w->ids[i], "connect_domain_event_callback_register_any", "(i@m" DOMAIN ")", event_numbers[i],
			     only))
			w->ids[i] = -1;
	forget_error(sh);
	return w;
}

static void abort_block_job(struct block_watch *w)
{
	struct shell *sh = w->sh;

	w->is_aborted = true;
	if (!tell(sh, "domain_block_job_abort", "(@" DOMAIN "su)", w->dom, w->disk, w->abort_flags))
		shell_error(sh, "failed to abort job for disk '%s'", w->disk);
	end_with(w, BLOCK_JOB_CANCELED);
}

static gboolean on_block_tick(gpointer opaque)
{
	struct block_watch *w = opaque;
	g_autoptr(GVariant) info = ask(w->sh, "domain_get_block_job_info", "(@" DOMAIN "su)", w->dom, w->disk, 0);
	guint64 cur, size;
	gint32 found;

	if (!info) {
		shell_error(w->sh, "failed to query job for disk %s", w->disk);
		end_with(w, BLOCK_JOB_LOST);
		return G_SOURCE_CONTINUE;
	}
	g_variant_get(info, "(iittt)", &found, NULL, NULL, &cur, &size);
	/* Gone without an event: of a server that has none. Where there are events, one is on its way. */
	if (!found && (w->ids[0] < 0 || w->ids[1] < 0))
		end_with(w, BLOCK_JOB_COMPLETED);
	if (found && (cur != w->last_cur || size != w->last_size))
		progress_show(&w->progress, size - MIN(cur, size), size);
	w->last_cur = cur;
	w->last_size = size;
	return G_SOURCE_CONTINUE;
}

static gboolean on_block_stop(gpointer opaque)
{
	abort_block_job(opaque);
	return G_SOURCE_CONTINUE;
}

enum block_job_end block_watch_wait(struct block_watch *w)
{
	guint interrupt = g_unix_signal_add(SIGINT, on_block_stop, w), tick = g_timeout_add(TICK_MS, on_block_tick, w),
	      timeout = w->timeout_ms ? g_timeout_add(w->timeout_ms, on_block_stop, w) : 0;

	w->progress.start = g_get_monotonic_time();
	if (!w->has_end)
		on_block_tick(w);
	if (!w->has_end)
		g_main_loop_run(w->loop);
	g_source_remove(interrupt);
	g_source_remove(tick);
	if (timeout)
		g_source_remove(timeout);
	progress_end(&w->progress, w->end == BLOCK_JOB_COMPLETED || w->end == BLOCK_JOB_READY);
	return w->end;
}

void block_watch_free(struct block_watch *w)
{
	struct shell *sh = w->sh;
	g_autoptr(GError) why = g_steal_pointer(&sh->error);

	for (unsigned i = 0; i < G_N_ELEMENTS(event_numbers); i++)
		if (w->ids[i] >= 0)
			tell(sh, "connect_domain_event_callback_deregister_any", "(i)", w->ids[i]);
	forget_error(sh);
	sh->error = g_steal_pointer(&why);
	g_signal_handler_disconnect(sh->conn, w->events);
	g_signal_handler_disconnect(sh->conn, w->closed);
	g_main_loop_unref(w->loop);
	g_variant_unref(w->dom);
	g_free(w->disk);
	g_free(w->source);
	g_free(w);
}
