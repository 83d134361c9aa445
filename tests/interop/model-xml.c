/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads libvirt's XML of one kind and writes it checked and completed: model-xml KIND [test] [live] [validate] <in >out.
 * model-xml tables writes what the tables have, for docs/xml.md.
 */
#include <stdio.h>
#include <string.h>

#include "domain-def.h"
#include "domain-fields.h"
#include "object-fields.h"
#include "objects.h"

static const char *const kinds[] = { "network", "pool", "volume", "secret", "domainsnapshot", "domaincheckpoint", "interface",
				     "device" };

static int one_object(enum object_kind kind, const GString *in, unsigned flags)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(xmlDoc) doc = object_parse(kind, in->str, (gssize)in->len, flags, &error);
	g_autofree char *out = doc ? object_format(kind, doc, FORMAT_SECURE) : g_strdup_printf("error: %s\n", error->message);

	fputs(out, stdout);
	return doc ? 0 : 1;
}

/* ---- the tables as text ---- */

static const char *const type_names[] = {
	[FIELD_NODE] = "",
	[FIELD_TEXT] = "text",
	[FIELD_NAME] = "text, not empty",
	[FIELD_WORD] = "",
	[FIELD_COUNT] = "number",
	[FIELD_INT] = "number with sign",
	[FIELD_HEX] = "hexadecimal",
	[FIELD_KIB] = "memory, @unit",
	[FIELD_BYTES] = "size, @unit",
	[FIELD_UUID] = "UUID",
	[FIELD_MAC] = "MAC",
	[FIELD_PATH] = "path",
	[FIELD_CPUS] = "CPUs",
	[FIELD_BUS] = "number",
};

static void put_words(GString *out, GString *refused, const struct field *r, const char *path)
{
	g_auto(GStrv) words = g_strsplit(r->values, " ", -1);

	for (char **w = words; *w; w++) {
		if (**w == '!')
			g_string_append_printf(refused, " `%s`=%s", path, *w + 1);
		else
			g_string_append_printf(out, " %s", *w);
	}
}

static bool seen(const struct field *rows)
{
	static GHashTable *all;

	if (!all)
		all = g_hash_table_new(NULL, NULL);
	return !g_hash_table_add(all, (void *)rows);
}

static bool is_below(const char *path, const char *top)
{
	return top && g_str_has_prefix(path, top) && path[strlen(top)] == '/';
}

static void put_rows(GString *out, GString *refused, const struct field *rows, const char *above, unsigned depth)
{
	const char *no = NULL; /* what is in it needs no mention */

	for (const struct field *r = rows; r->path; r++) {
		bool again;
		g_autofree char *path = *above ? g_strconcat(above, "/", r->path, NULL) : g_strdup(r->path);

		if (is_below(r->path, no) || g_str_has_suffix(r->path, "/@unit"))
			continue;
		if (r->flags & FIELD_NO) {
			no = r->path;
			g_string_append_printf(refused, " `%s`", path);
			continue;
		}
		if (r->flags & FIELD_LIVE)
			continue;
		g_string_append_printf(out, "- `%s`%s", path, r->flags & FIELD_MUST ? ", required" : "");
		if (*type_names[r->type])
			g_string_append_printf(out, ": %s", type_names[r->type]);
		if (r->type == FIELD_WORD) {
			g_string_append_c(out, ':');
			put_words(out, refused, r, path);
		} else if (r->type == FIELD_COUNT && r->values) {
			g_string_append_printf(out, " (%s)", r->values);
		}
		g_string_append(out, r->flags & FIELD_HINT ? " – kept, without effect" : "");
		again = r->sub && seen(r->sub);
		g_string_append(out, again ? ", as above\n" : "\n");
		if (r->sub && !again)
			put_rows(out, refused, r->sub, path, depth + 1);
	}
}

static int tables(void)
{
	static const struct {
		const char *title;
		const struct field *rows;
	} all[] = { { "domain", domain_fields },   { "network", network_fields },	  { "pool", pool_fields },
		    { "volume", volume_fields }, { "secret", secret_fields },	  { "domainsnapshot", snapshot_fields },
		    { "domaincheckpoint", checkpoint_fields },	  { "interface", host_interface_fields },
		    { "device", node_device_fields } };

	for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
		g_autoptr(GString) out = g_string_new(NULL), refused = g_string_new(NULL);

		put_rows(out, refused, all[i].rows, "", 0);
		printf("\n## <%s>\n\n%s\nRefused by name:%s\n", all[i].title, out->str, refused->len ? refused->str : " nothing");
	}
	return 0;
}

int main(int argc, char **argv)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GString) in = g_string_new(NULL);
	g_autoptr(DomainDef) def = NULL;
	g_autofree char *out = NULL;
	unsigned flags = 0;
	char buffer[4096];
	size_t n;

	if (argc > 1 && !strcmp(argv[1], "tables"))
		return tables();
	for (int i = 2; i < argc; i++) {
		flags |= !strcmp(argv[i], "test") ? DEF_TEST : 0;
		flags |= !strcmp(argv[i], "live") ? DEF_LIVE : 0;
		flags |= !strcmp(argv[i], "validate") ? DEF_VALIDATE : 0;
	}
	while ((n = fread(buffer, 1, sizeof(buffer), stdin)) > 0)
		g_string_append_len(in, buffer, (gssize)n);
	for (unsigned i = 0; argc > 1 && i < G_N_ELEMENTS(kinds); i++)
		if (!strcmp(argv[1], kinds[i]))
			return one_object(i, in, flags);
	def = domain_def_parse(in->str, (gssize)in->len, flags, &error);
	if (!def) {
		printf("error: %s\n", error->message);
		return 1;
	}
	if (flags & DEF_LIVE)
		domain_def_set_live(def, 1);
	out = domain_def_format(def, FORMAT_SECURE);
	fputs(out, stdout);
	return 0;
}
