/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See iov.h. */
#include "iov.h"

#include <string.h>

#include "bytes.h"

uint64_t req_bytes(const struct image_req *req)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < req->n_iov; i++)
		if (!checked_add(sum, req->iov[i].iov_len, &sum))
			return 0;
	return sum;
}

unsigned req_slice(const struct image_req *req, uint64_t skip, uint64_t len, struct iovec *dst)
{
	unsigned n = 0;

	for (unsigned i = 0; i < req->n_iov && len; i++) {
		uint64_t here = req->iov[i].iov_len, take;

		if (skip >= here) {
			skip -= here;
			continue;
		}
		take = MIN(here - skip, len);
		dst[n++] = (struct iovec){ (char *)req->iov[i].iov_base + skip, take };
		skip = 0;
		len -= take;
	}
	return n;
}

void req_zero(const struct image_req *req, uint64_t skip, uint64_t len)
{
	for (unsigned i = 0; i < req->n_iov && len; i++) {
		uint64_t here = req->iov[i].iov_len, take = skip < here ? MIN(here - skip, len) : 0;

		if (take)
			memset((char *)req->iov[i].iov_base + skip, 0, take);
		skip -= MIN(skip, here);
		len -= take;
	}
}

void req_copy(const struct image_req *req, uint64_t skip, char *buf, uint64_t len)
{
	for (unsigned i = 0; i < req->n_iov && len; i++) {
		uint64_t here = req->iov[i].iov_len, take = skip < here ? MIN(here - skip, len) : 0;
		char *at = (char *)req->iov[i].iov_base + skip;

		if (take && req->op == IMAGE_READ)
			memcpy(at, buf, take);
		else if (take)
			memcpy(buf, at, take);
		skip -= MIN(skip, here);
		buf += take;
		len -= take;
	}
}
