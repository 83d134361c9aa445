/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a guest's agent says, read: bytes to messages, and the values of its commands (QEMU's qga/qapi-schema.json) as libvirt's
 * calls have them. All of it is hostile: bounded in size and nesting, of any shape, and texts are made valid. Pure; any thread.
 */
#pragma once
#include <gio/gio.h>
#include <json-glib/json-glib.h>

#include "domain-def.h"

enum { AGENT_REPLY_MAX = 10 << 20, AGENT_PARAMS_MAX = 2048, AGENT_FILESYSTEMS_MAX = 256, AGENT_KEYS_MAX = 2048 };

struct agent_reader;

struct agent_reader *agent_reader_new(void);
void agent_reader_free(struct agent_reader *r);
/* A byte of 0xff ends what came before it; what is no JSON is left out. */
void agent_reader_feed(struct agent_reader *r, const guint8 *data, gsize len);
/* The next object that has come, to be freed; NULL: none yet. */
JsonNode *agent_reader_next(struct agent_reader *r);
/* A command of a client: one value and nothing behind it. */
JsonNode *agent_parse(const char *text, GError **error);

/* The answers below are floating, or NULL and VIR_ERR_INTERNAL_ERROR. */
GVariant *agent_filesystems(JsonNode *value, const struct domain_def *def, GError **error); /* a(sssas) */
GVariant *agent_interfaces(JsonNode *value, GError **error);				    /* a(smsa(isu)) */
GVariant *agent_keys(JsonNode *value, GError **error);					    /* as */
GVariant *agent_vcpus(JsonNode *value, GError **error);					    /* a(sv) */
/* How many processors are online; ret_all: how many there are. -1: it makes no sense. */
int agent_count_vcpus(JsonNode *value, int *ret_all);
/* A text of an object's member, to be freed; NULL: none. */
char *agent_text(JsonNode *value, const char *member);

/* guestinfo: appends the parameters of each kind to a(sv). False: the value makes no sense. */
struct agent_params {
	GVariantBuilder *out;
	unsigned n;
	const struct domain_def *def;
};
bool agent_info_users(struct agent_params *p, JsonNode *value);
bool agent_info_os(struct agent_params *p, JsonNode *value);
bool agent_info_timezone(struct agent_params *p, JsonNode *value);
bool agent_info_hostname(struct agent_params *p, JsonNode *value);
bool agent_info_filesystems(struct agent_params *p, JsonNode *value);
bool agent_info_disks(struct agent_params *p, JsonNode *value);
bool agent_info_interfaces(struct agent_params *p, JsonNode *value);
