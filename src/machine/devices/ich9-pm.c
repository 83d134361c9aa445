/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See ich9-pm.h. Registers are dwords here; an access takes its bytes of one. SMIs do not exist. In S3 (ACPI 6.4, 7.4.2.3) the
 * enable bits say what wakes the machine, its vCPUs and devices stand still, and a reset that keeps memory ends it (machine.c).
 */
#include "ich9-pm.h"

#include "../internal.h"
#include "log.h"

/* Dwords of the block. */
enum { PM1_EVENT = 0x00, PM1_CONTROL = 0x04, PM1_TIMER = 0x08, GPE0_STATUS = 0x20, GPE0_ENABLE = 0x28, SMI_ENABLE = 0x30 };
enum { PM1_TMR = 1, PM1_GBL = 0x20, PM1_PWRBTN = 0x100, PM1_RTC = 0x400, PM1_WAK = 0x8000 };
enum { SCI_EN = 1, BM_RLD = 2, SLP_TYP_SHIFT = 10, SLP_TYP = 7 << SLP_TYP_SHIFT, SLP_EN = 1 << 13 };
enum { PM1_STATUS_BITS = PM1_TMR | 0x10 | PM1_GBL | PM1_PWRBTN | PM1_RTC | 0x4000 | PM1_WAK };
enum { PM1_EVENTS = PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_RTC };
enum { TIMER_HZ = 3579545, TIMER_BITS = 24 };

#define TURN	     (1ull << (TIMER_BITS - 1))
#define SMI_APMC_EN  0x20u

/* ---- events ---- */

static void update_timer(struct ich9_pm *p, uint64_t now)
{
	bool wanted = !p->count.stopped && p->enable & PM1_TMR && !(p->status & PM1_TMR);

	chip_timer_set(p->timer, wanted ? chip_timer_now() + chip_counter_ns(&p->count, p->turn - now) : CHIP_TIMER_NEVER);
}

/* Whether a wake-up is wanted, and what status then has. A button is one for all who would see it pressed. */
static uint16_t wake_status(const struct ich9_pm *p, enum machine_wake why)
{
	switch (why) {
	case WAKE_ALARM:
		return p->enable & PM1_RTC ? PM1_WAK | PM1_RTC : 0;
	case WAKE_TIMER:
		return p->enable & PM1_TMR ? PM1_WAK | PM1_TMR : 0;
	case WAKE_BUTTON:
	case WAKE_OTHER:
		break;
	}
	return PM1_WAK | PM1_PWRBTN;
}

/* p->lock held, as below. The first one counts. */
static void wake(struct ich9_pm *p, enum machine_wake why)
{
	if (!p->asleep || p->wake_status)
		return;
	p->wake_status = wake_status(p, why);
	if (p->wake_status)
		p->core->request(p->core->machine, REQUEST_WAKE);
}

/* The status is brought up to date, the SCI follows. */
static void update(struct ich9_pm *p)
{
	uint64_t now = chip_counter_read(&p->count);

	if (now >= p->turn) {
		p->status |= PM1_TMR;
		p->turn = (now / TURN + 1) * TURN;
		wake(p, WAKE_TIMER);
	}
	p->sci(p->opaque, p->control & SCI_EN &&
				  ((p->status & p->enable & PM1_EVENTS) || (p->gpe_status & p->gpe_enable)));
	update_timer(p, now);
}

static void on_timer(void *opaque)
{
	struct ich9_pm *p = opaque;

	g_mutex_lock(&p->lock);
	update(p);
	g_mutex_unlock(&p->lock);
}

void ich9_pm_power_button(struct ich9_pm *p)
{
	g_mutex_lock(&p->lock);
	p->status |= PM1_PWRBTN;
	wake(p, WAKE_BUTTON);
	update(p);
	g_mutex_unlock(&p->lock);
}

void ich9_pm_gpe(struct ich9_pm *p, unsigned bit)
{
	g_mutex_lock(&p->lock);
	p->gpe_status |= 1ull << bit % ICH9_GPES;
	update(p);
	g_mutex_unlock(&p->lock);
}

void ich9_pm_wake(struct ich9_pm *p, enum machine_wake why)
{
	g_mutex_lock(&p->lock);
	wake(p, why);
	g_mutex_unlock(&p->lock);
}

bool ich9_pm_asleep(struct ich9_pm *p, bool *ret_woken)
{
	bool asleep;

	g_mutex_lock(&p->lock);
	asleep = p->asleep;
	*ret_woken = p->wake_status;
	g_mutex_unlock(&p->lock);
	return asleep;
}

void ich9_pm_command(struct ich9_pm *p, uint8_t command)
{
	g_mutex_lock(&p->lock);
	if (command == PC_ACPI_ENABLE)
		p->control |= SCI_EN;
	else if (command == PC_ACPI_DISABLE)
		p->control &= (uint16_t)~SCI_EN;
	update(p);
	g_mutex_unlock(&p->lock);
}

/* ---- registers ---- */

/* A guest that hibernates has all on its disk: what is left is to switch the machine off. */
static void sleep_now(struct ich9_pm *p)
{
	unsigned type = (p->control & SLP_TYP) >> SLP_TYP_SHIFT;

	switch (type) {
	case PC_SLP_TYP_S5:
		p->core->request(p->core->machine, REQUEST_POWEROFF);
		break;
	case PC_SLP_TYP_S4:
		p->core->request(p->core->machine, REQUEST_HIBERNATE);
		break;
	case PC_SLP_TYP_S3:
		p->asleep = p->core->asleep = true;
		p->core->request(p->core->machine, REQUEST_SUSPEND);
		break;
	default:
		kv_log_debug("sleep type %u is none of this machine's", type);
	}
}

static uint32_t read_dword(const struct ich9_pm *p, unsigned reg)
{
	switch (reg) {
	case PM1_EVENT:
		return p->status | (uint32_t)p->enable << 16;
	case PM1_CONTROL:
		return p->control;
	case PM1_TIMER:
		return (uint32_t)chip_counter_read(&p->count) & ((1u << TIMER_BITS) - 1);
	case GPE0_STATUS:
	case GPE0_STATUS + 4:
		return (uint32_t)(p->gpe_status >> 8 * (reg - GPE0_STATUS));
	case GPE0_ENABLE:
	case GPE0_ENABLE + 4:
		return (uint32_t)(p->gpe_enable >> 8 * (reg - GPE0_ENABLE));
	case SMI_ENABLE:
		return p->smi_enable | SMI_APMC_EN; /* firmware leaves SMM alone that is set up */
	default:
		return 0;
	}
}

/* mask: the bits of v that are written. */
static void write_dword(struct ich9_pm *p, unsigned reg, uint32_t v, uint32_t mask)
{
	unsigned shift = 8 * (reg & 4);

	switch (reg) {
	case PM1_EVENT:
		p->status &= (uint16_t)~(v & mask & PM1_STATUS_BITS);
		mask >>= 16;
		p->enable = (uint16_t)((p->enable & ~mask) | (v >> 16 & mask & (PM1_EVENTS | 0x4000)));
		break;
	case PM1_CONTROL:
		p->control = (uint16_t)((p->control & ~mask) | (v & mask & (SCI_EN | BM_RLD | SLP_TYP)));
		if (v & mask & SLP_EN)
			sleep_now(p);
		break;
	case GPE0_STATUS:
	case GPE0_STATUS + 4:
		p->gpe_status &= ~((uint64_t)(v & mask) << shift);
		break;
	case GPE0_ENABLE:
	case GPE0_ENABLE + 4:
		p->gpe_enable = (p->gpe_enable & ~((uint64_t)mask << shift)) | (uint64_t)(v & mask) << shift;
		break;
	case SMI_ENABLE:
		p->smi_enable = (p->smi_enable & ~mask) | (v & mask);
		break;
	default:
		break;
	}
}

static uint32_t size_mask(unsigned size)
{
	return size >= 4 ? UINT32_MAX : (1u << 8 * size) - 1;
}

uint64_t ich9_pm_read(struct ich9_pm *p, uint64_t offset, unsigned size)
{
	uint32_t v;

	g_mutex_lock(&p->lock);
	if (offset < 4)
		update(p);
	v = read_dword(p, offset & ~3u);
	g_mutex_unlock(&p->lock);
	return v >> 8 * (offset & 3) & size_mask(size);
}

void ich9_pm_write(struct ich9_pm *p, uint64_t offset, unsigned size, uint64_t data)
{
	unsigned shift = 8 * (offset & 3);

	g_mutex_lock(&p->lock);
	write_dword(p, offset & ~3u, (uint32_t)data << shift, size_mask(size) << shift);
	update(p);
	g_mutex_unlock(&p->lock);
}

/* ---- life ---- */

void ich9_pm_reset(struct ich9_pm *p)
{
	g_mutex_lock(&p->lock);
	p->status = p->core->waking ? p->wake_status : 0;
	p->enable = p->control = p->wake_status = 0;
	p->asleep = p->core->asleep = false;
	p->gpe_status = p->gpe_enable = 0;
	p->smi_enable = 0;
	p->count = (struct chip_counter){.hz = TIMER_HZ, .stopped = true};
	p->turn = TURN;
	update(p);
	g_mutex_unlock(&p->lock);
}

bool ich9_pm_init(struct ich9_pm *p, struct machine_core *core, void (*sci)(void *opaque, bool level), void *opaque,
		  GError **error)
{
	g_mutex_init(&p->lock);
	p->core = core;
	p->sci = sci;
	p->opaque = opaque;
	p->timer = chip_timer_new(core->context, on_timer, p, error);
	if (p->timer)
		ich9_pm_reset(p);
	return p->timer;
}

void ich9_pm_clear(struct ich9_pm *p)
{
	g_clear_pointer(&p->timer, chip_timer_free);
	g_mutex_clear(&p->lock);
}

void ich9_pm_pause(struct ich9_pm *p)
{
	g_mutex_lock(&p->lock);
	update(p);
	chip_counter_snapshot(&p->count);
	if (!p->asleep) /* whose timer may wake it */
		chip_timer_set(p->timer, CHIP_TIMER_NEVER);
	g_mutex_unlock(&p->lock);
}

void ich9_pm_resume(struct ich9_pm *p)
{
	g_mutex_lock(&p->lock);
	chip_counter_start(&p->count);
	update(p);
	g_mutex_unlock(&p->lock);
}

void ich9_pm_loaded(struct ich9_pm *p)
{
	g_mutex_lock(&p->lock);
	p->count.stopped = true;
	p->count.value %= 2 * TURN;
	p->turn = (p->count.value / TURN + 1) * TURN;
	p->core->asleep = p->asleep;
	p->wake_status &= p->asleep ? PM1_STATUS_BITS : 0;
	if (p->asleep) /* nobody will start it: the machine does not run */
		chip_counter_start(&p->count);
	update(p);
	g_mutex_unlock(&p->lock);
}

#define SINCE_2(member, t) {.name = #member, .offset = offsetof(struct ich9_pm, member), .type = t, .since = 2}

static const struct state_field count_fields[] = {STATE_INT(struct chip_counter, value, STATE_U64), STATE_END};

const struct state_field ich9_pm_fields[] = {
	STATE_INT(struct ich9_pm, status, STATE_U16),
	STATE_INT(struct ich9_pm, enable, STATE_U16),
	STATE_INT(struct ich9_pm, control, STATE_U16),
	STATE_INT(struct ich9_pm, gpe_status, STATE_U64),
	STATE_INT(struct ich9_pm, gpe_enable, STATE_U64),
	STATE_INT(struct ich9_pm, smi_enable, STATE_U32),
	STATE_ONE(struct ich9_pm, count, count_fields),
	SINCE_2(asleep, STATE_BOOL),
	SINCE_2(wake_status, STATE_U16),
	STATE_END};
