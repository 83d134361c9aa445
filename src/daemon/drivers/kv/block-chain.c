/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images that stand on each other, as the machine has them open, and in the running definition. See block-job.h. */
#include <string.h>

#include "block-job.h"
#include "snapshot.h"

enum { DEPTH_MAX = 200 };

static JsonObject *inserted(JsonNode *answer, const char *id)
{
	JsonArray *list = kv_array(answer);

	for (guint i = 0; list && i < json_array_get_length(list); i++) {
		JsonObject *o = kv_object(json_array_get_element(list, i));

		if (!g_strcmp0(kv_text_in(o, "device"), id))
			return kv_object_in(o, "inserted");
	}
	return NULL;
}

void block_chain_clear(struct block_chain *c)
{
	g_clear_pointer(&c->answer, json_node_unref);
}

bool block_chain_read(struct kv_machine *m, const xmlNode *disk, struct block_chain *ret, GError **error)
{
	g_autofree char *id = g_strdup(command_id(disk)), *target = g_strdup(xml_text(disk, "target/@dev"));

	ret->answer = kv_ask(m, "query-block", NULL, error);
	ret->image = kv_object_in(inserted(ret->answer, id), "image");
	if (!ret->answer)
		return false;
	if (ret->image && kv_text_in(ret->image, "filename") && kv_text_in(ret->image, "format"))
		return true;
	block_chain_clear(ret);
	return rpc_fail(error, VIR_ERR_INVALID_ARG, "disk '%s' does not currently have a source assigned", target);
}

JsonObject *block_chain_below(JsonObject *image)
{
	JsonObject *below = kv_object_in(image, "backing-image");

	return below && kv_text_in(below, "filename") && kv_text_in(below, "format") ? below : NULL;
}

/* "vda[2]", "[2]": 2; 0: it is none of these. */
static guint64 index_in(const xmlNode *disk, const char *text)
{
	const char *target = xml_text(disk, "target/@dev") ?: "", *at = text + strcspn(text, "[");
	gsize n = (gsize)(at - text);
	char *end;
	guint64 i;

	if (*at != '[' || (n && (n != strlen(target) || strncmp(text, target, n))))
		return 0;
	i = g_ascii_strtoull(at + 1, &end, 10);
	return end != at + 1 && !strcmp(end, "]") ? i : 0;
}

JsonObject *block_chain_find(const struct block_chain *c, const xmlNode *disk, JsonObject *from, bool beneath, const char *text,
			     GError **error)
{
	const char *target = xml_text(disk, "target/@dev") ?: "";
	guint64 wanted = index_in(disk, text), n = 1;
	bool found = false;

	for (JsonObject *o = c->image; o && n < DEPTH_MAX; o = block_chain_below(o), n++) {
		bool is_it = wanted ? n == wanted : kv_is_same_file(text, kv_text_in(o, "filename"));

		if (found && is_it)
			return o;
		if (o == from) {
			found = true;
			if (!beneath && is_it)
				return o;
		}
	}
	if (beneath && from != c->image)
		rpc_fail(error, VIR_ERR_INVALID_ARG, "could not find image '%s' beneath '%s' in chain for '%s'", text,
			 kv_text_in(from, "filename"), target);
	else
		rpc_fail(error, VIR_ERR_INVALID_ARG, "could not find image '%s' in chain for '%s'", text, target);
	return NULL;
}

char *block_chain_relative(JsonObject *overlay, JsonObject *base, GError **error)
{
	g_autofree char *path = NULL;

	for (JsonObject *o = overlay; o && o != base; o = block_chain_below(o)) {
		const char *name = kv_text_in(o, "backing-filename");
		g_autofree char *folder = path ? g_path_get_dirname(path) : NULL, *longer = NULL;

		if (!name || g_path_is_absolute(name) || strchr(name, ':')) {
			rpc_fail(error, VIR_ERR_OPERATION_INVALID, "can't keep relative backing relationship");
			return NULL;
		}
		longer = !folder || !strcmp(folder, ".") ? g_strdup(name) : g_build_filename(folder, name, NULL);
		g_free(path);
		path = g_steal_pointer(&longer);
	}
	return g_steal_pointer(&path);
}

/* ---- the running definition ---- */

/* An element for each image that another one stands on; the last one's is empty. */
static void tell_chain(xmlNode *disk, JsonObject *image)
{
	xmlNode *source = xml_child(disk, "source"), *at = disk;

	xml_set(disk, "backingStore", NULL);
	for (unsigned depth = 0; source && depth < DEPTH_MAX; depth++) {
		xmlNode *store = xmlNewDocNode(disk->doc, NULL, BAD_CAST "backingStore", NULL);
		JsonObject *below = block_chain_below(image);

		if (at == disk)
			xmlAddNextSibling(source, store);
		else
			xmlAddChild(at, store);
		if (!below)
			return;
		xml_set(store, "@type", "file");
		xml_set(store, "format/@type", kv_text_in(below, "format"));
		kv_disk_set_source(store, kv_text_in(below, "filename"));
		at = store;
		image = below;
	}
}

bool kv_learn_chains(struct kv_machine *m, GError **error)
{
	g_autoptr(JsonNode) answer = kv_ask(m, "query-block", NULL, error);
	xmlNode *disk;

	for (unsigned n = 0; answer && m->d->live && (disk = domain_def_device(m->d->live, "disk", n)); n++) {
		JsonObject *image = kv_object_in(inserted(answer, command_id(disk)), "image");
		const char *file = kv_text_in(image, "filename"), *format = kv_text_in(image, "format");
		const char *now = kv_disk_file(disk);

		if (!file || !format || !now || xml_is(disk, "@device", "cdrom"))
			continue;
		if (!kv_is_same_file(now, file))
			kv_disk_set_file(disk, file, format);
		tell_chain(disk, image);
	}
	return answer;
}
