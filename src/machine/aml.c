/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See aml.h. */

#include "aml.h"

#include <string.h>

#include "bytes.h"

enum {
	OP_ZERO = 0,
	OP_ONE = 1,
	OP_NAME = 8,
	OP_BYTE = 0x0a,
	OP_WORD = 0x0b,
	OP_DWORD = 0x0c,
	OP_STRING = 0x0d,
	OP_QWORD = 0x0e,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_METHOD = 0x14,
	OP_EXT = 0x5b,
	OP_REGION = 0x80, /* with OP_EXT, as are field and device */
	OP_FIELD = 0x81,
	OP_DEVICE = 0x82,
	OP_DWORD_FIELD = 0x8a,
	OP_IF = 0xa0,
	OP_ELSE = 0xa1,
};

void aml_byte(aml *a, uint8_t b)
{
	g_byte_array_append(a, &b, 1);
}

void aml_bytes(aml *a, const void *data, unsigned len)
{
	g_byte_array_append(a, data, len);
}

static void le(aml *a, uint64_t v, unsigned len)
{
	uint8_t b[8];

	put_le64(b, v);
	aml_bytes(a, b, len);
}

void aml_name(aml *a, const char *name)
{
	unsigned segments;

	while (*name == '\\' || *name == '^')
		aml_byte(a, (uint8_t)*name++);
	segments = (unsigned)(strlen(name) + 1) / 5;
	if (segments == 2)
		aml_byte(a, 0x2e);
	if (segments > 2) {
		aml_byte(a, 0x2f);
		aml_byte(a, (uint8_t)segments);
	}
	for (unsigned i = 0; i < segments; i++)
		aml_bytes(a, name + 5 * i, 4);
	if (!segments)
		aml_byte(a, 0);
}

void aml_int(aml *a, uint64_t v)
{
	if (v <= 1) {
		aml_byte(a, v ? OP_ONE : OP_ZERO);
	} else if (v <= UINT8_MAX) {
		aml_byte(a, OP_BYTE);
		le(a, v, 1);
	} else if (v <= UINT16_MAX) {
		aml_byte(a, OP_WORD);
		le(a, v, 2);
	} else if (v <= UINT32_MAX) {
		aml_byte(a, OP_DWORD);
		le(a, v, 4);
	} else {
		aml_byte(a, OP_QWORD);
		le(a, v, 8);
	}
}

void aml_string(aml *a, const char *text)
{
	aml_byte(a, OP_STRING);
	aml_bytes(a, text, (unsigned)strlen(text) + 1);
}

static unsigned hex(char c)
{
	return c >= 'A' ? (unsigned)c - 'A' + 10 : (unsigned)c - '0';
}

void aml_eisa_id(aml *a, const char *id)
{
	uint8_t b[4] = {
		(uint8_t)((id[0] - 0x40) << 2 | (id[1] - 0x40) >> 3),
		(uint8_t)((id[1] - 0x40) << 5 | (id[2] - 0x40)),
		(uint8_t)(hex(id[3]) << 4 | hex(id[4])),
		(uint8_t)(hex(id[5]) << 4 | hex(id[6])),
	};

	aml_byte(a, OP_DWORD);
	aml_bytes(a, b, sizeof(b));
}

void aml_named_int(aml *a, const char *name, uint64_t v)
{
	aml_byte(a, OP_NAME);
	aml_name(a, name);
	aml_int(a, v);
}

void aml_named_id(aml *a, const char *name, const char *eisa)
{
	aml_byte(a, OP_NAME);
	aml_name(a, name);
	aml_eisa_id(a, eisa);
}

unsigned aml_begin(aml *a, const uint8_t *opcode, unsigned opcode_len)
{
	aml_bytes(a, opcode, opcode_len);
	return a->len;
}

/* PkgLength counts itself: 1 byte up to 63, else 2 to 4 with the low nibble first (20.2.4). */
void aml_end(aml *a, unsigned mark)
{
	unsigned body = a->len - mark, n = body + 1 < 64 ? 1 : body + 2 < 0x1000 ? 2 : body + 3 < 0x100000 ? 3 : 4;
	unsigned total = body + n;
	uint8_t len[4];

	if (n == 1) {
		len[0] = (uint8_t)total;
	} else {
		len[0] = (uint8_t)((n - 1) << 6 | (total & 15));
		for (unsigned i = 1; i < n; i++)
			len[i] = (uint8_t)(total >> (4 + 8 * (i - 1)));
	}
	g_byte_array_set_size(a, a->len + n);
	memmove(a->data + mark + n, a->data + mark, body);
	memcpy(a->data + mark, len, n);
}

static unsigned begin_named(aml *a, const uint8_t *opcode, unsigned len, const char *name)
{
	unsigned mark = aml_begin(a, opcode, len);

	aml_name(a, name);
	return mark;
}

unsigned aml_begin_scope(aml *a, const char *name)
{
	return begin_named(a, (const uint8_t[]){OP_SCOPE}, 1, name);
}

unsigned aml_begin_device(aml *a, const char *name)
{
	return begin_named(a, (const uint8_t[]){OP_EXT, OP_DEVICE}, 2, name);
}

unsigned aml_begin_method(aml *a, const char *name, unsigned args, bool serialized)
{
	unsigned mark = begin_named(a, (const uint8_t[]){OP_METHOD}, 1, name);

	aml_byte(a, (uint8_t)(args | serialized << 3));
	return mark;
}

unsigned aml_begin_package(aml *a, uint8_t count)
{
	unsigned mark = aml_begin(a, (const uint8_t[]){OP_PACKAGE}, 1);

	aml_byte(a, count);
	return mark;
}

unsigned aml_begin_if(aml *a)
{
	return aml_begin(a, (const uint8_t[]){OP_IF}, 1);
}

unsigned aml_begin_else(aml *a)
{
	return aml_begin(a, (const uint8_t[]){OP_ELSE}, 1);
}

void aml_region(aml *a, const char *name, uint8_t space, uint64_t offset, uint64_t len)
{
	aml_byte(a, OP_EXT);
	aml_byte(a, OP_REGION);
	aml_name(a, name);
	aml_byte(a, space);
	aml_int(a, offset);
	aml_int(a, len);
}

unsigned aml_begin_field(aml *a, const char *region, uint8_t flags)
{
	unsigned mark = begin_named(a, (const uint8_t[]){OP_EXT, OP_FIELD}, 2, region);

	aml_byte(a, flags);
	return mark;
}

/* Field units up to 63 bits have one byte of length, an offset may have two (20.2.5.2). */
void aml_field(aml *a, const char *name, uint8_t bits)
{
	aml_bytes(a, name ? name : "", name ? 4 : 1);
	if (bits > 63)
		aml_byte(a, (uint8_t)(0x40 | (bits & 15)));
	aml_byte(a, bits > 63 ? bits >> 4 : bits);
}

void aml_dword_field(aml *a, const char *buffer, uint8_t arg, unsigned offset, const char *name)
{
	aml_byte(a, OP_DWORD_FIELD);
	if (buffer)
		aml_name(a, buffer);
	else
		aml_byte(a, (uint8_t)(AML_ARG0 + arg));
	aml_int(a, offset);
	aml_name(a, name);
}

void aml_return(aml *a, const char *name)
{
	aml_byte(a, AML_RETURN);
	aml_name(a, name);
}

void aml_named_buffer(aml *a, const char *name, aml *content)
{
	unsigned mark;

	aml_byte(a, OP_NAME);
	aml_name(a, name);
	mark = aml_begin(a, (const uint8_t[]){OP_BUFFER}, 1);
	aml_int(a, content->len);
	aml_bytes(a, content->data, content->len);
	aml_end(a, mark);
	g_byte_array_unref(content);
}

/* ---- resources ---- */

void aml_io(aml *a, uint16_t base, uint8_t len)
{
	aml_byte(a, 0x47);
	aml_byte(a, 1); /* 16-bit decode */
	le(a, base, 2);
	le(a, base, 2);
	aml_byte(a, 1);
	aml_byte(a, len);
}

void aml_irq(aml *a, uint32_t gsi, bool edge)
{
	aml_byte(a, 0x89);
	le(a, 6, 2);
	aml_byte(a, (uint8_t)(1 | edge << 1)); /* consumer, active high, exclusive */
	aml_byte(a, 1);
	le(a, gsi, 4);
}

void aml_isa_irq(aml *a, unsigned irq)
{
	aml_byte(a, 0x22);
	le(a, 1u << irq, 2);
}

void aml_shared_irqs(aml *a, const uint32_t *irqs, uint8_t n)
{
	aml_byte(a, 0x89);
	le(a, 2 + 4u * n, 2);
	aml_byte(a, 9); /* consumer, level, active high, shared */
	aml_byte(a, n);
	for (unsigned i = 0; i < n; i++)
		le(a, irqs[i], 4);
}

void aml_fixed_memory(aml *a, uint32_t base, uint32_t len)
{
	aml_byte(a, 0x86);
	le(a, 9, 2);
	aml_byte(a, 1);
	le(a, base, 4);
	le(a, len, 4);
}

/* Address space descriptors: producer, both ends fixed. */
static void window(aml *a, uint8_t tag, unsigned width, uint8_t type, uint8_t flags, uint64_t first, uint64_t last)
{
	aml_byte(a, tag);
	le(a, 3 + 5 * width, 2);
	aml_byte(a, type);
	aml_byte(a, 0x0c);
	aml_byte(a, flags);
	le(a, 0, width); /* granularity */
	le(a, first, width);
	le(a, last, width);
	le(a, 0, width); /* translation */
	le(a, last - first + 1, width);
}

void aml_bus_range(aml *a, uint16_t first, uint16_t last)
{
	window(a, 0x88, 2, 2, 0, first, last);
}

void aml_io_window(aml *a, uint16_t first, uint16_t last)
{
	window(a, 0x88, 2, 1, 3, first, last);
}

void aml_memory_window32(aml *a, uint32_t first, uint32_t last)
{
	window(a, 0x87, 4, 0, 1, first, last);
}

void aml_memory_window64(aml *a, uint64_t first, uint64_t last)
{
	window(a, 0x8a, 8, 0, 1, first, last);
}

void aml_resource_end(aml *a)
{
	aml_byte(a, 0x79);
	aml_byte(a, 0);
}
