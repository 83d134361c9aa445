/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vCPUs that come and go while the guest runs (--smp maxcpus, device_add, device_del). All that are possible are made with the
 * machine, so that none of it can fail later and nothing is opened behind the sandbox; who is absent has no thread, and a LAPIC
 * that is switched off, which takes part in nothing. The guest hears of it by devices/acpi-cpu-hotplug.c. Called by machine.c and
 * plug.c, in the main thread but for cpus_eject().
 */
#include <errno.h>
#include <string.h>

#include "board.h"
#include "devices/acpi-cpu-hotplug.h"
#include "error.h"
#include "fw-cfg.h"
#include "log.h"
#include "query.h"

#define TYPE_SUFFIX "-x86_64-cpu"

enum { AGAIN_MS = 2, ID_MAX = 255, LAPIC_ENABLED = 1 << 11, LAPIC_X2 = 1 << 10 };

bool cpus_is_type(const char *cls)
{
	g_auto(GStrv) models = NULL;
	g_autofree char *name = NULL;

	if (!g_str_has_suffix(cls, TYPE_SUFFIX))
		return false;
	models = machine_cpu_models();
	name = g_strndup(cls, strlen(cls) - strlen(TYPE_SUFFIX));
	return g_strv_contains((const char *const *)models, name);
}

char *machine_cpu_type(const struct machine *m)
{
	return g_strconcat(m->cpu_name, TYPE_SUFFIX, NULL);
}

bool machine_has_cpu_slots(const struct machine *m)
{
	return m->kind == MACHINE_PC;
}

bool machine_vcpu_present(const struct machine *m, unsigned index)
{
	return index < m->cpus && !m->vcpu[index].absent;
}

const char *machine_vcpu_id(const struct machine *m, unsigned index)
{
	return m->vcpu[index].id;
}

bool machine_cpu_ost(const struct machine *m, unsigned index, uint32_t *ret_source, uint32_t *ret_status)
{
	struct cpu_ost ost;

	if (!m->cpu_hotplug || index >= m->cpus)
		return false;
	ost = cpu_hotplug_ost(m->cpu_hotplug, index);
	*ret_source = ost.event;
	*ret_status = ost.status;
	return true;
}

unsigned cpus_present(const struct machine *m)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->cpus; i++)
		n += !m->vcpu[i].absent;
	return n;
}

int cpus_find(const struct machine *m, const char *id)
{
	for (unsigned i = 0; i < m->cpus; i++)
		if (m->vcpu[i].id && !strcmp(m->vcpu[i].id, id))
			return (int)i;
	return -1;
}

bool cpus_add_hotplug(struct machine *m, GError **error)
{
	g_autoptr(GVariant) options = NULL;
	GVariantBuilder ids;

	if (cpus_present(m) == m->cpus)
		return true;
	g_variant_builder_init(&ids, G_VARIANT_TYPE("au"));
	for (unsigned i = 0; i < m->cpus; i++)
		g_variant_builder_add(&ids, "u", cpu_apic_id(&m->topology, i));
	options = g_variant_ref_sink(g_variant_new_parsed("{'ids': <%@au>}", g_variant_builder_end(&ids)));
	m->cpu_hotplug = board_add(m, "acpi-cpu-hotplug", "cpus", options, NULL, error);
	for (unsigned i = 0; m->cpu_hotplug && i < m->cpus; i++)
		cpu_hotplug_set(m->cpu_hotplug, i, !m->vcpu[i].absent, false);
	return m->cpu_hotplug;
}

/* What firmware counts when it starts all of them. */
static void tell_firmware(struct machine *m)
{
	unsigned n = cpus_present(m);

	if (m->clock)
		mc146818_set_cpus(m->clock, n);
	if (m->fw_cfg)
		fw_cfg_set_number(m->fw_cfg, FW_CFG_CPUS, n, 2);
}

static void set_absent(struct vcpu *v, bool absent, const char *id)
{
	g_free(v->id);
	v->id = g_strdup(id);
	__atomic_store_n(&v->absent, absent, __ATOMIC_RELAXED); /* tables are made in vCPUs' threads */
}

static bool park(struct vcpu *v, GError **error)
{
	struct kvm_sregs s;

	if (!vcpu_state_set(v, &v->power_on, false, error))
		return false;
	s = v->power_on.sregs;
	s.apic_base &= ~(uint64_t)(LAPIC_ENABLED | LAPIC_X2);
	if (kvcore_ioctl(v->fd, KVM_SET_SREGS, &s) < 0)
		return kv_fail_errno(error, errno, "vCPU %u: cannot switch its LAPIC off", v->index);
	return true;
}

bool cpus_park_absent(struct machine *m, GError **error)
{
	for (unsigned i = 0; i < m->cpus; i++)
		if (m->vcpu[i].absent && !park(&m->vcpu[i], error))
			return false;
	return true;
}

/* ---- plugging in ---- */

/* One of a processor's three numbers, which takes its word out of the rest. */
static bool take_number(GVariantDict *words, const char *key, unsigned count, unsigned *ret, GError **error)
{
	g_autofree char *word = NULL;
	guint64 v;

	if (!g_variant_dict_lookup(words, key, "s", &word))
		return kv_fail(error, KV_ERROR_USAGE, "CPU %s is not set", key);
	if (!g_ascii_string_to_unsigned(word, 10, 0, UINT32_MAX, &v, NULL))
		return kv_fail(error, KV_ERROR_USAGE, "Parameter '%s' expects a number", key);
	if (v >= count)
		return kv_fail(error, KV_ERROR_USAGE, "Invalid CPU %s: %" G_GUINT64_FORMAT " must be in range 0:%u", key, v,
			       count - 1);
	g_variant_dict_remove(words, key);
	*ret = (unsigned)v;
	return true;
}

/* A package has one die here, which may be said. */
static bool take_place(const struct machine *m, GVariant *options, unsigned *ret, GError **error)
{
	const struct cpu_topology *t = &m->topology;
	g_auto(GVariantDict) words = G_VARIANT_DICT_INIT(NULL);
	g_autoptr(GVariant) rest = NULL;
	unsigned socket, die, core, thread;
	const char *key, *word;
	GVariantIter iter;

	g_variant_iter_init(&iter, options);
	while (g_variant_iter_next(&iter, "{&s&s}", &key, &word))
		g_variant_dict_insert(&words, key, "s", word);
	if (!take_number(&words, "socket-id", t->sockets, &socket, error) ||
	    (g_variant_dict_contains(&words, "die-id") && !take_number(&words, "die-id", 1, &die, error)) ||
	    !take_number(&words, "core-id", t->cores, &core, error) ||
	    !take_number(&words, "thread-id", t->threads, &thread, error))
		return false;
	rest = g_variant_ref_sink(g_variant_dict_end(&words));
	g_variant_iter_init(&iter, rest);
	if (g_variant_iter_next(&iter, "{&sv}", &key, NULL))
		return kv_fail(error, KV_ERROR_USAGE, "Property '%s" TYPE_SUFFIX ".%s' not found", m->cpu_name, key);
	*ret = (socket * t->cores + core) * t->threads + thread;
	return true;
}

static bool find_free(const struct machine *m, const struct machine_device *d, unsigned *ret, GError **error)
{
	g_autofree char *type = machine_cpu_type(m);

	if (d->id && strlen(d->id) > ID_MAX)
		return kv_fail(error, KV_ERROR_USAGE, "a processor's id has %u characters at most", ID_MAX);
	if (!machine_has_cpu_slots(m))
		return kv_fail(error, KV_ERROR_UNSUPPORTED,
			       "machine 'micro' has the processors that it starts with: use machine 'pc'");
	if (strcmp(d->cls, type))
		return kv_fail(error, KV_ERROR_USAGE, "Invalid CPU type, expected cpu type: '%s'", type);
	if (!take_place(m, d->options, ret, error))
		return false;
	if (machine_vcpu_present(m, *ret))
		return kv_fail(error, KV_ERROR_INVALID, "CPU[%u] with APIC ID %u exists", *ret, cpu_apic_id(&m->topology, *ret));
	return true;
}

bool cpus_plug(struct machine *m, const struct machine_device *d, bool hot, GError **error)
{
	struct vcpu *v;
	unsigned index;

	cpus_settle(m);
	if (!find_free(m, d, &index, error))
		return false;
	v = &m->vcpu[index];
	if (hot && !vcpu_state_set(v, &v->power_on, false, error))
		return false;
	set_absent(v, false, d->id);
	tell_firmware(m);
	if (m->running)
		vcpu_start(v);
	cpu_hotplug_set(m->cpu_hotplug, index, true, hot);
	kv_log_debug("vCPU %u: plugged in", index);
	return true;
}

/* ---- taking out ---- */

bool cpus_unplug(struct machine *m, unsigned index, GError **error)
{
	if (!index)
		return kv_fail(error, KV_ERROR_INVALID, "Boot CPU is unpluggable");
	cpu_hotplug_ask(m->cpu_hotplug, index);
	return true;
}

static void remove_cpu(struct machine *m, unsigned index)
{
	struct vcpu *v = &m->vcpu[index];
	g_autoptr(GError) error = NULL;
	g_autofree char *id = g_steal_pointer(&v->id);

	if (v->absent)
		return;
	vcpu_stop(v);
	set_absent(v, true, NULL);
	if (!park(v, &error))
		kv_log_warn("%s", error->message);
	tell_firmware(m);
	kv_log_debug("vCPU %u: taken out", index);
	if (m->unplugged)
		m->unplugged(m->unplugged_opaque, id, (int)index);
}

void cpus_settle(struct machine *m)
{
	uint64_t gone = __atomic_exchange_n(&m->ejected, 0, __ATOMIC_ACQ_REL);

	for (unsigned i = 0; gone && i < m->cpus; i++)
		if (gone >> i & 1)
			remove_cpu(m, i);
}

static gboolean on_ejected(gpointer opaque)
{
	struct machine *m = opaque;

	if (m->changing)
		return G_SOURCE_CONTINUE;
	g_mutex_lock(&m->lock);
	g_clear_pointer(&m->ejector, g_source_unref);
	g_mutex_unlock(&m->lock);
	cpus_settle(m);
	return G_SOURCE_REMOVE;
}

void cpus_eject(void *machine, unsigned index)
{
	struct machine *m = machine;

	__atomic_fetch_or(&m->ejected, 1ull << index, __ATOMIC_ACQ_REL);
	g_mutex_lock(&m->lock);
	if (!m->ejector) {
		m->ejector = g_timeout_source_new(AGAIN_MS);
		g_source_set_callback(m->ejector, on_ejected, m, NULL);
		g_source_attach(m->ejector, m->core.context);
	}
	g_mutex_unlock(&m->lock);
}

/* ---- saved state ---- */

struct name {
	uint32_t len;
	uint8_t *text; /* no zero behind it */
};

struct cpus_state {
	uint64_t present;
	struct name id[VCPUS_MAX];
};

struct cpus_state *cpus_state_new(void)
{
	return g_new0(struct cpus_state, 1);
}

struct cpus_state *cpus_state_get(const struct machine *m)
{
	struct cpus_state *s = cpus_state_new();

	for (unsigned i = 0; i < m->cpus; i++) {
		const struct vcpu *v = &m->vcpu[i];

		s->present |= (uint64_t)!v->absent << i;
		if (v->id)
			s->id[i] = (struct name){(uint32_t)strlen(v->id), (uint8_t *)g_strdup(v->id)};
	}
	return s;
}

void cpus_state_free(struct cpus_state *s)
{
	for (unsigned i = 0; i < VCPUS_MAX; i++)
		g_free(s->id[i].text);
	g_free(s);
}

static bool check_state(const struct machine *m, const struct cpus_state *s, GError **error)
{
	uint64_t possible = UINT64_MAX >> (VCPUS_MAX - m->cpus);

	if (!(s->present & 1) || s->present & ~possible)
		return kv_fail(error, KV_ERROR_INVALID, "the saved state has processors 0x%" G_GINT64_MODIFIER "x, of %u",
			       s->present, m->cpus);
	for (unsigned i = 0; i < VCPUS_MAX; i++)
		if (s->id[i].len && !g_utf8_validate_len((const char *)s->id[i].text, s->id[i].len, NULL))
			return kv_fail(error, KV_ERROR_INVALID, "the saved state has a name of processor %u that is no text", i);
	return true;
}

bool cpus_state_set(struct machine *m, const struct cpus_state *s, GError **error)
{
	if (!check_state(m, s, error))
		return false;
	for (unsigned i = 0; i < m->cpus; i++) {
		g_autofree char *id = s->id[i].len ? g_strndup((const char *)s->id[i].text, s->id[i].len) : NULL;
		bool present = s->present >> i & 1;

		vcpu_stop(&m->vcpu[i]);
		set_absent(&m->vcpu[i], !present, id);
		cpu_hotplug_set(m->cpu_hotplug, i, present, false);
	}
	tell_firmware(m);
	return cpus_park_absent(m, error);
}

static const struct state_field name_fields[] = {
	{.name = "text", .offset = offsetof(struct name, text), .type = STATE_BUFFER, .since = 1, .count = ID_MAX,
	 .count_at = offsetof(struct name, len)},
	STATE_END};
static const struct state_field cpus_fields[] = {STATE_INT(struct cpus_state, present, STATE_U64),
						 STATE_MANY(struct cpus_state, id, name_fields), STATE_END};

const struct state_desc cpus_state_desc = {.name = "cpus", .version = 1, .oldest = 1, .fields = cpus_fields};
