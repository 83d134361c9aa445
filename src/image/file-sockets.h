/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The sockets of a queue: files without a descriptor that take asynchronous requests (file.h, struct image_file_async), which
 * whoever has requests under way looks after. Part of file-queue.c; any thread unless something else is said.
 */
#pragma once
#include <poll.h>

#include "file.h"
#include "spin.h"

enum { FILE_SOCKETS_MAX = 8 }; /* of a queue; requests to more files are for threads */

struct file_socket {
	void *owner;
	struct image_file *file; /* NULL: free */
	GPollFD poll;
	bool polled;	  /* in the source */
	bool armed;	  /* atomic; poll asks for events */
	unsigned flying;  /* atomic; requests */
	unsigned turning; /* threads in turn() */
};

struct file_sockets {
	GMutex lock; /* the sockets; never held while a file is called that could call back */
	GSource *source;
	unsigned n; /* atomic */
	struct spin spin; /* the source's thread */
	bool alone; /* one processor: nobody could answer while we look */
	struct file_socket socket[FILE_SOCKETS_MAX];
};

/* owner: what over() finds in its struct file_socket. */
void file_sockets_init(struct file_sockets *s, GSource *source, void *owner);
void file_sockets_clear(struct file_sockets *s);
/*
 * A request to req->file; over() gets the struct file_socket, and calls file_socket_over(). False: it is for a thread. ret_wake:
 * the source does not look for what will come; unless this is its thread it is to be woken.
 */
bool file_sockets_submit(struct file_sockets *s, struct image_req *req, image_file_over *over, bool *ret_wake);
void file_socket_over(struct file_socket *k);
/* prepare() and check() of the source. */
void file_sockets_arm(struct file_sockets *s);
bool file_sockets_ready(struct file_sockets *s);
/* In prepare(): looks for what comes for some microseconds (spin.h). True: the source need not wait. */
bool file_sockets_look(struct file_sockets *s);
/* Does what the sockets bring: those that the source has found ready, or all with requests under way. */
void file_sockets_turn(struct file_sockets *s, bool ready);
/* Those with requests under way, at most FILE_SOCKETS_MAX; how many. */
unsigned file_sockets_poll_set(struct file_sockets *s, struct pollfd *fds);
/* Nothing is under way: the files may be closed after this. */
void file_sockets_forget(struct file_sockets *s);
