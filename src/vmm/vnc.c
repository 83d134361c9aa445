/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --vga and --vnc: the graphics device's name and the VNC server, which is loaded when it is asked for. See vmm.h. */
#include <string.h>

#include "display.h"
#include "error.h"
#include "log.h"
#include "module.h"
#include "role.h"
#include "vmm.h"
#include "vnc.h"

enum { PASSWORD_FILE_MAX = 4096, PASSWORD_MAX = 8 };

const char *vmm_vga(const struct vmm *vmm)
{
	g_autoptr(GVariant) keys = options_lookup_value(vmm->options, "vga");
	const char *kind = "std";

	if (keys)
		g_variant_lookup(keys, "kind", "&s", &kind);
	return !strcmp(kind, "std") ? "vga" : !strcmp(kind, "virtio") ? "virtio-vga" : NULL;
}

bool vmm_vga_options(const struct vmm *vmm, GVariant **ret, GError **error)
{
	g_autoptr(GVariant) keys = options_lookup_value(vmm->options, "vga");
	g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(keys);
	GVariantIter iter;
	const char *name;

	g_variant_dict_remove(&dict, "kind");
	g_variant_dict_remove(&dict, "addr");
	*ret = g_variant_ref_sink(g_variant_dict_end(&dict));
	g_variant_iter_init(&iter, *ret);
	if (g_variant_iter_next(&iter, "{&sv}", &name, NULL) && g_strcmp0(vmm_vga(vmm), "virtio-vga")) {
		kv_fail(error, KV_ERROR_USAGE, "--vga: %s is for virtio alone", name);
		g_clear_pointer(ret, g_variant_unref);
	}
	return *ret;
}

/* The first line. */
static char *read_password(const char *path, GError **error)
{
	g_autofree char *text = NULL;
	gsize len;

	if (!g_file_get_contents(path, &text, &len, error))
		return NULL;
	text[strcspn(text, "\r\n")] = 0;
	if (!*text || strlen(text) > PASSWORD_MAX) {
		kv_fail(error, KV_ERROR_USAGE, "--vnc: password-file '%s': a VNC password has 1 to %d bytes", path, PASSWORD_MAX);
		return NULL;
	}
	return g_steal_pointer(&text);
}

static void viewer_thread(void)
{
	kv_role_enter("vnc");
}

/* Which screen. */
static bool find_head(struct vmm_vnc *v, GVariant *keys, unsigned *ret, GError **error)
{
	const struct display *d = v->vmm->display;
	guint64 head = 0;

	g_variant_lookup(keys, "display", "s", &v->device);
	g_variant_lookup(keys, "head", "t", &head);
	if (!display_find(d, NULL, 0, ret))
		return kv_fail(error, KV_ERROR_USAGE, "--vnc: there is no screen; give --machine pc with --vga std or virtio, or "
			       "--device virtio-gpu");
	return display_find(d, v->device, (unsigned)head, ret) ||
	       kv_fail(error, KV_ERROR_USAGE, "--vnc: there is no screen %" G_GUINT64_FORMAT " of '%s'", head,
		       v->device ? v->device : "the first graphics device");
}

static void tell_address(const struct vmm_vnc *v)
{
	struct vnc_peer where;

	v->vmm->vnc_module->get_address(v->server, &where);
	if (!strcmp(where.family, "unix"))
		kv_log_info("VNC on unix:%s", where.server_service);
	else
		kv_log_info("VNC on %s port %s", where.server_host, where.server_service);
}

static bool start(struct vmm_vnc *v, GVariant *keys, GError **error)
{
	const char *file = NULL, *share = "exclusive";
	g_autofree char *password = NULL;
	struct vmm *vmm = v->vmm;
	struct vnc_config config = {
		.display = vmm->display, .input = vmm->input, .thread = viewer_thread, .name = "kvasir"};
	gboolean wants_password = FALSE, verify_peer = FALSE;
	guint64 port = 0;

	if (!find_head(v, keys, &config.head, error))
		return false;
	g_variant_lookup(keys, "listen", "&s", &config.listen);
	g_variant_lookup(keys, "websocket", "t", &port);
	g_variant_lookup(keys, "password", "b", &wants_password);
	options_lookup(vmm->options, "name", "&s", &config.name);
	g_variant_lookup(keys, "share", "&s", &share);
	if (g_variant_lookup(keys, "password-file", "&s", &file)) {
		password = read_password(file, error);
		if (!password)
			return false;
	}
	g_variant_lookup(keys, "tls-creds", "&s", &config.tls_creds);
	g_variant_lookup(keys, "tls-verify-peer", "b", &verify_peer);
	if (verify_peer && !config.tls_creds)
		return kv_fail(error, KV_ERROR_USAGE, "--vnc: tls-verify-peer needs tls-creds");
	config.tls_verify_peer = verify_peer;
	config.password = password ? password : wants_password ? "" : NULL;
	if (vmm->qmp_module)
		vmm->qmp_module->watch_vnc(v, &config);
	config.websocket = (uint16_t)port;
	config.share = strcmp(share, "shared") ? VNC_SHARE_ALLOW_EXCLUSIVE : VNC_SHARE_FORCE_SHARED;
	v->server = vmm->vnc_module->start(&config, error);
	if (v->server)
		tell_address(v);
	return v->server;
}

static void free_vnc(gpointer opaque)
{
	struct vmm_vnc *v = opaque;

	if (v->server)
		v->vmm->vnc_module->stop(v->server);
	g_free(v->id);
	g_free(v->device);
	g_free(v);
}

/* QEMU's names for those that have none. */
static bool add_server(struct vmm *vmm, GVariant *keys, GError **error)
{
	struct vmm_vnc *v = g_new0(struct vmm_vnc, 1);

	v->vmm = vmm;
	if (!g_variant_lookup(keys, "id", "s", &v->id))
		v->id = vmm->vnc->len ? g_strdup_printf("vnc%u", vmm->vnc->len + 1) : g_strdup("default");
	for (unsigned i = 0; i < vmm->vnc->len; i++)
		if (!strcmp(((struct vmm_vnc *)vmm->vnc->pdata[i])->id, v->id)) {
			kv_fail(error, KV_ERROR_USAGE, "--vnc: there are two servers '%s'; give one of them another id", v->id);
			free_vnc(v);
			return false;
		}
	g_ptr_array_add(vmm->vnc, v);
	return true;
}

bool vmm_open_vnc(struct vmm *vmm, GError **error)
{
	g_autoptr(GVariant) list = options_lookup_value(vmm->options, "vnc");
	gsize n = list ? g_variant_n_children(list) : 0;

	if (!n)
		return true;
	vmm->vnc_module = kv_module_symbol(VNC_MODULE, VNC_SYMBOL, error);
	if (!vmm->vnc_module)
		return false;
	vmm->vnc = g_ptr_array_new_with_free_func(free_vnc);
	for (gsize i = 0; i < n; i++) {
		g_autoptr(GVariant) keys = g_variant_get_child_value(list, i);

		if (!add_server(vmm, keys, error))
			return false;
	}
	for (gsize i = 0; i < n; i++) {
		g_autoptr(GVariant) keys = g_variant_get_child_value(list, i);

		if (!start(vmm->vnc->pdata[i], keys, error))
			return false;
	}
	return true;
}

void vmm_close_vnc(struct vmm *vmm)
{
	g_clear_pointer(&vmm->vnc, g_ptr_array_unref);
}
