/* SPDX-License-Identifier: GPL-2.0-or-later */
/* state.c: round trips of every type, versions, and streams that are cut, damaged or not ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bytes.h"
#include "state.h"

struct inner {
	uint16_t a;
	uint8_t b;
};

struct thing {
	uint8_t u8;
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;
	bool flag;
	uint8_t raw[5];
	uint16_t words[3];
	struct inner in[2];
	uint32_t n;
	struct inner *list;
	uint32_t newer;
	uint8_t *buffer;
	uint32_t buffer_len;
	GPtrArray *any;
	unsigned loads;
};

static const struct state_field inner_fields[] = {
	STATE_INT(struct inner, a, STATE_U16),
	STATE_INT(struct inner, b, STATE_U8),
	STATE_END
};

#define COMMON_FIELDS \
	STATE_INT(struct thing, u8, STATE_U8), STATE_INT(struct thing, u16, STATE_U16), \
	STATE_INT(struct thing, u32, STATE_U32), STATE_INT(struct thing, u64, STATE_U64), \
	STATE_INT(struct thing, flag, STATE_BOOL), STATE_RAW(struct thing, raw), \
	{ .name = "words", .offset = offsetof(struct thing, words), .type = STATE_ARRAY, .since = 1, \
	  .size = 2, .count = 3 }, \
	{ .name = "in", .offset = offsetof(struct thing, in), .type = STATE_STRUCT, .since = 1, \
	  .size = sizeof(struct inner), .count = 2, .fields = inner_fields }, \
	{ .name = "list", .offset = offsetof(struct thing, list), .type = STATE_POINTER_STRUCT, \
	  .since = 1, .size = sizeof(struct inner), .count = 4, \
	  .count_at = offsetof(struct thing, n), .fields = inner_fields }

static const struct state_field fields_1[] = { COMMON_FIELDS, STATE_END };
static const struct state_field fields_2[] = {
	COMMON_FIELDS,
	{ .name = "newer", .offset = offsetof(struct thing, newer), .type = STATE_U32, .since = 2 },
	STATE_END
};

static bool after_load(void *opaque, GError **error)
{
	((struct thing *)opaque)->loads++;
	return true;
}

static const struct state_desc version_1 = { "thing", 1, 1, fields_1, NULL, after_load };
static const struct state_desc version_2 = { "thing", 2, 1, fields_2, NULL, after_load };
static const struct state_desc only_2 = { "thing", 2, 2, fields_2, NULL, after_load };

static struct inner list_a[2] = { { 7, 8 }, { 9, 10 } };

static struct thing example(void)
{
	return (struct thing){
		.u8 = 1, .u16 = 0x203, .u32 = 0x4050607, .u64 = 0x8090a0b0c0d0e0f, .flag = true,
		.raw = "abcd", .words = { 1, 2, 0xffff }, .in = { { 3, 4 }, { 5, 6 } }, .n = 2,
		.list = list_a, .newer = 77,
	};
}

static GBytes *saved(const struct state_desc *desc, const struct thing *t)
{
	GByteArray *out = g_byte_array_new();

	state_save(out, desc, "thing0", t);
	return g_byte_array_free_to_bytes(out);
}

static bool load(GBytes *in, const struct state_desc *desc, struct thing *t, GError **error)
{
	size_t at = 0;

	return state_load(in, &at, desc, "thing0", t, error) && at == g_bytes_get_size(in);
}

static void round_trip(void **state)
{
	struct inner list[2] = { { 0 } };
	struct thing from = example(), to = { .n = 2, .list = list };
	g_autoptr(GBytes) bytes = saved(&version_2, &from), again = NULL;

	assert_true(load(bytes, &version_2, &to, NULL));
	assert_int_equal(to.loads, 1);
	assert_int_equal(to.u64, from.u64);
	assert_memory_equal(to.raw, from.raw, sizeof(to.raw));
	assert_memory_equal(to.words, from.words, sizeof(to.words));
	assert_int_equal(to.in[1].b, 6);
	assert_int_equal(list[1].a, 9);
	assert_int_equal(to.newer, 77);
	again = saved(&version_2, &to);
	assert_true(g_bytes_equal(bytes, again));
}

static void versions(void **state)
{
	struct inner list[2] = { { 0 } };
	struct thing from = example(), to = { .n = 2, .list = list, .newer = 5 };
	g_autoptr(GBytes) old = saved(&version_1, &from), current = saved(&version_2, &from);
	g_autoptr(GError) error = NULL;

	assert_true(load(old, &version_2, &to, NULL));
	assert_int_equal(to.newer, 5); /* the reset value stays */
	assert_false(load(current, &version_1, &to, &error));
	assert_non_null(strstr(error->message, "version 2"));
	g_clear_error(&error);
	assert_false(load(old, &only_2, &to, &error));
	assert_non_null(strstr(error->message, "version 1"));
}

static void another_device(void **state)
{
	struct thing from = example(), to = example();
	g_autoptr(GBytes) bytes = saved(&version_1, &from);
	struct state_desc other = version_1;
	g_autoptr(GError) error = NULL;
	size_t at = 0;

	assert_false(state_load(bytes, &at, &version_1, "thing1", &to, &error));
	assert_non_null(strstr(error->message, "thing0"));
	g_clear_error(&error);
	other.name = "gadget";
	assert_false(load(bytes, &other, &to, &error));
	assert_non_null(strstr(error->message, "gadget"));
	g_clear_error(&error);
	to.n = 1;
	assert_false(load(bytes, &version_1, &to, &error));
	assert_non_null(strstr(error->message, "list"));
	g_clear_error(&error);
	at = g_bytes_get_size(bytes) + 1;
	assert_false(state_load(bytes, &at, &version_1, "thing0", &to, &error));
}

static void cut(void **state)
{
	struct inner list[2];
	struct thing from = example(), to = { .n = 2, .list = list };
	g_autoptr(GBytes) bytes = saved(&version_2, &from);

	for (size_t n = 0; n < g_bytes_get_size(bytes); n++) {
		g_autoptr(GBytes) part = g_bytes_new_from_bytes(bytes, 0, n);
		g_autoptr(GError) error = NULL;

		assert_false(load(part, &version_2, &to, &error));
		assert_non_null(error);
	}
	assert_int_equal(to.loads, 0);
}

static uint32_t sum(const uint8_t *p, size_t n)
{
	uint32_t h = 2166136261u;

	while (n--)
		h = (h ^ *p++) * 16777619u;
	return h;
}

/* One byte changed: with the old checksum it is noticed; with a right one nothing worse happens than an error. */
static void damaged(void **state)
{
	struct inner list[2];
	struct thing from = example(), to = { .n = 2, .list = list };
	g_autoptr(GBytes) bytes = saved(&version_2, &from);
	size_t size = g_bytes_get_size(bytes);

	for (size_t i = 0; i < size; i++) {
		for (unsigned x = 1; x < 256; x = x * 2 + 1) {
			g_autofree uint8_t *copy = g_memdup2(g_bytes_get_data(bytes, NULL), size);
			g_autoptr(GBytes) bad = NULL;

			copy[i] ^= x;
			bad = g_bytes_new_static(copy, size);
			assert_false(load(bad, &version_2, &to, NULL));
			put_le32(copy + 8, sum(copy + 12, size - 12));
			load(bad, &version_2, &to, NULL);
		}
	}
}

static const struct state_field variable_fields[] = {
	{ .name = "buffer", .offset = offsetof(struct thing, buffer), .type = STATE_BUFFER, .since = 1, .count = 8,
	  .count_at = offsetof(struct thing, buffer_len) },
	{ .name = "any", .offset = offsetof(struct thing, any), .type = STATE_LIST, .since = 1,
	  .size = sizeof(struct inner), .count = 3, .fields = inner_fields },
	STATE_END
};
static const struct state_desc variable = { "thing", 1, 1, variable_fields, NULL, after_load };

static struct thing with(const char *buffer, unsigned n)
{
	struct thing t = { .buffer = g_memdup2(buffer, strlen(buffer)), .buffer_len = strlen(buffer),
			   .any = g_ptr_array_new_with_free_func(g_free) };

	for (unsigned i = 0; i < n; i++)
		g_ptr_array_add(t.any, g_memdup2(&(struct inner){ i, i + 1 }, sizeof(struct inner)));
	return t;
}

static void without(struct thing *t)
{
	g_free(t->buffer);
	g_ptr_array_unref(t->any);
}

/* What has another length than before is loaded as it comes, up to its limit; what is not whole is not. */
static void any_length(void **state)
{
	struct thing from = with("abcdefgh", 3), to = with("x", 1), none = with("", 0), more = with("abcdefghi", 0),
		     longer = with("", 4);
	g_autoptr(GBytes) bytes = saved(&variable, &from), nothing = saved(&variable, &none);
	g_autoptr(GBytes) too_many = saved(&variable, &more), too_long = saved(&variable, &longer);

	assert_true(load(bytes, &variable, &to, NULL));
	assert_int_equal(to.buffer_len, 8);
	assert_memory_equal(to.buffer, "abcdefgh", 8);
	assert_int_equal(to.any->len, 3);
	assert_int_equal(((struct inner *)to.any->pdata[2])->b, 3);
	for (size_t n = 0; n < g_bytes_get_size(bytes); n++) {
		g_autofree uint8_t *copy = g_memdup2(g_bytes_get_data(bytes, NULL), n + 1);
		g_autoptr(GBytes) part = g_bytes_new_static(copy, n);

		if (n >= 12) {
			put_le32(copy + 4, n - 12);
			put_le32(copy + 8, sum(copy + 12, n - 12));
		}
		assert_false(load(part, &variable, &to, NULL));
	}
	assert_true(load(nothing, &variable, &to, NULL));
	assert_null(to.buffer);
	assert_int_equal(to.any->len, 0);
	assert_false(load(too_many, &variable, &to, NULL));
	assert_false(load(too_long, &variable, &to, NULL));
	without(&from);
	without(&to);
	without(&none);
	without(&more);
	without(&longer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),	  cmocka_unit_test(versions),
		cmocka_unit_test(another_device), cmocka_unit_test(cut),
		cmocka_unit_test(damaged),	  cmocka_unit_test(any_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
