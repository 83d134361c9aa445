/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about what a domain is called and described as: names, XML, title, metadata, edit. */
#include <string.h>

#include "args.h"
#include "domain.h"
#include "objects.h"
#include "rpc/message.h"

enum { METADATA_DESCRIPTION, METADATA_TITLE, METADATA_ELEMENT };
enum { XML_SECURE = 1, XML_INACTIVE = 2, XML_UPDATE_CPU = 4, XML_MIGRATABLE = 8 };

bool cmd_domid(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");

	if (!dom)
		return false;
	if (domain_id(dom) == -1)
		say(sh, "-\n");
	else
		say(sh, "%d\n", domain_id(dom));
	return true;
}

bool cmd_domname(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_unnamed_domain(sh, a, "domain");

	return say_object_name(sh, dom);
}

bool cmd_domuuid(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");

	return say_object_uuid(sh, dom);
}

bool cmd_dumpxml(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	unsigned flags = (arg_on(a, "security-info") ? XML_SECURE : 0) | (arg_on(a, "inactive") ? XML_INACTIVE : 0) |
			 (arg_on(a, "update-cpu") ? XML_UPDATE_CPU : 0) | (arg_on(a, "migratable") ? XML_MIGRATABLE : 0);

	return say_description(sh, a, "domain_get_xml_desc", dom, flags);
}

bool cmd_domxml_from_native(struct shell *sh, const struct args *a)
{
	g_autofree char *config = read_file(sh, arg_text(a, "config")), *xml = NULL;

	if (config)
		xml = ask_text(sh, "connect_domain_xml_from_native", "(ssu)", arg_text(a, "format"), config, 0);
	if (xml)
		say(sh, "%s", xml);
	return xml;
}

bool cmd_domxml_to_native(struct shell *sh, const struct args *a)
{
	g_autofree char *xml = NULL, *config = NULL;

	if (args_exclude(sh, a, "domain", "xml"))
		return false;
	if (arg_on(a, "domain")) {
		g_autoptr(GVariant) dom = find_domain(sh, a, "domain");

		if (!dom)
			return false;
		xml = ask_text(sh, "domain_get_xml_desc", "(@" DOMAIN "u)", dom, XML_SECURE);
		if (!xml)
			return shell_error(sh, "failed to retrieve XML");
	} else if (arg_on(a, "xml")) {
		xml = read_file(sh, arg_text(a, "xml"));
	} else {
		return shell_error(sh, "need either domain or domain XML");
	}
	if (xml)
		config = ask_text(sh, "connect_domain_xml_to_native", "(ssu)", arg_text(a, "format"), xml, 0);
	if (config)
		say(sh, "%s", config);
	return config;
}

/* ---- title and description ---- */

/* "" when there is none; NULL with the error. */
static char *metadata_text(struct shell *sh, GVariant *dom, int type, const char *uri, int flags)
{
	char *text = ask_text(sh, "domain_get_metadata", "(@" DOMAIN "imsu)", dom, type, uri, flags);

	if (text || type == METADATA_ELEMENT)
		return text;
	if (error_code(sh) == VIR_ERR_NO_DOMAIN_METADATA) {
		forget_error(sh);
		return g_strdup("");
	}
	if (error_code(sh) == VIR_ERR_NO_SUPPORT) {
		g_autoptr(node) xml = domain_xml(sh, dom, flags == AFFECT_CONFIG ? XML_INACTIVE : 0);

		text = xml ? node_text(node_get(xml, type == METADATA_TITLE ? "title" : "description")) : NULL;
		return xml && !text ? g_strdup("") : text;
	}
	return NULL;
}

bool cmd_desc(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	int flags = affect_of(sh, a), type = arg_on(a, "title") ? METADATA_TITLE : METADATA_DESCRIPTION;
	const char *what = type == METADATA_TITLE ? "title" : "description";
	char *const *words = arg_list(a, "new-desc");
	g_autofree char *old = NULL, *new = NULL;
	bool same;

	if (!dom || flags < 0)
		return false;
	new = words ? g_strjoinv(" ", (char **)words) : NULL;
	if (!new || arg_on(a, "edit")) {
		old = metadata_text(sh, dom, type, NULL, flags);
		if (!old)
			return false;
	}
	if (!new && !arg_on(a, "edit")) {
		if (*old)
			say(sh, "%s", old);
		else
			say_extra(sh, "No %s for domain: %s", what, domain_name(dom));
		return true;
	}
	if (arg_on(a, "edit")) {
		char *edited = edit_text(sh, new ? new : old, &same);

		if (!edited && !same)
			return false;
		if (edited || !new) {
			g_free(new);
			new = edited ? g_strchomp(edited) : g_strdup(old);
		}
		if (strcmp(new, old) == 0) {
			say_extra(sh, "Domain %s not changed\n", what);
			return true;
		}
	}
	if (!tell(sh, "domain_set_metadata", "(@" DOMAIN "imsmsmsu)", dom, type, new, NULL, NULL, flags))
		return shell_error(sh, "Failed to set new domain %s", what);
	say_extra(sh, "Domain %s updated successfully", what);
	return true;
}

bool cmd_metadata(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	int flags = affect_of(sh, a);
	const char *uri = arg_text(a, "uri"), *key = arg_text(a, "key");
	g_autofree char *old = NULL, *new = g_strdup(arg_text(a, "set"));
	bool same;

	if (!dom || flags < 0)
		return false;
	if (args_exclude(sh, a, "edit", "set") || args_exclude(sh, a, "remove", "set") || args_exclude(sh, a, "remove", "edit"))
		return false;
	if (arg_on(a, "remove"))
		return finish(
			sh,
			tell(sh, "domain_set_metadata", "(@" DOMAIN "imsmsmsu)", dom, METADATA_ELEMENT, NULL, NULL, uri, flags),
			"Metadata removed", NULL, "");
	if ((new || arg_on(a, "edit")) && !key)
		return shell_error(sh, "namespace key is required when modifying metadata");
	if (!new) {
		old = metadata_text(sh, dom, METADATA_ELEMENT, uri, flags);
		if (!old && arg_on(a, "edit"))
			forget_error(sh);
		else if (!old)
			return false;
	}
	if (!new && !arg_on(a, "edit")) {
		say(sh, "%s\n", old);
		return true;
	}
	if (arg_on(a, "edit")) {
		new = edit_text(sh, old ? old : "\n", &same);
		if (!new &&same)
			say_extra(sh, "Metadata not changed");
		if (!new)
			return same;
	}
	return finish(sh, tell(sh, "domain_set_metadata", "(@" DOMAIN "imsmsmsu)", dom, METADATA_ELEMENT, new, key, uri, flags),
		      "Metadata modified", NULL, "");
}

static char *stored_description(struct shell *sh, const struct edit *e)
{
	return ask_text(sh, "domain_get_xml_desc", "(@" DOMAIN "u)", e->object, XML_INACTIVE | XML_SECURE);
}

static GVariant *define_again(struct shell *sh, const struct edit *e, const char *xml, bool relaxed)
{
	enum { VALIDATE = 1 };
	GVariant *answer = ask(sh, "domain_define_xml_flags", "(su)", xml, relaxed ? 0 : VALIDATE);

	/* Servers before 1.2.12 check nothing. */
	if (!answer && error_code(sh) == VIR_ERR_NO_SUPPORT)
		answer = ask(sh, "domain_define_xml", "(s)", xml);
	return answer;
}

static GVariant *define_unchecked(struct shell *sh, const struct edit *e, const char *xml, bool relaxed)
{
	return define_again(sh, e, xml, true);
}

bool cmd_edit(struct shell *sh, const struct args *a)
{
	bool skip = arg_on(a, "skip-validate");
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	struct edit edit = { stored_description,
			     skip ? define_unchecked : define_again,
			     dom,
			     !skip,
			     "Domain '%s' XML configuration not changed.",
			     "Domain '%s' XML configuration edited." };

	return dom && edit_object(sh, &edit, domain_name(dom));
}
