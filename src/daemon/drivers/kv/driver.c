/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The driver's table, where its files are, and definitions as files. See kv.h. */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "cgroup.h"
#include "folders.h"
#include "kv.h"
#include "kv-driver.h"
#include "log.h"
#include "model-xml.h"
#include "host-devices.h"
#include "pools.h"
#include "secrets.h"
#include "snapshots.h"
#include "uuid.h"

enum { UNDEFINE_NVRAM = 1 << 2, UNDEFINE_KEEP_NVRAM = 1 << 3 };

static char *vmm_path; /* --vmm */

/* ---- machines ---- */

struct kv_machine *kv_machine_new(struct domain *d)
{
	struct kv_machine *m = g_new0(struct kv_machine, 1);

	m->refs = 1;
	m->d = d;
	m->agent_fd = -1;
	m->log = kv_log_path(d);
	g_cond_init(&m->changed);
	return m;
}

struct kv_machine *kv_machine_ref(struct kv_machine *m)
{
	m->refs++;
	return m;
}

void kv_machine_unref(struct kv_machine *m)
{
	if (--m->refs)
		return;
	if (m->qmp)
		qmp_client_close(m->qmp);
	qmp_client_unref(m->qmp);
	kv_agent_close(m);
	if (m->block_jobs)
		g_ptr_array_unref(m->block_jobs);
	g_free(m->leaving);
	g_clear_pointer(&m->addresses, g_hash_table_unref);
	g_cond_clear(&m->changed);
	g_free(m->shutdown);
	g_free(m->run);
	g_free(m->cgroup);
	g_free(m->log);
	g_free(m);
}

struct kv_machine *kv_machine_of(struct domain *d, GError **error)
{
	struct kv_machine *m = d->own;

	if (m && !m->gone && m->qmp && qmp_client_is_open(m->qmp))
		return m;
	rpc_fail(error, VIR_ERR_OPERATION_INVALID, "domain is not running");
	return NULL;
}

/* ---- paths ---- */

char *kv_log_path(const struct domain *d)
{
	const struct kv_hv *kv = d->hv->own;
	g_autofree char *file = g_strdelimit(g_strconcat(d->name, ".log", NULL), "/", '_');

	return g_build_filename(kv->log_dir, file, NULL);
}

void kv_paths(const struct kv_hv *kv, const struct hv *hv, const struct kv_machine *m, struct command_paths *ret)
{
	*ret = (struct command_paths){
		.vmm = kv->vmm,
		.run = m ? m->run : "/run",
		.lib = hv->lib_dir,
		.now = g_get_real_time() / G_USEC_PER_SEC,
		.network = m ? kv_network_words : NULL,
		.opaque = (void *)m,
	};
}

void kv_set_vmm(const char *path)
{
	g_free(vmm_path);
	vmm_path = g_canonicalize_filename(path, NULL);
}

/* Beside the daemon as it is installed, then as it is built, then anywhere. */
static char *find_vmm(void)
{
	static const char *const places[] = {"kv-vmm", "../libexec/kvasir/kv-vmm", "../vmm/kv-vmm"};
	g_autofree char *self = g_file_read_link("/proc/self/exe", NULL), *dir = self ? g_path_get_dirname(self) : NULL;
	char *found;

	if (vmm_path)
		return g_strdup(vmm_path);
	for (unsigned i = 0; dir && i < G_N_ELEMENTS(places); i++) {
		g_autofree char *path = g_build_filename(dir, places[i], NULL);

		if (access(path, X_OK) == 0)
			return g_canonicalize_filename(path, NULL);
	}
	found = g_find_program_in_path("kv-vmm");
	return found ? found : g_strdup("kv-vmm");
}

static void set_folders(struct hv *hv, struct kv_hv *kv)
{
	hv->config_dir = folder_path(FOLDER_CONFIG, hv->session);
	hv->state_dir = folder_path(FOLDER_RUN, hv->session);
	hv->lib_dir = folder_path(FOLDER_LIB, hv->session);
	kv->log_dir = folder_path(FOLDER_LOG, hv->session);
}

/* ---- the hypervisor ---- */

static bool check_path(const struct hv *hv, const char *uri, GError **error)
{
	g_autoptr(GUri) parts = g_uri_parse(uri, G_URI_FLAGS_NONE, error);
	const char *mine = hv->session ? "session" : "system", *path = parts ? g_uri_get_path(parts) : "";

	if (!parts)
		return false;
	if (!*path)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "no QEMU URI path given, try qemu:///%s", mine);
	return (*path == '/' && !strcmp(path + 1, mine)) ||
	       rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "unexpected QEMU URI path '%s', try qemu:///%s", path, mine);
}

static void add_stored(void *opaque, const struct store_entry *entry)
{
	struct hv *hv = opaque;
	struct domain *d = domain_known(hv, entry->name, entry->uuid);
	g_autofree char *managed = NULL;

	if (!d) {
		kv_log_error("the definition of '%s' has no UUID, or another's; it is left alone", entry->name);
		return;
	}
	d->autostart = entry->autostart;
	managed = domain_managed_path(d);
	d->has_managed_save = managed && access(managed, F_OK) == 0;
}

static bool open_hv(struct hv *hv, const char *uri, GError **error)
{
	g_autofree char *domains = NULL, *status = NULL, *snapshots = NULL, *secrets = NULL;
	struct kv_hv *kv;

	if (!check_path(hv, uri, error))
		return false;
	kv = hv->own = g_new0(struct kv_hv, 1);
	kv->vmm = find_vmm();
	domain_def_set_emulator(kv->vmm);
	set_folders(hv, kv);
	cgroup_settle("");
	domains = g_build_filename(hv->config_dir, "domains", NULL);
	status = g_build_filename(hv->state_dir, "status", NULL);
	kv->store = store_open(domains, "domain", 0, error);
	snapshots = g_build_filename(hv->config_dir, "snapshots", NULL);
	kv->status = kv->store ? store_open(status, "domstatus", STORE_STATUS, error) : NULL;
	kv->snapshots = kv->status ? store_open(snapshots, "domainsnapshots", 0, error) : NULL;
	if (!kv->snapshots)
		return false;
	store_each(kv->store, add_stored, hv);
	kv_load_status(hv);
	kv_end_orphans(hv);
	kv_load_snapshots(hv);
	if (!pools_open(hv, error) || !kv_networks_open(hv, error))
		return false;
	secrets = g_build_filename(hv->config_dir, "secrets", NULL);
	secrets_open(hv, secrets);
	hv_ref(hv); /* machines run on, and are listened to, when the last client has gone */
	return true;
}

static void close_hv(struct hv *hv)
{
	struct kv_hv *kv = hv->own;

	if (!kv)
		return;
	store_free(kv->snapshots);
	kv_networks_close(kv);
	store_free(kv->status);
	store_free(kv->store);
	g_free(kv->vmm);
	g_free(kv->log_dir);
	g_free(kv);
}

static void leave(struct hv *hv)
{
	struct kv_hv *kv = hv->own;

	store_settle(kv->store);
	store_settle(kv->snapshots);
	store_settle(kv->networks);
	pools_leave(hv);
}

/* QMP's: clients decide by it what there is. */
static unsigned long version(struct hv *hv)
{
	return 7002000;
}

static bool check(struct hv *hv, const struct domain_def *def, GError **error)
{
	g_auto(GStrv) argv = NULL;
	struct command_paths paths;

	kv_paths(hv->own, hv, NULL, &paths);
	argv = command_new(domain_def_root(def), &paths, error);
	return argv;
}

/* ---- definitions ---- */

static bool load(struct domain *d, GError **error)
{
	struct kv_hv *kv = d->hv->own;
	g_autofree char *xml = d->persistent ? store_read(kv->store, d->name, error) : NULL;

	if (xml)
		d->def = domain_def_parse(xml, -1, 0, error);
	else if (!d->persistent)
		rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "domain '%s' has no definition", d->name);
	return d->def;
}

static bool store(struct domain *d, GError **error)
{
	struct kv_hv *kv = d->hv->own;
	g_autofree char *xml = domain_stored_def(d, error) ? domain_def_format_stored(d->def) : NULL;

	return xml && store_write(kv->store, d->name, d->uuid_text, xml, error) &&
	       store_set_autostart(kv->store, d->name, d->autostart, error);
}

static bool unstore(struct domain *d, GError **error)
{
	struct kv_hv *kv = d->hv->own;

	return store_remove(kv->store, d->name, error);
}

static bool undefine(struct domain *d, unsigned flags, GError **error)
{
	struct kv_hv *kv = d->hv->own;
	/* One file's name in it is all that is asked for: no need to check the rest once more. */
	g_autofree char *xml = d->def ? NULL : store_read(kv->store, d->name, error), *nvram = NULL;
	g_autoptr(xmlDoc) doc = xml ? model_xml_parse(xml, -1, "domain", error) : NULL;
	struct command_paths paths;

	if (!doc && !d->def)
		return false;
	kv_paths(kv, d->hv, NULL, &paths);
	nvram = command_nvram_path(doc ? xmlDocGetRootElement(doc) : domain_def_root(d->def), &paths);
	if (!nvram || access(nvram, F_OK) < 0 || flags & UNDEFINE_KEEP_NVRAM)
		return true;
	if (!(flags & UNDEFINE_NVRAM))
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "cannot undefine domain with nvram");
	return unlink(nvram) == 0 || kv_fail_errno(error, errno, "failed to remove nvram: %s", nvram);
}

/* Firmware's variables, if their place is made of the name. */
static bool move(struct domain *d, const char *from, const char *to, GError **error)
{
	g_autoptr(DomainDef) def = domain_def_copy(d->def);
	g_autofree char *old = NULL, *new = NULL;
	struct command_paths paths;

	kv_paths(d->hv->own, d->hv, NULL, &paths);
	domain_def_set_text(def, "name", from);
	old = command_nvram_path(domain_def_root(def), &paths);
	domain_def_set_text(def, "name", to);
	new = command_nvram_path(domain_def_root(def), &paths);
	if (!old || !strcmp(old, new) || access(old, F_OK) < 0)
		return true;
	if (access(new, F_OK) == 0)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID,
				"cannot rename domain: its nvram would go to '%s', which is there already", new);
	return rename(old, new) == 0 || kv_fail_errno(error, errno, "cannot rename nvram '%s' to '%s'", old, new);
}

static bool store_object(struct hv *hv, enum object_kind kind, const char *name, const char *uuid, const char *xml,
			 bool autostart, GError **error)
{
	return kind == OBJECT_NETWORK ? kv_network_store(hv, name, uuid, xml, autostart, error) :
					pools_store(hv, name, uuid, xml, autostart, error);
}

static const struct handler *const own_handlers[] = {kv_agent_handlers, kv_agent_power_handlers, NULL};
static const char *const schemes[] = {"qemu", "kv", NULL};

const struct hv_driver kv_driver = {
	.name = "kv",
	.prefix = "qemu",
	.type = "QEMU",
	.schemes = schemes,
	.stored = true,
	.handlers = own_handlers,
	.open = open_hv,
	.close = close_hv,
	.leave = leave,
	.version = version,
	.capabilities = kv_capabilities,
	.domain_capabilities = kv_domain_capabilities,
	.check = check,
	.load = load,
	.store = store,
	.unstore = unstore,
	.store_status = kv_store_status,
	.undefine = undefine,
	.move = move,
	.storage = &pools_files,
	.store_object = store_object,
	.network_check = kv_network_check,
	.network_status = kv_network_status,
	.network_connections = kv_network_connections,
	.network_leases = kv_network_leases,
	.interface_addresses = kv_interface_addresses,
	.node_devices = host_node_devices,
	.interfaces = host_interfaces,
	.start = kv_start,
	.destroy = kv_destroy,
	.unblock = kv_unblock,
	.suspend = kv_suspend,
	.resume = kv_resume,
	.shutdown = kv_shutdown,
	.reboot = kv_reboot,
	.reset = kv_reset,
	.save = kv_save,
	.saved_xml = kv_saved_xml,
	.set_saved_xml = kv_set_saved_xml,
	.attach = kv_attach,
	.detach = kv_detach,
	.update = kv_update,
	.set_memory = kv_set_memory,
	.stats = kv_stats,
	.cpu_time = kv_cpu_time,
	.cpu_times = kv_cpu_times,
	.vcpus = kv_vcpus,
	.pin = kv_pin,
	.tune = kv_tune,
	.tuned = kv_tuned,
	.block_stats = kv_block_stats,
	.interface_stats = kv_interface_stats,
	.block_info = kv_block_info,
	.open_console = kv_open_console,
	.open_channel = kv_open_channel,
	.open_graphics = kv_open_graphics,
	.screenshot = kv_screenshot,
	.send_key = kv_send_key,
	.inject_nmi = kv_inject_nmi,
	.monitor = kv_monitor,
	.snapshot_flags = SNAPSHOT_REDEFINE | SNAPSHOT_CURRENT | SNAPSHOT_NO_METADATA | SNAPSHOT_HALT | SNAPSHOT_DISK_ONLY |
			  SNAPSHOT_REUSE_EXT | SNAPSHOT_QUIESCE | SNAPSHOT_ATOMIC | SNAPSHOT_LIVE | SNAPSHOT_VALIDATE,
	.store_snapshots = kv_store_snapshots,
	.snapshot_create = kv_snapshot_create,
	.snapshot_revert = kv_snapshot_revert,
	.snapshot_delete = kv_snapshot_delete,
	.agent = kv_agent,
	.dump = kv_dump,
	.abort_job = kv_abort_job,
	.set_vcpu = kv_set_vcpu,
	.block_job = kv_block_job,
	.block_resize = kv_block_resize,
};
