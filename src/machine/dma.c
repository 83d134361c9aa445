/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See dma.h. Called by disk controllers. */
#include "dma.h"

#include <glib.h>

#include "mem.h"

enum {
	ROOM = 16,
};

static void grow(struct dma_list *list)
{
	list->room = MAX(ROOM, list->room * 2);
	list->iov = g_renew(struct iovec, list->iov, list->room);
	list->gpa = g_renew(uint64_t, list->gpa, list->room);
}

bool dma_add(struct dma_list *list, const struct guest_mem *mem, uint64_t gpa, uint64_t len)
{
	struct iovec *last = list->n ? &list->iov[list->n - 1] : NULL;
	uint8_t *host = gpa_ptr(mem, gpa, len);

	if (!host)
		return false;
	list->len += len;
	if (last && list->gpa[list->n - 1] + last->iov_len == gpa && (uint8_t *)last->iov_base + last->iov_len == host) {
		last->iov_len += len;
		return true;
	}
	if (list->n == list->room)
		grow(list);
	list->iov[list->n] = (struct iovec){host, len};
	list->gpa[list->n++] = gpa;
	return true;
}

void dma_written(const struct dma_list *list, struct guest_mem *mem, uint64_t len)
{
	for (unsigned i = 0; i < list->n && len; i++) {
		uint64_t part = MIN(len, list->iov[i].iov_len);

		mem_written(mem, list->gpa[i], part);
		len -= part;
	}
}

void dma_clear(struct dma_list *list)
{
	g_free(list->iov);
	g_free(list->gpa);
	*list = (struct dma_list){0};
}
