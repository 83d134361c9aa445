/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A saved machine from anywhere (loader.c): the input is what comes after a good header, or all of it.
 * The first byte chooses; the header's checksum is made to fit, since a fuzzer would never get past it.
 */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "saved-form.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAM = 64 << 10, CHOICE_RAW = 1, CHOICE_FILE = 2 };

static const char description[] = "machine test\narea ram0 65536\narea video 8192\n";

static void put(int fd, const void *data, size_t len)
{
	g_assert(write(fd, data, len) == (ssize_t)len);
}

/* The bytes as a file, which is read like a pipe is but ends. */
static int make_input(const uint8_t *data, size_t size)
{
	static const uint8_t zeroes[SAVED_HEADER];
	int fd = memfd_create("saved", MFD_CLOEXEC);
	uint8_t header[SAVED_FIXED];
	uint8_t choice = size ? data[0] : 0;
	struct saved_header h = { .form = choice & CHOICE_FILE ? SAVED_FILE : SAVED_STREAM };

	g_assert(fd >= 0);
	data += size > 0;
	size -= size > 0;
	if (!(choice & CHOICE_RAW)) {
		/* A file's numbers are the input's; memory is holes. */
		h.state_at = SAVED_HEADER + RAM + 8192 + (choice >> 7);
		h.state_len = size + (choice >> 6 & 1);
		saved_put_header(header, &h, description);
		put(fd, header, sizeof(header));
		put(fd, description, strlen(description));
	}
	if (h.form == SAVED_FILE && !(choice & CHOICE_RAW)) {
		put(fd, zeroes, SAVED_HEADER - SAVED_FIXED - strlen(description));
		g_assert(lseek(fd, RAM + 8192, SEEK_CUR) > 0);
	}
	put(fd, data, size);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct guest_mem *mem = mem_new(-1);
	g_autoptr(GError) error = NULL;
	struct mem_region *video;
	struct loader *l;
	int fd = make_input(data, size);

	g_assert(mem_add_ram(mem, 0, RAM, NULL));
	video = mem_region_new(mem, "video", 8192, false, NULL);
	l = loader_new_for(mem, description, fd);
	if (loader_read(l, &error))
		g_assert(!error && l->complete && l->state->len);
	else
		g_assert(error);
	loader_free(l);
	g_assert(mem_clear(mem, NULL));
	g_assert(*(uint8_t *)gpa_ptr(mem, RAM - 1, 1) == 0);
	mem_region_free(video);
	mem_free(mem);
	close(fd);
	return 0;
}
