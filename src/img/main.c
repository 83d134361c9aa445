/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kv-img: the disk images of kv-vmm and QEMU, from a shell, with qemu-img's commands, options, texts and exit statuses. A
 * command is a row of img_commands[]; its options are a table, from which the parser, --help and the shell's completion come.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "img.h"

static void help(void)
{
	puts("usage: kv-img COMMAND [option]... [file]...\nDisk images: raw, qcow2 and others.\n");
	for (const struct img_command *const *c = img_commands; *c; c++)
		printf("  %-9s %s\n", (*c)->name, (*c)->help);
	fputs("\n  -h, --help     this text; kv-img COMMAND --help has a command's options\n  -V, --version\n\nFormats:", stdout);
	for (const struct image_format *const *f = image_formats; *f; f++)
		printf(" %s", (*f)->name);
	puts("\nSizes are bytes or have a suffix k, M, G, T, P or E (powers of 1024).");
}

static void print_option(const struct img_option *o)
{
	GString *left = g_string_new(NULL);

	if (o->key < IMG_OBJECT)
		g_string_append_printf(left, "-%c%s", o->key, o->name ? ", " : "");
	if (o->name)
		g_string_append_printf(left, "--%s", o->name);
	if (o->arg)
		g_string_append_printf(left, " %s", o->arg);
	printf("  %-24s %s\n", left->str, o->help);
	g_string_free(left, TRUE);
}

void img_help(const struct img_command *command)
{
	printf("usage: kv-img %s %s\n%s\n", command->name, command->usage, command->help);
	for (const struct img_option *o = command->options; o->key; o++)
		if (o->help)
			print_option(o);
}

/* getopt's two notations of a command's table. */
static char *make_getopt(const struct img_command *command, struct option *longs, unsigned max)
{
	GString *letters = g_string_new(":h");
	unsigned n = 0;

	longs[n++] = (struct option){"help", no_argument, NULL, 'h'};
	for (const struct img_option *o = command->options; o->key; o++) {
		if (o->key < IMG_OBJECT)
			g_string_append_printf(letters, "%c%s", o->key, o->arg ? ":" : "");
		if (o->name && n + 1 < max)
			longs[n++] = (struct option){o->name, o->arg ? required_argument : no_argument, NULL, o->key};
	}
	longs[n] = (struct option){NULL, 0, NULL, 0};
	return g_string_free(letters, FALSE);
}

static void add_value(struct img_args *args, int key, const char *value)
{
	struct img_given given = {key, value ? value : ""};

	args->value[key] = given.value;
	g_array_append_val(args->given, given);
	if (key == 'o' && value) {
		if (args->o)
			g_string_append_printf(args->o, ",%s", value);
		else
			args->o = g_string_new(value);
	}
}

/* -1: go on; else the exit status. */
static int parse(struct img_args *args, int argc, char **argv)
{
	struct option longs[32];
	g_autofree char *letters = make_getopt(args->command, longs, G_N_ELEMENTS(longs));
	int key;

	opterr = 0;
	while ((key = getopt_long(argc, argv, letters, longs, NULL)) != -1)
		switch (key) {
		case 'h':
			return img_help(args->command), 0;
		case ':':
			return img_usage(args, "missing argument for option '%s'", argv[optind - 1]);
		case '?':
			return img_usage(args, "unrecognized option '%s'", argv[optind - 1]);
		default:
			add_value(args, key, optarg);
		}
	args->n = argc - optind;
	args->word = argv + optind;
	if (img_has(args, IMG_OBJECT))
		return img_fail("--object is not supported: images are not encrypted");
	return -1;
}

static int run(const struct img_command *command, int argc, char **argv)
{
	g_autoptr(GArray) given = g_array_new(FALSE, FALSE, sizeof(struct img_given));
	struct img_args args = {.command = command, .given = given};
	const char *last = command->size_last && argc > 2 && argv[argc - 1][0] == '-' && g_ascii_isdigit(argv[argc - 1][1])
				   ? argv[argc - 1]
				   : NULL;
	char **words;
	int status = parse(&args, argc - (last != NULL), argv);

	if (status >= 0)
		return status;
	words = g_new0(char *, args.n + 2);
	memcpy(words, args.word, args.n * sizeof(words[0]));
	if (last)
		words[args.n++] = (char *)last;
	args.word = words;
	status = command->run(&args);
	g_free(words);
	if (args.o)
		g_string_free(args.o, TRUE);
	return status;
}

int main(int argc, char **argv)
{
	int status;

	if (argc < 2)
		return img_usage(NULL, "Not enough arguments");
	if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
		help();
		return 0;
	}
	if (strcmp(argv[1], "-V") == 0 || strcmp(argv[1], "--version") == 0) {
		puts("kv-img (Kvasir) " KV_VERSION);
		return 0;
	}
	if (argv[1][0] == '-')
		return img_usage(NULL, "unrecognized option '%s'", argv[1]);
	for (const struct img_command *const *c = img_commands; *c; c++) {
		if (strcmp((*c)->name, argv[1]) != 0)
			continue;
		status = run(*c, argc - 1, argv + 1);
		if (fflush(stdout) != 0 || ferror(stdout))
			return img_fail("cannot write to standard output");
		return status;
	}
	return img_usage(NULL, "Command not found: %s", argv[1]);
}
