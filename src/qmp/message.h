/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a QMP message is made of (QEMU's docs/interop/qmp-spec.txt): errors with their class, and a server's messages as
 * lines. Used by both ends and by the commands. Any thread.
 */
#pragma once
#include <stdbool.h>

#include <json-glib/json-glib.h>

/* An error's code is its class; those of other domains are told as GenericError. */
#define QMP_ERROR qmp_error_quark()
GQuark qmp_error_quark(void);

enum qmp_error {
	QMP_ERROR_GENERIC,
	QMP_ERROR_COMMAND_NOT_FOUND,
	QMP_ERROR_DEVICE_NOT_ACTIVE,
	QMP_ERROR_DEVICE_NOT_FOUND,
	QMP_ERROR_KVM_MISSING_CAP,
};

/* Sets the error and returns NULL, which is how a command fails. */
JsonNode *qmp_fail(GError **error, enum qmp_error code, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* The code of a class's name; NULL and unknown ones are GenericError. */
enum qmp_error qmp_error_of_class(const char *name);

/* {}, the answer of a command that has none. */
JsonNode *qmp_nothing(void);

/* A member of any bytes, such as a file's name: what is not UTF-8 is replaced. */
void qmp_put_text(JsonObject *o, const char *name, const char *text);

/* An optional member that is a string, if it is there (schema.h has checked it); else NULL. */
const char *qmp_text(JsonObject *o, const char *name);

/* Takes the object or array over. */
JsonNode *qmp_object(JsonObject *object);
JsonNode *qmp_array(JsonArray *array);

/*
 * Lines with their end, to be freed with g_free. `id` (may be NULL) is the command's and stays the caller's, as `error` does;
 * `value` and `data` (NULL: none) are taken over.
 */
char *qmp_line_greeting(JsonNode *version);
char *qmp_line_return(JsonNode *value, JsonNode *id);
char *qmp_line_error(const GError *error, JsonNode *id);
char *qmp_line_event(const char *name, JsonObject *data);
