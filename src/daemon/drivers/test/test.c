/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver that runs nothing: libvirt's test:///default, for tests of clients. All of it is in memory (hv.h), and begins
 * anew when nobody has it open. What it has at first, and what it says of its host, is what libvirt's says.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "domain-def.h"
#include "domain.h"
#include "error.h"
#include "hv.h"
#include "model-xml.h"
#include "registry.h"
#include "snapshots.h"
#include "pools.h"
#include "test.h"

static const char default_domain[] =
	"<domain type='test'>"
	"  <name>test</name>"
	"  <uuid>6695eb01-f6a4-8304-79aa-97f2502e193f</uuid>"
	"  <memory>8388608</memory>"
	"  <currentMemory>2097152</currentMemory>"
	"  <vcpu>2</vcpu>"
	"  <os><type>hvm</type></os>"
	"  <devices>"
	"    <disk type='file'><source file='/guest/diskimage1'/><target dev='vda' bus='virtio'/>"
	"      <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></disk>"
	"    <interface type='network'><mac address='aa:bb:cc:dd:ee:ff'/><source network='default'/><target "
	"dev='testnet0'/>"
	"      <address type='pci' domain='0x0000' bus='0x00' slot='0x01' function='0x0'/></interface>"
	"    <memballoon model='virtio'><address type='pci' domain='0x0000' bus='0x00' slot='0x02' "
	"function='0x0'/></memballoon>"
	"  </devices>"
	"</domain>";

static const char default_network[] = "<network>"
				      "  <name>default</name>"
				      "  <uuid>dd8fe884-6c02-601e-7551-cca97df1c5df</uuid>"
				      "  <bridge name='virbr0'/>"
				      "  <forward mode='nat'/>"
				      "  <ip address='192.168.122.1' netmask='255.255.255.0'>"
				      "    <dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp>"
				      "  </ip>"
				      "</network>";

static const char default_pool[] = "<pool type='dir'>"
				   "  <name>default-pool</name>"
				   "  <uuid>dfe224cb-28fb-8dd0-c4b2-64eb3f0f4566</uuid>"
				   "  <target><path>/default-pool</path></target>"
				   "</pool>";

/* What a saved state of it begins with; then the length of the definition, in four bytes, and the definition. */
static const char magic[16] = "TestGuestMagic\n";

static bool add_default(struct hv *hv, GError **error)
{
	g_autoptr(DomainDef) def = domain_def_parse(default_domain, -1, DEF_TEST, error);
	g_autoptr(Domain) d = def ? domain_define(hv, def, false, error) : NULL;

	if (!d)
		return false;
	def = NULL;
	d->id = ++hv->last_id;
	d->live = domain_def_copy(d->def);
	domain_def_set_live(d->live, d->id);
	domain_set_state(d, DOMAIN_RUNNING, RUNNING_UNKNOWN, -1, 0);
	return true;
}

/* Of a kind that the registry has: defined and active. */
static struct entry *add_object(struct registry *r, const char *xml, GError **error)
{
	g_autoptr(xmlDoc) doc = object_parse(r->kind, xml, -1, DEF_TEST, error);
	struct entry *e = doc ? registry_define(r, doc, false, error) : NULL;

	if (!e)
		return NULL;
	doc = NULL;
	e->active = true;
	return e;
}

static bool test_open(struct hv *hv, const char *uri, GError **error)
{
	if (strcmp(uri, "test:///default") == 0)
		return test_host_open(hv, error) && add_default(hv, error) && add_object(hv->networks, default_network, error) &&
		       add_object(hv->pools, default_pool, error);
	return rpc_fail(error, VIR_ERR_INVALID_ARG, "testConnectOpen: supply a path or use test:///default");
}

static unsigned long test_version(struct hv *hv)
{
	return 2;
}

/* ---- life ---- */

static bool test_start(struct domain *d, unsigned flags, const char *restore_from, GError **error)
{
	bool paused = flags & START_PAUSED;

	if (!d->live)
		d->live = domain_def_copy(d->def);
	d->id = ++d->hv->last_id;
	domain_def_set_live(d->live, d->id);
	domain_set_state(d, DOMAIN_RUNNING, restore_from ? RUNNING_RESTORED : RUNNING_BOOTED, LIFE_STARTED,
			 restore_from ? STARTED_RESTORED : STARTED_BOOTED);
	if (paused)
		domain_set_state(d, DOMAIN_PAUSED, PAUSED_USER, LIFE_SUSPENDED, SUSPENDED_PAUSED);
	return true;
}

static bool test_destroy(struct domain *d, bool graceful, GError **error)
{
	domain_stopped(d, SHUTOFF_DESTROYED, STOPPED_DESTROYED);
	return true;
}

static bool test_suspend(struct domain *d, GError **error)
{
	domain_set_state(d, DOMAIN_PAUSED, PAUSED_USER, LIFE_SUSPENDED, SUSPENDED_PAUSED);
	return true;
}

static bool test_resume(struct domain *d, GError **error)
{
	domain_set_state(d, DOMAIN_RUNNING, RUNNING_UNPAUSED, LIFE_RESUMED, RESUMED_UNPAUSED);
	return true;
}

static bool test_shutdown(struct domain *d, unsigned modes, GError **error)
{
	domain_stopped(d, SHUTOFF_SHUTDOWN, STOPPED_SHUTDOWN);
	return true;
}

static bool test_reboot(struct domain *d, unsigned modes, GError **error)
{
	d->state = DOMAIN_RUNNING;
	d->reason = RUNNING_BOOTED;
	return true;
}

static bool test_reset(struct domain *d, GError **error)
{
	return true;
}

static bool test_set_memory(struct domain *d, guint64 kib, GError **error)
{
	g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, kib);

	domain_def_set_text(d->live, "currentMemory", text);
	return true;
}

static bool test_set_vcpus(struct domain *d, unsigned n, GError **error)
{
	return true;
}

/* ---- saved states ---- */

static bool test_save(struct domain *d, const char *path, const char *xml, unsigned flags, GError **error)
{
	g_autofree char *own = domain_def_format(d->live, FORMAT_SECURE | FORMAT_INACTIVE);
	g_autoptr(GString) out = g_string_new_len(magic, sizeof(magic));
	gint32 len = strlen(xml ? xml : own);
	int fd;

	g_string_append_len(out, (const char *)&len, sizeof(len));
	g_string_append_len(out, xml ? xml : own, len);
	if (path) {
		fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
		if (fd < 0 || write(fd, out->str, out->len) != (ssize_t)out->len) {
			rpc_fail(error, VIR_ERR_SYSTEM_ERROR, "saving domain '%s' to '%s': %s failed: %s", d->name, path,
				 fd < 0 ? "open" : "write", g_strerror(errno));
			if (fd >= 0)
				close(fd);
			return false;
		}
		close(fd);
	}
	domain_stopped(d, SHUTOFF_SAVED, STOPPED_SAVED);
	return true;
}

static char *test_saved_xml(struct hv *hv, const char *path, GError **error)
{
	g_autofree char *data = NULL;
	gint32 len;
	gsize size;

	if (!g_file_get_contents(path, &data, &size, NULL)) {
		rpc_fail(error, VIR_ERR_SYSTEM_ERROR, "cannot read domain image '%s'", path);
		return NULL;
	}
	if (size < sizeof(magic) + sizeof(len) || memcmp(data, magic, sizeof(magic)) != 0) {
		rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "mismatched header magic");
		return NULL;
	}
	memcpy(&len, data + sizeof(magic), sizeof(len));
	if (len < 1 || (gsize)len > size - sizeof(magic) - sizeof(len)) {
		rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "length of metadata out of range");
		return NULL;
	}
	return g_strndup(data + sizeof(magic) + sizeof(len), len);
}

static bool test_dump(struct domain *d, const char *path, unsigned format, unsigned flags, GError **error)
{
	enum { DUMP_CRASH = 1 };
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

	if (format) {
		rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "kdump-compressed format is not supported here");
	} else if (fd < 0 || write(fd, magic, sizeof(magic)) != sizeof(magic)) {
		rpc_fail(error, VIR_ERR_SYSTEM_ERROR, "domain '%s' coredump: failed to open %s: %s", d->name, path,
			 g_strerror(errno));
	} else if (flags & DUMP_CRASH) {
		domain_stopped(d, SHUTOFF_CRASHED, STOPPED_CRASHED);
	}
	if (fd >= 0)
		close(fd);
	return !*error;
}

/* ---- snapshots ---- */

static bool test_snapshot_create(struct domain *d, xmlDoc *snapshot, unsigned flags, GError **error)
{
	if (flags & SNAPSHOT_HALT && domain_is_active(d))
		domain_stopped(d, SHUTOFF_FROM_SNAPSHOT, STOPPED_FROM_SNAPSHOT);
	return true;
}

static bool test_snapshot_revert(struct domain *d, xmlDoc *snapshot, unsigned flags, GError **error)
{
	enum { REVERT_RUNNING = 1, REVERT_PAUSED = 2 };
	xmlNode *root = xmlDocGetRootElement(snapshot);
	g_autoptr(DomainDef) def = snapshot_def(d->hv, snapshot, error);
	bool runs = xml_is(root, "state", "running"), paused = xml_is(root, "state", "paused");

	if (!def)
		return false;
	if (flags & (REVERT_RUNNING | REVERT_PAUSED)) {
		paused = flags & REVERT_PAUSED;
		runs = !paused;
	}
	if (!runs && !paused) {
		if (domain_is_active(d))
			domain_stopped(d, SHUTOFF_FROM_SNAPSHOT, STOPPED_FROM_SNAPSHOT);
		domain_def_free(d->def);
		d->def = g_steal_pointer(&def);
		return true;
	}
	if (!domain_is_active(d))
		d->id = ++d->hv->last_id;
	domain_def_free(d->live);
	d->live = g_steal_pointer(&def);
	domain_def_set_live(d->live, d->id);
	domain_set_state(d, DOMAIN_RUNNING, RUNNING_FROM_SNAPSHOT, LIFE_STARTED, STARTED_FROM_SNAPSHOT);
	if (paused)
		domain_set_state(d, DOMAIN_PAUSED, PAUSED_FROM_SNAPSHOT, LIFE_SUSPENDED, SUSPENDED_FROM_SNAPSHOT);
	return true;
}

static guint64 test_cpu_time(struct domain *d)
{
	return (guint64)g_get_real_time() * 1000;
}

extern const struct hv_driver test_driver;
const struct hv_driver test_driver = {
	.name = "test",
	.prefix = "test",
	.type = "TEST",
	.def_flags = DEF_TEST,
	.schemes = (const char *const[]){ "test", NULL },
	.handlers = (const struct handler *const[]){ test_word_handlers, test_node_handlers, test_guest_handlers,
						     test_storage_handlers, test_host_handlers, NULL },
	.max_vcpus = 32,
	.test_rules = true,
	.storage = &pools_memory,
	.capabilities = test_capabilities,
	.screenshot = test_screenshot,
	.block_stats = test_block_stats,
	.interface_stats = test_interface_stats,
	.block_info = test_block_info,
	.open = test_open,
	.close = test_host_close,
	.node_devices = test_node_devices,
	.interfaces = test_interfaces,
	.version = test_version,
	.start = test_start,
	.destroy = test_destroy,
	.suspend = test_suspend,
	.resume = test_resume,
	.shutdown = test_shutdown,
	.reboot = test_reboot,
	.reset = test_reset,
	.set_memory = test_set_memory,
	.set_vcpus = test_set_vcpus,
	.save = test_save,
	.saved_xml = test_saved_xml,
	.dump = test_dump,
	.snapshot_flags = SNAPSHOT_REDEFINE | SNAPSHOT_CURRENT | SNAPSHOT_HALT,
	.snapshot_create = test_snapshot_create,
	.snapshot_revert = test_snapshot_revert,
	.cpu_time = test_cpu_time,
};
