/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupts of the 82574 (datasheet, 7.4 and 10.2.4): causes, masks, which vector a cause has, and moderation: a vector that
 * was sent is not sent again before its interval has passed (7.4.4). One timer serves all of them. An interval that the guest
 * asks for is kept to the microsecond, for which a GLib timeout is too coarse.
 */
#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <glib-unix.h>

#include "e1000e.h"
#include "error.h"

#define INTX	   E1000E_VECTORS
#define UNIT_NS	   256
#define CAUSES_ALL 0x01ffffffu

static int64_t now_ns(void)
{
	return g_get_monotonic_time() * 1000;
}

static uint32_t asserted(struct e1000e *e)
{
	return *e1000e_reg(e, ICR) & *e1000e_reg(e, IMS);
}

static void arm(struct e1000e *e)
{
	struct itimerspec t = {{0}};
	int64_t first = INT64_MAX, wait;

	for (unsigned i = 0; i < G_N_ELEMENTS(e->waits); i++)
		if (e->waits[i])
			first = MIN(first, e->quiet_until[i]);
	if (first != INT64_MAX) {
		wait = first - now_ns();
		wait = MAX(wait, 1); /* a timer at 0 or before is none */
		t.it_value = (struct timespec){wait / 1000000000, wait % 1000000000};
	}
	timerfd_settime(e->timer_fd, 0, &t, NULL);
}

/* Whether vector `n` may be sent now; if not, it waits. */
static bool may_send(struct e1000e *e, unsigned n)
{
	uint32_t units = *e1000e_reg(e, n == INTX ? ITR : EITR + 4 * n) & 0xffff;
	int64_t now = now_ns();

	if (e->waits[n])
		return false;
	if (now < e->quiet_until[n]) {
		e->waits[n] = true;
		arm(e);
		return false;
	}
	e->quiet_until[n] = now + (int64_t)units * UNIT_NS;
	return true;
}

static void update_intx(struct e1000e *e)
{
	bool msix = pci_msix_enabled(&e->pci);

	if (asserted(e))
		*e1000e_reg(e, ICR) |= CAUSE_ASSERTED;
	else
		*e1000e_reg(e, ICR) &= ~CAUSE_ASSERTED;
	if (msix || !asserted(e))
		e->intx_open = false;
	else if (!e->intx_open)
		e->intx_open = may_send(e, INTX);
	if (e->pci.intx_level != e->intx_open)
		pci_set_intx(&e->pci, e->intx_open);
}

/* IVAR (10.2.4.8): four bits for each of two receive queues, two transmit queues and all else. */
static void send_vectors(struct e1000e *e, uint32_t causes)
{
	static const uint32_t of[] = {CAUSE_RXQ0, CAUSE_RXQ0 << 1, CAUSE_TXQ0, CAUSE_TXQ0 << 1, CAUSE_OTHER};
	uint32_t ivar = *e1000e_reg(e, IVAR), cleared = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(of); i++) {
		unsigned entry = ivar >> 4 * i & 15, vector = entry & 7;

		if (!(causes & of[i]))
			continue;
		if ((entry & 8) && vector < E1000E_VECTORS && may_send(e, vector))
			pci_msix_notify(&e->pci, (uint16_t)vector);
		cleared |= of[i];
	}
	cleared &= *e1000e_reg(e, EIAC);
	*e1000e_reg(e, ICR) &= ~cleared;
	if (!(*e1000e_reg(e, CTRL_EXT) & CTRL_EXT_IAME))
		*e1000e_reg(e, IMS) &= ~cleared;
}

static void interrupt(struct e1000e *e, uint32_t before)
{
	if (!pci_msix_enabled(&e->pci)) {
		update_intx(e);
		return;
	}
	if (*e1000e_reg(e, ICR) & CAUSES_OF_OTHER)
		*e1000e_reg(e, ICR) |= CAUSE_OTHER;
	send_vectors(e, asserted(e) & ~before);
	update_intx(e);
}

void e1000e_cause(struct e1000e *e, uint32_t causes)
{
	uint32_t before = asserted(e);

	*e1000e_reg(e, ICR) |= causes & CAUSES_ALL;
	interrupt(e, before);
}

void e1000e_enable(struct e1000e *e, uint32_t causes)
{
	uint32_t before = asserted(e);

	*e1000e_reg(e, IMS) |= causes & CAUSES_ALL;
	interrupt(e, before);
}

void e1000e_disable(struct e1000e *e, uint32_t causes)
{
	*e1000e_reg(e, IMS) &= ~causes;
	update_intx(e);
}

/* What acknowledges an interrupt also masks those in IAM, if that is asked for (10.2.4.7). */
static void auto_mask(struct e1000e *e)
{
	if ((*e1000e_reg(e, ICR) & CAUSE_ASSERTED) && (*e1000e_reg(e, CTRL_EXT) & CTRL_EXT_IAME))
		*e1000e_reg(e, IMS) &= ~*e1000e_reg(e, IAM);
}

/* An interrupt that is asserted is acknowledged whether there is a mask to be set or not: Linux has it set none. */
uint32_t e1000e_read_icr(struct e1000e *e)
{
	uint32_t v = *e1000e_reg(e, ICR);

	auto_mask(e);
	if (!pci_msix_enabled(&e->pci) || !*e1000e_reg(e, IMS) || (v & CAUSE_ASSERTED))
		*e1000e_reg(e, ICR) = 0;
	update_intx(e);
	return v;
}

void e1000e_write_icr(struct e1000e *e, uint32_t v)
{
	auto_mask(e);
	*e1000e_reg(e, ICR) &= ~v;
	update_intx(e);
}

/* Without the EIAC's help a driver may have seen the causes meanwhile: a message too many is no harm. */
static gboolean on_timer(gint fd, GIOCondition condition, gpointer opaque)
{
	struct e1000e *e = opaque;
	uint64_t ticks;

	if (read(fd, &ticks, sizeof(ticks)) < 0)
		return G_SOURCE_CONTINUE;
	g_mutex_lock(&e->lock);
	for (unsigned i = 0; !e->paused && i < G_N_ELEMENTS(e->waits); i++) {
		if (!e->waits[i] || now_ns() < e->quiet_until[i])
			continue;
		e->waits[i] = false;
		if (i != INTX && may_send(e, i))
			pci_msix_notify(&e->pci, (uint16_t)i);
	}
	if (!e->paused) {
		update_intx(e);
		arm(e);
	}
	g_mutex_unlock(&e->lock);
	return G_SOURCE_CONTINUE;
}

void e1000e_irq_reset(struct e1000e *e)
{
	memset(e->quiet_until, 0, sizeof(e->quiet_until));
	memset(e->waits, 0, sizeof(e->waits));
	e->intx_open = false;
	arm(e);
	pci_set_intx(&e->pci, false);
}

/* Intervals begin anew: the clock may be another host's. What waited is sent soon. */
void e1000e_irq_loaded(struct e1000e *e)
{
	memset(e->quiet_until, 0, sizeof(e->quiet_until));
	e->intx_open = e->pci.intx_level;
	e1000e_irq_resume(e);
}

void e1000e_irq_resume(struct e1000e *e)
{
	arm(e);
	update_intx(e);
}

bool e1000e_irq_init(struct e1000e *e, GError **error)
{
	e->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (e->timer_fd < 0)
		return kv_fail_errno(error, errno, "%s: cannot make a timer", e->pci.dev.id);
	e->timer = g_unix_fd_source_new(e->timer_fd, G_IO_IN);
	g_source_set_callback(e->timer, G_SOURCE_FUNC(on_timer), e, NULL);
	g_source_attach(e->timer, e->pci.dev.core->context);
	return true;
}

void e1000e_irq_destroy(struct e1000e *e)
{
	g_source_destroy(e->timer);
	g_source_unref(e->timer);
	close(e->timer_fd);
}
