/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Saved state of a device, from anywhere: the input is the payload of a section (state.h), whose
 * length and checksum are made to fit, since a fuzzer would never get past them.
 */
#include <stdint.h>
#include <string.h>

#include "bytes.h"
#include "state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct inner {
	uint16_t a;
	bool flag;
};

struct thing {
	uint8_t small;
	uint64_t large;
	uint8_t raw[6];
	uint32_t words[2];
	struct inner in[2];
	uint32_t n;
	struct inner *list;
	uint8_t *buffer;
	uint32_t buffer_len;
	GPtrArray *any;
};

static const struct state_field inner_fields[] = {
	STATE_INT(struct inner, a, STATE_U16),
	STATE_INT(struct inner, flag, STATE_BOOL),
	STATE_END
};

static const struct state_field fields[] = {
	STATE_INT(struct thing, small, STATE_U8),
	STATE_INT(struct thing, large, STATE_U64),
	STATE_RAW(struct thing, raw),
	{ .name = "words", .offset = offsetof(struct thing, words), .type = STATE_ARRAY, .since = 1,
	  .size = 4, .count = 2 },
	{ .name = "in", .offset = offsetof(struct thing, in), .type = STATE_STRUCT, .since = 1,
	  .size = sizeof(struct inner), .count = 2, .fields = inner_fields },
	{ .name = "list", .offset = offsetof(struct thing, list), .type = STATE_POINTER_STRUCT,
	  .since = 2, .size = sizeof(struct inner), .count = 3,
	  .count_at = offsetof(struct thing, n), .fields = inner_fields },
	{ .name = "buffer", .offset = offsetof(struct thing, buffer), .type = STATE_BUFFER, .since = 3, .count = 16,
	  .count_at = offsetof(struct thing, buffer_len) },
	{ .name = "any", .offset = offsetof(struct thing, any), .type = STATE_LIST, .since = 3,
	  .size = sizeof(struct inner), .count = 3, .fields = inner_fields },
	STATE_END
};

static const struct state_desc desc = { "thing", 3, 1, fields, NULL, NULL };

static uint32_t checksum(const uint8_t *p, size_t n)
{
	uint32_t h = 2166136261u;

	while (n--)
		h = (h ^ *p++) * 16777619u;
	return h;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t names[] = "\005thing\002id";
	size_t head = 12 + sizeof(names) - 1, total = head + size, at = 0;
	g_autofree uint8_t *section = g_malloc(total);
	g_autoptr(GBytes) bytes = g_bytes_new_static(section, total);
	g_autoptr(GError) error = NULL;
	struct inner list[2] = { { 0 } };
	struct thing t = { .n = G_N_ELEMENTS(list), .list = list, .any = g_ptr_array_new_with_free_func(g_free) };

	memcpy(section, "KVST", 4);
	memcpy(section + 12, names, sizeof(names) - 1);
	if (size)
		memcpy(section + head, data, size);
	put_le32(section + 4, total - 12);
	put_le32(section + 8, checksum(section + 12, total - 12));
	if (state_load(bytes, &at, &desc, "id", &t, &error))
		g_assert(at == total);
	else
		g_assert(error && at == 0);
	g_assert(t.buffer_len <= 16 && t.any->len <= 3);
	g_free(t.buffer);
	g_ptr_array_unref(t.any);
	return 0;
}
