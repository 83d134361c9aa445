/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * <network>: user-mode NAT, of which each card has its own. Its first IPv4 address is the host's, DHCP gives a card the address
 * that was chosen for it, and a name server has one that nobody else has. Without <forward> nothing of it leads out of the guest.
 * Pure; what takes a bridge is refused by its name. See command.h.
 */
#include <arpa/inet.h>
#include <string.h>

#include "parts.h"

enum { BITS_MIN = 8, BITS_MAX = 30, RANGES_MAX = 64, HOSTS_MAX = 1024, TRIES_MAX = 4096, BITS6 = 64, NAME_MAX_LEN = 63 };

struct net {
	guint32 net, mask, host, dns; /* as numbers */
	struct {
		guint32 first, last;
	} ranges[RANGES_MAX];
	struct {
		guint32 address;
		const xmlNode *node;
	} hosts[HOSTS_MAX];
	unsigned n_ranges, n_hosts;
	const xmlNode *four, *six; /* <ip>; six may be NULL, and four in an isolated network */
	bool isolated;		   /* no <forward> */
};

static bool parse_ip(const char *text, guint32 *ret)
{
	struct in_addr a;

	if (!text || inet_pton(AF_INET, text, &a) != 1)
		return false;
	*ret = ntohl(a.s_addr);
	return true;
}

static char *ip_text(guint32 address)
{
	return g_strdup_printf("%u.%u.%u.%u", address >> 24, address >> 16 & 0xff, address >> 8 & 0xff, address & 0xff);
}

static bool is_usable(const struct net *n, guint32 address)
{
	return (address & n->mask) == n->net && address != n->net && address != (n->net | ~n->mask);
}

/* ---- what is not there ---- */

/* Elements and attributes that stand for something, and the values of some that do not. */
static const struct {
	const char *path, *harmless, *why;
} refused[] = {
	{"@ipv6", "no", "guests of a user-mode network do not reach each other"},
	{"forward/nat/port/@start", NULL, "the host chooses the ports of connections"},
	{"forward/nat/port/@end", NULL, "the host chooses the ports of connections"},
	{"bridge/@zone", NULL, "there is no bridge"},
	{"bridge/@macTableManager", "kernel", "there is no bridge"},
	{"domain/@localOnly", "no", "names are the host's resolver's"},
	{"dns/@forwardPlainNames", "yes", "names are the host's resolver's"},
	{"dns/host/@ip", NULL, "names are the host's resolver's"},
};

static bool check_rest(const xmlNode *network, GError **error)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(refused); i++) {
		const char *text = xml_text(network, refused[i].path);

		if (text && g_strcmp0(text, refused[i].harmless))
			return refuse(error, "network: %s '%s' is not supported: %s", refused[i].path, text, refused[i].why);
	}
	if (xml_child(network, "forward") && xml_is(network, "dns/@enable", "no"))
		return refuse(error,
			      "network: dns/@enable 'no' is not supported: a user-mode network has the host's resolver");
	if (strlen(xml_text(network, "domain/@name") ?: "") > NAME_MAX_LEN)
		return refuse(error, "network: domain name '%s' has more than %d bytes", xml_text(network, "domain/@name"),
			      NAME_MAX_LEN);
	return true;
}

/* ---- addresses ---- */

static bool read_mask(const xmlNode *ip, struct net *n, GError **error)
{
	const char *mask = xml_text(ip, "@netmask");
	guint64 bits;

	if (mask && !parse_ip(mask, &n->mask))
		return rpc_fail(error, VIR_ERR_XML_ERROR, "Invalid netmask '%s' in network IP definition", mask);
	if (!mask)
		n->mask = G_MAXUINT32 << (32 - (xml_number(ip, "@prefix", &bits) && bits && bits <= 32 ? bits : 24));
	for (bits = 0; bits < 32 && n->mask >> (31 - bits) & 1; bits++)
		;
	if (bits < 32 && n->mask << bits)
		return rpc_fail(error, VIR_ERR_XML_ERROR, "Invalid netmask '%s' in network IP definition", mask);
	return (bits >= BITS_MIN && bits <= BITS_MAX) ||
	       refuse(error, "network: a prefix of %u bits is not supported; %d to %d are", (unsigned)bits, BITS_MIN, BITS_MAX);
}

static bool read_range(const xmlNode *range, struct net *n, GError **error)
{
	const char *start = xml_text(range, "@start"), *end = xml_text(range, "@end");
	guint32 first, last;

	if (xml_child(range, "lease"))
		return refuse(error, "network: <lease> of a DHCP range is not supported: a lease is of a day");
	if (!parse_ip(start, &first))
		return rpc_fail(error, VIR_ERR_XML_ERROR, "Invalid dhcp range start address: '%s'", start ?: "");
	if (!parse_ip(end, &last))
		return rpc_fail(error, VIR_ERR_XML_ERROR, "Invalid dhcp range end address: '%s'", end ?: "");
	if (last < first)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "range %s - %s is reversed ", start, end);
	if (!is_usable(n, first) || !is_usable(n, last)) {
		g_autofree char *net = ip_text(n->net);

		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "range %s - %s is not entirely within network %s/%d", start, end,
				net, __builtin_popcount(n->mask));
	}
	if (n->n_ranges == RANGES_MAX)
		return refuse(error, "network: more than %d DHCP ranges are not supported", RANGES_MAX);
	n->ranges[n->n_ranges].first = first;
	n->ranges[n->n_ranges++].last = last;
	return true;
}

static bool read_host(const xmlNode *host, struct net *n, GError **error)
{
	const char *ip = xml_text(host, "@ip"), *mac = xml_text(host, "@mac"), *name = xml_text(host, "@name");
	guint32 address;

	if (!mac)
		return refuse(error, "network: a DHCP <host> without mac is not supported: cards are known by theirs");
	if (xml_child(host, "lease") || xml_text(host, "@id"))
		return refuse(error, "network: %s of a DHCP <host> is not supported",
			      xml_child(host, "lease") ? "<lease>" : "id");
	if (!parse_ip(ip, &address) || !is_usable(n, address) || address == n->host)
		return rpc_fail(error, VIR_ERR_XML_ERROR, "Invalid IP address in static host definition '%s' of mac '%s'",
				ip ?: "", mac);
	if (strlen(name ?: "") > NAME_MAX_LEN)
		return refuse(error, "network: the name of DHCP <host> '%s' has more than %d bytes", mac, NAME_MAX_LEN);
	if (n->n_hosts == HOSTS_MAX)
		return refuse(error, "network: more than %d DHCP hosts are not supported", HOSTS_MAX);
	n->hosts[n->n_hosts].address = address;
	n->hosts[n->n_hosts++].node = host;
	return true;
}

static bool is_given(const struct net *n, guint32 address)
{
	for (unsigned i = 0; i < n->n_ranges; i++)
		if (address >= n->ranges[i].first && address <= n->ranges[i].last)
			return true;
	for (unsigned i = 0; i < n->n_hosts; i++)
		if (n->hosts[i].address == address)
			return true;
	return false;
}

/* The last address that DHCP does not give, or the last one of all, which it then does not give. */
static void choose_dns(struct net *n)
{
	guint32 last = (n->net | ~n->mask) - 1;

	n->dns = last == n->host ? last - 1 : last;
	for (guint32 a = last, tries = 0; a > n->net && tries < TRIES_MAX; a--, tries++) {
		if (a == n->host || is_given(n, a))
			continue;
		n->dns = a;
		return;
	}
}

static bool check_six(const xmlNode *six, const xmlNode *network, GError **error)
{
	guint64 bits = BITS6;

	if (xml_number(six, "@prefix", &bits) && bits != BITS6)
		return refuse(error, "network: an IPv6 prefix of %u bits is not supported; %d are", (unsigned)bits, BITS6);
	if (xml_child(six, "dhcp"))
		return refuse(error, "network: <dhcp> of IPv6 is not supported: guests make their address themselves");
	return !xml_is(network, "forward/nat/@ipv6", "no") ||
	       refuse(error, "network: forward/nat/@ipv6 'no' is not supported with an IPv6 address");
}

static bool read_four(const xmlNode *ip, struct net *n, GError **error)
{
	const xmlNode *dhcp = xml_child(ip, "dhcp"), *node;

	n->four = ip;
	if (!parse_ip(xml_text(ip, "@address"), &n->host) || !read_mask(ip, n, error))
		return error && *error ? false : refuse(error, "network: no IPv4 address");
	n->net = n->host & n->mask;
	if (!is_usable(n, n->host))
		return refuse(error, "network: the host's address %s is not one of its network's", xml_text(ip, "@address"));
	if (dhcp && xml_text(dhcp, "bootp/@server"))
		return refuse(error, "network: bootp/@server is not supported; the network's own address is");
	for (unsigned i = 0; dhcp && (node = xml_nth(dhcp, "range", i)); i++)
		if (!read_range(node, n, error))
			return false;
	for (unsigned i = 0; dhcp && (node = xml_nth(dhcp, "host", i)); i++)
		if (!read_host(node, n, error))
			return false;
	choose_dns(n);
	return true;
}

static bool read_network(const xmlNode *network, struct net *n, GError **error)
{
	for (const xmlNode *ip = xml_child(network, "ip"); ip; ip = xml_next(ip)) {
		const xmlNode **place = xml_is(ip, "@family", "ipv6") ? &n->six : &n->four;

		if (*place)
			return refuse(error, "network: a second <ip> of one family is not supported");
		*place = ip;
	}
	n->isolated = !xml_child(network, "forward");
	if (!n->four && (n->six || !n->isolated))
		return refuse(error,
			      "a network without an IPv4 address is not supported, unless it is isolated and has none at all");
	return check_rest(network, error) && (!n->four || read_four(n->four, n, error)) &&
	       (!n->six || check_six(n->six, network, error));
}

bool command_network_check(const xmlNode *network, GError **error)
{
	g_autofree struct net *n = g_new0(struct net, 1);

	return read_network(network, n, error);
}

/* ---- a card's ---- */

static guint32 nth_of_ranges(const struct net *n, guint64 at)
{
	for (unsigned i = 0; i < n->n_ranges; i++) {
		guint64 size = (guint64)n->ranges[i].last - n->ranges[i].first + 1;

		if (at < size)
			return n->ranges[i].first + (guint32)at;
		at -= size;
	}
	return n->ranges[0].first;
}

/* By the card's address, so that it is the same the next time; the next one where that is somebody's. */
static bool choose_address(const struct net *n, const char *mac, bool (*is_taken)(void *opaque, const char *address),
			   void *opaque, char **ret, GError **error)
{
	guint64 all = 0, at;

	for (unsigned i = 0; i < n->n_ranges; i++)
		all += (guint64)n->ranges[i].last - n->ranges[i].first + 1;
	at = all ? g_str_hash(mac) % all : 0;
	for (guint64 tries = 0; tries < MIN(all, TRIES_MAX); tries++, at = (at + 1) % all) {
		guint32 address = nth_of_ranges(n, at);
		bool fixed = false;

		for (unsigned i = 0; i < n->n_hosts; i++)
			fixed |= n->hosts[i].address == address;
		g_free(*ret);
		*ret = ip_text(address);
		if (!fixed && address != n->host && address != n->dns && !(is_taken && is_taken(opaque, *ret)))
			return true;
	}
	g_clear_pointer(ret, g_free);
	return rpc_fail(error, VIR_ERR_OPERATION_FAILED, "no address is left in the network for the card '%s'", mac);
}

static void word(GPtrArray *ret, const char *name, char *value)
{
	if (!value)
		return;
	g_ptr_array_add(ret, g_strdup(name));
	g_ptr_array_add(ret, value);
}

static void six_words(const struct net *n, GPtrArray *ret)
{
	const char *host = xml_text(n->six, "@address");
	struct in6_addr a;
	char text[INET6_ADDRSTRLEN];

	if (!host || inet_pton(AF_INET6, host, &a) != 1)
		return;
	word(ret, "ipv6-host", g_strdup(host));
	memset(a.s6_addr + BITS6 / 8, 0, BITS6 / 8);
	word(ret, "ipv6-net", g_strdup_printf("%s/%d", inet_ntop(AF_INET6, &a, text, sizeof(text)), BITS6));
	a.s6_addr[15] = 3;
	if (!strcmp(inet_ntop(AF_INET6, &a, text, sizeof(text)), host))
		a.s6_addr[15] = 2;
	word(ret, "ipv6-dns", g_strdup(inet_ntop(AF_INET6, &a, text, sizeof(text))));
}

/* IPv4: the network's addresses, the card's, what else DHCP says. */
static bool four_words(const struct net *n, const char *mac, bool (*is_taken)(void *opaque, const char *address), void *opaque,
		       GPtrArray *ret, GError **error)
{
	g_autofree char *address = NULL, *net = ip_text(n->net), *dns = ip_text(n->dns);
	const xmlNode *fixed = NULL;

	for (unsigned i = 0; i < n->n_hosts && !fixed; i++)
		if (!g_ascii_strcasecmp(xml_text(n->hosts[i].node, "@mac"), mac))
			fixed = n->hosts[i].node;
	if (fixed)
		address = g_strdup(xml_text(fixed, "@ip"));
	else if (n->n_ranges && !choose_address(n, mac, is_taken, opaque, &address, error))
		return false;
	if (!g_strcmp0(address, dns))
		return refuse(error, "network: the DHCP <host> '%s' leaves no address to a name server", mac);
	word(ret, "net", g_strdup_printf("%s/%d", net, __builtin_popcount(n->mask)));
	word(ret, "host", ip_text(n->host));
	word(ret, "dns", g_steal_pointer(&dns));
	word(ret, "dhcpstart", g_strdup(address));
	if (!address)
		word(ret, "dhcp", g_strdup("off"));
	word(ret, "hostname", g_strdup(fixed ? xml_text(fixed, "@name") : NULL));
	word(ret, "tftp", g_strdup(xml_text(n->four, "tftp/@root")));
	word(ret, "bootfile", g_strdup(xml_text(n->four, "dhcp/bootp/@file")));
	return true;
}

bool command_network_words(const xmlNode *network, const char *mac, bool (*is_taken)(void *opaque, const char *address),
			   void *opaque, GPtrArray *ret, GError **error)
{
	g_autofree struct net *n = g_new0(struct net, 1);

	if (!read_network(network, n, error) || (n->four && !four_words(n, mac, is_taken, opaque, ret, error)))
		return false;
	if (!n->four)
		word(ret, "dhcp", g_strdup("off"));
	word(ret, "domainname", g_strdup(xml_text(network, "domain/@name")));
	if (n->isolated)
		word(ret, "restrict", g_strdup("on"));
	if (n->six)
		six_words(n, ret);
	else
		word(ret, "ipv6", g_strdup("off"));
	return true;
}
