/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See header.h. Sources: QEMU's docs/interop/qcow2.txt and qed_spec.txt, VMware's "Virtual Disk Format", Microsoft's "Virtual
 * Hard Disk Image Format", ECMA-119. files.c calls it.
 */
#include "header.h"

#include <string.h>

#include "bytes.h"

enum { QCOW2_BACKING_FORMAT = 0xe2792aca, NAME_MAX_BYTES = 1024 };

struct known {
	const char *format;
	unsigned at; /* of what it is known by */
	const char *magic;
	unsigned magic_len;
	unsigned version_at; /* 0: there is none */
	bool little;
	guint32 versions[3];
	unsigned size_at; /* 0: the file's size is its capacity */
	unsigned size_unit;
};

static const struct known formats[] = {
	{"qcow2", 0, "QFI\xfb", 4, 4, false, {2, 3}, 24, 1},
	{"qcow", 0, "QFI\xfb", 4, 4, false, {1}, 24, 1},
	{"qed", 0, "QED\0", 4, 0, true, {0}, 48, 1},
	{"vmdk", 0, "KDMV", 4, 4, true, {1, 2, 3}, 12, 512},
	{"vpc", 0, "conectix", 8, 12, false, {0x10000}, 48, 1},
	{"vdi", 64, "\x7f\x10\xda\xbe", 4, 68, true, {0x10001}, 368, 1},
	{"iso", 32769, "CD001", 5, 0, true, {0}, 0, 1},
};

static bool has(size_t len, guint64 at, guint64 n)
{
	return at <= len && n <= len - at;
}

static bool fits(const struct known *k, const guint8 *b, size_t len)
{
	guint32 version;

	if (!has(len, k->at, k->magic_len) || memcmp(b + k->at, k->magic, k->magic_len) != 0)
		return false;
	if (!k->version_at)
		return true;
	if (!has(len, k->version_at, 4))
		return false;
	version = k->little ? get_le32(b + k->version_at) : get_be32(b + k->version_at);
	for (unsigned i = 0; i < G_N_ELEMENTS(k->versions); i++)
		if (k->versions[i] && k->versions[i] == version)
			return true;
	return false;
}

/* A name in the header, if it is one: UTF-8, not longer than formats allow. */
static char *name_at(const guint8 *b, size_t len, guint64 at, guint64 n)
{
	if (!at || !n || n >= NAME_MAX_BYTES || !has(len, at, n) || !g_utf8_validate((const char *)b + at, n, NULL))
		return NULL;
	return g_strndup((const char *)b + at, n);
}

static void read_qcow2(const guint8 *b, size_t len, struct header *ret)
{
	guint64 at = 72;
	guint32 bits;

	if (!has(len, 0, at))
		return;
	bits = get_be32(b + 20);
	if (bits < 32)
		ret->cluster = 1ull << bits;
	ret->backing = name_at(b, len, get_be64(b + 8), get_be32(b + 16));
	if (get_be32(b + 4) >= 3 && has(len, 0, 104)) {
		ret->compat_11 = true;
		ret->lazy_refcounts = get_be64(b + 80) & 1;
		at = get_be32(b + 100);
	}
	while (ret->backing && has(len, at, 8) && get_be32(b + at)) {
		guint32 type = get_be32(b + at), n = get_be32(b + at + 4);

		if (type == QCOW2_BACKING_FORMAT) {
			ret->backing_format = name_at(b, len, at + 8, n);
			break;
		}
		at += 8 + (((guint64)n + 7) & ~7ull);
	}
}

static void read_qed(const guint8 *b, size_t len, struct header *ret)
{
	enum { HAS_BACKING = 1, BACKING_IS_RAW = 4 };
	guint64 features;

	if (!has(len, 0, 64))
		return;
	features = get_le64(b + 16);
	if (features & HAS_BACKING)
		ret->backing = name_at(b, len, get_le32(b + 56), get_le32(b + 60));
	if (ret->backing && features & BACKING_IS_RAW)
		ret->backing_format = g_strdup("raw");
}

void header_read(const guint8 *b, size_t len, struct header *ret)
{
	*ret = (struct header){.format = "raw"};
	for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++) {
		const struct known *k = &formats[i];

		if (!fits(k, b, len))
			continue;
		ret->format = k->format;
		if (k->size_at && has(len, k->size_at, 8)) {
			guint64 n = k->little ? get_le64(b + k->size_at) : get_be64(b + k->size_at);

			ret->capacity = n > G_MAXUINT64 / k->size_unit ? 0 : n * k->size_unit;
		}
		break;
	}
	if (strcmp(ret->format, "qcow2") == 0)
		read_qcow2(b, len, ret);
	else if (strcmp(ret->format, "qcow") == 0)
		ret->backing = has(len, 0, 20) ? name_at(b, len, get_be64(b + 8), get_be32(b + 16)) : NULL;
	else if (strcmp(ret->format, "qed") == 0)
		read_qed(b, len, ret);
}

void header_clear(struct header *h)
{
	g_free(h->backing);
	g_free(h->backing_format);
	*h = (struct header){0};
}
