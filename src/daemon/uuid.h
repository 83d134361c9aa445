/* SPDX-License-Identifier: GPL-2.0-or-later */
/* UUIDs as texts and bytes. Pure; any thread. */
#pragma once
#include <glib.h>
#include <stdbool.h>

enum { UUID_BYTES = 16, UUID_TEXT = 37 };

bool uuid_parse(const char *text, guint8 ret[UUID_BYTES]); /* with dashes or without, as libvirt takes them */
void uuid_write(const guint8 uuid[UUID_BYTES], char ret[UUID_TEXT]);
char *uuid_format(GVariant *bytes);			    /* of type ay; "" when these are not 16 */
GVariant *uuid_variant(const guint8 uuid[UUID_BYTES]); /* floating */
void uuid_random(guint8 ret[UUID_BYTES]);
