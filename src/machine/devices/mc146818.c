/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PC's real-time clock and CMOS memory (Motorola MC146818A) at ports 0x70 and 0x71: the host's UTC time plus what the
 * guest set, alarm and update interrupts on GSI 8, 114 bytes of memory. Created by the board.
 */
#include <string.h>
#include <time.h>

#include "classes.h"
#include "error.h"

#define BASE 0x70
#define GSI  8
#define CMOS 128

enum { SECOND, SECOND_ALARM, MINUTE, MINUTE_ALARM, HOUR, HOUR_ALARM, WEEKDAY, DAY, MONTH, YEAR, REG_A, REG_B, REG_C, REG_D };
enum { CENTURY = 0x32 };
enum { A_UPDATING = 0x80 };
enum { B_24H = 2, B_BINARY = 4, B_UPDATE_IRQ = 0x10, B_ALARM_IRQ = 0x20, B_SET = 0x80 };
enum { C_UPDATE = 0x10, C_ALARM = 0x20, C_IRQ = 0x80 };

struct mc146818 {
	struct device dev;
	GMutex lock;
	uint8_t index;
	uint8_t cmos[CMOS];
	uint64_t offset;     /* guest time - host time, seconds (two's complement) */
	GSource *tick;	     /* once a second, only while an interrupt is wanted */
	bool irq;
};

static int64_t guest_time(const struct mc146818 *r)
{
	return (int64_t)time(NULL) + (int64_t)r->offset;
}

static uint8_t encode(const struct mc146818 *r, int v)
{
	return (uint8_t)(r->cmos[REG_B] & B_BINARY ? v : v / 10 * 16 + v % 10);
}

static int decode(const struct mc146818 *r, uint8_t v)
{
	return r->cmos[REG_B] & B_BINARY ? v : (v >> 4) * 10 + (v & 15);
}

static uint8_t encode_hour(const struct mc146818 *r, int hour)
{
	if (r->cmos[REG_B] & B_24H)
		return encode(r, hour);
	return encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? 0x80 : 0);
}

static int decode_hour(const struct mc146818 *r, uint8_t v)
{
	if (r->cmos[REG_B] & B_24H)
		return decode(r, v);
	return decode(r, v & 0x7f) % 12 + (v & 0x80 ? 12 : 0);
}

/* Clock registers from the time; while a guest sets them (B_SET) they are its own. */
static void time_to_registers(struct mc146818 *r)
{
	time_t t = (time_t)guest_time(r);
	struct tm tm;

	if (r->cmos[REG_B] & B_SET || !gmtime_r(&t, &tm))
		return;
	r->cmos[SECOND] = encode(r, tm.tm_sec);
	r->cmos[MINUTE] = encode(r, tm.tm_min);
	r->cmos[HOUR] = encode_hour(r, tm.tm_hour);
	r->cmos[WEEKDAY] = encode(r, tm.tm_wday + 1);
	r->cmos[DAY] = encode(r, tm.tm_mday);
	r->cmos[MONTH] = encode(r, tm.tm_mon + 1);
	r->cmos[YEAR] = encode(r, tm.tm_year % 100);
	r->cmos[CENTURY] = encode(r, (tm.tm_year + 1900) / 100);
}

static void registers_to_time(struct mc146818 *r)
{
	struct tm tm = {
		.tm_sec = decode(r, r->cmos[SECOND]),
		.tm_min = decode(r, r->cmos[MINUTE]),
		.tm_hour = decode_hour(r, r->cmos[HOUR]),
		.tm_mday = decode(r, r->cmos[DAY]),
		.tm_mon = decode(r, r->cmos[MONTH]) - 1,
		.tm_year = decode(r, r->cmos[CENTURY]) * 100 + decode(r, r->cmos[YEAR]) - 1900,
	};

	if (!(r->cmos[REG_B] & B_SET))
		r->offset = (uint64_t)((int64_t)timegm(&tm) - (int64_t)time(NULL));
}

static bool alarm_matches(const struct mc146818 *r)
{
	static const uint8_t pairs[][2] = {{SECOND, SECOND_ALARM}, {MINUTE, MINUTE_ALARM}, {HOUR, HOUR_ALARM}};

	for (unsigned i = 0; i < G_N_ELEMENTS(pairs); i++) {
		uint8_t alarm = r->cmos[pairs[i][1]];

		if ((alarm & 0xc0) != 0xc0 && alarm != r->cmos[pairs[i][0]])
			return false;
	}
	return true;
}

static void update_irq(struct mc146818 *r)
{
	bool level = r->cmos[REG_C] & r->cmos[REG_B] & (C_UPDATE | C_ALARM);

	r->cmos[REG_C] = (uint8_t)((r->cmos[REG_C] & ~C_IRQ) | (level ? C_IRQ : 0));
	if (level != r->irq)
		machine_irq(r->dev.core, GSI, level);
	r->irq = level;
}

static gboolean on_tick(gpointer opaque)
{
	struct mc146818 *r = opaque;

	g_mutex_lock(&r->lock);
	if (!(r->cmos[REG_B] & B_SET)) {
		time_to_registers(r);
		r->cmos[REG_C] |= C_UPDATE | (alarm_matches(r) ? C_ALARM : 0);
		update_irq(r);
	}
	g_mutex_unlock(&r->lock);
	return G_SOURCE_CONTINUE;
}

static void update_tick(struct mc146818 *r)
{
	bool want = r->cmos[REG_B] & (B_UPDATE_IRQ | B_ALARM_IRQ);

	if (want && !r->tick) {
		r->tick = g_timeout_source_new(1000);
		g_source_set_callback(r->tick, on_tick, r, NULL);
		g_source_attach(r->tick, r->dev.core->context);
	} else if (!want && r->tick) {
		g_source_destroy(r->tick);
		g_clear_pointer(&r->tick, g_source_unref);
	}
}

static uint8_t read_cmos(struct mc146818 *r)
{
	uint8_t v;

	if (r->index < REG_A || r->index == CENTURY)
		time_to_registers(r);
	v = r->cmos[r->index];
	if (r->index == REG_C) {
		r->cmos[REG_C] = 0;
		update_irq(r);
	}
	return v;
}

static void write_reg_b(struct mc146818 *r, uint8_t v)
{
	bool was_set = r->cmos[REG_B] & B_SET;

	time_to_registers(r);
	r->cmos[REG_B] = v;
	if (was_set)
		registers_to_time(r);
	update_tick(r);
	update_irq(r);
}

static void write_cmos(struct mc146818 *r, uint8_t v)
{
	switch (r->index) {
	case REG_A:
		r->cmos[REG_A] = v & ~A_UPDATING;
		break;
	case REG_B:
		write_reg_b(r, v);
		break;
	case REG_C:
	case REG_D:
		break;
	case SECOND_ALARM:
	case MINUTE_ALARM:
	case HOUR_ALARM:
		r->cmos[r->index] = v;
		break;
	default:
		if (r->index < REG_A || r->index == CENTURY)
			time_to_registers(r);
		r->cmos[r->index] = v;
		if (r->index < REG_A || r->index == CENTURY)
			registers_to_time(r);
	}
}

static uint64_t rtc_read(void *opaque, uint64_t offset, unsigned size)
{
	struct mc146818 *r = opaque;
	uint8_t v;

	g_mutex_lock(&r->lock);
	v = offset ? read_cmos(r) : 0xff;
	g_mutex_unlock(&r->lock);
	return v;
}

static void rtc_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct mc146818 *r = opaque;

	g_mutex_lock(&r->lock);
	if (offset)
		write_cmos(r, (uint8_t)data);
	else
		r->index = data & (CMOS - 1);
	g_mutex_unlock(&r->lock);
}

static const struct bus_ops rtc_ops = {rtc_read, rtc_write};

static void rtc_reset(struct device *dev)
{
	struct mc146818 *r = (struct mc146818 *)dev;

	g_mutex_lock(&r->lock);
	r->cmos[REG_A] = 0x26;
	r->cmos[REG_B] = B_24H;
	r->cmos[REG_C] = 0;
	r->cmos[REG_D] = 0x80; /* the battery is good */
	update_tick(r);
	update_irq(r);
	g_mutex_unlock(&r->lock);
}

static bool rtc_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct mc146818 *r = (struct mc146818 *)dev;

	g_mutex_init(&r->lock);
	rtc_reset(dev);
	return bus_register(dev->core->ports, BASE, 2, "mc146818", &rtc_ops, r, error);
}

static void rtc_destroy(struct device *dev)
{
	struct mc146818 *r = (struct mc146818 *)dev;

	bus_unregister(dev->core->ports, BASE);
	r->cmos[REG_B] = 0;
	update_tick(r);
	g_mutex_clear(&r->lock);
}

static bool rtc_loaded(void *opaque, GError **error)
{
	struct mc146818 *r = opaque;

	r->index &= CMOS - 1;
	update_tick(r);
	return true;
}

static const struct state_field rtc_fields[] = {
	STATE_INT(struct mc146818, index, STATE_U8),   STATE_RAW(struct mc146818, cmos),
	STATE_INT(struct mc146818, offset, STATE_U64),
	STATE_INT(struct mc146818, irq, STATE_BOOL),   STATE_END};

static const struct state_desc rtc_state = {"mc146818", 1, 1, rtc_fields, NULL, rtc_loaded};

const struct device_class device_mc146818 = {
	.name = "mc146818",
	.description = "real-time clock and CMOS memory",
	.size = sizeof(struct mc146818),
	.create = rtc_create,
	.reset = rtc_reset,
	.destroy = rtc_destroy,
	.state = &rtc_state,
};
