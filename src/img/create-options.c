/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What -o may have, a table for each format in the order in which "Formatting" prints them: QEMU's names, types, defaults and
 * help. What a value means, and whether a format has the option here, its create() decides.
 */
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "img.h"

enum value_type { STRING, BOOL, NUMBER, SIZE };

struct img_create_option {
	const char *name;
	enum value_type type;
	const char *help;
	const char *standard;				      /* what is printed when it is not given */
	enum { CREATE = 0, AMEND = 1, FILE_LEVEL = 2 } where; /* amend has it as well; it is the file's and no format's */
};

#define NOCOW                                                                                                                    \
	{                                                                                                                        \
		"nocow", BOOL, "Turn off copy-on-write (valid only on btrfs)", NULL, FILE_LEVEL                                  \
	}
#define EXTENT                                                                                                                   \
	{                                                                                                                        \
		"extent_size_hint", SIZE, "Extent size hint for the image file, 0 to disable", NULL, FILE_LEVEL                  \
	}
#define PREALLOC                                                                                                                 \
	{                                                                                                                        \
		"preallocation", STRING, "Preallocation mode (allowed values: off, falloc, full)", NULL, FILE_LEVEL              \
	}

static const struct img_create_option raw_options[] = {
	{"size", SIZE, "Virtual disk size"}, NOCOW, PREALLOC, EXTENT, {},
};

static const struct img_create_option qcow2_options[] = {
	{"cluster_size", SIZE, "qcow2 cluster size", "65536"},
	{"extended_l2", BOOL, "Extended L2 tables", "off"},
	{"preallocation", STRING, "Preallocation mode (allowed values: off, metadata, falloc, full)"},
	{"compression_type", STRING, "Compression method used for image cluster compression", "zlib"},
	{"size", SIZE, "Virtual disk size", NULL, AMEND},
	{"compat", STRING, "Compatibility level (v2 [0.10] or v3 [1.1])", NULL, AMEND},
	{"backing_file", STRING, "File name of a base image", NULL, AMEND},
	{"backing_fmt", STRING, "Image format of the base image", NULL, AMEND},
	{"data_file", STRING, "File name of an external data file", NULL, AMEND},
	{"data_file_raw", BOOL, "The external data file must stay valid as a raw image", NULL, AMEND},
	{"lazy_refcounts", BOOL, "Postpone refcount updates", "off", AMEND},
	{"refcount_bits", NUMBER, "Width of a reference count entry in bits", "16", AMEND},
	NOCOW,
	EXTENT,
	{},
};

static const struct img_create_option vmdk_options[] = {
	{"size", SIZE, "Virtual disk size"},
	{"adapter_type", STRING, "Virtual adapter type, can be one of ide (default), lsilogic, buslogic or legacyESX"},
	{"backing_file", STRING, "File name of a base image"},
	{"backing_fmt", STRING, "Must be 'vmdk' if present"},
	{"compat6", BOOL, "VMDK version 6 image", "off"},
	{"hwversion", STRING, "VMDK hardware version", "undefined"},
	{"toolsversion", STRING, "VMware guest tools version"},
	{"subformat", STRING,
	 "VMDK flat extent format, can be one of {monolithicSparse (default) | monolithicFlat | "
	 "twoGbMaxExtentSparse | twoGbMaxExtentFlat | streamOptimized} "},
	{"zeroed_grain", BOOL, "Enable efficient zero writes using the zeroed-grain GTE feature"},
	NOCOW,
	PREALLOC,
	EXTENT,
	{},
};

static const struct img_create_option vpc_options[] = {
	{"size", SIZE, "Virtual disk size"},
	{"subformat", STRING, "Type of virtual hard disk format. Supported formats are {dynamic (default) | fixed} "},
	{"force_size", BOOL,
	 "Force disk size calculation to use the actual size specified, rather than using the nearest "
	 "CHS-based calculation"},
	NOCOW,
	PREALLOC,
	EXTENT,
	{},
};

static const struct img_create_option vhdx_options[] = {
	{"size", SIZE, "Virtual disk size; max of 64TB."},
	{"log_size", SIZE, "Log size; min 1MB.", "1048576"},
	{"block_size", SIZE, "Block Size; min 1MB, max 256MB. 0 means auto-calculate based on image size.", "0"},
	{"subformat", STRING, "VHDX format type, can be either 'dynamic' or 'fixed'. Default is 'dynamic'."},
	{"block_state_zero", BOOL,
	 "Force use of payload blocks of type 'ZERO'. Non-standard, but default.  Do not set to 'off' "
	 "when using 'qemu-img convert' with subformat=dynamic."},
	NOCOW,
	PREALLOC,
	EXTENT,
	{},
};

static const struct img_create_option vdi_options[] = {
	{"size", SIZE, "Virtual disk size"},
	{"static", BOOL, "VDI static (pre-allocated) image", "off"},
	NOCOW,
	PREALLOC,
	EXTENT,
	{},
};

static const struct {
	const char *format;
	const struct img_create_option *options;
} tables[] = {
	{"raw", raw_options}, {"qcow2", qcow2_options}, {"vmdk", vmdk_options},
	{"vpc", vpc_options}, {"vhdx", vhdx_options},	{"vdi", vdi_options},
};

static const struct img_create_option *find_table(const char *format)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(tables); i++)
		if (strcmp(tables[i].format, format) == 0)
			return tables[i].options;
	return NULL;
}

static int find_row(const struct img_create_option *table, const char *name)
{
	for (int i = 0; table && table[i].name; i++)
		if (strcmp(table[i].name, name) == 0)
			return i;
	return -1;
}

static int fail_at(const char *prefix, const char *format, const char *a, const char *b)
{
	g_autofree char *text = g_strdup_printf(format, a, b);

	return img_fail("%s%s%s", prefix ? prefix : "", prefix ? ": " : "", text);
}

/* "on", "off"; NULL: it is none of the words for them. */
static const char *read_switch(const char *value)
{
	static const char *const on[] = {"on", "yes", "true", "y", NULL}, *const off[] = {"off", "no", "false", "n", NULL};

	return g_strv_contains(on, value) ? "on" : g_strv_contains(off, value) ? "off" : NULL;
}

const char *img_new_value(const struct img_new *n, unsigned row)
{
	return n->value[row] && n->table[row].type == BOOL ? read_switch(n->value[row]) : n->value[row];
}

const char *img_new_get(const struct img_new *n, const char *name)
{
	int row = find_row(n->table, name);

	return row < 0 ? NULL : img_new_value(n, row);
}

/* A value as it is printed and handed on: sizes and numbers in digits alone. */
static char *read_value(const struct img_create_option *o, const char *value, const char *prefix)
{
	uint64_t number;

	if (!g_utf8_validate(value, -1, NULL)) {
		fail_at(prefix, "Parameter '%s' is no UTF-8: '%s'", o->name, value);
		return NULL;
	}
	if (o->type == SIZE && img_parse_size(value, &number) < 0) {
		fail_at(prefix,
			"Parameter '%s' expects a non-negative number below 2^64, optionally with a suffix k, M, G, T, P or E, "
			"not '%s'",
			o->name, value);
		return NULL;
	}
	if (o->type == NUMBER && !img_number(value, &number)) {
		fail_at(prefix, "Parameter '%s' expects a number, not '%s'", o->name, value);
		return NULL;
	}
	if (o->type == BOOL && !read_switch(value)) {
		fail_at(prefix, "Parameter '%s' expects 'on' or 'off', not '%s'", o->name, value);
		return NULL;
	}
	return o->type == SIZE || o->type == NUMBER ? g_strdup_printf("%" G_GUINT64_FORMAT, number) : g_strdup(value);
}

/* QEMU refuses a list with an empty end. */
static bool is_list(const char *text)
{
	size_t n = strlen(text), commas = 0;

	while (commas < n && text[n - 1 - commas] == ',')
		commas++;
	return n && commas % 2 == 0 && (text[0] != ',' || text[1] == ',');
}

bool img_new_parse(struct img_new *n, const char *prefix, const char *format, const char *options)
{
	g_auto(GStrv) words = NULL;

	memset(n, 0, sizeof(*n));
	n->format = image_format_find(format);
	n->table = find_table(format);
	if (!n->format || !n->format->create || !n->table)
		return fail_at(prefix,
			       n->format ? "Format driver '%s' does not support image creation" : "Unknown file format '%s'",
			       format, ""),
		       false;
	if (options && !is_list(options))
		return img_fail("Invalid option list: %s", options), false;
	words = img_split_options(options ? options : "");
	for (char **w = words; *w; w += 2) {
		int row = find_row(n->table, w[0]);
		char *value;

		if (row < 0) {
			img_new_clear(n);
			return fail_at(prefix, "Invalid parameter '%s'", w[0], ""), false;
		}
		value = read_value(&n->table[row], w[1], prefix);
		if (!value)
			return img_new_clear(n), false;
		g_free(n->value[row]);
		n->value[row] = value;
	}
	return true;
}

bool img_new_has(const struct img_new *n, const char *name)
{
	return find_row(n->table, name) >= 0;
}

bool img_new_set(struct img_new *n, const char *name, const char *value)
{
	int row = find_row(n->table, name);

	if (row < 0)
		return false;
	g_free(n->value[row]);
	n->value[row] = g_strdup(value);
	return true;
}

void img_new_clear(struct img_new *n)
{
	for (unsigned i = 0; i < IMG_MAX_OPTIONS; i++)
		g_clear_pointer(&n->value[i], g_free);
}

void img_new_print(const struct img_new *n, const char *file)
{
	printf("Formatting '%s', fmt=%s", file, n->format->name);
	for (unsigned i = 0; n->table[i].name; i++) {
		const char *value = n->value[i] ? n->value[i] : n->table[i].standard;

		if (!value)
			continue;
		printf(" %s=", n->table[i].name);
		for (; *value; value++)
			printf(*value == ',' ? ",%c" : "%c", *value);
	}
	putchar('\n');
	fflush(stdout);
}

/* Options as image_create() takes them. */
static GVariant *all_options(const struct img_new *n, const char *file)
{
	GVariantDict options;

	g_variant_dict_init(&options, NULL);
	img_insert_path(&options, img_file_name(file));
	g_variant_dict_insert(&options, "format", "s", n->format->name);
	for (unsigned i = 0; n->table[i].name; i++) {
		const char *name = n->table[i].name;

		if (!n->value[i])
			continue;
		if (strcmp(name, "size") == 0)
			g_variant_dict_insert(&options, "size", "t", g_ascii_strtoull(n->value[i], NULL, 10));
		else if (strcmp(name, "backing_file") == 0)
			g_variant_dict_insert(&options, "backing", "s", n->value[i]);
		else if (strcmp(name, "backing_fmt") == 0)
			g_variant_dict_insert(&options, "backing-format", "s", n->value[i]);
		else
			g_variant_dict_insert(&options, name, "s", img_new_value(n, i));
	}
	/* Whether it is there, and how large, its caller has looked at. */
	if (img_new_get(n, "backing_file"))
		g_variant_dict_insert(&options, "backing-unchecked", "b", TRUE);
	g_variant_dict_insert(&options, "unsafe", "b", n->unsafe);
	return g_variant_ref_sink(g_variant_dict_end(&options));
}

bool img_new_create(const struct img_new *n, const char *file, GError **error)
{
	g_autoptr(GVariant) all = NULL;

	for (unsigned i = 0; n->table[i].name; i++)
		if (n->value[i] && !g_utf8_validate(n->value[i], -1, NULL))
			return kv_fail(error, KV_ERROR_UNSUPPORTED, "%s is no UTF-8: '%s'", n->table[i].name, n->value[i]);
	all = all_options(n, file);
	return image_create(all, error);
}

bool img_new_check(const struct img_new *n)
{
	g_autoptr(GVariant) all = all_options(n, "");
	GError *error = NULL;

	return !n->format->check_create || n->format->check_create(all, &error) || !img_fail_error(NULL, error);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp((*(const struct img_create_option *const *)a)->name, (*(const struct img_create_option *const *)b)->name);
}

static void print_options(const struct img_create_option *table, bool file_level, bool amend)
{
	static const char *const types[] = {"str", "bool (on/off)", "num", "size"};
	const struct img_create_option *rows[IMG_MAX_OPTIONS];
	unsigned n = 0;

	for (const struct img_create_option *o = table; o->name; o++)
		if ((file_level || o->where != FILE_LEVEL) && (!amend || o->where == AMEND))
			rows[n++] = o;
	qsort(rows, n, sizeof(rows[0]), compare_names);
	for (unsigned i = 0; i < n; i++) {
		g_autofree char *left = g_strdup_printf("%s=<%s>", rows[i]->name, types[rows[i]->type]);

		printf("  %-22s - %s\n", left, rows[i]->help);
	}
}

bool img_asks_for_help(const char *options)
{
	g_auto(GStrv) words = img_split_options(options);

	for (char **w = words; *w; w += 2)
		if (strcmp(w[0], "help") == 0 || strcmp(w[0], "?") == 0)
			return true;
	return false;
}

bool img_options_help(const char *format, const char *options, bool with_file, int *ret_status)
{
	const struct img_create_option *table = find_table(format);

	if (!options || !img_asks_for_help(options))
		return false;
	*ret_status = 0;
	if (!table || !image_format_find(format)) {
		*ret_status = img_fail("Unknown file format '%s'", format);
		return true;
	}
	if (with_file)
		puts("Supported options:");
	else
		printf("Supported %s options:\n", format);
	print_options(table, with_file, false);
	if (!with_file)
		puts("\nThe protocol level may support further options.\n"
		     "Specify the target filename to include those options.");
	return true;
}

int img_amend_help(const char *format)
{
	const struct image_format *f = image_format_find(format);

	bool known;

	if (!f || !img_can_amend(format, "size", &known))
		return img_fail(f ? "Format driver '%s' does not support option amendment" : "Unknown file format '%s'", format);
	printf("Amend options for '%s':\n", format);
	print_options(find_table(format), false, true);
	return 0;
}

const char *img_new_name(const struct img_new *n, unsigned row)
{
	return n->table[row].name;
}

bool img_can_stand(const char *format)
{
	return find_row(find_table(format), "backing_file") >= 0;
}

bool img_can_amend(const char *format, const char *name, bool *ret_known)
{
	const struct img_create_option *table = find_table(format);
	int row = find_row(table, name);

	*ret_known = row >= 0;
	return row >= 0 && table[row].where == AMEND;
}
