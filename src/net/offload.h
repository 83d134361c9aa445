/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a network card with offloads leaves undone, done in software: checksums the guest left
 * open and large TCP packets it left unsplit, for backends that want plain Ethernet
 * frames (virtio 1.2, section 5.1.6.2; RFC 1071 for the sum). Frames are hostile: every length
 * in them is checked against the bytes that are there. Called by backends, any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/virtio_net.h>

typedef void (*net_frame_fn)(void *opaque, const uint8_t *frame, size_t len);

/*
 * Finish @frame (changed in place, @len bytes) as @hdr asks and hand each resulting frame to
 * @emit; the frame given is valid during the call only. A backend that bears large packets
 * gives in @payload_min how many bytes of payload a segment may have even if the guest asked
 * for less. False when the header does not fit the frame: nothing was handed on.
 */
bool net_offload_finish(uint8_t *frame, size_t len, const struct virtio_net_hdr *hdr,
			size_t payload_min, net_frame_fn emit, void *opaque);

/* RFC 1071 over @len bytes added to @sum; fold with net_csum_fold. */
uint32_t net_csum_add(uint32_t sum, const uint8_t *data, size_t len);
uint16_t net_csum_fold(uint32_t sum);
