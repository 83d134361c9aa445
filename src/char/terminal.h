/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The person's terminal in raw mode, and back, whatever happens. Called by stdio.c. */
#pragma once

/* Put @fd, a terminal, into raw mode. At most one at a time. */
void terminal_raw(int fd);
/* As it was before; no-op when it is. Async-signal-safe. */
void terminal_restore(void);
