/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Drives that share limits: the requests of all of them go through one set of buckets (throttle.h), a queue that waits after the
 * other, each with one request in its turn. A drive with limits of its own is alone in a group with its id. Groups are known by
 * name, as in QEMU: whoever names one that there is not makes it, and it goes with the last that has it.
 *
 * Threads: all functions are the main thread's.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

#include "throttle.h"

struct throttle_group;

struct throttle_group *throttle_group_find(const char *name); /* NULL: there is none; no reference */
struct throttle_group *throttle_group_get(const char *name);  /* a reference */
void throttle_group_unref(struct throttle_group *g);	      /* NULL is fine */
const char *throttle_group_name(const struct throttle_group *g);
bool throttle_group_has_members(const struct throttle_group *g);
const struct throttle_config *throttle_group_config(const struct throttle_group *g);
/* It has been looked at: throttle_check(). Who waits has another turn. */
void throttle_group_set(struct throttle_group *g, const struct throttle_config *c);
