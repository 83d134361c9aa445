/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine's life: made by its board (micro.c), run, paused, reset, ended, saved (machine.h). vCPU threads meet the main
 * thread at m->lock; the end is told once, in the main context.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "board.h"
#include "error.h"
#include "internal.h"
#include "log.h"
#include "pc-firmware.h"
#include "posted.h"
#include "saved-form.h"

enum { MSR_TSC = 0x10 };

static const char *const exit_names[EXIT_REASONS] = {
	[KVM_EXIT_IO] = "io",
	[KVM_EXIT_MMIO] = "mmio",
	[KVM_EXIT_HLT] = "hlt",
	[KVM_EXIT_SHUTDOWN] = "shutdown",
	[KVM_EXIT_INTR] = "intr",
	[KVM_EXIT_IRQ_WINDOW_OPEN] = "irq-window",
	[KVM_EXIT_INTERNAL_ERROR] = "internal-error",
	[KVM_EXIT_SYSTEM_EVENT] = "system-event",
	[KVM_EXIT_FAIL_ENTRY] = "fail-entry",
};

/* ---- end ---- */

/* Not while the main loop is run from inside of a change: that ends with tell_at_last(). */
static gboolean tell_owner(gpointer opaque)
{
	struct machine *m = opaque;
	enum machine_end end;

	if (m->changing) {
		g_mutex_lock(&m->lock);
		g_clear_pointer(&m->teller, g_source_unref);
		g_mutex_unlock(&m->lock);
		return G_SOURCE_REMOVE;
	}
	machine_pause(m);
	g_mutex_lock(&m->lock);
	m->ending = false;
	g_clear_pointer(&m->teller, g_source_unref);
	g_mutex_unlock(&m->lock);
	end = m->end;
	if (m->ended)
		m->ended(m->ended_opaque, end, m->end_text);
	/* What woke it on its way into sleep could not be told. */
	if (end == MACHINE_SUSPENDED && machine_woken(m))
		machine_end(m, MACHINE_WOKEN, "woken at once");
	return G_SOURCE_REMOVE;
}

/* Never at once: the caller may be the main thread, with locks. */
static void tell_later(struct machine *m)
{
	m->teller = g_idle_source_new();
	g_source_set_priority(m->teller, G_PRIORITY_HIGH);
	g_source_set_callback(m->teller, tell_owner, m, NULL);
	g_source_attach(m->teller, m->core.context);
}

/* The end of a change of state, in which the owner could not be told. */
static void tell_at_last(struct machine *m)
{
	if (--m->changing)
		return;
	g_mutex_lock(&m->lock);
	if (m->ending && !m->teller)
		tell_later(m);
	g_mutex_unlock(&m->lock);
}

static void want_pause(struct machine *m)
{
	m->pause_wanted = true;
	for (unsigned i = 0; i < m->cpus; i++)
		vcpu_kick(&m->vcpu[i]);
}

void machine_end(struct machine *m, enum machine_end end, const char *format, ...)
{
	va_list args;

	g_mutex_lock(&m->lock);
	if (!m->ending && !m->stopping) {
		m->ending = true;
		m->end = end;
		g_free(m->end_text);
		va_start(args, format);
		m->end_text = g_strdup_vprintf(format, args);
		va_end(args);
		kv_log_debug("machine stops: %s", m->end_text);
		want_pause(m);
		tell_later(m);
	}
	g_mutex_unlock(&m->lock);
}

static void on_request(void *machine, enum machine_request what)
{
	switch (what) {
	case REQUEST_POWEROFF:
		machine_end(machine, MACHINE_POWEROFF, "guest powered off");
		break;
	case REQUEST_RESET:
		machine_end(machine, MACHINE_RESET, "guest asked for a reset");
		break;
	case REQUEST_PANIC:
		machine_end(machine, MACHINE_ERROR, "guest panicked");
		break;
	case REQUEST_SUSPEND:
		machine_end(machine, MACHINE_SUSPENDED, "guest sleeps");
		break;
	case REQUEST_HIBERNATE:
		machine_end(machine, MACHINE_HIBERNATED, "guest hibernates");
		break;
	case REQUEST_WAKE:
		machine_end(machine, MACHINE_WOKEN, "woken");
		break;
	}
}

static void on_notice(void *machine, enum machine_notice what, const char *name, uint32_t value)
{
	notices_add(((struct machine *)machine)->notices, what, name, value);
}

/* To all processors: an MSI of that kind (Intel SDM volume 3, 11.11). */
void machine_nmi(struct machine *m)
{
	struct kvm_msi msi = {.address_lo = LAPIC_BASE | 0xff << 12, .data = 4 << 8};

	if (kvcore_ioctl(m->core.vm_fd, KVM_SIGNAL_MSI, &msi) < 0)
		kv_log_debug("NMI: %s", g_strerror(errno));
}

void machine_irq(struct machine_core *core, uint32_t gsi, bool level)
{
	struct kvm_irq_level line = {.irq = gsi, .level = level};

	if (core->vm_fd >= 0 && kvcore_ioctl(core->vm_fd, KVM_IRQ_LINE, &line) < 0)
		kv_log_debug("GSI %u: %s", gsi, g_strerror(errno));
}

/* ---- creation ---- */

static char *cpu_name(const char *choice)
{
	const char *end = choice ? strchr(choice, ',') : NULL;

	return choice ? end ? g_strndup(choice, (gsize)(end - choice)) : g_strdup(choice) : g_strdup("host");
}

static bool create_vm(struct machine *m, GError **error)
{
	m->core.vm_fd = kvcore_ioctl(m->kvm_fd, KVM_CREATE_VM, 0);
	if (m->core.vm_fd < 0)
		return kv_fail_errno(error, errno, "KVM_CREATE_VM");
	return true;
}

static bool create_chips(struct machine *m, GError **error)
{
	/* Port 0x61, with which firmware and boot loaders measure time, is the 8254's; micro's guests find no speaker. */
	struct kvm_pit_config pit = {.flags = m->kind == MACHINE_PC ? KVM_PIT_SPEAKER_DUMMY : 0};
	uint64_t identity = KVM_IDENTITY_BASE;

	if (kvcore_ioctl(m->core.vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0)
		return kv_fail_errno(error, errno, "KVM_SET_IDENTITY_MAP_ADDR");
	if (kvcore_ioctl(m->core.vm_fd, KVM_SET_TSS_ADDR, KVM_TSS_BASE) < 0)
		return kv_fail_errno(error, errno, "KVM_SET_TSS_ADDR");
	if (kvcore_ioctl(m->core.vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return kv_fail_errno(error, errno, "KVM_CREATE_IRQCHIP");
	if (kvcore_ioctl(m->core.vm_fd, KVM_CREATE_PIT2, &pit) < 0)
		return kv_fail_errno(error, errno, "KVM_CREATE_PIT2");
	return true;
}

/*
 * The power-on state of the chips, which a reset brings back. The 8259s start masked: they share
 * lines with the I/O APIC, and a guest of a hardware-reduced machine never sets them up.
 */
static bool record_chips(struct machine *m, GError **error)
{
	struct chips_state *s = &m->power_on;

	/* Without the time: the software KVM would have to know the TSC's frequency already, and wait for it. */
	if (!chips_state_get(m, s, false, error))
		return false;
	if (m->kind == MACHINE_PC)
		return true;
	s->irqchip[KVM_IRQCHIP_PIC_MASTER].chip.pic.imr = 0xff;
	s->irqchip[KVM_IRQCHIP_PIC_SLAVE].chip.pic.imr = 0xff;
	return chips_state_set(m, s, false, error);
}

static bool add_ram(struct machine *m, const struct machine_config *config, GError **error)
{
	uint64_t low = MIN(m->memory, LOW_RAM_END);

	m->core.mem = mem_new(m->core.vm_fd);
	mem_set_backing(m->core.mem, config->backing, m->kind == MACHINE_PC ? pc_low_ram(m->memory) : low);
	if (m->kind == MACHINE_PC)
		return pc_add_ram(m, error);
	if (!mem_add_ram(m->core.mem, 0, low, error))
		return false;
	return m->memory == low || mem_add_ram(m->core.mem, HIGH_RAM_BASE, m->memory - low, error);
}

static bool build_on(struct machine *m, const struct machine_config *config, struct boot *boot, GError **error)
{
	if (!create_chips(m, error))
		return false;
	m->core.ports = bus_new("port");
	m->core.mmio = bus_new("mmio");
	m->core.posted = posted_new(&m->core);
	if (!(m->kind == MACHINE_PC ? pc_build : micro_build)(m, config, error))
		return false;
	for (unsigned i = 0; i < m->cpus; i++)
		if (!vcpu_create(m, i, error))
			return false;
	if (!cpus_park_absent(m, error))
		return false;
	if (!posted_open(m->core.posted, m->vcpu[0].fd, m->vcpu[0].run_size))
		return kv_fail_errno(error, errno, "cannot map the ring of posted writes");
	if (!record_chips(m, error))
		return false;
	if (boot)
		return boot_end(boot, error);
	return config->incoming || pc_firmware_start(m, error);
}

static bool build(struct machine *m, const struct machine_config *config, GError **error)
{
	struct boot *boot;
	bool ok;

	if (m->cpus < 1 || m->cpus > VCPUS_MAX)
		return kv_fail(error, KV_ERROR_USAGE, "%u vCPUs: 1 to %d are possible", m->cpus, VCPUS_MAX);
	if (config->cpus > m->cpus)
		return kv_fail(error, KV_ERROR_USAGE,
			       "--smp: maxcpus must be equal to or greater than smp: %u are started, of %u", config->cpus,
			       m->cpus);
	if (config->cpus < m->cpus && !machine_has_cpu_slots(m))
		return kv_fail(error, KV_ERROR_UNSUPPORTED,
			       "--smp: machine 'micro' has the processors that it starts with: use machine 'pc', or no maxcpus");
	for (unsigned i = config->cpus; i < m->cpus; i++)
		m->vcpu[i].absent = true;
	if (!cpu_topology_complete(&m->topology, m->cpus, error) ||
	    !cpu_parse(config->cpu ? config->cpu : "host", &m->cpu, error))
		return false;
	m->cpu_chosen = config->cpu && strcmp(config->cpu, "host") != 0 && strcmp(config->cpu, "max") != 0;
	if (!vcpu_msr_list(m->kvm_fd, &m->msr_list, error) || !create_vm(m, error) || !add_ram(m, config, error))
		return false;
	boot = m->kind == MACHINE_PC || config->incoming ? NULL : boot_begin(m);
	ok = build_on(m, config, boot, error);
	if (boot)
		boot_free(boot);
	return ok;
}

struct machine *machine_new(const struct machine_config *config, GError **error)
{
	struct machine *m = g_new0(struct machine, 1);
	bool ok;

	m->core = (struct machine_core){.vm_fd = -1, .machine = m, .request = on_request, .notice = on_notice,
					.unplugged = plug_left, .cpu_eject = cpus_eject};
	m->notices = notices_new(m, config);
	m->kind = config->kind;
	m->core.display = config->display;
	m->core.input = config->input;
	m->name = g_strdup(config->name);
	m->kernel = g_strdup(config->kernel);
	m->initrd = g_strdup(config->initrd);
	m->append = g_strdup(config->append);
	m->kvm_fd = config->kvm_fd;
	m->cpus = config->cpus_max ? config->cpus_max : config->cpus;
	m->cpu_name = cpu_name(config->cpu);
	m->topology = (struct cpu_topology){config->sockets, config->cores, config->threads};
	m->memory = config->memory;
	m->pause_wanted = true;
	m->devices = g_ptr_array_new();
	m->leavers = g_ptr_array_new_with_free_func(plug_leaver_free);
	m->config = config;
	m->made = g_ptr_array_new();
	g_mutex_init(&m->lock);
	g_cond_init(&m->changed);
	ok = place_reserve(m, config, error) && build(m, config, error) && place_check(m, config, error);
	m->config = NULL;
	g_clear_pointer(&m->made, g_ptr_array_unref);
	if (ok)
		return m;
	machine_free(m);
	return NULL;
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	g_mutex_lock(&m->lock);
	m->stopping = true;
	g_cond_broadcast(&m->changed);
	for (unsigned i = 0; i < m->cpus && i < VCPUS_MAX; i++)
		if (m->vcpu[i].run)
			vcpu_kick(&m->vcpu[i]);
	g_mutex_unlock(&m->lock);
	for (unsigned i = 0; i < m->cpus && i < VCPUS_MAX; i++)
		vcpu_destroy(&m->vcpu[i]);
	if (m->ejector)
		g_source_destroy(m->ejector);
	g_clear_pointer(&m->ejector, g_source_unref);
	/* Devices may run the main context while they finish their requests. */
	if (m->teller)
		g_source_destroy(m->teller);
	g_clear_pointer(&m->teller, g_source_unref);
	g_ptr_array_unref(m->leavers);
	for (unsigned i = m->devices->len; i-- > 0;)
		device_free(m->devices->pdata[i]);
	g_ptr_array_unref(m->devices);
	notices_free(m->notices);
	g_clear_pointer(&m->ahead, boot_ahead_free);
	boot_forget_files(m);
	pci_bus_free(m->core.pci);
	bus_free(m->core.ports);
	bus_free(m->core.mmio);
	posted_free(m->core.posted);
	pc_firmware_free(m->firmware);
	if (m->core.vm_fd >= 0)
		kvcore_close(m->core.vm_fd);
	mem_free(m->core.mem);
	g_mutex_clear(&m->lock);
	g_cond_clear(&m->changed);
	g_free(m->name);
	g_free(m->kernel);
	g_free(m->initrd);
	g_free(m->append);
	g_free(m->cpu_name);
	g_free(m->end_text);
	g_free(m->msr_list);
	g_free(m);
}

/* ---- run, pause, reset ---- */

static void each_device(struct machine *m, size_t callback)
{
	for (unsigned i = 0; i < m->devices->len; i++) {
		struct device *d = m->devices->pdata[i];
		void (*f)(struct device *) = *(void (*const *)(struct device *))(const void *)((const char *)d->cls + callback);

		if (f)
			f(d);
	}
}

/* A guest that was not running did not see time pass: its kvmclock goes on where it was, as under QEMU. */
static void hold_clock(struct machine *m)
{
	struct kvm_clock_data clock = {0};

	m->clock_held = kvcore_ioctl(m->core.vm_fd, KVM_GET_CLOCK, &clock) == 0;
	m->clock_ns = clock.clock;
}

static void release_clock(struct machine *m)
{
	struct kvm_clock_data clock = {.clock = m->clock_ns};

	if (!m->clock_held)
		return;
	m->clock_held = false;
	if (kvcore_ioctl(m->core.vm_fd, KVM_SET_CLOCK, &clock) < 0)
		kv_log_debug("KVM_SET_CLOCK: %s", g_strerror(errno));
	/* Refused where the guest has no kvmclock. */
	for (unsigned i = 0; i < m->cpus; i++)
		kvcore_ioctl(m->vcpu[i].fd, KVM_KVMCLOCK_CTRL, 0);
}

bool machine_run(struct machine *m, void (*ended)(void *opaque, enum machine_end end, const char *text), void *opaque,
		 GError **error)
{
	m->ended = ended;
	m->ended_opaque = opaque;
	if (machine_asleep(m))
		return true;
	if (!m->running)
		each_device(m, offsetof(struct device_class, resume));
	if (m->ahead)
		boot_ahead_start(m->ahead);
	m->running = true;
	release_clock(m);
	g_mutex_lock(&m->lock);
	m->pause_wanted = false;
	g_cond_broadcast(&m->changed);
	g_mutex_unlock(&m->lock);
	cpus_settle(m);
	for (unsigned i = 0; i < m->cpus; i++)
		if (!m->vcpu[i].absent)
			vcpu_start(&m->vcpu[i]);
	return true;
}

void machine_pause(struct machine *m)
{
	unsigned started = 0;

	if (!m->running)
		return;
	m->changing++;
	for (unsigned i = 0; i < m->cpus; i++)
		started += m->vcpu[i].thread != NULL;
	g_mutex_lock(&m->lock);
	want_pause(m);
	while (m->resting < started)
		g_cond_wait(&m->changed, &m->lock);
	g_mutex_unlock(&m->lock);
	hold_clock(m);
	each_device(m, offsetof(struct device_class, pause));
	m->running = false;
	tell_at_last(m);
}

bool machine_busy(const struct machine *m)
{
	return m->changing;
}

/* All but memory. */
static bool reset_parts(struct machine *m, GError **error)
{
	machine_pause(m);
	cpus_settle(m);
	each_device(m, offsetof(struct device_class, reset));
	if (!chips_state_set(m, &m->power_on, false, error))
		return false;
	for (unsigned i = 0; i < m->cpus; i++)
		if (!m->vcpu[i].absent && !vcpu_state_set(&m->vcpu[i], &m->vcpu[i].power_on, false, error))
			return false;
	return cpus_park_absent(m, error);
}

static bool reset(struct machine *m, GError **error)
{
	kv_log_debug("machine reset");
	if (!reset_parts(m, error))
		return false;
	g_clear_pointer(&m->ahead, boot_ahead_free);
	if (!mem_clear(m->core.mem, error))
		return false;
	return m->kind == MACHINE_PC ? pc_firmware_start(m, error) : boot_load(m, error);
}

bool machine_reset(struct machine *m, GError **error)
{
	bool ok;

	m->changing++;
	ok = reset(m, error);
	tell_at_last(m);
	return ok;
}

/* ---- sleep ---- */

bool machine_can_sleep(const struct machine *m)
{
	return m->kind == MACHINE_PC;
}

bool machine_asleep(const struct machine *m)
{
	bool woken;

	return machine_can_sleep(m) && ich9_lpc_asleep(m->pm, &woken);
}

bool machine_woken(const struct machine *m)
{
	bool woken;

	return machine_can_sleep(m) && ich9_lpc_asleep(m->pm, &woken) && woken;
}

void machine_wake(struct machine *m)
{
	if (machine_can_sleep(m))
		ich9_lpc_wake(m->pm);
}

/* What the CPU engine has derived from memory stays good; firmware finds its shadow as it left it. */
bool machine_wake_reset(struct machine *m, GError **error)
{
	bool ok;

	m->changing++;
	kv_log_debug("machine wakes");
	m->core.waking = true;
	ok = reset_parts(m, error);
	m->core.waking = false;
	tell_at_last(m);
	return ok;
}

void machine_power_button(struct machine *m)
{
	(m->kind == MACHINE_PC ? ich9_lpc_power_button : acpi_pm_power_button)(m->pm);
}

/* ---- statistics and state ---- */

unsigned machine_vcpus(const struct machine *m)
{
	return m->cpus;
}

pid_t machine_vcpu_thread(struct machine *m, unsigned index)
{
	struct vcpu *v = &m->vcpu[index];
	pid_t tid;

	g_mutex_lock(&m->lock);
	while (v->thread && !v->tid)
		g_cond_wait(&m->changed, &m->lock);
	tid = v->tid;
	g_mutex_unlock(&m->lock);
	return tid;
}

/* What the software KVM counts by itself, of an engine that does not. */
static void put_vcpu_exits(const struct machine *m, GString *s)
{
	for (unsigned i = 0; i < m->cpus; i++)
		for (unsigned e = 0; e < EXIT_REASONS; e++)
			if (m->vcpu[i].exits[e])
				g_string_append_printf(s, "vcpu%u.exits.%s %" G_GUINT64_FORMAT "\n", i,
						       exit_names[e] ? exit_names[e] : "other", m->vcpu[i].exits[e]);
}

char *machine_stats(struct machine *m)
{
	GString *s = g_string_new(NULL);
	ssize_t size = kvcore_stats(m->core.vm_fd, NULL, 0);
	g_autofree char *core = size > 0 ? g_malloc((gsize)size + 1024) : NULL; /* counters may grow by a digit meanwhile */

	for (unsigned e = 0; e < EXIT_REASONS; e++) {
		uint64_t n = 0;

		for (unsigned i = 0; i < m->cpus; i++)
			n += m->vcpu[i].exits[e];
		if (n)
			g_string_append_printf(s, "exit.%s %" G_GUINT64_FORMAT "\n", exit_names[e] ? exit_names[e] : "other", n);
	}
	for (unsigned i = 0; i < m->devices->len; i++) {
		struct device *d = m->devices->pdata[i];
		g_autofree char *text = d->cls->stats ? d->cls->stats(d) : NULL;

		if (text)
			g_string_append(s, text);
	}
	if (core && kvcore_stats(m->core.vm_fd, core, (size_t)size + 1024) > 0)
		g_string_append(s, core);
	else
		put_vcpu_exits(m, s);
	return g_string_free(s, FALSE);
}

static void save_cpus(const struct machine *m, GByteArray *out)
{
	struct cpus_state *s = cpus_state_get(m);

	state_save(out, &cpus_state_desc, "cpus", s);
	cpus_state_free(s);
}

static bool load_cpus(struct machine *m, GBytes *in, size_t *at, GError **error)
{
	struct cpus_state *s = cpus_state_new();
	bool ok = state_load(in, at, &cpus_state_desc, "cpus", s, error) && cpus_state_set(m, s, error);

	cpus_state_free(s);
	return ok;
}

/* vCPUs and chips in one order for save and load: KVM's, then the devices'. */
static bool save_kvm(struct machine *m, GByteArray *out, GError **error)
{
	struct chips_state chips = {0};

	if (m->cpu_hotplug)
		save_cpus(m, out);
	if (!chips_state_get(m, &chips, true, error))
		return false;
	if (m->clock_held)
		chips.clock.clock = m->clock_ns;
	state_save(out, &chips_state_desc, "chips", &chips);
	for (unsigned i = 0; i < m->cpus; i++) {
		g_autofree struct vcpu_state *s = g_new0(struct vcpu_state, 1);
		g_autofree char *id = g_strdup_printf("vcpu%u", i);
		bool ok = m->vcpu[i].absent || vcpu_state_get(&m->vcpu[i], s, error);

		if (ok && !m->vcpu[i].absent)
			state_save(out, &vcpu_state_desc, id, s);
		g_free(s->msrs);
		if (!ok)
			return false;
	}
	return true;
}

static bool load_vcpu(struct machine *m, unsigned i, GBytes *in, size_t *at, uint64_t *ret_tsc, GError **error)
{
	g_autofree struct vcpu_state *s = g_new0(struct vcpu_state, 1);
	g_autofree char *id = g_strdup_printf("vcpu%u", i);
	bool ok;

	s->n_msrs = m->msr_list->nmsrs;
	s->msrs = g_new0(struct kvm_msr_entry, s->n_msrs);
	ok = state_load(in, at, &vcpu_state_desc, id, s, error);
	for (uint32_t n = 0; ok && n < s->n_msrs; n++)
		if (s->msrs[n].index != m->msr_list->indices[n])
			ok = kv_fail(error, KV_ERROR_INVALID,
				     "saved state of %s has MSR 0x%x, which "
				     "this machine does not have",
				     id, s->msrs[n].index);
	for (uint32_t n = 0; ok && n < s->n_msrs; n++)
		if (s->msrs[n].index == MSR_TSC)
			*ret_tsc = s->msrs[n].data;
	ok = ok && vcpu_state_set(&m->vcpu[i], s, true, error);
	g_free(s->msrs);
	return ok;
}

/* Those that may come later count time as the others do. */
static bool load_kvm(struct machine *m, GBytes *in, size_t *at, GError **error)
{
	struct chips_state chips = {0};
	uint64_t tsc = 0;

	if (m->cpu_hotplug && !load_cpus(m, in, at, error))
		return false;
	if (!state_load(in, at, &chips_state_desc, "chips", &chips, error) || !chips_state_set(m, &chips, true, error))
		return false;
	m->clock_held = false;
	for (unsigned i = 0; i < m->cpus; i++)
		if (!m->vcpu[i].absent && !load_vcpu(m, i, in, at, &tsc, error))
			return false;
	for (unsigned i = 0; i < m->cpus; i++)
		if (m->vcpu[i].absent)
			vcpu_set_msr(&m->vcpu[i], MSR_TSC, tsc);
	return true;
}

bool machine_save(struct machine *m, GByteArray *out, GError **error)
{
	g_autoptr(GPtrArray) order = NULL;

	if (m->running)
		return kv_fail(error, KV_ERROR_INVALID, "the machine has to be paused before it is saved");
	for (unsigned i = 0; i < m->devices->len; i++) {
		struct device *d = m->devices->pdata[i];

		if (d->cls->can_save && !d->cls->can_save(d, error))
			return false;
	}
	cpus_settle(m);
	if (!save_kvm(m, out, error))
		return false;
	order = saved_order(m);
	for (unsigned i = 0; i < order->len; i++) {
		struct device *d = order->pdata[i];

		state_save(out, d->cls->state, d->id, d);
	}
	return out->len <= SAVED_STATE_MAX ||
	       kv_fail(error, KV_ERROR_UNSUPPORTED, "the machine's state has %u bytes, more than a saved one may have: %u",
		       out->len, SAVED_STATE_MAX);
}

static bool load(struct machine *m, GBytes *in, GError **error)
{
	g_autoptr(GPtrArray) order = saved_order(m);
	size_t at = 0;

	if (!load_kvm(m, in, &at, error))
		return false;
	for (unsigned i = 0; i < order->len; i++) {
		struct device *d = order->pdata[i];

		if (!state_load(in, &at, d->cls->state, d->id, d, error))
			return false;
	}
	if (at == g_bytes_get_size(in))
		return true;
	return kv_fail(error, KV_ERROR_INVALID, "the saved state has more devices than this machine");
}

/* What was refused is in no device any more: until the process ends, input and time may reach them. */
bool machine_load(struct machine *m, GBytes *in, GError **error)
{
	if (m->running)
		return kv_fail(error, KV_ERROR_INVALID, "the machine has to be paused before it is loaded");
	if (load(m, in, error))
		return true;
	each_device(m, offsetof(struct device_class, reset));
	return false;
}
