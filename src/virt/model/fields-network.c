/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Networks. Those that kvd has are in user space: what asks for bridges, routes or shares of the host's cards is refused. */
#include "object-fields.h"

static const struct field lease_fields[] = {
	{ "@expiry", FIELD_COUNT },
	{ "@unit", FIELD_WORD, "seconds minutes hours" },
	{ NULL },
};

static const struct field range_fields[] = {
	{ "@start", FIELD_NAME, NULL, FIELD_MUST },
	{ "@end", FIELD_NAME, NULL, FIELD_MUST },
	{ "lease", FIELD_NODE, NULL, 0, lease_fields },
	{ NULL },
};

static const struct field host_fields[] = {
	{ "@id", FIELD_TEXT },
	{ "@mac", FIELD_MAC },
	{ "@name", FIELD_NAME },
	{ "@ip", FIELD_NAME },
	{ "lease", FIELD_NODE, NULL, 0, lease_fields },
	{ NULL },
};

static const struct field ip_fields[] = {
	{ "@family", FIELD_WORD, "ipv4 ipv6" },
	{ "@address", FIELD_NAME },
	{ "@netmask", FIELD_NAME },
	{ "@prefix", FIELD_COUNT, "0 128" },
	{ "@localPtr", FIELD_WORD, "no !yes" },
	{ "tftp/@root", FIELD_PATH },
	{ "dhcp/range", FIELD_NODE, NULL, FIELD_MANY, range_fields },
	{ "dhcp/host", FIELD_NODE, NULL, FIELD_MANY, host_fields },
	{ "dhcp/bootp/@file", FIELD_NAME },
	{ "dhcp/bootp/@server", FIELD_NAME },
	{ NULL },
};

static const struct field dns_host_fields[] = {
	{ "@ip", FIELD_NAME, NULL, FIELD_MUST },
	{ "hostname", FIELD_NAME, NULL, FIELD_MANY },
	{ NULL },
};

const struct field network_fields[] = {
	{ "@ipv6", FIELD_WORD, "yes no" },
	{ "@trustGuestRxFilters", FIELD_WORD, "no !yes" },
	{ "@connections", FIELD_COUNT, NULL, FIELD_LIVE },
	{ "name", FIELD_NAME },
	{ "uuid", FIELD_UUID },
	{ "title", FIELD_TEXT },
	{ "description", FIELD_TEXT },
	{ "metadata", FIELD_NODE, NULL, FIELD_VERBATIM },
	{ "forward/@dev", FIELD_TEXT, NULL, FIELD_NO },
	{ "forward/@mode", FIELD_WORD, "nat !route !open !bridge !private !vepa !passthrough !hostdev" },
	{ "forward/@managed", FIELD_TEXT, NULL, FIELD_NO },
	{ "forward/nat/@ipv6", FIELD_WORD, "yes no" },
	{ "forward/nat/address", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "forward/nat/port/@start", FIELD_COUNT, "1 65535" },
	{ "forward/nat/port/@end", FIELD_COUNT, "1 65535" },
	{ "forward/interface", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "forward/pf", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "forward/driver", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "forward/address", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "bridge/@name", FIELD_TEXT },
	{ "bridge/@zone", FIELD_TEXT },
	{ "bridge/@stp", FIELD_WORD, "on off" },
	{ "bridge/@delay", FIELD_COUNT },
	{ "bridge/@macTableManager", FIELD_WORD, "kernel libvirt" },
	{ "mtu", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "mac/@address", FIELD_MAC, NULL, FIELD_MUST },
	{ "domain/@name", FIELD_NAME },
	{ "domain/@localOnly", FIELD_WORD, "yes no" },
	{ "domain/@register", FIELD_WORD, "no !yes" },
	{ "dns/@enable", FIELD_WORD, "yes no" },
	{ "dns/@forwardPlainNames", FIELD_WORD, "yes no" },
	{ "dns/forwarder", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "dns/txt", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "dns/srv", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "dns/host", FIELD_NODE, NULL, FIELD_MANY, dns_host_fields },
	{ "vlan", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "bandwidth", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "virtualport", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "ip", FIELD_NODE, NULL, FIELD_MANY, ip_fields },
	{ "route", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "portgroup", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "port/@isolated", FIELD_WORD, "no yes" },
	{ "dnsmasq:options", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ NULL },
};
