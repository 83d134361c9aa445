/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See command.h. The order of options is the one in which guests find devices. */
#include "command.h"

#include <stdarg.h>
#include <string.h>

#include "parts.h"

/* ---- words ---- */

void add(struct command *c, const char *option, char *value)
{
	g_ptr_array_add(c->argv, g_strdup(option));
	if (value)
		g_ptr_array_add(c->argv, value);
}

void add_text(struct command *c, const char *option, const char *value)
{
	if (value)
		add(c, option, g_strdup(value));
}

static void append(keys *k, const char *text)
{
	for (const char *p = text; *p; p++) {
		g_string_append_c(k, *p);
		if (*p == ',')
			g_string_append_c(k, ',');
	}
}

keys *keys_new(const char *first)
{
	return g_string_new(first);
}

void put(keys *k, const char *name, const char *value)
{
	if (!value)
		return;
	if (k->len)
		g_string_append_c(k, ',');
	g_string_append_printf(k, "%s=", name);
	append(k, value);
}

void put_number(keys *k, const char *name, guint64 value)
{
	g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, value);

	put(k, name, text);
}

void put_from(keys *k, const char *name, const xmlNode *node, const char *path)
{
	put(k, name, xml_text(node, path));
}

char *keys_end(keys *k)
{
	return g_string_free(k, FALSE);
}

bool refuse(GError **error, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	if (error)
		*error = g_error_new_valist(RPC_ERRORS, VIR_ERR_CONFIG_UNSUPPORTED, format, ap);
	va_end(ap);
	return false;
}

const char *command_id(const xmlNode *device)
{
	const char *alias = xml_text(device, "alias/@name");

	return alias ? alias : xml_text(device, "target/@dev");
}

/* ---- the machine ---- */

bool command_is_pc(const xmlNode *domain)
{
	return !xml_is(domain, "os/type/@machine", "micro");
}

char *command_qmp_path(const struct command_paths *paths)
{
	return g_build_filename(paths->run, "monitor", NULL);
}

static bool check_emulator(const xmlNode *domain, const char *vmm, GError **error)
{
	const char *emulator = xml_text(domain, "devices/emulator");
	g_autofree char *program = emulator ? g_path_get_basename(emulator) : NULL;

	return !program || !strcmp(program, "kv-vmm") || !strcmp(emulator, vmm) ||
	       refuse(error, "emulator '%s' is not kv-vmm; leave <emulator> out", emulator);
}

/* What would take a manager of cgroups, or another end than the process's. Limits are tune.c's. */
static bool check_wishes(const xmlNode *domain, GError **error)
{
	static const char *const none[] = {"resource"};

	for (unsigned i = 0; i < G_N_ELEMENTS(none); i++)
		if (strchr(none[i], '@') ? xml_text(domain, none[i]) != NULL : xml_child(domain, none[i]) != NULL)
			return refuse(error, "<%s> is not supported by kv-vmm", none[i]);
	if (xml_text(domain, "on_poweroff") && !xml_is(domain, "on_poweroff", "destroy"))
		return refuse(error, "on_poweroff '%s' is not supported; destroy is", xml_text(domain, "on_poweroff"));
	if (xml_text(domain, "on_reboot") && !xml_is(domain, "on_reboot", "restart") && !xml_is(domain, "on_reboot", "destroy"))
		return refuse(error, "on_reboot '%s' is not supported; restart and destroy are", xml_text(domain, "on_reboot"));
	if (xml_text(domain, "on_crash") && !xml_is(domain, "on_crash", "restart") && !xml_is(domain, "on_crash", "destroy"))
		return refuse(error, "on_crash '%s' is not supported; restart and destroy are", xml_text(domain, "on_crash"));
	return true;
}

/* Type kvm is Linux's KVM where it is quick, and else the software KVM: it has the same interface. */
static bool add_machine(struct command *c, GError **error)
{
	g_autofree char *qmp = command_qmp_path(c->paths), *socket = g_strconcat("unix:", qmp, NULL);
	guint64 kib;
	keys *k = keys_new(NULL);

	put(k, "socket", socket);
	add_text(c, "--name", xml_text(c->domain, "name"));
	add_text(c, "--machine", c->pc ? "pc" : "micro");
	add_text(c, "--accel", xml_is(c->domain, "@type", "qemu") ? "soft" : "auto");
	add(c, "--qmp", keys_end(k));
	add(c, "--paused", NULL);
	add(c, "--quiet", NULL);
	if (xml_is(c->domain, "on_reboot", "destroy"))
		add(c, "--no-reboot", NULL);
	if (!xml_number(c->domain, "memory", &kib))
		return refuse(error, "a machine without <memory>");
	add(c, "--memory", g_strdup_printf("%" G_GUINT64_FORMAT "K", kib));
	return command_cpu(c, error);
}

/* ---- devices ---- */

static const struct {
	const char *name;
	device_func *func;
} kinds[] = {
	{"serial", command_serial},
	{"console", command_console},
	{"channel", command_channel},
	{"video", command_video},
	{"graphics", command_graphics},
	{"disk", command_disk},
	{"interface", command_interface},
	{"controller", command_controller},
	{"input", command_input},
	{"memballoon", command_memballoon},
	{"rng", command_rng},
	{"watchdog", command_watchdog},
	{"panic", command_panic},
	{"vsock", command_vsock},
};

static bool add_devices(struct command *c, GError **error)
{
	const xmlNode *devices = xml_child(c->domain, "devices");
	const xmlNode *device;

	for (unsigned i = 0; devices && i < G_N_ELEMENTS(kinds); i++)
		for (unsigned n = 0; (device = xml_nth(devices, kinds[i].name, n)); n++)
			if (!kinds[i].func(c, device, error))
				return false;
	if (!c->serials)
		add_text(c, "--console", "file:/dev/null");
	if (c->pc && !c->videos)
		add_text(c, "--vga", "none");
	return true;
}

char **command_new(const xmlNode *domain, const struct command_paths *paths, GError **error)
{
	struct command c = {g_ptr_array_new_with_free_func(g_free), domain, paths, command_is_pc(domain)};
	bool ok;

	g_ptr_array_add(c.argv, g_strdup(paths->vmm));
	ok = check_emulator(domain, paths->vmm, error) && check_wishes(domain, error) && add_machine(&c, error) &&
	     command_firmware(&c, error) && command_boot(&c, error) && command_smbios(&c, error) &&
	     command_clock(&c, error) && add_devices(&c, error);
	g_ptr_array_add(c.argv, NULL);
	if (ok)
		return (char **)g_ptr_array_free(c.argv, FALSE);
	g_ptr_array_unref(c.argv);
	return NULL;
}
