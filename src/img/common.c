/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every command of kv-img uses: messages, sizes as QEMU spells them, the options with a fixed set of values. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "img.h"

static void print_message(const char *format, va_list ap)
{
	fflush(stdout);
	fputs("kv-img: ", stderr);
	vfprintf(stderr, format, ap);
	fputc('\n', stderr);
}

int img_usage(const struct img_args *args, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	print_message(format, ap);
	va_end(ap);
	fprintf(stderr, "Try 'kv-img %s%s--help' for more information\n", args ? args->command->name : "", args ? " " : "");
	return 1;
}

int img_fail(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	print_message(format, ap);
	va_end(ap);
	return 1;
}

int img_fail_error(const char *what, GError *error)
{
	img_fail("%s%s%s", what ? what : "", what ? ": " : "", error ? error->message : "it failed");
	g_clear_error(&error);
	return 1;
}

void img_say(const struct img_args *args, const char *format, ...)
{
	va_list ap;

	if (img_has(args, 'q'))
		return;
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
}

/* The power of 1024 that a suffix stands for; -1: none. */
static int suffix_power(char c)
{
	static const char letters[] = "bkmgtpe";
	const char *at = c ? strchr(letters, g_ascii_tolower(c)) : NULL;

	return at ? (int)(at - letters) : -1;
}

int img_parse_size(const char *text, uint64_t *ret)
{
	char *end, *fraction_end;
	double fraction = 0, sum;
	uint64_t whole;
	int power;
	bool hex;

	while (g_ascii_isspace(*text))
		text++;
	text += *text == '+';
	hex = g_str_has_prefix(text, "0x") || g_str_has_prefix(text, "0X");
	if (!g_ascii_isdigit(text[0]))
		return -EINVAL;
	errno = 0;
	whole = g_ascii_strtoull(text, &end, hex ? 16 : 10);
	if (errno == ERANGE)
		return -ERANGE;
	if (!hex && *end == '.' && !g_ascii_isdigit(end[1])) {
		end++;
	} else if (!hex && *end == '.') {
		fraction = g_ascii_strtod(end, &fraction_end);
		if (strcspn(end, "eE") < (size_t)(fraction_end - end) || fraction >= 1)
			return -EINVAL;
		end = fraction_end;
	}
	power = *end ? suffix_power(*end++) : 0;
	if (power < 0 || *end || (fraction > 0 && !power))
		return -EINVAL;
	if (whole > UINT64_MAX >> (10 * power))
		return -ERANGE;
	sum = fraction * (double)(1ull << (10 * power));
	whole <<= 10 * power;
	if (whole > UINT64_MAX - (uint64_t)sum)
		return -ERANGE;
	*ret = whole + (uint64_t)sum;
	return 0;
}

bool img_size(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t size;
	int res = img_parse_size(text, &size);

	if (res == -EINVAL) {
		img_fail("Invalid %s specified. You may use k, M, G, T, P or E suffixes for", what);
		return img_fail("kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes."), false;
	}
	if (res < 0 || size < min || size > max) {
		if (max == UINT64_MAX)
			img_fail("Invalid %s specified. Must be at least %" G_GUINT64_FORMAT ".", what, min);
		else
			img_fail("Invalid %s specified. Must be between %" G_GUINT64_FORMAT " and %" G_GUINT64_FORMAT ".", what,
				 min, max);
		return false;
	}
	*ret = size;
	return true;
}

bool img_number(const char *text, uint64_t *ret)
{
	char *end;
	uint64_t value;

	if (!g_ascii_isdigit(text[0]))
		return false;
	errno = 0;
	value = g_ascii_strtoull(text, &end, 0);
	if (errno || *end)
		return false;
	*ret = value;
	return true;
}

char *img_human_size(uint64_t size)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = size;
	unsigned i = 0;

	/* The next unit from 1000 on, so that three digits suffice. */
	for (; value >= 1000 && i + 1 < G_N_ELEMENTS(units); i++)
		value /= 1024;
	return g_strdup_printf("%0.3g %s", value, units[i]);
}

bool img_wants_json(const struct img_args *args, bool *ret)
{
	const char *how = args->value[IMG_OUTPUT];

	*ret = how && strcmp(how, "json") == 0;
	if (how && !*ret && strcmp(how, "human") != 0)
		return img_fail("--output must be used with human or json as argument."), false;
	return true;
}

bool img_cache(const char *name, bool *ret_flush)
{
	static const char *const modes[] = {"writeback", "none", "off", "writethrough", "directsync", NULL};

	*ret_flush = name && strcmp(name, "unsafe") != 0;
	if (!*ret_flush || g_strv_contains(modes, name))
		return true;
	return img_fail("Invalid cache option: %s", name), false;
}

bool img_is_zero(const void *buf, size_t len)
{
	static const char zeroes[64];
	const char *p = buf;
	size_t head = MIN(len, sizeof(zeroes));

	/* Behind zeroes the bytes are zeroes if each is what is 64 bytes in front of it. */
	return memcmp(p, zeroes, head) == 0 && memcmp(p, p + head, len - head) == 0;
}
