/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * irqfds (api.rst, KVM_IRQFD): eventfds whose signals become interrupts. One thread a VM waits for all of them with
 * epoll. A resample irqfd keeps its line up until the guest ends the interrupt, and then tells the owner through
 * another eventfd. Lock order: irqfds.lock (held while injecting, so that a deassign that has returned is the last
 * word), irqchips.lock, irqfds.resample_lock.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>
#include "chip/internal.h"
#include "ioevents.h"
#include "thread.h"

#define STOP UINT64_MAX

struct irqfd {
	int fd, number; /* fd: -1 in a free place */
	int resample_fd; /* or -1; under resample_lock */
	u32 gsi, serial;
};

struct irqfds {
	struct vm *vm;
	pthread_mutex_t lock, resample_lock;
	struct irqfd *irqfd;
	u32 count, serial;
	u32 resamplers; /* atomic: spares look-ups when there are none */
	int epoll, stop;
	struct thread thread;
};

/* ---- the thread ---- */

/* Takes the count; false if somebody else was faster. */
static bool drain(int fd)
{
	u64 value;
	struct iovec v = { &value, sizeof(value) };
	ssize_t n = preadv2(fd, &v, 1, -1, RWF_NOWAIT);

	if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL))
		n = read(fd, &value, sizeof(value)); /* kernels before 5.8 */
	return n == sizeof(value);
}

static void inject(struct irqfds *f, u32 place, u32 serial)
{
	struct irqfd *p;

	pthread_mutex_lock(&f->lock);
	p = place < f->count ? &f->irqfd[place] : NULL;
	if (p && p->fd >= 0 && p->serial == serial && drain(p->fd)) {
		if (p->resample_fd >= 0) {
			irq_set_line(f->vm, p->gsi, 1, IRQ_SOURCE_RESAMPLE);
		} else {
			irq_set_line(f->vm, p->gsi, 1, IRQ_SOURCE_USER);
			irq_set_line(f->vm, p->gsi, 0, IRQ_SOURCE_USER);
		}
	}
	pthread_mutex_unlock(&f->lock);
}

static void *irqfd_thread(void *arg)
{
	struct irqfds *f = arg;
	struct epoll_event event[16];

	for (;;) {
		int n = epoll_wait(f->epoll, event, ARRAY_SIZE(event), -1);

		if (n < 0 && errno != EINTR)
			return NULL;
		for (int i = 0; i < n; i++) {
			if (event[i].data.u64 == STOP)
				return NULL;
			inject(f, (u32)event[i].data.u64, (u32)(event[i].data.u64 >> 32));
		}
	}
}

/* ---- life ---- */

static int start_thread(struct irqfds *f)
{
	struct epoll_event stop = { .events = EPOLLIN, .data.u64 = STOP };

	if (epoll_ctl(f->epoll, EPOLL_CTL_ADD, f->stop, &stop) < 0)
		return -errno;
	return thread_start(&f->thread, "kv-irqfd", irqfd_thread, f);
}

static void release(struct irqfds *f)
{
	for (u32 i = 0; i < f->count; i++) {
		if (f->irqfd[i].fd >= 0)
			close(f->irqfd[i].fd);
		if (f->irqfd[i].resample_fd >= 0)
			close(f->irqfd[i].resample_fd);
	}
	if (f->epoll >= 0)
		close(f->epoll);
	if (f->stop >= 0)
		close(f->stop);
	pthread_mutex_destroy(&f->lock);
	pthread_mutex_destroy(&f->resample_lock);
	free(f->irqfd);
	free(f);
}

void irqfds_destroy(struct irqfds *f)
{
	eventfd_signal(f->stop);
	thread_join(&f->thread);
	release(f);
}

/* ioevents.lock held. */
static int create(struct vm *vm, struct irqfds **ret)
{
	struct irqfds *f = calloc(1, sizeof(*f));
	int err;

	if (!f)
		return -ENOMEM;
	f->vm = vm;
	pthread_mutex_init(&f->lock, NULL);
	pthread_mutex_init(&f->resample_lock, NULL);
	f->epoll = epoll_create1(EPOLL_CLOEXEC);
	f->stop = eventfd(0, EFD_CLOEXEC);
	err = f->epoll < 0 || f->stop < 0 ? -errno : start_thread(f);
	if (err) {
		release(f);
		return err;
	}
	*ret = f;
	return 0;
}

static int irqfds_get(struct vm *vm, struct irqfds **ret)
{
	struct ioevents *e = ioevents_get(vm);
	struct irqfds *f = NULL;
	int err = 0;

	if (!e)
		return -ENOMEM;
	pthread_mutex_lock(&e->lock);
	f = e->irqfds;
	if (!f) {
		err = create(vm, &f);
		__atomic_store_n(&e->irqfds, f, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&e->lock);
	*ret = f;
	return err;
}

/* ---- ioctl; f->lock held ---- */

static int assign(struct irqfds *f, const struct kvm_irqfd *a, int fd, int resample_fd)
{
	struct epoll_event event = { .events = EPOLLIN };
	u32 place = f->count;

	for (u32 i = 0; i < f->count; i++) {
		if (f->irqfd[i].fd < 0)
			place = i;
		else if (eventfd_same(fd, f->irqfd[i].fd, f->irqfd[i].number))
			return -EBUSY;
	}
	pthread_mutex_lock(&f->resample_lock); /* readers of resample_fd walk the array */
	if (place == f->count) {
		struct irqfd *grown = realloc(f->irqfd, (f->count + 1) * sizeof(*grown));

		if (grown) {
			f->irqfd = grown;
			f->count++;
		} else {
			pthread_mutex_unlock(&f->resample_lock);
			return -ENOMEM;
		}
	}
	f->irqfd[place] = (struct irqfd){ .fd = fd, .number = (int)a->fd, .resample_fd = resample_fd, .gsi = a->gsi,
					  .serial = ++f->serial & 0x7fffffff };
	if (resample_fd >= 0)
		__atomic_add_fetch(&f->resamplers, 1, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&f->resample_lock);
	event.data.u64 = place | (u64)f->irqfd[place].serial << 32;
	if (epoll_ctl(f->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
		int err = -errno;

		pthread_mutex_lock(&f->resample_lock);
		f->irqfd[place].fd = f->irqfd[place].resample_fd = -1;
		if (resample_fd >= 0)
			__atomic_sub_fetch(&f->resamplers, 1, __ATOMIC_SEQ_CST);
		pthread_mutex_unlock(&f->resample_lock);
		return err;
	}
	return 0;
}

static bool shares_line(const struct irqfds *f, u32 gsi)
{
	for (u32 i = 0; i < f->count; i++)
		if (f->irqfd[i].resample_fd >= 0 && f->irqfd[i].gsi == gsi)
			return true;
	return false;
}

static void deassign(struct irqfds *f, const struct kvm_irqfd *a, int fd)
{
	for (u32 i = 0; i < f->count; i++) {
		struct irqfd *p = &f->irqfd[i];
		int resample_fd;

		if (p->fd < 0 || p->gsi != a->gsi || !eventfd_same(fd, p->fd, p->number))
			continue;
		epoll_ctl(f->epoll, EPOLL_CTL_DEL, p->fd, NULL);
		close(p->fd);
		p->fd = -1;
		pthread_mutex_lock(&f->resample_lock);
		resample_fd = p->resample_fd;
		p->resample_fd = -1;
		pthread_mutex_unlock(&f->resample_lock);
		if (resample_fd < 0)
			continue;
		__atomic_sub_fetch(&f->resamplers, 1, __ATOMIC_SEQ_CST);
		close(resample_fd);
		if (!shares_line(f, p->gsi))
			irq_set_line(f->vm, p->gsi, 0, IRQ_SOURCE_RESAMPLE);
	}
}

int irqfd_ioctl(struct vm *vm, const struct kvm_irqfd *a)
{
	bool remove = a->flags & KVM_IRQFD_FLAG_DEASSIGN, resample = a->flags & KVM_IRQFD_FLAG_RESAMPLE;
	int fd, resample_fd = -1, err;
	struct irqfds *f;

	if (a->flags & ~(u32)(KVM_IRQFD_FLAG_DEASSIGN | KVM_IRQFD_FLAG_RESAMPLE))
		return -EINVAL;
	if (!remove && (!vm->chips || (resample && irqchips_split(vm))))
		return -EINVAL;
	fd = eventfd_hold((int)a->fd);
	if (fd < 0)
		return fd;
	if (resample && !remove)
		resample_fd = eventfd_hold((int)a->resamplefd);
	err = resample && !remove && resample_fd < 0 ? resample_fd : irqfds_get(vm, &f);
	if (!err) {
		pthread_mutex_lock(&f->lock);
		if (remove)
			deassign(f, a, fd);
		else
			err = assign(f, a, fd, resample_fd);
		pthread_mutex_unlock(&f->lock);
	}
	if (remove || err) {
		close(fd);
		if (resample_fd >= 0)
			close(resample_fd);
	}
	return err;
}

/* ---- ends of interrupts; irqchips.lock held ---- */

static bool notify(struct vm *vm, u32 gsi, bool drop_line)
{
	struct ioevents *e = __atomic_load_n(&vm->ioevents, __ATOMIC_ACQUIRE);
	struct irqfds *f = e ? __atomic_load_n(&e->irqfds, __ATOMIC_ACQUIRE) : NULL;
	bool found = false;

	if (!f || !__atomic_load_n(&f->resamplers, __ATOMIC_SEQ_CST))
		return false;
	pthread_mutex_lock(&f->resample_lock);
	for (u32 i = 0; i < f->count; i++) {
		if (f->irqfd[i].resample_fd < 0 || f->irqfd[i].gsi != gsi)
			continue;
		if (drop_line && !found)
			irq_set_line(vm, gsi, 0, IRQ_SOURCE_RESAMPLE);
		found = true;
		eventfd_signal(f->irqfd[i].resample_fd);
	}
	pthread_mutex_unlock(&f->resample_lock);
	return found;
}

void irqfd_eoi(struct vm *vm, u32 gsi)
{
	notify(vm, gsi, true);
}

bool irqfd_resample(struct vm *vm, u32 gsi)
{
	return notify(vm, gsi, false);
}
