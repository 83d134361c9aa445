/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See hv.h: which driver a URI is for, and what of it is open. Called by connect.c and main.c. */
#include "hv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "autostart.h"
#include "client.h"
#include "domain.h"
#include "pools.h"
#include "registry.h"
#include "secrets.h"

static GHashTable *open_hvs; /* uri -> struct hv; no references */
static bool daemon_session;
static char *default_uri;
static struct hv *kept;

void hv_set_default(bool session, const char *uri)
{
	daemon_session = session;
	default_uri = g_strdup(uri);
}

bool hv_is_session(void)
{
	return daemon_session;
}

struct hv *hv_ref(struct hv *hv)
{
	hv->refs++;
	return hv;
}

void hv_unref(struct hv *hv)
{
	if (--hv->refs)
		return;
	g_hash_table_remove(open_hvs, hv->uri);
	if (hv->driver->close)
		hv->driver->close(hv);
	registry_free(hv->networks);
	registry_free(hv->pools);
	pools_close(hv);
	secrets_close(hv);
	g_hash_table_unref(hv->names);
	g_hash_table_unref(hv->domains);
	g_free(hv->config_dir);
	g_free(hv->state_dir);
	g_free(hv->lib_dir);
	g_free(hv->uri);
	g_free(hv);
}

static const struct hv_driver *driver_of(const char *uri)
{
	g_autofree char *scheme = g_uri_parse_scheme(uri);

	for (unsigned i = 0; scheme && hv_drivers[i]; i++)
		if (g_strv_contains(hv_drivers[i]->schemes, scheme))
			return hv_drivers[i];
	return NULL;
}

struct hv *hv_open(const char *uri, GError **error)
{
	const struct hv_driver *driver;
	struct hv *hv;

	if (!uri || !*uri)
		uri = default_uri;
	if (!open_hvs)
		open_hvs = g_hash_table_new(g_str_hash, g_str_equal);
	hv = g_hash_table_lookup(open_hvs, uri);
	if (hv)
		return hv_ref(hv);
	driver = driver_of(uri);
	if (!driver) {
		rpc_fail(error, VIR_ERR_NO_CONNECT, "%s", uri);
		return NULL;
	}
	hv = g_new0(struct hv, 1);
	hv->refs = 1;
	hv->driver = driver;
	hv->uri = g_strdup(uri);
	hv->session = daemon_session;
	hv->domains = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)domain_unref);
	hv->networks = registry_new(hv, OBJECT_NETWORK);
	hv->pools = registry_new(hv, OBJECT_POOL);
	hv->names = g_hash_table_new(g_str_hash, g_str_equal);
	g_hash_table_insert(open_hvs, hv->uri, hv);
	if (driver->open(hv, uri, error))
		return hv;
	hv_unref(hv);
	return NULL;
}

bool hv_keep_default(GError **error)
{
	kept = hv_open(NULL, error);
	if (!kept)
		return false;
	autostart_networks(kept);
	autostart_pools(kept);
	autostart_domains(kept);
	return true;
}

/* Its folder is empty after a boot. */
bool hv_first_since_boot(const struct hv *hv, const char *name)
{
	g_autofree char *path = g_build_filename(hv->state_dir, name, NULL);
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno != EEXIST;
	close(fd);
	return true;
}

bool hv_has_active(void)
{
	GHashTableIter iter;
	gpointer value;

	if (!kept)
		return false;
	g_hash_table_iter_init(&iter, kept->domains);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (domain_is_active(value))
			return true;
	return false;
}

void hv_drop_default(void)
{
	if (kept && kept->driver->leave)
		kept->driver->leave(kept);
	g_clear_pointer(&kept, hv_unref);
}
