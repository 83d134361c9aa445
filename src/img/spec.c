/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images named by their parts, as QEMU's: --image-opts "driver=qcow2,file.driver=nbd,file.host=h" and json:{"driver": ...}, whose
 * objects are taken apart into the same names. What they mean is a file's name and a format. Called by open.c.
 */
#include <jansson.h>
#include <string.h>

#include "error.h"
#include "file-nbd.h"
#include "img.h"

enum {
	NESTING_MAX = 8,
	PART_MAX = 4096,
};

/* The file of an image, under its names in QEMU: those of "server" may stand alone. */
struct place {
	const char *driver, *filename, *host, *port, *path, *export, *type;
};

static const struct {
	const char *name;
	size_t at;
} parts[] = {
	{"driver", offsetof(struct place, driver)},	 {"filename", offsetof(struct place, filename)},
	{"host", offsetof(struct place, host)},		 {"port", offsetof(struct place, port)},
	{"path", offsetof(struct place, path)},		 {"export", offsetof(struct place, export)},
	{"server.type", offsetof(struct place, type)},	 {"server.host", offsetof(struct place, host)},
	{"server.port", offsetof(struct place, port)},	 {"server.path", offsetof(struct place, path)},
};

static bool set_part(struct place *p, const char *name, const char *value)
{
	for (size_t i = 0; i < G_N_ELEMENTS(parts); i++)
		if (strcmp(parts[i].name, name) == 0) {
			*(const char **)((char *)p + parts[i].at) = value;
			return true;
		}
	return false;
}

static char *nbd_name(const struct place *p, GError **error)
{
	g_autofree char *export = g_uri_escape_string(p->export ? p->export : "", "/", TRUE);
	g_autofree char *path = p->path ? g_uri_escape_string(p->path, "/", TRUE) : NULL;
	bool v6 = p->host && strchr(p->host, ':');

	if (p->type && strcmp(p->type, "inet") != 0 && strcmp(p->type, "unix") != 0) {
		kv_fail(error, KV_ERROR_UNSUPPORTED, "an NBD server's type is inet or unix, not '%s'", p->type);
		return NULL;
	}
	if (path && !p->host)
		return g_strdup_printf("nbd+unix:///%s?socket=%s", export, path);
	if (p->host && !path)
		return g_strdup_printf(v6 ? "nbd://[%s]:%s/%s" : "nbd://%s:%s/%s", p->host, p->port ? p->port : "10809", export);
	kv_fail(error, KV_ERROR_USAGE, "an NBD server needs either server.host or server.path");
	return NULL;
}

static char *place_name(const struct place *p, GError **error)
{
	if (g_strcmp0(p->driver, "nbd") == 0)
		return nbd_name(p, error);
	if (p->driver && strcmp(p->driver, "file") != 0 && strcmp(p->driver, "host_device") != 0) {
		kv_fail(error, KV_ERROR_UNSUPPORTED, "driver '%s' of a file is not known; there are file, host_device and nbd",
			p->driver);
		return NULL;
	}
	if (!p->filename) {
		kv_fail(error, KV_ERROR_USAGE, "the image has no file.filename");
		return NULL;
	}
	/* With a driver it is no URI, whatever it looks like. */
	return p->driver && image_file_is_nbd(p->filename) ? g_strconcat("./", p->filename, NULL) : g_strdup(p->filename);
}

static bool read_words(char **words, char **ret_path, char **ret_format, GError **error)
{
	struct place p = {};
	const char *format = NULL;
	char *path;

	for (char **w = words; *w; w += 2) {
		const char *name = g_str_has_prefix(w[0], "file.") ? w[0] + strlen("file.") : w[0];

		if (strcmp(w[0], "driver") == 0)
			format = w[1];
		else if (strcmp(w[0], "read-only") != 0 && strcmp(w[0], "auto-read-only") != 0 && !set_part(&p, name, w[1]))
			return kv_fail(error, KV_ERROR_UNSUPPORTED,
				       "%s=%s is not supported; there are driver, file.driver, file.filename and, of nbd, "
				       "file.server.host, port and path, and file.export",
				       w[0], w[1]);
	}
	/* The driver of a file alone is a raw image. */
	if (format && (strcmp(format, "file") == 0 || strcmp(format, "host_device") == 0 || strcmp(format, "nbd") == 0)) {
		p.driver = format;
		format = "raw";
	}
	path = place_name(&p, error);
	if (!path)
		return false;
	*ret_path = path;
	*ret_format = g_strdup(format);
	return true;
}

bool img_read_image_opts(const char *text, char **ret_path, char **ret_format, GError **error)
{
	g_auto(GStrv) words = img_split_options(text);

	return read_words(words, ret_path, ret_format, error) || (g_prefix_error(error, "--image-opts: "), false);
}

/* ---- json: ---- */

static char *scalar(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_STRING:
		return g_strdup(json_string_value(value));
	case JSON_INTEGER:
		return g_strdup_printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
	case JSON_TRUE:
		return g_strdup("on");
	case JSON_FALSE:
		return g_strdup("off");
	default:
		return NULL;
	}
}

/* Members of members as "a.b". */
static bool flatten(const char *prefix, json_t *object, unsigned depth, GPtrArray *words, GError **error)
{
	const char *key;
	json_t *value;

	if (depth > NESTING_MAX)
		return kv_fail(error, KV_ERROR_USAGE, "more than %d objects in each other", NESTING_MAX);
	json_object_foreach(object, key, value)
	{
		g_autofree char *name = g_strconcat(prefix, *prefix ? "." : "", key, NULL);
		char *text;

		if (json_is_object(value)) {
			if (!flatten(name, value, depth + 1, words, error))
				return false;
			continue;
		}
		text = scalar(value);
		if (!text)
			return kv_fail(error, KV_ERROR_USAGE, "member '%s' is neither a string nor an object", name);
		g_ptr_array_add(words, g_steal_pointer(&name));
		g_ptr_array_add(words, text);
	}
	return true;
}

bool img_read_json(const char *text, char **ret_path, char **ret_format, GError **error)
{
	g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
	json_error_t why;
	json_t *root = strlen(text) <= PART_MAX * NESTING_MAX ? json_loads(text, JSON_REJECT_DUPLICATES, &why) : NULL;
	bool ok;

	if (!json_is_object(root)) {
		json_decref(root);
		return kv_fail(error, KV_ERROR_USAGE, "'json:%.40s...' is no JSON object", text);
	}
	ok = flatten("", root, 1, words, error);
	json_decref(root);
	g_ptr_array_add(words, NULL);
	ok = ok && read_words((char **)words->pdata, ret_path, ret_format, error);
	return ok || (g_prefix_error(error, "json: "), false);
}
