/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the tree of options to open files, networks, a console and a machine. See vmm.h.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "char.h"
#include "display.h"
#include "error.h"
#include "input.h"
#include "log.h"
#include "machine.h"
#include "mem-backing.h"
#include "module.h"
#include "net.h"
#include "vmm.h"

enum {
	DEFAULT_MEMORY = 1 << 30,
};

bool vmm_flag(const struct vmm *vmm, const char *name)
{
	gboolean on = FALSE;

	options_lookup(vmm->options, name, "b", &on);
	return on;
}

bool vmm_waits_for_machine(const struct vmm *vmm)
{
	const char *uri;

	return options_lookup(vmm->options, "incoming", "&s", &uri);
}

static const char *lookup_text(const struct vmm *vmm, const char *name, const char *otherwise)
{
	const char *text = otherwise;

	options_lookup(vmm->options, name, "&s", &text);
	return text;
}

static uint64_t lookup_number(const struct vmm *vmm, const char *name, uint64_t otherwise)
{
	guint64 n = otherwise;

	options_lookup(vmm->options, name, "t", &n);
	return n;
}

static bool has_option(const struct vmm *vmm, const char *name)
{
	g_autoptr(GVariant) value = options_lookup_value(vmm->options, name);

	return value;
}

static bool open_accel(struct vmm *vmm, GError **error)
{
	const char *name = lookup_text(vmm, "accel", "auto");
	enum kvcore_accel accel = strcmp(name, "kvm") == 0  ? KVCORE_KVM :
				  strcmp(name, "soft") == 0 ? KVCORE_SOFT :
							      KVCORE_AUTO;

	vmm->kvm_fd = kvcore_open(accel, &vmm->accel);
	if (vmm->kvm_fd < 0)
		return kv_fail(error, KV_ERROR_SYSTEM, "--accel %s: %s", name, vmm->accel.text);
	kv_log_info("%s", vmm->accel.text);
	return true;
}

static unsigned count(GVariant *list)
{
	return list ? g_variant_n_children(list) : 0;
}

/* The message for a missing file before anything slow or visible is done. */
static bool check_file(struct vmm *vmm, const char *option, GError **error)
{
	const char *path = lookup_text(vmm, option, NULL);

	if (path && access(path, R_OK) < 0)
		return kv_fail_errno(error, errno, "--%s: cannot read '%s'", option, path);
	return true;
}

bool vmm_is_pc(const struct vmm *vmm)
{
	g_autoptr(GVariant) keys = g_variant_lookup_value(vmm->options, "machine", NULL);
	const char *type = "micro";

	if (keys)
		g_variant_lookup(keys, "type", "&s", &type);
	return strcmp(type, "pc") == 0;
}

/* id is a key of every device. */
static void take_id(struct machine_device *d, GVariant *words)
{
	GVariantBuilder rest;
	const char *name, *word;
	GVariantIter iter;

	g_variant_builder_init(&rest, G_VARIANT_TYPE("a{ss}"));
	g_variant_iter_init(&iter, words);
	while (g_variant_iter_next(&iter, "{&s&s}", &name, &word))
		if (!strcmp(name, "id"))
			d->id = word;
		else
			g_variant_builder_add(&rest, "{ss}", name, word);
	d->options = g_variant_ref_sink(g_variant_builder_end(&rest));
}

static unsigned read_devices(struct vmm *vmm, struct machine_device **ret)
{
	g_autoptr(GVariant) list = options_lookup_value(vmm->options, "device");
	unsigned n = count(list);

	*ret = g_new0(struct machine_device, n + 1);
	for (unsigned i = 0; i < n; i++) {
		g_autoptr(GVariant) words = NULL;

		g_variant_get_child(list, i, "(&s@a{ss})", &(*ret)[i].cls, &words);
		take_id(&(*ret)[i], words);
	}
	return n;
}

/* --smp may be all of it, or what --cpus leaves open. */
static bool set_cpus(struct vmm *vmm, struct machine_config *config, GError **error)
{
	g_autoptr(GVariant) smp = options_lookup_value(vmm->options, "smp");
	guint64 cpus = lookup_number(vmm, "cpus", 0), n = 0, max = 0, sockets = 0, cores = 0, threads = 0;

	if (smp) {
		g_variant_lookup(smp, "cpus", "t", &n);
		g_variant_lookup(smp, "maxcpus", "t", &max);
		g_variant_lookup(smp, "sockets", "t", &sockets);
		g_variant_lookup(smp, "cores", "t", &cores);
		g_variant_lookup(smp, "threads", "t", &threads);
	}
	if (cpus && n && cpus != n)
		return kv_fail(error, KV_ERROR_USAGE, "--smp: cpus=%" G_GUINT64_FORMAT ", and --cpus %" G_GUINT64_FORMAT, n,
			       cpus);
	if (!cpus)
		cpus = n ? n : max ? max : MAX(sockets, 1) * MAX(cores, 1) * MAX(threads, 1);
	config->cpus = cpus;
	config->cpus_max = max;
	config->sockets = sockets;
	config->cores = cores;
	config->threads = threads;
	config->cpu = lookup_text(vmm, "cpu", NULL);
	return true;
}

/* A backend's size is the machine's. */
static bool set_memory(struct vmm *vmm, struct machine_config *config, GError **error)
{
	g_autoptr(GVariant) keys = g_variant_lookup_value(vmm->options, "machine", NULL);
	const struct option *option = options_find(option_table, "memory");
	struct mem_backing *backing = NULL;
	const char *id = NULL;

	config->memory = lookup_number(vmm, "memory", DEFAULT_MEMORY);
	if (keys)
		g_variant_lookup(keys, "memory-backend", "&s", &id);
	if (!id)
		return true;
	if (!vmm_find_memory(vmm, id, &backing, error))
		return false;
	if (has_option(vmm, "memory") && config->memory != backing->size)
		return kv_fail(error, KV_ERROR_USAGE, "--memory: the memory backend '%s' has another size: %" G_GUINT64_FORMAT,
			       id, backing->size);
	if (backing->size < option->min || backing->size > option->max || backing->size % (1 << 20))
		return kv_fail(error, KV_ERROR_USAGE,
			       "--machine: memory-backend: '%s' has to have 16M to 1T, in whole megabytes", id);
	config->memory = backing->size;
	config->backing = backing;
	return true;
}

static bool open_machine(struct vmm *vmm, GError **error)
{
	g_autofree struct machine_device *devices = NULL;
	unsigned n_devices = read_devices(vmm, &devices);
	g_autoptr(GArray) places = vmm_places(vmm);
	struct machine_config config = {
		.kind = vmm_is_pc(vmm) ? MACHINE_PC : MACHINE_MICRO,
		.firmware = vmm->firmware,
		.devices = devices,
		.n_devices = n_devices,
		.places = (const struct machine_place *)(void *)places->data,
		.n_places = places->len,
		.vga = vmm_is_pc(vmm) ? vmm_vga(vmm) : NULL,
		.display = vmm->display,
		.input = vmm->input,
		.tablet = vmm_is_pc(vmm) && has_option(vmm, "vnc"),
		.name = lookup_text(vmm, "name", "kvasir"),
		.kvm_fd = vmm->kvm_fd,
		.kernel = lookup_text(vmm, "kernel", NULL),
		.initrd = lookup_text(vmm, "initrd", NULL),
		.append = lookup_text(vmm, "append", NULL),
		.console = vmm->console,
		.console2 = vmm->console2,
		.virtio_console = vmm->virtio_console,
		.channels = vmm->channels,
		.n_channels = vmm->n_channels,
		.noticed = vmm_noticed,
		.noticed_opaque = vmm,
		.disks = vmm->disks,
		.n_disks = vmm->n_disks,
		.cards = vmm->cards,
		.n_cards = vmm->n_cards,
	};

	if (set_memory(vmm, &config, error) && vmm_vga_options(vmm, &config.vga_options, error) &&
	    set_cpus(vmm, &config, error) && vmm_read_rtc(vmm, &config, error))
		vmm->machine = machine_new(&config, error);
	for (unsigned i = 0; i < n_devices; i++)
		g_variant_unref(devices[i].options);
	g_clear_pointer(&config.vga_options, g_variant_unref);
	return vmm->machine;
}

/* Last of the backends: from here on a terminal is raw. */
static bool open_consoles(struct vmm *vmm, GError **error)
{
	const char *serial = lookup_text(vmm, "console", "stdio"), *virtio = lookup_text(vmm, "virtio-console", NULL);
	const char *second = lookup_text(vmm, "console2", NULL);

	if (virtio && !strcmp(serial, "stdio") && !strcmp(virtio, "stdio"))
		return kv_fail(error, KV_ERROR_USAGE, "--virtio-console: stdio is the serial console's; give --console file:PATH "
			       "or another place as well");
	if (second && !strcmp(second, "stdio"))
		return kv_fail(error, KV_ERROR_USAGE, "--console2: stdio is the console's; give pty, file:PATH or unix:PATH");
	vmm->console = char_open(serial, error);
	if (!vmm->console)
		return false;
	vmm->console2 = second ? char_open(second, error) : NULL;
	if (second && !vmm->console2)
		return false;
	vmm->virtio_console = virtio ? char_open(virtio, error) : NULL;
	return vmm->virtio_console || !virtio;
}

static bool load_qmp(struct vmm *vmm, GError **error)
{
	g_autoptr(GVariant) keys = options_lookup_value(vmm->options, "qmp");

	if (keys)
		vmm->qmp_module = kv_module_symbol(QMP_MODULE, QMP_SYMBOL, error);
	return !keys || vmm->qmp_module;
}

static bool open_qmp(struct vmm *vmm, GError **error)
{
	g_autoptr(GVariant) keys = options_lookup_value(vmm->options, "qmp");

	return !keys || vmm->qmp_module->open(vmm, keys, error);
}

/* What a board needs, and what it does not have. */
static bool check_board(struct vmm *vmm, GError **error)
{
	if (!vmm_is_pc(vmm) && !lookup_text(vmm, "kernel", NULL))
		return kv_fail(error, KV_ERROR_USAGE, "--kernel is missing; give --kernel FILE");
	if (!lookup_text(vmm, "kernel", NULL) && (lookup_text(vmm, "initrd", NULL) || lookup_text(vmm, "append", NULL)))
		return kv_fail(error, KV_ERROR_USAGE, "--initrd and --append are for a kernel; give --kernel FILE as well");
	return vmm_open_firmware(vmm, error);
}

static void set_actions(struct vmm *vmm)
{
	g_autoptr(GVariant) keys = g_variant_lookup_value(vmm->options, "action", NULL);
	const char *reboot = vmm_flag(vmm, "no-reboot") ? "shutdown" : NULL, *shutdown = NULL, *panic = "shutdown";

	if (keys) {
		g_variant_lookup(keys, "reboot", "&s", &reboot);
		g_variant_lookup(keys, "shutdown", "&s", &shutdown);
		g_variant_lookup(keys, "panic", "&s", &panic);
	}
	vmm_set_actions(vmm, reboot, shutdown, panic);
	vmm_set_watchdog(vmm, lookup_text(vmm, "watchdog-action", "reset"));
}

bool vmm_open(struct vmm *vmm, GVariant *options, GError **error)
{
	vmm->started = g_get_monotonic_time();
	vmm->options = g_variant_ref(options);
	set_actions(vmm);
	vmm->kvm_fd = vmm->saved_fd = vmm->exec_fd = -1;
	migrate_init(vmm);
	vmm_open_chardevs(vmm);
	if (vmm_flag(vmm, "paused") && !has_option(vmm, "qmp"))
		return kv_fail(error, KV_ERROR_USAGE, "--paused: nobody can let the guest run; give --qmp unix:PATH as well");
	if (!vmm_open_objects(vmm, error) || !check_board(vmm, error) || !load_qmp(vmm, error))
		return false;
	vmm->input = input_new();
	vmm->display = display_new();
	if (!check_file(vmm, "kernel", error) || !check_file(vmm, "initrd", error) ||
	    !vmm_open_disks(vmm, error) || !vmm_open_graph(vmm, error) || !vmm_open_cards(vmm, error) || !open_accel(vmm, error))
		return false;
	return open_consoles(vmm, error) && vmm_open_channels(vmm, error) && open_machine(vmm, error) && open_qmp(vmm, error) &&
	       vmm_open_vnc(vmm, error) && migrate_exec_prepare(vmm, error);
}

void vmm_close(struct vmm *vmm)
{
	vmm_close_rtc(vmm);
	vmm_close_vnc(vmm);
	if (vmm->qmp)
		vmm->qmp_module->close(vmm);
	machine_free(vmm->machine);
	display_free(vmm->display);
	input_free(vmm->input);
	vmm_close_chardevs(vmm);
	vmm_close_channels(vmm);
	char_close(vmm->virtio_console);
	char_close(vmm->console2);
	char_close(vmm->console);
	vmm_close_cards(vmm);
	if (vmm->qmp_module)
		vmm->qmp_module->clean_up(vmm);
	vmm_close_graph(vmm);
	vmm_close_disks(vmm);
	vmm_close_objects(vmm);
	vmm_close_firmware(vmm);
	if (vmm->exec_fd >= 0)
		close(vmm->exec_fd);
	if (vmm->saved_fd >= 0)
		close(vmm->saved_fd);
	if (vmm->kvm_fd >= 0)
		kvcore_close(vmm->kvm_fd);
	g_clear_pointer(&vmm->options, g_variant_unref);
}
