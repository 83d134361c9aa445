/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of kv-vmm's options and the one parser over it. See options.h.
 */
#include "options.h"

#include <string.h>

#include "error.h"

enum {
	HELP_COLUMN = 34,
	NAME_MAX_LEN = 31, /* longer words are nobody's typing mistake of ours */
};

static const char *const accels[] = { "auto", "kvm", "soft", NULL };
static const char *const machines[] = { "micro", "pc", NULL };
static const char *const disk_formats[] = { "raw", "qcow2", "vmdk", "vpc", "vhdx", "vdi", "auto", NULL };
static const char *const disk_engines[] = { "auto", "io_uring", "threads", NULL };
static const char *const disk_buses[] = { "virtio", "scsi", "sata", "nvme", "usb", NULL };
static const char *const disk_media[] = { "disk", "cdrom", NULL };
static const char *const disk_caches[] = { "writeback", "none", "writethrough", "directsync", "unsafe", NULL };
static const char *const disk_discards[] = { "on", "off", "unmap", "ignore", NULL };
static const char *const disk_zeroes[] = { "off", "on", "unmap", NULL };
static const char *const write_errors[] = { "enospc", "report", "ignore", "stop", NULL };
static const char *const read_errors[] = { "report", "ignore", "stop", NULL };
static const char *const net_kinds[] = { "none", "user", NULL };
static const char *const net_models[] = { "virtio", "e1000e", NULL };
static const char *const console_kinds[] = { "stdio", "pty", "file", "unix", NULL };

const char *const option_watchdog_actions[] = {
	[WATCHDOG_RESET] = "reset",
	[WATCHDOG_SHUTDOWN] = "shutdown",
	[WATCHDOG_POWEROFF] = "poweroff",
	[WATCHDOG_PAUSE] = "pause",
	[WATCHDOG_DEBUG] = "debug",
	[WATCHDOG_NONE] = "none",
	[WATCHDOG_INJECT_NMI] = "inject-nmi",
	NULL,
};
const char *const option_reboot_actions[] = { [REBOOT_RESET] = "reset", [REBOOT_SHUTDOWN] = "shutdown", NULL };
const char *const option_shutdown_actions[] = { [SHUTDOWN_POWEROFF] = "poweroff", [SHUTDOWN_PAUSE] = "pause", NULL };
const char *const option_panic_actions[] = {
	[PANIC_PAUSE] = "pause",
	[PANIC_SHUTDOWN] = "shutdown",
	[PANIC_EXIT_FAILURE] = "exit-failure",
	[PANIC_NONE] = "none",
	NULL,
};
static const struct option action_keys[] = {
	{ "reboot", OPTION_CHOICE, "reset|shutdown", "what a guest's reset does (reset)", .choices = option_reboot_actions },
	{ "shutdown", OPTION_CHOICE, "poweroff|pause", "what its power-off does (poweroff)",
	  .choices = option_shutdown_actions },
	{ "panic", OPTION_CHOICE, "pause|shutdown|exit-failure|none", "what its panic does (shutdown)",
	  .choices = option_panic_actions },
	{},
};

static const char *const qmp_kinds[] = { "unix", NULL };
static const char *const only_on[] = { "on", NULL };
static const char *const only_off[] = { "off", NULL };

static const char *const on_off[] = { "on", "off", NULL };

static const struct option sandbox_keys[] = {
	{ "mode", OPTION_CHOICE, "on|off", "whether there is one (on)", .choices = on_off, .first = true },
	{ "strict", OPTION_BOOL, "on|off", "no start without all of it (off)" },
	{ "user", OPTION_TEXT, "NAME", "who to become when started by root (nobody)" },
	{ "files", OPTION_FILE, "DIR", "where a QMP client's files are", .repeat = true },
	{ "pid", OPTION_BOOL, "on|off", "a namespace of processes, and a process that waits outside (off)" },
	{},
};

#define RATE_MAX 1000000000000000 /* throttle.h */
#define LIMIT(name, what)                                                                              \
	{ name, OPTION_SIZE, "N", what " a second", .max = RATE_MAX, .rare = true },                   \
	{ name "-max", OPTION_SIZE, "N", what " a second in a burst", .max = RATE_MAX, .rare = true }, \
	{ name "-max-length", OPTION_COUNT, "S", "seconds a burst may last (1)", .min = 1, .max = RATE_MAX, .rare = true }

#define ADDR(whose)                                                                                                              \
	{ "addr", OPTION_TEXT, "[BUS:]SLOT[.FUNCTION]", "where the PCI function of " whose " is (any free slot)", .rare = true }

static const struct option disk_keys[] = {
	{ "file", OPTION_FILE, "PATH", "image file or block device", .first = true },
	{ "readonly", OPTION_BOOL, "on|off", "the guest may not write (off)", .rare = true },
	{ "format", OPTION_CHOICE, "raw|qcow2|vmdk|vpc|vhdx|vdi|auto", "format of the file (raw)", .choices = disk_formats },
	{ "bus", OPTION_CHOICE, "virtio|scsi|sata|nvme|usb", "the controller that the guest finds it at (virtio)",
	  .choices = disk_buses },
	{ "media", OPTION_CHOICE, "disk|cdrom", "what the drive is (disk)", .choices = disk_media, .rare = true },
	{ "id", OPTION_TEXT, "NAME", "name of the drive (diskN)", .rare = true },
	{ "aio", OPTION_CHOICE, "auto|io_uring|threads", "how the file is read and written (auto)",
	  .choices = disk_engines, .rare = true },
	{ "cache", OPTION_CHOICE, "writeback|none|writethrough|directsync|unsafe",
	  "the host's page cache, flushes (writeback)", .choices = disk_caches, .rare = true },
	{ "discard", OPTION_CHOICE, "on|off", "the guest may give back room (on)", .choices = disk_discards, .rare = true },
	{ "detect-zeroes", OPTION_CHOICE, "off|on|unmap", "what writes of zeroes become (off)", .choices = disk_zeroes,
	  .rare = true },
	{ "copy-on-read", OPTION_BOOL, "on|off", "what is read from a backing file becomes the image's own (off)", .rare = true },
	{ "snapshot", OPTION_BOOL, "on|off", "writes are forgotten at the end (off)", .rare = true },
	{ "werror", OPTION_CHOICE, "enospc|report|ignore|stop", "what happens when a write fails (enospc)",
	  .choices = write_errors, .rare = true },
	{ "rerror", OPTION_CHOICE, "report|ignore|stop", "what happens when a read fails (report)", .choices = read_errors,
	  .rare = true },
	{ "serial", OPTION_TEXT, "TEXT", "serial number (the id)", .rare = true },
	{ "wwn", OPTION_TEXT, "0xN", "world wide name of a SCSI, SATA or USB disk", .rare = true },
	{ "controller", OPTION_COUNT, "N", "which SCSI controller (0)", .max = 15, .rare = true },
	{ "channel", OPTION_COUNT, "0", "its bus of targets: there is one", .rare = true },
	{ "scsi-id", OPTION_COUNT, "N", "target of a SCSI disk (the first one where its LUN is free)", .max = 255, .rare = true },
	{ "lun", OPTION_COUNT, "N", "LUN of a SCSI disk (the first free one of the scsi-id that is given, else 0)", .max = 16383,
	  .rare = true },
	{ "bootindex", OPTION_COUNT, "N", "firmware's order of devices; 0 is first", .max = 65534, .rare = true },
	ADDR("a virtio or NVMe disk"),
	{ "queues", OPTION_COUNT, "N", "queues of a virtio or NVMe disk (one a processor, at most 8)", .min = 1, .max = 16,
	  .rare = true },
	{ "iothread", OPTION_TEXT, "ID", "the thread that serves a virtio disk (the main one)", .rare = true },
	LIMIT("iops", "requests"),
	LIMIT("iops-read", "reads"),
	LIMIT("iops-write", "writes"),
	LIMIT("bps", "bytes"),
	LIMIT("bps-read", "bytes read"),
	LIMIT("bps-write", "bytes written"),
	{ "iops-size", OPTION_SIZE, "SIZE", "bytes that count as one request", .max = RATE_MAX, .rare = true },
	{ "throttle-group", OPTION_TEXT, "NAME", "drives that share these limits (the drive alone)", .rare = true },
	{},
};

/* The first one's choices are the boards, of which the first is the default. */
static const struct option machine_keys[] = {
	{ "type", OPTION_CHOICE, "micro|pc", "the board (micro)", .choices = machines, .first = true, .rare = true },
	{ "memory-backend", OPTION_TEXT, "ID", "the object that guest memory is made of (none)", .rare = true },
	{},
};

static const struct option smp_keys[] = {
	{ "cpus", OPTION_COUNT, "N", "virtual processors (as --cpus)", .min = 1, .max = 255, .first = true },
	{ "maxcpus", OPTION_COUNT, "N", "as many may be plugged in, of a pc (cpus)", .min = 1, .max = 255 },
	{ "sockets", OPTION_COUNT, "N", "packages", .min = 1, .max = 255 },
	{ "cores", OPTION_COUNT, "N", "cores of a package", .min = 1, .max = 255 },
	{ "threads", OPTION_COUNT, "N", "threads of a core (1)", .min = 1, .max = 255 },
	{},
};

static const struct option net_keys[] = {
	{ "kind", OPTION_CHOICE, "none|user", "network behind the card (none: unplugged)", .choices = net_kinds,
	  .required = true, .first = true },
	{ "model", OPTION_CHOICE, "virtio|e1000e", "the card (virtio)", .choices = net_models, .rare = true },
	{ "id", OPTION_TEXT, "NAME", "name of the card and of its network (netN)", .rare = true },
	ADDR("the card"),
	{ "mac", OPTION_TEXT, "XX:XX:XX:XX:XX:XX", "address of the card (52:54:00 and what follows from its name)",
	  .rare = true },
	{ "rombar", OPTION_BOOL, "on|off", "the card has iPXE's ROM, if that is installed (on in a pc)", .rare = true },
	{ "romfile", OPTION_FILE, "FILE", "another option ROM", .rare = true },
	{ "hostfwd", OPTION_TEXT, "tcp|udp:[ADDR]:PORT-[GUEST]:PORT", "host port to the guest",
	  .repeat = true },
	{ "net", OPTION_TEXT, "ADDR/BITS", "addresses of the guest's network (10.0.2.0/24)", .rare = true },
	{ "host", OPTION_TEXT, "ADDR", "the host's address there (its second)", .rare = true },
	{ "dns", OPTION_TEXT, "ADDR", "the name server's (its third)", .rare = true },
	{ "dhcp", OPTION_BOOL, "on|off", "DHCP gives the guest an address (on)", .rare = true },
	{ "dhcpstart", OPTION_TEXT, "ADDR", "which one (its fifteenth)", .rare = true },
	{ "hostname", OPTION_TEXT, "NAME", "what DHCP says the guest is called", .rare = true },
	{ "domainname", OPTION_TEXT, "NAME", "what DHCP says the network is called", .rare = true },
	{ "ipv6-net", OPTION_TEXT, "ADDR/64", "its IPv6 addresses (fec0::/64)", .rare = true },
	{ "ipv6-host", OPTION_TEXT, "ADDR", "the host's (its second)", .rare = true },
	{ "ipv6-dns", OPTION_TEXT, "ADDR", "the name server's (its third)", .rare = true },
	{ "tftp", OPTION_FILE, "DIR", "a folder whose files the guest gets by TFTP", .rare = true },
	{ "bootfile", OPTION_TEXT, "NAME", "what DHCP says is to be started, a file of it or a URL", .rare = true },
	{ "ipv6", OPTION_BOOL, "on|off", "IPv6 as well (on)", .rare = true },
	{ "bootindex", OPTION_COUNT, "N", "firmware's order of devices; 0 is first", .max = 65534, .rare = true },
	{ "restrict", OPTION_BOOL, "on|off", "no way out of the guest's own network (off)", .rare = true },
	{},
};

static const struct option place_keys[] = {
	{ "device", OPTION_TEXT, "NAME", "scsi, sata, console, vga, usb, rng, balloon or another's id", .required = true,
	  .first = true },
	{ "addr", OPTION_TEXT, "[BUS:]SLOT[.FUNCTION]", "its place; BUS: the id of a pcie-root-port", .required = true },
	{},
};

static const struct option channel_keys[] = {
	{ "to", OPTION_CHARDEV, "unix:PATH|pty|file:PATH", "where it goes", .choices = console_kinds, .required = true,
	  .first = true },
	{ "name", OPTION_TEXT, "NAME", "how the guest finds it", .required = true },
	{ "id", OPTION_TEXT, "NAME", "how QMP's events call it (channelN)" },
	{},
};

/* QEMU's words, as are those of fw-cfg and smbios. */
static const struct option boot_keys[] = {
	{ "order", OPTION_TEXT, "cdn", "c disks, d CD-ROM drives, n network, first to last", .first = true },
	{ "once", OPTION_TEXT, "cdn", "the same, until the guest resets" },
	{ "menu", OPTION_BOOL, "on|off", "firmware offers its menu (off)" },
	{ "menu-wait", OPTION_COUNT, "MS", "for how long", .min = 1, .max = 65534 },
	{},
};

static const struct option fw_cfg_keys[] = {
	{ "name", OPTION_TEXT, "NAME", "of the file, as in opt/org.example/x", .first = true, .required = true },
	{ "file", OPTION_FILE, "PATH", "whose content it has" },
	{ "string", OPTION_TEXT, "TEXT", "its content" },
	{},
};

static const struct option smbios_keys[] = {
	{ "type", OPTION_COUNT, "N", "0, 1, 2, 3, 4 or 17", .max = 255 },
	{ "file", OPTION_FILE, "PATH", "a whole structure" },
	{ "vendor", OPTION_TEXT, "TEXT", "type 0" },
	{ "version", OPTION_TEXT, "TEXT", "types 0 to 4" },
	{ "date", OPTION_TEXT, "TEXT", "type 0" },
	{ "release", OPTION_TEXT, "N.N", "type 0" },
	{ "uefi", OPTION_BOOL, "on|off", "type 0" },
	{ "manufacturer", OPTION_TEXT, "TEXT", "types 1 to 4, 17" },
	{ "product", OPTION_TEXT, "TEXT", "types 1, 2" },
	{ "serial", OPTION_TEXT, "TEXT", "types 1 to 4, 17" },
	{ "uuid", OPTION_TEXT, "UUID", "type 1" },
	{ "sku", OPTION_TEXT, "TEXT", "types 1, 3" },
	{ "family", OPTION_TEXT, "TEXT", "type 1" },
	{ "asset", OPTION_TEXT, "TEXT", "types 2 to 4, 17" },
	{ "location", OPTION_TEXT, "TEXT", "type 2" },
	{ "sock_pfx", OPTION_TEXT, "TEXT", "type 4" },
	{ "part", OPTION_TEXT, "TEXT", "types 4, 17" },
	{ "max-speed", OPTION_COUNT, "MHZ", "type 4", .max = 65535 },
	{ "current-speed", OPTION_COUNT, "MHZ", "type 4", .max = 65535 },
	{ "loc_pfx", OPTION_TEXT, "TEXT", "type 17" },
	{ "bank", OPTION_TEXT, "TEXT", "type 17" },
	{ "speed", OPTION_COUNT, "MHZ", "type 17", .max = 65535 },
	{},
};

static const char *const vgas[] = { "std", "virtio", "none", NULL };
static const struct option vga_keys[] = {
	{ "kind", OPTION_CHOICE, "std|virtio|none", "the card (std)", .choices = vgas, .first = true },
	ADDR("the card"),
	{ "max_outputs", OPTION_COUNT, "N", "screens of virtio (1)", .min = 1, .max = 16, .rare = true },
	{ "xres", OPTION_COUNT, "N", "width of virtio's screens, pixels (1280)", .min = 64, .max = 4095, .rare = true },
	{ "yres", OPTION_COUNT, "N", "their height (800)", .min = 64, .max = 4095, .rare = true },
	{ "max_hostmem", OPTION_SIZE, "SIZE", "what the guest's pictures may have with virtio (256M)", .min = 1 << 20,
	  .max = 512 << 20, .rare = true },
	{},
};
static const char *const vnc_shares[] = { "exclusive", "shared", NULL };
static const struct option vnc_keys[] = {
	{ "listen", OPTION_TEXT, "unix:PATH|ADDR:PORT", "where viewers connect", .required = true, .first = true },
	{ "password-file", OPTION_FILE, "FILE", "its first line is the password (none: everybody may connect)", .rare = true },
	{ "password", OPTION_BOOL, "on|off", "a password is set by QMP, and nobody may connect before (off)", .rare = true },
	{ "share", OPTION_CHOICE, "exclusive|shared", "a viewer may ask to be the only one (exclusive)", .choices = vnc_shares,
	  .rare = true },
	{ "id", OPTION_TEXT, "NAME", "how QMP calls it (default; vnc2 and on)", .rare = true },
	{ "display", OPTION_TEXT, "ID", "the graphics device to show (the first)", .rare = true },
	{ "head", OPTION_COUNT, "N", "its screen to show (0)", .max = 15, .rare = true },
	{ "websocket", OPTION_COUNT, "PORT", "a port of ADDR for viewers in browsers", .min = 1, .max = 65535, .rare = true },
	{ "tls-creds", OPTION_FILE, "DIR|anon", "use TLS, with certificates and a key there, or without any", .rare = true },
	{ "tls-verify-peer", OPTION_BOOL, "on|off", "viewers need a certificate as well (off)", .rare = true },
	{},
};

static const char *const rtc_clocks[] = { "host", "vm", NULL };
static const char *const rtc_fixes[] = { "none", NULL };
static const struct option rtc_keys[] = {
	{ "base", OPTION_TEXT, "utc|localtime|DATE", "what it says at the start (utc)", .first = true },
	{ "clock", OPTION_CHOICE, "host|vm", "what it goes by: the host's time, or that which the machine runs (host)",
	  .choices = rtc_clocks },
	{ "driftfix", OPTION_CHOICE, "none", "no interrupt is repeated (none)", .choices = rtc_fixes },
	{},
};

/* QEMU's words: the server that we are, for which the guest does not wait. */
static const struct option qmp_keys[] = {
	{ "socket", OPTION_CHARDEV, "unix:PATH", "Unix socket to listen on", .choices = qmp_kinds, .required = true,
	  .first = true },
	{ "server", OPTION_CHOICE, "on", "we listen, the client connects (on)", .choices = only_on },
	{ "wait", OPTION_CHOICE, "off", "the guest does not wait for a client (off)", .choices = only_off },
	{},
};

const struct option option_table[] = {
	{ "config", OPTION_FILE, "FILE", "more options, one a line", .rare = true },
	{ "accel", OPTION_CHOICE, "auto|kvm|soft", "CPU engine (auto: /dev/kvm if it is quick)",
	  .choices = accels },
	{ "cpus", OPTION_COUNT, "N", "virtual processors (1)", .min = 1, .max = 255 },
	{ "cpu", OPTION_TEXT, "MODEL,+F,-F", "host, max, baseline, or a model, features more or less (host)", .rare = true },
	{ "smp", OPTION_KEYS, "KEYS", "how processors are arranged", .keys = smp_keys, .rare = true },
	{ "memory", OPTION_SIZE, "SIZE", "guest memory, as in 512M or 2G (1G)",
	  .min = 16 << 20, .max = 1ull << 40 },
	{ "machine", OPTION_KEYS, "micro|pc", "the board (micro: a kernel is booted without firmware)", .keys = machine_keys },
	{ "firmware", OPTION_FILE, "bios|uefi|FILE", "firmware of a pc (bios)" },
	{ "nvram", OPTION_FILE, "FILE", "what uefi firmware remembers; made when it is not there", .rare = true },
	{ "boot", OPTION_KEYS, "KEYS", "what firmware boots from", .keys = boot_keys, .rare = true },
	{ "fw-cfg", OPTION_KEYS, "KEYS", "a file for firmware and guest; may be repeated", .keys = fw_cfg_keys, .repeat = true,
	  .rare = true },
	{ "smbios", OPTION_KEYS, "KEYS", "what SMBIOS says; may be repeated", .keys = smbios_keys, .repeat = true, .rare = true },
	{ "kernel", OPTION_FILE, "FILE", "bzImage or ELF vmlinux to boot" },
	{ "initrd", OPTION_FILE, "FILE", "initial RAM disk of the kernel" },
	{ "append", OPTION_TEXT, "TEXT", "kernel command line" },
	{ "disk", OPTION_KEYS, "KEYS", "a disk; may be repeated (more keys: man kv-vmm)", .keys = disk_keys, .repeat = true },
	{ "cdrom", OPTION_FILE, "FILE", "a disc in a CD-ROM drive", .rare = true },
	{ "net", OPTION_KEYS, "KEYS", "a network card; may be repeated", .keys = net_keys,
	  .repeat = true },
	{ "device", OPTION_WORDS, "NAME,KEYS", "a device; may be repeated (which: man kv-vmm)", .repeat = true,
	  .rare = true },
	{ "place", OPTION_KEYS, "NAME,addr=ADDR", "where the PCI function of a device is (any free slot); may be repeated",
	  .keys = place_keys, .repeat = true, .rare = true },
	{ "object", OPTION_WORDS, "TYPE,id=NAME,KEYS", "what others name; may be repeated (which: man kv-vmm)", .repeat = true,
	  .rare = true },
	{ "vga", OPTION_KEYS, "std|virtio|none", "graphics of a pc (std)", .keys = vga_keys, .rare = true },
	{ "vnc", OPTION_KEYS, "unix:PATH|ADDR:PORT", "VNC server for a screen (none); may be repeated", .keys = vnc_keys,
	  .repeat = true },
	{ "console", OPTION_CHARDEV, "stdio|pty|file:PATH|unix:PATH", "serial console (stdio)",
	  .choices = console_kinds },
	{ "console2", OPTION_CHARDEV, "pty|file:PATH|unix:PATH", "second serial port, ttyS1 in the guest (none)",
	  .choices = console_kinds, .rare = true },
	{ "virtio-console", OPTION_CHARDEV, "pty|file:PATH|unix:PATH|stdio", "virtio console, hvc0 in the guest (none)",
	  .choices = console_kinds, .rare = true },
	{ "channel", OPTION_KEYS, "unix:PATH,name=NAME", "a port for an agent in the guest; may be repeated",
	  .keys = channel_keys, .repeat = true, .rare = true },
	{ "qmp", OPTION_KEYS, "unix:PATH", "socket that takes QMP commands (none)", .keys = qmp_keys },
	{ "rtc", OPTION_KEYS, "KEYS", "the guest's clock chip", .keys = rtc_keys, .rare = true },
	{ "watchdog-action", OPTION_CHOICE, "reset|shutdown|poweroff|pause|none|inject-nmi|debug",
	  "what happens when nobody feeds the watchdog (reset)", .choices = option_watchdog_actions, .rare = true },
	{ "action", OPTION_KEYS, "KEYS", "what ends of the guest's do", .keys = action_keys, .rare = true },
	{ "incoming", OPTION_TEXT, "URI",
	  "the machine comes from there: unix:PATH, tcp:HOST:PORT, fd:N, exec:COMMAND, file:PATH, or defer", .rare = true },
	{ "sandbox", OPTION_KEYS, "on|off", "give up what the guest does not need (on)", .keys = sandbox_keys, .rare = true },
	{ "name", OPTION_TEXT, "NAME", "name of the machine, in its messages", .rare = true },
	{ "paused", OPTION_FLAG, NULL, "the guest waits for QMP's cont", .rare = true },
	{ "no-reboot", OPTION_FLAG, NULL, "exit when the guest reboots" },
	{ "stats", OPTION_FLAG, NULL, "print time, exits and I/O counts at the end" },
	{ "quiet", OPTION_FLAG, NULL, "no messages but errors" },
	{ "version", OPTION_FLAG, NULL, "print the version and leave" },
	{ "help", OPTION_FLAG, NULL, "print this text and leave" },
	{},
};

const struct option *options_find(const struct option *table, const char *name)
{
	for (const struct option *o = table; o->name; o++)
		if (strcmp(o->name, name) == 0)
			return o;
	return NULL;
}

/* Levenshtein's distance: single letters to add, drop or change. */
static unsigned distance(const char *a, const char *b)
{
	size_t na = strlen(a), nb = strlen(b);
	unsigned row[NAME_MAX_LEN + 1];

	if (na > NAME_MAX_LEN || nb > NAME_MAX_LEN)
		return UINT32_MAX;
	for (size_t j = 0; j <= nb; j++)
		row[j] = j;
	for (size_t i = 1; i <= na; i++) {
		unsigned corner = row[0];

		row[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			unsigned change = corner + (a[i - 1] != b[j - 1]);

			corner = row[j];
			row[j] = MIN(change, MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[nb];
}

const char *options_nearest(const struct option *table, const char *name)
{
	const char *best = NULL;
	unsigned best_distance = 4;

	for (const struct option *o = table; o->name; o++) {
		unsigned d = distance(o->name, name);

		/* A word with more than half of it wrong is another word. */
		if (d < best_distance && d <= (strlen(o->name) + 1) / 2) {
			best = o->name;
			best_distance = d;
		}
	}
	return best;
}

static char *known_names(const struct option *table)
{
	GString *s = g_string_new(NULL);
	bool rare = false, common = false;

	for (const struct option *o = table; o->name; o++) {
		rare |= o->rare;
		common |= !o->rare;
	}
	for (const struct option *o = table; o->name; o++)
		if (!o->rare || !common)
			g_string_append_printf(s, "%s%s", s->len ? ", " : "", o->name);
	if (rare && common)
		g_string_append(s, " and those in man kv-vmm");
	return g_string_free(s, FALSE);
}

char *options_choices(const struct option *option)
{
	return g_strjoinv("|", (char **)option->choices);
}

bool options_parse_size(const char *text, uint64_t *ret_bytes)
{
	static const char suffixes[] = "KMGT";
	const char *suffix;
	uint64_t value;
	unsigned shift = 0;
	char *end;

	if (!g_ascii_isdigit(*text))
		return false;
	errno = 0;
	value = g_ascii_strtoull(text, &end, 10);
	if (errno)
		return false;
	if (*end) {
		suffix = strchr(suffixes, g_ascii_toupper(*end));
		if (!suffix)
			return false;
		shift = 10 * (suffix - suffixes + 1);
		end++;
		if (strcmp(end, "iB") == 0)
			end += 2;
	}
	if (*end || value > UINT64_MAX >> shift)
		return false;
	*ret_bytes = value << shift;
	return true;
}

static char *size_text(uint64_t bytes)
{
	static const char suffixes[] = "KMGT";
	int i = -1;

	while (i < 3 && bytes && bytes % 1024 == 0) {
		bytes /= 1024;
		i++;
	}
	return i < 0 ? g_strdup_printf("%" G_GUINT64_FORMAT, bytes) :
		       g_strdup_printf("%" G_GUINT64_FORMAT "%c", bytes, suffixes[i]);
}

static bool is_choice(const struct option *o, const char *text, size_t len)
{
	for (const char *const *c = o->choices; *c; c++)
		if (strlen(*c) == len && memcmp(*c, text, len) == 0)
			return true;
	return false;
}

/* @label is how the user knows this place: "--memory" or "--disk: readonly". */
static GVariant *bad_value(const char *label, const char *text, const char *wanted, GError **error)
{
	kv_fail(error, KV_ERROR_USAGE, "%s: '%s' is not valid; give %s", label, text,
		    wanted);
	return NULL;
}

static GVariant *parse_number(const struct option *o, const char *label, const char *text,
			      GError **error)
{
	uint64_t n = 0;
	bool ok = o->type == OPTION_SIZE ? options_parse_size(text, &n) :
					   g_ascii_string_to_unsigned(text, 10, 0, UINT64_MAX, &n, NULL);
	g_autofree char *min = size_text(o->min), *max = size_text(o->max), *wanted = NULL;

	if (ok && n >= o->min && n <= o->max)
		return g_variant_new_uint64(n);
	if (o->type == OPTION_SIZE)
		wanted = g_strdup_printf("a size from %s to %s, as in 512M or 2G", min, max);
	else
		wanted = g_strdup_printf("a number from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT,
					 o->min, o->max);
	return bad_value(label, text, wanted, error);
}

/* The next key=value of @p, with ",," as a comma; NULL at the end. */
static char *next_item(const char **p)
{
	GString *s;

	if (!*p)
		return NULL;
	s = g_string_new(NULL);
	for (; **p; (*p)++) {
		if (**p == ',') {
			if ((*p)[1] != ',')
				break;
			(*p)++;
		}
		g_string_append_c(s, **p);
	}
	*p = **p ? *p + 1 : NULL;
	return g_string_free(s, FALSE);
}

static GVariant *parse_words(const char *label, const char *text, GError **error)
{
	g_auto(GVariantDict) seen = G_VARIANT_DICT_INIT(NULL);
	g_autofree char *name = next_item(&text), *item = NULL;
	GVariantBuilder words;

	if (!*name || strchr(name, '='))
		return bad_value(label, name, "NAME[,key=value]...", error);
	g_variant_builder_init(&words, G_VARIANT_TYPE("a{ss}"));
	while (g_free(item), item = next_item(&text)) {
		char *value = strchr(item, '=');

		if (value)
			*value++ = 0;
		if (!value || !*item || g_variant_dict_contains(&seen, item)) {
			g_variant_builder_clear(&words);
			return bad_value(label, item, "key=value, each key once", error);
		}
		g_variant_dict_insert(&seen, item, "b", TRUE);
		g_variant_builder_add(&words, "{ss}", item, value);
	}
	return g_variant_new("(sa{ss})", name, &words);
}

static GVariant *parse_value(const struct option *o, const char *label, const char *text,
			     GError **error)
{
	g_autofree char *choices = o->choices ? options_choices(o) : NULL;
	size_t kind;

	if (!g_utf8_validate(text, -1, NULL))
		return bad_value(label, "?", "text in UTF-8", error);
	switch (o->type) {
	case OPTION_FLAG:
		return g_variant_new_boolean(TRUE);
	case OPTION_BOOL:
		if (strcmp(text, "on") == 0 || strcmp(text, "off") == 0)
			return g_variant_new_boolean(text[1] == 'n');
		return bad_value(label, text, "on or off", error);
	case OPTION_COUNT:
	case OPTION_SIZE:
		return parse_number(o, label, text, error);
	case OPTION_CHOICE:
		if (is_choice(o, text, strlen(text)))
			return g_variant_new_string(text);
		return bad_value(label, text, choices, error);
	case OPTION_CHARDEV:
		kind = strcspn(text, ":");
		if (is_choice(o, text, kind))
			return g_variant_new_string(text);
		return bad_value(label, text, o->arg, error);
	case OPTION_FILE:
		if (!*text)
			return bad_value(label, text, "a path", error);
		return g_variant_new_string(text);
	case OPTION_TEXT:
		return g_variant_new_string(text);
	case OPTION_WORDS:
		return parse_words(label, text, error);
	case OPTION_KEYS:
		break;
	}
	return options_parse_keys(o, text, error);
}

/* Add one value, or append it to the array of a repeatable one. */
static bool add_value(GVariantDict *dict, const struct option *o, const char *label,
		      GVariant *value, GError **error)
{
	g_autoptr(GVariant) old = g_variant_dict_lookup_value(dict, o->name, NULL);
	g_autoptr(GVariant) mine = g_variant_ref_sink(value);
	GVariantBuilder builder;
	GVariantIter iter;
	GVariant *item;

	if (!o->repeat) {
		if (old && o->type != OPTION_FLAG) {
			kv_fail(error, KV_ERROR_USAGE, "%s: given twice; give it once",
				    label);
			return false;
		}
		g_variant_dict_insert_value(dict, o->name, mine);
		return true;
	}
	g_variant_builder_init(&builder, G_VARIANT_TYPE_ARRAY);
	if (old) {
		g_variant_iter_init(&iter, old);
		while ((item = g_variant_iter_next_value(&iter))) {
			g_variant_builder_add_value(&builder, item);
			g_variant_unref(item);
		}
	}
	g_variant_builder_add_value(&builder, mine);
	g_variant_dict_insert_value(dict, o->name, g_variant_builder_end(&builder));
	return true;
}

static void unknown_key(const struct option *option, const char *name, GError **error)
{
	const char *near = options_nearest(option->keys, name);
	g_autofree char *known = known_names(option->keys);
	g_autofree char *valid = g_utf8_make_valid(name, -1);

	if (near)
		kv_fail(error, KV_ERROR_USAGE, "--%s: unknown key '%s'; did you mean '%s'?",
			    option->name, valid, near);
	else
		kv_fail(error, KV_ERROR_USAGE, "--%s: unknown key '%s'; known are %s",
			    option->name, valid, known);
}

static bool add_key(GVariantDict *dict, const struct option *option, const struct option *key, const char *value, GError **error)
{
	g_autofree char *label = g_strdup_printf("--%s: %s", option->name, key->name);
	GVariant *v;

	if (!value) {
		kv_fail(error, KV_ERROR_USAGE, "%s: needs a value; give %s=%s", label,
			    key->name, key->arg);
		return false;
	}
	v = parse_value(key, label, value, error);
	return v && add_value(dict, key, label, v, error);
}

bool options_add_word(GVariantDict *dict, const struct option *option, const char *name, const char *value, GError **error)
{
	const struct option *key = options_find(option->keys, name);

	if (key)
		return add_key(dict, option, key, value, error);
	unknown_key(option, name, error);
	return false;
}

static bool parse_item(GVariantDict *dict, const struct option *option, char *item, bool first,
		       GError **error)
{
	char *value = strchr(item, '=');
	const struct option *key;

	if (value)
		*value++ = 0;
	key = options_find(option->keys, item);
	if (!value && first && (!key || key->first)) {
		key = option->keys;
		while (key->name && !key->first)
			key++;
		value = key->name ? item : NULL;
	}
	if (!key || !key->name) {
		unknown_key(option, item, error);
		return false;
	}
	return add_key(dict, option, key, value, error);
}

GVariant *options_parse_keys(const struct option *option, const char *text, GError **error)
{
	g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
	const char *p = text;
	bool first = true;
	char *item;

	while ((item = next_item(&p))) {
		g_autofree char *mine = item;

		if (!parse_item(&dict, option, mine, first, error))
			return NULL;
		first = false;
	}
	for (const struct option *k = option->keys; k->name; k++) {
		if (k->required && !g_variant_dict_contains(&dict, k->name)) {
			kv_fail(error, KV_ERROR_USAGE, "--%s: %s is missing; give %s=%s",
				    option->name, k->name, k->name, k->arg);
			return NULL;
		}
	}
	return g_variant_dict_end(&dict);
}

static void unknown_option(const char *arg, const char *name, GError **error)
{
	const char *near = options_nearest(option_table, name);
	g_autofree char *valid = g_utf8_make_valid(arg, -1);

	if (near)
		kv_fail(error, KV_ERROR_USAGE, "unknown option '%s'; did you mean --%s?",
			    valid, near);
	else
		kv_fail(error, KV_ERROR_USAGE,
			    "unknown option '%s'; kv-vmm --help lists the known ones", valid);
}

bool options_add(GVariantDict *dict, int argc, char *const *argv, int *i, GError **error)
{
	const char *arg = argv[*i];
	const char *value = strchr(arg, '=');
	g_autofree char *label = NULL;
	const struct option *o = NULL;
	GVariant *v;

	label = value ? g_strndup(arg, value - arg) : g_strdup(arg);
	if (g_str_has_prefix(label, "--"))
		o = options_find(option_table, label + 2);
	if (!o) {
		unknown_option(label, label + strspn(label, "-"), error);
		return false;
	}
	if (o->type == OPTION_FLAG) {
		if (value) {
			kv_fail(error, KV_ERROR_USAGE, "%s: takes no value", label);
			return false;
		}
		value = "";
	} else if (value) {
		value++;
	} else if (*i + 1 < argc) {
		value = argv[++*i];
	} else {
		kv_fail(error, KV_ERROR_USAGE, "%s: needs a value; give %s %s", label,
			    label, o->arg);
		return false;
	}
	v = parse_value(o, label, value, error);
	return v && add_value(dict, o, label, v, error);
}

GVariant *options_parse(int argc, char *const *argv, GError **error)
{
	g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);

	g_autofree char *config = NULL;
	g_autoptr(GVariant) file = NULL;

	for (int i = 1; i < argc; i++)
		if (!options_add(&dict, argc, argv, &i, error))
			return NULL;
	if (g_variant_dict_lookup(&dict, "config", "s", &config)) {
		file = options_parse_file(config, error);
		if (!file)
			return NULL;
		options_merge(&dict, file);
	}
	return g_variant_ref_sink(g_variant_dict_end(&dict));
}

static void help_line(GString *s, const char *lead, const struct option *o, const char *join)
{
	size_t start = s->len;

	g_string_append_printf(s, "%s%s%s%s", lead, o->name, o->arg ? join : "", o->arg ? o->arg : "");
	if (s->len - start > HELP_COLUMN - 2)
		g_string_append_printf(s, "  %s\n", o->help);
	else
		g_string_append_printf(s, "%*s%s\n", (int)(HELP_COLUMN - (s->len - start)), "", o->help);
}

/* Rare keys, and those with one value, which are no choice, are left to the man page. */
static bool is_choosable(const struct option *key)
{
	return !key->rare && (!key->choices || (key->choices[0] && key->choices[1]));
}

char *options_help(void)
{
	GString *s = g_string_new("usage: kv-vmm --kernel FILE | --machine pc [option]...   (all of them: man kv-vmm)\n");

	for (const struct option *o = option_table; o->name; o++) {
		if (o->rare)
			continue;
		help_line(s, "  --", o, " ");
		for (const struct option *k = o->keys; k && k->name; k++)
			if (is_choosable(k))
				help_line(s, "      ", k, "=");
	}
	return g_string_free(s, FALSE);
}
