/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What this host and its machines can, as libvirt's <capabilities> and <domainCapabilities>: clients choose by it, so it says
 * what kv-vmm does and nothing more. Lists are those of command/ and of the model's tables. See kv.h.
 */
#include <string.h>
#include <unistd.h>

#include "kv.h"

#define OVMF	"/usr/share/OVMF/OVMF_CODE.fd"
#define MACHINE "pc-q35-7.2"

enum { MAX_CPUS = 255, MAX_CPUS_SOFT = 64 };

/* Where there is no KVM of the kernel, type kvm is the software KVM as well. */
static unsigned max_cpus(bool soft)
{
	return soft || access("/dev/kvm", R_OK | W_OK) < 0 ? MAX_CPUS_SOFT : MAX_CPUS;
}

static const char *const cpu_models[] = {
	"qemu64",     "kvm64",		"qemu32",     "kvm32",		"pentium",	  "pentium2",
	"pentium3",   "Conroe",		"Penryn",     "Nehalem",	"Westmere",	  "SandyBridge",
	"IvyBridge",  "Haswell",	"Broadwell",  "Skylake-Client", "Skylake-Server", "Cascadelake-Server",
	"Cooperlake", "Icelake-Server", "Opteron_G1", "Opteron_G2",	"Opteron_G3",	  "Opteron_G4",
	"Opteron_G5", "EPYC",		"EPYC-Rome",  "EPYC-Milan",
};

/* The host's identity: of its firmware where it may be read, else systemd's. */
static char *host_uuid(void)
{
	static const char *const files[] = {"/sys/class/dmi/id/product_uuid", "/etc/machine-id"};

	for (unsigned i = 0; i < G_N_ELEMENTS(files); i++) {
		g_autofree char *text = NULL;
		GString *uuid = g_string_new(NULL);

		if (g_file_get_contents(files[i], &text, NULL, NULL))
			for (const char *p = text; *p; p++)
				if (g_ascii_isxdigit(*p))
					g_string_append_c(uuid, g_ascii_tolower(*p));
		if (uuid->len == 32) {
			for (unsigned at = 8; at <= 23; at += 5)
				g_string_insert_c(uuid, at, '-');
			return g_string_free(uuid, FALSE);
		}
		g_string_free(uuid, TRUE);
	}
	return NULL;
}

static const char *vendor(void)
{
	g_autofree char *text = NULL;

	if (!g_file_get_contents("/proc/cpuinfo", &text, NULL, NULL))
		return NULL;
	return strstr(text, "AuthenticAMD") ? "AMD" : strstr(text, "GenuineIntel") ? "Intel" : NULL;
}

static guint64 memory_kib(void)
{
	return (guint64)sysconf(_SC_PHYS_PAGES) * (guint64)sysconf(_SC_PAGESIZE) / 1024;
}

static void put_host(GString *s)
{
	unsigned cpus = g_get_num_processors();
	g_autofree char *uuid = host_uuid();

	g_string_append(s, "  <host>\n");
	if (uuid)
		g_string_append_printf(s, "    <uuid>%s</uuid>\n", uuid);
	g_string_append(s, "    <cpu>\n      <arch>x86_64</arch>\n");
	if (vendor())
		g_string_append_printf(s, "      <vendor>%s</vendor>\n", vendor());
	g_string_append_printf(s, "      <topology sockets='1' dies='1' cores='%u' threads='1'/>\n    </cpu>\n", cpus);
	g_string_append_printf(s,
			       "    <topology>\n      <cells num='1'>\n        <cell id='0'>\n"
			       "          <memory unit='KiB'>%" G_GUINT64_FORMAT "</memory>\n          <cpus num='%u'>\n",
			       memory_kib(), cpus);
	for (unsigned i = 0; i < cpus; i++)
		g_string_append_printf(s, "            <cpu id='%u' socket_id='0' die_id='0' core_id='%u' siblings='%u'/>\n", i,
				       i, i);
	g_string_append(s, "          </cpus>\n        </cell>\n      </cells>\n    </topology>\n  </host>\n\n");
}

char *kv_capabilities(struct hv *hv)
{
	const struct kv_hv *kv = hv->own;
	g_autofree char *vmm = g_markup_escape_text(kv->vmm, -1);
	GString *s = g_string_new("<capabilities>\n\n");
	unsigned cpus = max_cpus(false);

	put_host(s);
	g_string_append_printf(s,
			       "  <guest>\n    <os_type>hvm</os_type>\n    <arch name='x86_64'>\n      <wordsize>64</wordsize>\n"
			       "      <emulator>%s</emulator>\n      <machine maxCpus='%u'>" MACHINE "</machine>\n"
			       "      <machine canonical='" MACHINE "' maxCpus='%u'>q35</machine>\n"
			       "      <machine maxCpus='%u'>micro</machine>\n"
			       "      <domain type='qemu'/>\n      <domain type='kvm'/>\n    </arch>\n    <features>\n"
			       "      <acpi default='on' toggle='no'/>\n      <apic default='on' toggle='no'/>\n"
			       "    </features>\n  </guest>\n\n</capabilities>\n",
			       vmm, cpus, cpus, cpus);
	return g_string_free(s, FALSE);
}

/* ---- a machine's ---- */

/* <NAME supported='yes'> with one enum of words after another, "diskDevice=disk cdrom;bus=virtio sata" */
static void put_enums(GString *s, unsigned indent, const char *name, const char *enums)
{
	g_auto(GStrv) lists = g_strsplit(enums, ";", -1);

	g_string_append_printf(s, "%*s<%s supported='yes'>\n", indent, "", name);
	for (char **list = lists; *list; list++) {
		g_auto(GStrv) halves = g_strsplit(*list, "=", 2);
		g_auto(GStrv) words = g_strsplit(halves[1], " ", -1);

		g_string_append_printf(s, "%*s<enum name='%s'>\n", indent + 2, "", halves[0]);
		for (char **word = words; *word; word++)
			g_string_append_printf(s, "%*s<value>%s</value>\n", indent + 4, "", *word);
		g_string_append_printf(s, "%*s</enum>\n", indent + 2, "");
	}
	g_string_append_printf(s, "%*s</%s>\n", indent, "", name);
}

static void put_os(GString *s, bool pc)
{
	bool uefi = pc && access(OVMF, R_OK) == 0;

	g_string_append(s, "  <os supported='yes'>\n");
	if (uefi)
		g_string_append(s, "    <enum name='firmware'>\n      <value>efi</value>\n    </enum>\n");
	else
		g_string_append(s, "    <enum name='firmware'/>\n");
	if (!pc) {
		g_string_append(s, "    <loader supported='no'/>\n  </os>\n");
		return;
	}
	g_string_append(s, "    <loader supported='yes'>\n");
	if (uefi)
		g_string_append(s, "      <value>" OVMF "</value>\n");
	g_string_append(s, "      <enum name='type'>\n        <value>rom</value>\n        <value>pflash</value>\n      </enum>\n"
			   "      <enum name='readonly'>\n        <value>yes</value>\n        <value>no</value>\n      </enum>\n"
			   "      <enum name='secure'>\n        <value>no</value>\n      </enum>\n    </loader>\n  </os>\n");
}

static void put_cpu(GString *s)
{
	g_string_append(
		s, "  <cpu>\n    <mode name='host-passthrough' supported='yes'>\n"
		   "      <enum name='hostPassthroughMigratable'>\n        <value>on</value>\n        <value>off</value>\n"
		   "      </enum>\n    </mode>\n    <mode name='maximum' supported='yes'>\n"
		   "      <enum name='maximumMigratable'>\n        <value>on</value>\n        <value>off</value>\n      </enum>\n"
		   "    </mode>\n    <mode name='host-model' supported='no'/>\n    <mode name='custom' supported='yes'>\n");
	for (unsigned i = 0; i < G_N_ELEMENTS(cpu_models); i++)
		g_string_append_printf(s, "      <model usable='unknown'>%s</model>\n", cpu_models[i]);
	g_string_append(s, "    </mode>\n  </cpu>\n");
}

static void put_devices(GString *s, bool pc)
{
	g_string_append(s, "  <devices>\n");
	put_enums(s, 4, "disk",
		  pc ? "diskDevice=disk cdrom;bus=virtio scsi sata usb;model=virtio"
		     : "diskDevice=disk cdrom;bus=virtio scsi;model=virtio");
	put_enums(s, 4, "graphics", "type=vnc");
	put_enums(s, 4, "video", pc ? "modelType=vga virtio none" : "modelType=virtio none");
	g_string_append(s, "    <hostdev supported='no'/>\n");
	put_enums(s, 4, "rng", "model=virtio;backendModel=random builtin");
	g_string_append(s, "    <filesystem supported='no'/>\n    <tpm supported='no'/>\n    <redirdev supported='no'/>\n");
	put_enums(s, 4, "channel", "type=pty unix");
	g_string_append(s, "  </devices>\n  <features>\n    <gic supported='no'/>\n    <vmcoreinfo supported='no'/>\n"
			   "    <genid supported='no'/>\n    <backingStoreInput supported='yes'/>\n    <backup supported='no'/>\n"
			   "    <async-teardown supported='no'/>\n    <sev supported='no'/>\n    <sgx supported='no'/>\n"
			   "    <hyperv supported='no'/>\n  </features>\n");
}

char *kv_domain_capabilities(struct hv *hv, const char *emulator, const char *arch, const char *machine, const char *virt_type,
			     GError **error)
{
	const struct kv_hv *kv = hv->own;
	g_autofree char *vmm = g_markup_escape_text(kv->vmm, -1);
	bool micro = machine && !strcmp(machine, "micro");
	GString *s;

	if (arch && strcmp(arch, "x86_64")) {
		rpc_fail(error, VIR_ERR_INVALID_ARG, "KVM is not supported by '%s' on this host: arch '%s'", kv->vmm, arch);
		return NULL;
	}
	if (virt_type && strcmp(virt_type, "kvm") && strcmp(virt_type, "qemu")) {
		rpc_fail(error, VIR_ERR_INVALID_ARG, "unknown virttype: %s", virt_type);
		return NULL;
	}
	if (machine && !micro && strcmp(machine, "q35") && !g_str_has_prefix(machine, "pc-q35-")) {
		rpc_fail(error, VIR_ERR_INVALID_ARG, "the machine '%s' is not supported by emulator '%s'", machine, kv->vmm);
		return NULL;
	}
	s = g_string_new("<domainCapabilities>\n");
	g_string_append_printf(s, "  <path>%s</path>\n  <domain>%s</domain>\n  <machine>%s</machine>\n  <arch>x86_64</arch>\n",
			       vmm, virt_type ? virt_type : "kvm", micro ? "micro" : MACHINE);
	g_string_append_printf(s, "  <vcpu max='%u'/>\n  <iothreads supported='no'/>\n",
			       max_cpus(virt_type && !strcmp(virt_type, "qemu")));
	put_os(s, !micro);
	put_cpu(s);
	g_string_append(s, "  <memoryBacking supported='no'/>\n");
	put_devices(s, !micro);
	g_string_append(s, "</domainCapabilities>\n");
	return g_string_free(s, FALSE);
}
