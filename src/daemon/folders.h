/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvd's own folders: the user's by the XDG variables, or this host's, which systemd's variables for a unit's folders may move
 * (systemd.exec(5): CONFIGURATION_DIRECTORY, RUNTIME_DIRECTORY, STATE_DIRECTORY, LOGS_DIRECTORY; the first that one names); and
 * the lock that makes one daemon theirs. Called by main.c before anything is read or made there, by config.c, sockets.c and the
 * kv driver.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

enum folder { FOLDER_CONFIG, FOLDER_RUN, FOLDER_LIB, FOLDER_LOG };

/* The path, which need not be there; to be freed. */
char *folder_path(enum folder folder, bool session);

/*
 * Makes FOLDER_RUN and locks the file kvd.lock in it until the process ends, however it ends; the file has the process's number
 * and stays. Another daemon's lock is KV_ERROR_BUSY, with its number; one that is ending is waited for.
 */
bool folder_lock(bool session, GError **error);
/* From now on it is ending. */
void folder_leave(void);
