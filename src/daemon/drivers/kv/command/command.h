/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A domain's definition as kv-vmm's command line. Pure: a checked and completed tree in (domain-def.h), words out; the same
 * function checks a definition, by the name of what the machine has not. command.c goes through the kinds of devices, a file
 * each. Used by the driver's check(), start() and attach().
 */
#pragma once
#include <glib.h>
#include <libxml/tree.h>
#include <stdbool.h>

struct command_paths {
	const char *vmm; /* the program */
	const char *run; /* folder of the running machine's sockets */
	const char *lib; /* folder of what is kept: variables of firmware, channels' sockets */
	gint64 now;	 /* seconds since 1970: clocks that are ahead */
	/* command_network_words() of a card's network; NULL: the network is not looked at. */
	bool (*network)(void *opaque, const xmlNode *interface, GPtrArray *ret, GError **error);
	void *opaque;
};

/* argv, ended by NULL. Ports that are for the daemon to choose (-1) have been chosen, or any will do: 0. */
char **command_new(const xmlNode *domain, const struct command_paths *paths, GError **error);

/* Sockets and files that are there by default. */
char *command_qmp_path(const struct command_paths *paths);
char *command_nvram_path(const xmlNode *domain, const struct command_paths *paths); /* NULL: no firmware with variables */
char *command_channel_path(const xmlNode *channel, const char *domain, const struct command_paths *paths);
bool command_is_pc(const xmlNode *domain);
/* What a disk's source is for kv-vmm: a file, device or NBD URI; *ret NULL: an empty drive. */
bool command_disk_file(const xmlNode *disk, char **ret, GError **error);
/* Whether what is read from a backing file becomes the image's own; false: it cannot. */
bool command_disk_copies(const xmlNode *disk, bool *ret, GError **error);
/* What becomes of failed writes and reads, in QEMU's words; NULL: as it is without. */
void command_disk_errors(const xmlNode *disk, const char **ret_write, const char **ret_read);
/* How QMP knows the device: its alias, or before it has one the target's name. */
const char *command_id(const xmlNode *device);
/* [BUS:]SLOT.FUNCTION of a device with a PCI address, its parts; NULL: it has none. Bus 0 has no name. */
char *command_address(const xmlNode *domain, const xmlNode *device);
char *command_bus(const xmlNode *domain, const xmlNode *device);
char *command_slot(const xmlNode *device);
/* A network that user mode can be, or the name of what it cannot. */
bool command_network_check(const xmlNode *network, GError **error);
/*
 * Keys of --net and their values, in turn: a card's with that MAC address. is_taken(): another card of the network has the
 * address; may be NULL.
 */
bool command_network_words(const xmlNode *network, const char *mac, bool (*is_taken)(void *opaque, const char *address),
			   void *opaque, GPtrArray *ret, GError **error);
/* A card that there can be, or the name of what there cannot. */
bool command_check_interface(const xmlNode *interface, GError **error);
/* "tcp:ADDRESS:HOST-:GUEST" for each forwarded port of an interface. */
bool command_forwards(const xmlNode *interface, GPtrArray *ret, GError **error);
