/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See timer.h: a timerfd (timerfd_create(2)) and its source. Called by the clock chips: hpet.c, ich9-pm.c, mc146818.c. */
#include "timer.h"

#include <errno.h>
#include <glib-unix.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "error.h"

#define NS 1000000000ull

struct chip_timer {
	int fd;
	GSource *source;
	void (*fire)(void *opaque);
	void *opaque;
};

uint64_t chip_timer_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec;
}

static gboolean on_ready(gint fd, GIOCondition condition, gpointer opaque)
{
	struct chip_timer *t = opaque;
	uint64_t n;

	/* Nothing is there when it was set anew meanwhile. */
	if (read(fd, &n, sizeof(n)) == sizeof(n))
		t->fire(t->opaque);
	return G_SOURCE_CONTINUE;
}

struct chip_timer *chip_timer_new(GMainContext *context, void (*fire)(void *opaque), void *opaque, GError **error)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	struct chip_timer *t;

	if (fd < 0) {
		kv_fail_errno(error, errno, "timerfd_create");
		return NULL;
	}
	t = g_new0(struct chip_timer, 1);
	*t = (struct chip_timer){.fd = fd, .fire = fire, .opaque = opaque};
	t->source = g_unix_fd_source_new(fd, G_IO_IN);
	g_source_set_callback(t->source, G_SOURCE_FUNC(on_ready), t, NULL);
	g_source_attach(t->source, context);
	return t;
}

void chip_timer_free(struct chip_timer *t)
{
	if (!t)
		return;
	g_source_destroy(t->source);
	g_source_unref(t->source);
	close(t->fd);
	g_free(t);
}

void chip_timer_set(struct chip_timer *t, uint64_t when)
{
	struct itimerspec its = {0};

	/* Zero would switch it off. */
	if (when != CHIP_TIMER_NEVER) {
		its.it_value.tv_sec = (time_t)(when / NS);
		its.it_value.tv_nsec = (long)(when % NS) | !when;
	}
	timerfd_settime(t->fd, TFD_TIMER_ABSTIME, &its, NULL);
}

static uint64_t host_ticks(const struct chip_counter *c)
{
	return (uint64_t)((unsigned __int128)chip_timer_now() * c->hz / NS);
}

uint64_t chip_counter_read(const struct chip_counter *c)
{
	return c->stopped ? c->value : host_ticks(c) + c->offset;
}

void chip_counter_write(struct chip_counter *c, uint64_t value)
{
	c->value = value;
	c->offset = value - host_ticks(c);
}

void chip_counter_stop(struct chip_counter *c)
{
	chip_counter_snapshot(c);
	c->stopped = true;
}

void chip_counter_start(struct chip_counter *c)
{
	if (c->stopped)
		c->offset = c->value - host_ticks(c);
	c->stopped = false;
}

void chip_counter_snapshot(struct chip_counter *c)
{
	c->value = chip_counter_read(c);
}

uint64_t chip_counter_ns(const struct chip_counter *c, uint64_t ticks)
{
	return (uint64_t)((unsigned __int128)MIN(ticks, 3600 * c->hz) * NS / c->hz);
}
