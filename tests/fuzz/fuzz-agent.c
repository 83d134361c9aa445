/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: what a guest's agent says, from its bytes to the answers of libvirt's calls. Whatever it is, an answer is of its
 * type or an error, never both or neither.
 */
#include <stdlib.h>
#include <string.h>

#include "agent-reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char xml[] =
	"<domain type='qemu'><name>x</name><memory>65536</memory><os><type arch='x86_64' machine='q35'>hvm</type></os><devices>"
	"<disk type='file'><source file='/a'/><target dev='vda' bus='virtio'/></disk>"
	"<disk type='file'><source file='/b'/><target dev='sda' bus='sata'/></disk></devices></domain>";

static void check(GVariant *value, const char *type, GError **error)
{
	if (!value == !*error || (value && !g_variant_is_of_type(value, G_VARIANT_TYPE(type))))
		abort();
	if (value)
		g_variant_unref(g_variant_ref_sink(value));
	g_clear_error(error);
}

static void read_answers(JsonNode *node, const struct domain_def *def)
{
	g_autoptr(GError) error = NULL;
	int all;

	check(agent_filesystems(node, def, &error), "a(sssas)", &error);
	check(agent_interfaces(node, &error), "a(smsa(isu))", &error);
	check(agent_keys(node, &error), "as", &error);
	check(agent_vcpus(node, &error), "a(sv)", &error);
	if (agent_count_vcpus(node, &all) > all)
		abort();
	g_free(agent_text(node, "host-name"));
}

static void read_infos(JsonNode *node, const struct domain_def *def)
{
	static bool (*const funcs[])(struct agent_params * p, JsonNode * value) = {
		agent_info_users,	agent_info_os,	  agent_info_timezone,	 agent_info_hostname,
		agent_info_filesystems, agent_info_disks, agent_info_interfaces,
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(funcs); i++) {
		GVariantBuilder out;
		struct agent_params p = {.out = &out, .def = def};

		g_variant_builder_init(&out, G_VARIANT_TYPE("a(sv)"));
		funcs[i](&p, node);
		g_variant_unref(g_variant_ref_sink(g_variant_builder_end(&out)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct domain_def *def;
	struct agent_reader *r = agent_reader_new();
	g_autofree char *text = g_strndup(size ? (const char *)data : "", size);
	g_autoptr(GError) error = NULL;
	g_autoptr(JsonNode) command = agent_parse(text, &error);
	JsonNode *message;

	if (!command == !error)
		abort();
	if (!def)
		def = domain_def_parse(xml, -1, 0, NULL);
	for (size_t at = 0; at < size; at += 7) /* in pieces, as they come */
		agent_reader_feed(r, data + at, MIN(7, size - at));
	while ((message = agent_reader_next(r))) {
		JsonObject *o = json_node_get_object(message);
		JsonNode *value = json_object_has_member(o, "return") ? json_object_get_member(o, "return") : message;

		read_answers(value, def);
		read_infos(value, def);
		json_node_unref(message);
	}
	agent_reader_free(r);
	return 0;
}
