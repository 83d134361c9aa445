/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What machines there are, and how they are, waiting for each answer.   kv-list [URI]
 *
 *   cc kv-list.c $(pkg-config --cflags --libs kv-1)
 */
#include <kv.h>
#include <stdio.h>

static const char *const states[] = { "no state",      "running",  "blocked", "paused",
				      "shutting down", "shut off", "crashed", "asleep" };

static gboolean print(KvDomain *domain, GError **error)
{
	KvDomainState state;
	guint64 memory, cpu_time;
	guint32 vcpus;

	if (!kv_domain_get_info_sync(domain, &state, NULL, &memory, &vcpus, &cpu_time, NULL, error))
		return FALSE;
	printf("%-24s %-14s %u vCPUs, %" G_GUINT64_FORMAT " MiB, %.1f s\n", kv_object_get_name(KV_OBJECT(domain)),
	       state < G_N_ELEMENTS(states) ? states[state] : "?", vcpus, memory >> 10, cpu_time / 1e9);
	return TRUE;
}

int main(int argc, char **argv)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(KvConnection) conn = kv_connection_open_sync(argc > 1 ? argv[1] : NULL, KV_CONNECTION_READ_ONLY, NULL, &error);
	g_autoptr(GPtrArray) domains = conn ? kv_connection_list_domains_sync(conn, 0, NULL, &error) : NULL;

	for (guint i = 0; domains && i < domains->len; i++) {
		/* Gone since: no matter. */
		if (!print(domains->pdata[i], &error) && !g_error_matches(error, KV_VIRT_ERROR, KV_VIRT_ERROR_NO_DOMAIN))
			break;
		g_clear_error(&error);
	}
	if (error)
		fprintf(stderr, "%s: %s\n", argv[0], error->message);
	return error != NULL;
}
