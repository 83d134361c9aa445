/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See config.h. */
#include "config.h"

#include <string.h>

#include "conf.h"
#include "error.h"
#include "folders.h"

struct config config = {
	.max_clients = 5000,
	.max_queued_clients = 1000,
	.max_anonymous_clients = 20,
	.max_workers = 20,
	.prio_workers = 5,
	.max_client_requests = 5,
	.keepalive_interval = 5,
	.keepalive_count = 5,
};

#define AT(field) G_STRUCT_OFFSET(struct config, field)
#define NUMBER(field, low, high)                                                                                                 \
	{                                                                                                                        \
#field, CONF_NUMBER, AT(field), low, high, NULL                                                                  \
	}
#define TEXT(field)                                                                                                              \
	{                                                                                                                        \
#field, CONF_TEXT, AT(field), 0, 0, NULL                                                                         \
	}
#define ONE_OF(field, words)                                                                                                     \
	{                                                                                                                        \
#field, CONF_TEXT, AT(field), 0, 0, words                                                                        \
	}
#define LIST(field, words)                                                                                                       \
	{                                                                                                                        \
#field, CONF_LIST, AT(field), 0, 0, words                                                                        \
	}

static const char *const auth_unix[] = { "none", "polkit", NULL }, *const auth_tls[] = { "none", NULL },
			 *const drivers[] = { "none", "polkit", NULL };

static const struct setting {
	const char *name;
	enum conf_type type;
	size_t offset;
	gint64 low, high;
	const char *const *words; /* what a text, or each of a list, may be; NULL: anything */
} settings[] = {
	NUMBER(listen_tls, 0, 1),
	TEXT(listen_addr),
	TEXT(tls_port),
	TEXT(key_file),
	TEXT(cert_file),
	TEXT(ca_file),
	TEXT(crl_file),
	TEXT(tls_priority),
	NUMBER(tls_no_verify_certificate, 0, 1),
	NUMBER(tls_no_sanity_certificate, 0, 1),
	LIST(tls_allowed_dn_list, NULL),
	TEXT(unix_sock_group),
	TEXT(unix_sock_ro_perms),
	TEXT(unix_sock_rw_perms),
	TEXT(unix_sock_dir),
	ONE_OF(auth_unix_ro, auth_unix),
	ONE_OF(auth_unix_rw, auth_unix),
	ONE_OF(auth_tls, auth_tls),
	LIST(access_drivers, drivers),
	NUMBER(max_clients, 1, 1000000),
	NUMBER(max_queued_clients, 1, 65535),
	NUMBER(max_anonymous_clients, 0, 1000000),
	NUMBER(max_workers, 1, 1000),
	NUMBER(prio_workers, 1, 1000),
	NUMBER(max_client_requests, 1, 1000),
	NUMBER(keepalive_interval, -1, 86400),
	NUMBER(keepalive_count, 0, 1000),
};

static bool may_be(const struct setting *s, const char *word, GError **error)
{
	g_autofree char *words = NULL;

	if (!s->words || g_strv_contains(s->words, word))
		return true;
	if (strcmp(word, "sasl") == 0)
		return kv_fail(error, KV_ERROR_UNSUPPORTED,
			       "%s: kvd has no SASL; use polkit or unix_sock_group for local users, certificates or ssh "
			       "for others",
			       s->name);
	words = g_strjoinv(" or ", (char **)s->words);
	return kv_fail(error, KV_ERROR_UNSUPPORTED, "%s is %s, not '%s'", s->name, words, word);
}

static bool set_number(const struct setting *s, const struct conf_value *v, GError **error)
{
	if (v->number < s->low || v->number > s->high)
		return kv_fail(error, KV_ERROR_USAGE, "%s is a number from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT, s->name,
			       s->low, s->high);
	G_STRUCT_MEMBER(gint64, &config, s->offset) = v->number;
	return true;
}

static bool set_text(const struct setting *s, const struct conf_value *v, GError **error)
{
	if (!may_be(s, v->text, error))
		return false;
	g_free(G_STRUCT_MEMBER(char *, &config, s->offset));
	G_STRUCT_MEMBER(char *, &config, s->offset) = g_strdup(v->text);
	return true;
}

static bool set_list(const struct setting *s, const struct conf_value *v, GError **error)
{
	for (unsigned i = 0; v->list[i]; i++)
		if (!may_be(s, v->list[i], error))
			return false;
	g_strfreev(G_STRUCT_MEMBER(char **, &config, s->offset));
	G_STRUCT_MEMBER(char **, &config, s->offset) = g_strdupv((char **)v->list);
	return true;
}

static bool set(void *opaque, const char *name, const struct conf_value *v, GError **error)
{
	static bool (*const setters[])(const struct setting *s, const struct conf_value *v, GError **error) = {
		[CONF_NUMBER] = set_number, [CONF_TEXT] = set_text, [CONF_LIST] = set_list
	};
	static const char *const kinds[] = {
		[CONF_NUMBER] = "a number", [CONF_TEXT] = "a text in quotation marks", [CONF_LIST] = "a list"
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(settings); i++) {
		const struct setting *s = &settings[i];

		if (strcmp(s->name, name) != 0)
			continue;
		if (s->type != v->type)
			return kv_fail(error, KV_ERROR_USAGE, "%s is %s", name, kinds[s->type]);
		return setters[s->type](s, v, error);
	}
	if (strcmp(name, "listen_tcp") == 0 && v->type == CONF_NUMBER && v->number == 0)
		return true;
	if (g_str_has_prefix(name, "listen_tcp") || g_str_has_prefix(name, "tcp_") || strcmp(name, "auth_tcp") == 0)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "%s: kvd has no TCP without TLS; use listen_tls, or ssh", name);
	return kv_fail(error, KV_ERROR_UNSUPPORTED, "'%s' is no setting of kvd; see kvd.conf(5)", name);
}

bool config_read(const char *path, bool session, GError **error)
{
	g_autofree char *folder = folder_path(FOLDER_CONFIG, session), *usual = g_build_filename(folder, "kvd.conf", NULL);
	g_autofree char *text = NULL;
	g_autoptr(GError) cause = NULL;
	gsize len;

	if (!g_file_get_contents(path ? path : usual, &text, &len, &cause)) {
		if (!path && g_error_matches(cause, G_FILE_ERROR, G_FILE_ERROR_NOENT))
			return true;
		return kv_fail(error, KV_ERROR_USAGE, "%s", cause->message);
	}
	if (strlen(text) != len)
		return kv_fail(error, KV_ERROR_USAGE, "'%s' is no text: it has zero bytes", path ? path : usual);
	return conf_parse(path ? path : usual, text, set, NULL, error);
}

bool config_has_access_control(void)
{
	return config.access_drivers && g_strv_contains((const char *const *)config.access_drivers, "polkit");
}
