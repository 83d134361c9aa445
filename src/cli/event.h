/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Waiting for what servers tell by themselves. Called by event, net-event, pool-event, nodedev-event and secret-event. */
#pragma once
#include "shell.h"

enum event_source { EVENTS_OF_NETWORKS, EVENTS_OF_POOLS, EVENTS_OF_DEVICES, EVENTS_OF_SECRETS };
bool watch_objects(struct shell *sh, const struct args *a, enum event_source source);
