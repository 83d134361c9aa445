/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Replays inputs through a fuzz target without a fuzzer: each argument is a file, or a
 * directory whose files are taken. With no inputs found it fails, so that a lost corpus is
 * noticed. `-n COUNT` adds COUNT inputs of a fixed pseudo-random sequence and mutations of the files,
 * a small fuzzing session that is the same every time. Linked with one fuzz-*.c each.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <glib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static GPtrArray *inputs;

static void run_file(const char *path)
{
	g_autoptr(GError) error = NULL;
	char *data;
	size_t len;

	if (!g_file_get_contents(path, &data, &len, &error)) {
		fprintf(stderr, "%s\n", error->message);
		exit(1);
	}
	LLVMFuzzerTestOneInput((const uint8_t *)data, len);
	g_ptr_array_add(inputs, g_bytes_new_take(data, len));
}

static void run_path(const char *path)
{
	GDir *dir = g_dir_open(path, 0, NULL);
	const char *name;

	if (!dir) {
		run_file(path);
		return;
	}
	while ((name = g_dir_read_name(dir))) {
		g_autofree char *child = g_build_filename(path, name, NULL);

		run_file(child);
	}
	g_dir_close(dir);
}

static void run_random(unsigned count)
{
	GRand *rand = g_rand_new_with_seed(1);

	for (unsigned i = 0; i < count; i++) {
		size_t len = g_rand_int_range(rand, 0, 2048);
		uint8_t *data;

		if (inputs->len && g_rand_int_range(rand, 0, 8)) {
			GBytes *base = inputs->pdata[g_rand_int_range(rand, 0, inputs->len)];
			const void *from = g_bytes_get_data(base, &len);

			data = g_memdup2(from, len);
			for (unsigned k = g_rand_int_range(rand, 1, 16); k && len; k--)
				data[g_rand_int_range(rand, 0, len)] ^=
					1 << g_rand_int_range(rand, 0, 8);
		} else {
			data = g_malloc(len);
			for (size_t k = 0; k < len; k++)
				data[k] = g_rand_int(rand);
		}
		LLVMFuzzerTestOneInput(data, len);
		g_free(data);
	}
	g_rand_free(rand);
}

int main(int argc, char **argv)
{
	unsigned extra = 0;

	inputs = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-n") && i + 1 < argc)
			extra = strtoul(argv[++i], NULL, 10);
		else
			run_path(argv[i]);
	}
	if (!inputs->len) {
		fprintf(stderr, "%s: no inputs\n", argv[0]);
		return 1;
	}
	printf("%u inputs", inputs->len);
	run_random(extra);
	printf(", %u mutations\n", extra);
	g_ptr_array_free(inputs, TRUE);
	return 0;
}
