/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parser of port forwards. See hostfwd.h; errors say which part of the text is wrong. */
#include "hostfwd.h"

#include <arpa/inet.h>
#include <string.h>

#include "error.h"

static bool fail(GError **error, const char *text, const char *what)
{
	return kv_fail(error, KV_ERROR_USAGE,
		       "hostfwd '%s': %s; give tcp|udp:[ADDR]:PORT-[GUEST]:PORT", text, what);
}

static bool parse_address(const char *s, size_t len, struct in_addr *ret)
{
	char buf[INET_ADDRSTRLEN];

	if (!len) {
		ret->s_addr = INADDR_ANY;
		return true;
	}
	if (len >= sizeof(buf))
		return false;
	memcpy(buf, s, len);
	buf[len] = 0;
	return inet_pton(AF_INET, buf, ret) == 1;
}

static bool parse_port(const char *s, size_t len, uint16_t *ret)
{
	unsigned port = 0;

	if (!len || len > 5)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!g_ascii_isdigit(s[i]))
			return false;
		port = port * 10 + (s[i] - '0');
	}
	*ret = port;
	return port > 0 && port <= UINT16_MAX;
}

bool hostfwd_parse_listener(const char *text, struct hostfwd *ret, GError **error)
{
	const char *dash = strchr(text, '-');
	g_autofree char *whole = g_strdup_printf("%.*s-:1", (int)(dash ? dash - text : (gssize)strlen(text)), text);

	return hostfwd_parse(whole, ret, error);
}

bool hostfwd_parse(const char *text, struct hostfwd *ret, GError **error)
{
	const char *host, *host_port, *guest, *guest_port;
	struct hostfwd f = {};

	if (g_str_has_prefix(text, "udp:"))
		f.udp = true;
	else if (!g_str_has_prefix(text, "tcp:"))
		return fail(error, text, "it starts with neither tcp: nor udp:");
	host = text + 4;
	host_port = strchr(host, ':');
	guest = host_port ? strchr(host_port, '-') : NULL;
	guest_port = guest ? strchr(guest, ':') : NULL;
	if (!guest_port)
		return fail(error, text, "a part is missing");
	if (!parse_address(host, host_port - host, &f.host))
		return fail(error, text, "the host's address is not an IPv4 address");
	if (!parse_port(host_port + 1, guest - host_port - 1, &f.host_port))
		return fail(error, text, "the host's port is not a number from 1 to 65535");
	if (!parse_address(guest + 1, guest_port - guest - 1, &f.guest))
		return fail(error, text, "the guest's address is not an IPv4 address");
	if (!parse_port(guest_port + 1, strlen(guest_port + 1), &f.guest_port))
		return fail(error, text, "the guest's port is not a number from 1 to 65535");
	*ret = f;
	return true;
}
