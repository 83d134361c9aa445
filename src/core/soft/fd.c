/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fd.h. Look-ups take no lock: handles are never given back to malloc, and a reference is taken only from one that lives. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "fd.h"

#define CHUNK_BITS 10
#define CHUNK_SIZE (1u << CHUNK_BITS)
#define CHUNKS 1024u

static struct handle **chunk[CHUNKS];
static struct handle *free_handles;
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;

static struct handle **cell(int fd, bool create)
{
	u32 c = (u32)fd >> CHUNK_BITS;
	struct handle **p;

	if (fd < 0 || c >= CHUNKS)
		return NULL;
	p = __atomic_load_n(&chunk[c], __ATOMIC_ACQUIRE);
	if (!p && create) {
		p = calloc(CHUNK_SIZE, sizeof(*p));
		__atomic_store_n(&chunk[c], p, __ATOMIC_RELEASE);
	}
	return p ? &p[(u32)fd & (CHUNK_SIZE - 1)] : NULL;
}

int handle_add(int fd, enum handle_kind kind, struct vm *vm, struct vcpu *vcpu)
{
	struct handle **at, *h;
	int err = 0;

	pthread_mutex_lock(&table_lock);
	at = cell(fd, true);
	h = free_handles;
	if (h)
		free_handles = h->next_free;
	else
		h = calloc(1, sizeof(*h));
	if (!at || !h) {
		err = fd >> CHUNK_BITS >= (int)CHUNKS ? -EMFILE : -ENOMEM;
		if (h) {
			h->next_free = free_handles;
			free_handles = h;
		}
	} else {
		h->kind = kind;
		h->fd = fd;
		h->vm = vm;
		h->vcpu = vcpu;
		if (vm)
			vm_get(vm);
		__atomic_store_n(&h->refs, 1, __ATOMIC_RELEASE);
		__atomic_store_n(at, h, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&table_lock);
	return err;
}

struct handle *handle_get(int fd)
{
	struct handle **at = cell(fd, false), *h;
	u32 refs;

	h = at ? __atomic_load_n(at, __ATOMIC_ACQUIRE) : NULL;
	if (!h)
		return NULL;
	refs = __atomic_load_n(&h->refs, __ATOMIC_ACQUIRE);
	do {
		if (!refs)
			return NULL;
	} while (!__atomic_compare_exchange_n(&h->refs, &refs, refs + 1, true, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE));
	if (__atomic_load_n(at, __ATOMIC_ACQUIRE) == h && h->fd == fd)
		return h;
	handle_put(h);
	return NULL;
}

void handle_put(struct handle *h)
{
	struct vm *vm = h->vm;

	if (__atomic_sub_fetch(&h->refs, 1, __ATOMIC_SEQ_CST))
		return;
	pthread_mutex_lock(&table_lock);
	h->next_free = free_handles;
	free_handles = h;
	pthread_mutex_unlock(&table_lock);
	if (vm)
		vm_put(vm);
}

static int drop(int fd, bool and_close)
{
	struct handle **at, *h = NULL;

	pthread_mutex_lock(&table_lock);
	at = cell(fd, false);
	if (at && *at) {
		h = *at;
		__atomic_store_n(at, NULL, __ATOMIC_SEQ_CST);
		if (and_close)
			close(fd);
	}
	pthread_mutex_unlock(&table_lock);
	if (!h)
		return -EBADF;
	handle_put(h);
	return 0;
}

int handle_close(int fd)
{
	return drop(fd, true);
}

void handle_forget(unsigned first, unsigned last)
{
	for (unsigned fd = first; fd <= last && fd < CHUNKS * CHUNK_SIZE; fd++)
		if (__atomic_load_n(&chunk[fd >> CHUNK_BITS], __ATOMIC_ACQUIRE))
			drop((int)fd, false);
		else
			fd |= CHUNK_SIZE - 1;
}

/* ---- children of fork(2), which close what they have inherited ---- */

static void before_fork(void)
{
	pthread_mutex_lock(&table_lock);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&table_lock);
}

__attribute__((constructor)) static void expect_forks(void)
{
	pthread_atfork(before_fork, after_fork, after_fork);
}
