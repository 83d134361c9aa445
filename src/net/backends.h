/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The backends that net.c lists, one file each. */
#pragma once

#include "net.h"

extern const struct net_backend net_none;
extern const struct net_backend net_user; /* kv-user-net.so's */
