/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The byte stream under every kind of character device: a descriptor to read and one to write,
 * a buffer for what the host does not take at once, and a GSource in the main context that
 * moves the bytes. A kind's state starts with one. Called by char.c and the kinds.
 *
 * The lock covers the buffer, the descriptors and the watches; callbacks run without it.
 */
#pragma once

#include "char.h"

struct char_stream {
	struct chardev *c;
	GMutex lock;
	GSource *source;
	int in_fd, out_fd; /* -1: nobody there; not closed by the stream */
	gpointer in_tag, out_tag; /* what is watched */
	bool reads; /* in_tag: for a client; false: for the end of in_fd alone, since there is none */
	bool out_socket, out_blocks, out_file;
	/* Ring buffer of CHAR_BUFFER bytes, made when first needed. */
	uint8_t *buffer;
	size_t head, used;
	/* May shorten what was read, or answer 0; NULL when all goes to the guest. */
	size_t (*filter)(struct char_stream *s, uint8_t *data, size_t len);
	/* The other side is gone: in the main context, descriptors already dropped. May be NULL. */
	void (*hangup)(struct char_stream *s);
};

extern const struct char_kind char_kind_stdio, char_kind_pty, char_kind_file, char_kind_unix;

/* For kinds: one without a state yet, which char_free() frees; char_close() is for those with one. */
struct chardev *char_new(const struct char_kind *kind, const char *where);
void char_free(struct chardev *c);

void stream_init(struct char_stream *s, struct chardev *c);
/* Takes these descriptors from now on (-1: none). */
void stream_connect(struct char_stream *s, int in, int out);
/* Nobody there: output is dropped from now on. */
void stream_disconnect(struct char_stream *s);
/* Waits a moment for the host to take the rest, then frees the stream's own things. */
void stream_destroy(struct char_stream *s);

void stream_write(struct char_stream *s, const uint8_t *data, size_t len);
bool stream_writable(struct char_stream *s);
/* Another chardev's from now on; no callback is under way. */
void stream_set_owner(struct char_stream *s, struct chardev *c);
bool stream_connected(struct char_stream *s);
void stream_resume(struct char_stream *s);
