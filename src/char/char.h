/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character devices: the host side of consoles and ports. Kinds that a command line names are rows of chardev_kinds[]; sockets
 * of more ways than that, and buffers, have functions of their own.
 *
 * Threads: char_write() from any thread (it never blocks: what the host does not take at once is buffered up to
 * CHAR_BUFFER bytes, older bytes stay, newer ones are dropped and counted); callbacks run in the main context.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHAR_BUFFER (1u << 20)

struct chardev;

struct char_client {
	/* How many bytes the device could take now; 0 stops reading from the host until char_resume(). */
	size_t (*can_receive)(void *opaque);
	void (*receive)(void *opaque, const uint8_t *data, size_t len);
	/* Somebody came to the other side, or left. May be NULL. */
	void (*connected)(void *opaque, bool connected);
	/* The guest has its end open. NULL: always. */
	bool (*is_open)(void *opaque);
};

struct char_kind {
	const char *name; /* "stdio", "pty", "file", "unix" */
	const char *help;
	bool has_path;
	bool (*open)(struct chardev *c, const char *path, GError **error);
	void (*close)(struct chardev *c);
	/* In the place of a stream (stream.h), for a kind that takes everything at once; any thread. NULL: the stream's. */
	void (*put)(struct chardev *c, const uint8_t *data, size_t len);
	char *(*describe)(struct chardev *c); /* NULL: its name */
};

struct chardev {
	GMutex lock; /* kind, where and state, which char_change() exchanges; before a stream's lock */
	const struct char_kind *kind;
	const struct char_client *client; /* NULL until char_attach() */
	void *client_opaque;
	void (*quit)(void *opaque); /* the person asked to leave (Ctrl-A X) */
	void *quit_opaque;
	char *where; /* for people: the pty's path, the socket... */
	uint64_t dropped;
	void *state;
};

extern const struct char_kind *const chardev_kinds[]; /* NULL-terminated */

/* spec: "stdio", "pty", "file:PATH", "unix:PATH". */
struct chardev *char_open(const char *spec, GError **error);
struct chardev *char_open_null(void); /* takes everything, has nothing */

/* A socket's other side: a path of Unix, or a host and a port of TCP. */
struct char_socket {
	const char *path;	 /* NULL: TCP */
	const char *host, *port; /* names or numbers */
	bool server;		 /* we listen; false: we connect */
	unsigned reconnect;	 /* of a client: seconds between attempts; 0: one, which has to succeed */
};
struct chardev *char_open_socket(const struct char_socket *where, GError **error);

/* Keeps the last `size` bytes (a power of two; 0: 64 KiB) of what was written, to be read: answers how many there were. */
struct chardev *char_open_ringbuf(uint64_t size, GError **error);
bool char_is_ringbuf(const struct chardev *c);
size_t char_ringbuf_read(struct chardev *c, uint8_t *data, size_t len);
void char_ringbuf_write(struct chardev *c, const uint8_t *data, size_t len);

/* c is what `other` was from now on, with its own client; what c was is closed. Not stdio. */
void char_change(struct chardev *c, struct chardev *other);
/* As QEMU's query-chardev has it: "pty:/dev/pts/3", "disconnected:unix:PATH,server=on"; g_free. */
char *char_describe(struct chardev *c);
void char_close(struct chardev *c); /* flushes what can be flushed; restores the terminal; NULL is fine */
void char_attach(struct chardev *c, const struct char_client *client, void *opaque);
bool char_is_open(const struct chardev *c); /* a device has it, whose guest has its end open; main context */
void char_set_quit(struct chardev *c, void (*quit)(void *opaque), void *opaque);
void char_write(struct chardev *c, const uint8_t *data, size_t len);
/* True when at least half of the buffer is free: devices hold back their guest otherwise. */
bool char_writable(struct chardev *c);
/* Somebody is there to read what is written. Any thread. */
bool char_connected(struct chardev *c);
void char_resume(struct chardev *c); /* can_receive() has grown; any thread */
