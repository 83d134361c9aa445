/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See user-config.h. What libslirp asserts or does not check is checked here. */
#include "user-config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libslirp.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

enum {
	CONFIG_VERSION = 4,
	BITS_DEFAULT = 24,
	BITS_MAX = 30, /* a guest, a host */
	BITS6 = 64,    /* what a guest makes its address of */
	HOST = 2,
	DNS = 3,
	DHCP_START = 15,
	HOSTNAME_MAX = 63,
};

static const char *text_of(GVariant *options, const char *name)
{
	const char *text = NULL;

	if (options)
		g_variant_lookup(options, name, "&s", &text);
	return text;
}

static bool flag_of(GVariant *options, const char *name, bool otherwise)
{
	gboolean value = otherwise;

	if (options)
		g_variant_lookup(options, name, "b", &value);
	return value;
}

/* ADDR or ADDR/BITS. */
static bool read_net(const char *text, int family, void *ret_address, unsigned *bits, unsigned max, GError **error)
{
	g_auto(GStrv) parts = g_strsplit(text, "/", 2);
	guint64 n = *bits;

	if (inet_pton(family, parts[0] ? parts[0] : "", ret_address) != 1 ||
	    (parts[0] && parts[1] && !g_ascii_string_to_unsigned(parts[1], 10, 1, max, &n, NULL)))
		return kv_fail(error, KV_ERROR_USAGE, "%s '%s' is not ADDRESS/BITS, with at most %u bits",
			       family == AF_INET ? "net" : "ipv6-net", text, max);
	*bits = (unsigned)n;
	return true;
}

/* An address of the network, neither its first nor its last; without one the n-th. */
static bool read_address(GVariant *options, const char *name, const SlirpConfig *c, unsigned n, struct in_addr *ret,
			 GError **error)
{
	guint32 net = ntohl(c->vnetwork.s_addr), mask = ntohl(c->vnetmask.s_addr), address;
	const char *text = text_of(options, name);

	if (!text) {
		ret->s_addr = htonl(net + MIN(n, ~mask - 1));
		return true;
	}
	if (inet_pton(AF_INET, text, ret) != 1)
		return kv_fail(error, KV_ERROR_USAGE, "%s '%s' is not an IPv4 address", name, text);
	address = ntohl(ret->s_addr);
	return ((address & mask) == net && address != net && address != (net | ~mask)) ||
	       kv_fail(error, KV_ERROR_USAGE, "%s '%s' is not an address of the guest's network", name, text);
}

static bool read_ipv4(GVariant *options, SlirpConfig *c, GError **error)
{
	const char *net = text_of(options, "net");
	unsigned bits = BITS_DEFAULT;

	c->in_enabled = true;
	if (!read_net(net ? net : "10.0.2.0", AF_INET, &c->vnetwork, &bits, BITS_MAX, error))
		return false;
	c->vnetmask.s_addr = htonl(G_MAXUINT32 << (32 - bits));
	c->vnetwork.s_addr &= c->vnetmask.s_addr;
	if (!read_address(options, "host", c, HOST, &c->vhost, error) ||
	    !read_address(options, "dns", c, DNS, &c->vnameserver, error) ||
	    !read_address(options, "dhcpstart", c, DHCP_START, &c->vdhcp_start, error))
		return false;
	if (c->vhost.s_addr == c->vnameserver.s_addr)
		return kv_fail(error, KV_ERROR_USAGE, "dns: it needs another address than host");
	c->disable_dhcp = !flag_of(options, "dhcp", true);
	return !(c->vdhcp_start.s_addr == c->vhost.s_addr || c->vdhcp_start.s_addr == c->vnameserver.s_addr) ||
	       kv_fail(error, KV_ERROR_USAGE, "dhcpstart: it needs another address than host and dns");
}

static bool read_address6(GVariant *options, const char *name, const SlirpConfig *c, uint8_t n, struct in6_addr *ret,
			  GError **error)
{
	const char *text = text_of(options, name);

	if (!text) {
		*ret = c->vprefix_addr6;
		ret->s6_addr[15] = n;
		return true;
	}
	if (inet_pton(AF_INET6, text, ret) != 1)
		return kv_fail(error, KV_ERROR_USAGE, "%s '%s' is not an IPv6 address", name, text);
	return !memcmp(ret, &c->vprefix_addr6, BITS6 / 8) ||
	       kv_fail(error, KV_ERROR_USAGE, "%s '%s' is not an address of the guest's network", name, text);
}

static bool read_ipv6(GVariant *options, SlirpConfig *c, GError **error)
{
	const char *net = text_of(options, "ipv6-net");
	unsigned bits = BITS6;

	c->in6_enabled = flag_of(options, "ipv6", true);
	if (!read_net(net ? net : "fec0::", AF_INET6, &c->vprefix_addr6, &bits, BITS6, error))
		return false;
	if (bits != BITS6)
		return kv_fail(error, KV_ERROR_USAGE, "ipv6-net '%s': guests make addresses of %d bits of it", net, BITS6);
	memset(c->vprefix_addr6.s6_addr + BITS6 / 8, 0, sizeof(c->vprefix_addr6) - BITS6 / 8);
	c->vprefix_len = BITS6;
	if (!read_address6(options, "ipv6-host", c, HOST, &c->vhost6, error) ||
	    !read_address6(options, "ipv6-dns", c, DNS, &c->vnameserver6, error))
		return false;
	return memcmp(&c->vhost6, &c->vnameserver6, sizeof(c->vhost6)) ||
	       kv_fail(error, KV_ERROR_USAGE, "ipv6-dns: it needs another address than ipv6-host");
}

/* The name that the folder has for good: the sandbox changes the root. */
static bool find_tftp(GVariant *options, char **ret_path, GError **error)
{
	const char *given = text_of(options, "tftp");

	if (!given)
		return true;
	*ret_path = realpath(given, NULL);
	if (!*ret_path)
		return kv_fail_errno(error, errno, "tftp '%s': cannot open the folder", given);
	return g_file_test(*ret_path, G_FILE_TEST_IS_DIR) || kv_fail(error, KV_ERROR_USAGE, "tftp '%s': not a folder", given);
}

/* They go into options of DHCP, of one byte's length in a message of one size. */
static bool read_name(GVariant *options, const char *key, const char **ret, GError **error)
{
	const char *name = text_of(options, key);

	if (name && (!*name || strlen(name) > HOSTNAME_MAX))
		return kv_fail(error, KV_ERROR_USAGE, "%s '%s' has to have 1 to %d bytes", key, name, HOSTNAME_MAX);
	*ret = name;
	return true;
}

bool user_config_read(GVariant *options, struct user_config *ret, GError **error)
{
	SlirpConfig *c = ret->slirp = g_new0(SlirpConfig, 1);

	c->version = CONFIG_VERSION;
	if (!find_tftp(options, &ret->tftp, error) || !read_ipv4(options, c, error) || !read_ipv6(options, c, error) ||
	    !read_name(options, "hostname", &c->vhostname, error) || !read_name(options, "domainname", &c->vdomainname, error))
		return false;
	c->restricted = flag_of(options, "restrict", false);
	c->bootfile = text_of(options, "bootfile");
	c->tftp_path = ret->tftp;
	return true;
}

void user_config_clear(struct user_config *c)
{
	free(c->tftp);
	g_free(c->slirp);
	*c = (struct user_config){0};
}
