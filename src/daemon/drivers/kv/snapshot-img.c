/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kv-img, run as a child: images that no machine has open are not read or written by the daemon itself, so what is wrong with one
 * ends a child. It ends with the daemon, so that nobody changes an image behind the back of the next one. See snapshot.h.
 */
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "snapshot.h"

static void end_with_parent(gpointer unused)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Beside the daemon as it is installed, then as it is built, then anywhere. */
static char *find_img(void)
{
	static const char *const places[] = {"kv-img", "../bin/kv-img", "../img/kv-img"};
	g_autofree char *self = g_file_read_link("/proc/self/exe", NULL), *dir = self ? g_path_get_dirname(self) : NULL;
	char *found;

	for (unsigned i = 0; dir && i < G_N_ELEMENTS(places); i++) {
		g_autofree char *path = g_build_filename(dir, places[i], NULL);

		if (access(path, X_OK) == 0)
			return g_canonicalize_filename(path, NULL);
	}
	found = g_find_program_in_path("kv-img");
	return found ? found : g_strdup("kv-img");
}

static bool run(char **argv, char **ret_out, GError **error)
{
	g_autofree char *said = NULL, *line = g_strjoinv(" ", argv);
	g_autoptr(GError) why = NULL;
	gint status = 0;
	bool ok;

	state_release();
	ok = g_spawn_sync("/", argv, NULL, ret_out ? 0 : G_SPAWN_STDOUT_TO_DEV_NULL, end_with_parent, NULL, ret_out, &said,
			  &status, &why);
	state_acquire();
	if (!ok)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "%s", why->message);
	return g_spawn_check_wait_status(status, NULL) ||
	       rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "Child process (%s) unexpected exit status %d: %s", line, status >> 8,
			g_strchomp(said));
}

bool kv_img(GError **error, const char *command, ...)
{
	g_autoptr(GPtrArray) words = g_ptr_array_new();
	g_autofree char *program = find_img();
	const char *word;
	va_list ap;

	g_ptr_array_add(words, program);
	g_ptr_array_add(words, (char *)command);
	va_start(ap, command);
	while ((word = va_arg(ap, const char *)))
		g_ptr_array_add(words, (char *)word);
	va_end(ap);
	g_ptr_array_add(words, NULL);
	return run((char **)words->pdata, NULL, error);
}

/* ---- what an image is ---- */

char *kv_canonical(const char *file)
{
	char *real = realpath(file, NULL), *copy = g_strdup(real ? real : file);

	free(real);
	return copy;
}

bool kv_is_same_file(const char *a, const char *b)
{
	g_autofree char *first = NULL, *second = NULL;

	if (!a || !b || !strcmp(a, b))
		return a && b;
	first = kv_canonical(a);
	second = kv_canonical(b);
	return !strcmp(first, second);
}

static void layer_free(void *opaque)
{
	struct kv_layer *layer = opaque;

	g_free(layer->file);
	g_free(layer->format);
	g_strfreev(layer->snapshots);
	g_free(layer);
}

bool kv_layer_has(const struct kv_layer *layer, const char *snapshot)
{
	return g_strv_contains((const char *const *)layer->snapshots, snapshot);
}

static char **names_of(JsonObject *o)
{
	JsonArray *list = json_object_has_member(o, "snapshots") ? kv_array(json_object_get_member(o, "snapshots")) : NULL;
	GPtrArray *names = g_ptr_array_new();

	for (guint i = 0; list && i < json_array_get_length(list); i++) {
		const char *name = kv_text_in(kv_object(json_array_get_element(list, i)), "name");

		if (name)
			g_ptr_array_add(names, g_strdup(name));
	}
	g_ptr_array_add(names, NULL);
	return (char **)g_ptr_array_free(names, FALSE);
}

static GPtrArray *read_chain(const char *text, const char *file, GError **error)
{
	g_autoptr(JsonNode) node = json_from_string(text, NULL);
	g_autoptr(GPtrArray) chain = g_ptr_array_new_with_free_func(layer_free);
	JsonArray *list = kv_array(node);

	for (guint i = 0; list && i < json_array_get_length(list); i++) {
		JsonObject *o = kv_object(json_array_get_element(list, i));
		const char *name = kv_text_in(o, "filename"), *format = kv_text_in(o, "format");
		struct kv_layer *layer;

		if (!name || !format)
			break;
		layer = g_new0(struct kv_layer, 1);
		*layer = (struct kv_layer){kv_canonical(name), g_strdup(format), names_of(o)};
		g_ptr_array_add(chain, layer);
	}
	if (chain->len)
		return g_steal_pointer(&chain);
	rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "kv-img says nothing about '%s'", file);
	return NULL;
}

GPtrArray *kv_img_chain(const char *file, const char *format, GError **error)
{
	g_autofree char *program = find_img(), *out = NULL;
	char *argv[] = {program,
			(char *)"info",
			(char *)"-U",
			(char *)"--backing-chain",
			(char *)"--output",
			(char *)"json",
			(char *)file,
			format ? (char *)"-f" : NULL,
			(char *)format,
			NULL};

	return run(argv, &out, error) ? read_chain(out, file, error) : NULL;
}
