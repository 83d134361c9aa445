/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What network cards have in common: their address and their option ROM, as the device's options say. Main thread. */
#pragma once

#include "pci.h"

/*
 * `mac` (s) of options, a{sv} or NULL, six hexadecimal bytes of a unicast address; without it one that follows from the name, so
 * that it is the same the next time.
 */
bool card_mac(const char *id, GVariant *options, uint8_t mac[6], GError **error);
/* `rom` (s), a file; without it the card has none. After pci_init(), at most once. */
bool card_rom(struct pci_device *p, GVariant *options, GError **error);
