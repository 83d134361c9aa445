/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See args.h. Called by shell.c for each command. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "rpc/message.h"
#include "shell.h"

/* One item of a synopsis, which starts with < [ { and ends with a space. */
static const char *take_item(const char *s, struct arg *ret)
{
	const char *end = s, *name;
	int depth = 0;
	size_t len;

	for (; *end && (depth || *end != ' '); end++) {
		depth += *end == '[' || *end == '{' || *end == '<';
		depth -= *end == ']' || *end == '}' || *end == '>';
	}
	*ret = (struct arg){ .required = *s != '[' };
	name = memmem(s, end - s, "--", 2);
	name = name ? name + 2 : strchr(s, '<') + 1;
	len = strcspn(name, "]> ");
	g_strlcpy(ret->name, name, MIN(len + 1, sizeof(ret->name)));
	if (end - s > 3 && memcmp(end - 3, "...", 3) == 0)
		ret->kind = ARG_LIST;
	else if (!memchr(s, '<', end - s))
		ret->kind = ARG_SWITCH;
	else
		ret->kind = memmem(s, end - s, "<number>", 8) ? ARG_NUMBER : ARG_STRING;
	return *end ? end + 1 : end;
}

GArray *args_of(const char *synopsis)
{
	GArray *list = g_array_new(false, false, sizeof(struct arg));
	struct arg arg;

	for (const char *s = synopsis ? synopsis : ""; *s;) {
		s = take_item(s, &arg);
		g_array_append_val(list, arg);
	}
	return list;
}

void args_free(struct args *a)
{
	for (unsigned i = 0; i < a->n; i++)
		if (a->list[i].values)
			g_ptr_array_unref(a->list[i].values);
	g_free(a->list);
	g_free(a);
}

/* What virsh still takes under an old name. */
static const struct {
	const char *command, *name, *is, *value;
} aliases[] = {
	{ "attach-disk", "shareable", "mode", "shareable" },
	{ "blockcopy", "raw", "format", "raw" },
	{ "echo", "str", "string", NULL },
	{ "nodedev-detach", "hostdev", "device", NULL },
};

static struct arg *find(const struct args *a, const char *name)
{
	for (unsigned i = 0; i < a->n; i++)
		if (strcmp(a->list[i].name, name) == 0)
			return &a->list[i];
	return NULL;
}

/* Options whose value is never taken by place. */
static const struct {
	const char *command, *name; /* command NULL: any */
} only_named[] = {
	{ NULL, "xpath" },
	{ NULL, "pass-fds" },
	{ "domsetlaunchsecstate", "secrethdr" },
	{ "domsetlaunchsecstate", "secret" },
	{ "dompmsuspend", "duration" },
	{ "domxml-to-native", "domain" },
	{ "send-key", "codeset" },
	{ "send-key", "holdtime" },
	{ "migrate-compcache", "size" },
	{ "qemu-agent-command", "timeout" },
	{ "guest-agent-timeout", "timeout" },
	{ "schedinfo", "weight" },
	{ "schedinfo", "cap" },
	{ "dommemstat", "period" },
	{ "secret-set-value", "file" },
	{ "snapshot-create-as", "memspec" },
};

static bool is_only_named(const struct args *a, const struct arg *arg)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(only_named) && !arg->required; i++)
		if (strcmp(only_named[i].name, arg->name) == 0 &&
		    (!only_named[i].command || strcmp(only_named[i].command, a->command->name) == 0))
			return true;
	return false;
}

static struct arg *by_place(const struct args *a)
{
	for (unsigned i = 0; i < a->n; i++)
		if (!is_only_named(a, &a->list[i]) && a->list[i].kind != ARG_SWITCH &&
		    (!a->list[i].values || a->list[i].kind == ARG_LIST))
			return &a->list[i];
	return NULL;
}

static void give(struct arg *arg, const char *value)
{
	if (!arg->values)
		arg->values = g_ptr_array_new_with_free_func(g_free);
	else if (arg->values->len) /* the NULL at its end */
		g_ptr_array_set_size(arg->values, arg->values->len - 1);
	g_ptr_array_add(arg->values, g_strdup(value));
	g_ptr_array_add(arg->values, NULL);
}

/* "--name" or "--name=value"; *i is at it. */
static bool take_option(struct shell *sh, struct args *a, int n, char *const *words, int *i)
{
	const char *word = words[*i] + 2, *equal = strchr(word, '='), *value = equal ? equal + 1 : NULL;
	g_autofree char *name = equal ? g_strndup(word, equal - word) : g_strdup(word);
	struct arg *arg = find(a, name);

	for (unsigned k = 0; k < G_N_ELEMENTS(aliases) && !arg; k++)
		if (strcmp(aliases[k].command, a->command->name) == 0 && strcmp(aliases[k].name, name) == 0) {
			arg = find(a, aliases[k].is);
			value = aliases[k].value ? aliases[k].value : value;
		}
	if (!arg)
		return shell_error(sh, "command '%s' doesn't support option --%s", a->command->name, name);
	if (arg->values && arg->kind != ARG_LIST)
		return shell_error(sh, "option --%s already seen", name);
	if (arg->kind == ARG_SWITCH && equal)
		return shell_error(sh, "invalid '=' after option --%s", name);
	if (arg->kind != ARG_SWITCH && !value) {
		if (*i + 1 >= n)
			return shell_error(sh, "expected syntax: --%s <%s>", name, arg->kind == ARG_NUMBER ? "number" : "string");
		value = words[++*i];
	}
	give(arg, value ? value : "");
	return true;
}

/* Says all that is missing. virsh calls numbers by their option, texts by what they are. */
static bool has_required(struct shell *sh, const struct args *a)
{
	static const char *const numbers[] = { "bandwidth", "count",	 "downtime", "duration", "id",
					       "iothread",  "pagecount", "pagesize", "size",	 "threshold", NULL };
	bool ok = true;

	for (unsigned k = 0; k < a->n; k++) {
		const char *name = a->list[k].name;

		if (a->list[k].required && !a->list[k].values)
			ok = shell_error(sh,
					 g_strv_contains(numbers, name) ? "command '%s' requires --%s option"
									: "command '%s' requires <%s> option",
					 a->command->name, name);
	}
	return ok;
}

static bool take_words(struct shell *sh, struct args *a, int n, char *const *words)
{
	bool only_data = false;

	for (int i = 0; i < n; i++) {
		struct arg *arg;

		if (!only_data && strcmp(words[i], "--") == 0) {
			only_data = true;
		} else if (!only_data && g_str_has_prefix(words[i], "--") && g_ascii_isalnum(words[i][2])) {
			if (!take_option(sh, a, n, words, &i))
				return false;
		} else {
			arg = by_place(a);
			if (!arg)
				return shell_error(sh, "unexpected data '%s'", words[i]);
			give(arg, words[i]);
		}
	}
	return has_required(sh, a);
}

struct args *args_parse(struct shell *sh, const struct command *c, int n, char *const *words)
{
	struct args *a = g_new0(struct args, 1);
	GArray *list = args_of(c->synopsis);

	a->command = c;
	a->n = list->len;
	a->list = (struct arg *)g_array_free(list, false);
	if (take_words(sh, a, n, words))
		return a;
	args_free(a);
	return NULL;
}

/* Texts that may be empty, as virsh has them. What is read as a number says itself that it is none. */
static const struct {
	const char *command, *name; /* command NULL: any */
	bool is_none;
} may_be_empty[] = {
	{ NULL, "pass-fds" },
	{ NULL, "xpath" },
	{ "allocpages", "pagecount" },
	{ "allocpages", "pagesize" },
	{ "attach-disk", "source" },
	{ "blkiotune", "device-read-bytes-sec" },
	{ "blkiotune", "device-read-iops-sec" },
	{ "blkiotune", "device-weights" },
	{ "blkiotune", "device-write-bytes-sec" },
	{ "blkiotune", "device-write-iops-sec" },
	{ "blockresize", "size" },
	{ "cd", "dir", true },
	{ "domblkinfo", "device", true },
	{ "domblkstat", "device" },
	{ "domblkthreshold", "threshold" },
	{ "dump", "format", true },
	{ "emulatorpin", "cpulist" },
	{ "find-storage-pool-sources-as", "port", true },
	{ "help", "command", true },
	{ "iothreadadd", "id" },
	{ "iothreaddel", "id" },
	{ "iothreadpin", "iothread" },
	{ "iothreadset", "id" },
	{ "migrate-setmaxdowntime", "downtime" },
	{ "migrate-setspeed", "bandwidth" },
	{ "nodedev-detach", "driver", true },
	{ "nodedev-list", "cap" },
	{ "nodesuspend", "duration" },
	{ "qemu-attach", "pid" },
	{ "send-key", "codeset", true },
	{ "send-process-signal", "pid" },
	{ "setmaxmem", "size" },
	{ "setmem", "size" },
	{ "setvcpus", "count" },
	{ "undefine", "storage", true },
	{ "vcpupin", "cpulist" },
	{ "vol-create-as", "allocation", true },
};

static bool is_filled(struct shell *sh, const struct args *a, struct arg *arg)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(may_be_empty); i++) {
		if (strcmp(may_be_empty[i].name, arg->name) != 0 ||
		    (may_be_empty[i].command && strcmp(may_be_empty[i].command, a->command->name) != 0))
			continue;
		if (may_be_empty[i].is_none)
			g_clear_pointer(&arg->values, g_ptr_array_unref);
		return true;
	}
	return shell_error(sh, "Failed to get option '%s': Option argument is empty", arg->name);
}

/* What is sent to a server is UTF-8. */
static bool is_text(struct shell *sh, const struct arg *arg)
{
	for (unsigned i = 0; arg->values && i + 1 < arg->values->len; i++)
		if (!g_utf8_validate(g_ptr_array_index(arg->values, i), -1, NULL))
			return shell_error(sh, "option --%s is no UTF-8 text", arg->name);
	return true;
}

bool args_are_filled(struct shell *sh, struct args *a)
{
	for (unsigned i = 0; i < a->n; i++) {
		struct arg *arg = &a->list[i];

		if (!is_text(sh, arg))
			return false;
		if (arg->kind == ARG_STRING && arg->values && !*(const char *)g_ptr_array_index(arg->values, 0) &&
		    !is_filled(sh, a, arg))
			return false;
	}
	return true;
}

/* A word that begins with "--", of a line that is being typed. *i is at it. The option whose value comes next; NULL: none. */
static struct arg *take_typed(struct args *a, int n, char *const *words, int *i)
{
	const char *word = words[*i] + 2, *equal = strchr(word, '=');
	g_autofree char *name = equal ? g_strndup(word, equal - word) : g_strdup(word);
	struct arg *arg = find(a, name);

	if (!arg)
		return NULL;
	if (arg->kind != ARG_SWITCH && !equal && *i + 1 >= n)
		return arg;
	give(arg, arg->kind == ARG_SWITCH ? "" : equal ? equal + 1 : words[++*i]);
	return NULL;
}

struct args *args_typed(const struct command *c, int n, char *const *words, const struct arg **ret_next)
{
	struct args *a = g_new0(struct args, 1);
	GArray *list = args_of(c->synopsis);
	struct arg *next = NULL, *place;

	a->command = c;
	a->n = list->len;
	a->list = (struct arg *)g_array_free(list, false);
	for (int i = 0; i < n && !next; i++) {
		if (g_str_has_prefix(words[i], "--") && words[i][2])
			next = take_typed(a, n, words, &i);
		else if ((place = by_place(a)))
			give(place, words[i]);
	}
	*ret_next = next ? next : by_place(a);
	return a;
}

bool arg_exists(const struct args *a, const char *name)
{
	return find(a, name);
}

bool arg_on(const struct args *a, const char *name)
{
	const struct arg *arg = find(a, name);

	g_assert(arg); /* of the command's own table */
	return arg->values;
}

const char *arg_text(const struct args *a, const char *name)
{
	return arg_on(a, name) ? g_ptr_array_index(find(a, name)->values, 0) : NULL;
}

char *const *arg_list(const struct args *a, const char *name)
{
	return arg_on(a, name) ? (char *const *)find(a, name)->values->pdata : NULL;
}

static int malformed(struct shell *sh, const char *kind, const char *text, const char *name)
{
	shell_error(sh, "%s value '%s' for <%s> option is malformed or out of range", kind, text, name);
	return -1;
}

static bool parse_u64(const char *text, guint64 max, guint64 *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 10);
	return !errno && end != text && !*end && !strchr(text, '-') && *ret <= max;
}

int arg_int(struct shell *sh, const struct args *a, const char *name, int *ret)
{
	const char *text = arg_text(a, name);
	char *end;
	long v;

	if (!text)
		return 0;
	errno = 0;
	v = strtol(text, &end, 10);
	if (errno || end == text || *end || v < G_MININT || v > G_MAXINT)
		return malformed(sh, "Numeric", text, name);
	*ret = v;
	return 1;
}

int arg_uint(struct shell *sh, const struct args *a, const char *name, unsigned *ret)
{
	const char *text = arg_text(a, name);
	guint64 v;

	if (!text)
		return 0;
	if (!parse_u64(text, G_MAXUINT, &v))
		return malformed(sh, "Numeric", text, name);
	*ret = v;
	return 1;
}

int arg_u64(struct shell *sh, const struct args *a, const char *name, guint64 *ret)
{
	const char *text = arg_text(a, name);

	if (!text)
		return 0;
	return parse_u64(text, G_MAXUINT64, ret) ? 1 : malformed(sh, "Numeric", text, name);
}

/* "", "b", "bytes", "k", "KiB", "KB", up to E; 0: none of these. */
static guint64 unit(const char *suffix, guint64 scale)
{
	static const char letters[] = "kmgtpe";
	const char *at;
	guint64 base, v = 1;

	if (!*suffix)
		return scale;
	if (g_ascii_strcasecmp(suffix, "b") == 0 || g_ascii_strcasecmp(suffix, "byte") == 0 ||
	    g_ascii_strcasecmp(suffix, "bytes") == 0)
		return 1;
	at = strchr(letters, g_ascii_tolower(*suffix));
	if (!at)
		return 0;
	if (!suffix[1] || g_ascii_strcasecmp(suffix + 1, "iB") == 0)
		base = 1024;
	else if (g_ascii_strcasecmp(suffix + 1, "B") == 0)
		base = 1000;
	else
		return 0;
	for (; at >= letters; at--)
		v *= base;
	return v;
}

bool size_parse(const char *text, guint64 scale, guint64 *ret, GError **error)
{
	guint64 v, by;
	char *end;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || end == text || strchr(text, '-'))
		return false;
	while (*end == ' ')
		end++;
	by = unit(end, scale);
	if (!by)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "unknown suffix '%s'", end);
	*ret = v * by;
	return v <= G_MAXINT64 / by;
}

int arg_i64(struct shell *sh, const struct args *a, const char *name, gint64 *ret)
{
	const char *text = arg_text(a, name);
	char *end;

	if (!text)
		return 0;
	errno = 0;
	*ret = g_ascii_strtoll(text, &end, 10);
	return errno || end == text || *end ? malformed(sh, "Numeric", text, name) : 1;
}

int arg_size(struct shell *sh, const struct args *a, const char *name, guint64 scale, guint64 *ret)
{
	const char *text = arg_text(a, name);

	if (!text)
		return 0;
	return size_parse(text, scale, ret, &sh->error) ? 1 : malformed(sh, "Scaled numeric", text, name);
}

char **spec_parts(const char *spec)
{
	GPtrArray *parts = g_ptr_array_new();
	g_autoptr(GString) part = g_string_new(NULL);

	for (const char *p = spec; *p; p++) {
		if (*p != ',') {
			g_string_append_c(part, *p);
		} else if (p[1] == ',') {
			g_string_append_c(part, *p++);
		} else {
			g_ptr_array_add(parts, g_strdup(part->str));
			g_string_set_size(part, 0);
		}
	}
	g_ptr_array_add(parts, g_strdup(part->str));
	g_ptr_array_add(parts, NULL);
	return (char **)g_ptr_array_free(parts, FALSE);
}

int word_of(const char *word, const char *const *words)
{
	for (int i = 0; words[i]; i++)
		if (strcmp(words[i], word) == 0)
			return i;
	return -1;
}

bool args_require(struct shell *sh, const struct args *a, const char *option, const char *wants)
{
	return !arg_on(a, option) || arg_on(a, wants) || shell_error(sh, "Option --%s is required by option --%s", wants, option);
}

bool args_exclude(struct shell *sh, const struct args *a, const char *one, const char *other)
{
	if (arg_on(a, one) && arg_on(a, other)) {
		shell_error(sh, "Options --%s and --%s are mutually exclusive", one, other);
		return true;
	}
	return false;
}
