/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network cards of the host as devices, and all of its interfaces. See host-devices.h. */
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host-devices.h"
#include "model-xml.h"

/* ---- what a card can (ethtool's ioctl) ---- */

static const struct {
	const char *name;
	guint32 command, bit; /* bit: of ETHTOOL_GFLAGS; 0: the value itself */
} features[] = {
	{ "rx", ETHTOOL_GRXCSUM },
	{ "tx", ETHTOOL_GTXCSUM },
	{ "sg", ETHTOOL_GSG },
	{ "tso", ETHTOOL_GTSO },
	{ "gso", ETHTOOL_GGSO },
	{ "gro", ETHTOOL_GGRO },
	{ "lro", ETHTOOL_GFLAGS, ETH_FLAG_LRO },
	{ "rxvlan", ETHTOOL_GFLAGS, ETH_FLAG_RXVLAN },
	{ "txvlan", ETHTOOL_GFLAGS, ETH_FLAG_TXVLAN },
	{ "ntuple", ETHTOOL_GFLAGS, ETH_FLAG_NTUPLE },
	{ "rxhash", ETHTOOL_GFLAGS, ETH_FLAG_RXHASH },
};

/* NETIF_F_GSO_UDP_TUNNEL's place in the kernel's list of features. */
enum { FEATURE_UDP_TUNNEL = 25 };

static bool ask(int fd, const char *name, void *command)
{
	struct ifreq request = { .ifr_data = command };

	g_strlcpy(request.ifr_name, name, sizeof(request.ifr_name));
	return ioctl(fd, SIOCETHTOOL, &request) == 0;
}

static bool has_tunnels(int fd, const char *name)
{
	struct {
		struct ethtool_gfeatures head;
		struct ethtool_get_features_block blocks[2];
	} all = { .head = { .cmd = ETHTOOL_GFEATURES, .size = 2 } };

	return ask(fd, name, &all) && all.blocks[0].active & 1u << FEATURE_UDP_TUNNEL;
}

static void add_feature(xmlNode *capability, const char *name)
{
	xml_set(xml_add(capability, "feature"), "@name", name);
}

static void add_features(xmlNode *capability, const char *name)
{
	int fd = socket(AF_LOCAL, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	for (unsigned i = 0; i < G_N_ELEMENTS(features); i++) {
		struct ethtool_value value = { .cmd = features[i].command };

		if (ask(fd, name, &value) && (features[i].bit ? value.data & features[i].bit : value.data))
			add_feature(capability, features[i].name);
	}
	if (has_tunnels(fd, name))
		add_feature(capability, "txudptnl");
	close(fd);
}

/* ---- devices ---- */

/* The speed is told of a link that is up; one without is 2^32-1, as libvirt has it. */
static void add_link(xmlNode *node, const char *folder)
{
	g_autofree char *state = host_text(folder, "operstate");
	gint64 speed = state && !strcmp(state, "up") ? host_number(folder, "speed", 0) : 0;

	if (speed)
		host_set_number(node, "link/@speed", (guint32)speed);
	host_set(node, "link/@state", state);
}

static void add_card(struct host *h, const char *folder)
{
	g_autofree char *base = g_path_get_basename(folder), *mac = host_text(folder, "address");
	g_autofree char *name = mac ? g_strconcat("net_", base, "_", mac, NULL) : g_strconcat("net_", base, NULL);
	g_autofree char *wireless = g_build_filename(folder, "wireless", NULL);
	xmlNode *capability = host_device_new(h, "net", folder, name);

	xml_set(capability, "interface", base);
	host_set(capability, "address", mac);
	add_link(capability, folder);
	add_features(capability, base);
	xml_set(xml_add(capability, "capability"), "@type", g_file_test(wireless, G_FILE_TEST_IS_DIR) ? "80211" : "80203");
}

void host_add_net(struct host *h)
{
	g_autoptr(GPtrArray) folders = host_folders(h, "/sys/class/net");

	for (unsigned i = 0; i < folders->len; i++)
		add_card(h, folders->pdata[i]);
}

/* ---- interfaces ---- */

static bool has(const char *folder, const char *file)
{
	g_autofree char *path = g_build_filename(folder, file, NULL);

	return g_file_test(path, G_FILE_TEST_EXISTS);
}

static const char *type_of(const struct host *h, const char *folder, const char *base)
{
	g_autofree char *vlan = g_strconcat(h->root, "/proc/net/vlan/", base, NULL);

	return has(folder, "bridge") ? "bridge" :
	       has(folder, "bonding") ? "bond" :
	       g_file_test(vlan, G_FILE_TEST_EXISTS) ? "vlan" : "ethernet";
}

static void add_port(xmlNode *parent, const struct host *h, const char *name)
{
	g_autofree char *folder = g_strconcat(h->root, "/sys/class/net/", name, NULL), *mac = host_text(folder, "address");
	xmlNode *port = xml_add(parent, "interface");

	xml_set(port, "@type", type_of(h, folder, name));
	xml_set(port, "@name", name);
	add_link(port, folder);
	host_set(port, "mac/@address", mac);
}

static void add_bridge(const struct host *h, xmlNode *root, const char *folder, const char *base)
{
	g_autofree char *ports = g_strdup_printf("/sys/class/net/%s/brif", base), *delay = NULL;
	g_autofree char *where = g_strconcat(h->root, ports, NULL);
	g_autoptr(GDir) dir = g_dir_open(where, 0, NULL);
	const char *name;

	delay = g_strdup_printf("%.2g", (double)host_number(folder, "bridge/forward_delay", 0) / 100);
	xml_set(root, "bridge/@stp", host_number(folder, "bridge/stp_state", 0) ? "on" : "off");
	xml_set(root, "bridge/@delay", delay);
	while (dir && (name = g_dir_read_name(dir)))
		add_port(xml_child(root, "bridge"), h, name);
}

static void add_bond(const struct host *h, xmlNode *root, const char *folder)
{
	g_autofree char *mode = host_text(folder, "bonding/mode"), *slaves = host_text(folder, "bonding/slaves");
	gint64 freq = host_number(folder, "bonding/miimon", 0);
	g_auto(GStrv) names = slaves ? g_strsplit(slaves, " ", -1) : NULL;

	if (mode)
		mode[strcspn(mode, " ")] = 0;
	xml_set(root, "bond/@mode", mode ? mode : "balance-rr");
	if (freq) {
		host_set_number(root, "bond/miimon/@freq", freq);
		host_set_number(root, "bond/miimon/@downdelay", host_number(folder, "bonding/downdelay", 0));
		host_set_number(root, "bond/miimon/@updelay", host_number(folder, "bonding/updelay", 0));
		xml_set(root, "bond/miimon/@carrier", host_number(folder, "bonding/use_carrier", 1) ? "netif" : "ioctl");
	}
	for (char **n = names; n && *n; n++)
		add_port(xml_child(root, "bond"), h, *n);
}

/* /proc/net/vlan/NAME: "NAME  VID: 42 …", "Device: eth0". */
static void add_vlan(const struct host *h, xmlNode *root, const char *base)
{
	g_autofree char *path = g_strconcat(h->root, "/proc/net/vlan/", base, NULL), *text = NULL, *device = NULL;
	const char *id, *of;

	if (!g_file_get_contents(path, &text, NULL, NULL) || !(id = strstr(text, "VID: ")) || !(of = strstr(text, "Device: ")))
		return;
	of += strlen("Device: ");
	device = g_strstrip(g_strndup(of, strcspn(of, "\n")));
	host_set_number(root, "vlan/@tag", g_ascii_strtoll(id + strlen("VID: "), NULL, 10));
	xml_set(root, "vlan/interface/@name", device);
}

static void add_interface(const struct host *h, const char *folder)
{
	struct host_object *o = g_new0(struct host_object, 1);
	g_autofree char *base = g_path_get_basename(folder), *mac = host_text(folder, "address");
	g_autofree char *state = host_text(folder, "operstate");
	const char *type = type_of(h, folder, base);
	xmlNode *root;

	o->doc = xmlNewDoc(BAD_CAST "1.0");
	root = xmlNewDocNode(o->doc, NULL, BAD_CAST "interface", NULL);
	xmlDocSetRootElement(o->doc, root);
	o->active = state && !strcmp(state, "up");
	xml_set(root, "@type", type);
	xml_set(root, "@name", base);
	host_set_number(root, "mtu/@size", host_number(folder, "mtu", 0));
	if (strcmp(type, "bridge"))
		add_link(root, folder);
	host_set(root, "mac/@address", mac);
	if (!strcmp(type, "bridge"))
		add_bridge(h, root, folder, base);
	else if (!strcmp(type, "bond"))
		add_bond(h, root, folder);
	else if (!strcmp(type, "vlan"))
		add_vlan(h, root, base);
	object_set_text(OBJECT_INTERFACE, o->doc, "@name", base);
	g_ptr_array_add(h->out, o);
}

GPtrArray *host_interfaces_below(const char *root)
{
	struct host h = { root, g_ptr_array_new_with_free_func((GDestroyNotify)host_object_free), NULL };
	g_autoptr(GPtrArray) folders = host_folders(&h, "/sys/class/net");

	for (unsigned i = 0; i < folders->len; i++)
		add_interface(&h, folders->pdata[i]);
	return h.out;
}
