/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See complete.h. */
#include <string.h>

#include "args.h"
#include "complete.h"
#include "domain.h"
#include "event-domain.h"
#include "objects.h"

/* ---- words that are always the same ---- */

/* Values of options; command NULL: of any. */
static const struct {
	const char *command, *option, *words;
} enumerations[] = {
	{ "shutdown", "mode", "acpi agent initctl signal paravirt" },
	{ "reboot", "mode", "acpi agent initctl signal paravirt" },
	{ "numatune", "mode", "strict preferred interleave restrictive" },
	{ "domdirtyrate-calc", "mode", "page-sampling dirty-bitmap dirty-ring" },
	{ "dump", "format", "elf kdump-zlib kdump-lzo kdump-snappy win-dmp" },
	{ "vol-create-as", "format", "raw qcow2 qcow vmdk vdi vpc vhdx" },
	{ "vol-create-as", "backing-vol-format", "raw qcow2 qcow vmdk vdi vpc vhdx" },
	{ "blockcopy", "format", "raw qcow2" },
	{ "domxml-from-native", "format", "qemu-argv" },
	{ "domxml-to-native", "format", "qemu-argv" },
	{ "set-lifecycle-action", "type", "poweroff reboot crash" },
	{ "set-lifecycle-action", "action", "destroy restart rename-restart preserve coredump-destroy coredump-restart" },
	{ "domif-setlink", "state", "up down" },
	{ "domifaddr", "source", "lease agent arp" },
	{ "domhostname", "source", "lease agent" },
	{ "send-key", "codeset", "linux xt atset1 atset2 atset3 os_x xt_kbd usb win32 qnum" },
	{ "dompmsuspend", "target", "mem disk hybrid" },
	{ "nodesuspend", "target", "mem disk hybrid" },
	{ "net-update", "command", "add add-first add-last delete modify" },
	{ "net-update", "section",
	  "bridge domain ip ip-dhcp-host ip-dhcp-range forward forward-interface forward-pf portgroup dns-host dns-txt dns-srv" },
	{ "pool-list", "type", "dir fs netfs logical disk iscsi scsi mpath rbd sheepdog gluster zfs vstorage iscsi-direct" },
	{ "vol-wipe", "algorithm", "zero nnsa dod bsi gutmann schneier pfitzner7 pfitzner33 random trim" },
	{ "nodedev-list", "cap",
	  "system pci usb_device usb net scsi_host scsi_target scsi storage fc_host vports scsi_generic drm mdev_types mdev ccw "
	  "css "
	  "vdpa ap_card ap_queue ap_matrix vpd" },
	{ "attach-disk", "targetbus", "virtio scsi sata ide usb fdc" },
	{ "attach-disk", "cache", "default none writethrough writeback directsync unsafe" },
	{ "attach-disk", "io", "threads native io_uring" },
	{ "attach-disk", "type", "disk cdrom floppy lun" },
	{ "attach-disk", "mode", "readonly shareable" },
	{ "attach-disk", "sourcetype", "file block network" },
	{ "attach-disk", "subdriver", "raw qcow2" },
	{ "attach-interface", "type", "network bridge direct hostdev user" },
	{ "attach-interface", "model", "virtio e1000 e1000e rtl8139" },
	{ "detach-interface", "type", "network bridge direct hostdev user" },
	{ "send-process-signal", "signame", "hup int quit kill usr1 usr2 term cont stop" },
	{ "migrate", "comp-methods", "mt xbzrle zlib zstd" },
	{ "top", "sort", "cpu memory network disk name id" },
	{ "cpu-models", "arch", "x86_64 i686 aarch64 ppc64 s390x" },
	{ NULL, "virttype", "kvm qemu" },
	{ NULL, "arch", "x86_64 i686 aarch64" },
};

static void add_words(GPtrArray *found, const char *text)
{
	g_auto(GStrv) words = g_strsplit(text, " ", -1);

	for (char **w = words; *w; w++)
		g_ptr_array_add(found, g_strdup(*w));
}

static void add_commands(GPtrArray *found, bool with_groups)
{
	for (const struct group *g = groups; g->keyword; g++) {
		if (with_groups)
			g_ptr_array_add(found, g_strdup(g->keyword));
		for (const struct command *c = g->commands; c->name; c++)
			if (!c->is_hidden)
				g_ptr_array_add(found, g_strdup(c->name));
	}
}

/* ---- names that the server knows ---- */

enum { INACTIVE_DOMAINS = 2, ACTIVE_DOMAINS = 1, INACTIVE = 1, ACTIVE = 2, ALL = 3 };

/* What lists the objects that an option names; command NULL: of all others. */
static const struct {
	const char *command, *option, *procedure;
	unsigned flags;
} lists[] = {
	{ "start", "domain", "connect_list_all_domains", INACTIVE_DOMAINS },
	{ "shutdown", "domain", "connect_list_all_domains", ACTIVE_DOMAINS },
	{ "reboot", "domain", "connect_list_all_domains", ACTIVE_DOMAINS },
	{ "reset", "domain", "connect_list_all_domains", ACTIVE_DOMAINS },
	{ "destroy", "domain", "connect_list_all_domains", ACTIVE_DOMAINS },
	{ "suspend", "domain", "connect_list_all_domains", ACTIVE_DOMAINS },
	{ "resume", "domain", "connect_list_all_domains", ACTIVE_DOMAINS },
	{ "save", "domain", "connect_list_all_domains", ACTIVE_DOMAINS },
	{ "managedsave", "domain", "connect_list_all_domains", ACTIVE_DOMAINS },
	{ "dump", "domain", "connect_list_all_domains", ACTIVE_DOMAINS },
	{ "console", "domain", "connect_list_all_domains", ACTIVE_DOMAINS },
	{ "screenshot", "domain", "connect_list_all_domains", ACTIVE_DOMAINS },
	{ NULL, "domain", "connect_list_all_domains", ALL },
	{ "net-start", "network", "connect_list_all_networks", INACTIVE },
	{ "net-destroy", "network", "connect_list_all_networks", ACTIVE },
	{ NULL, "network", "connect_list_all_networks", ALL },
	{ "pool-start", "pool", "connect_list_all_storage_pools", INACTIVE },
	{ "pool-destroy", "pool", "connect_list_all_storage_pools", ACTIVE },
	{ NULL, "pool", "connect_list_all_storage_pools", ALL },
	{ NULL, "inputpool", "connect_list_all_storage_pools", ALL },
	{ NULL, "device", "connect_list_all_node_devices", 0 },
	{ NULL, "nwfilter", "connect_list_all_nwfilters", 0 },
	{ NULL, "binding", "connect_list_all_nwfilter_bindings", 0 },
	{ NULL, "secret", "connect_list_all_secrets", 0 },
	{ NULL, "interface", "connect_list_all_interfaces", ALL },
	{ NULL, "bridge", "connect_list_all_interfaces", ALL },
};

static char *name_of(GVariant *object)
{
	if (g_variant_is_of_type(object, G_VARIANT_TYPE_STRING))
		return g_variant_dup_string(object, NULL);
	if (g_variant_is_of_type(object, G_VARIANT_TYPE("(ayis)"))) {
		g_autoptr(GVariant) both = g_variant_ref_sink(g_variant_new("(s@ay)", "", g_variant_get_child_value(object, 0)));

		return object_uuid(both);
	}
	return g_strdup(object_name(object));
}

static void add_answer(GPtrArray *found, GVariant *answer)
{
	g_autoptr(GVariant) list = first_of(answer);

	for (gsize i = 0; list && i < g_variant_n_children(list); i++) {
		g_autoptr(GVariant) object = g_variant_get_child_value(list, i);

		g_ptr_array_add(found, name_of(object));
	}
}

/* Nothing is said, whatever happens: a shell asks while somebody types. */
static bool connect_silently(struct shell *sh)
{
	if (sh->conn)
		return true;
	sh->only_looks = true;
	sh->conn = kv_connection_open_sync(sh->uri, KV_CONNECTION_READ_ONLY, NULL, NULL);
	if (!sh->conn)
		sh->conn = kv_connection_open_sync(sh->uri, KV_CONNECTION_NONE, NULL, NULL);
	return sh->conn;
}

static GVariant *named(struct shell *sh, const struct args *a, const char *option, const char *procedure)
{
	const char *name = arg_exists(a, option) ? arg_text(a, option) : NULL;
	g_autoptr(GVariant) answer = name ? ask(sh, procedure, "(s)", name) : NULL;

	return first_of(answer);
}

/* Disks or interfaces of the domain that was named before. */
static void add_devices(struct shell *sh, const struct args *a, GPtrArray *found, const char *path, const char *child,
			const char *attribute)
{
	g_autoptr(GVariant) dom = named(sh, a, "domain", "domain_lookup_by_name");
	g_autoptr(node) xml = dom ? domain_xml(sh, dom, 0) : NULL;
	g_autoptr(GPtrArray) all = node_all(xml, path);

	for (unsigned i = 0; i < all->len; i++) {
		const char *value = node_get_attr(g_ptr_array_index(all, i), child, attribute);

		if (value)
			g_ptr_array_add(found, g_strdup(value));
	}
}

static void add_children(struct shell *sh, const struct args *a, GPtrArray *found, const char *option)
{
	bool is_pool = strcmp(option, "vol") == 0;
	g_autoptr(GVariant) parent =
		is_pool ? named(sh, a, "pool", "storage_pool_lookup_by_name") : named(sh, a, "domain", "domain_lookup_by_name"),
			    answer = NULL;

	if (!parent)
		return;
	if (is_pool)
		answer = ask(sh, "storage_pool_list_all_volumes", "(@" POOL "iu)", parent, 1, 0);
	else if (g_str_has_prefix(a->command->name, "checkpoint-"))
		answer = ask(sh, "domain_list_all_checkpoints", "(@" DOMAIN "iu)", parent, 1, 0);
	else
		answer = ask(sh, "domain_list_all_snapshots", "(@" DOMAIN "iu)", parent, 1, 0);
	add_answer(found, answer);
}

static bool is_one(const char *word, const char *list)
{
	g_auto(GStrv) words = g_strsplit(list, " ", -1);

	return g_strv_contains((const char *const *)words, word);
}

static void add_objects(struct shell *sh, const struct args *a, const char *option, GPtrArray *found)
{
	const char *command = a->command->name;
	bool of_domain = arg_exists(a, "domain");

	if (!connect_silently(sh))
		return;
	if (of_domain && is_one(option, "path device target dev") && !is_one(command, "attach-disk dompmsuspend")) {
		add_devices(sh, a, found, "devices/disk", "target", "dev");
	} else if (of_domain && is_one(option, "interface mac")) {
		add_devices(sh, a, found, "devices/interface", "target", "dev");
		add_devices(sh, a, found, "devices/interface", "mac", "address");
	} else if (is_one(option, "vol snapshotname checkpointname from")) {
		add_children(sh, a, found, option);
	} else {
		for (unsigned i = 0; i < G_N_ELEMENTS(lists); i++) {
			g_autoptr(GVariant) answer = NULL;

			if (strcmp(lists[i].option, option) != 0 || (lists[i].command && strcmp(lists[i].command, command) != 0))
				continue;
			answer = ask(sh, lists[i].procedure, "(iu)", 1, lists[i].flags);
			add_answer(found, answer);
			break;
		}
	}
	forget_error(sh);
}

/* ---- both ---- */

static void add_values(struct shell *sh, const struct args *a, const char *option, GPtrArray *found)
{
	const char *command = a->command->name;

	for (unsigned i = 0; i < G_N_ELEMENTS(enumerations); i++)
		if (strcmp(enumerations[i].option, option) == 0 &&
		    (!enumerations[i].command || strcmp(enumerations[i].command, command) == 0))
			return add_words(found, enumerations[i].words);
	if (strcmp(command, "help") == 0)
		add_commands(found, true);
	else if (strcmp(command, "event") == 0 && strcmp(option, "event") == 0)
		for (unsigned i = 0; domain_events[i].name; i++)
			g_ptr_array_add(found, g_strdup(domain_events[i].name));
	else if (strcmp(command, "send-key") == 0 && strcmp(option, "keycode") == 0)
		for (unsigned i = 0; key_name(i); i++)
			g_ptr_array_add(found, g_strdup(key_name(i)));
	else
		add_objects(sh, a, option, found);
}

/* Options that were not given yet. */
static void add_options(const struct args *a, GPtrArray *found)
{
	for (unsigned i = 0; i < a->n; i++)
		if (!a->list[i].values || a->list[i].kind == ARG_LIST)
			g_ptr_array_add(found, g_strdup_printf("--%s", a->list[i].name));
}

char **complete_command(struct shell *sh, char *const *words)
{
	unsigned n = g_strv_length((char **)words);
	GPtrArray *found = g_ptr_array_new();
	const struct command *c = n > 1 ? command_named(words[0]) : NULL;
	const struct arg *next;
	struct args *a;

	if (n < 2) {
		add_commands(found, false);
	} else if (c) {
		a = args_typed(c, n - 2, words + 1, &next);
		if (g_str_has_prefix(words[n - 1], "-"))
			add_options(a, found);
		else if (next)
			add_values(sh, a, next->name, found);
		else
			add_options(a, found);
		args_free(a);
	}
	g_ptr_array_add(found, NULL);
	return (char **)g_ptr_array_free(found, FALSE);
}

/* ---- in our own lines ---- */

/* The words of the command that the cursor is in; the last is what is being typed. */
static char **words_before(const char *line, size_t cursor)
{
	g_autofree char *text = g_strndup(line, cursor);
	const char *start = strrchr(text, ';');
	g_auto(GStrv) raw = g_strsplit_set(start ? start + 1 : text, " \t", -1);
	GPtrArray *words = g_ptr_array_new();

	for (char **w = raw; *w; w++)
		if (**w || !w[1])
			g_ptr_array_add(words, g_strdup(*w));
	if (!words->len)
		g_ptr_array_add(words, g_strdup(""));
	g_ptr_array_add(words, NULL);
	return (char **)g_ptr_array_free(words, FALSE);
}

char **complete_words(struct shell *sh, const char *line, size_t cursor)
{
	g_auto(GStrv) words = words_before(line, cursor);

	return complete_command(sh, words);
}

bool complete_wants_file(const char *line, size_t start)
{
	static const char files[] = "file xml xmlfile config backupxml checkpointxml dir source dest";
	g_auto(GStrv) words = words_before(line, start);
	const struct command *c = words[1] ? command_named(words[0]) : NULL;
	const struct arg *next = NULL;
	struct args *a;
	bool wants;

	if (!c)
		return false;
	a = args_typed(c, g_strv_length(words) - 2, words + 1, &next);
	wants = next && is_one(next->name, files);
	args_free(a);
	return wants;
}
