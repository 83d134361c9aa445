/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Saved state as data: a device lists its fields once; save, load, migration, dumps and the
 * round-trip test use the list. A saved section is (all integers little endian): magic u32,
 * length of the rest u32, checksum of the rest u32, device name and instance id (u8 length +
 * bytes), version u32, then the fields in order, each: name (u8 length + bytes), type u8, length
 * u32, bytes. Loading checks every name, type and length and refuses in words what does not fit;
 * a field newer than the stream's version keeps its reset value.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

enum state_type {
	STATE_U8,
	STATE_U16,
	STATE_U32,
	STATE_U64,
	STATE_BOOL,
	STATE_BYTES,  /* count bytes in place */
	STATE_ARRAY,  /* count integers of `size` bytes (1, 2, 4, 8) in place */
	STATE_STRUCT, /* count structs of `size` bytes in place, described by `fields` */
	/* The member points to *count_at structs (u32 member) of `size` bytes, at most `count`. */
	STATE_POINTER_STRUCT,
	/* The member points to *count_at bytes (u32 member), at most `count`, g_malloc; NULL: none. Loaded anew. */
	STATE_BUFFER,
	/* The member is a GPtrArray with a free function: structs of `size` bytes (g_malloc0), at most `count`. Loaded anew. */
	STATE_LIST,
};

/* Its name is inside, so that most lists have no pointers, which each start would have to relocate. */
struct state_field {
	char name[20]; /* with its NUL; empty: ends the list */
	enum state_type type;
	uint32_t since; /* first version that has it */
	uint32_t offset, size;
	uint32_t count, count_at;
	const struct state_field *fields;
};

#define STATE_INT(s, member, t) \
	{ .name = #member, .offset = offsetof(s, member), .type = t, .since = 1 }
#define STATE_RAW(s, member) \
	{ .name = #member, .offset = offsetof(s, member), .type = STATE_BYTES, .since = 1, \
	  .count = sizeof(((s *)0)->member) }
/* A struct of its own, and an array of them; list: their fields. */
#define STATE_ONE(s, member, list) \
	{ .name = #member, .offset = offsetof(s, member), .type = STATE_STRUCT, .since = 1, \
	  .size = sizeof(((s *)0)->member), .count = 1, .fields = (list) }
#define STATE_MANY(s, member, list) \
	{ .name = #member, .offset = offsetof(s, member), .type = STATE_STRUCT, .since = 1, \
	  .size = sizeof(((s *)0)->member[0]), .count = G_N_ELEMENTS(((s *)0)->member), .fields = (list) }
#define STATE_END { .name = "" }

struct state_desc {
	const char *name;
	unsigned version, oldest; /* written; oldest that can be read */
	const struct state_field *fields;
	void (*before_save)(void *opaque);
	/*
	 * After the fields were loaded: recompute what is derived; false and error when the values
	 * make no sense.
	 */
	bool (*after_load)(void *opaque, GError **error);
};

void state_save(GByteArray *out, const struct state_desc *desc, const char *id,
		const void *opaque);
/*
 * Reads one section from `in` at *offset and advances it. POINTER_STRUCT arrays are of the size
 * that the object has: the stream must say the same. BUFFER and LIST take what comes: no more
 * memory than the stream has bytes, but for what is around each struct. After a failure the object's fields are
 * partly loaded; reset it.
 */
bool state_load(GBytes *in, size_t *offset, const struct state_desc *desc, const char *id,
		void *opaque, GError **error);
