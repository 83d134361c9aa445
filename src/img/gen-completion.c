/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prints the bash completion of kv-img from its tables of commands, options and formats. Run by the build. */
#include <stdio.h>
#include <string.h>

#include "img.h"

static void print_words(const struct img_command *c)
{
	printf("\t%s) words=\"", c->name);
	for (const struct img_option *o = c->options; o->key; o++) {
		if (!o->help)
			continue;
		if (o->key < IMG_OBJECT)
			printf("-%c ", o->key);
		if (o->name)
			printf("--%s ", o->name);
	}
	puts("--help\" ;;");
}

int main(void)
{
	fputs("# bash completion of kv-img, made from its tables\n"
	      "_kv_img() {\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=\n"
	      "\tif ((COMP_CWORD == 1)); then\n"
	      "\t\tCOMPREPLY=($(compgen -W \"",
	      stdout);
	for (const struct img_command *const *c = img_commands; *c; c++)
		printf("%s ", (*c)->name);
	fputs("--help --version\" -- \"$cur\"))\n\t\treturn\n\tfi\n\tcase $prev in\n"
	      "\t-f | -F | -O) COMPREPLY=($(compgen -W \"",
	      stdout);
	for (const struct image_format *const *f = image_formats; *f; f++)
		printf("%s%s", f == image_formats ? "" : " ", (*f)->name);
	fputs("\" -- \"$cur\")); return ;;\n"
	      "\t--output) COMPREPLY=($(compgen -W \"human json\" -- \"$cur\")); return ;;\n"
	      "\t-t | -T) COMPREPLY=($(compgen -W \"writeback none writethrough directsync unsafe\" -- \"$cur\")); return ;;\n"
	      "\t--preallocation) COMPREPLY=($(compgen -W \"off metadata falloc full\" -- \"$cur\")); return ;;\n"
	      "\tesac\n\tcase ${COMP_WORDS[1]} in\n",
	      stdout);
	for (const struct img_command *const *c = img_commands; *c; c++)
		print_words(*c);
	fputs("\tesac\n"
	      "\tif [[ $cur == -* ]]; then\n"
	      "\t\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	      "\telse\n"
	      "\t\tcompopt -o filenames\n"
	      "\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n"
	      "\tfi\n"
	      "}\n"
	      "complete -F _kv_img kv-img\n",
	      stdout);
	return ferror(stdout) != 0;
}
