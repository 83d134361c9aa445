/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of this folder share: a command line that grows, and lists of keys. */
#pragma once
#include "command.h"
#include "message.h"
#include "model-xml.h"

struct command {
	GPtrArray *argv;
	const xmlNode *domain;
	const struct command_paths *paths;
	bool pc;
	unsigned serials, consoles, videos, vncs, tablets, rngs;
};

/* An option, and its value (taken over; NULL: none). */
void add(struct command *c, const char *option, char *value);
void add_text(struct command *c, const char *option, const char *value);

/* key=value,key=value; a comma in a value is written twice. What is NULL is left out. */
typedef GString keys;
keys *keys_new(const char *first); /* NULL: none */
void put(keys *k, const char *name, const char *value);
void put_number(keys *k, const char *name, guint64 value);
void put_from(keys *k, const char *name, const xmlNode *node, const char *path);
char *keys_end(keys *k); /* to be freed; frees k */

/* Where the device's PCI function is: as the key addr; as the keys bus and addr of --device; as --place for one of that name. */
void put_address(struct command *c, keys *k, const xmlNode *device);
void put_bus(struct command *c, keys *k, const xmlNode *device);
void add_place(struct command *c, const char *name, const xmlNode *device);
char *command_port_id(const xmlNode *controller);

/* Where a character device goes: "pty", "unix:PATH", "file:PATH". path: where a socket without one is. */
char *char_target(const xmlNode *device, const char *path, GError **error);

/* VIR_ERR_CONFIG_UNSUPPORTED. */
bool refuse(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* A kind of device; called for each in the order of the definition. */
typedef bool device_func(struct command *c, const xmlNode *device, GError **error);
device_func command_disk, command_controller, command_interface, command_serial, command_console, command_channel, command_input,
	command_graphics, command_video, command_rng, command_memballoon, command_watchdog, command_panic, command_vsock;

bool command_cpu(struct command *c, GError **error);
bool command_firmware(struct command *c, GError **error);
bool command_boot(struct command *c, GError **error);
bool command_smbios(struct command *c, GError **error);
bool command_clock(struct command *c, GError **error);
