/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * XDR (RFC 4506) driven by a type string, to and from GVariant: one walker instead of a pair of functions for each of some 800
 * structures. Both directions are pure: bytes in, values out; any thread.
 *
 *   type  on the wire                                    GVariant
 *   i u   int, unsigned                                  i u
 *   h H   hyper, unsigned hyper                          x t
 *   d     double                                         d
 *   c     char: a word                                   i
 *   s     string<4 MiB>, UTF-8 without NUL               s
 *   o     opaque<>                                       ay
 *   U     opaque[16], a UUID                             ay
 *   M     char[32]: 32 words, a text that ends with 0    s
 *   ?x    a pointer: 0, or 1 and x                       m…
 *   ax    a count and that many                          a…
 *   (xy)  one after the other                            (…)
 *   T     typed parameter: name, 1…7 (int, unsigned, hyper, unsigned hyper, double, bool, string), value  (sv)
 *   D (sUi)  N P F (sU)  V (sss)  I (ss)  E (Uis)  X s  C Z (sD)
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	XDR_STRING_MAX = 4 << 20,
	XDR_COUNT_MAX = 1 << 20, /* values in all of one message's arrays: what a hostile peer may make us allocate */
};

/* Appends to out; false when value is not of that type or too long (out is as it was). value may be floating: it is sunk. */
bool xdr_encode(GByteArray *out, const char *type, GVariant *value, GError **error);
/* All of the bytes: what is left over is an error. A full reference, in normal form. */
GVariant *xdr_decode(const void *data, size_t len, const char *type, GError **error);
/* Pieces, for who writes what is long by hand: i and u; s; o without its count, U. */
void xdr_put_word(GByteArray *out, uint32_t v);
bool xdr_put_string(GByteArray *out, const char *s, GError **error);
void xdr_put_padded(GByteArray *out, const void *data, size_t len);
/* The GVariant type that a type string stands for. */
char *xdr_variant_type(const char *type);
