/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A writer of ACPI machine language (ACPI 6.4, chapter 20), as far as our tables need it. Everything appends to a GByteArray;
 * aml_begin/aml_end put the package length of an open scope in front when it is closed.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef GByteArray aml;

void aml_byte(aml *a, uint8_t b);
void aml_bytes(aml *a, const void *data, unsigned len);
void aml_name(aml *a, const char *name); /* NameString: "\_SB_", "PCI0", "^X"; segments of 4 characters, '.' between */
void aml_int(aml *a, uint64_t v);
void aml_string(aml *a, const char *text);
void aml_eisa_id(aml *a, const char *id);		  /* "PNP0A08" */
void aml_named_int(aml *a, const char *name, uint64_t v); /* Name (name, v) */
void aml_named_id(aml *a, const char *name, const char *eisa);
void aml_named_buffer(aml *a, const char *name, aml *content); /* frees content */

/* Returns a mark for aml_end(). */
unsigned aml_begin(aml *a, const uint8_t *opcode, unsigned opcode_len);
void aml_end(aml *a, unsigned mark);
unsigned aml_begin_scope(aml *a, const char *name);
unsigned aml_begin_device(aml *a, const char *name);
unsigned aml_begin_method(aml *a, const char *name, unsigned args, bool serialized);
unsigned aml_begin_package(aml *a, uint8_t count);
unsigned aml_begin_if(aml *a); /* the condition follows */
unsigned aml_begin_else(aml *a);

/* Terms that have one shape: a path is an operand like any other. */
void aml_region(aml *a, const char *name, uint8_t space, uint64_t offset, uint64_t len);
unsigned aml_begin_field(aml *a, const char *region, uint8_t flags);
void aml_field(aml *a, const char *name, uint8_t bits); /* name NULL: nothing is there */
/* Of the named buffer, or of ArgN when that is NULL. */
void aml_dword_field(aml *a, const char *buffer, uint8_t arg, unsigned offset, const char *name);
void aml_return(aml *a, const char *name);

enum { AML_ZERO = 0, AML_LOCAL0 = 0x60, AML_ARG0 = 0x68, AML_STORE = 0x70, AML_AND = 0x7b, AML_OR = 0x7d, AML_NOT = 0x92,
       AML_EQUAL = 0x93, AML_RETURN = 0xa4 };

/* Resource descriptors (6.4) for a _CRS buffer; aml_resource_end() closes it. */
void aml_io(aml *a, uint16_t base, uint8_t len);
void aml_irq(aml *a, uint32_t gsi, bool edge);
void aml_isa_irq(aml *a, unsigned irq);
void aml_shared_irqs(aml *a, const uint32_t *irqs, uint8_t n); /* level, active high */
void aml_fixed_memory(aml *a, uint32_t base, uint32_t len);
void aml_bus_range(aml *a, uint16_t first, uint16_t last);
void aml_io_window(aml *a, uint16_t first, uint16_t last);
void aml_memory_window32(aml *a, uint32_t first, uint32_t last);
void aml_memory_window64(aml *a, uint64_t first, uint64_t last);
void aml_resource_end(aml *a);
