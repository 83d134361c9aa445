/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the boards (micro.c, pc.c) have in common: devices are added in order, each under a name of its own. */
#pragma once

#include "internal.h"

/* NULL with an error, also when there is one of this id already; backend may be NULL. */
struct device *board_add(struct machine *m, const char *cls, const char *id, GVariant *options,
			 const struct device_backend *backend, GError **error);
/* place.c: where the device of this id is to be; *ret_slot: the port it is behind, or NULL. false: that cannot be. */
bool place_find(struct machine *m, const char *id, struct pci_place *ret, struct device **ret_slot, bool *ret_found,
		GError **error);
bool place_read(const char *text, struct pci_place *place, GError **error); /* SLOT[.FUNCTION] */
bool place_reserve(struct machine *m, const struct machine_config *config, GError **error);
bool place_check(struct machine *m, const struct machine_config *config, GError **error); /* all of them are taken */
/* plug.c: the port of this name, and the place behind it; given: it says which slot. NULL, "" and pcie.0: none. */
bool plug_find_bus(struct machine *m, const char *bus, bool given, struct pci_place *place, struct device **ret, GError **error);
/* The clock chip; board, which it ends: what is in its memory at first. */
bool board_add_clock(struct machine *m, const struct machine_config *config, GVariantDict *board, GError **error);
/* The serial ports: com1 and, if it goes anywhere, com2. */
bool board_add_serial(struct machine *m, const struct machine_config *config, GError **error);
/* hvc0 and the channels, if there is one of them. */
bool board_add_console(struct machine *m, const struct machine_config *config, GError **error);
/* All that a user has asked for, in this order. */
bool board_add_users(struct machine *m, const struct machine_config *config, GError **error);
/* --disk, --net, --device; each at its controller, which comes with the first of them. */
bool board_add_disks(struct machine *m, const struct machine_config *config, GError **error);
bool board_add_cards(struct machine *m, const struct machine_config *config, GError **error);
bool board_need_usb(struct machine *m, GError **error); /* the controller, if there is none */
bool board_add_devices(struct machine *m, const struct machine_config *config, GError **error);
bool board_add_tablet(struct machine *m, GError **error); /* a pointer for who looks at a screen from elsewhere */
