/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * polkitd's word on what a client may do (org.freedesktop.PolicyKit1, on the system's D-Bus; polkit's reference manual). Called
 * with the state lock, which is let go of meanwhile; not in the main thread.
 */
#pragma once
#include "client.h"

/*
 * action: "org.libvirt.unix.manage". details: of type a{ss}, taken if floating, or NULL. ask: a person may be asked for a
 * password, and is waited for. false and *error: no, or nobody can be asked.
 */
bool polkit_allows(const struct client *c, const char *action, GVariant *details, bool ask, GError **error);
