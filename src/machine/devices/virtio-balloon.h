/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the machine asks of its balloon (a struct device of the class virtio-balloon); any thread. */
#pragma once

#include <linux/virtio_balloon.h>

#include "device.h"

/* Bytes the guest shall do without; it follows when it can. */
void virtio_balloon_set_target(struct device *dev, uint64_t bytes);
/* Bytes it does without now. */
uint64_t virtio_balloon_actual(struct device *dev);
/*
 * The guest's statistics by VIRTIO_BALLOON_S_ number as it told them last, UINT64_MAX for what it did not; returns when that was,
 * in seconds since 1970, 0: never.
 */
uint64_t virtio_balloon_stats(struct device *dev, uint64_t stats[VIRTIO_BALLOON_S_NR]);
void virtio_balloon_ask(struct device *dev); /* for fresh ones */
