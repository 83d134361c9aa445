/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Prints the shell completion of kv-vmm from its option table, so that they cannot disagree.
 * Run by the build: gen-completion bash|zsh.
 */
#include <stdio.h>
#include <string.h>

#include "options.h"

/* "a b" for choices of a, b; kinds that take a path end with a colon. */
static char *words(const struct option *o)
{
	GString *s = g_string_new(NULL);

	for (const char *const *c = o->choices; c && *c; c++)
		g_string_append_printf(s, "%s%s", s->len ? " " : "", *c);
	if (o->type == OPTION_BOOL)
		g_string_append(s, "on off");
	return g_string_free(s, FALSE);
}

static char *key_words(const struct option *o)
{
	GString *s = g_string_new(NULL);

	for (const struct option *k = o->keys; k->name; k++) {
		g_autofree char *values = words(k);
		g_auto(GStrv) each = g_strsplit(values, " ", -1);

		if (k->first)
			for (char **v = each; *v; v++)
				g_string_append_printf(s, "%s%s", s->len ? " " : "", *v);
		g_string_append_printf(s, "%s%s=", s->len ? " " : "", k->name);
	}
	return g_string_free(s, FALSE);
}

static void bash_option(const struct option *o)
{
	g_autofree char *choices = words(o);

	switch (o->type) {
	case OPTION_FLAG:
		return;
	case OPTION_FILE:
		printf("\t--%s) compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n", o->name);
		return;
	case OPTION_KEYS: {
		g_autofree char *keys = key_words(o);

		printf("\t--%s) _kv_vmm_keys \"%s\" ;;\n", o->name, keys);
		return;
	}
	default:
		printf("\t--%s) COMPREPLY=($(compgen -W \"%s\" -- \"$cur\")) ;;\n", o->name, choices);
	}
}

static void bash(void)
{
	fputs("# bash completion of kv-vmm, made from its option table\n"
	      "_kv_vmm_keys() {\n"
	      "\tlocal last=${cur##*,} done=\n"
	      "\t[[ $cur == *,* ]] && done=${cur%,*},\n"
	      "\tcompopt -o nospace\n"
	      "\tcase $last in\n"
	      "\tfile=*) COMPREPLY=($(compgen -P \"${done}file=\" -f -- \"${last#file=}\")) ;;\n"
	      "\t*) COMPREPLY=($(compgen -P \"$done\" -W \"$1\" -- \"$last\")) ;;\n"
	      "\tesac\n"
	      "}\n"
	      "_kv_vmm() {\n"
	      "\tlocal cur=${COMP_LINE:0:COMP_POINT} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
	      "\tlocal i=$COMP_CWORD\n"
	      "\tcur=${cur##* }\n"
	      "\t# = and : are word breaks in bash: the option is the last word with dashes\n"
	      "\twhile ((i > 1)) && [[ ${COMP_WORDS[i-1]} != --* ]]; do ((i--)); done\n"
	      "\t[[ $cur == --* ]] || prev=${COMP_WORDS[i-1]}\n"
	      "\tcase $prev in\n",
	      stdout);
	for (const struct option *o = option_table; o->name; o++)
		bash_option(o);
	fputs("\tesac\n"
	      "\t[[ ${COMPREPLY[*]} || $cur != -* && $cur ]] || COMPREPLY=($(compgen -W \"",
	      stdout);
	for (const struct option *o = option_table; o->name; o++)
		printf("%s--%s", o == option_table ? "" : " ", o->name);
	fputs("\" -- \"$cur\"))\n"
	      "\t# readline replaces only what follows its last word break\n"
	      "\tlocal lead=${cur%\"${cur##*[=:]}\"}\n"
	      "\tCOMPREPLY=(\"${COMPREPLY[@]#\"$lead\"}\")\n"
	      "}\n"
	      "complete -F _kv_vmm kv-vmm\n",
	      stdout);
}

/* Text inside a zsh _arguments specification. */
static void zsh_text(const char *text)
{
	for (; *text; text++) {
		if (strchr("[]:'\\", *text))
			putchar(*text == '\'' ? ' ' : '\\');
		if (*text != '\'')
			putchar(*text);
	}
}

static void zsh_option(const struct option *o)
{
	g_autofree char *choices = words(o);
	g_autofree char *keys = o->keys ? key_words(o) : NULL;

	printf("\t'%s--%s[", o->repeat ? "*" : "", o->name);
	zsh_text(o->help);
	putchar(']');
	if (o->type != OPTION_FLAG) {
		putchar(':');
		zsh_text(o->arg);
		putchar(':');
		if (o->type == OPTION_FILE)
			fputs("_files", stdout);
		else if (keys)
			printf("_sequence compadd -S \"\" - %s", keys);
		else if (*choices)
			printf("(%s)", choices);
	}
	fputs("' \\\n", stdout);
}

static void zsh(void)
{
	fputs("#compdef kv-vmm\n# made from kv-vmm's option table\n_arguments \\\n", stdout);
	for (const struct option *o = option_table; o->name; o++)
		zsh_option(o);
	fputs("\t&& return 0\n", stdout);
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "bash") == 0)
		bash();
	else if (argc == 2 && strcmp(argv[1], "zsh") == 0)
		zsh();
	else
		return 2;
	return ferror(stdout) != 0;
}
