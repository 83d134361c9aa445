/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ioeventfds (api.rst, KVM_IOEVENTFD): guest writes that only ring a bell. A vCPU looks them up without a lock, in a
 * table sorted by address; a change makes a new table and waits until nobody reads the old one.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ioevents.h"
#include "sys.h"

#define ENTRIES_MAX 1000u

struct ioevent {
	u64 addr, match;
	u32 len; /* 0: any */
	bool wildcard;
	int fd, number;
};

struct ioevent_table {
	u32 count;
	struct ioevent entry[];
};

/* ---- eventfds ---- */

int eventfd_hold(int fd)
{
	char path[32], target[32];
	ssize_t n;
	int held;

	if (fcntl(fd, F_GETFD) < 0)
		return -EBADF;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, target, sizeof(target) - 1);
	if (n >= 0) { /* else there is no /proc to ask */
		target[n] = 0;
		if (strcmp(target, "anon_inode:[eventfd]") != 0)
			return -EINVAL;
	}
	held = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return held < 0 ? -errno : held;
}

bool eventfd_same(int fd, int held, int number)
{
	pid_t self = getpid();
	long order = syscall(SYS_kcmp, self, self, KCMP_FILE, fd, held);

	return order < 0 ? fd == number : order == 0; /* a sandbox may forbid kcmp */
}

void eventfd_signal(int fd)
{
	const u64 one = 1;

	sys_write(fd, &one, sizeof(one));
}

/* ---- what a VM keeps ---- */

struct ioevents *ioevents_get(struct vm *vm)
{
	struct ioevents *e;

	pthread_mutex_lock(&vm->lock);
	e = vm->ioevents;
	if (!e) {
		e = calloc(1, sizeof(*e));
		if (e)
			pthread_mutex_init(&e->lock, NULL);
		__atomic_store_n(&vm->ioevents, e, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&vm->lock);
	return e;
}

void ioevents_destroy(struct vm *vm)
{
	struct ioevents *e = vm->ioevents;

	if (!e)
		return;
	if (e->irqfds)
		irqfds_destroy(e->irqfds);
	vm->ioevents = NULL;
	for (unsigned b = 0; b < 2; b++) {
		struct ioevent_table *t = e->bus[b].table;

		for (u32 i = 0; t && i < t->count; i++)
			close(t->entry[i].fd);
		free(t);
	}
	pthread_mutex_destroy(&e->lock);
	free(e);
}

/* ---- look-up ---- */

/* First entry at or behind addr. */
static u32 find(const struct ioevent_table *t, u64 addr)
{
	u32 low = 0, high = t->count;

	while (low < high) {
		u32 mid = (low + high) / 2;

		if (t->entry[mid].addr < addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool ioeventfd_match(struct vm *vm, u64 addr, const void *data, unsigned len, bool pio)
{
	struct ioevents *e = __atomic_load_n(&vm->ioevents, __ATOMIC_ACQUIRE);
	const struct ioevent_table *t;
	bool found = false;
	u64 value = 0;

	if (!e || len > sizeof(value))
		return false;
	__builtin_memcpy(&value, data, len);
	__atomic_add_fetch(&e->bus[pio].readers, 1, __ATOMIC_SEQ_CST);
	t = __atomic_load_n(&e->bus[pio].table, __ATOMIC_SEQ_CST);
	for (u32 i = t ? find(t, addr) : 0; t && i < t->count && t->entry[i].addr == addr && !found; i++) {
		const struct ioevent *p = &t->entry[i];

		found = !p->len || (p->len == len && (p->wildcard || p->match == value));
		if (found) {
			vm_device_event(vm);
			eventfd_signal(p->fd);
		}
	}
	__atomic_sub_fetch(&e->bus[pio].readers, 1, __ATOMIC_SEQ_CST);
	return found;
}

/* ---- changes; lock held ---- */

static void publish(struct ioevents *e, unsigned bus, struct ioevent_table *fresh)
{
	struct ioevent_table *old = __atomic_exchange_n(&e->bus[bus].table, fresh, __ATOMIC_SEQ_CST);

	while (__atomic_load_n(&e->bus[bus].readers, __ATOMIC_SEQ_CST))
		sys_yield();
	free(old);
}

static bool collides(const struct ioevent *a, const struct ioevent *b)
{
	return a->addr == b->addr &&
	       (!a->len || !b->len || (a->len == b->len && (a->wildcard || b->wildcard || a->match == b->match)));
}

static int assign(struct ioevents *e, unsigned bus, const struct ioevent *new)
{
	const struct ioevent_table *old = e->bus[bus].table;
	u32 count = old ? old->count : 0, at = old ? find(old, new->addr) : 0;
	struct ioevent_table *t;

	for (u32 i = 0; i < count; i++)
		if (collides(&old->entry[i], new))
			return -EEXIST;
	if (count >= ENTRIES_MAX)
		return -ENOSPC;
	t = malloc(sizeof(*t) + (count + 1) * sizeof(t->entry[0]));
	if (!t)
		return -ENOMEM;
	t->count = count + 1;
	if (at)
		memcpy(t->entry, old->entry, at * sizeof(t->entry[0]));
	t->entry[at] = *new;
	if (count > at)
		memcpy(&t->entry[at + 1], &old->entry[at], (count - at) * sizeof(t->entry[0]));
	publish(e, bus, t);
	return 0;
}

static int deassign(struct ioevents *e, unsigned bus, const struct ioevent *like)
{
	const struct ioevent_table *old = e->bus[bus].table;

	for (u32 i = 0; old && i < old->count; i++) {
		const struct ioevent *p = &old->entry[i];
		struct ioevent_table *t;
		int fd = p->fd;

		if (p->addr != like->addr || p->len != like->len || p->wildcard != like->wildcard ||
		    (!p->wildcard && p->match != like->match) || !eventfd_same(like->fd, fd, p->number))
			continue;
		t = malloc(sizeof(*t) + old->count * sizeof(t->entry[0]));
		if (!t)
			return -ENOMEM;
		t->count = old->count - 1;
		memcpy(t->entry, old->entry, i * sizeof(t->entry[0]));
		memcpy(&t->entry[i], &old->entry[i + 1], (t->count - i) * sizeof(t->entry[0]));
		publish(e, bus, t);
		close(fd);
		return 0;
	}
	return -ENOENT;
}

static bool valid(const struct kvm_ioeventfd *a)
{
	if (a->flags & ~(u32)(KVM_IOEVENTFD_FLAG_DATAMATCH | KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DEASSIGN))
		return false;
	if (a->len > 8 || (a->len & (a->len - 1)) || a->addr + a->len < a->addr)
		return false;
	return a->len || !(a->flags & KVM_IOEVENTFD_FLAG_DATAMATCH);
}

int ioeventfd_ioctl(struct vm *vm, const struct kvm_ioeventfd *a)
{
	struct ioevent entry = { .addr = a->addr, .match = a->datamatch, .len = a->len, .number = a->fd,
				 .wildcard = !(a->flags & KVM_IOEVENTFD_FLAG_DATAMATCH) };
	unsigned bus = !!(a->flags & KVM_IOEVENTFD_FLAG_PIO);
	bool remove = a->flags & KVM_IOEVENTFD_FLAG_DEASSIGN;
	struct ioevents *e;
	int err;

	if (!remove && !valid(a))
		return -EINVAL;
	e = ioevents_get(vm);
	if (!e)
		return -ENOMEM;
	entry.fd = eventfd_hold(a->fd);
	if (entry.fd < 0)
		return entry.fd;
	pthread_mutex_lock(&e->lock);
	err = remove ? deassign(e, bus, &entry) : assign(e, bus, &entry);
	pthread_mutex_unlock(&e->lock);
	if (remove || err)
		close(entry.fd);
	return err;
}
