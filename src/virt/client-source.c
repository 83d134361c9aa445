/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The main loop's part of a client: it reads when nobody waits for an answer, hands events, and tells the connection's end.
 * Called by client.c and by GLib.
 */
#include <sys/eventfd.h>

#include "client-inside.h"

struct source {
	GSource source;
	struct rpc_client *client;
};

void rpc_client_wake(struct rpc_client *c)
{
	eventfd_write(c->wake_fd, 1);
	g_main_context_wakeup(g_source_get_context(c->source));
}

static bool has_news(struct rpc_client *c)
{
	if (!g_queue_is_empty(&c->events) || !g_queue_is_empty(&c->ended) || (c->why && !c->told) ||
	    kv_transport_pending(c->transport))
		return true;
	for (GList *l = c->streams; l; l = l->next)
		if (((struct rpc_stream *)l->data)->is_news)
			return true;
	return false;
}

static gboolean prepare(GSource *source, gint *timeout)
{
	struct rpc_client *c = ((struct source *)source)->client;
	GIOCondition want = G_IO_IN;
	bool news;

	g_mutex_lock(&c->lock);
	news = has_news(c);
	if (c->why || rpc_streams_are_full(c))
		want = 0;
	if (!c->why && !g_queue_is_empty(&c->out))
		want |= G_IO_OUT;
	g_source_modify_unix_fd(source, c->fd_tag, want);
	g_source_set_ready_time(source, c->ping_at && !c->why ? c->ping_at : -1);
	g_mutex_unlock(&c->lock);
	*timeout = -1;
	return news;
}

static gboolean check(GSource *source)
{
	struct rpc_client *c = ((struct source *)source)->client;
	bool news;

	g_mutex_lock(&c->lock);
	news = has_news(c);
	g_mutex_unlock(&c->lock);
	return news || (g_source_query_unix_fd(source, c->fd_tag) & (G_IO_IN | G_IO_OUT | G_IO_HUP | G_IO_ERR));
}

static void tell_streams(struct rpc_client *c)
{
	GList *l = c->streams;

	while (l) {
		struct rpc_stream *s = l->data;

		if (s->is_news && s->ready) {
			s->is_news = false;
			g_mutex_unlock(&c->lock);
			s->ready(s->opaque);
			g_mutex_lock(&c->lock);
			l = c->streams; /* it may be another list by now */
			continue;
		}
		s->is_news = false;
		l = l->next;
	}
}

static void tell_events(struct rpc_client *c)
{
	struct event *e;

	while ((e = g_queue_pop_head(&c->events))) {
		g_mutex_unlock(&c->lock);
		c->callbacks->event(c->opaque, e->proc, e->body);
		g_variant_unref(e->body);
		g_free(e);
		g_mutex_lock(&c->lock);
	}
}

static void end_tasks(struct rpc_client *c)
{
	struct rpc_call *call;

	while ((call = g_queue_pop_head(&c->ended))) {
		g_mutex_unlock(&c->lock);
		rpc_client_end_task(call);
		g_mutex_lock(&c->lock);
	}
}

static gboolean dispatch(GSource *source, GSourceFunc unused, gpointer data)
{
	struct rpc_client *c = ((struct source *)source)->client;
	bool tell;

	g_source_ref(source);
	g_mutex_lock(&c->lock);
	if (!c->is_reading) {
		rpc_client_flush(c);
		if (!rpc_streams_are_full(c))
			rpc_client_read(c);
		rpc_client_tick(c);
	}
	tell_streams(c);
	tell_events(c);
	end_tasks(c);
	tell = c->why && !c->told;
	c->told |= tell;
	g_mutex_unlock(&c->lock);
	if (tell && !g_source_is_destroyed(source))
		c->callbacks->closed(c->opaque, c->why);
	g_source_unref(source);
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs functions = { prepare, check, dispatch };

void rpc_client_attach(struct rpc_client *c, GMainContext *context)
{
	c->source = g_source_new(&functions, sizeof(struct source));
	((struct source *)c->source)->client = c;
	c->fd_tag = g_source_add_unix_fd(c->source, c->transport->fd, G_IO_IN);
	g_source_attach(c->source, context);
}

void rpc_client_detach(struct rpc_client *c)
{
	struct rpc_call *call;
	struct event *e;

	while ((call = g_queue_pop_head(&c->ended)))
		rpc_client_end_task(call);
	g_source_destroy(c->source);
	g_source_unref(c->source);
	while ((e = g_queue_pop_head(&c->events))) {
		g_variant_unref(e->body);
		g_free(e);
	}
}
