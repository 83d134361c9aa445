/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What starts with the first daemon since a boot of the host: networks and pools at once, domains each in a worker. What fails is
 * told in the log and left alone. With the state lock held; called by hv.c when the daemon's own hypervisor has been opened.
 */
#pragma once
#include "hv.h"

void autostart_networks(struct hv *hv); /* networks.c */
void autostart_pools(struct hv *hv);	/* storage/pool-load.c */
void autostart_domains(struct hv *hv);	/* domain-life.c */
