/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls to the server, and running command lines. Called by main.c and interactive.c. */
#include <stdio.h>
#include <string.h>

#include "ahead.h"
#include "args.h"
#include "rpc/message.h"
#include "shell.h"
#include "terminal.h"

/* ---- asking ---- */

void forget_error(struct shell *sh)
{
	g_clear_error(&sh->error);
}

int error_code(const struct shell *sh)
{
	return sh->error && sh->error->domain == KV_VIRT_ERROR ? sh->error->code : sh->error ? VIR_ERR_INTERNAL_ERROR : 0;
}

static GVariant *ask_va(struct shell *sh, const char *procedure, const char *types, va_list *args)
{
	g_autoptr(GVariant) value = types ? g_variant_ref_sink(g_variant_new_va(types, NULL, args)) : NULL;
	GVariant *known = ahead_take(sh, procedure, value);

	forget_error(sh);
	if (known || !sh->conn)
		return known;
	return kv_connection_call_sync(sh->conn, procedure, value, NULL, &sh->error);
}

GVariant *ask(struct shell *sh, const char *procedure, const char *types, ...)
{
	GVariant *answer;
	va_list args;

	va_start(args, types);
	answer = ask_va(sh, procedure, types, &args);
	va_end(args);
	return answer;
}

bool tell(struct shell *sh, const char *procedure, const char *types, ...)
{
	g_autoptr(GVariant) answer = NULL;
	va_list args;

	va_start(args, types);
	answer = ask_va(sh, procedure, types, &args);
	va_end(args);
	return answer;
}

bool ask_int(struct shell *sh, int *ret, const char *procedure, const char *types, ...)
{
	g_autoptr(GVariant) answer = NULL;
	va_list args;

	va_start(args, types);
	answer = ask_va(sh, procedure, types, &args);
	va_end(args);
	if (answer)
		g_variant_get_child(answer, 0, "i", ret);
	return answer;
}

bool ask_u64(struct shell *sh, guint64 *ret, const char *procedure, const char *types, ...)
{
	g_autoptr(GVariant) answer = NULL;
	va_list args;

	va_start(args, types);
	answer = ask_va(sh, procedure, types, &args);
	va_end(args);
	if (answer)
		g_variant_get_child(answer, 0, "t", ret);
	return answer;
}

char *ask_text(struct shell *sh, const char *procedure, const char *types, ...)
{
	g_autoptr(GVariant) answer = NULL;
	char *text = NULL;
	va_list args;

	va_start(args, types);
	answer = ask_va(sh, procedure, types, &args);
	va_end(args);
	if (answer)
		g_variant_get_child(answer, 0, "s", &text);
	return text;
}

static void on_closed(KvConnection *conn, const GError *why, struct shell *sh)
{
	g_free(sh->lost);
	sh->lost = g_strdup(strstr(why->message, "keepalive")	  ? "keepalive timeout"
			    : strstr(why->message, "End of file") ? "end of file"
								  : "I/O error");
}

bool shell_connect(struct shell *sh)
{
	int interval = sh->keepalive_interval < 0 ? 5 : sh->keepalive_interval;
	int count = sh->keepalive_count < 0 ? 6 : sh->keepalive_count;

	if (sh->conn && !sh->only_looks && kv_connection_is_alive(sh->conn))
		return true;
	g_clear_object(&sh->conn);
	sh->only_looks = false;
	forget_error(sh);
	sh->conn =
		kv_connection_open_sync(sh->uri, sh->read_only ? KV_CONNECTION_READ_ONLY : KV_CONNECTION_NONE, NULL, &sh->error);
	if (!sh->conn)
		return shell_error(sh, "failed to connect to the hypervisor");
	g_signal_connect(sh->conn, "closed", G_CALLBACK(on_closed), sh);
	if (interval > 0 && !kv_connection_set_keepalive(sh->conn, interval, count) && sh->keepalive_interval > 0) {
		g_clear_object(&sh->conn);
		return shell_error(sh, "Cannot setup keepalive on connection as requested, disconnecting");
	}
	return true;
}

char *read_bytes(struct shell *sh, const char *path, gsize *ret_len)
{
	g_autoptr(GError) error = NULL;
	char *text;

	if (g_file_get_contents(strcmp(path, "-") == 0 ? "/dev/stdin" : path, &text, ret_len, &error))
		return text;
	rpc_fail(&sh->error, VIR_ERR_SYSTEM_ERROR, "Failed to open file '%s': %s", path,
		 error->code == G_FILE_ERROR_NOENT ? "No such file or directory" : error->message);
	return NULL;
}

char *read_file(struct shell *sh, const char *path)
{
	gsize len;
	g_autofree char *text = read_bytes(sh, path, &len);

	if (!text || g_utf8_validate(text, (gssize)len, NULL))
		return g_steal_pointer(&text);
	rpc_fail(&sh->error, VIR_ERR_INVALID_ARG, "File '%s' is no UTF-8 text", path);
	return NULL;
}

/* ---- running ---- */

static void report(struct shell *sh)
{
	if (sh->error)
		shell_error(sh, "%s", sh->error->message);
	forget_error(sh);
}

/* Commands whose text is a list of words, a line each, or of names with values: so it is data in JSON. */
static const struct {
	const char *command;
	const char *between; /* a name and its value; NULL: a line is one word */
} shapes[] = {
	{ "list" },
	{ "net-list" },
	{ "pool-list" },
	{ "snapshot-list" },
	{ "checkpoint-list" },
	{ "net-port-list" },
	{ "nodedev-list" },
	{ "cpu-models" },
	{ "domdisplay" },
	{ "get-user-sshkeys" },
	{ "dommemstat", " " },
	{ "freecell", ":" },
	{ "nodecpustats", ":" },
	{ "nodememstats", ":" },
};

static json_t *shaped(const char *text, const char *between)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	json_t *value = between ? json_object() : json_array();

	for (char **l = lines; *l; l++) {
		char *at = between ? strstr(*l, between) : NULL;

		if (!**l || (between && !at))
			continue;
		if (!between) {
			json_array_append_new(value, json_string(g_strstrip(*l)));
			continue;
		}
		*at = 0;
		json_object_set_new(value, g_strstrip(*l), json_string(g_strstrip(at + 1)));
	}
	return value;
}

static void print_json(struct shell *sh, const struct command *c, bool ok)
{
	json_t *value = sh->value;

	for (unsigned i = 0; i < G_N_ELEMENTS(shapes) && !value && ok; i++)
		if (strcmp(shapes[i].command, c->name) == 0)
			value = shaped(sh->text->str, shapes[i].between);
	if (!value) {
		g_strchomp(sh->text->str);
		value = *sh->text->str ? json_string(sh->text->str) : ok ? json_null() : NULL;
	}
	if (value) {
		json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
		putchar('\n');
		json_decref(value);
	}
	sh->value = NULL;
	g_string_set_size(sh->text, 0);
}

static bool run_command(struct shell *sh, const struct command *c, struct args *a)
{
	gint64 start = g_get_monotonic_time();
	bool ok = (c->no_connection || shell_connect(sh)) && args_are_filled(sh, a) && c->run(sh, a);

	ahead_forget(sh);
	fflush(stdout);
	if (!ok)
		report(sh);
	if (!ok && !sh->conn && !c->no_connection)
		hint_server(sh);
	hint_say(sh);
	forget_error(sh);
	if (sh->lost) {
		shell_error(sh, "Disconnected from %s due to %s", sh->uri ? sh->uri : "the hypervisor", sh->lost);
		g_clear_pointer(&sh->lost, g_free);
	}
	if (sh->json)
		print_json(sh, c, ok);
	else if (sh->timing)
		say(sh, "\n(Time: %.3f ms)\n\n", (g_get_monotonic_time() - start) / 1000.0);
	else if (!sh->stop && !c->is_hidden)
		say_extra(sh, "\n");
	return ok;
}

const struct command *command_named(const char *name)
{
	for (const struct group *g = groups; g->keyword; g++)
		for (const struct command *c = g->commands; c->name; c++)
			if (strcmp(c->name, name) == 0)
				return c;
	return NULL;
}

struct job {
	const struct command *command;
	struct args *args;
};

static bool unknown_command(struct shell *sh, const char *name)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();

	shell_error(sh, "unknown command: '%s'", name);
	for (const struct group *g = groups; g->keyword; g++)
		for (const struct command *c = g->commands; c->name; c++)
			if (!c->is_hidden)
				g_ptr_array_add(names, (char *)c->name);
	hint_names(sh, name, names);
	hint_say(sh);
	return false;
}

static bool prepare(struct shell *sh, GArray *jobs, int n, char *const *words)
{
	struct job job = { command_named(words[0]) };
	static char *help_words[2];

	if (!job.command)
		return unknown_command(sh, words[0]);
	for (int i = 1; i < n && strcmp(words[i], "--") != 0; i++)
		if (strcmp(words[i], "--help") == 0) {
			help_words[0] = (char *)job.command->name;
			job.command = command_named("help");
			words = help_words - 1;
			n = 2;
			break;
		}
	job.args = args_parse(sh, job.command, n - 1, words + 1);
	if (job.args)
		g_array_append_val(jobs, job);
	return job.args;
}

bool shell_open(struct shell *sh)
{
	if (!sh->is_named || sh->conn || shell_connect(sh))
		return true;
	report(sh);
	hint_server(sh);
	hint_say(sh);
	return false;
}

static bool run_jobs(struct shell *sh, GArray *jobs)
{
	bool is_open = !jobs->len || g_array_index(jobs, struct job, 0).command->is_hidden || shell_open(sh), ok = is_open;

	for (unsigned i = 0; i < jobs->len; i++) {
		struct job *job = &g_array_index(jobs, struct job, i);

		if (is_open && !sh->stop)
			ok = run_command(sh, job->command, job->args);
		args_free(job->args);
	}
	return ok;
}

bool shell_run_words(struct shell *sh, int n, char *const *words)
{
	g_autoptr(GArray) jobs = g_array_new(false, false, sizeof(struct job));

	return prepare(sh, jobs, n, words) && run_jobs(sh, jobs);
}

/* The next word of a line, or NULL at a command's end; quotes and backslashes as in a shell. */
static char *next_word(struct shell *sh, const char **at, bool *ok)
{
	const char *p = *at + strspn(*at, " \t");
	g_autoptr(GString) word = g_string_new(NULL);
	char quote = 0;
	bool any = false;

	for (; *p && (quote || !strchr(" \t\n;", *p)); p++) {
		if (!quote && !any && *p == '#')
			break;
		any = true;
		if (*p == '\\' && quote != '\'') {
			if (!p[1])
				break;
			g_string_append_c(word, *++p);
		} else if (*p == quote) {
			quote = 0;
		} else if (!quote && (*p == '"' || *p == '\'')) {
			quote = *p;
		} else {
			g_string_append_c(word, *p);
		}
	}
	if (!any && *p == '#')
		p += strcspn(p, "\n");
	*at = p;
	if (quote == '"' || (*p == '\\' && !p[1]))
		*ok = shell_error(sh, quote == '"' ? "missing \"" : "dangling \\");
	return any && *ok ? g_string_free(g_steal_pointer(&word), FALSE) : NULL;
}

bool shell_run_text(struct shell *sh, const char *text)
{
	g_autoptr(GArray) jobs = g_array_new(false, false, sizeof(struct job));
	bool ok = true;

	while (ok) {
		g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
		char *word;

		while ((word = next_word(sh, &text, &ok)))
			g_ptr_array_add(words, word);
		if (ok && words->len)
			ok = prepare(sh, jobs, words->len, (char *const *)words->pdata);
		if (!*text)
			break;
		text++;
	}
	if (ok)
		return run_jobs(sh, jobs);
	for (unsigned i = 0; i < jobs->len; i++)
		args_free(g_array_index(jobs, struct job, i).args);
	return false;
}
