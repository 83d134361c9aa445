/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See thread.h. */
#include "thread.h"
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include "core.h"

static struct {
	pthread_mutex_t lock;
	bool hold;
	void (*entered)(void);
	struct thread *list; /* held */
} threads = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void *begin(void *arg)
{
	struct thread *t = arg;
	void (*entered)(void) = __atomic_load_n(&threads.entered, __ATOMIC_ACQUIRE);

	/* By itself: another thread would need /proc for it. */
	pthread_setname_np(pthread_self(), t->name);
	if (entered)
		entered();
	return t->run(t->arg);
}

/* No signal is for these; but a fault that is blocked ends the process without a word in the kernel's log. */
static int create(struct thread *t)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL };
	sigset_t all, old;
	int err;

	sigfillset(&all);
	for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++)
		sigdelset(&all, faults[i]);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&t->id, NULL, begin, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -err;
}

int thread_start(struct thread *t, const char *name, void *(*run)(void *arg), void *arg)
{
	int err = 0;

	*t = (struct thread){ .name = name, .run = run, .arg = arg };
	pthread_mutex_lock(&threads.lock);
	t->held = threads.hold;
	if (t->held) {
		t->next = threads.list;
		threads.list = t;
	} else {
		err = create(t);
	}
	pthread_mutex_unlock(&threads.lock);
	return err;
}

void thread_join(struct thread *t)
{
	bool held;

	pthread_mutex_lock(&threads.lock);
	held = t->held;
	for (struct thread **at = &threads.list; held && *at; at = &(*at)->next)
		if (*at == t) {
			*at = t->next;
			break;
		}
	pthread_mutex_unlock(&threads.lock);
	if (!held)
		pthread_join(t->id, NULL);
}

void kvcore_hold_threads(void (*entered)(void))
{
	pthread_mutex_lock(&threads.lock);
	threads.hold = true;
	__atomic_store_n(&threads.entered, entered, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&threads.lock);
}

/* One that cannot be made stays held: what it was for is not done, as if the kernel had given it no time yet. */
int kvcore_start_threads(void)
{
	int err = 0;

	pthread_mutex_lock(&threads.lock);
	threads.hold = false;
	while (threads.list && !err) {
		struct thread *t = threads.list;

		err = create(t);
		if (!err) {
			threads.list = t->next;
			t->held = false;
		}
	}
	pthread_mutex_unlock(&threads.lock);
	if (!err)
		return 0;
	errno = -err;
	return -1;
}
