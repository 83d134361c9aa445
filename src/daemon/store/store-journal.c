/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See store-journal.h. */
#include "store-journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "store-file.h"

#define FILE_NAME ".journal"
#define BOOT_ID	  "/proc/sys/kernel/random/boot_id"

/* It begins with STEP bytes, and grows rather than to wait for the files of all of its records. */
enum { STEP = 1 << 20, SIZE_MAX_BYTES = 8 << 20, HEADER = 4096, NAME_LIMIT = 4096, REMOVED = -1 };

static const char magic[8] = "kvjrnl1";

struct header {
	char magic[8];
	guint64 round;
	char boot[40];
	guint8 sum[8]; /* of what is before */
};

struct record {
	guint8 sum[8]; /* of what follows, the name and the text */
	guint64 round;
	gint64 when;
	guint32 name_len;
	gint32 text_len; /* or REMOVED */
};

struct store_journal {
	char *path, *dir;
	int fd; /* -1: not there yet */
	guint64 round;
	gsize end, size;
	bool is_ours; /* the round is this boot's */
	char boot[40];
	GHashTable *names;
};

static void sum_of(const void *data, gsize data_len, guint8 ret[8])
{
	g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_MD5);
	guint8 digest[16];
	gsize len = sizeof(digest);

	g_checksum_update(sum, data, (gssize)data_len);
	g_checksum_get_digest(sum, digest, &len);
	memcpy(ret, digest, 8);
}

static gsize place_of(const struct record *r)
{
	return sizeof(*r) + r->name_len + (gsize)MAX(r->text_len, 0);
}

/* ---- reading ---- */

struct change {
	char *text;
	gint64 when;
};

static void change_free(void *opaque)
{
	struct change *c = opaque;

	g_free(c->text);
	g_free(c);
}

/* The record there; NULL: none of this round. */
static const guint8 *record_at(const struct store_journal *j, const guint8 *all, gsize len, gsize at, struct record *ret)
{
	const gsize before = sizeof(ret->sum);
	guint8 sum[8];

	if (len - at < sizeof(*ret))
		return NULL;
	memcpy(ret, all + at, sizeof(*ret));
	if (ret->round != j->round || !ret->name_len || ret->name_len > NAME_LIMIT || ret->text_len < REMOVED ||
	    ret->text_len > SIZE_MAX_BYTES || place_of(ret) > len - at)
		return NULL;
	sum_of(all + at + before, place_of(ret) - before, sum);
	return memcmp(sum, ret->sum, sizeof(sum)) ? NULL : all + at + sizeof(*ret);
}

static GHashTable *read_records(struct store_journal *j, const guint8 *all, gsize len)
{
	GHashTable *changes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, change_free);
	const guint8 *data;
	struct record r;

	for (j->end = HEADER; (data = record_at(j, all, len, j->end, &r)); j->end += place_of(&r)) {
		struct change *c = g_new0(struct change, 1);
		char *name = g_strndup((const char *)data, r.name_len);

		c->when = r.when;
		if (r.text_len != REMOVED)
			c->text = g_strndup((const char *)data + r.name_len, (gsize)r.text_len);
		g_hash_table_add(j->names, g_strdup(name));
		g_hash_table_insert(changes, name, c);
	}
	return changes;
}

static bool read_header(struct store_journal *j, const guint8 *all, gsize len)
{
	struct header h;
	guint8 sum[8];

	if (len < HEADER)
		return false;
	memcpy(&h, all, sizeof(h));
	sum_of(&h, offsetof(struct header, sum), sum);
	if (memcmp(h.magic, magic, sizeof(magic)) || memcmp(h.sum, sum, sizeof(sum)))
		return false;
	j->round = h.round;
	j->is_ours = !memcmp(h.boot, j->boot, sizeof(h.boot));
	return true;
}

static gsize read_file(int fd, guint8 *data, gsize size)
{
	gsize len = 0;
	ssize_t n;

	while (len < size && (n = pread(fd, data + len, size - len, (off_t)len)) > 0)
		len += (gsize)n;
	return len;
}

static void read_journal(struct store_journal *j, store_change *replay, void *opaque)
{
	guint8 head[HEADER + sizeof(struct record)];
	gsize len = read_file(j->fd, head, sizeof(head));
	g_autoptr(GHashTable) changes = NULL;
	g_autofree guint8 *all = NULL;
	GHashTableIter iter;
	void *name, *value;
	struct record first;
	struct stat st;

	if (fstat(j->fd, &st) < 0)
		return;
	j->size = (gsize)MIN(st.st_size, SIZE_MAX_BYTES);
	if (!read_header(j, head, len))
		return;
	j->end = HEADER;
	/* After an orderly end there is none of this round, and megabytes of others need not be read. */
	memcpy(&first, head + HEADER, sizeof(first));
	if (len < sizeof(head) || first.round != j->round)
		return;
	all = g_malloc(j->size);
	len = read_file(j->fd, all, j->size);
	changes = read_records(j, all, len);
	if (j->is_ours)
		return;
	g_hash_table_iter_init(&iter, changes);
	while (g_hash_table_iter_next(&iter, &name, &value)) {
		const struct change *c = value;

		replay(opaque, name, c->text, c->when);
	}
}

struct store_journal *store_journal_open(const char *dir, store_change *replay, void *opaque)
{
	struct store_journal *j = g_new0(struct store_journal, 1);
	g_autofree char *boot = NULL;

	j->dir = g_strdup(dir);
	j->path = g_build_filename(dir, FILE_NAME, NULL);
	j->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	if (g_file_get_contents(BOOT_ID, &boot, NULL, NULL))
		g_strlcpy(j->boot, g_strchomp(boot), sizeof(j->boot));
	j->fd = open(j->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (j->fd >= 0)
		read_journal(j, replay, opaque);
	else if (errno != ENOENT)
		kv_log_warn("%s: %s", j->path, g_strerror(errno));
	return j;
}

bool store_journal_is_old(const struct store_journal *j)
{
	return !j->is_ours;
}

void store_journal_free(struct store_journal *j)
{
	if (!j)
		return;
	if (j->fd >= 0)
		close(j->fd);
	g_hash_table_destroy(j->names);
	g_free(j->path);
	g_free(j->dir);
	g_free(j);
}

GHashTable *store_journal_names(struct store_journal *j)
{
	return j->names;
}

/* ---- writing ---- */

static bool write_at(int fd, const void *data, gsize len, gsize at)
{
	const guint8 *p = data;

	while (len) {
		ssize_t n = pwrite(fd, p, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		at += (gsize)n;
		len -= (gsize)n;
	}
	return true;
}

/* Blocks that were written once: later writes change nothing but them. */
static bool grow(struct store_journal *j)
{
	g_autofree guint8 *zeroes = g_malloc0(STEP);

	if (j->size + STEP > SIZE_MAX_BYTES || !write_at(j->fd, zeroes, STEP, j->size) || fsync(j->fd) < 0)
		return false;
	j->size += STEP;
	return true;
}

static bool make(struct store_journal *j)
{
	j->fd = open(j->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (j->fd < 0)
		return false;
	if (grow(j) && store_file_sync_folder(j->dir, NULL))
		return true;
	kv_log_warn("%s: %s; changes take longer", j->path, g_strerror(errno));
	unlink(j->path);
	close(j->fd);
	j->fd = -1;
	j->size = 0;
	return false;
}

bool store_journal_begin(struct store_journal *j)
{
	guint8 block[HEADER] = {};
	struct header h = { .round = j->round + 1 };

	memcpy(h.magic, magic, sizeof(magic));
	memcpy(h.boot, j->boot, sizeof(h.boot));
	sum_of(&h, offsetof(struct header, sum), h.sum);
	memcpy(block, &h, sizeof(h));
	if (j->fd < 0 || !write_at(j->fd, block, sizeof(block), 0) || fdatasync(j->fd) < 0)
		return false;
	j->round++;
	j->end = HEADER;
	j->is_ours = true;
	g_hash_table_remove_all(j->names);
	return true;
}

bool store_journal_add(struct store_journal *j, const char *name, const char *text)
{
	struct record r = { .when = g_get_real_time(), .name_len = (guint32)strlen(name), .text_len = REMOVED };
	gsize text_len = text ? strlen(text) : 0;
	g_autofree guint8 *all = NULL;

	if (!j->boot[0] || r.name_len > NAME_LIMIT || text_len > STEP - HEADER - sizeof(r) - NAME_LIMIT ||
	    (j->fd < 0 && !make(j)) || (!j->is_ours && !store_journal_begin(j)))
		return false;
	if (text)
		r.text_len = (gint32)text_len;
	while (j->end + place_of(&r) > j->size)
		if (!grow(j))
			return false;
	r.round = j->round;
	all = g_malloc(place_of(&r));
	memcpy(all + sizeof(r), name, r.name_len);
	if (text)
		memcpy(all + sizeof(r) + r.name_len, text, text_len);
	memcpy(all, &r, sizeof(r));
	sum_of(all + sizeof(r.sum), place_of(&r) - sizeof(r.sum), all);
	if (!write_at(j->fd, all, place_of(&r), j->end) || fdatasync(j->fd) < 0)
		return false;
	j->end += place_of(&r);
	g_hash_table_add(j->names, g_strdup(name));
	return true;
}
