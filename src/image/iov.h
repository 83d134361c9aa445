/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A request's buffers as one run of bytes: the part of `len` bytes from `skip` on. Called by queue.c and file-bounce.c. */
#pragma once
#include "image.h"

uint64_t req_bytes(const struct image_req *req); /* of all buffers; 0 when the sum is none of 64 bits */
/* The part as iovecs, to dst (n_iov + 1 at most); how many those are. */
unsigned req_slice(const struct image_req *req, uint64_t skip, uint64_t len, struct iovec *dst);
void req_zero(const struct image_req *req, uint64_t skip, uint64_t len);
/* From buf to the part for a READ, else from the part to buf. */
void req_copy(const struct image_req *req, uint64_t skip, char *buf, uint64_t len);
