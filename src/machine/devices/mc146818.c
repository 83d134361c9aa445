/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PC's real-time clock and CMOS memory (Motorola MC146818A) at ports 0x70 and 0x71: the host's time, or the time that the
 * machine has run, and an offset that --rtc and the guest set; periodic, alarm and update interrupts on GSI 8, 114 bytes of
 * memory. In those the pc board tells firmware that has no better source what there is, as QEMU does. Created by the board.
 */
#include <string.h>
#include <time.h>

#include "../internal.h"
#include "classes.h"
#include "error.h"
#include "timer.h"

#define BASE 0x70
#define GSI  8
#define CMOS 128

enum { SECOND, SECOND_ALARM, MINUTE, MINUTE_ALARM, HOUR, HOUR_ALARM, WEEKDAY, DAY, MONTH, YEAR, REG_A, REG_B, REG_C, REG_D };
enum { SHUTDOWN = 0x0f, CENTURY = 0x32 };
enum { SHUTDOWN_S3 = 0xfe /* firmware goes to where the guest slept (SeaBIOS resume.c, OVMF PlatformPei) */ };
enum { A_RATE = 0xf, A_DIVIDER = 0x70, A_DIVIDER_32K = 0x20, A_UPDATING = 0x80 };
enum { B_24H = 2, B_BINARY = 4, B_UPDATE_IRQ = 0x10, B_ALARM_IRQ = 0x20, B_PERIODIC_IRQ = 0x40, B_SET = 0x80 };
enum { C_UPDATE = 0x10, C_ALARM = 0x20, C_PERIODIC = 0x40, C_IRQ = 0x80 };

/* What firmware looks for (SeaBIOS's rtc.h, OVMF's PlatformPei). */
enum { EQUIPMENT = 0x14, BASE_MEMORY = 0x15, EXTENDED = 0x17, EXTENDED_COPY = 0x30, ABOVE_16M = 0x34, BOOT_LAST = 0x38 };
enum { BOOT_FIRST = 0x3d, ABOVE_4G = 0x5b, PROCESSORS = 0x5f };

#define NS	     1000000000ll
#define UPDATING_NS  244000 /* before a second's end (data sheet, update cycle) */
#define OSCILLATOR   32768
#define DAY_SECONDS  86400

struct mc146818 {
	struct device dev;
	GMutex lock;
	uint8_t index;
	uint8_t cmos[CMOS];
	uint64_t offset;     /* guest time - clock_ns(), seconds (two's complement) */
	uint64_t base;	     /* what that was before the guest set its time */
	bool vm;	     /* the clock is the count, else the host's */
	struct chip_counter count; /* ns that the machine has run, or slept; of `vm` */
	struct chip_timer *alarm; /* the next second or period, only while an interrupt is wanted */
	int64_t second;	     /* host's, of the last update that was seen */
	int64_t period;	     /* likewise, of the periods since the epoch */
	bool irq;
	bool saved_vm; /* of the saved state */
	uint8_t board[CMOS]; /* what the board has there; at each reset */
	uint8_t is_board[CMOS];
};

static int64_t host_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * NS + ts.tv_nsec;
}

/* What the guest's time is an offset to. */
static int64_t clock_ns(const struct mc146818 *r)
{
	return r->vm ? (int64_t)(chip_counter_read(&r->count) & INT64_MAX) : host_ns();
}

static int64_t guest_time(const struct mc146818 *r)
{
	return (int64_t)((uint64_t)(clock_ns(r) / NS) + r->offset);
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

static void set_offset(struct mc146818 *r, uint64_t offset)
{
	struct machine_core *core = r->dev.core;

	r->offset = offset;
	if (core->notice)
		core->notice(core->machine, NOTICE_CLOCK, NULL, (uint32_t)(offset - r->base));
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
		set_offset(r, (uint64_t)timegm(&tm) - (uint64_t)(clock_ns(r) / NS));
}

static bool alarm_byte(const struct mc146818 *r, unsigned at, uint8_t now)
{
	return (r->cmos[at] & 0xc0) == 0xc0 || r->cmos[at] == now;
}

/* Seconds of the host from which no alarm is missed, however late we look: the machine may have stood still. */
static bool alarm_since(const struct mc146818 *r, int64_t first, int64_t last)
{
	for (int64_t s = MAX(first, last - DAY_SECONDS + 1); s <= last; s++) {
		int of_day = (int)(((int64_t)((uint64_t)s + r->offset) % DAY_SECONDS + DAY_SECONDS) % DAY_SECONDS);

		if (alarm_byte(r, SECOND_ALARM, encode(r, of_day % 60)) &&
		    alarm_byte(r, MINUTE_ALARM, encode(r, of_day / 60 % 60)) &&
		    alarm_byte(r, HOUR_ALARM, encode_hour(r, of_day / 3600)))
			return true;
	}
	return false;
}

static void alarm_rings(struct mc146818 *r)
{
	struct machine_core *core = r->dev.core;

	r->cmos[REG_C] |= C_ALARM;
	if (core->wake && r->cmos[REG_B] & B_ALARM_IRQ)
		core->wake(core->wake_opaque, WAKE_ALARM);
}

static void update_irq(struct mc146818 *r)
{
	bool level = r->cmos[REG_C] & r->cmos[REG_B] & (C_UPDATE | C_ALARM | C_PERIODIC);

	r->cmos[REG_C] = (uint8_t)((r->cmos[REG_C] & ~C_IRQ) | (level ? C_IRQ : 0));
	if (level != r->irq && !__atomic_load_n(&r->dev.core->hpet_legacy, __ATOMIC_SEQ_CST))
		machine_irq(r->dev.core, GSI, level);
	r->irq = level;
}

/* The period in ticks of the oscillator; 0: none. The two shortest codes are those of another oscillator's. */
static unsigned period_ticks(const struct mc146818 *r)
{
	unsigned rate = r->cmos[REG_A] & A_RATE;

	if (!rate || (r->cmos[REG_A] & A_DIVIDER) != A_DIVIDER_32K)
		return 0;
	return 1u << (rate <= 2 ? rate + 6 : rate - 1);
}

static int64_t periods_at(int64_t ns, unsigned ticks)
{
	return (int64_t)((__int128)ns * OSCILLATOR / NS / ticks);
}

/* Flags of what has passed since the last look. */
static void catch_up(struct mc146818 *r, int64_t now)
{
	unsigned ticks = period_ticks(r);
	int64_t period = ticks ? periods_at(now, ticks) : 0;

	if (ticks && period != r->period)
		r->cmos[REG_C] |= C_PERIODIC;
	r->period = period;
	if (now / NS == r->second || r->cmos[REG_B] & B_SET)
		return;
	time_to_registers(r);
	r->cmos[REG_C] |= C_UPDATE;
	if (alarm_since(r, r->second + 1, now / NS))
		alarm_rings(r);
	r->second = now / NS;
}

static void set_alarm(struct mc146818 *r, int64_t now)
{
	unsigned ticks = r->cmos[REG_B] & B_PERIODIC_IRQ ? period_ticks(r) : 0;
	int64_t next = INT64_MAX;

	if (r->cmos[REG_B] & (B_UPDATE_IRQ | B_ALARM_IRQ))
		next = (now / NS + 1) * NS;
	if (ticks)
		next = MIN(next, (int64_t)((__int128)(periods_at(now, ticks) + 1) * ticks * NS / OSCILLATOR) + 1);
	if (r->vm && r->count.stopped)
		next = INT64_MAX;
	chip_timer_set(r->alarm, next == INT64_MAX ? CHIP_TIMER_NEVER : chip_timer_now() + (uint64_t)(next - now));
}

static void update(struct mc146818 *r)
{
	int64_t now = clock_ns(r);

	catch_up(r, now);
	update_irq(r);
	set_alarm(r, now);
}

static void on_alarm(void *opaque)
{
	struct mc146818 *r = opaque;

	g_mutex_lock(&r->lock);
	update(r);
	g_mutex_unlock(&r->lock);
}

static void start_over(struct mc146818 *r)
{
	int64_t now = clock_ns(r);
	unsigned ticks = period_ticks(r);

	r->second = now / NS;
	r->period = ticks ? periods_at(now, ticks) : 0;
	update_irq(r);
	set_alarm(r, now);
}

static uint8_t read_cmos(struct mc146818 *r)
{
	uint8_t v;

	if (r->index < REG_A || r->index == CENTURY)
		time_to_registers(r);
	if (r->index == REG_C)
		update(r);
	v = r->cmos[r->index];
	if (r->index == REG_C) {
		r->cmos[REG_C] = 0;
		update_irq(r);
	} else if (r->index == REG_A && !(r->cmos[REG_B] & B_SET) && NS - clock_ns(r) % NS <= UPDATING_NS) {
		v |= A_UPDATING;
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
	update(r);
}

static void write_cmos(struct mc146818 *r, uint8_t v)
{
	switch (r->index) {
	case REG_A:
		r->cmos[REG_A] = v & ~A_UPDATING;
		start_over(r);
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
	for (unsigned i = 0; i < CMOS; i++)
		if (r->is_board[i])
			r->cmos[i] = r->board[i];
	r->cmos[REG_A] = 0x26;
	r->cmos[REG_B] = B_24H;
	r->cmos[REG_C] = 0;
	r->cmos[REG_D] = 0x80; /* the battery is good */
	if (dev->core->waking)
		r->cmos[SHUTDOWN] = SHUTDOWN_S3;
	start_over(r);
	g_mutex_unlock(&r->lock);
}

static void put_board(struct mc146818 *r, unsigned at, uint64_t v, unsigned len)
{
	for (unsigned i = 0; i < len; i++) {
		r->board[at + i] = (uint8_t)(v >> 8 * i);
		r->is_board[at + i] = true;
	}
}

void mc146818_set_cpus(struct device *dev, unsigned cpus)
{
	struct mc146818 *r = (struct mc146818 *)dev;

	g_mutex_lock(&r->lock);
	put_board(r, PROCESSORS, cpus - 1, 1);
	r->cmos[PROCESSORS] = r->board[PROCESSORS];
	g_mutex_unlock(&r->lock);
}

/* low, high: bytes of memory below and above 4 GiB. */
static void describe_board(struct mc146818 *r, uint64_t low, uint64_t high, unsigned cpus)
{
	uint64_t extended = MIN(low / 1024 - 1024, UINT16_MAX), above_16m = low > 16 << 20 ? (low - (16 << 20)) >> 16 : 0;

	put_board(r, EQUIPMENT, 0x06, 1); /* FPU, PS/2 mouse; no diskette */
	put_board(r, BASE_MEMORY, 640, 2);
	put_board(r, EXTENDED, extended, 2);
	put_board(r, EXTENDED_COPY, extended, 2);
	put_board(r, ABOVE_16M, MIN(above_16m, UINT16_MAX), 2);
	put_board(r, ABOVE_4G, high >> 16, 3);
	put_board(r, PROCESSORS, cpus - 1, 1);
	put_board(r, BOOT_FIRST, 0x32, 1); /* disk, CD-ROM, network; no look for a diskette's signature */
	put_board(r, BOOT_LAST, 0x41, 1);
}

static bool rtc_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct mc146818 *r = (struct mc146818 *)dev;
	gboolean vm = FALSE;
	guint64 low, high;
	guint32 cpus;

	g_mutex_init(&r->lock);
	if (options && g_variant_lookup(options, "offset", "x", (gint64 *)&r->base))
		r->offset = r->base;
	if (options)
		g_variant_lookup(options, "vm", "b", &vm);
	r->vm = vm;
	r->count = (struct chip_counter){.hz = NS, .stopped = true};
	r->alarm = chip_timer_new(dev->core->context, on_alarm, r, error);
	if (!r->alarm)
		return false;
	if (options && g_variant_lookup(options, "low", "t", &low) && g_variant_lookup(options, "high", "t", &high) &&
	    g_variant_lookup(options, "cpus", "u", &cpus))
		describe_board(r, low, high, cpus);
	rtc_reset(dev);
	return bus_register(dev->core->ports, BASE, 2, "mc146818", &rtc_ops, r, error);
}

static void rtc_destroy(struct device *dev)
{
	struct mc146818 *r = (struct mc146818 *)dev;

	bus_unregister(dev->core->ports, BASE);
	chip_timer_free(r->alarm);
	g_mutex_clear(&r->lock);
}

static bool rtc_loaded(void *opaque, GError **error)
{
	struct mc146818 *r = opaque;
	int64_t second = r->second;

	if (r->saved_vm != r->vm)
		return kv_fail(error, KV_ERROR_INVALID, "the saved machine's clock has --rtc clock=%s, this one's has not",
			       r->saved_vm ? "vm" : "host");
	r->count.value &= INT64_MAX;
	r->count.stopped = true;
	if (r->dev.core->asleep) /* its alarm may have to wake it */
		chip_counter_start(&r->count);
	r->index &= CMOS - 1;
	r->cmos[REG_A] &= (uint8_t)~A_UPDATING;
	start_over(r);
	if (second && second < r->second) /* an alarm may have passed meanwhile */
		r->second = second;
	return true;
}

static void rtc_saving(void *opaque)
{
	struct mc146818 *r = opaque;

	r->saved_vm = r->vm;
	chip_counter_snapshot(&r->count);
}

/* Of the machine's own time; one that sleeps is paused, but its clock goes on. */
static void rtc_pause(struct device *dev)
{
	struct mc146818 *r = (struct mc146818 *)dev;

	g_mutex_lock(&r->lock);
	if (r->vm && !dev->core->asleep) {
		update(r);
		chip_counter_stop(&r->count);
		set_alarm(r, clock_ns(r));
	}
	g_mutex_unlock(&r->lock);
}

static void rtc_resume(struct device *dev)
{
	struct mc146818 *r = (struct mc146818 *)dev;

	g_mutex_lock(&r->lock);
	if (r->vm) {
		chip_counter_start(&r->count);
		update(r);
	}
	g_mutex_unlock(&r->lock);
}

#define SINCE_2(member, t) {.name = #member, .offset = offsetof(struct mc146818, member), .type = t, .since = 2}

static const struct state_field count_fields[] = {STATE_INT(struct chip_counter, value, STATE_U64), STATE_END};

static const struct state_field rtc_fields[] = {
	STATE_INT(struct mc146818, index, STATE_U8),   STATE_RAW(struct mc146818, cmos),
	STATE_INT(struct mc146818, offset, STATE_U64),
	STATE_INT(struct mc146818, irq, STATE_BOOL),
	SINCE_2(second, STATE_U64),
	SINCE_2(saved_vm, STATE_BOOL),
	{.name = "count",
	 .offset = offsetof(struct mc146818, count),
	 .type = STATE_STRUCT,
	 .since = 2,
	 .size = sizeof(struct chip_counter),
	 .count = 1,
	 .fields = count_fields},
	STATE_END};

static const struct state_desc rtc_state = {"mc146818", 2, 1, rtc_fields, rtc_saving, rtc_loaded};

const struct device_class device_mc146818 = {
	.name = "mc146818",
	.description = "real-time clock and CMOS memory",
	.size = sizeof(struct mc146818),
	.create = rtc_create,
	.reset = rtc_reset,
	.destroy = rtc_destroy,
	.pause = rtc_pause,
	.resume = rtc_resume,
	.state = &rtc_state,
};
