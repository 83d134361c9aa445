/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See uuid.h. */
#include "uuid.h"

#include <string.h>
#include <sys/random.h>

bool uuid_parse(const char *text, guint8 ret[UUID_BYTES])
{
	guint8 uuid[UUID_BYTES];
	unsigned n = 0;

	while (g_ascii_isspace(*text))
		text++;
	for (; *text && n < 2 * UUID_BYTES; text++) {
		if (*text == '-' && n)
			continue;
		if (!g_ascii_isxdigit(*text))
			return false;
		uuid[n / 2] = (n & 1 ? uuid[n / 2] << 4 : 0) | g_ascii_xdigit_value(*text);
		n++;
	}
	while (g_ascii_isspace(*text))
		text++;
	if (*text || n != 2 * UUID_BYTES)
		return false;
	memcpy(ret, uuid, UUID_BYTES);
	return true;
}

void uuid_write(const guint8 uuid[UUID_BYTES], char ret[UUID_TEXT])
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < UUID_BYTES; i++) {
		*ret++ = digits[uuid[i] >> 4];
		*ret++ = digits[uuid[i] & 15];
		if (i == 3 || i == 5 || i == 7 || i == 9)
			*ret++ = '-';
	}
	*ret = 0;
}

char *uuid_format(GVariant *bytes)
{
	gsize n;
	const guint8 *uuid = g_variant_get_fixed_array(bytes, &n, 1);
	char *text;

	if (n != UUID_BYTES)
		return g_strdup("");
	text = g_malloc(UUID_TEXT);
	uuid_write(uuid, text);
	return text;
}

GVariant *uuid_variant(const guint8 uuid[UUID_BYTES])
{
	return g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, uuid, UUID_BYTES, 1);
}

void uuid_random(guint8 ret[UUID_BYTES])
{
	if (getrandom(ret, UUID_BYTES, 0) != UUID_BYTES)
		for (unsigned i = 0; i < UUID_BYTES; i++)
			ret[i] = g_random_int();
	ret[6] = (ret[6] & 0x0f) | 0x40;
	ret[8] = (ret[8] & 0x3f) | 0x80;
}
