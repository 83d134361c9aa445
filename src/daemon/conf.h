/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libvirt's format of configuration files: lines of name = value, where a value is a number, a text in '', "" or triple quotation
 * marks (the last over several lines), or a list of texts in []; # begins a comment. Source: comments in libvirtd.conf. Pure.
 * Called by config.c.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

enum conf_type { CONF_NUMBER, CONF_TEXT, CONF_LIST };

struct conf_value {
	enum conf_type type;
	gint64 number;
	const char *text;
	const char *const *list; /* texts, ended by NULL */
};

/* A name with its value; both are gone when it returns. false and *error: reading ends, and the error gets the line's number. */
typedef bool conf_func(void *opaque, const char *name, const struct conf_value *value, GError **error);

/* what: the file, for messages. false at the first line that cannot be read. */
bool conf_parse(const char *what, const char *text, conf_func *func, void *opaque, GError **error);
