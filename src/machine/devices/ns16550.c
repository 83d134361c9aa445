/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The 16550A serial port at COM1 or COM2 (National Semiconductor PC16550D): 16-byte receive FIFO, transmitter that is always
 * ready as long as the console's buffer has room, loopback, modem lines up. Created by the board on a chardev.
 */
#include <string.h>

#include "char.h"
#include "classes.h"
#include "error.h"

#define COM1 0x3f8
#define COM2 0x2f8
#define COM1_IRQ 4
#define COM2_IRQ 3
#define FIFO 16

enum { RBR = 0, IER = 1, IIR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7 };
enum { IER_RX = 1, IER_TX = 2, IER_LINE = 4, IER_MODEM = 8 };
enum { IIR_MODEM = 0, IIR_NONE = 1, IIR_TX = 2, IIR_RX = 4, IIR_LINE = 6, IIR_TIMEOUT = 12, IIR_FIFO = 0xc0 };
enum { LSR_READY = 1, LSR_OVERRUN = 2, LSR_BREAK = 16, LSR_THRE = 32, LSR_EMPTY = 64 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 16 };
enum { RETRY_MS = 10 };
enum { LCR_DLAB = 0x80 };
enum { MSR_CTS = 16, MSR_DSR = 32, MSR_DCD = 128 };

struct ns16550 {
	struct device dev;
	uint16_t base;
	uint8_t gsi;
	struct chardev *chr; /* NULL: what is sent vanishes */
	GMutex lock;
	uint8_t ier, lcr, mcr, scr, fcr, dll, dlm;
	bool overrun, thr_empty_pending; /* THRE interrupt waits to be seen */
	uint8_t fifo[FIFO];
	uint8_t head, count;
	bool irq;
	bool waiting; /* the transmitter is busy until the backend has room */
	GSource *retry; /* while it waits: looks for room */
	uint64_t sent, received;
};

static unsigned fifo_size(const struct ns16550 *s)
{
	return s->fcr & 1 ? FIFO : 1;
}

static uint8_t interrupt_id(const struct ns16550 *s)
{
	static const uint8_t triggers[] = {1, 4, 8, 14};
	unsigned trigger = s->fcr & 1 ? triggers[s->fcr >> 6] : 1;

	if ((s->ier & IER_LINE) && s->overrun)
		return IIR_LINE;
	if ((s->ier & IER_RX) && s->count)
		return s->count >= trigger ? IIR_RX : IIR_TIMEOUT;
	if ((s->ier & IER_TX) && s->thr_empty_pending)
		return IIR_TX;
	return IIR_NONE;
}

static void update_irq(struct ns16550 *s)
{
	bool level = interrupt_id(s) != IIR_NONE && (s->mcr & MCR_OUT2);

	if (level == s->irq)
		return;
	s->irq = level;
	machine_irq(s->dev.core, s->gsi, level);
}

static bool has_room(const struct ns16550 *s)
{
	return !s->chr || char_writable(s->chr);
}

static gboolean on_retry(gpointer opaque)
{
	struct ns16550 *s = opaque;
	bool room = has_room(s);

	g_mutex_lock(&s->lock);
	if (room && s->waiting) {
		s->waiting = false;
		s->thr_empty_pending = true;
		update_irq(s);
		g_clear_pointer(&s->retry, g_source_unref);
	}
	g_mutex_unlock(&s->lock);
	return room ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE;
}

static void stop_retry(struct ns16550 *s)
{
	s->waiting = false;
	if (s->retry)
		g_source_destroy(s->retry);
	g_clear_pointer(&s->retry, g_source_unref);
}

static void start_retry(struct ns16550 *s)
{
	s->waiting = true;
	if (s->retry)
		return;
	s->retry = g_timeout_source_new(RETRY_MS);
	g_source_set_callback(s->retry, on_retry, s, NULL);
	g_source_attach(s->retry, s->dev.core->context);
}

/* The transmitter is empty, now or when the backend has room again: a guest waits for the interrupt. */
static void transmitter_ready(struct ns16550 *s)
{
	s->thr_empty_pending = has_room(s);
	if (!s->thr_empty_pending)
		start_retry(s);
}

static void push(struct ns16550 *s, uint8_t byte)
{
	if (s->count >= fifo_size(s)) {
		s->overrun = true;
		return;
	}
	s->fifo[(s->head + s->count++) % FIFO] = byte;
}

static uint8_t pop(struct ns16550 *s)
{
	uint8_t byte;

	if (!s->count)
		return 0;
	byte = s->fifo[s->head];
	s->head = (s->head + 1) % FIFO;
	s->count--;
	return byte;
}

static uint8_t modem_status(const struct ns16550 *s)
{
	if (!(s->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (uint8_t)((s->mcr & MCR_RTS ? 0x10 : 0) | (s->mcr & MCR_DTR ? 0x20 : 0) | (s->mcr & MCR_OUT1 ? 0x40 : 0) |
			 (s->mcr & MCR_OUT2 ? 0x80 : 0));
}

static uint8_t line_status(struct ns16550 *s)
{
	uint8_t v = (s->count ? LSR_READY : 0) | (s->overrun ? LSR_OVERRUN : 0);

	if (!s->waiting && has_room(s))
		v |= LSR_THRE | LSR_EMPTY;
	s->overrun = false;
	return v;
}

static uint8_t read_register(struct ns16550 *s, unsigned reg)
{
	uint8_t id;

	switch (reg) {
	case RBR:
		return s->lcr & LCR_DLAB ? s->dll : pop(s);
	case IER:
		return s->lcr & LCR_DLAB ? s->dlm : s->ier;
	case IIR:
		id = interrupt_id(s);
		if (id == IIR_TX)
			s->thr_empty_pending = false;
		return id | (s->fcr & 1 ? IIR_FIFO : 0);
	case LCR:
		return s->lcr;
	case MCR:
		return s->mcr;
	case LSR:
		return line_status(s);
	case MSR:
		return modem_status(s);
	default:
		return s->scr;
	}
}

static uint64_t uart_read(void *opaque, uint64_t offset, unsigned size)
{
	struct ns16550 *s = opaque;
	bool took;
	uint8_t v;

	g_mutex_lock(&s->lock);
	took = offset == RBR && s->count && !(s->lcr & LCR_DLAB);
	v = read_register(s, (unsigned)offset);
	update_irq(s);
	g_mutex_unlock(&s->lock);
	if (took && s->chr)
		char_resume(s->chr);
	return v;
}

static void transmit(struct ns16550 *s, uint8_t byte)
{
	if (s->mcr & MCR_LOOP) {
		push(s, byte);
	} else if (s->chr) {
		char_write(s->chr, &byte, 1);
		s->sent++;
	}
	transmitter_ready(s);
}

static void write_fcr(struct ns16550 *s, uint8_t v)
{
	if ((v ^ s->fcr) & 1 || v & 2)
		s->count = 0;
	s->fcr = v & 0xc9;
}

static void write_register(struct ns16550 *s, unsigned reg, uint8_t v)
{
	switch (reg) {
	case RBR:
		if (s->lcr & LCR_DLAB)
			s->dll = v;
		else
			transmit(s, v);
		break;
	case IER:
		if (s->lcr & LCR_DLAB) {
			s->dlm = v;
			break;
		}
		if (v & ~s->ier & IER_TX)
			transmitter_ready(s);
		s->ier = v & 15;
		break;
	case IIR:
		write_fcr(s, v);
		break;
	case LCR:
		s->lcr = v;
		break;
	case MCR:
		s->mcr = v & 31;
		break;
	case SCR:
		s->scr = v;
		break;
	default: /* line and modem status are read only */
		break;
	}
}

static void uart_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct ns16550 *s = opaque;

	g_mutex_lock(&s->lock);
	write_register(s, (unsigned)offset, (uint8_t)data);
	update_irq(s);
	g_mutex_unlock(&s->lock);
	/* The FIFO was emptied or changed its size, or loopback ended: room that no read announces. */
	if ((offset == IIR || offset == MCR) && s->chr)
		char_resume(s->chr);
}

static const struct bus_ops uart_ops = {uart_read, uart_write};

static size_t can_receive(void *opaque)
{
	struct ns16550 *s = opaque;
	size_t room;

	g_mutex_lock(&s->lock);
	room = s->mcr & MCR_LOOP ? 0 : fifo_size(s) - MIN(s->count, fifo_size(s));
	g_mutex_unlock(&s->lock);
	return room;
}

static void receive(void *opaque, const uint8_t *data, size_t len)
{
	struct ns16550 *s = opaque;

	g_mutex_lock(&s->lock);
	for (size_t i = 0; i < len; i++)
		push(s, data[i]);
	s->received += len;
	update_irq(s);
	g_mutex_unlock(&s->lock);
}

static const struct char_client uart_client = {can_receive, receive};

static void uart_reset(struct device *dev)
{
	struct ns16550 *s = (struct ns16550 *)dev;

	g_mutex_lock(&s->lock);
	s->ier = s->scr = s->fcr = s->dlm = s->lcr = 0;
	s->dll = 1;
	s->mcr = MCR_OUT2;
	s->overrun = s->thr_empty_pending = false;
	s->head = s->count = 0;
	memset(s->fifo, 0, sizeof(s->fifo));
	stop_retry(s);
	update_irq(s);
	g_mutex_unlock(&s->lock);
}

static bool uart_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct ns16550 *s = (struct ns16550 *)dev;

	gboolean second = FALSE;

	if (options)
		g_variant_lookup(options, "second", "b", &second);
	s->base = second ? COM2 : COM1;
	s->gsi = second ? COM2_IRQ : COM1_IRQ;
	g_mutex_init(&s->lock);
	s->chr = backend->chardev;
	uart_reset(dev);
	if (!bus_register(dev->core->ports, s->base, 8, "ns16550", &uart_ops, s, error))
		return false;
	if (s->chr)
		char_attach(s->chr, &uart_client, s);
	return true;
}

static void uart_destroy(struct device *dev)
{
	struct ns16550 *s = (struct ns16550 *)dev;

	if (s->chr)
		char_attach(s->chr, NULL, NULL);
	bus_unregister(dev->core->ports, s->base);
	stop_retry(s);
	g_mutex_clear(&s->lock);
}

static bool uart_loaded(void *opaque, GError **error)
{
	struct ns16550 *s = opaque;
	bool waiting = s->waiting;

	if (s->head >= FIFO || s->count > FIFO)
		return kv_fail(error, KV_ERROR_INVALID, "ns16550: the saved FIFO has more than %d bytes", FIFO);
	stop_retry(s); /* that of the state before */
	if (waiting)
		start_retry(s);
	return true;
}

static char *uart_stats(struct device *dev)
{
	struct ns16550 *s = (struct ns16550 *)dev;

	return g_strdup_printf("%s.sent %" G_GUINT64_FORMAT "\n%s.received %" G_GUINT64_FORMAT "\n", dev->id, s->sent, dev->id,
			       s->received);
}

static const struct state_field uart_fields[] = {STATE_INT(struct ns16550, ier, STATE_U8),
						 STATE_INT(struct ns16550, lcr, STATE_U8),
						 STATE_INT(struct ns16550, mcr, STATE_U8),
						 STATE_INT(struct ns16550, scr, STATE_U8),
						 STATE_INT(struct ns16550, fcr, STATE_U8),
						 STATE_INT(struct ns16550, dll, STATE_U8),
						 STATE_INT(struct ns16550, dlm, STATE_U8),
						 STATE_INT(struct ns16550, overrun, STATE_BOOL),
						 STATE_INT(struct ns16550, thr_empty_pending, STATE_BOOL),
						 STATE_RAW(struct ns16550, fifo),
						 STATE_INT(struct ns16550, head, STATE_U8),
						 STATE_INT(struct ns16550, count, STATE_U8),
						 STATE_INT(struct ns16550, irq, STATE_BOOL),
						 STATE_INT(struct ns16550, waiting, STATE_BOOL),
						 STATE_END};

static const struct state_desc uart_state = {"ns16550", 1, 1, uart_fields, NULL, uart_loaded};

const struct device_class device_ns16550 = {
	.name = "ns16550",
	.description = "16550A serial port (COM1, COM2)",
	.size = sizeof(struct ns16550),
	.create = uart_create,
	.reset = uart_reset,
	.destroy = uart_destroy,
	.state = &uart_state,
	.stats = uart_stats,
};
