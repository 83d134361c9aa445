/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Folders of definitions. See store.h; store-index.c has the index, store-file.c how a file is written. */
#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "log.h"
#include "model-xml.h"
#include "store-file.h"
#include "store-index.h"
#include "store-journal.h"

#define ENDING	  ".xml"
#define AUTOSTART "autostart"

enum { FLUSH_AFTER = 64, NAME_MAX_BYTES = 250 };

struct store {
	char *dir, *root;
	unsigned flags;
	GTree *entries; /* name -> struct store_item */
	unsigned parsed;
	unsigned changes; /* that the index does not have */
	struct store_journal *journal; /* NULL: nothing is made durable */
};

/* ---- names ---- */

/* Bytes that make a name something else to a file system or a shell's listing become %XX, as the percent sign does. */
static char *file_name(const char *name, GError **error)
{
	GString *s = g_string_new(NULL);

	for (const char *p = name; *p; p++)
		if (*p == '/' || *p == '%' || (unsigned char)*p < ' ' || *p == 0x7f || (*p == '.' && p == name))
			g_string_append_printf(s, "%%%02x", (unsigned char)*p);
		else
			g_string_append_c(s, *p);
	if (!s->len || s->len > NAME_MAX_BYTES) {
		kv_fail(error, KV_ERROR_USAGE, "'%s' has no length that a file's name may have", name);
		g_string_free(s, TRUE);
		return NULL;
	}
	g_string_append(s, ENDING);
	return g_string_free(s, FALSE);
}

/* NULL: not one of ours. */
static char *name_of_file(const char *file)
{
	GString *s;

	if (*file == '.' || !g_str_has_suffix(file, ENDING))
		return NULL;
	s = g_string_new(NULL);
	for (const char *p = file; p < file + strlen(file) - strlen(ENDING); p++) {
		if (*p == '%' && g_ascii_isxdigit(p[1]) && g_ascii_isxdigit(p[2])) {
			g_string_append_c(s, (char)(g_ascii_xdigit_value(p[1]) * 16 + g_ascii_xdigit_value(p[2])));
			p += 2;
		} else {
			g_string_append_c(s, *p);
		}
	}
	return g_string_free(s, FALSE);
}

char *store_path(const struct store *s, const char *name, GError **error)
{
	g_autofree char *file = file_name(name, error);

	return file ? g_build_filename(s->dir, file, NULL) : NULL;
}

static char *link_path(const struct store *s, const char *name, GError **error)
{
	g_autofree char *file = file_name(name, error);

	return file ? g_build_filename(s->dir, AUTOSTART, file, NULL) : NULL;
}

/* ---- what a power cut leaves ---- */

static bool remove_files(struct store *s, const char *name, GError **error)
{
	g_autofree char *path = store_path(s, name, error), *link = path ? link_path(s, name, error) : NULL;

	if (!link)
		return false;
	if (!(s->flags & STORE_STATUS) && unlink(link) < 0 && errno != ENOENT && errno != ENOTDIR)
		return kv_fail_errno(error, errno, "cannot remove the link '%s'", link);
	if (unlink(path) < 0 && errno != ENOENT)
		return kv_fail_errno(error, errno, "cannot remove '%s'", path);
	return true;
}

/* Somebody has edited it since: with text in it, and younger than our record of what we wrote. */
static bool is_newer(const char *path, gint64 when)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_size &&
	       (gint64)st.st_mtim.tv_sec * G_USEC_PER_SEC + st.st_mtim.tv_nsec / 1000 > when;
}

static void replay(void *opaque, const char *name, const char *text, gint64 when)
{
	struct store *s = opaque;
	g_autoptr(GError) error = NULL;
	g_autofree char *file = file_name(name, &error), *path = file ? g_build_filename(s->dir, file, NULL) : NULL;

	if (path && is_newer(path, when))
		return;
	if (!path || !(text ? store_file_write(s->dir, file, text, true, NULL, &error) : remove_files(s, name, &error)))
		kv_log_error("after a power cut: %s", error->message);
}

static bool sync_file(const struct store *s, const char *name, GError **error)
{
	g_autofree char *path = store_path(s, name, error);
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
	bool ok = path && (fd >= 0 ? fsync(fd) == 0 : errno == ENOENT);

	if (path && !ok)
		kv_fail_errno(error, errno, "cannot make '%s' durable", path);
	if (fd >= 0)
		close(fd);
	return ok;
}

/* What the journal alone has becomes durable by itself, and it begins anew. */
static bool settle(struct store *s, GError **error)
{
	GHashTableIter iter;
	void *name;

	if (!s->journal || !g_hash_table_size(store_journal_names(s->journal)))
		return true;
	g_hash_table_iter_init(&iter, store_journal_names(s->journal));
	while (g_hash_table_iter_next(&iter, &name, NULL))
		if (!sync_file(s, name, error))
			return false;
	if (!store_file_sync_folder(s->dir, error))
		return false;
	return store_journal_begin(s->journal) || kv_fail_errno(error, errno, "cannot write the journal of '%s'", s->dir);
}

/* What was done to a name's files, text NULL: removed, is on the disk when this answers. */
static bool make_durable(struct store *s, const char *name, const char *text, GError **error)
{
	if (!s->journal || store_journal_add(s->journal, name, text))
		return true;
	if (!settle(s, error))
		return false;
	if (store_journal_add(s->journal, name, text))
		return true;
	return sync_file(s, name, error) && store_file_sync_folder(s->dir, error);
}

/* ---- reading a folder ---- */

static bool identify(struct store *s, const char *path, const char *name, struct store_item *item)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *text = store_file_read(path, MODEL_XML_MAX, &error);
	g_autoptr(xmlDoc) doc = text ? model_xml_parse(text, -1, s->flags & STORE_STATUS ? NULL : s->root, &error) : NULL;
	const char *uuid;
	xmlNode *node;

	s->parsed++;
	if (!doc) {
		kv_log_error("%s: %s; it is left alone", path, error->message);
		return false;
	}
	node = xmlDocGetRootElement(doc);
	if (s->flags & STORE_STATUS)
		return true;
	if (!xml_is(node, "name", name)) {
		kv_log_error("%s: the name in it is '%s'; it is left alone", path, xml_text(node, "name") ?: "");
		return false;
	}
	uuid = xml_text(node, "uuid");
	g_strlcpy(item->uuid, uuid ? uuid : "", sizeof(item->uuid));
	return true;
}

static void take_file(struct store *s, GHashTable *known, int dir_fd, const char *file)
{
	g_autofree char *name = name_of_file(file), *path = NULL;
	struct store_item *old, *item;
	struct stat st;

	if (!name || fstatat(dir_fd, file, &st, 0) < 0 || !S_ISREG(st.st_mode))
		return;
	item = g_new0(struct store_item, 1);
	store_item_stamp(item, &st);
	old = known ? g_hash_table_lookup(known, name) : NULL;
	path = g_build_filename(s->dir, file, NULL);
	if (old && store_item_same(old, item)) {
		memcpy(item->uuid, old->uuid, sizeof(item->uuid));
	} else if (identify(s, path, name, item)) {
		s->changes++;
	} else {
		g_free(item);
		return;
	}
	g_tree_insert(s->entries, g_steal_pointer(&name), item);
}

static void read_links(struct store *s)
{
	g_autofree char *path = g_build_filename(s->dir, AUTOSTART, NULL);
	DIR *dir = opendir(path);
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		g_autofree char *name = name_of_file(e->d_name);
		struct store_item *item = name ? g_tree_lookup(s->entries, name) : NULL;

		if (item)
			item->autostart = true;
	}
	if (dir)
		closedir(dir);
}

static bool read_folder(struct store *s, GError **error)
{
	g_autoptr(GHashTable) known = s->flags & STORE_STATUS ? NULL : store_index_read(s->dir);
	DIR *dir = opendir(s->dir);
	struct dirent *e;

	if (!dir)
		return kv_fail_errno(error, errno, "%s", s->dir);
	while ((e = readdir(dir)))
		if (store_file_is_leftover(e->d_name))
			unlinkat(dirfd(dir), e->d_name, 0);
		else
			take_file(s, known, dirfd(dir), e->d_name);
	closedir(dir);
	if (known && g_hash_table_size(known) != (guint)g_tree_nnodes(s->entries))
		s->changes++;
	read_links(s);
	return true;
}

static void flush(struct store *s)
{
	if (!s->changes || s->flags & STORE_STATUS)
		return;
	store_index_write(s->dir, s->entries);
	s->changes = 0;
}

static int compare(gconstpointer a, gconstpointer b, gpointer opaque)
{
	return strcmp(a, b);
}

struct store *store_open(const char *dir, const char *root, unsigned flags, GError **error)
{
	g_autoptr(Store) s = g_new0(struct store, 1);

	s->dir = g_strdup(dir);
	s->root = g_strdup(root);
	s->flags = flags;
	s->entries = g_tree_new_full(compare, NULL, g_free, g_free);
	if (g_mkdir_with_parents(dir, 0700) < 0) {
		kv_fail_errno(error, errno, "cannot make the folder '%s'", dir);
		return NULL;
	}
	if (!(flags & STORE_STATUS))
		s->journal = store_journal_open(dir, replay, s);
	if ((s->journal && store_journal_is_old(s->journal) && !settle(s, error)) || !read_folder(s, error))
		return NULL;
	flush(s);
	return g_steal_pointer(&s);
}

void store_settle(struct store *s)
{
	g_autoptr(GError) error = NULL;

	flush(s);
	if (!settle(s, &error))
		kv_log_warn("%s", error->message);
}

void store_free(struct store *s)
{
	if (!s)
		return;
	store_settle(s);
	store_journal_free(s->journal);
	g_tree_destroy(s->entries);
	g_free(s->dir);
	g_free(s->root);
	g_free(s);
}

struct each {
	void (*func)(void *opaque, const struct store_entry *entry);
	void *opaque;
};

static gboolean tell(gpointer name, gpointer value, gpointer opaque)
{
	const struct store_item *item = value;
	struct each *each = opaque;

	each->func(each->opaque, &(struct store_entry){name, item->uuid, item->autostart});
	return FALSE;
}

void store_each(struct store *s, void (*func)(void *opaque, const struct store_entry *entry), void *opaque)
{
	g_tree_foreach(s->entries, tell, &(struct each){func, opaque});
}

unsigned store_parsed(const struct store *s)
{
	return s->parsed;
}

/* ---- one definition ---- */

char *store_read(struct store *s, const char *name, GError **error)
{
	g_autofree char *path = store_path(s, name, error);

	return path ? store_file_read(path, MODEL_XML_MAX, error) : NULL;
}

static void changed(struct store *s)
{
	if (++s->changes >= FLUSH_AFTER)
		flush(s);
}

bool store_write(struct store *s, const char *name, const char *uuid, const char *xml, GError **error)
{
	g_autofree char *file = file_name(name, error);
	struct store_item *old, *item;
	struct stat st;

	if (strlen(xml) > MODEL_XML_MAX) /* nobody could read it again */
		return kv_fail(error, KV_ERROR_INVALID, "as it is kept, the definition of '%s' has %zu bytes; the most is %d",
			       name, strlen(xml), MODEL_XML_MAX);
	if (!file || !store_file_write(s->dir, file, xml, false, &st, error) || !make_durable(s, name, xml, error))
		return false;
	item = g_new0(struct store_item, 1);
	store_item_stamp(item, &st);
	g_strlcpy(item->uuid, uuid ? uuid : "", sizeof(item->uuid));
	old = g_tree_lookup(s->entries, name);
	item->autostart = old && old->autostart;
	g_tree_insert(s->entries, g_strdup(name), item);
	changed(s);
	return true;
}

bool store_set_autostart(struct store *s, const char *name, bool on, GError **error)
{
	g_autofree char *path = store_path(s, name, error), *link = path ? link_path(s, name, error) : NULL;
	g_autofree char *folder = link ? g_path_get_dirname(link) : NULL;
	struct store_item *item = g_tree_lookup(s->entries, name);

	if (!link)
		return false;
	if (!on && item && !item->autostart)
		return true;
	if (on && g_mkdir_with_parents(folder, 0700) < 0)
		return kv_fail_errno(error, errno, "cannot make the folder '%s'", folder);
	if (on && symlink(path, link) < 0 && errno != EEXIST)
		return kv_fail_errno(error, errno, "cannot make the link '%s'", link);
	if (!on && unlink(link) < 0 && errno != ENOENT)
		return kv_fail_errno(error, errno, "cannot remove the link '%s'", link);
	if (item)
		item->autostart = on;
	return store_file_sync_folder(folder, error);
}

bool store_remove(struct store *s, const char *name, GError **error)
{
	if (!remove_files(s, name, error) || !make_durable(s, name, NULL, error))
		return false;
	g_tree_remove(s->entries, name);
	changed(s);
	return true;
}
