/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keyboards and pointers by QMP (qmp-input.c): its commands, rows of the table in qmp.c, and what they leave behind. */
#pragma once
#include "qmp.h"

struct qmp_keys;

void qmp_keys_free(struct qmp_keys *k); /* NULL is fine; keys that wait are not typed any more */

extern const struct qmp_member qmp_send_key_args[], qmp_input_send_event_args[];
qmp_run qmp_send_key, qmp_input_send_event, qmp_query_mice;
