/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The header of a qcow2 file and its extensions. Reading checks every number; what a later version of the format may have put
 * there (fields, extensions, compatible features) is kept when the header is written anew.
 */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "error.h"
#include "log.h"
#include "qcow2.h"

enum {
	EXT_END = 0,
	EXT_BACKING_FORMAT = 0xe2792aca,
	EXT_FEATURES = 0x6803f857,
	EXT_BITMAPS = 0x23852875,
	EXT_CRYPT = 0x0537be77,
	EXT_DATA_FILE = 0x44415441,
};

enum {
	MAX_EXTENSIONS = 64,
	FEATURE_ENTRY = 48,
	FEATURE_NAME = 46,
	SECTOR = 512,
	FEATURES_FROM = 4096, /* cluster size: smaller ones have no room for a table of names */
	AT_COMPRESSION = 104,
};

/* Those that others may not ignore; with all of them the header is longer than a sector (qcow2_header_write()). */
static const struct {
	uint8_t type, bit;
	const char *name;
} features[] = {
	{0, 0, "dirty bit"},	    {0, 1, "corrupt bit"},	   {0, 2, "external data file"},
	{0, 3, "compression type"}, {0, 4, "extended L2 entries"},
};

static bool bad(struct qcow2 *s, GError **error, const char *what)
{
	return kv_fail(error, KV_ERROR_INVALID, "disk '%s' is not a usable qcow2 image: %s; use a backup or a copy", s->img->path,
		       what);
}

static bool read_bytes(struct qcow2 *s, uint64_t at, void *buf, uint64_t len, GError **error)
{
	int res = qcow2_pread(s, at, buf, len);

	return res == 0 || kv_fail_errno(error, -res, "disk '%s': cannot read its header", s->img->path);
}

void qcow2_set_geometry(struct qcow2 *s)
{
	s->cluster_size = 1u << s->cluster_bits;
	s->entry_size = s->extended ? 16 : 8;
	s->l2_bits = s->cluster_bits - (s->extended ? 4 : 3);
	s->sub_bits = s->extended ? s->cluster_bits - 5 : s->cluster_bits;
	s->sub_size = 1u << s->sub_bits;
	s->refblock_bits = s->cluster_bits + 3 - s->refcount_order;
}

/* A table in one piece: aligned, not at 0, and no sum with it overflows. */
static bool table_fits(struct qcow2 *s, uint64_t offset, uint64_t len, uint64_t max)
{
	return len <= max && qcow2_aligned(s, offset) && offset <= QCOW2_OFFSET && (offset || !len);
}

/* The name that the image itself has for a feature that we do not know. */
static char *feature_name(struct qcow2 *s, unsigned bit)
{
	for (unsigned i = 0; i < s->extensions->len; i++) {
		const struct qcow2_extension *e = &g_array_index(s->extensions, struct qcow2_extension, i);

		if (e->type != EXT_FEATURES)
			continue;
		for (uint32_t at = 0; at + FEATURE_ENTRY <= e->len; at += FEATURE_ENTRY) {
			g_autofree char *raw = g_strndup((const char *)e->data + at + 2, FEATURE_NAME);

			if (e->data[at] == 0 && e->data[at + 1] == bit && *raw)
				return g_utf8_make_valid(raw, -1);
		}
	}
	return g_strdup_printf("incompatible feature %u", bit);
}

static bool check_features(struct qcow2 *s, GError **error)
{
	uint64_t unknown = s->incompatible & ~(uint64_t)QCOW2_INCOMPAT_KNOWN;
	g_autoptr(GString) names = g_string_new(NULL);

	for (unsigned bit = 0; bit < 64; bit++) {
		g_autofree char *name = unknown >> bit & 1 ? feature_name(s, bit) : NULL;

		if (name)
			g_string_append_printf(names, "%s'%s'", names->len ? ", " : "", name);
	}
	if (unknown)
		return kv_fail(error, KV_ERROR_UNSUPPORTED,
			       "disk '%s' needs features of qcow2 that are not known here: %s; use a newer version", s->img->path,
			       names->str);
	if (s->crypt)
		return kv_fail(error, KV_ERROR_UNSUPPORTED,
			       "disk '%s' is encrypted, which is not supported; convert it to an image without encryption",
			       s->img->path);
	if (s->zstd != !!(s->incompatible & QCOW2_COMPRESSION))
		return bad(s, error, "its compression type and the feature bit for that disagree");
	if (s->extended && s->cluster_bits < 14)
		return bad(s, error, "extended L2 entries need clusters of 16 KiB at least");
	if ((s->autoclear & QCOW2_RAW_DATA_FILE) && !qcow2_has_data_file(s))
		s->autoclear &= ~(uint64_t)QCOW2_RAW_DATA_FILE;
	return true;
}

static char *string_of(const uint8_t *data, uint32_t len)
{
	return g_strndup((const char *)data, len);
}

static bool take_bitmaps(struct qcow2 *s, const uint8_t *data, uint32_t len, GError **error)
{
	if (len != 24)
		return bad(s, error, "its bitmaps extension has a wrong length");
	if (!(s->autoclear & QCOW2_BITMAPS)) {
		kv_log_warn("disk '%s' was written by a program without bitmaps: those in it are void; a check with repair "
			    "gives their room back",
			    s->img->path);
		return true;
	}
	s->n_bitmaps = get_be32(data);
	s->bitmaps_len = get_be64(data + 8);
	s->bitmaps_offset = get_be64(data + 16);
	if (!s->n_bitmaps || s->n_bitmaps > 65535 || !s->bitmaps_len ||
	    !table_fits(s, s->bitmaps_offset, s->bitmaps_len, QCOW2_MAX_SNAPSHOT_TABLE))
		return bad(s, error, "its directory of bitmaps has an impossible size or place");
	return true;
}

static bool take_extension(struct qcow2 *s, uint32_t type, const uint8_t *data, uint32_t len, GError **error)
{
	struct qcow2_extension e = {.type = type, .len = len};

	switch (type) {
	case EXT_BACKING_FORMAT:
		if (len > 15)
			return bad(s, error, "the name of its backing format is too long");
		g_free(s->backing_format);
		s->backing_format = string_of(data, len);
		return true;
	case EXT_DATA_FILE:
		if (len > QCOW2_MAX_NAME)
			return bad(s, error, "the name of its data file is too long");
		g_free(s->data_name);
		s->data_name = string_of(data, len);
		return true;
	case EXT_BITMAPS:
		return take_bitmaps(s, data, len, error);
	}
	if (s->extensions->len >= MAX_EXTENSIONS)
		return bad(s, error, "it has too many header extensions");
	e.data = g_memdup2(data, len);
	g_array_append_val(s->extensions, e);
	return true;
}

static bool read_extensions(struct qcow2 *s, const uint8_t *head, uint64_t end, GError **error)
{
	uint64_t at = s->header_len;

	s->head_end = at;
	while (at + 8 <= end) {
		uint32_t type = get_be32(head + at), len = get_be32(head + at + 4);

		s->head_end = at + 8;
		if (type == EXT_END)
			return true;
		at += 8;
		if (len > end - at)
			return bad(s, error, "a header extension is longer than its room");
		if (!take_extension(s, type, head + at, len, error))
			return false;
		at += align_up(len, 8);
	}
	return true;
}

/* The backing name is in the first cluster, extensions are before it. */
static bool read_rest(struct qcow2 *s, const uint8_t *first, GError **error)
{
	uint64_t at = get_be64(first + QCOW2_AT_BACKING), end = s->cluster_size;
	uint32_t len = get_be32(first + QCOW2_AT_BACKING + 8);
	g_autofree uint8_t *head = g_malloc(s->cluster_size);

	if (!read_bytes(s, 0, head, s->cluster_size, error))
		return false;
	if (at) {
		if (at > end || len > MIN(QCOW2_MAX_NAME, end - at) || at < s->header_len)
			return bad(s, error, "the name of its backing file is not inside of the first cluster");
		end = at;
		s->backing = string_of(head + at, len);
		s->backing_at = at;
		s->backing_len = len;
	}
	if (s->header_len > QCOW2_HEADER_NEW)
		s->header_rest = g_memdup2(head + QCOW2_HEADER_NEW, s->header_len - QCOW2_HEADER_NEW);
	return read_extensions(s, head, end, error) && check_features(s, error);
}

static bool read_v3(struct qcow2 *s, const uint8_t *h, GError **error)
{
	s->incompatible = get_be64(h + QCOW2_AT_FEATURES);
	s->compatible = get_be64(h + QCOW2_AT_FEATURES + 8);
	s->autoclear = get_be64(h + QCOW2_AT_FEATURES + 16);
	s->refcount_order = get_be32(h + 96);
	s->header_len = get_be32(h + 100);
	s->extended = s->incompatible & QCOW2_EXTENDED_L2;
	if (s->refcount_order > 6)
		return bad(s, error, "its reference counts are wider than 64 bits");
	if (s->header_len < QCOW2_HEADER_V3 || s->header_len > s->cluster_size || s->header_len % 8)
		return bad(s, error, "its header has an impossible length");
	if (s->header_len > AT_COMPRESSION) {
		if (h[AT_COMPRESSION] > 1)
			return kv_fail(error, KV_ERROR_UNSUPPORTED,
				       "disk '%s' has compression type %u, which is not known here; use a newer version",
				       s->img->path, h[AT_COMPRESSION]);
		s->zstd = h[AT_COMPRESSION] == 1;
	}
	return true;
}

static bool check_tables(struct qcow2 *s, const uint8_t *h, uint64_t size, GError **error)
{
	uint64_t clusters = get_be32(h + QCOW2_AT_REFTABLE + 8), span = 1ULL << qcow2_l2_span_bits(s);
	uint32_t n = get_be32(h + QCOW2_AT_SNAPSHOTS);

	s->l1_size = get_be32(h + QCOW2_AT_L1);
	s->l1_offset = get_be64(h + QCOW2_AT_L1 + 4);
	s->reftable_offset = get_be64(h + QCOW2_AT_REFTABLE);
	s->reftable_size = clusters <= QCOW2_MAX_REFTABLE ? clusters << s->cluster_bits >> 3 : UINT32_MAX;
	s->snapshots_offset = get_be64(h + QCOW2_AT_SNAPSHOTS + 4);
	if (!table_fits(s, s->l1_offset, s->l1_size * 8ULL, QCOW2_MAX_L1))
		return bad(s, error, "its L1 table has an impossible size or place");
	if (size > INT64_MAX || size / span + !!(size % span) > s->l1_size)
		return bad(s, error, "its L1 table is too small for its size");
	if ((!clusters && !s->checking) || !table_fits(s, s->reftable_offset, s->reftable_size * 8ULL, QCOW2_MAX_REFTABLE))
		return bad(s, error, "its refcount table has an impossible size or place");
	if (n > QCOW2_MAX_SNAPSHOTS || !table_fits(s, s->snapshots_offset, n, QCOW2_MAX_SNAPSHOTS))
		return bad(s, error, "its snapshot table has an impossible size or place");
	g_array_set_size(s->snapshots, n);
	return true;
}

bool qcow2_header_read(struct qcow2 *s, uint64_t *ret_size, GError **error)
{
	uint8_t h[QCOW2_HEADER_NEW];
	uint64_t size;

	if (!read_bytes(s, 0, h, sizeof(h), error))
		return false;
	if (memcmp(h, "QFI\xfb", 4) != 0)
		return bad(s, error, "it does not begin as one");
	s->version = get_be32(h + 4);
	if (s->version != 2 && s->version != 3)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "disk '%s' is qcow2 of version %u; 2 and 3 are supported",
			       s->img->path, s->version);
	s->cluster_bits = get_be32(h + 20);
	if (s->cluster_bits < 9 || s->cluster_bits > 21)
		return bad(s, error, "its cluster size is not between 512 bytes and 2 MiB");
	s->cluster_size = 1u << s->cluster_bits;
	s->crypt = get_be32(h + 32);
	s->refcount_order = 4;
	s->header_len = QCOW2_HEADER_V2;
	if (s->version == 3 && !read_v3(s, h, error))
		return false;
	qcow2_set_geometry(s);
	size = get_be64(h + QCOW2_AT_SIZE);
	if (!check_tables(s, h, size, error) || !read_rest(s, h, error))
		return false;
	*ret_size = size;
	return true;
}

static void free_extension(gpointer p)
{
	g_free(((struct qcow2_extension *)p)->data);
}

void qcow2_header_free(struct qcow2 *s)
{
	for (unsigned i = 0; i < s->extensions->len; i++)
		free_extension(&g_array_index(s->extensions, struct qcow2_extension, i));
	g_array_free(s->extensions, TRUE);
	g_free(s->backing);
	g_free(s->backing_format);
	g_free(s->data_name);
	g_free(s->header_rest);
}

int qcow2_header_features(struct qcow2 *s)
{
	uint8_t bytes[24];

	if (s->version < 3)
		return 0;
	put_be64(bytes, s->incompatible);
	put_be64(bytes + 8, s->compatible);
	put_be64(bytes + 16, s->autoclear);
	return qcow2_pwrite(s, QCOW2_AT_FEATURES, bytes, sizeof(bytes));
}

/* ---- writing ---- */

static void append_extension(GByteArray *out, uint32_t type, const void *data, uint32_t len)
{
	static const uint8_t pad[8];
	uint8_t head[8];

	put_be32(head, type);
	put_be32(head + 4, len);
	g_byte_array_append(out, head, sizeof(head));
	if (len)
		g_byte_array_append(out, data, len);
	g_byte_array_append(out, pad, align_up(len, 8) - len);
}

static void append_features(GByteArray *out)
{
	uint8_t table[G_N_ELEMENTS(features) * FEATURE_ENTRY] = {0};

	for (size_t i = 0; i < G_N_ELEMENTS(features); i++) {
		table[i * FEATURE_ENTRY] = features[i].type;
		table[i * FEATURE_ENTRY + 1] = features[i].bit;
		g_strlcpy((char *)table + i * FEATURE_ENTRY + 2, features[i].name, FEATURE_NAME);
	}
	append_extension(out, EXT_FEATURES, table, sizeof(table));
}

static void append_bitmaps(struct qcow2 *s, GByteArray *out)
{
	uint8_t e[24] = {0};

	put_be32(e, s->n_bitmaps);
	put_be64(e + 8, s->bitmaps_len);
	put_be64(e + 16, s->bitmaps_offset);
	append_extension(out, EXT_BITMAPS, e, sizeof(e));
}

static void fixed_part(struct qcow2 *s, uint64_t size, uint8_t *h)
{
	memcpy(h, "QFI\xfb", 4);
	put_be32(h + 4, s->version);
	put_be32(h + 20, s->cluster_bits);
	put_be64(h + QCOW2_AT_SIZE, size);
	put_be32(h + 32, s->crypt);
	put_be32(h + QCOW2_AT_L1, s->l1_size);
	put_be64(h + QCOW2_AT_L1 + 4, s->l1_offset);
	put_be64(h + QCOW2_AT_REFTABLE, s->reftable_offset);
	put_be32(h + QCOW2_AT_REFTABLE + 8, qcow2_clusters(s, s->reftable_size * 8ULL));
	put_be32(h + QCOW2_AT_SNAPSHOTS, s->snapshots->len);
	put_be64(h + QCOW2_AT_SNAPSHOTS + 4, s->snapshots_offset);
	if (s->version < 3)
		return;
	put_be64(h + QCOW2_AT_FEATURES, s->incompatible);
	put_be64(h + QCOW2_AT_FEATURES + 8, s->compatible);
	put_be64(h + QCOW2_AT_FEATURES + 16, s->autoclear);
	put_be32(h + 96, s->refcount_order);
	put_be32(h + 100, MAX(s->header_len, QCOW2_HEADER_NEW));
	h[AT_COMPRESSION] = s->zstd;
}

static void append_extensions(struct qcow2 *s, GByteArray *out)
{
	/* In the sector of the features, so that they change together. */
	if (s->n_bitmaps)
		append_bitmaps(s, out);
	if (s->backing_format && *s->backing_format)
		append_extension(out, EXT_BACKING_FORMAT, s->backing_format, strlen(s->backing_format));
	if (s->data_name && qcow2_has_data_file(s))
		append_extension(out, EXT_DATA_FILE, s->data_name, strlen(s->data_name));
	for (unsigned i = 0; i < s->extensions->len; i++) {
		const struct qcow2_extension *e = &g_array_index(s->extensions, struct qcow2_extension, i);

		if (e->type != EXT_FEATURES) /* it is made anew */
			append_extension(out, e->type, e->data, e->len);
	}
	if (s->version >= 3 && s->cluster_size >= FEATURES_FROM)
		append_features(out);
	append_extension(out, EXT_END, NULL, 0);
}

static bool overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

/*
 * Where a name can be while the header in the first sector is still the old one; 0: nowhere. Behind what else is there as long as
 * all of it is in the first sector, which is written at once.
 */
static uint32_t name_place(const struct qcow2 *s, uint32_t head, uint32_t len)
{
	if (head + len <= SECTOR)
		return head;
	for (uint32_t at = SECTOR; at + len <= s->cluster_size; at += SECTOR)
		if (!overlap(at, len, s->backing_at, s->backing_len) && !overlap(at, len, 0, s->head_end))
			return at;
	return 0;
}

/* A crash leaves the old header or the new one: its first sector changes last, and is alone in saying where the name is. */
static int write_in_order(struct qcow2 *s, const uint8_t *sector, uint32_t at)
{
	uint32_t len = s->backing ? strlen(s->backing) : 0;
	int res = 0;

	if (len && at >= SECTOR) {
		res = qcow2_pwrite(s, at, s->backing, len);
		if (res == 0)
			res = qcow2_sync(s);
	}
	return res < 0 ? res : qcow2_pwrite(s, 0, sector, SECTOR);
}

bool qcow2_header_write(struct qcow2 *s, uint64_t size, GError **error)
{
	g_autoptr(GByteArray) out = g_byte_array_new();
	uint32_t used, head, at, len = s->backing ? strlen(s->backing) : 0;
	uint8_t h[QCOW2_HEADER_NEW] = {0};
	bool whole = !s->head_end; /* there is none yet */
	int res;

	fixed_part(s, size, h);
	g_byte_array_append(out, h, s->version < 3 ? QCOW2_HEADER_V2 : QCOW2_HEADER_NEW);
	if (s->header_rest)
		g_byte_array_append(out, s->header_rest, s->header_len - QCOW2_HEADER_NEW);
	append_extensions(s, out);
	head = at = out->len;
	used = head + len;
	if (used > s->cluster_size)
		return kv_fail(
			error, KV_ERROR_UNSUPPORTED,
			"disk '%s': its header with these names needs %u bytes, its clusters have %u; give shorter names or "
			"larger clusters",
			s->img->path, used, s->cluster_size);
	if (!whole && head <= SECTOR)
		at = name_place(s, head, len);
	whole |= !at || head > SECTOR;
	at = at ? at : head;
	g_byte_array_set_size(out, s->cluster_size);
	memset(out->data + head, 0, s->cluster_size - head);
	if (s->backing) {
		put_be64(out->data + QCOW2_AT_BACKING, at);
		put_be32(out->data + QCOW2_AT_BACKING + 8, len);
		memcpy(out->data + at, s->backing, len);
	}
	res = whole ? qcow2_pwrite(s, 0, out->data, s->cluster_size) : write_in_order(s, out->data, at);
	if (res < 0)
		return kv_fail_errno(error, -res, "disk '%s': cannot write its header", s->img->path);
	s->backing_at = s->backing ? at : 0;
	s->backing_len = len;
	s->head_end = head;
	return true;
}
