/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes of a QMP connection to messages (QEMU's docs/interop/qmp-spec.txt, RFC 8259). Messages follow each other without a
 * separator, so their end is where the brackets are even; a fault is reported once, and reading goes on where QEMU's would.
 * Bytes are hostile: the size and the nesting of a message are bounded. Used by server.c and qmp-client.c. Any one
 * thread with 256 KiB of stack to spare.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include <json-glib/json-glib.h>

enum {
	QMP_NESTING_MAX = 1024,	    /* as QEMU has it */
	QMP_MESSAGE_MAX = 64 << 10, /* bytes, of a client's */
};

struct qmp_reader;

struct qmp_reader *qmp_reader_new(void);
void qmp_reader_free(struct qmp_reader *r); /* NULL is fine */
void qmp_reader_set_max(struct qmp_reader *r, size_t bytes); /* of a message, in the place of QMP_MESSAGE_MAX */

/*
 * Takes bytes up to the end of a message and answers how many, 0 where it ended before them. Where one ended, *ret_message is a
 * value of any JSON type (json_node_unref), or *error is set; else both are NULL.
 */
size_t qmp_reader_feed(struct qmp_reader *r, const uint8_t *data, size_t len, JsonNode **ret_message, GError **error);
