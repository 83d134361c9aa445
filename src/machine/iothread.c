/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See iothread.h. Made by kv-vmm's objects, used by virtio-blk and by machine.c. */
#include "iothread.h"

#include <unistd.h>

#include "error.h"
#include "role.h"

struct iothread {
	char *id;
	GMainContext *context;
	GThread *thread;
	unsigned users, holds; /* the main thread's */
	GMutex lock;
	GCond changed;
	bool wanted; /* by the main thread: the loop is to stand; atomic, changed under lock */
	bool parked, quit; /* lock */
	pid_t tid; /* lock */
};

/* False: it is over. */
static bool park(struct iothread *t)
{
	bool quit;

	g_mutex_lock(&t->lock);
	t->parked = true;
	g_cond_broadcast(&t->changed);
	while (t->wanted && !t->quit)
		g_cond_wait(&t->changed, &t->lock);
	t->parked = false;
	quit = t->quit;
	g_mutex_unlock(&t->lock);
	return !quit;
}

static gpointer run(gpointer opaque)
{
	struct iothread *t = opaque;

	kv_role_enter("iothread");
	g_mutex_lock(&t->lock);
	t->tid = gettid();
	g_cond_broadcast(&t->changed);
	g_mutex_unlock(&t->lock);
	while (park(t)) {
		g_main_context_acquire(t->context);
		while (!__atomic_load_n(&t->wanted, __ATOMIC_ACQUIRE))
			g_main_context_iteration(t->context, TRUE);
		g_main_context_release(t->context);
	}
	return NULL;
}

struct iothread *iothread_new(const char *id)
{
	struct iothread *t = g_new0(struct iothread, 1);

	t->id = g_strdup(id);
	t->context = g_main_context_new();
	g_mutex_init(&t->lock);
	g_cond_init(&t->changed);
	return t;
}

bool iothread_start(struct iothread *t, GError **error)
{
	g_autofree char *name = g_strdup_printf("IO %s", t->id); /* QEMU's name for it */
	g_autoptr(GError) why = NULL;

	if (t->thread)
		return true;
	/* Who holds it has the context already. */
	t->wanted = t->holds;
	t->thread = g_thread_try_new(name, run, t, &why);
	if (!t->thread)
		return kv_fail(error, KV_ERROR_SYSTEM, "iothread '%s': %s", t->id, why->message);
	g_mutex_lock(&t->lock);
	while (!t->tid)
		g_cond_wait(&t->changed, &t->lock);
	g_mutex_unlock(&t->lock);
	return true;
}

void iothread_free(struct iothread *t)
{
	if (!t)
		return;
	if (t->thread) {
		g_mutex_lock(&t->lock);
		t->quit = true;
		__atomic_store_n(&t->wanted, true, __ATOMIC_RELEASE);
		g_cond_broadcast(&t->changed);
		g_mutex_unlock(&t->lock);
		g_main_context_wakeup(t->context);
		g_thread_join(t->thread);
	}
	g_main_context_unref(t->context);
	g_cond_clear(&t->changed);
	g_mutex_clear(&t->lock);
	g_free(t->id);
	g_free(t);
}

GMainContext *iothread_context(struct iothread *t)
{
	return t->context;
}

pid_t iothread_tid(struct iothread *t)
{
	return t->thread ? t->tid : 0;
}

void iothread_hold(struct iothread *t)
{
	if (!t || t->holds++)
		return;
	if (t->thread) {
		g_mutex_lock(&t->lock);
		__atomic_store_n(&t->wanted, true, __ATOMIC_RELEASE);
		g_main_context_wakeup(t->context);
		while (!t->parked)
			g_cond_wait(&t->changed, &t->lock);
		g_mutex_unlock(&t->lock);
	}
	g_main_context_acquire(t->context);
}

void iothread_let_go(struct iothread *t)
{
	if (!t || --t->holds)
		return;
	g_main_context_release(t->context);
	if (!t->thread)
		return;
	g_mutex_lock(&t->lock);
	__atomic_store_n(&t->wanted, false, __ATOMIC_RELEASE);
	g_cond_broadcast(&t->changed);
	g_mutex_unlock(&t->lock);
}

void iothread_take(struct iothread *t)
{
	t->users++;
}

void iothread_give_back(struct iothread *t)
{
	t->users--;
}

unsigned iothread_users(const struct iothread *t)
{
	return t->users;
}
