/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about secrets. */
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "event.h"
#include "objects.h"
#include "rpc/message.h"

#define SECRET "(ayis)"

static char *secret_uuid(GVariant *secret)
{
	g_autoptr(GVariant) both = g_variant_ref_sink(g_variant_new("(s@ay)", "", g_variant_get_child_value(secret, 0)));

	return object_uuid(both);
}

static GVariant *find_secret(struct shell *sh, const struct args *a)
{
	const char *text = arg_text(a, "secret");
	GVariant *uuid = uuid_value(text);
	g_autoptr(GVariant) answer = uuid ? ask(sh, "secret_lookup_by_uuid", "(@ay)", uuid) : NULL;

	if (!uuid)
		g_set_error_literal(&sh->error, KV_VIRT_ERROR, VIR_ERR_INVALID_ARG,
				    "uuidstr in virSecretLookupByUUIDString must be a valid UUID");
	if (!answer)
		shell_error(sh, "failed to get secret '%s'", text);
	return first_of(answer);
}

static bool cmd_secret_list(struct shell *sh, const struct args *a)
{
	static const struct flag flags_table[] = {
		{ "ephemeral", 1 }, { "no-ephemeral", 2 }, { "private", 4 }, { "no-private", 8 }, {}
	};
	static const char *const types[] = { "none", "volume", "ceph", "iscsi", "tls", "vtpm" };
	g_autoptr(GVariant) answer = ask(sh, "connect_list_all_secrets", "(iu)", 1, flags_of(a, flags_table)),
			    list = first_of(answer);
	struct table *t;

	if (!answer)
		return shell_error(sh, "Failed to list secrets");
	t = table_new("UUID", "Usage", NULL);
	for (gsize i = 0; i < g_variant_n_children(list); i++) {
		g_autoptr(GVariant) secret = g_variant_get_child_value(list, i);
		g_autofree char *uuid = secret_uuid(secret), *usage = NULL;
		const char *id;
		gint32 type;

		g_variant_get(secret, "(@ayi&s)", NULL, &type, &id);
		usage = type > 0 && type < (int)G_N_ELEMENTS(types) ? g_strdup_printf("%s %s", types[type], id)
								    : g_strdup("Unused");
		table_add(t, uuid, usage, NULL);
	}
	table_say(sh, t);
	return true;
}

static bool cmd_secret_define(struct shell *sh, const struct args *a)
{
	const char *path = arg_text(a, "file");
	g_autofree char *xml = read_file(sh, path), *uuid = NULL;
	g_autoptr(GVariant) answer = xml ? ask(sh, "secret_define_xml", "(su)", xml, arg_on(a, "validate") ? 1 : 0) : NULL,
			    secret = NULL;

	if (!answer)
		return xml ? shell_error(sh, "Failed to set attributes from %s", path) : false;
	secret = first_of(answer);
	uuid = secret_uuid(secret);
	say_extra(sh, "Secret %s created\n", uuid);
	return true;
}

static bool cmd_secret_dumpxml(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) secret = find_secret(sh, a);

	return say_description(sh, a, "secret_get_xml_desc", secret, 0);
}

static bool cmd_secret_get_value(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) secret = find_secret(sh, a), answer = NULL, value = NULL;
	const guint8 *bytes;
	gsize len;

	answer = secret ? ask(sh, "secret_get_value", "(@" SECRET "u)", secret, 0) : NULL;
	value = first_of(answer);
	if (!value)
		return false;
	bytes = g_variant_get_fixed_array(value, &len, 1);
	if (arg_on(a, "plain")) {
		if (fwrite(bytes, 1, len, stdout) != len)
			return false;
	} else {
		g_autofree char *text = g_base64_encode(bytes, len);

		say(sh, "%s", text);
	}
	return true;
}

static bool cmd_secret_set_value(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) secret = find_secret(sh, a);
	const char *text = arg_text(a, "base64");
	g_autofree char *read = NULL;
	g_autofree guint8 *plain = NULL;
	gsize len = text ? strlen(text) : 0;

	if (args_exclude(sh, a, "file", "base64") || args_exclude(sh, a, "plain", "base64") ||
	    args_exclude(sh, a, "interactive", "base64") || !secret)
		return false;
	if (arg_on(a, "interactive"))
		return shell_error(sh, "secret-set-value --interactive is not supported: give --file");
	if (text)
		shell_error(sh, "Passing secret value as command-line argument is insecure!");
	if (arg_on(a, "file"))
		text = read = read_bytes(sh, arg_text(a, "file"), &len);
	if (!text)
		return arg_on(a, "file") ? false : shell_error(sh, "Input secret value is missing");
	plain = arg_on(a, "plain") ? g_memdup2(text, len) : g_base64_decode(text, &len);
	if (!tell(sh, "secret_set_value", "(@" SECRET "@ayu)", secret,
		  g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, plain, len, 1), 0))
		return shell_error(sh, "Failed to set secret value");
	say_extra(sh, "Secret value set\n");
	return true;
}

static bool cmd_secret_undefine(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) secret = find_secret(sh, a);

	return secret && finish(sh, tell(sh, "secret_undefine", "(@" SECRET ")", secret), "Secret %s deleted",
				"Failed to delete secret %s", arg_text(a, "secret"));
}

static bool cmd_secret_event(struct shell *sh, const struct args *a)
{
	return watch_objects(sh, a, EVENTS_OF_SECRETS);
}

const struct command secret_commands[] = {
	{ "secret-define", cmd_secret_define, "<file> [--validate]", "a secret from an XML file" },
	{ "secret-dumpxml", cmd_secret_dumpxml, "<secret> [--xpath <string>] [--wrap]", "a secret's description as XML" },
	{ "secret-event", cmd_secret_event,
	  "[--secret <string>] [--event <string>] [--loop] [--timeout <number>] [--list] [--timestamp]", "what secrets tell" },
	{ "secret-get-value", cmd_secret_get_value, "<secret> [--plain]", "what a secret is" },
	{ "secret-list", cmd_secret_list, "[--ephemeral] [--no-ephemeral] [--private] [--no-private]", "secrets" },
	{ "secret-set-value", cmd_secret_set_value, "<secret> [--file <string>] [--plain] [--interactive] [--base64 <string>]",
	  "what a secret shall be" },
	{ "secret-undefine", cmd_secret_undefine, "<secret>", "forget a secret" },
	{},
};
