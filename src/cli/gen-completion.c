/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prints kvsh's completion for bash or zsh (its argument) from the tables of commands. Run by the build. */
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "shell.h"

static void for_each(void (*print)(const struct command *c))
{
	for (const struct group *g = groups; g->keyword; g++)
		for (const struct command *c = g->commands; c->name; c++)
			print(c);
}

static void print_name(const struct command *c)
{
	printf("%s ", c->name);
}

static void print_options(const struct command *c)
{
	g_autoptr(GArray) list = args_of(c->synopsis);

	printf("\t%s) words='", c->name);
	for (unsigned i = 0; i < list->len; i++)
		printf("--%s ", g_array_index(list, struct arg, i).name);
	puts("' ;;");
}

/* What lists the objects that a command is about, by the first thing it takes. */
static void print_objects(const struct command *c)
{
	static const char *const lists[][2] = { { "domain", "list --all --name" },
						{ "network", "net-list --all --name" },
						{ "pool", "pool-list --all --name" } };
	g_autoptr(GArray) list = args_of(c->synopsis);

	for (unsigned i = 0; i < G_N_ELEMENTS(lists); i++)
		if (list->len && strcmp(g_array_index(list, struct arg, 0).name, lists[i][0]) == 0)
			printf("\t%s) objects='%s' ;;\n", c->name, lists[i][1]);
}

/* Both shells: zsh has bash's way of completion on request. */
int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "zsh") == 0)
		fputs("#compdef kvsh\nautoload -U bashcompinit && bashcompinit\n", stdout);
	else
		fputs("# bash completion of kvsh, made from its tables\n", stdout);
	fputs("_kvsh() {\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} i command= words= objects= connect=()\n"
	      "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	      "\t\tcase ${COMP_WORDS[i]} in\n"
	      "\t\t-c | --connect) connect=(-c \"${COMP_WORDS[++i]}\") ;;\n"
	      "\t\t-d | -e | -k | -K | -l | -o | --debug | --escape | --log | --output) ((i++)) ;;\n"
	      "\t\t-*) ;;\n"
	      "\t\t*) command=${COMP_WORDS[i]}; break ;;\n"
	      "\t\tesac\n"
	      "\tdone\n"
	      "\tif [[ -z $command ]]; then\n"
	      "\t\tCOMPREPLY=($(compgen -W '--connect --escape --help --output --quiet --readonly --timing --version ",
	      stdout);
	for_each(print_name);
	fputs("' -- \"$cur\"))\n\t\treturn\n\tfi\n\tcase $command in\n", stdout);
	for_each(print_options);
	fputs("\tesac\n\tcase $command in\n", stdout);
	for_each(print_objects);
	fputs("\tesac\n"
	      "\tif [[ $cur == -* ]]; then\n"
	      "\t\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	      "\telif [[ -n $objects ]]; then\n"
	      "\t\tCOMPREPLY=($(compgen -W \"$(kvsh -q -r \"${connect[@]}\" $objects 2>/dev/null)\" -- \"$cur\"))\n"
	      "\telse\n"
	      "\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n"
	      "\tfi\n"
	      "}\n"
	      "complete -o default -F _kvsh kvsh\n",
	      stdout);
	return ferror(stdout) != 0;
}
