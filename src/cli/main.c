/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvsh: a shell for kvd and libvirtd, with virsh's commands. Options, and which way to run. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shell.h"

/* A screen of 24 lines has all of it. */
static const char usage[] = "kvsh [OPTION]... COMMAND [ARGUMENT]...     one command\n"
			    "kvsh [OPTION]... \"COMMAND; COMMAND...\"     several\n"
			    "kvsh [OPTION]...                           a prompt\n\n"
			    "  -c, --connect=URI         qemu:///system, qemu:///session, qemu+ssh://host/system...\n"
			    "  -r, --readonly            look, and change nothing\n"
			    "  -o, --output=FORMAT       text or json\n"
			    "  -q, --quiet               no headers, no empty lines\n"
			    "  -t, --timing              say how long each command took\n"
			    "  -e, --escape=CHARACTER    leaves a console (^])\n"
			    "  -k, --keepalive-interval=SECONDS, -K, --keepalive-count=NUMBER\n"
			    "  -v, -V, --version[=TYPE]  short or long\n"
			    "  -h, --help                this help\n\n"
			    "Commands, by group (kvsh help GROUP):\n";

static bool print_help(struct shell *sh)
{
	unsigned column = 0;

	fputs(usage, stdout);
	for (const struct group *g = groups; g->keyword; g++) {
		g_autofree char *text = g_strdup_printf("%s (%s)", g->keyword, g->title);

		printf(column % 2 ? "%s\n" : "  %-38s", text);
		column++;
	}
	puts(column % 2 ? "\nkvsh help COMMAND says what one takes, kvsh help lists all; kvsh(1) has the rest."
			: "kvsh help COMMAND says what one takes, kvsh help lists all; kvsh(1) has the rest.");
	return true;
}

static bool print_version(bool is_long)
{
	puts(KV_VERSION);
	if (is_long)
		puts("Compiled with support for:\n Transports: unix ssh tls tcp ext\n Miscellaneous: Interactive JSON");
	return true;
}

enum { NOT_GIVEN = G_MININT };

struct options {
	char *uri, *escape, *output, *log;
	int debug, interval, count;
	gboolean help, quiet, read_only, timing, short_version, long_version;
};

static gboolean on_version(const char *name, const char *value, gpointer opaque, GError **error)
{
	struct options *o = opaque;

	if (strcmp(name, "-V") == 0 || (value && strcmp(value, "long") == 0))
		o->long_version = TRUE;
	else if (!value || strcmp(value, "short") == 0)
		o->short_version = TRUE;
	else
		g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "option --version takes 'short' or 'long', not '%s'",
			    value);
	return o->long_version || o->short_version;
}

static bool parse(struct options *o, int *argc, char ***argv, GError **error)
{
	GOptionEntry entries[] = {
		{ "connect", 'c', 0, G_OPTION_ARG_STRING, &o->uri },
		{ "debug", 'd', 0, G_OPTION_ARG_INT, &o->debug },
		{ "escape", 'e', 0, G_OPTION_ARG_STRING, &o->escape },
		{ "help", 'h', 0, G_OPTION_ARG_NONE, &o->help },
		{ "keepalive-interval", 'k', 0, G_OPTION_ARG_INT, &o->interval },
		{ "keepalive-count", 'K', 0, G_OPTION_ARG_INT, &o->count },
		{ "log", 'l', 0, G_OPTION_ARG_FILENAME, &o->log },
		{ "quiet", 'q', 0, G_OPTION_ARG_NONE, &o->quiet },
		{ "readonly", 'r', 0, G_OPTION_ARG_NONE, &o->read_only },
		{ "timing", 't', 0, G_OPTION_ARG_NONE, &o->timing },
		{ "output", 'o', 0, G_OPTION_ARG_STRING, &o->output },
		{ "version", 0, G_OPTION_FLAG_OPTIONAL_ARG, G_OPTION_ARG_CALLBACK, on_version },
		{ "short-version", 'v', G_OPTION_FLAG_NO_ARG | G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_CALLBACK, on_version },
		{ "long-version", 'V', G_OPTION_FLAG_NO_ARG | G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_CALLBACK, on_version },
		{},
	};
	GOptionContext *context = g_option_context_new(NULL);
	GOptionGroup *group = g_option_group_new("kvsh", "", "", o, NULL);
	bool ok;

	g_option_group_add_entries(group, entries);
	g_option_context_set_main_group(context, group);
	g_option_context_set_help_enabled(context, FALSE);
	g_option_context_set_strict_posix(context, TRUE);
	ok = g_option_context_parse(context, argc, argv, error);
	g_option_context_free(context);
	return ok;
}

static bool is_negative(int given)
{
	return given < 0 && given != NOT_GIVEN;
}

/* ^ and what Ctrl makes a character of, or a character. 0: it is neither. */
static char escape_of(const char *text)
{
	size_t len = strlen(text);
	char c = len == 2 ? g_ascii_toupper(text[1]) : 0;

	if (len == 1 && *text != '^')
		return *text;
	return len == 2 && *text == '^' && c >= '@' && c <= '_' ? c & 0x1f : 0;
}

static bool set_up(struct shell *sh, const struct options *o)
{
	const char *from = g_getenv("VIRSH_DEFAULT_CONNECT_URI"), *also = g_getenv("LIBVIRT_DEFAULT_URI");

	sh->uri = g_strdup(o->uri && *o->uri ? o->uri : from && *from ? from : also);
	sh->is_named = o->uri;
	sh->quiet = o->quiet;
	sh->read_only = o->read_only;
	sh->timing = o->timing;
	sh->keepalive_interval = o->interval;
	sh->keepalive_count = o->count;
	sh->escape = 0x1d;
	sh->text = g_string_new(NULL);
	if (o->escape && !(sh->escape = escape_of(o->escape)))
		return shell_error(sh, "Invalid string '%s' for escape sequence", o->escape);
	if (is_negative(o->interval) || is_negative(o->count))
		return shell_error(sh, "option %s requires a positive integer argument", is_negative(o->interval) ? "-k" : "-K");
	if (o->output && strcmp(o->output, "json") == 0)
		sh->json = true;
	else if (o->output && strcmp(o->output, "text") != 0)
		return shell_error(sh, "option --output takes 'text' or 'json', not '%s'", o->output);
	return true;
}

static bool run(struct shell *sh, const struct options *o, int argc, char **argv)
{
	if (o->help)
		return print_help(sh);
	if (o->short_version || o->long_version)
		return print_version(o->long_version);
	if (argc > 1 && strcmp(argv[1], "--") == 0) {
		argc--;
		argv++;
	}
	if (argc == 2)
		return shell_run_text(sh, argv[1]);
	if (argc > 2)
		return shell_run_words(sh, argc - 1, argv + 1);
	sh->interactive = true;
	if (!shell_open(sh))
		return false;
	shell_loop(sh);
	return true;
}

int main(int argc, char **argv)
{
	struct options o = { .interval = NOT_GIVEN, .count = NOT_GIVEN };
	g_autoptr(GError) error = NULL;
	struct shell sh = {};
	bool ok;

	setlocale(LC_ALL, "");
	signal(SIGPIPE, SIG_IGN);
	if (!parse(&o, &argc, &argv, &error)) {
		fprintf(stderr, "error: %s. See --help.\n", error->message);
		return EXIT_FAILURE;
	}
	ok = set_up(&sh, &o) && run(&sh, &o, argc, argv);
	g_clear_object(&sh.conn);
	g_string_free(sh.text, TRUE);
	g_free(sh.uri);
	g_free(o.uri);
	g_free(o.escape);
	g_free(o.output);
	g_free(o.log);
	return ok && !ferror(stdout) && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
