/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of the driver that runs nothing. */
#pragma once
#include "call.h"

#include "hv.h"

/* Its own handlers. */
extern const struct handler test_word_handlers[], test_node_handlers[], test_guest_handlers[], test_storage_handlers[],
	test_host_handlers[];

/* hv->own: interfaces of the host. */
bool test_host_open(struct hv *hv, GError **error);
void test_host_close(struct hv *hv);
GPtrArray *test_node_devices(struct hv *hv);
GPtrArray *test_interfaces(struct hv *hv);

char *test_capabilities(struct hv *hv);
int test_screenshot(struct domain *d, unsigned screen, char **ret_mime, GError **error);
bool test_block_stats(struct domain *d, const char *dev, gint64 ret[5], GError **error);
bool test_interface_stats(struct domain *d, const char *dev, gint64 ret[8], GError **error);
bool test_block_info(struct domain *d, const char *dev, guint64 ret[3], GError **error);
